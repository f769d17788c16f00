"""Places that break: names nobody takes, disks that fill, files of something else, and what a killed process leaves."""

import gc
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from judge import held, table
from matplotlib.figure import Figure
from processes import killed
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.cli.notebooks import copy_notebooks
from denseclip_viz.clip.load.bundled import export_compact
from denseclip_viz.clip.text.disk_cache import TextCache, cache_folder
from denseclip_viz.errors import DenseclipVizError, DeviceError, ModelNameError, OutputError, WeightsError
from denseclip_viz.files import atomic_write, save_data, save_table
from denseclip_viz.measure.store import ResultStore
from denseclip_viz.train.card import pack
from denseclip_viz.train.contrastive import export, train
from denseclip_viz.train.loop import STATE

posix = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")
MAPS = xr.DataArray(np.random.default_rng(0).random((3, 40, 40)), dims=("prompt", "y", "x"), name="dense")
TABLE = pd.DataFrame({"prompt": ["a cat"] * 2000})


@cache
def maps_of_a_taxi():
    """For the page, which shows what a model found."""
    return dcv.load(cache=False).compare(dcv.toyworld.scene("a taxi on a road", 64), ["a taxi"])


# Names that no file system takes


WRITERS = {
    "netCDF": (".nc", lambda path: save_data(MAPS, path)),
    "a table": (".csv", lambda path: save_table(TABLE, path)),
    "a figure": (".pdf", lambda path: dcv.plot.save(Figure(), path)),
    "a page": (".html", lambda path: dcv.save_html(maps_of_a_taxi(), path)),
    "scenes": ("", lambda path: dcv.toyworld.export(path, 1, size=64)),
    "the notebooks": ("", copy_notebooks),
    "a training": ("", lambda path: train("tiny", path, scenes=8, ahead=False)),
    "a model": ("", lambda path: export_compact({}, path, config={})),
    "text vectors": ("", cache_folder),
}
NAMES = {
    "half of a surrogate": "\ud800{}",
    "a null": "a\0b{}",
    "five thousand letters": "n" * 5000 + "{}",
    "bytes": b"maps.nc",
    "a number": 7,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_name_that_no_file_system_takes_is_refused(tmp_path, monkeypatch, writer, name):
    monkeypatch.chdir(tmp_path)
    ending, write = WRITERS[writer]
    held(lambda: write(name.format(ending) if isinstance(name, str) else name), OutputError)
    assert not os.listdir(tmp_path)


def test_the_home_of_nobody_is_no_place_for_text_vectors(monkeypatch):
    held(lambda: cache_folder("~nobody-of-this-name/x"), OutputError)
    monkeypatch.setenv("DENSECLIP_VIZ_CACHE", "~nobody-of-this-name/x")
    held(cache_folder, OutputError)


@posix
def test_a_pipe_in_the_cache_folder_blocks_nothing(tmp_path):
    os.mkfifo(tmp_path / "texts.sqlite")
    kept = TextCache(tmp_path, {}, least=1)
    with pytest.warns(UserWarning, match="Text vectors cannot be kept"):
        assert kept.recall(["a cat"], truncate=False) == {}
    kept.add(["a cat"], torch.ones(1, 3), truncate=False)
    kept.flush()


READERS = {
    "templates": ("mine.txt", lambda path: dcv.Prompts("taxi", path)),
    "a canvas": ("taxi.zip", dcv.Canvas.load),
    "a store of features": ("manifest.jsonl", lambda path: dcv.features.open_store(path.parent)),
    "a student": ("student.json", lambda path: dcv.plus.load(path.parent)),
    "a configuration": ("open_clip_config.json", lambda path: dcv.load(path.parent)),
    "a measurement": ("run.jsonl", lambda path: ResultStore(path, {})),
}


@posix
@pytest.mark.timeout(100)  # what waits for a pipe waits for ever
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path, reader):
    name, read = READERS[reader]
    os.mkfifo(tmp_path / name)
    with pytest.raises(DenseclipVizError, match="a pipe or a device"):
        read(tmp_path / name)


# Disks that fill


