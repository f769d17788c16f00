"""Every notebook runs from the top in a fresh kernel, and shows what is stored in it.

Where there is a Chromium, tests/browser/test_notebooks.py asks the same, and more, of two of them in a real JupyterLab.
"""

from __future__ import annotations

import json
import time
from ast import literal_eval
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from jupyter_client.manager import start_new_kernel
from kernels import POSSIBLE, environment, seconds
from make_notebooks import IN_JUPYTERLAB, NOTEBOOKS, STILLS, VIEW, execute, kinds, stored, warm_kernels
from PIL import Image
from watch import ENGINES

TOGETHER = 600 if POSSIBLE else 720  # in `yardstick`s, importing the package included: once, or in each kernel
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # a camera that was held upright: as stored, the image lies on its side


@pytest.fixture(scope="session")
def spent(tmp_path_factory, request):
    """Where a line is written for each notebook, by whichever process runs it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "seconds-of-notebooks.txt"


@pytest.fixture(autouse=True, scope="module")
def server():
    """The process that kernels are forked from."""
    with warm_kernels() as started:
        yield started


def yardstick():
    """Give seconds of one core for a fixed piece of what lessons do: products of matrices, and Python."""
    begun, matrix = time.process_time(), np.ones((768, 768), np.float32)
    for _ in range(16):
        matrix @ matrix
    json.loads(json.dumps([{"at": at, "of": [str(at)] * 4} for at in range(60_000)]))
    return time.process_time() - begun


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_notebook_runs_and_shows_what_is_stored(path, spent, server):
    """And all together cost no more than so much fixed work, done before and after each: machines are not alike."""
    if path.name in IN_JUPYTERLAB and ENGINES["chromium"].path() is not None:
        pytest.skip("it runs in JupyterLab: tests/browser/test_notebooks.py")
    unit, before = yardstick(), seconds(server)
    made = [cell.outputs for cell in execute(path).cells if cell.cell_type == "code"]
    own = seconds(server) - before
    unit = (unit + yardstick()) / 2
    shown = [output.data for outputs in made for output in outputs if "data" in output]
    assert all(STILLS & set(data) for data in shown if VIEW in data), "a widget without a still image"
    assert kinds(made) == kinds(stored(path)), "stored outputs are old: make notebooks"
    with spent.open("a") as file:
        file.write(f"{own / unit:7.1f} of {unit:.3f} seconds, {path.name}\n")
    lines = spent.read_text().splitlines()
    together = sum(float(line.split()[0]) for line in lines)
    assert together < TOGETHER, f"all notebooks together take less than {TOGETHER} yardsticks:\n" + "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(("lesson", "switches", "end"), [
    ("00", 'PROMPTS, ABSENT = ["a limousine"], []', ""),
    ("00", 'PROMPTS = ["a limousine", "sky", "a tree"]', ""),
    ("03", 'PROMPTS = ["a castle"]', ""),
    ("03", 'IMAGE, BOX = "photo.jpg", (400, 900, 900, 1400)', ""),
    ("04", 'PROMPTS = ["an owl", "snow"]', "scenes = "),
    ("04", 'PROMPTS = ["an owl"]', "scenes = "),
    ("06", 'THERE, NOT_THERE = ["whale"], ["bus"]', "before = "),
    ("10", 'PROMPTS = ["a road"]', ""),
])  # fmt: skip
def test_a_lesson_goes_on_with_prompts_and_an_image_of_ones_own(lesson, switches, end, tmp_path):
    """Up to the cell that begins with `end`: what follows asks other things."""
    Image.linear_gradient("L").convert("RGB").resize((1600, 1200)).save(tmp_path / "photo.jpg", exif=TURNED)
    [path] = NOTEBOOKS.glob(f"{lesson}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    [asked] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    asked.source += f"\n{switches}"
    sources = [cell.source for cell in notebook.cells]
    notebook.cells = notebook.cells[: next(at for at, s in enumerate(sources) if s.startswith(end)) if end else None]
    nbformat.write(notebook, tmp_path / path.name)
    execute(tmp_path / path.name)


def test_running_leaves_nothing_beside_the_notebooks(tmp_path):
    cells = [nbformat.v4.new_code_cell("open('left.txt', 'w').close(); 1 + 1")]
    path = tmp_path / "writes.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert execute(path).cells[0].outputs[0].data["text/plain"] == "2"
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]


def test_kernels_draw_random_numbers_of_their_own(tmp_path):
    cells = [nbformat.v4.new_code_cell("import random, numpy as np, torch")]
    cells += [nbformat.v4.new_code_cell("random.random(), np.random.rand(), torch.rand(1).item()")]
    path = tmp_path / "draws.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    one, other = (literal_eval(execute(path).cells[1].outputs[0].data["text/plain"]) for _ in range(2))
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_a_kernel_is_interrupted_and_ends_with_what_jupyter_started(tmp_path):
    manager, client = start_new_kernel(env=environment(tmp_path))
    try:
        asked = client.execute("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
        printed = iter(lambda: client.get_iopub_msg(timeout=60), None)
        kernel = int(next(message["content"]["text"] for message in printed if message["msg_type"] == "stream"))
        manager.interrupt_kernel()
        reply = next(reply for reply in iter(client.get_shell_msg, None) if reply["parent_header"]["msg_id"] == asked)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert psutil.pid_exists(kernel)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    psutil.wait_procs([psutil.Process(kernel)] if psutil.pid_exists(kernel) else [], timeout=60)
    assert not psutil.pid_exists(kernel)


def test_what_is_decided_by_being_in_a_notebook_is_decided_as_in_a_kernel_that_imports_itself(tmp_path, monkeypatch):
    asked = "pandas.get_option('display.max_columns'), tqdm.auto.notebook_tqdm.__module__, pyplot.get_backend()"
    cells = [nbformat.v4.new_code_cell(f"import pandas, tqdm.auto\nfrom matplotlib import pyplot\n{asked}")]
    path = tmp_path / "decides.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    warm = execute(path).cells[0].outputs
    monkeypatch.delenv("JUPYTER_PATH")
    assert warm == execute(path).cells[0].outputs
