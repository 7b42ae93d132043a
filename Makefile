# Two commands do everything, set-up included, on a Debian or Ubuntu that has rustup and make:
#
#   make demo     counts the words of TEXT=<folder or files>, kills the host half-way, starts it again, compares the result
#   make test     all tests
#
#   make soak     jobs over ZooKeeper under all disturbances at once, for SECONDS=600; SEED=n repeats a run
#
#   make fuzz     altered stored formats and job files for GREGOR_FUZZ_SECONDS=600; GREGOR_FUZZ_SEED=n repeats a round
#
#   make bench    gregor bench: what sandbox, host and checkpoints cost on this machine, in some five minutes; CASES='count-1m identity',
#                 SECONDS=2, ROUNDS=9, PLOT=figures.svg
#
# and: make plugins, build, check, bench-word-count, bench-restart, bench-memory, setup.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# A shell that was open when rustup was installed does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Everything is found below target/ in the checkout, whatever the environment says.
unexport CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_TARGET
# Clones share what they build of the dependencies (RocksDB, wasmtime: half an hour); tests/setup/clone.sh says how.
CARGO_BUILD_BUILD_DIR ?= $(HOME)/.cache/gregor-build
unexport CARGO_BUILD_BUILD_DIR
HOST = CARGO_BUILD_BUILD_DIR="$$(tests/setup/clone.sh '$(CARGO_BUILD_BUILD_DIR)')" cargo --locked --config target/clone/build.toml
# Guests are workspaces of their own, whose results are found in a folder of their own.
GUESTS = $(HOST) --config 'build.target-dir="target/guests"'
# What `cargo clippy` does, which clones of this repository would share; and for guests, that program, which is not told of --config.
HOST_CLIPPY = $(subst build.toml,clippy.toml,$(HOST)) check
GUEST_CLIPPY = CARGO_TARGET_DIR='$(CURDIR)/target/guests' cargo --locked clippy
RUST := --manifest-path plugins/rust/Cargo.toml
HOSTILE := --manifest-path tests/hostile/Cargo.toml
WASM := --target wasm32-wasip2
WASM_OUT := target/guests/wasm32-wasip2/debug
JAVASCRIPT := target/plugins/js/split.wasm target/plugins/js/count.wasm $(addprefix target/plugins/hostile/,hoard.wasm checks.wasm)
COMPONENTIZE = target/js/node_modules/.bin/componentize-qjs --wit wit --world simple-task-with-lifecycle --stub-wasi --sync

.PHONY: help setup plugins build test fuzz soak check demo bench bench-word-count bench-restart bench-memory
help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

setup:
	@tests/setup/machine.sh

plugins: setup $(JAVASCRIPT)
	$(GUESTS) build $(RUST) $(WASM)
	$(GUESTS) build $(HOSTILE) $(WASM)
	@mkdir -p target/plugins/rust target/plugins/hostile
	@install -C -m 644 $(WASM_OUT)/{split,count,identity,filter}.wasm target/plugins/rust/
	@install -C -m 644 $(WASM_OUT)/hostile.wasm target/plugins/hostile/

target/plugins/js/%.wasm: plugins/js/%.js
	$(call componentize,plugins/js)

target/plugins/hostile/%.wasm: tests/javascript/%.js
	$(call componentize,.)

# Builds $< where imports below the folder $1 are found. A component that fails half-way, or is half written, is never taken for one.
define componentize
@mkdir -p $(@D)
$(COMPONENTIZE) --module-root $1 --js $< --output $@.new >/dev/null
@mv $@.new $@
endef

$(JAVASCRIPT): $(wildcard plugins/js/sdk/*.js wit/*.wit) target/js/installed

target/js/installed: plugins/js/package.json plugins/js/package-lock.json | setup
	@mkdir -p $(@D)
	@cp $^ $(@D)
	cd $(@D) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: setup
	$(HOST) build

# Many tests wait for a process, a session or a disk: one more of them than processors keeps those busy.
test: setup plugins
	$(GUESTS) test $(RUST) --workspace
	@scratch=$$(tests/setup/scratch.sh); trap 'rm -rf "$$scratch"' EXIT; \
	TMPDIR=$$scratch RUST_TEST_THREADS=$$(($$(nproc) + 1)) $(HOST) test --workspace --no-fail-fast

soak: export GREGOR_SOAK_SECONDS = $(or $(SECONDS),600)
soak: setup plugins
	$(if $(SEED),GREGOR_TEST_SEED=$(SEED)) $(HOST) test -p gregor-server --test system soak:: -- --nocapture

# The tests of `make test`, with five times their rounds and another seed each time. What fails is kept in target/fuzz/, and ends it.
fuzz: setup
	@end=$$((SECONDS + $${GREGOR_FUZZ_SECONDS:-600})); \
	export GREGOR_FUZZ_TIMES="$${GREGOR_FUZZ_TIMES:-5}"; \
	while seed="$${GREGOR_FUZZ_SEED:-$$RANDOM$$RANDOM}"; do \
	    GREGOR_FUZZ_SEED=$$seed $(HOST) test --workspace --test fuzz -- --nocapture; \
	    GREGOR_FUZZ_SEED=$$seed $(HOST) test --workspace --lib --bins fuzz:: -- --nocapture; \
	    [[ -z "$${GREGOR_FUZZ_SEED:-}" ]] && ((SECONDS < end)) || break; \
	done

check: setup $(JAVASCRIPT)
	cargo fmt --all --check
	cargo fmt $(RUST) --all --check
	cargo fmt $(HOSTILE) --all --check
	$(HOST_CLIPPY) --workspace --all-targets
	$(GUEST_CLIPPY) $(RUST) --workspace --all-targets -- -D warnings
	$(GUEST_CLIPPY) $(RUST) --workspace $(WASM) -- -D warnings
	$(GUEST_CLIPPY) $(HOSTILE) --workspace $(WASM) -- -D warnings
	$(HOST) test -p gregor-server --test system tidy

demo: setup plugins build
	@$(GUESTS) build $(RUST) -p split --example reference
	@tests/demo/run.sh

bench: setup plugins build
	@target/debug/gregor bench $(CASES) --data target $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PLOT),--plot '$(PLOT)')

bench-word-count: setup plugins build
	@$(GUESTS) build $(RUST) -p split --example reference
	@tests/bench/word-count.sh

bench-restart: setup plugins build
	@tests/bench/restart.sh

bench-memory: setup plugins build
	@tests/bench/memory.sh
