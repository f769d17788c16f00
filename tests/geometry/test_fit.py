"""Plans: how an image is fitted, and where its cells lie."""

import json
import math

import numpy as np
import pytest
from geometries import PLAIN, cells, geometries, laid, quick, sides, window_cells
from hypothesis import example, given
from hypothesis import strategies as st

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Geometry, Native, Preprocess, Tiles, Whole, fit_from


@quick
@given(geometries())
def test_the_grid_fills_the_input_and_round_trips_through_json(planned):
    geometry, _ = planned
    assert tuple(n * c for n, c in zip(geometry.grid, geometry.cell, strict=True)) == geometry.input
    again = Geometry.from_json(geometry.to_json())
    assert again == geometry and hash(again) == hash(geometry)
    assert json.loads(geometry.to_json())["mode"] == geometry.mode


@quick
@given(geometries())
def test_cell_centres_are_the_middles_of_their_boxes_and_map_back_into_theirwindow_cells(planned):
    geometry, _ = planned
    assert geometry.y.shape + geometry.x.shape == geometry.grid
    for axis, centres in enumerate((geometry.y, geometry.x)):
        assert (np.diff(centres) > 0).all()
        back = (centres + 0.5) * geometry.resized[axis] / geometry.image[axis] - geometry.offset[axis]
        if geometry.stretch:
            back *= geometry.input[axis] / geometry.resized[axis]
        np.testing.assert_allclose(back / geometry.cell[axis], np.arange(geometry.grid[axis]) + 0.5)
    top, left, bottom, right = geometry.cell_box(geometry.grid[0] - 1, 0)
    assert math.isclose((top + bottom) / 2, geometry.y[-1] + 0.5)
    assert math.isclose((left + right) / 2, geometry.x[0] + 0.5, abs_tol=1e-9)


@quick
@given(geometries())
def test_what_was_seen_lies_in_the_image_and_in_the_extent(planned):
    geometry, _ = planned
    top, left, bottom, right = geometry.visible
    assert 0 <= top < bottom <= geometry.image[0] and 0 <= left < right <= geometry.image[1]
    west, east, south, north = geometry.placement().extent
    assert west <= left - 0.5 + 1e-9 and east >= right - 0.5 - 1e-9
    assert north <= top - 0.5 + 1e-9 and south >= bottom - 0.5 - 1e-9


@quick
@given(sides, sides, cells, st.integers(32, 160), st.sampled_from(["short", "long"]), st.booleans())
@example(1, 1, (32, 32), 32, "short", False)
@example(1, 1, (14, 14), 2048, "long", False)
@example(3, 2000, (32, 32), 2048, "long", False)
@example(2000, 3, (16, 16), 32, "long", True)
def test_whole_sees_the_whole_image_and_pads_less_than_a_cell(height, width, cell, side, key, stretch):
    clip = Preprocess((224, 224), **PLAIN)
    geometry = Whole(**{key: side}, stretch=stretch).plan((height, width), preprocess=clip, cell=cell)
    assert geometry.visible == (0.0, 0.0, height, width)
    assert {"short": min, "long": max}[key](geometry.resized) == side
    assert geometry.offset == (0, 0)
    assert all(0 <= n - r < c for n, r, c in zip(geometry.input, geometry.resized, cell, strict=True))
    wanted = [n * geometry.resized[1] / width for n in (height, width)]
    if min(geometry.resized) > 1:  # the ratio is kept up to rounding
        assert abs(geometry.resized[0] - wanted[0]) <= 0.5 + 0.5 * height / width


def test_whole_with_both_sides_exceeds_neither():
    clip = Preprocess((224, 224), **PLAIN)
    resized = lambda *size: Whole(short=512, long=2048).plan(size, preprocess=clip, cell=(16, 16)).resized  # noqa: E731
    assert resized(300, 400) == (512, 683)
    assert resized(100, 1000) == (205, 2048)


def test_whole_takes_the_models_short_side_by_default():
    geometry = Whole().plan((100, 200), preprocess=Preprocess((224, 288), **PLAIN), cell=(32, 32))
    assert geometry.resized == (224, 448)


@quick
@given(geometries(Tiles()), st.floats(0, 0.9))
def test_windows_lie_on_the_lattice_and_cover_every_cell(planned, overlap):
    (geometry, clip) = planned
    geometry = Tiles(overlap=overlap).plan(geometry.image, preprocess=clip, cell=geometry.cell)
    one = np.ones(window_cells(geometry))
    counts = laid([one] * len(geometry.windows), geometry, one)
    assert counts.min() >= 1 and len(set(geometry.windows)) == len(geometry.windows)
    assert geometry.windows[0] == (0, 0)
    assert geometry.windows[-1] == tuple(n - w for n, w in zip(geometry.input, geometry.window, strict=True))
    assert min(geometry.resized) >= min(geometry.image)
    assert geometry.window == clip.size


def test_a_native_size_that_is_not_whole_cells_gives_the_window_below_it():
    geometry = Tiles().plan((500, 500), preprocess=Preprocess((384, 384), **PLAIN), cell=(14, 14))
    assert geometry.window == (378, 378)
    native = Native().plan((500, 500), preprocess=Preprocess((384, 384), **PLAIN), cell=(14, 14))
    assert native.grid == (27, 27)
    assert native.visible == pytest.approx((0, 0, 378 * 500 / 384, 378 * 500 / 384))  # the rest is not looked at


def test_fits_by_name():
    assert fit_from("native") == Native() and fit_from("whole") == Whole()
    assert fit_from("tiles") == Tiles() and fit_from(Whole(long=520)) == Whole(long=520)
    with pytest.raises(GeometryError, match="geometry='center'. Expected one of native, whole, tiles"):
        fit_from("center")
    with pytest.raises(GeometryError, match="geometry=None"):
        fit_from(None)
