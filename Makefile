# `make demo`: from nothing to a promoted router. `make test`: everything the suite needs, then the suite.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check
CONFIG ?= demo
TORCH := 2.13.0

.PHONY: demo test lint format install ui wheel clean

demo: $(VENV)/train.stamp  ## logs to a promoted router on the embedded world: no torch, no file needed
	$(PY) -m pipelines demo --config $(CONFIG)

test: $(VENV)/full.stamp  ## the whole suite
	$(PY) -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/full.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/full.stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

install: $(VENV)/full.stamp  ## what development needs, torch's CPU build included

ui: $(VENV)/train.stamp  ## MLflow's and Prefect's pages on loopback
	$(PY) -m pipelines ui --config $(CONFIG)

wheel: $(VENV)/full.stamp  ## the serving package alone
	$(PY) -m build --wheel

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "beastmode needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/train.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "installing the training pipeline (no torch): one to three minutes ..."
	@$(PIP) --editable ".[train]"
	@touch $@

# torch's CPU build by name: first from where pip already looks, then from PyTorch's own index; elsewhere (macOS)
# the ordinary build has no CUDA in it.
$(VENV)/full.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "installing the training pipeline, torch's CPU build and the tools: two to five minutes ..."
	@$(PIP) "torch==$(TORCH)+cpu" 2>/dev/null \
	  || $(PIP) "torch==$(TORCH)+cpu" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null \
	  || $(PIP) "torch==$(TORCH)"
	@$(PIP) --editable ".[train,embeddings,dev]"
	@$(PIP) --editable ".[hnsw]" 2>/dev/null || echo "no C++ compiler for hnswlib: its tests will be skipped"
	@touch $(VENV)/train.stamp $@

clean:  ## what was built; the workspace with its lake and routers stays
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
