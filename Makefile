# All packages are installed into .venv from requirements.lock; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 1
FAULTS ?= 50
ROLLBACKS ?= 0
# Number of parallel test processes. Most of a test's time is waiting for processes to start.
WORKERS ?= logical
# One thread per process: with more threads than free cores, tests and their trainers slow each other down.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# All tests of a file run in one process and share its fixtures. Files keep their order: by default files with
# few tests, which start trainers, come last. Then one process would be busy for minutes after the others.
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

demo: $(INSTALLED)  ## Run the end-to-end demo: upload, train, ask
	$(BIN)/python examples/demo.py

up: $(INSTALLED)  ## Run the whole service in the foreground on port 8000
	$(BIN)/flant5 up

secrets:  ## Create the passwords, the first API key and .env for docker compose
	docker/secrets.sh

test: $(INSTALLED)  ## Run the tests
	$(PYTEST) $(SIDE_BY_SIDE)

test-stack: $(INSTALLED)  ## Run the slow tests: the whole service with the real trainer
	$(PYTEST) $(SIDE_BY_SIDE) -m "stack and not chaos"

test-browser: $(INSTALLED)  ## Run the dashboard tests in a headless Chromium (installed if missing)
	$(PYTEST) $(SIDE_BY_SIDE) -m browser

screenshots: $(INSTALLED)  ## Save screenshots of the dashboard to docs/screenshots
	FLANT5_TEST_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -m browser tests/browser/test_pictures.py \
		tests/browser/test_very_many.py

test-docker: $(INSTALLED)  ## Build the images and test the containers (starts a Docker engine if none runs)
	$(PYTEST) -m docker

chaos: $(INSTALLED)  ## Inject random faults and check the guarantees; SEED=1 FAULTS=50
	$(BIN)/python -m tests.chaos --seed $(SEED) --faults $(FAULTS) --rollbacks $(ROLLBACKS) \
		--settle-seconds $(SETTLE)

endurance: $(INSTALLED)  ## Run the tests that take many minutes: kills at 20 points, 100 cancels, multi-node
	$(PYTEST) -m chaos -s

bench: $(INSTALLED)  ## Benchmark against common alternatives; appends to docs/benchmarks.md
	$(BIN)/python -m benchmarks

api-docs: $(INSTALLED)  ## Call the whole REST API and write the responses to docs/api.md
	$(BIN)/python -m examples.api_calls

cli-docs: $(INSTALLED)  ## Run the CLI commands and write their output to docs/cli.md
	$(BIN)/python -m examples.cli_tour

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck docker/*.sh docker/redis/*.sh findings/*.sh .ci/run

check: lint test  ## Run everything that must pass before a commit

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## Re-resolve and rewrite requirements.lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet --editable '.[dev]'
	build/lock/bin/pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+cpu$$/\1/' > requirements.lock
	# redis requires it on older versions of Python than the one used here.
	echo 'async-timeout==5.0.1; python_full_version < "3.11.3"' >> requirements.lock

clean:  ## Remove everything that make created
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-home
