# `make test` on a fresh machine with Python 3.10+ and make: its own environment, everything installed, all checks.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN = tests/notebooks/test_runs.py
export OMP_NUM_THREADS ?= 1

.PHONY: test test-all check lint tests lessons browser towers every demo docs lab notebooks images bench clean

# browsers wait a good part of their time: lessons, a kernel each, run beside them
BESIDE = $(MAKE) --jobs=3 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: check
	$(BESIDE) browser lessons

# and every configuration of every tower, not one of each structure
test-all: check
	$(BESIDE) browser lessons towers

# mypy takes a core for most of a minute: beside the tests, which leave some of one when they begin and end
check: $(VENV)/.installed
	$(MAKE) --jobs=2 lint tests

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tests: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal --ignore=tests/browser --ignore=$(RUN)

lessons: $(VENV)/.installed
	$(BIN)/python -m pytest $(RUN)

# apart from the others: the browsers' driver keeps an event loop in its thread
browser: $(VENV)/.installed
	$(BIN)/python -m pytest tests/browser --numprocesses=2 --no-loadscope-reorder

towers: $(VENV)/.installed
	$(BIN)/python -m pytest -m every tests/clip/towers

# and interrupts at every line, and whole networks written as a file
every: $(VENV)/.installed
	$(BIN)/python -m pytest -m every

# uv resolves torch and torchvision together, from one index, into an environment of its own; through a link it would
# empty another one's
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("denseclip_viz needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Try: make test PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	@test ! -L $(VENV) || { echo "$(VENV) is a link to $$(readlink $(VENV)), which would be emptied. Remove the link, or: make test VENV=another" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/denseclip-viz toyworld demo demo
	$(BIN)/python tests/make_demo.py demo

# warnings, broken links and anything that a page would ask of a network end it with an error
docs: $(VENV)/.installed
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

lab: $(VENV)/.installed
	$(BIN)/denseclip-viz lab my-notebooks

notebooks: $(VENV)/.installed
	$(BIN)/python tests/make_notebooks.py

images: $(VENV)/.installed
	$(BIN)/python tests/make_images.py docs

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/towers.py
	$(BIN)/python benchmarks/paths.py
	$(BIN)/python benchmarks/attributions.py
	$(BIN)/python benchmarks/segment.py
	$(BIN)/python benchmarks/gap.py
	$(BIN)/python benchmarks/text.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/finer.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/widget.py
	$(BIN)/python benchmarks/command_line.py

clean:
	rm -rf $(VENV) demo docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
