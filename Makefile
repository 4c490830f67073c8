# `make demo` and `make test` do everything on a fresh machine: set-up first, then the job.
# PYTHON is the interpreter to make the virtual environment with; TORCH says which PyTorch to install first.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
# Of the tests, each with one thread.
PROCESSES ?= 2
RUN := $(VENV)/bin/python
PACKAGES := expire_span agents envs experiments

export SDL_VIDEODRIVER ?= dummy
export PYGAME_HIDE_SUPPORT_PROMPT ?= 1

.PHONY: help setup demo test slow lint types format check docs clean

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.installed  ## The virtual environment with everything in it

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet "$(TORCH)"
	$(RUN) -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup  ## Train an agent on a memory task, evaluate it, record a video: runs/demo
	$(VENV)/bin/expire-span train --preset demo --run-dir runs/demo --overwrite
	$(VENV)/bin/expire-span evaluate runs/demo --episodes 200
	$(VENV)/bin/expire-span record runs/demo --episodes 3 --output runs/demo/video.mp4

test: setup  ## The tests, all but the slow ones
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(PROCESSES) --dist worksteal

slow: setup  ## The slow tests: minutes of learning, compiled back-ends
	$(RUN) -m pytest -m slow

lint: setup  ## Style and order
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup  ## Static types, of the tests too
	$(VENV)/bin/mypy

format: setup  ## Put style and order right
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

check: lint types test  ## All that CI asks

$(VENV)/.documents: $(VENV)/.installed
	$(RUN) -m pip install --quiet --editable '.[dev,docs]'
	touch $@

docs: $(VENV)/.documents  ## The documentation, warnings being errors: build/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

clean:  ## Everything that was made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
