"""Every notebook runs from the top in a fresh kernel, and shows what is stored in it."""

from __future__ import annotations

import resource
from pathlib import Path

import nbformat
import pytest
from make_notebooks import NOTEBOOKS, STILLS, VIEW, clean, execute

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
SECONDS = 240
spent = {}


def kinds(notebook):
    """What each code cell gave: the kinds of its outputs."""
    return [
        [output.get("name") or sorted(output.get("data", {})) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_notebook_runs_and_shows_what_is_stored(path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook = execute(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent[path.stem] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert all(STILLS & set(data) for data in shown if VIEW in data), "a widget without a still picture"
    assert kinds(clean(notebook)) == kinds(nbformat.read(path, as_version=4)), "stored outputs are old: make notebooks"


@pytest.mark.slow
def test_all_together_take_less_than_four_minutes_of_one_core():
    assert set(spent) == {path.stem for path in FILES}, "run with the tests above"
    assert sum(spent.values()) < SECONDS, spent


def test_running_leaves_nothing_beside_the_notebooks(tmp_path):
    cells = [nbformat.v4.new_code_cell("open('left.txt', 'w').close(); 1 + 1")]
    path = tmp_path / "writes.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert execute(path).cells[0].outputs[0].data["text/plain"] == "2"
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]
