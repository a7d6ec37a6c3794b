# One command to check, one to fix, one to test; each sets itself up from a fresh clone with
# nothing but Python 3.11 or newer. On Windows, README.md spells the same lines out.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime

.PHONY: demo install test test-slow check fix bench clean

install: $(STAMP)

# The program alone: no torch, nothing to train with.
demo: $(RUNTIME)
	$(BIN)/hptl-deploy demo demo

$(RUNTIME): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hptl-deploy needs Python 3.11 or newer, found %d.%d; name another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# torch first and by its exact version: where a CPU build of it is at hand, nothing else may
# replace it.
$(STAMP): $(RUNTIME)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[train,dev]'
# Builds engines without a card, and the tests do. Not everywhere to be had.
	@$(BIN)/python -m pip install --quiet --editable '.[tensorrt-rtx]' \
		|| echo 'TensorRT for RTX cannot be installed here; tests that build engines will be skipped'
	@touch $@

# Two files of tests at a time; what a file's tests share is made once.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not gpu'

test-slow: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python benchmarks/tiling.py --random 0.25 --input-scale 1
	$(BIN)/python benchmarks/tiling.py --random 0.25 --input-scale 2
	$(BIN)/python benchmarks/engines.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