@contextmanager
def almost_full(size):
    """No file may grow beyond so many bytes, as on a disk that fills."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@posix
@pytest.mark.parametrize("writer", ["a table", "a figure", "a page", "scenes", "a training", "a model"])
def test_a_disk_that_fills_is_said_and_nothing_is_left(tmp_path, writer):
    ending, write = WRITERS[writer]
    with almost_full(300):
        held(lambda: write(tmp_path / f"result{ending}"), OutputError)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


FULL = """
import gc, resource, sys
import numpy as np, xarray as xr
from denseclip_viz.errors import OutputError
from denseclip_viz.files import save_data
maps = xr.Dataset({"dense": (("prompt", "y", "x"), np.random.rand(3, 40, 40))}, attrs={"model": "x" * 200})
for size in (0, 4_000, 8_000, 14_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
    try:
        save_data(maps, sys.argv[1])
    except OutputError as error:
        print(error)
    gc.collect()
print("alive")
"""


@posix
def test_saving_netcdf_on_a_disk_that_fills_leaves_the_process_alive(tmp_path):
    call = [sys.executable, "-c", FULL, str(tmp_path / "maps.nc")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith("alive\n"), done.stderr[-500:]
    assert done.stdout.count("maps.nc cannot be written") == 4 and not os.listdir(tmp_path)


def test_an_array_without_a_name_comes_back_without_one(tmp_path):
    bare = MAPS.rename(None)
    xr.testing.assert_identical(xr.load_dataarray(save_data(bare, tmp_path / "maps.nc"), engine="h5netcdf"), bare)


# What a killed process leaves


def test_parts_of_processes_that_are_no_more_are_swept_and_others_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = time.time() - 3600
    stay = [f".b.csv.{os.getpid()}.part", ".notes.part", "a.csv.1.part", f".fresh.csv.{dead.pid}.part"]
    for name in (f".a.csv.{dead.pid}.part", *stay):
        (tmp_path / name).write_text("half")
        if "fresh" not in name:
            os.utime(tmp_path / name, (old, old))
    save_table(TABLE, tmp_path / "table.csv")
    swept = [f".a.csv.{dead.pid}.part"] if os.name == "posix" else []
    assert sorted(os.listdir(tmp_path)) == sorted([*stay, "table.csv", *([] if swept else [f".a.csv.{dead.pid}.part"])])


def a_million_scenes(folder):
    dcv.toyworld.export(folder, 10**6, size=64)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere nobody can ask whether a process is alive")
def test_what_a_killed_export_left_is_removed_by_the_next_one(tmp_path):
    killed(lambda: any(tmp_path.glob(".toy.*/captions.jsonl")), a_million_scenes, tmp_path / "toy")
    (part,) = tmp_path.iterdir()
    dcv.toyworld.export(tmp_path / "first", 1, size=64)
    assert part.is_dir(), "written to a moment ago: on a shared disk it may be another machine's"
    for path in (part, *part.iterdir()):
        os.utime(path, (0, 0))
    dcv.toyworld.export(tmp_path / "toy", 1, size=64)
    assert sorted(os.listdir(tmp_path)) == ["first", "toy"]


def test_a_folder_that_cannot_be_looked_into_is_still_written_to(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with atomic_write(tmp_path / "a.csv", [".csv"]) as part:
        part.write_text("whole")
    assert (tmp_path / "a.csv").read_text() == "whole"


# Trainings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train("tiny", folder, scenes=8, ahead=False)
    return folder


def facts_of(**changed):
    def write(good, bad):
        from safetensors import safe_open

        with safe_open(good, framework="pt") as opened:
            facts = json.loads(opened.metadata()["facts"]) | changed
        facts = {name: value for name, value in facts.items() if value is not ...}
        save_file(load_file(good), bad, metadata={"facts": json.dumps(facts)})

    return write


STATES = {
    "empty": lambda good, bad: bad.write_bytes(b""),
    "text": lambda good, bad: bad.write_text("junk"),
    "half": lambda good, bad: bad.write_bytes(good.read_bytes()[:2000]),
    "without facts": lambda good, bad: save_file(load_file(good), bad),
    "facts that are no JSON": lambda good, bad: save_file(load_file(good), bad, metadata={"facts": "{"}),
    "facts that are a list": lambda good, bad: save_file(load_file(good), bad, metadata={"facts": "[]"}),
    "without a step": facts_of(step=...),
    "of a phase that there is not": facts_of(phase=9),
    "of a phase with a name": facts_of(phase="first"),
    "of another model": lambda good, bad: save_file(
        {"model/a": torch.zeros(3)}, bad, metadata={"facts": json.dumps(dict.fromkeys(FACTS, 0))}
    ),
}
FACTS = ("step", "images", "seconds", "phase", "recipe")


@pytest.mark.parametrize("state", STATES)
def test_a_checkpoint_that_is_none_is_refused_by_name_and_stays(tmp_path, trained, state):
    STATES[state](trained / STATE, tmp_path / STATE)
    before = (tmp_path / STATE).read_bytes()
    held(lambda: train("tiny", tmp_path, scenes=8, ahead=False), WeightsError)
    result = CliRunner().invoke(app, ["toyworld", "train", "tiny", str(tmp_path), "--scenes", "8"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "--restart" in result.stderr, result.output
    assert os.listdir(tmp_path) == [STATE] and (tmp_path / STATE).read_bytes() == before


@pytest.mark.parametrize("state", ["text", "half", "without facts", "of another model"])
def test_a_checkpoint_that_is_none_is_not_exported(tmp_path, trained, state):
    STATES[state](trained / STATE, tmp_path / STATE)
    held(lambda: export(tmp_path, tmp_path / "model"), WeightsError)
    assert os.listdir(tmp_path) == [STATE]


def test_a_training_without_its_log_is_not_packed(tmp_path, trained):
    (tmp_path / STATE).write_bytes((trained / STATE).read_bytes())
    held(lambda: pack(tmp_path, tmp_path / "model", scenes=2, slow=0), WeightsError)


OPTIONS = {
    "a device of no name": ({"device": "nope"}, DeviceError),
    "a device too many": ({"device": "cuda:99"}, DeviceError),
    "minutes in words": ({"minutes": "a"}, WeightsError),
    "scenes below 0": ({"scenes": -1}, WeightsError),
    "every that is no number": ({"every": float("nan")}, WeightsError),
    "a recipe of no name": ({"name": "huge"}, ModelNameError),
    "a recipe that is a list": ({"name": ["tiny"]}, ModelNameError),
}


@table(OPTIONS)
def test_options_of_a_training(tmp_path, value, due):
    held(lambda: train(**{"name": "tiny", "folder": tmp_path / "t", "scenes": 8, **value}), due)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("command", [
    ["toyworld", "train", "tiny", "FILE", "--scenes", "8"], ["toyworld", "train", "tiny", "new", "--device", "nope"],
    ["toyworld", "demo", "FILE"], ["toyworld", "export", "FILE/x", "2"], ["toyworld", "export", "FILE", "2"],
    ["toyworld", "pack", "nowhere", "new"], ["lab", "FILE", "--no-open"],
])  # fmt: skip
def test_a_broken_place_is_one_line_on_the_command_line(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("kept")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    assert os.listdir() == ["FILE"] and Path("FILE").read_text() == "kept"
    gc.collect()
