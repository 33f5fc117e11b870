# Everything a fresh Debian or Ubuntu machine needs is done by these targets; nothing has to be installed by hand
# before them but Python 3.11+ with venv. The torch pin is for tests and the demo alone (see pyproject.toml).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0


.PHONY: demo test check format docs bench clean

demo: $(READY)
	@$(BIN)/python examples/demo.py $(DATA)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python docs/generate.py

bench: $(READY)
	$(BIN)/python benchmarks/startup.py

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "gpuplan needs Python 3.11 or newer: apt-get install python3 (or set PYTHON=...)"; exit 5; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv lacks ensurepip: apt-get install python3-venv, then run make again"; exit 5; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[all]" --group dev
	@touch $(READY)

clean:
	rm -rf $(VENV) .gpuplan
