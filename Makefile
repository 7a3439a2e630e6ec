# Everything that these targets install goes into this folder: .venv/ (the product), .venv-emulator/ (the two
# emulated regions of the laptop edition, which pin their own botocore), plantwatch/native/lib/ (the native core),
# .venv-native/ (the compiler that builds it for artefacts) and build/ (what runs leave behind).
PYTHON ?= python3
VENV := .venv
EMULATOR := .venv-emulator
CROSS := .venv-native
NATIVE := plantwatch/native
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PACKAGES := plantwatch edge_component kcl_consumer lambdas deploy models localcloud benchmarks examples tests

.PHONY: help setup setup-test demo test faults check format up down status reset bench lock clean prerequisites native lambda-zips
.DELETE_ON_ERROR:

help:
	@echo "make demo    run the main job on the laptop edition and write build/demo/report.json"
	@echo "make test    run the tests"
	@echo "make faults  kill everything once, with the DR region away for a minute"
	@echo "make check   format, lint, types, import contracts"
	@echo "make bench   measure speed and memory, write build/bench/main.json"
	@echo "make native  build the native core for x86_64 and aarch64 into plantwatch/native/lib/, for artefacts"
	@echo "make up | status | down | reset    the local cloud, for plantwatch replay FILE.csv"

setup: $(VENV)/.demo $(NATIVE)/lib/.built $(EMULATOR)/.ready

setup-test: setup $(VENV)/.test

prerequisites:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "plantwatch needs Python >= 3.11 as '$(PYTHON)'; name another with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "plantwatch needs Python's venv module (Debian: python3-venv)" >&2; exit 1; }
	@java -version >/dev/null 2>&1 || \
	  { echo "plantwatch needs a Java runtime (JRE >= 11) as 'java': the Kinesis Client Library runs on it (Debian: default-jre-headless)" >&2; exit 1; }

# pip reads the build tools from the lock too: nothing unpinned is ever fetched.
$(VENV)/.demo: locks/build.lock locks/demo.lock pyproject.toml | prerequisites
	@echo "setup: $(VENV) (the product; the Kinesis Client Library takes a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r locks/build.lock
	@$(PIP) install --require-hashes --no-build-isolation -r locks/demo.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: locks/test.lock $(VENV)/.demo
	@echo "setup: $(VENV) (what the tests add)"
	@$(PIP) install --require-hashes --no-build-isolation -r locks/test.lock
	@touch $@

$(EMULATOR)/.ready: locks/emulator.lock | prerequisites
	@echo "setup: $(EMULATOR) (the emulated regions)"
	@test -x $(EMULATOR)/bin/python || $(PYTHON) -m venv $(EMULATOR)
	@$(EMULATOR)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r locks/emulator.lock
	@touch $@

# With this machine's C compiler; without one the pure Python version does the same, slower.
$(NATIVE)/lib/.built: $(wildcard $(NATIVE)/core/*) $(NATIVE)/build.py | $(VENV)/.demo
	@$(BIN)/python -m plantwatch.native.build
	@mkdir -p $(@D) && touch $@

$(CROSS)/.ready: locks/native.lock | prerequisites
	@echo "setup: $(CROSS) (a C compiler for x86_64 and aarch64)"
	@test -x $(CROSS)/bin/python || $(PYTHON) -m venv $(CROSS)
	@$(CROSS)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r locks/native.lock
	@touch $@

native: $(CROSS)/.ready
	@$(CROSS)/bin/python -m plantwatch.native.build --for-artefacts

# One zip for each function and machine, into build/lambdas/.
lambda-zips: setup-test native
	@for machine in x86_64 aarch64; do $(BIN)/python -m lambdas.package warm_scoring --machine $$machine || exit 1; done

demo: setup
	@$(BIN)/python -m localcloud

up down status reset: setup
	@$(BIN)/plantwatch $@

test: setup-test
	@$(BIN)/python -m pytest

# The kills of the end-to-end tests, with the DR region away for a whole minute.
faults: setup-test
	@PLANTWATCH_DR_OUTAGE_S=60 $(BIN)/python -m pytest tests/e2e/test_faults.py

check: setup-test
	@$(BIN)/ruff format --check $(PACKAGES)
	@$(BIN)/ruff check $(PACKAGES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup-test
	@$(BIN)/ruff format $(PACKAGES)
	@$(BIN)/ruff check --fix $(PACKAGES)

bench: setup-test
	@$(BIN)/python -m benchmarks.main

bench-%: setup-test
	@$(BIN)/python -m benchmarks.$*

# One lock per runtime, with hashes and without download addresses.
UV_COMPILE = $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
  --universal --python-version 3.11 --upgrade
lock: setup-test
	@$(PIP) install --require-hashes -r locks/lock.lock
	@$(UV_COMPILE) locks/lock.in -o locks/lock.lock
	@$(UV_COMPILE) locks/build.in -o locks/build.lock
	@$(UV_COMPILE) locks/emulator.in -o locks/emulator.lock
	@$(UV_COMPILE) locks/native.in -o locks/native.lock
	@for extra in cli edge opcua modbus consumer lambdas serving training deploy score demo; do $(UV_COMPILE) pyproject.toml --extra $$extra -o locks/$$extra.lock; done
	@$(UV_COMPILE) pyproject.toml --extra demo --extra test -c locks/demo.lock -o locks/test.lock

clean:
	rm -rf $(VENV) $(EMULATOR) $(CROSS) $(NATIVE)/lib build
