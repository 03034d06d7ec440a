# Two commands are enough: `make demo` and `make test`. Both set up all they need in .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The newest Python from 3.11 on that is on the PATH; `make PYTHON=/path/to/python demo` takes another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup demo sft-demo release-demo demo-clean llama-cpp test test-slow test-all check format not-run golden reference clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python >= 3.11 with venv found. On Debian: apt install python3-venv. Or: make PYTHON=/path/to/python demo" >&2; exit 2; fi
	@echo "== Setting up .venv with $(PYTHON) (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## raw French text -> tokenizer -> shards -> trained model -> French sentences, in minutes
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

sft-demo: $(READY) ## the demo's model learns to answer questions (after `make demo`)
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/sft_demo.sh

release-demo: $(READY) ## the demo's model as a signed, documented release (after `make demo`)
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/release_demo.sh

demo-clean: ## remove what the demo made (downloads stay in the cache)
	rm -rf data/demo runs/demo data/sft-demo runs/sft-demo release

llama-cpp: $(READY) ## build llama.cpp, which the slow tests of GGUF need (once; about 75 seconds of two cores)
	@tests/release/llama_cpp.sh $(BIN)/python

test: $(READY) ## the default tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

test-slow: $(READY) ## the tests marked slow
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m slow

test-all: test test-slow ## all tests

check: $(READY) ## lint, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright

not-run: $(READY) ## write docs/not-run.md from the tests' markers
	@$(BIN)/python -m pytest --collect-only -q --not-run docs/not-run.md tests/gpu >/dev/null

golden: $(READY) ## write the kernels' figures, tests/kernels/golden.json; say in the commit why they moved
	@$(BIN)/python -m clapas_kernels.proof --json > tests/kernels/golden.json

reference: $(READY) ## write docs/recipe.md, docs/recipes.md and docs/data-steps.md from the code and the recipes
	@$(BIN)/python -m clapas.recipe.reference > docs/recipe.md
	@$(BIN)/python -m clapas.plan.recipes_page > docs/recipes.md
	@$(BIN)/python -m clapas_data.steps.reference > docs/data-steps.md

format: $(READY) ## mend lint and format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: demo-clean ## remove everything that was made, the virtual environment too
	rm -rf .venv dist data runs
