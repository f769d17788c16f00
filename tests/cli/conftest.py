"""A folder with images in it, and commands run there as people type them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz import loading
from denseclip_viz.cli.app import app
from denseclip_viz.cli.printed import print_table
from denseclip_viz.cli.wording import OPTIONS


@pytest.fixture
def here(tmp_path, monkeypatch, image_file):
    """An own folder with an image in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(image_file, "street.jpg")
    return tmp_path


@pytest.fixture
def many(here):
    """Three images in a folder, with what else lies in folders."""
    folder = here / "images"
    (folder / "more.png").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.JPG", "c.webp"]):
        image = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.png").write_bytes(b"what some systems leave beside a.png")
    return folder


@pytest.fixture(scope="module")
def loaded():
    return {}


@pytest.fixture
def load_once(monkeypatch, loaded):
    """What was loaded once is not loaded again: a hundred commands need two models."""
    plain = dcv.load  # asked for before it is replaced: the package keeps what it finds first under a lazy name

    def load(name, **options):
        key = (name, *options.items())
        loaded[key] = loaded.get(key) or plain(name, **options)
        return loaded[key]

    monkeypatch.setattr(loading, "load", load)


@pytest.fixture
def run(model_folder, here, load_once):
    """Run a command with the tiny ViT; words of the command line, then what is expected of it."""

    def call(*words, code=0, model="vit", prompts=("a red car", "grass")):
        line = [str(word) for word in words]
        if model:
            line += ["-m", str(model_folder(model)), "--device", "cpu"]
        for prompt in prompts:
            line += ["-p", prompt]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return call


@pytest.fixture
def refused(run):
    """Run a command that must end with code 2, one line on standard error, and nothing else."""

    def call(*words, **options):
        result = run(*words, code=2, **options)
        assert result.stdout == "" and result.stderr.count("\n") == 1 and "Expected" in result.stderr
        arguments = rf"\b({'|'.join(OPTIONS)})=[\"'\[TF0-9]"
        assert not re.search(arguments, result.stderr), f"Python on the command line: {result.stderr}"
        return result.stderr

    return call


@pytest.fixture
def no_model(monkeypatch, load_once):
    """Loading a model fails the test."""

    def load(*arguments, **options):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(loading, "load", load)


@pytest.fixture
def on_a_terminal(monkeypatch, capsys):
    """Print a table on a terminal of so many columns; its lines."""

    def call(table, width=80, **options):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        print_table(table, **options)
        return capsys.readouterr().out.splitlines()

    return call
