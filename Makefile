# `make test` on a fresh machine with Python 3.10+ and make: its own environment, everything installed, all checks.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: test test-all lint tests browser every demo docs lab notebooks images bench clean

# mypy takes a core for most of a minute, and browsers and the processes of tests wait for each other: all beside
# each other leave no core idle
BESIDE = $(MAKE) --jobs $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: $(VENV)/.installed
	$(BESIDE) lint tests browser

# and every configuration of every tower, not one of each structure
test-all: $(VENV)/.installed
	$(BESIDE) lint tests browser every

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tests: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal --ignore=tests/browser

# apart from the others, since the browsers' driver keeps an event loop in its thread; the site is looked at as it was built
browser: $(VENV)/.installed docs
	$(BIN)/python -m pytest tests/browser --numprocesses=2 --dist=loadgroup

every: $(VENV)/.installed
	$(BIN)/python -m pytest -m every

# uv resolves torch and torchvision together, from one index, into an environment of its own
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("denseclip_viz needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Try: make test PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
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
