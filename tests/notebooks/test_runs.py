"""Every notebook runs from the top in a fresh kernel, and shows what is stored in it.

Where there is a Chromium, tests/browser/test_notebooks.py asks the same, and more, of a real JupyterLab.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from make_notebooks import NOTEBOOKS, STILLS, VIEW, execute, kinds, stored
from watch import ENGINES

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
IN_A_BROWSER = "it runs in JupyterLab: tests/browser/test_notebooks.py"


@pytest.mark.slow
@pytest.mark.skipif(ENGINES["chromium"].path() is not None, reason=IN_A_BROWSER)
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_notebook_runs_and_shows_what_is_stored(path):
    made = [cell.outputs for cell in execute(path).cells if cell.cell_type == "code"]
    shown = [output.data for outputs in made for output in outputs if "data" in output]
    assert all(STILLS & set(data) for data in shown if VIEW in data), "a widget without a still image"
    assert kinds(made) == kinds(stored(path)), "stored outputs are old: make notebooks"


def test_running_leaves_nothing_beside_the_notebooks(tmp_path):
    cells = [nbformat.v4.new_code_cell("open('left.txt', 'w').close(); 1 + 1")]
    path = tmp_path / "writes.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert execute(path).cells[0].outputs[0].data["text/plain"] == "2"
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]
