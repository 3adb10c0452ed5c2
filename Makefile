# make demo   set up everything and run the main job: 8 images, three text variants, one picture grid
# make test   set up everything and run the tests
# make slow   the same with the tests that take minutes
# make check  ruff and mypy
# make notebooks  run the notebooks anew, in place
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow check notebooks clean

demo: $(VENV)/.run
	$(BIN)/python run.py experiment=quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not gpu"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(VENV)/.run
	$(BIN)/pip install --quiet -e ".[notebooks]"
	TQDM_DISABLE=1 PYTHONWARNINGS=ignore $(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb

# The marker files are written last: an interrupted installation is taken up again.
$(VENV)/.run: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
