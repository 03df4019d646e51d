PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEMO := outputs/demo
# Three processes of one thread each, as many tests wait, to which whole files of tests go, since those share what they
# have made, in the order of tests/conftest.py.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: install
install: $(INSTALLED) ## Make .venv with the tested versions of everything

# uv installs the several GB of torch in a minute where pip takes five.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| (echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[tests]'
	touch $(INSTALLED)

.PHONY: demo
demo: install ## Train ECAPA-TDNN with AAM-softmax on the embedded corpus and evaluate it
	$(BIN)/python train.py model=ecapa loss=aam experiment=demo
	$(BIN)/python evaluate.py ckpt=$$(ls -td $(DEMO)/*/ | head -n 1) baselines=true

.PHONY: test
test: install ## Run the tests (some minutes)
	$(PARALLEL) -m 'not slow'

.PHONY: test-all
test-all: install ## Run every test, the slow ones too
	$(PARALLEL)

.PHONY: bench
bench: install ## Measure speed and memory (hours, on an idle machine): one dated report in benchmarks/
	$(BIN)/python benchmarks/bench.py

.PHONY: lint
lint: install ## Check style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: format
format: install ## Put the code into the project's style
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

.PHONY: tensorboard
tensorboard: install ## Watch all runs in the browser
	$(BIN)/tensorboard --logdir outputs

.PHONY: clean
clean: ## Remove the virtual environment and caches; outputs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
