"""Every notebook runs from the top in a fresh kernel, and shows what is stored in it.

Where there is a Chromium, tests/browser/test_notebooks.py asks the same, and more, of two of them in a real JupyterLab.
"""

from __future__ import annotations

import resource
from pathlib import Path

import nbformat
import pytest
from make_notebooks import IN_JUPYTERLAB, NOTEBOOKS, STILLS, VIEW, execute, kinds, stored
from watch import ENGINES

TOGETHER = 300  # seconds of one core, importing the package included
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="session")
def spent(tmp_path_factory, request):
    """Where a line is written for each notebook, by whichever process runs it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "seconds-of-notebooks.txt"


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_notebook_runs_and_shows_what_is_stored(path, spent):
    if path.name in IN_JUPYTERLAB and ENGINES["chromium"].path() is not None:
        pytest.skip("it runs in JupyterLab: tests/browser/test_notebooks.py")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = [cell.outputs for cell in execute(path).cells if cell.cell_type == "code"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = [output.data for outputs in made for output in outputs if "data" in output]
    assert all(STILLS & set(data) for data in shown if VIEW in data), "a widget without a still image"
    assert kinds(made) == kinds(stored(path)), "stored outputs are old: make notebooks"
    with spent.open("a") as file:
        file.write(f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:7.1f} {path.name}\n")
    lines = spent.read_text().splitlines()
    together = sum(float(line.split()[0]) for line in lines)
    assert together < TOGETHER, "all notebooks together take less than five minutes:\n" + "\n".join(lines)


def test_running_leaves_nothing_beside_the_notebooks(tmp_path):
    cells = [nbformat.v4.new_code_cell("open('left.txt', 'w').close(); 1 + 1")]
    path = tmp_path / "writes.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert execute(path).cells[0].outputs[0].data["text/plain"] == "2"
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]
