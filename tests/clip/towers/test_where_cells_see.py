"""A map is drawn where its cells see: measured by what moves them, against what the tower's padding says."""

from __future__ import annotations

from dataclasses import replace

import align_models
import numpy as np
import pytest
import timm
import tiny
import torch
from open_clip.timm_model import TimmModel
from PIL import Image
from transformers.models.align.modeling_align import AlignVisionSqueezeExciteLayer

import denseclip_viz as dcv
from denseclip_viz.clip.hooks import record
from denseclip_viz.clip.towers import Align, tower_for, tower_of
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Geometry, Native, Preprocess, Whole, downsample_mask, upsample

# Blocks that pad both sides alike, and the shift of the last map. By hand: the stem has the middle of output i at
# input 2 i + 1, a block that pads one side more at 2 i + 1 too, one that pads both sides alike at 2 i.
PADDING = {"as ALIGN": ((), 15.5), "square in one block": ((2,), 11.5), "square in all": (tuple(range(10)), -14.5)}


def even(model):
    """Every kernel the same at all its places, so that what moves a cell lies evenly around where it sees."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(module.weight.mean((2, 3), keepdim=True).expand_as(module.weight))
    return model


@pytest.fixture
def no_gates(monkeypatch):
    """A gate of squeeze and excitation looks everywhere at once."""
    monkeypatch.setattr(AlignVisionSqueezeExciteLayer, "forward", lambda self, x: x)


def off_their_cells(tower, layers, side):
    """By layer: how far from the middle of a cell lies what moves it, weighed by how much."""
    pixels = torch.zeros(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    with record(tower.taps(), layers, raw=True) as maps:
        tower.visual(pixels)
    places = torch.arange(side, dtype=torch.float64)
    for layer in layers:
        grid = maps[layer].shape[-2:]
        cell, size = (grid[0] // 2, grid[1] // 2 - 1), side // grid[0]
        taken = maps[layer][0, :, cell[0], cell[1]].sum()
        weights = torch.autograd.grad(taken, pixels, retain_graph=True)[0][0].abs().sum(0)
        middle = [float((weights.sum(axis) * places).sum() / weights.sum()) for axis in (1, 0)]
        yield layer, np.array(middle) - (np.array(cell) * size + (size - 1) / 2)


@pytest.mark.parametrize(("padding", "last"), PADDING.values(), ids=PADDING)
def test_the_shift_of_every_layer_is_where_the_pixels_lie_that_move_its_cells(padding, last, no_gates):
    model = even(align_models.make(dtype=torch.float64, depthwise_padding=padding))
    tower, side = tower_of(Align(model, pad=0, context_length=16).eval()), 640
    assert tower.cell == (32, 32) and tower.grid(torch.zeros(1, 3, side, side)) == (20, 20)
    for layer, off in off_their_cells(tower, (*tower.layers, "pool.input"), side):
        np.testing.assert_allclose(off, tower.shift(layer), atol=1e-6)
    assert tower.shift("pool.input") == (last, last)


TIMM = {
    "fastvit_t8": ({"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)}, [-1.5, -1.5, -3.5, -7.5, -15.5]),
    "convnext_atto": ({"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, [0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize(("name", "shifts"), [(name, shifts) for name, (_, shifts) in TIMM.items()], ids=TIMM)
def test_the_other_towers_of_maps_say_too_where_their_cells_see(name, shifts, monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given, **TIMM[name][0]))
    tower = tower_for(even(tiny.randomise(TimmModel(name, 8, image_size=768, pool="", proj="linear").double())))
    for shift, (layer, off) in zip(shifts, off_their_cells(tower, tower.layers, 768), strict=True):
        assert tower.shift(layer) == (shift, shift)
        np.testing.assert_allclose(off, shift, atol=1e-6)
    assert tower.shift("pool.input") == (shifts[-1], shifts[-1])


@pytest.mark.parametrize(
    ("fit", "cells"), [(dcv.Whole(short=320), [(3, 5), (4, 8), (6, 11)]), ("native", [(1, 1)])], ids=["whole", "native"]
)
def test_the_cell_that_changes_most_is_the_one_in_whose_box_a_bright_spot_was_put(fit, cells, tmp_path, no_gates):
    """As a user sees it, in pixels of the image: whole, or squashed and cropped."""
    model = dcv.load(str(align_models.write(tmp_path, even(align_models.make()))), device="cpu")
    grey = np.full((400, 640, 3), 110, np.uint8)
    plain = model.trace(grey, geometry=fit)
    y, x = plain.geometry.y, plain.geometry.x
    for cell in cells:
        top, left, bottom, right = plain.geometry.cell_box(*cell)
        for down, along in ((0.5, 0.5), (0.25, 0.75), (0.75, 0.25)):
            row, column = round(top + down * (bottom - top)), round(left + along * (right - left))
            spot = grey.copy()
            spot[row - 10 : row + 10, column - 10 : column + 10] = (255, 240, 40)
            moved = model.trace(spot, geometry=fit).contributions - plain.contributions
            change = (moved.square().sum(-1) / moved.square().sum()).numpy()
            assert np.unravel_index(change.argmax(), change.shape) == cell
            if fit != "native":  # where the grid goes on around the spot, the middle of the change is the spot's own
                found = change.sum(1) @ y, change.sum(0) @ x
                np.testing.assert_allclose(found, (row - 0.5, column - 0.5), atol=4)  # a cell has 40 pixels


HALF = Preprocess((97, 97), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), resize_mode="squash", before_crop=(116, 130))


@pytest.mark.parametrize("fit", [Native(), Whole()])
def test_a_shift_moves_cells_and_not_what_was_seen(fit):
    plain = fit.plan((232, 520), preprocess=HALF, cell=(32, 32))
    moved = replace(plain, shift=(15.5, 8.0))
    assert moved.grid == plain.grid and replace(moved, shift=(0.0, 0.0)) == plain
    tall, wide = (np.array(plain.image) / plain.resized).tolist()
    np.testing.assert_allclose(moved.y - plain.y, 15.5 * tall)
    np.testing.assert_allclose(moved.x - plain.x, 8 * wide)
    np.testing.assert_allclose(
        np.subtract(moved.placement().extent, plain.placement().extent), [8 * wide, 8 * wide, 15.5 * tall, 15.5 * tall]
    )
    assert Geometry.from_json(moved.to_json()) == moved
    if isinstance(fit, Native):  # one pixel of 97 fills no cell of its own, and overlapping cells see it
        assert (plain.visible[2], moved.visible[2]) == ((9 + 96) * 2, (9 + 97) * 2)


def test_what_a_moved_grid_draws_is_held_at_the_edges_and_unseen_where_nothing_was_seen():
    geometry = replace(Native().plan((232, 520), preprocess=HALF, cell=(32, 32)), shift=(15.5, 15.5))
    values = np.arange(9.0).reshape(3, 3)
    drawn = upsample(values, geometry)
    assert np.isnan(drawn[:18]).all() and np.isnan(drawn[:, :64]).all()
    assert (drawn[18:63, 64:126] == 0).all() and (drawn[210:212, 446:452] == 8).all() and drawn[200, 440] < 8
    for row, y in enumerate(geometry.y[:2]):
        np.testing.assert_allclose(drawn[round(y), round(geometry.x[0])], values[row, 0], atol=0.1)
    covered = downsample_mask(np.ones((232, 520), bool), geometry)
    np.testing.assert_allclose(covered, 1)


@pytest.mark.parametrize("shift", [(1.0,), (float("nan"), 0.0), (0.0, float("inf")), ()])
def test_a_shift_that_cannot_be_is_refused(shift):
    plain = Native().plan((232, 520), preprocess=HALF, cell=(32, 32))
    with pytest.raises(GeometryError, match="shift="):
        replace(plain, shift=shift)


def test_a_map_is_drawn_where_its_cells_see_and_only_over_what_was_seen(tmp_path):
    model = dcv.load(str(align_models.write(tmp_path)), device="cpu")
    noise = np.random.default_rng(1).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    map_ = model.similarity(Image.fromarray(noise).resize((180, 120)), ["a red car"])[0, 0]
    np.testing.assert_allclose((map_.y[0] + 0.5) * 116 / 120, 9 + 31.5)  # the last pixel of the first cell
    image = dcv.plot.map(map_).images[-1]
    left, right, bottom, top = image.get_extent()
    cells = image.get_array()
    assert cells.shape == (4, 4)  # one row and column more, held, where the model saw and no cell is
    np.testing.assert_array_equal(cells[1:, 1:], map_)
    np.testing.assert_array_equal(cells[0, 1:], map_[0])
    np.testing.assert_allclose(np.diff(map_.x), (right - left) / 4)
    np.testing.assert_allclose(np.diff(map_.y), (bottom - top) / 4)
    np.testing.assert_allclose([left + (right - left) * 3 / 8, top + (bottom - top) * 3 / 8], [map_.x[0], map_.y[0]])
    top, left, bottom, right = (edge - 0.5 for edge in Geometry.from_json(map_.attrs["geometry"]).visible)
    corners = image.axes.transData.inverted().transform(image.get_clip_box().get_points())
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [(left, top), (right, bottom)])
