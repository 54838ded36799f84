# Two commands on a fresh machine (Linux, Python 3.11+, make): `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
INSTALLED := .venv/.installed
# slow modules first: tests/conftest.py sorts them
PARALLEL := -n logical --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-docs test-slurm coverage fuzz bench gpu docs lint format clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(INSTALLED) ## create .venv with the pinned versions

# torch is installed first, so that pip keeps the build for this machine. compileall uses all cores, unlike pip; both
# skip files for other versions of Python.
$(INSTALLED): pyproject.toml constraints.txt hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mammoseg needs Python 3.11 or newer; choose one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(PIP_INSTALL) -c constraints.txt -e '.[codecs,export,tensorboard,joblib,slurm,hpo,dashboard,dev]'
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

demo: setup ## train and test on synthetic mammograms
	$(BIN)/python -m mammoseg.train experiment=demo

test: setup ## run all tests, one process per core
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: setup ## run the fast tests, in about a minute
	$(BIN)/python -m pytest $(PARALLEL) -m fast

test-docs: setup ## build documentation and wheel, and run the documented commands on small datasets and the notebooks
	DOCUMENTED_COMMANDS=1 $(BIN)/python -m pytest tests/test_documented_commands.py tests/integration/test_finetuning.py \
	  tests/test_docs.py tests/contracts/test_wheel.py tests/integration/test_compare.py::test_the_notebooks_run

coverage: setup ## run all tests and list the lines of each module that none of them runs
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term-missing

test-slurm: setup ## test sweeps on a one-node Slurm cluster, which it installs (Debian, root)
	tests/slurm/cluster.sh $(BIN)/python -m pytest tests/slurm

fuzz: setup ## 2000 damaged files and 2000 invalid settings instead of the 100 of `make test`, all DICOM encodings and kill points, `make gpu` on a CPU, and benchmarks on small inputs
	MUTANTS=2000 SETTING_PAIRS=2000 $(BIN)/python -m pytest tests/fuzz
	ALL_ENCODINGS=1 $(BIN)/python -m pytest tests/data/images/test_dicom_encodings.py
	ALL_KILL_POINTS=1 $(BIN)/python -m pytest -k "kill or stop or lost or parallel" \
	  tests/integration/test_both_halves.py tests/integration/test_history.py tests/integration/test_restart.py \
	  tests/integration/test_search.py tests/integration/test_sweep.py
	GPU_KIT=1 BENCHMARKS=1 $(BIN)/python -m pytest tests/gpu_benchmarks tests/benchmarks

bench: setup ## run the benchmarks and write benchmarks/results.md
	$(BIN)/python benchmarks/run.py

# Does not install anything: uses .venv if it exists, otherwise PYTHON with the packages that are missing from WHEELS.
gpu: ## tests, benchmarks and training on a GPU, in slices of MINUTES: make gpu DATA=DIR [OUT=DIR] [MINUTES=9]
	PYTHONPATH=src $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py --data "$(DATA)" \
	  $(if $(OUT),--out "$(OUT)") $(if $(WORK),--work "$(WORK)") $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(TOTAL),--total $(TOTAL)) $(if $(WHEELS),--wheels "$(WHEELS)") \
	  $(if $(SMALL),--small) $(if $(REPEAT),--repeat $(REPEAT)) $(if $(SKIP),--skip $(SKIP))

docs: setup ## build the documentation: docs/_build/html/index.html
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

lint: setup ## ruff (check and format) and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup ## fix and format the code with ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv and caches; data/, outputs/ and multirun/ stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* dist build
