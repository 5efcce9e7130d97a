# make up    set up what is missing and run Lotgate here
# make test  set up what is missing and run every test
VENV ?= .venv
BIN := $(VENV)/bin
# The newest Python that every dependency supports and that is installed here.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

# Two more than there are cores: half of the time tests wait for processes.
TESTERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 2)))

.PHONY: up test lint contract bench lock clean

up: $(STAMP)
	@exec $(BIN)/lotgate up

test: $(STAMP)
	@$(BIN)/python -m tests.tryton.erp
	@$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes down what was added to version 1 of the contract; refuses what would break a caller.
contract: $(STAMP)
	$(BIN)/python -m tests.api.contract

bench: $(STAMP)
	$(BIN)/python -m bench

# durable_rules comes as source: it needs a C compiler, and on Python 3.13 a new name for a function it calls.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Lotgate needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || { echo "Lotgate needs a C compiler and Python headers for one dependency (Debian: apt-get install gcc python3-dev)." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what Lotgate needs (about half a minute the first time) ..."
	@CPPFLAGS="$(CPPFLAGS) -DPyEval_CallObject=PyObject_CallObject" $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@rm -f $(VENV)/.installed-*
	@touch $(STAMP)

# Needs uv. The lock carries hashes and no address of any index.
lock:
	uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --generate-hashes \
		--no-header -q -o requirements.lock

clean:
	rm -rf $(VENV) var build dist .mypy_cache .ruff_cache .pytest_cache
