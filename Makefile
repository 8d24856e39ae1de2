# make setup: install; make demo: the whole pipeline; make test: every check; make results: the demo's results into docs/demo.md
# make docs: run the code of README, pages and notebooks, and build the site into site/
# make models: train the models that come along, of datasets/atlas, and score the planner's table, of datasets/planner
# make locked: setup, but of files whose hashes are in requirements.lock alone; make audit: ask whether one of them has a known hole
# make bench: measure speed (ONLY=section,… DEVICE=cuda); see tests/benchmarks/README.md
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= test
BIN := $(VENV)/bin

.PHONY: setup locked audit demo test docs results models bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

locked:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	touch $(VENV)/.installed $(VENV)/.docs

audit:
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet 'pip-audit>=2.9'
	$(VENV)/audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip

demo: setup
	$(BIN)/rulescope generate datasets/demo.toml
	$(BIN)/rulescope verify datasets/demo
	$(BIN)/rulescope report datasets/demo

test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy & types=$$!; \
	$(BIN)/python -m pytest -q --numprocesses auto --no-loadscope-reorder && wait $$types

docs: $(VENV)/.docs
	$(BIN)/python tests/docs/notebooks.py & notebooks=$$!; \
	$(BIN)/python -m pytest -q --numprocesses 2 tests/docs/pages.py && wait $$notebooks
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,docs]'
	touch $@

results: demo
	$(BIN)/python -m classifier.report.report docs/demo.md datasets/demo

SHIPPED := classifier/models/shipped/atlas
MADE := --model layers --refits 0

models: setup
	$(BIN)/rulescope train datasets/atlas --out $(SHIPPED)/everything $(MADE)
	$(BIN)/rulescope train datasets/atlas --out $(SHIPPED)/activity $(MADE) --observables activity
	for units in 10 30 100 300; do $(BIN)/rulescope train datasets/atlas --out $(SHIPPED)/activity-$$units $(MADE) \
		--observables activity --electrode units$${units}_relative0.25 || exit 1; done
	$(BIN)/python -m classifier.identify.conditions datasets/planner classifier/power/shipped/atlas.json

bench: setup
	$(BIN)/python tests/benchmarks/bench.py --device $(or $(DEVICE),cpu) --only "$(ONLY)"

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
