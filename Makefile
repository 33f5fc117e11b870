# Everything a fresh Debian or Ubuntu machine needs is done by these targets; nothing has to be installed by hand
# before them but Python 3.11+ with venv. The torch pin is for tests and the demo alone (see pyproject.toml).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0
PEERS := $(VENV)/peers


.PHONY: demo test check format docs bench peers clean

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
	$(BIN)/python benchmarks/market.py --seeds 1 --trace-seeds 1
	$(BIN)/python benchmarks/agnews_cpu.py

# Other memory estimators, in a Python of their own (accuracy.py memory --peers $(PEERS)/bin/python). llm-analysis asks
# for a huggingface-hub older than any that fitcheck-llm takes, and uses it for names on the hub alone: hence --no-deps.
peers: $(PEERS)/.ready

$(PEERS)/.ready: Makefile
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet $(TORCH) transformers==5.23.0 accelerate==1.15.0 fitcheck-llm==0.3.1 \
	  torch-kitsune==0.7.0 fire==0.5.0
	$(PEERS)/bin/pip install --quiet --no-deps llm-analysis==0.2.2
	@touch $@

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
