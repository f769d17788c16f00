"""Pixels replaced in the order of a map, held against slow loops."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from denseclip_viz.geometry import Geometry, Preprocess
from denseclip_viz.measure.perturbation import (
    FILLS,
    area_under,
    on_input,
    perturbed,
    pixel_ranks,
    replacement,
    visible_pixels,
)

CLIP = Preprocess((8, 12), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
GRID = Geometry("whole", image=(6, 12), resized=(6, 12), offset=(0, 0), input=(8, 12), cell=(4, 4))
VISIBLE = visible_pixels(GRID)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_padding_is_no_part_of_the_image():
    assert VISIBLE.sum() == 6 * 12 and VISIBLE[:6].all()


def test_a_map_is_drawn_bilinearly_between_the_middles_of_cells():
    maps = noise(2, 2, 3)
    drawn = F.interpolate(torch.from_numpy(maps)[None], (8, 12), mode="bilinear", align_corners=False)[0]
    assert on_input(maps, GRID) == pytest.approx(drawn.numpy(), abs=1e-12)


def test_the_highest_pixel_goes_first_and_padding_last():
    drawn = noise(3, 8, 12)
    ranks = pixel_ranks(drawn, VISIBLE, 0)
    for each, order in zip(drawn, ranks, strict=True):
        assert sorted(order.ravel()) == list(range(96)) and order[~VISIBLE].min() == 72
        by_rank = sorted(zip(order[VISIBLE], each[VISIBLE], strict=True))
        assert [value for _, value in by_rank] == sorted(each[VISIBLE], reverse=True)


def test_equal_pixels_go_by_chance_and_in_one_order_for_all_maps():
    flat = np.zeros((2, 8, 12))
    one, other = pixel_ranks(flat, VISIBLE, 0), pixel_ranks(flat, VISIBLE, 1)
    assert np.array_equal(one[0], one[1]) and not np.array_equal(one, other)
    rows = np.indices((8, 12))[0]
    assert abs(rows[one[0] < 36].mean() - 2.5) < 1  # no half of the image comes first


@pytest.mark.parametrize("kind", FILLS)
def test_what_pixels_become_is_what_its_name_says(kind):
    pixels = torch.from_numpy(noise(3, 8, 12)).float()
    fill = replacement(kind, pixels, VISIBLE, CLIP, 0)
    mean, std = (np.array(values)[:, None, None] for values in (CLIP.mean, CLIP.std))
    colours = fill.numpy() * std + mean
    assert fill.shape == pixels.shape and torch.equal(fill, replacement(kind, pixels, VISIBLE, CLIP, 0))
    if kind == "grey":
        assert colours == pytest.approx(0.5, abs=1e-6)
    if kind == "mean":
        assert fill[:, 0, 0].numpy() == pytest.approx(pixels[:, :6].mean((1, 2)).numpy(), abs=1e-6)
    if kind == "noise":
        assert colours.min() >= -1e-6 and colours.max() <= 1 + 1e-6 and colours.std() > 0.2
        assert not torch.equal(fill, replacement(kind, pixels, VISIBLE, CLIP, 1))
    if kind == "blur":
        assert fill.std() < pixels.std() and abs(float(fill.mean() - pixels.mean())) < 0.2


def test_curves_are_those_of_a_slow_loop():
    pixels, fill = (torch.from_numpy(noise(3, 8, 12, seed=at)) for at in (1, 2))
    drawn, counts = noise(2, 8, 12), [18, 36, 54]
    weights = noise(3, 8, 12, seed=3)
    batches = list(perturbed(pixels, fill, pixel_ranks(drawn, VISIBLE, 0), counts, 5))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    scores = (torch.cat(batches).numpy() * weights).sum((1, 2, 3)).reshape(2, 2, 3)
    for each, both in zip(drawn, scores, strict=True):
        places = sorted(np.argwhere(VISIBLE).tolist(), key=lambda at, each=each: -each[tuple(at)])
        for at, count in enumerate(counts):
            removed, restored = pixels.clone(), fill.clone()
            for y, x in places[:count]:
                removed[:, y, x], restored[:, y, x] = fill[:, y, x], pixels[:, y, x]
            by_hand = [(image.numpy() * weights).sum() for image in (removed, restored)]
            assert both[:, at] == pytest.approx(by_hand, abs=1e-10)


def test_an_area_is_that_of_the_trapezoids():
    curve, at = noise(4, 6), np.linspace(0, 0.5, 6)
    by_hand = sum((curve[:, k] + curve[:, k + 1]) / 2 * 0.1 for k in range(5)) / 0.5
    assert area_under(curve, at) == pytest.approx(by_hand, abs=1e-12)
