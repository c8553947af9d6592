# Everything these targets do is in Python; README.md has the same lines for a machine without make.

PROFILE ?= laptop
VENV    ?= .venv
# The first Python on the path that is new enough; name another one with `make PYTHON=...`.
PYTHON  ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
             $$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
             && echo $$python && break; done)

VENV_PYTHON := $(VENV)/bin/python
STAMP       := $(VENV)/installed
# A machine whose own Python has all that is needed, PyTorch for its GPU above all, goes without the
# environment: make bench VENV_PYTHON=python3
READY       := $(if $(filter command,$(origin VENV_PYTHON)),,$(STAMP))

NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help env lab lint format test test-slow test-fast test-notebooks test-gpu prose bench figures report clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
	  | awk -F '\t' '{ printf "make %-14s %s\n", $$1, $$2 }'

# The environment is made anew, not patched, so that it is never older than what it says it is.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.10 or newer on the path: install one, or name it with make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV_PYTHON) -m pip install -c constraints.txt -e ".[notebooks,test,docs]"
	@touch $@

env: $(STAMP)  ## make .venv with the tested versions (again when the dependencies change)

lab: $(READY)  ## open JupyterLab on the notebooks
	$(VENV_PYTHON) -m jupyterlab notebooks

lint: $(READY)  ## check style and types, and that notebooks have no outputs; changes nothing
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) -m nbstripout --keep-id --verify $(NOTEBOOKS)

format: $(READY)  ## lay out the code, and strip the outputs from notebooks
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .
	$(VENV_PYTHON) -m nbstripout --keep-id $(NOTEBOOKS)

# A process per core; tests that share something costly, such as a browser, stay in one of them.
PYTEST := $(VENV_PYTHON) -m pytest -n auto --dist loadgroup

test: $(READY)  ## run the tests
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## run the slow ones: GPU kernels in an interpreter, every notebook in JupyterLab
	$(PYTEST) -m slow

test-fast: $(READY)  ## run the tests of the paper's own modules, within a minute
	$(PYTEST) -m "not slow" tests/test_*.py tests/training tests/grouped_conv

test-notebooks: $(READY)  ## run the notebooks as they are; DASR_PROFILE=smoke is quicker
	$(PYTEST) --nbmake --nbmake-timeout=900 notebooks

test-gpu: $(READY)  ## run the tests that need a CUDA device
	$(VENV_PYTHON) -m pytest -m gpu

prose: $(READY)  ## count words, pictures and lines of the notebooks; fails on nothing
	$(VENV_PYTHON) tests/notebooks/prose.py

bench: $(READY)  ## measure this machine: figures/bench-DEVICE.json, and the roofline beside it
	$(VENV_PYTHON) -m dasrlib.cli bench

figures: $(READY)  ## run the notebooks in the laptop profile and keep their figures in figures/
	DASR_KEEP_FIGURES=1 $(VENV_PYTHON) -m dasrlib.book --profile laptop

report: $(READY)  ## execute the notebooks and build the book; PROFILE=laptop, gpu, paper or smoke
	$(VENV_PYTHON) -m dasrlib.book --profile $(PROFILE)

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find dasrlib tests notebooks docs -name __pycache__ -o -name .ipynb_checkpoints \
	  | xargs rm -rf
