"""The first lesson and the notebook of widgets, opened and run from the top in a real JupyterLab.

The other lessons make no widget, and run in a kernel alone: tests/notebooks/test_runs.py.
"""

from __future__ import annotations

import json

import nbformat
import pytest
from make_notebooks import IN_JUPYTERLAB, NOTEBOOKS, STILLS, VIEW, kinds, stored

WIDGETS = ("Canvas", "link", "explore", "template_lab", "layer_lens", "atlas")
# A widget that JupyterLab could not draw says so in words, in the widget's place.
UNDRAWN = """() => [...document.querySelectorAll('.jp-OutputArea-output')].map(node => node.textContent)
    .filter(text => /Error displaying widget|Loading widget|model not found/i.test(text))"""
HIDDEN = """() => [...document.querySelectorAll('.jp-CodeCell')].filter(
    cell => cell.querySelector('.jp-Cell-inputWrapper .jp-Placeholder')).length"""


def answers(name):
    """How many answers in code a stored notebook has."""
    cells = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    return sum("answer" in cell["metadata"].get("tags", []) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_JUPYTERLAB)
def test_a_notebook_opens_with_its_answers_hidden_runs_and_shows_what_is_stored(lab, page, name):
    lab.open(page, name)
    assert page.evaluate(UNDRAWN) == [] and page.evaluate(HIDDEN) == answers(name)
    lab.run_all(page)
    made = [list(map(nbformat.from_dict, cell["outputs"])) for cell in lab.cells(page) if cell["type"] == "code"]
    bundles = [output.data for outputs in made for output in outputs if "data" in output]
    widgets = [bundle for bundle in bundles if VIEW in bundle]
    assert all(STILLS & set(bundle) for bundle in widgets), "a widget without a still image"
    assert kinds(made) == kinds(stored(NOTEBOOKS / name)), "stored outputs are old: make notebooks"
    page.wait_for_function(f"() => ({UNDRAWN})().length === 0")


def test_the_other_lessons_make_no_widget():
    for path in NOTEBOOKS.glob("*.ipynb"):
        if path.name not in IN_JUPYTERLAB:
            assert not [name for name in WIDGETS if f"{name}(" in path.read_text(encoding="utf-8")], path.name
