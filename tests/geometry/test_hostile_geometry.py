"""Sizes, fits and texts that cannot be."""

import json
import math

import numpy as np
import pytest
from geometries import PLAIN
from PIL import Image

from denseclip_viz import geometry as geo
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Geometry, Native, Preprocess, Tiles, Whole

HOSTILE = [0, -1, True, 2.0, "5", None, math.nan, 2**40]


@pytest.mark.parametrize("bad", [*((n, 10) for n in HOSTILE), (10, 0), (10,), (1, 2, 3), 10, "ab", None, {}, [[1], 2]])
def test_sizes_that_no_image_has_are_refused(bad):
    clip = Preprocess((64, 64), **PLAIN)
    for fit in (Native(), Whole(), Tiles()):
        with pytest.raises(GeometryError, match="image="):
            fit.plan(bad, preprocess=clip, cell=(16, 16))
        with pytest.raises(GeometryError, match="cell="):
            fit.plan((64, 64), preprocess=clip, cell=bad)
    with pytest.raises(GeometryError, match="model input size="):
        Preprocess(bad, **PLAIN)


@pytest.mark.parametrize("bad", [*(n for n in HOSTILE if n is not None), 31, 2049, (64, 64)])
@pytest.mark.parametrize("name", ["short", "long"])
def test_sides_outside_32_to_2048_are_refused(bad, name):
    for fit in (Whole, Tiles):
        with pytest.raises(GeometryError, match=f"{name}=.* Expected a whole number of pixels from 32 to 2048"):
            fit(**{name: bad})
        fit(**{name: 32}), fit(**{name: 2048}), fit(**{name: np.int64(512)})


@pytest.mark.parametrize("bad", [-0.1, 0.91, 1, math.nan, "0.5", True, None])
def test_overlaps_that_cannot_be_are_refused(bad):
    with pytest.raises(GeometryError, match="overlap="):
        Tiles(overlap=bad)


@pytest.mark.parametrize("bad", [0, 17, (32, 17), "big", 8, 1.5, (16,)])
def test_windows_that_are_not_whole_cells_are_refused(bad):
    with pytest.raises(GeometryError, match="window"):
        Tiles(window=bad).plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16))


def test_an_input_smaller_than_a_cell_is_refused():
    with pytest.raises(GeometryError, match="at least one cell"):
        Native().plan((64, 64), preprocess=Preprocess((16, 64), **PLAIN), cell=(32, 32))
    with pytest.raises(GeometryError, match="window of .* multiple of the cell"):
        Tiles().plan((64, 64), preprocess=Preprocess((16, 64), **PLAIN), cell=(32, 32))


@pytest.mark.parametrize("fit", [Whole(short=2048), Tiles(), Tiles(short=2048, overlap=0.9)])
def test_an_input_beyond_memory_is_refused_at_once(fit):
    with pytest.raises(GeometryError, match="at most 16.8 million pixels. Make the longer side 2048 or less"):
        fit.plan((3, 2_000_000), preprocess=Preprocess((224, 224), **PLAIN), cell=(16, 16))


@pytest.mark.parametrize("fit, switch", [(Whole, "stretch"), (Tiles, "apart")])
def test_a_switch_is_a_plain_yes_or_no(fit, switch):
    for value in ("no", 1, None):
        with pytest.raises(GeometryError, match=f"{switch}=.*Expected True or False"):
            fit(**{switch: value})
    assert getattr(fit(**{switch: np.True_}), switch) is True


@pytest.mark.parametrize("side", [32, 2048])
def test_the_smallest_and_the_largest_side(side):
    clip = Preprocess((224, 224), **PLAIN)
    for size in [(1, 1), (480, 640)]:
        geometry = Whole(long=side).plan(size, preprocess=clip, cell=(16, 16))
        values = geo.pixels(Image.new("RGB", size[::-1], "white"), geometry, clip)
        assert values.shape == (3, *geometry.input) and max(geometry.input) == side


@pytest.mark.parametrize("bad", [
    {"resize_mode": "stretch"}, {"interpolation": "nearest"}, {"mean": 0.5}, {"mean": (0.5, 0.5)},
    {"std": (1.0, 0.0, 1.0)}, {"std": (1.0, -1.0, 1.0)}, {"std": "abc"},
])  # fmt: skip
def test_preprocessing_that_cannot_be_is_refused(bad):
    with pytest.raises(GeometryError, match=next(iter(bad))):
        Preprocess((64, 64), **{**PLAIN, **bad})


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"mode": "native"}', '{"colour": 1}', "null"])
def test_text_that_is_no_geometry_is_refused(text):
    with pytest.raises(GeometryError, match="Text without a geometry"):
        Geometry.from_json(text)


@pytest.mark.parametrize("name", ["mode", "image", "resized", "offset", "input", "cell", "windows", "window"])
@pytest.mark.parametrize("value", [None, -1, "x", [], [1.5, 2], [[1, 2]], [[-16, 0]], [[0, 10**9]], [0, 1, 2], {}])
def test_a_geometry_with_a_broken_field_is_refused(name, value):
    fields = json.loads(Tiles().plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16)).to_json())
    if (name, value) == ("windows", []):
        return
    with pytest.raises(GeometryError):
        Geometry.from_json(json.dumps({**fields, name: value}))


@pytest.mark.parametrize(("y", "x"), [(-1, 0), (0, 4), (4, 0)])
def test_cells_outside_the_grid_are_refused(y, x):
    geometry = Native().plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16))
    with pytest.raises(GeometryError, match="a cell of the grid"):
        geometry.cell_box(y, x)
