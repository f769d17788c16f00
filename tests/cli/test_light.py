"""The command line is there at once: what takes seconds is imported when it is needed, and said before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import denseclip_viz as dcv

HEAVY = "torch torchvision open_clip numpy pandas xarray scipy matplotlib PIL h5py tqdm ipywidgets anywidget".split()
WALK = """
import json, sys
from typer.testing import CliRunner
from denseclip_viz.cli.app import app

lines, heavy = json.load(sys.stdin)
for line in lines:
    CliRunner().invoke(app, line)
    print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def imported(folder, *lines, heavy=HEAVY):
    """What of it is imported after each line, one after the other in one process."""
    walk = [sys.executable, "-c", WALK]
    done = subprocess.run(
        walk, cwd=folder, input=json.dumps([lines, heavy]), capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_version_and_versions_import_nothing_heavy(tmp_path):
    light = [["--help"], ["--version"], ["compare", "--help"], ["versions"], ["lab", "--no-open"]]
    light += [["compare", "missing.jpg", "-p", "", "-o", "x.png"], ["toyworld", "--help"]]
    assert imported(tmp_path, *light) == [[]] * len(light)


def test_compare_imports_what_its_numbers_need_and_no_more(tmp_path, image_file):
    idle = ["matplotlib", "scipy", "h5py", "h5netcdf", "rich.table", "ipywidgets", "anywidget", "IPython", "ray"]
    lines = ["compare", str(image_file), "-p", "grass", "-q"]
    assert imported(tmp_path, lines, heavy=["torch", "xarray", *idle]) == [["torch", "xarray"]]


def test_an_interrupt_while_torch_is_loading_ends_the_command_at_once(here):
    """With another torch, in which one comes: in the true one it crashes what is compiled."""
    (here / "torch.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)")
    shell = {"PYTHONPATH": f"{here}:{Path(dcv.__file__).parents[1]}"}
    done = subprocess.run([sys.executable, "-m", "denseclip_viz", "models"], env=shell, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (130, b"", "loading torch …\n")


@pytest.mark.parametrize("line", [["compare", "street.jpg", "-p", "grass"], ["models"], ["toyworld", "report"]])
def test_that_something_is_loading_is_said_before_torch_is_imported(here, line):
    """With another torch, which only says that it was reached."""
    (here / "torch.py").write_text("import os; os.write(2, b'reached'); os._exit(7)")
    shell = {"PYTHONPATH": f"{here}:{Path(dcv.__file__).parents[1]}"}
    start = [sys.executable, "-m", "denseclip_viz", *line]
    for more, said in (([], "loading torch …\nreached"), (["--quiet"], "reached")):
        done = subprocess.run([*start, *more], env=shell, capture_output=True, encoding="utf-8")
        assert (done.returncode, done.stdout, done.stderr) == (7, "", said)
