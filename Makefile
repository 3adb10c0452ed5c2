# make demo   set up everything and run the main job: six images, each restored with no text, its own and two others, one picture
# make test   set up everything and run the tests
# make slow   the same with the tests that take minutes
# make check  ruff and mypy
# make docs   the documentation as a site: site/index.html, with an API reference
# make notebooks  run the notebooks anew, in place
# make study  docs/results/treg.md anew: about three hours on two cores; interrupted, the same command continues
# make beyond  the runs, tables and pictures of docs/results/beyond.md anew: half a day, continued likewise
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow check docs notebooks study beyond clean

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

docs: $(VENV)/.run
	$(BIN)/pip install --quiet -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file docs/site/mkdocs.yml --quiet --strict

notebooks: $(VENV)/.run
	$(BIN)/pip install --quiet -e ".[notebooks]"
	TQDM_DISABLE=1 PYTHONWARNINGS=ignore $(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb

STUDY ?= runs/study
# The released settings take four times as many steps.
RELEASED_IMAGES ?= 24
STUDY_NOTE ?= Settings: *best*, 100 images; *released*, $(RELEASED_IMAGES) images; *draws*, ten draws of 20 images; \
  *phase*, 100 images of phase retrieval with the best settings and sigma 0.05 (DAPS's; the paper has 0.01). \
  The released settings are those of `experiment=released/treg` (negation with the rate 1e-3, on the blur too) \
  on the project's tasks at 64 px; *no text* is there what the released code means by it, the null branch with its null prompt.
export STUDY_NOTE
TASKS := task=sr_x8,sr_x16,gaussian_deblur,box_inpainting
best := $(BIN)/python run.py -m experiment=study/treg_best
released := '~variants.random_caption' '~variants.style_word'
two := '~variants.negation' '~variants.counterfactual' $(released)

study: $(VENV)/.run
	$(best) $(TASKS),colourisation run_dir=$(STUDY)/best
	$(best) task=sr_x8,box_inpainting draws=10 data.limit=20 $(two) run_dir=$(STUDY)/draws
	$(best) task=phase_retrieval $(two) run_dir=$(STUDY)/phase
	$(BIN)/python run.py -m experiment=study/treg_released $(TASKS) data.limit=$(RELEASED_IMAGES) $(released) run_dir=$(STUDY)/released
	$(BIN)/treg-exp study $(STUDY) --out docs/results/treg.md --note "$$STUDY_NOTE"

BEYOND ?= runs/beyond
captions := '~variants.no_text' '~variants.negation' $(released)
run := $(BIN)/python run.py -m

# Half a day on two cores; every run is continued where it was interrupted.
beyond: $(VENV)/.run
	$(BIN)/pip install --quiet -e ".[notebooks]"
	$(run) experiment=study/beyond $(TASKS),colourisation run_dir=$(BEYOND)/beyond
	$(best) $(TASKS),colourisation $(captions) run_dir=$(BEYOND)/treg
	$(run) experiment=study/rules task=sr_x16,box_inpainting run_dir=$(BEYOND)/rules
	$(run) experiment=study/knob $(TASKS) data.limit=50 run_dir=$(BEYOND)/knob
	for steps in 8 12 24 50 100 200; do $(run) experiment=best/treg null_text=off metrics=judge task=sr_x16,box_inpainting \
	  data.offset=100 data.limit=40 solver.steps=$$steps run_dir=$(BEYOND)/steps_$$steps || exit 1; done
	$(BIN)/python docs/results/scripts/beyond.py $(BEYOND)

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
