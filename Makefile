# Everything that a developer does here. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
VENV := .venv
# Each takes one core and up to 2 GB.
TEST_PROCESSES ?= 2
# The packaged models as they were downloaded: the tests themselves have no network.
WHEELS := .wheels
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.PHONY: venv
venv: $(STAMP)  ## Make .venv with the tested set of packages (again when pyproject.toml or constraints.txt change)

$(STAMP): pyproject.toml constraints.txt
	@echo "venv: installing metier and its tools into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $(STAMP)
	@echo "venv: ready; 'source $(BIN)/activate' makes the metier command available"

.PHONY: demo
demo: $(STAMP)  ## The whole loop on the packaged models and the built-in example data
	@$(BIN)/metier demo

.PHONY: test
test: $(STAMP)  ## Every test that this machine can run, the slow ones included
	@$(BIN)/python tools/fetch_wheels.py $(WHEELS)
	@METIER_WHEELS=$(abspath $(WHEELS)) \
		$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile -m "not gpu and not network" --durations=10

.PHONY: test-fast
test-fast: $(STAMP)  ## The tests that need no model: a minute or two
	@$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile

.PHONY: check
check: $(STAMP)  ## Format, lint, types, and the tests that hold the architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict metier
	@$(BIN)/python -m pytest -q tests/architecture

.PHONY: format
format: $(STAMP)  ## Format the code and fix what can be fixed by machine
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(STAMP)  ## Measure speed and memory beside peers (over an hour; METIER_BENCH_DATA names the data sets)
	@$(BIN)/python -m bench.peers make
	@$(BIN)/python -m bench all

.PHONY: golden
golden: $(STAMP)  ## Write the frozen lists in tests/golden again (flags, recipe fields): read the diff
	@METIER_GOLDEN=write $(BIN)/python -m pytest -q tests/architecture/test_frozen_lists.py
	@$(BIN)/python tools/recipe_reference.py

.PHONY: lock
lock:  ## Resolve again within constraints.in and write constraints.txt
	@echo "lock: resolving in a fresh environment"
	@rm -rf .lock-venv
	@$(PYTHON) -m venv .lock-venv
	@.lock-venv/bin/python -m pip install -qq $(PIP_ARGS) -c constraints.in -e '.[dev]'
	@echo "# The tested set, written by 'make lock' from pyproject.toml and constraints.in. Do not edit." > constraints.txt
	@.lock-venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' >> constraints.txt
	@rm -rf .lock-venv
	@echo "lock: constraints.txt has $$(grep -c == constraints.txt) packages"

.PHONY: clean
clean:  ## Remove caches and build leftovers; keeps .venv and runs/
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .lock-venv
	@find metier tests -name __pycache__ -type d -prune -exec rm -rf {} +
