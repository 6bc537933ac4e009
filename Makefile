# Everything is installed into .venv from requirements.lock; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 1
FAULTS ?= 50
ROLLBACKS ?= 0
# Test processes side by side: most of a test's time is waiting for processes to start.
WORKERS ?= logical
# A test file is one process's, with what it has set up. More threads than free cores wait for each
# other, in a test and in the trainers that it starts.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# In their order: by default files of few tests come last, which are those that start trainers, and one
# process has minutes of them left when the other one is through.
SIDE_BY_SIDE = --numprocesses $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
SETTLE ?= 60
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo up secrets test test-stack test-browser screenshots test-docker chaos endurance bench api-docs cli-docs lint check format lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## Create .venv and install the locked packages

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(INSTALLED)  ## Fine-tune a tiny model through the whole service, from file to answer
	$(BIN)/python examples/demo.py

up: $(INSTALLED)  ## Run the whole service in the foreground on port 8000
	$(BIN)/flant5 up

secrets:  ## Make the password, the first API key and the .env that docker compose needs
	docker/secrets.sh

test: $(INSTALLED)  ## Run the tests
	$(PYTEST) $(SIDE_BY_SIDE)

test-stack: $(INSTALLED)  ## Run the slower tests: the whole service with the real trainer
	$(PYTEST) $(SIDE_BY_SIDE) -m "stack and not chaos"

test-browser: $(INSTALLED)  ## Run the tests of the dashboard in a headless Chromium, installed if need be
	$(PYTEST) $(SIDE_BY_SIDE) -m browser

screenshots: $(INSTALLED)  ## Take pictures of the dashboard's pages into docs/screenshots
	FLANT5_TEST_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -m browser tests/browser/test_pictures.py \
		tests/browser/test_very_many.py

test-docker: $(INSTALLED)  ## Build the images and try the containers, on an engine of their own if need be
	$(PYTEST) -m docker

chaos: $(INSTALLED)  ## Break the service at random and check its promises; SEED=1 FAULTS=50
	$(BIN)/python -m tests.chaos --seed $(SEED) --faults $(FAULTS) --rollbacks $(ROLLBACKS) \
		--settle-seconds $(SETTLE)

endurance: $(INSTALLED)  ## Run the tests that take many minutes: kills at 20 points, 100 cancels, more of nodes
	$(PYTEST) -m chaos -s

bench: $(INSTALLED)  ## Measure our ways beside the usual ones; adds to docs/benchmarks.md
	$(BIN)/python -m benchmarks

api-docs: $(INSTALLED)  ## Make every call of the REST API and write the answers into docs/api.md
	$(BIN)/python -m examples.api_calls

cli-docs: $(INSTALLED)  ## Run the commands of the command line and write what they print into docs/cli.md
	$(BIN)/python -m examples.cli_tour

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck docker/*.sh docker/redis/*.sh findings/*.sh .ci/run

check: lint test  ## Everything that has to pass before a commit

format: $(INSTALLED)  ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## Resolve all packages anew into requirements.lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet --editable '.[dev]'
	build/lock/bin/pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+cpu$$/\1/' > requirements.lock
	# What redis asks for on a Python older than the one that resolves.
	echo 'async-timeout==5.0.1; python_full_version < "3.11.3"' >> requirements.lock

clean:  ## Remove what make created
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-home
