"""Every notebook of the course, opened and run from the top in a real JupyterLab."""

from __future__ import annotations

import json

import nbformat
import pytest
from make_notebooks import NOTEBOOKS, STILLS, VIEW, kinds, stored

TOGETHER = 300  # seconds of one core, importing the package included
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
# A widget that JupyterLab could not draw says so in words, in the widget's place.
UNDRAWN = """() => [...document.querySelectorAll('.jp-OutputArea-output')].map(node => node.textContent)
    .filter(text => /Error displaying widget|Loading widget|model not found/i.test(text))"""
HIDDEN = """() => [...document.querySelectorAll('.jp-CodeCell')].filter(
    cell => cell.querySelector('.jp-Cell-inputWrapper .jp-Placeholder')).length"""


def answers(name):
    """How many answers in code a stored notebook has."""
    cells = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    return sum("answer" in cell["metadata"].get("tags", []) for cell in cells if cell["cell_type"] == "code")


@pytest.fixture(scope="session")
def spent(tmp_path_factory, request):
    """Where a line is written for each notebook, by whichever process runs it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "seconds-of-notebooks.txt"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_with_its_answers_hidden_runs_and_shows_what_is_stored(lab, page, name, spent):
    lab.open(page, name)
    assert page.evaluate(UNDRAWN) == [] and page.evaluate(HIDDEN) == answers(name)
    lab.run_all(page)
    seconds = lab.ask(page, "__import__('time').process_time()")
    made = [list(map(nbformat.from_dict, cell["outputs"])) for cell in lab.cells(page) if cell["type"] == "code"]
    bundles = [output.data for outputs in made for output in outputs if "data" in output]
    widgets = [bundle for bundle in bundles if VIEW in bundle]
    assert all(STILLS & set(bundle) for bundle in widgets), "a widget without a still image"
    assert kinds(made) == kinds(stored(NOTEBOOKS / name)), "stored outputs are old: make notebooks"
    page.wait_for_function(f"() => ({UNDRAWN})().length === 0")
    with spent.open("a") as file:
        file.write(f"{seconds:7.1f} {name}\n")
    lines = spent.read_text().splitlines()
    together = sum(float(line.split()[0]) for line in lines)
    assert together < TOGETHER, "all notebooks together take less than five minutes:\n" + "\n".join(lines)
