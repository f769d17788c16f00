"""A canvas is kept as one file, and opens as the same canvas; a file that is no such file is refused."""

import json
import zipfile

import fake_results
import numpy as np
import pytest
import xarray as xr

import denseclip_viz as dcv
from denseclip_viz.errors import OutputError

SCENE = dcv.toyworld.scene("a taxi on a road", 64)
TEXTS = dcv.Prompts(["a taxi", "a road"], ["{}", "a photo of {}."], absent="a whale")


@pytest.fixture(scope="module")
def model():
    return dcv.load()


def canvases(model):
    """Give kinds of results, their traces, and how a canvas shows them."""
    trace = model.trace(SCENE)
    both, alone = model.compare(trace, TEXTS), model.similarity(trace, TEXTS)
    paths = model.trace(SCENE, path=["value", "vanilla"])
    maps = dcv.attribution.attribute(model, trace, TEXTS, methods=["grad-cam"])
    wide = (alone + 0.5).assign_attrs(alone.attrs)
    yield "comparison", both, trace, {"view": "gap", "prompt": "a whale", "opacity": 0.25, "pinned": (1, 2)}
    yield "similarity", alone, trace, {"template": "ensemble", "hover": True, "locked": ["head"], "still": False}
    yield "rows", alone, None, {"order": "value", "filter": "a r", "rows": "templates"}
    yield "like another", alone, None, {"like": wide}
    yield "limits", both, None, {"limits": {"dense": (0, 0.4)}, "leave_out": ["attention", "image"]}
    yield "paths", model.compare(paths, TEXTS), paths, {"path": "vanilla", "threshold": 0.1}
    yield "attribution", both.assign(attribution=maps), None, {"view": "attribution"}
    yield "segments", model.segment(trace, TEXTS), trace, {}
    yield "independent", model.segment(trace, TEXTS, independent=True), None, {}


def test_every_kind_of_canvas_opens_as_what_it_was(model, tmp_path):
    for name, result, trace, options in canvases(model):
        canvas = dcv.Canvas(result, trace=trace, **options)
        opened, read, cells = dcv.Canvas.load(canvas.save(tmp_path / f"{name}.zip", result, trace=trace))
        assert opened._shown.meta == canvas._shown.meta and opened._shown.buffers == canvas._shown.buffers, name
        assert opened.state == canvas.state and opened.locked == canvas.locked, name
        assert opened._repr_mimebundle_()[0].keys() == canvas._repr_mimebundle_()[0].keys(), name
        assert read.attrs["weights_hash"] == result.attrs["weights_hash"] and (cells is None) == (trace is None), name


def test_the_numbers_are_there_for_whoever_reads_netcdf(model, tmp_path):
    both = model.compare(SCENE, TEXTS)
    with zipfile.ZipFile(dcv.Canvas(both).save(tmp_path / "taxi.zip", both)) as archive:
        archive.extract("result.nc", tmp_path)
        assert set(archive.namelist()) == {"canvas.json", "result.nc"}
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "result.nc"), both)


def test_a_canvas_that_was_saved_compares_cells_without_a_model(model, tmp_path):
    trace = model.trace(SCENE)
    result = model.similarity(trace, TEXTS)
    *_, opened = dcv.Canvas.load(dcv.Canvas(result, trace=trace).save(tmp_path / "cells.zip", result, trace=trace))
    assert np.array_equal(opened.dense, trace.dense) and opened.geometry == trace.geometry


def test_an_opened_canvas_shows_other_results_and_is_saved_again(tmp_path):
    first, second = fake_results.comparison(), fake_results.comparison(prompts=["the sun"])
    opened, *_ = dcv.Canvas.load(dcv.Canvas(first).save(tmp_path / "one.zip", first))
    opened.show(second)
    assert dcv.Canvas.load(opened.save(tmp_path / "two.zip", second))[0].state["prompt"] == "the sun"


def changed(file, name, content):
    with zipfile.ZipFile(file) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    parts |= {name: content(parts[name]) if callable(content) else content}
    with zipfile.ZipFile(file, "w") as archive:
        for each, part in parts.items():
            if part is not None:
                archive.writestr(each, part)
    return file


def about(**changes):
    return lambda content: json.dumps(json.loads(content) | changes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.nc", lambda content: content[:-1] + b"!"),
        ("result.nc", None),
        ("canvas.json", None),
        ("canvas.json", b"{"),
        ("canvas.json", b"[1]"),
        ("canvas.json", about(denseclip_viz_canvas=99)),
        ("canvas.json", about(sha256={})),
        ("canvas.json", about(sha256=None)),
        ("canvas.json", about(scales=[["dense", 1]])),
        ("canvas.json", about(scales=[])),
        ("canvas.json", about(state={"prompt": "a prompt that is not there"})),
        ("canvas.json", about(state=[])),
        ("canvas.json", about(locked="dense")),
        ("canvas.json", about(limits={"no view": [0, 1]})),
        ("canvas.json", about(leave_out=["everything"])),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, name, content):
    result = fake_results.comparison()
    file = dcv.Canvas(result).save(tmp_path / "taxi.zip", result)
    with pytest.raises(OutputError, match=r"taxi\.zip holds no canvas .*canvas\.save"):
        dcv.Canvas.load(changed(file, name, content))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "taxi.zip").write_bytes(content)
    with pytest.raises(OutputError, match="holds no canvas"):
        dcv.Canvas.load(tmp_path / "taxi.zip")


def test_only_what_is_shown_is_saved_and_never_over_what_is_there(tmp_path):
    result = fake_results.comparison(prompts=["<b>&", "한글"])
    canvas = dcv.Canvas(result)
    for showing, other in ((dcv.Canvas(), result), (canvas, fake_results.comparison(seed=3))):
        with pytest.raises(OutputError, match="Another result"):
            showing.save(tmp_path / "other.zip", other)
    with pytest.raises(OutputError, match=r"force=True"):
        canvas.save(canvas.save(tmp_path / "taxi.zip", result), result)
    with pytest.raises(OutputError, match=r"\.zip"):
        canvas.save(tmp_path / "taxi.nc", result)
    null = fake_results.comparison(prompts=["a\0b"])
    with pytest.raises(OutputError, match="NULL"):
        dcv.Canvas(null).save(tmp_path / "null.zip", null)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taxi.zip"]
