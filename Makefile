# make run     the proxy with an embedded cluster, and a tour through it    (PORT=4443, ONCE=1: end after the tour)
# make test    all tests that this machine can run                          (TESTS=tests.net: some; JOBS: processes)
# make engine  build the native relay (needs Rust); without it, tunnels are relayed in Python
# make simulate  run seeds of the simulated world                           (SEEDS=1000; SEED=7: the story of one)
# make docs    build the manual in build/docs, and run its samples
# make peers   fetch the real peers for tests/peers: three versions of Pulsar, its Java, Python and Go clients
# make upgrade-demo  100 upgrades in a row with 300 tunnels open: none is cut    (UPGRADES, TUNNELS, ONCE=1: a short one)
# make chaos   our proxy and HAProxy over a bad line, with killed workers: each byte is compared  (SECONDS, SEED, WAY)
# make geo-demo  two real Pulsar clusters that replicate to each other through the proxy (needs make peers; PORT, ONCE)
PYTHON ?= python3
PORT ?= 4443
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test simulate chaos peers peers-long geo-demo upgrade-demo lint docs man proto fuzz bench bench-pulsar bench-quick bench-upgrade soak dist clean venv dev engine engine-check engine-races wheels
.DEFAULT_GOAL := run

venv: $(VENV)/.made-test
dev: $(VENV)/.made-dev

# One venv, updated when setup.cfg changes. pip shows its progress and retries failed downloads.
# LOCK=FILE installs exactly the versions of that file and verifies their hashes.
PIP := $(BIN)/python -m pip --disable-pip-version-check --retries 5 --no-input
# No cargo for pip: this never compiles the native relay (make engine does).
$(VENV)/.made-%: export CARGO := no-cargo
$(VENV)/.made-%: setup.cfg pyproject.toml $(LOCK)
	@test -x $(BIN)/python || { echo "making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing sniproxy$(if $(filter-out run,$*),[$*]) and the packages it needs into $(VENV) ..."
	@$(if $(LOCK),$(PIP) install --require-hashes -r $(LOCK) && \
	$(PIP) install --no-deps --no-build-isolation -e .,$(PIP) install -e '.$(if $(filter-out run,$*),[$*])')
	@touch $@

# The demo needs the package alone; a venv that has more will do.
run: $(firstword $(wildcard $(VENV)/.made-dev $(VENV)/.made-test) $(VENV)/.made-run)
	@exec $(BIN)/python -u -m sniproxy.demo --port $(PORT) $(if $(ONCE),--once)

# JOBS: processes at once. TRIAL: another program that runs the tests.
TRIAL ?= $(BIN)/python -m tests.run $(if $(JOBS),-j$(JOBS))
test: venv
	$(TRIAL) $(if $(TESTS),$(TESTS),tests)

# The proxy's code on a simulated kernel, clock and network: docs/explanation/simulation.md.
SEEDS ?= 1000
simulate: venv
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) $(if $(JOBS),--jobs $(JOBS)))

# The native relay, into the sources. Nothing else here compiles it.
ENGINE := engine/target/release/lib_engine.so
engine:
	cargo build --release --locked --manifest-path engine/Cargo.toml --target-dir engine/target
	rm -f sniproxy/relay/_engine.*.so
	install -m 755 $(ENGINE) sniproxy/relay/_engine.abi3.so

engine-check:
	cargo fmt --check --manifest-path engine/Cargo.toml
	cargo clippy --locked --all-targets --manifest-path engine/Cargo.toml -- -D warnings
	cargo test --locked --no-default-features --manifest-path engine/Cargo.toml

# The relay's threads under ThreadSanitizer, and what needs no sockets under Miri. Needs a nightly Rust with rust-src and
# miri.
NIGHTLY = cargo +nightly
RACES = --no-default-features --manifest-path engine/Cargo.toml --target $(shell uname -m)-unknown-linux-gnu
engine-races:
	RUSTFLAGS=-Zsanitizer=thread $(NIGHTLY) test -Zbuild-std $(RACES) --target-dir engine/target/tsan --lib
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..16" \
		$(NIGHTLY) miri test $(RACES) --target-dir engine/target/miri --lib -- slab mailbox

