# Every target does its own set-up: a virtual environment in .venv, filled from constraints.txt.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
BIN := .venv/bin
RUN_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
# Without `local` (torch: gigabytes, where no build for the CPU is to be had) or `ray`, their tests are skipped.
EXTRAS ?= crew,mcp,service,otel,prices,redis,policy,pii,lang,learn,discord,local,ray,dev
SPREAD := -n auto --maxprocesses 4 --dist loadfile
# The tests of the deciding core. To watch its coverage slows everything that runs, so the others run unwatched.
CORE := $(addprefix tests/,contracts domain router routing state strategies)

# The first interpreter that is new enough, old enough for crewai, and able to make virtual environments.
FIND_PYTHON := for p in $(PYTHON) python3 python3.11 python3.12 python3.13 python; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo "$$p"; break; }; done

define make_venv
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "crew-moe needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt-get install python3-venv)." >&2; \
		echo "If one is installed under another name: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || { echo "Creating .venv with $$($$python --version) ..." && "$$python" -m venv .venv; }
endef

.PHONY: help install redis run test accept mcp-acceptance soak lint type bench bench-local bench-quality docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready-run: pyproject.toml constraints.txt
	$(make_venv)
	@echo "Installing crew-moe with CrewAI (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[crew]'
	@touch $@

.venv/.ready-dev: pyproject.toml constraints.txt
	$(make_venv)
	@echo "Installing crew-moe with its development tools (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch .venv/.ready-run $@

redis:
	@command -v redis-server > /dev/null || { \
		echo "The tests need redis-server, which is not installed. On Debian: apt-get install redis-server" >&2; exit 1; }

install: .venv/.ready-dev ## Make the development environment in .venv

run: .venv/.ready-run ## Run the demo crew on simulated providers (RUN_FLAGS="--json", RUN_FLAGS="my.txt")
	@$(BIN)/crew-moe run $(RUN_FLAGS)

test: redis .venv/.ready-dev ## Run the tests (needs redis-server); hold the branch coverage of the deciding core
	$(BIN)/python -m pytest $(SPREAD) --cov --cov-report= $(PYTEST_FLAGS) $(CORE)
	$(BIN)/python -m tests.structure.coverage_floor
	$(BIN)/python -m pytest $(SPREAD) $(PYTEST_FLAGS) $(addprefix --ignore=,$(CORE))

accept: redis .venv/.ready-dev ## Run the longer proofs: crashes, races, clean environments, whole crews
	$(BIN)/python -m pytest -m accept $(PYTEST_FLAGS)

mcp-acceptance: .venv/.ready-dev ## Run the MCP server against npm's clients, CrewAI's, and another fastmcp (needs npm)
	$(BIN)/python -m pytest -m accept tests/acceptance/test_mcp_clients.py $(PYTEST_FLAGS)

soak: redis .venv/.ready-dev ## Run the proofs that take many minutes
	$(BIN)/python -m pytest -m soak $(PYTEST_FLAGS)

lint: .venv/.ready-dev ## Check style, import layers and sizes
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/python -m crew_moe.cli.schemas --check
	$(BIN)/python -m tests.structure.sizes

type: .venv/.ready-dev ## Check types
	$(BIN)/mypy

bench: .venv/.ready-dev ## Measure against the targets and litellm (BENCH_FLAGS="--quick", "--check", "--json")
	$(BIN)/python -m tests.benchmarks.bench $(BENCH_FLAGS)

bench-local: .venv/.ready-dev ## Measure the local gate, its experts and the layer (the same BENCH_FLAGS)
	$(BIN)/python -m tests.benchmarks.local $(BENCH_FLAGS)

bench-quality: .venv/.ready-dev ## Train on DATA=DIR/train, judge on DATA=DIR/val, beside other routers (the same BENCH_FLAGS)
	$(BIN)/python -m tests.benchmarks.quality $(if $(DATA),--data $(DATA)) $(BENCH_FLAGS)

docs: .venv/.ready-dev ## Write the JSON Schemas of the configuration files anew
	$(BIN)/python -m crew_moe.cli.schemas

clean: ## Remove what the other targets made
	rm -rf .venv .venv-litellm .venv-mcp .venv-deepspeed dist build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
