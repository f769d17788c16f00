"""From the grid to the image and back, and windows laid over one another."""

import math

import numpy as np
import pytest
from geometries import PLAIN, blend, geometries, quick, window_cells
from hypothesis import assume, given
from hypothesis import strategies as st

from denseclip_viz import geometry as geo
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Native, Preprocess, Tiles, Whole


def slow_weights(geometry, axis, n):
    """Bilinear weights entry by entry, written from the definition."""
    result = np.zeros((n, geometry.grid[axis]))
    for i in range(n):
        coordinate = (i + 0.5) / n * geometry.image[axis]
        on_input = coordinate * geometry.resized[axis] / geometry.image[axis] - geometry.offset[axis]
        at = min(max(on_input / geometry.cell[axis] - 0.5, 0), geometry.grid[axis] - 1)
        low = math.floor(at)
        result[i, low] += 1 - (at - low)
        if at > low:
            result[i, low + 1] += at - low
    return result


@quick
@given(geometries(), st.integers(1, 60), st.integers(1, 60))
def test_weights_are_bilinear(planned, rows, columns):
    geometry, _ = planned
    y, x, visible_rows, visible_columns = geo.weights(geometry, rows, columns)
    assert y.shape == (rows, geometry.grid[0]) and x.shape == (columns, geometry.grid[1])
    np.testing.assert_allclose(y.sum(axis=1), 1)
    np.testing.assert_allclose(x.sum(axis=1), 1)
    assert y.min() >= 0 and x.min() >= 0
    top, left, bottom, right = geometry.visible
    at_y, at_x = ((np.arange(n) + 0.5) / n * p for n, p in zip((rows, columns), geometry.image, strict=True))
    np.testing.assert_array_equal(visible_rows, (top <= at_y) & (at_y <= bottom))
    np.testing.assert_array_equal(visible_columns, (left <= at_x) & (at_x <= right))
    if not geometry.stretch:
        np.testing.assert_allclose(y, slow_weights(geometry, 0, rows), atol=1e-9)
        np.testing.assert_allclose(x, slow_weights(geometry, 1, columns), atol=1e-9)


@pytest.mark.parametrize("size", [(375, 500), (61, 97), (40, 40)])
@pytest.mark.parametrize("side", [64, 128, 300])
def test_stretched_maps_are_the_official_two_bilinear_steps(size, side):
    import torch
    from torch.nn.functional import interpolate

    clip = Preprocess((224, 224), **PLAIN)
    geometry = Whole(short=side, stretch=True).plan(size, preprocess=clip, cell=(16, 16))
    maps = torch.randn(1, 2, *geometry.grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = interpolate(maps, geometry.resized, mode="bilinear", align_corners=False)
    official = interpolate(step, size, mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(geo.upsample(maps[0].numpy(), geometry), official, atol=1e-12)


@quick
@given(geometries(), st.integers(1, 90), st.integers(1, 90))
def test_a_constant_map_stays_constant_where_seen_and_nan_elsewhere(planned, rows, columns):
    geometry, _ = planned
    full = geo.upsample(np.full((2, *geometry.grid), 0.5, np.float32), geometry, rows, columns)
    assert full.shape == (2, rows, columns) and full.dtype == np.float32
    _, _, visible_rows, visible_columns = geo.weights(geometry, rows, columns)
    seen = np.outer(visible_rows, visible_columns)
    np.testing.assert_allclose(full[:, seen], 0.5, rtol=1e-6)
    assert np.isnan(full[:, ~seen]).all()


@quick
@given(geometries())
def test_a_map_of_the_cells_coordinates_draws_the_pixels_coordinates(planned):
    geometry, _ = planned
    assume(not geometry.stretch)  # its two steps hold the edge twice
    maps = np.stack(np.meshgrid(geometry.y, geometry.x, indexing="ij"))
    full = geo.upsample(maps, geometry)
    for axis, centres in enumerate((geometry.y, geometry.x)):
        n = geometry.image[axis]
        inside = (np.arange(n) >= centres[0]) & (np.arange(n) <= centres[-1])
        drawn = np.moveaxis(full[axis], axis, 0)[inside]
        np.testing.assert_allclose(drawn[~np.isnan(drawn)], np.broadcast_to(
            np.arange(n)[inside][:, None], drawn.shape)[~np.isnan(drawn)], atol=1e-8)  # fmt: skip


def test_maps_of_another_grid_are_refused():
    geometry = Native().plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16))
    with pytest.raises(GeometryError, match=r"Maps of shape \(3, 5\). Expected \(..., y, x\) with the grid"):
        geo.upsample(np.zeros((3, 5)), geometry)
    for rows in (0, -1, 2.0, True, "5"):
        with pytest.raises(GeometryError):
            geo.upsample(np.zeros((4, 4)), geometry, rows, 5)


