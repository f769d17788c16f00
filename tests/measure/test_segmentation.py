"""Scores of a segmentation, against a loop over pixels."""

import numpy as np
import pytest
import torch
from geometries import geometries, thorough
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import ImageError
from denseclip_viz.geometry import Preprocess, Tiles, Whole, upsample
from denseclip_viz.maps.refine import REMOVED
from denseclip_viz.measure.segmentation import (
    areas_iou,
    areas_of,
    confusion,
    grid_ceiling,
    intersection_over_union,
    label_pixels,
)


@given(st.integers(0, 2**16))
def test_confusion_and_iou_equal_a_loop_over_pixels(seed):
    generator = np.random.default_rng(seed)
    truth, given_labels = generator.integers(-1, 3, (5, 6)), generator.integers(-1, 4, (5, 6))
    counts = np.zeros((4, 5), int)
    for t, g in zip(truth.ravel(), given_labels.ravel(), strict=True):
        if t >= 0:
            counts[t, g if g >= 0 else 4] += 1
    assert (confusion(truth, given_labels, 4) == counts).all()
    scored = truth >= 0
    for index, value in enumerate(intersection_over_union(counts)):
        is_true, is_given = truth[scored] == index, given_labels[scored] == index
        if not is_true.any():
            assert np.isnan(value)
        else:
            assert value == pytest.approx((is_true & is_given).sum() / (is_true | is_given).sum())


ONES = np.ones((2, 2), dtype=int)


@pytest.mark.parametrize("truth, labels, classes", [
    (ONES, ONES + 2, 2), (ONES * 255, ONES, 2), (ONES.astype(np.uint8) * 255, ONES, 2), (ONES, ONES * 1.0, 2),
    (ONES, ONES[0], 2), (ONES, None, 2), (ONES, "labels", 2), (ONES, ONES, 0), (ONES, ONES, 2.0),
])  # fmt: skip
def test_labels_that_would_be_counted_as_others_are_refused(truth, labels, classes):
    with pytest.raises(ImageError, match="Expected"):
        confusion(truth, labels, classes)


def test_a_table_without_the_column_of_no_class_is_refused():
    with pytest.raises(ImageError, match=r"\(2, 2\).*np.pad"):
        intersection_over_union(np.eye(2, dtype=int))


def test_a_perfect_segmentation_scores_one():
    truth = np.array([[0, 1], [2, 2]])
    assert np.nanmean(intersection_over_union(confusion(truth, truth, 3))) == 1


def test_a_map_that_overstates_a_small_thing_passes_the_grids_ceiling():
    geometry = Whole().plan((32, 32), preprocess=Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3), cell=(8, 8))
    truth = np.zeros((32, 32), int)
    truth[9:15, 9:13] = 1  # less than half of one cell
    ceiling = grid_ceiling(truth, geometry, 2)
    overstated = ceiling * torch.tensor([1.0, 4.0])[:, None, None]
    known, better = (areas_iou(areas_of(scores, truth, geometry))[1] for scores in (ceiling, overstated))
    assert known == 0 < 0.5 < better


FITS = st.sampled_from([None, Whole(stretch=True), Tiles(apart=True)])


@thorough
@given(FITS.flatmap(geometries), st.integers(0, 2**16), st.integers(1, 12), st.booleans())
def test_every_pixel_is_of_the_highest_of_all_maps_drawn_at_full_size(planned, seed, classes, even):
    geometry, generator = planned[0], np.random.default_rng(seed)
    scores = generator.normal(0, 1, (classes, *geometry.grid))
    if not even:  # the first wins, each other one at one place
        scores[0], scores[1:] = 0, scores[1:] / 10 - 2
        places = generator.integers(0, geometry.grid, (classes, 2))
        scores[np.arange(classes), places[:, 0], places[:, 1]] = 1
    scores[generator.random(classes) < 0.1] = REMOVED
    drawn = np.stack([upsample(one, geometry) for one in scores])
    labels = label_pixels(torch.from_numpy(scores), geometry)
    seen = np.isfinite(drawn[0])
    assert (labels[~seen] == -1).all()
    highest, given_to = drawn[:, seen].max(0, initial=REMOVED), labels[seen].astype(int)
    assert ((given_to == -1) == (highest <= REMOVED / 2)).all()
    there = given_to >= 0
    assert (drawn[:, seen][given_to[there], np.flatnonzero(there)] >= highest[there] - 1e-9).all()
