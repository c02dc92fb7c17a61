# The suite's commands; `make` alone lists them. Arguments for a command go in ARGS='...'.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TASKS := $(sort $(patsubst tasks/%/__main__.py,%,$(wildcard tasks/*/__main__.py)))
VERBS := train evaluate predict export inspect split rates search

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) \
	  | while IFS='|' read -r target text; do printf '%-28s%s\n' "$$target" "$$text"; done
	@for task in $(TASKS); do for verb in $(VERBS); do \
	  printf '%-28s%s\n' "$$verb-$$task" "python -m tasks.$$task $$verb \$$ARGS"; done; done

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv and install the project there, once
	@:

$(VENV)/.installed: setup.cfg pyproject.toml
	@echo "Installing into $(VENV); a few minutes the first time."
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.13")'
	@$(PYTHON) -m venv $(VENV)
	@PYTHONUNBUFFERED=1 $(BIN)/pip install --disable-pip-version-check --progress-bar off --editable '.[dev,serve]' \
	  | while read -r line; do printf '\r\033[K%.78s' "$$line"; done; echo
	@touch $@

.PHONY: demo
demo: setup ## Train, evaluate and export every task, then use the exports alone (20 minutes, 2 cores)
	@$(BIN)/python -m nlp_suite.demo $(ARGS)

.PHONY: test
test: setup ## Run the tests
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: lint
lint: setup ## Check style, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

.PHONY: bench
bench: setup ## Measure speed beside stock Keras and PyTorch, and write benchmarks/speed.md (20 minutes)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks.speed $(ARGS)

.PHONY: bench-quick
bench-quick: override ARGS += --quick
bench-quick: bench ## The main part of it in five minutes; nothing is written

.PHONY: quality
quality: setup ## Train every task and its peers, and write benchmarks/quality.md (hours)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[torch]'
	@$(BIN)/python -m benchmarks.quality $(ARGS)

.PHONY: kills
kills: setup ## Kill training runs at random moments, compare them, and write benchmarks/kills.md (20 minutes)
	@$(BIN)/python -m benchmarks.kills $(ARGS)

.PHONY: serve
serve: setup ## Serve the exported models over HTTP
	@$(BIN)/nlp-suite serve saved_models $(ARGS)

.PHONY: clean
clean: ## Remove .venv and caches; saved models stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find nlp_suite tasks tests -name __pycache__ -prune -exec rm -rf {} +

# train-sentiment, evaluate-sentiment, …: one for each verb and each folder in tasks/.
define task_target
.PHONY: $(1)-$(2)
$(1)-$(2): setup
	@$(BIN)/python -m tasks.$(2) $(1) $$(ARGS)
endef
$(foreach task,$(TASKS),$(foreach verb,$(VERBS),$(eval $(call task_target,$(verb),$(task)))))
