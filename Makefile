# Two commands for a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow check clean

demo: $(VENV)/.predict
	$(BIN)/python scripts/demo.py demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --ignore=tests/train/test_run.py
	$(BIN)/python -m pytest -m "not slow" tests/train/test_run.py  # starts, kills and joins processes: on its own

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "eyas needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.predict: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.predict

clean:
	rm -rf $(VENV) demo output build dist
