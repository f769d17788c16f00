"""Scores of a segmentation, against a loop over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.measure.segmentation import confusion, intersection_over_union


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


def test_a_perfect_segmentation_scores_one():
    truth = np.array([[0, 1], [2, 2]])
    assert np.nanmean(intersection_over_union(confusion(truth, truth, 3))) == 1
