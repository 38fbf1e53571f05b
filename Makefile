# Every target of the project. `make help` lists them.

PYTHON ?= python3
MODEL ?= fable-relu
# One more than the cores of a small laptop: tests of the screen wait much.
JOBS ?= 3

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt --editable
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test lint types imports format docs shots screens lab bench wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.run-stamp ## open the terminal UI on a bundled model (MODEL=... for another)
	@$(BIN)/edge look $(MODEL)

test: $(VENV)/.dev-stamp ## run every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/.dev-stamp ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev-stamp ## check types, strictly
	$(BIN)/mypy

imports: $(VENV)/.dev-stamp ## check that imports point down
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev-stamp ## put imports and whitespace in order
	$(BIN)/ruff check --fix --select I
	$(BIN)/ruff format

docs: $(VENV)/.dev-stamp ## write docs/commands.md and docs/reference/python-api.md from the source
	$(BIN)/python -m edge.commands.manual docs/commands.md
	$(BIN)/python -m edge.commands.python_api docs/reference/python-api.md

shots: $(VENV)/.dev-stamp ## draw the pictures of the UI in docs/shots
	$(BIN)/python -m tui.shots docs/shots

screens: $(VENV)/.dev-stamp ## time from a key to the frame that answers it, on every screen
	$(BIN)/python -m tests.bench.screens

lab: $(VENV)/.dev-stamp ## test every claim on the bundled models and on MODELS, and write docs/lab.md
	$(BIN)/python -m tests.bench.lab docs/lab.md $(MODELS)

bench: $(VENV)/.bench-stamp ## compare speed with other runtimes, and write docs/benchmarks.md
	$(BIN)/python -m tests.bench $(if $(ONLY),--only "$(ONLY)",--write docs/benchmarks.md)

wheel: $(VENV)/.dev-stamp ## build the wheel into dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove the virtual environment and what was built
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# What running needs: neither torch nor onnx.
$(VENV)/.run-stamp: $(PINS) | $(BIN)/python
	@echo "installing what running needs (once) ..." >&2
	@$(INSTALL) .
	@touch $@

$(VENV)/.dev-stamp: $(PINS) | $(BIN)/python
	@echo "installing what tests need (once) ..." >&2
	@$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.run-stamp

$(VENV)/.bench-stamp: $(PINS) | $(BIN)/python
	@echo "installing what the benchmark needs (once; llama.cpp is compiled, in ten minutes) ..." >&2
	@$(INSTALL) '.[dev,bench]'
	@$(INSTALL) '.[llama]' || echo "llama.cpp could not be compiled: the benchmark runs without it" >&2
	@touch $@ $(VENV)/.dev-stamp $(VENV)/.run-stamp

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "edge needs Python 3.11 or newer, and finds no '$(PYTHON)'; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "edge needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) -V); name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
