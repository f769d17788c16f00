"""Files that are kept: whole or not at all, never over another, and the same when read back."""

import os
import threading

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hostile import PATHS
from hostile_images import IMAGE
from judge import held, table, unchanged
from matplotlib.figure import Figure

import denseclip_viz as dcv
from denseclip_viz.errors import OutputError
from denseclip_viz.files import atomic_write, check_target, save_data, save_table

PROMPTS = dcv.Prompts(
    ["a red car", "고양이", 'so "quoted", and\nbroken'], ["{}", "a photo of {}."], absent=["a giraffe"]
)
CALLS = {
    "compare": lambda model: model.compare(IMAGE, PROMPTS),
    "layers": lambda model: model.compare(IMAGE, PROMPTS, layers="all"),
    "similarity": lambda model: model.similarity(IMAGE, PROMPTS),
    "segment": lambda model: model.segment(IMAGE, PROMPTS, background=0.3, soft=True, smooth="cosine"),
    "classify": lambda model: model.classify(IMAGE, PROMPTS),
}


@pytest.fixture(scope="module")
def models(load_tiny):
    yield from unchanged(load_tiny)


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A folder with a folder, a file and a dangling link in the way."""
    monkeypatch.chdir(tmp_path)
    for ending in ("nc", "png"):
        (tmp_path / f"folder.{ending}").mkdir()
        (tmp_path / f"there.{ending}").write_text("kept")
        (tmp_path / f"link.{ending}").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_results_come_back_from_netcdf_as_they_were(models, tmp_path, call, kind):
    result = call(models[kind])
    path = save_data(result, tmp_path / "result.nc")
    assert path == tmp_path / "result.nc" and os.listdir(tmp_path) == ["result.nc"]
    load = xr.load_dataset if isinstance(result, xr.Dataset) else xr.load_dataarray
    back = load(path, engine="h5netcdf")
    xr.testing.assert_equal(back, result)
    assert {name: str(value) for name, value in back.attrs.items()} == {n: str(v) for n, v in result.attrs.items()}


@table(PATHS)
def test_places_to_write_to(models, busy, value, due):
    before = sorted(busy.iterdir())
    maps = models["vit"].similarity(IMAGE, "a cat")
    held(lambda: xr.load_dataarray(save_data(maps, value), engine="h5netcdf"), due)
    assert (sorted(busy.iterdir()) == before) == (due is not None)
    assert (busy / "there.nc").read_text() == "kept"


@table({name: case for name, case in PATHS.items() if case[1]})
def test_places_to_save_a_figure_to(busy, value, due):
    before = sorted(busy.iterdir())
    held(lambda: dcv.plot.save(Figure(), value.replace(".nc", ".png") if isinstance(value, str) else value), due)
    assert sorted(busy.iterdir()) == before and (busy / "there.png").read_text() == "kept"


@pytest.mark.parametrize("force", ["no", "False", 1, None, [False]])
def test_a_force_that_is_no_yes_or_no_replaces_nothing(tmp_path, force):
    (path := tmp_path / "kept.csv").write_text("old")
    with pytest.raises(OutputError, match="force=.*Expected True or False"):
        save_table(pd.DataFrame({"a": [1]}), path, force=force)
    assert path.read_text() == "old"


def test_a_file_is_replaced_only_when_forced_and_then_whole(tmp_path):
    path = tmp_path / "table.csv"
    save_table(pd.DataFrame({"a": [1]}), path)
    with pytest.raises(OutputError, match="there already.*force"):
        save_table(pd.DataFrame({"a": [2]}), path)
    assert path.read_text() == "a\n1\n"
    save_table(pd.DataFrame({"a": [2]}), path, force=True)
    assert path.read_text() == "a\n2\n"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError("the disk is full")])
def test_an_interrupt_or_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OutputError if isinstance(error, OSError) else error, match="disk is full|"):
        with atomic_write(path, [".csv"], force=True) as part:
            part.write_text("half")
            raise error
    assert os.listdir(tmp_path) == ["table.csv"] and path.read_text() == "old"


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no writing into"):
        check_target(tmp_path / "maps.nc", [".nc"])


def test_the_error_names_the_endings_that_there_are(tmp_path):
    with pytest.raises(OutputError, match=r"maps.npz ends in '.npz'. Expected one of .nc, .csv."):
        check_target(tmp_path / "maps.npz", [".nc", ".csv"])


@pytest.mark.parametrize("value", [None, "maps", 3, np.zeros(3), {"a": 1}])
def test_only_results_are_saved_as_data(tmp_path, value):
    held(lambda: save_data(value, tmp_path / "maps.nc"), OutputError)


def test_what_netcdf_cannot_hold_is_an_error_and_leaves_nothing(tmp_path):
    for bad in (
        xr.Dataset(attrs={"a": object()}),
        xr.Dataset({"a": ("x", ["nu\0ll"])}),
        xr.Dataset(attrs={"a": {1: 2}}),
    ):
        held(lambda bad=bad: save_data(bad, tmp_path / "maps.nc"), OutputError)
    assert not os.listdir(tmp_path)


def test_a_table_holds_every_writing(tmp_path):
    names = ["고양이", "a,b", 'a "b"', "a\nb", "\udcff"]
    path = save_table(pd.DataFrame({"prompt": names}), tmp_path / "table.csv")
    assert pd.read_csv(path)["prompt"].tolist() == [*names[:-1], "\\udcff"]


def test_two_threads_write_two_files(tmp_path):
    tables = {name: pd.DataFrame({name: range(1000)}) for name in "abcd"}
    threads = [threading.Thread(target=save_table, args=(t, tmp_path / f"{n}.csv")) for n, t in tables.items()]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    for name, wanted in tables.items():
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{name}.csv"), wanted)
