# Everything that a user or a developer runs. `make` alone prints this list.

RATCHET := .venv/bin/ratchet
# Beside the environment, not in it: the lock stays what the product needs.
PEERS := .ratchet/peers
OPTIONAL := .ratchet/optional
NPM_PEERS := .ratchet/peers-npm
# Two processes, as most tests use one core.
UNIT := .venv/bin/pytest -n 2 --dist worksteal tests/unit
PROMPTFOO := promptfoo@0.121.20
.DEFAULT_GOAL := help
.PHONY: help setup up down demo test lint format unit optional bench clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make both environments, or check that they are whole (ONLY=main or ONLY=serving for one)
	@python3 setup/bootstrap.py $(if $(ONLY),--only $(ONLY))

up: setup ## Start vLLM, MLflow, Prefect and its worker
	@$(RATCHET) up

down: ## Stop what `make up` started
	@$(RATCHET) down

demo: setup ## See a better prompt promoted and a worse one refused, from nothing
	@$(RATCHET) demo

test: setup lint ## Run every check and every test; starts the servers that it needs
	@$(UNIT)
	@$(MAKE) --no-print-directory optional
	@.venv/bin/pytest tests/integration
	@.venv/bin/pytest tests/end_to_end

lint: setup ## Check format, rules, types and the order of the rooms
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: setup ## Format the code and mend what can be mended by itself
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

unit: setup ## Run the tests that need no server; seconds
	@$(UNIT) -m "not integration"

optional: setup $(OPTIONAL)/made ## Run the tests of the optional packages, installed beside the environment
	@PYTHONPATH=$(OPTIONAL) .venv/bin/pytest tests/optional

bench: setup $(if $(NAME),$(PEERS)/made) ## Measure against other packages (NAME=P8, some with DATA=dir), or list what there is
	@PYTHONPATH=$(PEERS) .venv/bin/python -m benchmarks $(NAME) $(DATA)

$(PEERS)/made: requirements/bench.txt | setup
	@.venv/bin/python -m pip install --quiet --no-deps --upgrade --target $(PEERS) -r $<
	@if command -v npm >/dev/null; then \
		npm install --prefix $(NPM_PEERS) --no-audit --no-fund --ignore-scripts $(PROMPTFOO) >/dev/null \
			|| echo "promptfoo can't be installed here; benchmarks go on without it."; \
	fi
	@touch $@

$(OPTIONAL)/made: requirements/deepeval.txt | setup
	@.venv/bin/python -m pip install --quiet --no-deps --upgrade --target $(OPTIONAL) -r $<
	@touch $@

clean: ## Remove caches; environments and .ratchet/ (state, weights) stay
	@find . -path ./.venv -prune -o -path ./.venv-serve -prune -o -path ./.ratchet -prune -o \
		-name __pycache__ -type d -exec rm -rf {} +
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