def slow_shares(mask, geometry):
    """Shares cell by cell, from overlaps of boxes."""
    shares = np.full(geometry.grid, np.nan)
    for y, x in np.ndindex(geometry.grid):
        top, left, bottom, right = geometry.cell_box(y, x)
        rows = [max(0, min(bottom, r + 1) - max(top, r)) for r in range(geometry.image[0])]
        columns = [max(0, min(right, c + 1) - max(left, c)) for c in range(geometry.image[1])]
        area = sum(rows) * sum(columns)
        if area:
            shares[y, x] = np.array(rows) @ mask @ np.array(columns) / area
    return shares


@quick
@given(geometries(), st.integers(0, 99))
def test_mask_shares_are_exact_areas(planned, seed):
    geometry, _ = planned
    assume(math.prod(geometry.grid) <= 200)
    mask = np.random.default_rng(seed).random(geometry.image) < 0.4
    shares = geo.downsample_mask(mask, geometry)
    np.testing.assert_allclose(shares, slow_shares(mask, geometry), atol=1e-9)
    np.testing.assert_allclose(geo.downsample_mask(~mask, geometry), 1 - shares, atol=1e-9)


def test_masks_of_another_size_or_kind_are_refused():
    geometry = Native().plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16))
    for bad in (np.zeros((64, 63), bool), np.zeros((64, 64), np.uint8), np.zeros((1, 64, 64), bool)):
        with pytest.raises(GeometryError, match=r"A mask .* Expected booleans of shape \(64, 64\)"):
            geo.downsample_mask(bad, geometry)


@quick
@given(geometries(Tiles(overlap=0.6)), st.sampled_from([(), (3,), (2, 2)]))
def test_blending_windows_of_one_value_gives_it_back(planned, tail):
    geometry, _ = planned
    values = np.full((len(geometry.windows), *window_cells(geometry), *tail), 0.25, dtype=np.float32)
    blended = blend(values, geometry)
    assert blended.shape == (*geometry.grid, *tail)
    np.testing.assert_allclose(blended, 0.25, rtol=1e-6)


@quick
@given(geometries(Tiles(overlap=0.5)))
def test_blending_windows_cut_from_one_map_gives_the_map_back(planned):
    geometry, _ = planned
    whole = np.random.default_rng(0).normal(size=(*geometry.grid, 2))
    (ty, tx), cell = window_cells(geometry), geometry.cell
    cuts = [whole[t // cell[0] :, left // cell[1] :][:ty, :tx] for t, left in geometry.windows]
    np.testing.assert_allclose(blend(cuts, geometry), whole, rtol=1e-9, atol=1e-12)
    wy, wx = geo.blend_weights(geometry)
    assert wy.min() > 0 and wx.min() > 0 and wy.max() == wx.max() == 1
    assert (wy == wy[::-1]).all() and (wx == wx[::-1]).all()


def test_a_geometry_without_windows_has_no_weights():
    geometry = Native().plan((64, 64), preprocess=Preprocess((64, 64), **PLAIN), cell=(16, 16))
    with pytest.raises(GeometryError, match="without windows"):
        geo.blend_weights(geometry)
