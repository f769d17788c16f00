"""Every notebook of the course, run from the top in a real JupyterLab."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
VIEW = "application/vnd.jupyter.widget-view+json"
# A widget that JupyterLab could not draw says so in words, in the widget's place.
UNDRAWN = """() => [...document.querySelectorAll('.jp-OutputArea-output')].map(node => node.textContent)
    .filter(text => /Error displaying widget|Loading widget|model not found/i.test(text))"""
HIDDEN = """() => [...document.querySelectorAll('.jp-CodeCell')].filter(
    cell => cell.querySelector('.jp-Cell-inputWrapper .jp-Placeholder')).length"""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_jupyterlab(lab, page, name):
    lab.open(page, name)
    assert page.evaluate(UNDRAWN) == []  # as stored, before anything runs
    lab.run_all(page)
    bundles = [output["data"] for cell in lab.cells(page) for output in cell["outputs"] if "data" in output]
    assert all("image/png" in bundle for bundle in bundles if VIEW in bundle), "a widget without a still picture"
    page.wait_for_function(f"() => ({UNDRAWN})().length === 0")
    page.watch.check()


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_hidden_when_a_notebook_is_opened(lab, page, name):
    import json

    cells = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]
    answers = [cell for cell in cells if cell["cell_type"] == "code" and "answer" in cell["metadata"].get("tags", [])]
    if answers:
        lab.open(page, name)
        assert page.evaluate(HIDDEN) == len(answers)
