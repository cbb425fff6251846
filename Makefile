# Two commands do everything on a fresh machine: `make reproduce-report` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help install reproduce-report docs-report test test-slow test-extras test-newest golden faults lint bench tensorboard notebooks docs wheel clean

PYTHON ?= python3
BIN := .venv/bin
PROFILE ?= quick
RUNS ?= $(or $(DLBENCH_RUNS),runs)
INSTALLED := .venv/.installed
EXTRAS := .venv-extras
NEWEST := .venv-newest/bin/python
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal --durations 20 --durations-min 3

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Once; later calls need no network. Exact versions: constraints.txt.
$(INSTALLED):
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(INSTALLED)  ## Create .venv and install the project with exact versions (the other targets do it too)

reproduce-report: $(INSTALLED)  ## Run what the reports lack and judge them: report/index.html (PROFILE=quick|full|none)
	$(BIN)/python -m dlbench report --profile $(PROFILE) --runs $(RUNS) $(ARGS)

docs-report: $(INSTALLED)  ## Render docs/report, the README's table and the pages of results from the committed records
	$(BIN)/python -m dlbench report --profile none --runs docs/report/none --output docs/report --readme README.md --pages docs

test: $(INSTALLED)  ## Run the quick tests (ARGS='tests/test_beam.py -k width' for some of them)
	$(PYTEST) -m "not slow and not extras" $(ARGS)

test-slow: $(INSTALLED)  ## Run the others: sweeps that are killed, edited copies, a browser, a wheel, notebooks
	$(PYTEST) -m "slow and not extras" $(ARGS)

# On top of .venv, so that only what the extras add is installed.
$(EXTRAS)/.installed: $(INSTALLED) pyproject.toml constraints.txt constraints-extras.txt
	rm -rf $(EXTRAS)
	$(BIN)/python -m venv $(EXTRAS)
	$(BIN)/python -c "import sysconfig; print(f'import site; site.addsitedir({sysconfig.get_path(\"purelib\")!r})')" \
		> $$($(EXTRAS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth
	$(EXTRAS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--constraint constraints-extras.txt --editable '.[slurm,ray,loggers]'
	@touch $@

test-extras: $(EXTRAS)/.installed  ## Run the tests of what is not installed by default: SLURM, Ray, wandb, MLflow
	$(EXTRAS)/bin/python -m pytest -n 2 --dist loadfile --durations 20 --durations-min 3 -m extras $(ARGS)

# What constraints.txt pins is left aside; bits then differ, and are held within tolerances. Needs the network each time.
test-newest:  ## Run the quick tests with the newest releases that pyproject.toml allows, in .venv-newest
	$(PYTHON) -m venv .venv-newest
	$(NEWEST) -m pip install --quiet --upgrade --upgrade-strategy eager torch torchvision
	$(NEWEST) -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	$(NEWEST) -m pip list | grep -E '^(torch|torchvision|pytorch-lightning|hydra-core|numpy) '
	DLBENCH_GOLDEN=tolerance $(NEWEST) -m pytest -n 2 --dist worksteal -m "not slow and not extras" $(ARGS)

golden: $(INSTALLED)  ## Renew tests/golden/bits.json; refused where bits change and no version does
	$(BIN)/python tests/golden/golden.py

faults: $(INSTALLED)  ## Kill, fill, damage and fuzz by chance, and count what holds (15 minutes; ARGS='--seed 1')
	$(BIN)/python tests/faults.py $(ARGS)

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## Measure speed against a plain PyTorch loop (25 minutes on an idle machine; ARGS='--quick' tries it)
	$(BIN)/python -m dlbench bench $(ARGS)

tensorboard: $(INSTALLED)  ## Open the newest runs in TensorBoard (ARGS='--committed', '--only REGEX', '--port N')
	DLBENCH_RUNS=$(RUNS) $(BIN)/python -m dlbench tensorboard $(ARGS)

notebooks: $(INSTALLED)  ## Execute the notebooks (notebooks/*.py) and renew their copies (.ipynb)
	$(BIN)/python -m dlbench notebooks $(ARGS)

docs: $(INSTALLED)  ## Build the documentation as a site: site/index.html
	$(BIN)/sphinx-build -qW --keep-going docs site

wheel: $(INSTALLED)  ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## Remove caches and builds; records and .venv stay
	rm -rf build dist site report .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
