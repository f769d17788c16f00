"""The oracle's maps, refinements and resampling against torch and SciPy."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch.nn import functional as F

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def assert_close(got: np.ndarray, expected: torch.Tensor | np.ndarray) -> None:
    assert oracle.relative_error(got, np.asarray(expected)) <= 1e-12


@pytest.mark.parametrize("expected", [np.ones((2, 3)), np.full((2, 2), np.nan)])
def test_an_error_is_never_measured_between_other_shapes_or_from_nan(expected):
    with pytest.raises(AssertionError):
        oracle.relative_error(np.ones((2, 2)), expected)


def test_an_error_is_relative_to_the_largest_value():
    assert oracle.relative_error(np.array([1.0, -4.0]), np.array([1.5, -5.0])) == pytest.approx(0.2)


@pytest.mark.parametrize("antialias", [False, True])
@settings(deadline=None)
@given(old=SIZES, new=SIZES)
def test_positional_embeddings_are_resized_as_torch_does_it(antialias, old, new):
    pe = np.random.default_rng(0).normal(size=(1 + old[0] * old[1], 2))
    maps = torch.tensor(pe[1:].reshape(1, *old, 2)).movedim(-1, 1)
    expected = F.interpolate(maps, size=new, mode="bicubic", align_corners=False, antialias=antialias)
    got = oracle.resize_positional(pe, new, antialias=antialias, native=old)
    assert_close(got[1:], expected[0].flatten(1).T)
    assert_close(got[:1], pe[:1])


@settings(deadline=None)
@given(old=SIZES, new=SIZES)
def test_maps_are_upsampled_as_torch_does_it(old, new):
    maps = np.random.default_rng(0).normal(size=(2, *old))
    expected = F.interpolate(torch.tensor(maps)[None], size=new, mode="bilinear", align_corners=False)
    assert_close(oracle.bilinear(maps, new), expected[0])


def test_similarity_is_the_cosine():
    generator = np.random.default_rng(0)
    dense, text = generator.normal(size=(2, 3, 8)), generator.normal(size=(4, 8))
    expected = F.cosine_similarity(torch.tensor(dense)[None], torch.tensor(text)[:, None, None], dim=-1)
    assert_close(oracle.similarity(dense, text), expected)


def test_denoising_keeps_a_prompt_that_is_probable_at_one_position():
    scores = np.zeros((3, 2, 2))
    scores[0], scores[1, 0, 1] = 0.1, 0.2
    got = oracle.prompt_denoising(scores, 0.5)
    assert np.array_equal(got[:2], scores[:2])
    assert np.all(got[2] == -100)


def test_denoising_takes_away_every_prompt_where_none_stands_out():
    assert np.all(oracle.prompt_denoising(np.zeros((3, 2, 2)), 0.5) == -100)


@pytest.mark.parametrize(("normalisation", "dim"), [("official", 1), ("cosine", 2)])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_key_smoothing_is_a_product_with_normalised_keys(normalisation, dim, threshold):
    generator = np.random.default_rng(0)
    scores, keys = 0.02 * generator.normal(size=(4, 3, 5)), generator.normal(size=(3, 5, 6))
    probable = (torch.tensor(scores) * 100).softmax(dim=0).flatten(1).T[None]
    unit = F.normalize(torch.tensor(keys).reshape(1, 15, 6), p=2, dim=dim)
    smoothed = torch.where(probable.amax(-1, keepdim=True) < threshold, unit @ unit.mT @ probable, probable)
    got = oracle.key_smoothing(scores, keys, threshold, normalisation)
    assert_close(got, smoothed[0].T.reshape(4, 3, 5))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=20))
def test_spearman_shares_ranks_among_equals(pairs):
    a, b = np.array(pairs, dtype=float).T
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert math.isnan(oracle.spearman(a, b))
    else:
        assert oracle.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
