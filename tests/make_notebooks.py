"""Run the notebooks and keep what they show: `make notebooks`, or `python tests/make_notebooks.py notebooks/00*.ipynb`.

Each runs from the top in a kernel of its own, in a folder that is thrown away, and is then written back whole. Kept
are sources, cell ids, tags, what is hidden, and outputs without anything of this machine or of this run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import nbformat
from kernels import environment, warm
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from notebook_dirt import dirt

from denseclip_viz.files import atomic_write

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
STILLS = {"image/png", "image/jpeg"}
VIEW = "application/vnd.jupyter.widget-view+json"
KEPT = ("tags", "jupyter")
IN_JUPYTERLAB = ("00_quickstart.ipynb", "explorer.ipynb")  # the first that people open, with answers, and widgets


@contextmanager
def warm_kernels():
    """Have `execute` wait for imports once and not for each notebook; gives the process that did them."""
    with tempfile.TemporaryDirectory() as private, warm(environment(private)) as (folder, server):
        with patch.dict(os.environ, JUPYTER_PATH=folder):
            yield server


def execute(path):
    """Run a notebook in a fresh kernel, one thread, beside copies of its neighbours; what it writes is thrown away.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as private:
        folder = Path(private) / "notebooks"
        shutil.copytree(Path(path).parent, folder, ignore=shutil.ignore_patterns(".*"))
        here = {"metadata": {"path": str(folder)}}
        client = NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources=here, store_widget_state=False, record_timing=False
        )
        client.execute(env=environment(private))
    return notebook


def clean(notebook):
    """Take out, in place, what belongs to this machine or this run.

    Raises:
        ValueError: a widget without a still image, which nobody would see before running the notebook.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for at, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({name: cell.metadata[name] for name in KEPT if name in cell.metadata})
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_clean_output(output, at, count) for output in _joined(cell.outputs)]
    _name_cells(notebook.cells)
    return notebook


def _clean_output(output, at, count):
    output.pop("transient", None)
    if output.output_type == "execute_result":
        output.execution_count = count
    if VIEW in output.get("data", {}):
        if not STILLS & set(output.data):
            raise ValueError(f"cell {at}: a widget without a still image ({output.data.get('text/plain', '')[:60]})")
        # JupyterLab would look for the widget of an ended kernel, and show an error in the image's place
        del output.data[VIEW]
        output.metadata = nbformat.from_dict({})
    return output


def kinds(outputs_of_cells):
    """What each code cell gave: the kinds of its outputs; what was printed in pieces counts once."""
    return [
        [output.get("name") or sorted(set(output.get("data", {})) - {VIEW}) for output in _joined(outputs)]
        for outputs in outputs_of_cells
    ]


def stored(path):
    """The outputs that a notebook is kept with, a list for each code cell."""
    return [cell.outputs for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def _joined(outputs):
    """What was printed in several pieces, in one."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _name_cells(cells):
    """Ids that are there stay; cells without one, or with another's, are named after their text."""
    seen = Counter()
    for cell in cells:
        name = cell.get("id", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or seen[name]:
            name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        while seen[name]:
            name += "x"
        seen[name] += 1
        cell.id = name


def make(path):
    """Run, clean and write back one notebook; returns what is still wrong with it."""
    began = time.monotonic()
    notebook = clean(execute(path))
    with atomic_write(path, [".ipynb"], force=True) as part:
        nbformat.write(notebook, part)
    print(f"{path.name}: {time.monotonic() - began:.1f} s, {path.stat().st_size / 1e3:.0f} kB", flush=True)
    return dirt(path)


def main(names):
    wrong = False
    with warm_kernels():
        for path in [Path(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
            try:
                faults = make(path)
            except (CellExecutionError, ValueError) as error:
                faults = [f"not written: {error}"]
            wrong = wrong or bool(faults)
            print(*[f"  {path.name}: {line}" for line in faults], sep="\n", end="\n" if faults else "")
    sys.exit(int(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
