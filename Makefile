# Needs make and Python 3.11 or newer. Everything else goes into .venv, which each target makes first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help demo demo-weather test fuzz soak lab docs bench export clean

# data made ready and compiled programs: beside .venv, not in the home folder
export SPHERICAL_CNN_CACHE ?= $(CURDIR)/.cache

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
FIND_PYTHON = for p in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; p=; done; \
	if [ -z "$$p" ]; then echo "make: no Python 3.11 or newer among python3.13, python3.12, python3.11, python3, python." \
	"Install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; fi; \
	if ! "$$p" -c 'import venv, ensurepip' >/dev/null 2>&1; then echo "make: $$p cannot make a virtual environment:" \
	"its modules venv and ensurepip are missing (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; fi

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: .venv/.stamp-run ## train and evaluate a small model, results in runs/demo
	@$(BIN)/spherical-cnn demo --out runs/demo

demo-weather: .venv/.stamp-weather ## simulate a year of weather, train, forecast and score: runs/demo-weather
	@$(BIN)/spherical-cnn demo-weather --out runs/demo-weather

test: .venv/.stamp-dev ## run every notebook, then import and lint every module
	@$(BIN)/python tools/test.py

fuzz: .venv/.stamp-dev ## damage files of every form, 1,000 cases each, and read them; FUZZ='--cases 100 xyz sdf'
	@$(BIN)/python tools/fuzz.py $(FUZZ)

soak: .venv/.stamp-dev ## kill trainings at random moments and compare their ends, 15 kills each; SOAK='--kills 4 maps'
	@$(BIN)/python tools/soak.py $(SOAK)

lab: .venv/.stamp-dev ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=nbs

docs: .venv/.stamp-dev ## build the site into _docs
	@$(BIN)/python tools/build_docs.py

bench: .venv/.stamp-run ## time the transforms, rows appended to bench/transforms.csv
	@$(BIN)/spherical-cnn bench transforms $(BENCH)

export: .venv/.stamp-dev ## notebooks to package and README, notebooks cleaned
	@$(BIN)/python tools/refresh.py --titles && $(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python tools/readme.py

clean: ## remove what was built; .venv and runs stay
	rm -rf _docs _proc _site_src build dist .ruff_cache .cache/jax nbs/nbdev.yml
	find nbs spherical_cnn tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# A stamp is written last, so that an interrupted install is taken up again.
.venv/.stamp-run: settings.ini setup.py
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { $(FIND_PYTHON); echo "making .venv with $$("$$p" --version)"; "$$p" -m venv --clear .venv; }
	@echo "installing what the package needs into .venv (a minute or two)"
	@$(PIP) -e '.[molecules,digits]'
	@touch $@

# jcm's own requirements hold its documentation tools; what it needs to run is in the extra `simulate`
.venv/.stamp-weather: .venv/.stamp-run
	@echo "installing what weather needs into .venv (half a minute)"
	@$(PIP) -e '.[weather,simulate]'
	@$(PIP) --no-deps jcm==3.0.0
	@touch $@

.venv/.stamp-dev: .venv/.stamp-weather
	@echo "installing what the notebooks and the site need into .venv (a minute or two)"
	@$(PIP) -e '.[dev]'
	@touch $@