peers: dev
	@$(BIN)/python -m tests.peers.provide

# The tests with real peers in full length, with each version of Pulsar; writes the README's table of versions. VERSIONS:
# some versions only (VERSIONS=4.2).
peers-long: peers
	$(BIN)/python -m tests.peers.proven $(VERSIONS)

geo-demo: venv
	@exec $(BIN)/python -u -m tests.peers.geo_demo --port $(PORT) $(if $(ONCE),--once)

# WAY: ours, ours-python (the Python relay), ours-workers.
UPGRADES ?= $(if $(ONCE),3,100)
TUNNELS ?= $(if $(ONCE),30,300)
upgrade-demo: venv
	@exec $(BIN)/python -u -m bench.upgradedemo --upgrades $(UPGRADES) --tunnels $(TUNNELS) $(if $(WAY),--way $(WAY))

# The program in a network namespace of its own, over a line that loses, delays, reorders and duplicates packets. WAY: engine,
# python, tls, workers, bridge, haproxy.
SECONDS ?= 60
chaos: venv
	@exec $(BIN)/python -u -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(foreach way,$(WAY),--way $(way))

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The manual, in build/docs. Warnings and broken links are errors; then its samples run.
docs: dev
	$(BIN)/sphinx-build -q -E -W --keep-going docs build/docs
	$(BIN)/trial tests.test_docs tests.test_examples

# The man pages, in docs/man, from the help of both programs. A test compares them.
man: dev
	$(BIN)/python -m docs.manpages

proto: dev
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. sniproxy/pulsar/commands.proto

# Seconds for each target; not part of the tests.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.made-fuzz
	for target in hello layouts headers frames inspection commands reassembly segments silent faulty recording conversation; do \
		$(BIN)/python -m fuzz.run $$target $(FUZZ_SECONDS) || exit 1; done

# An hour on an idle machine; writes its tables into bench/RESULTS.md, plots and summary into docs. bench-pulsar: with real brokers and clients.
# bench-quick: all of it in short, to see that it runs.
bench: dev
	$(BIN)/python -m bench.inspector --write
	$(BIN)/python -m bench.bridge --write
	$(BIN)/python -m bench.datapath --write bench/results.json
	$(BIN)/python -m bench.report

bench-pulsar: dev
	$(BIN)/python -m bench.pulsar --write bench/results.json
	$(BIN)/python -m bench.report

bench-quick: dev
	$(BIN)/python -m bench.inspector --quick
	$(BIN)/python -m bench.bridge --quick
	$(BIN)/python -m bench.datapath --quick

# Replaces our proxy, HAProxy and nginx with tunnels open, ten times each; ten minutes. Writes its table into docs.
bench-upgrade: dev
	$(BIN)/python -m bench.upgrade --write

# Half an hour of mixed traffic, kills and reloads; fails when a byte is lost. SOAK='--relay engine --open 2000'.
soak: dev
	$(BIN)/python -m bench.soak $(SOAK)

dist: dev
	rm -rf dist
	$(BIN)/python -m build -q

# The sdist and release wheels with the native relay, for glibc 2.28 and newer. Needs Rust with both targets (rustup).
WHEEL_ENV := build/wheels/bin
wheels:
	rm -rf dist
	$(PYTHON) -m venv build/wheels
	$(WHEEL_ENV)/python -m pip install -q build cargo-zigbuild ziglang
	for arch in x86_64 aarch64; do \
		PATH="$(CURDIR)/$(WHEEL_ENV):$$PATH" CARGO="$(CURDIR)/.ci/cargo-manylinux" \
		CARGO_BUILD_TARGET=$$arch-unknown-linux-gnu CARGO_ZIGBUILD_ZIG_PATH="$(CURDIR)/$(WHEEL_ENV)/python-zig" \
		$(WHEEL_ENV)/python -m build -q -C=--build-option=--plat-name=manylinux_2_28_$$arch && \
		$(WHEEL_ENV)/python -m zipfile -l dist/*_$$arch.whl | grep _engine.abi3.so || exit 1; done

clean:
	rm -rf $(VENV) build dist engine/target sniproxy/relay/*.so *.egg-info .mypy_cache .ruff_cache .hypothesis _trial_temp* twisted/plugins/dropin.cache
