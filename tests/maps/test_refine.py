"""The refinements, against an independent NumPy implementation of the reference."""

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import PromptError
from denseclip_viz.maps.refine import REMOVED, key_smoothing, prompt_denoising


def grids(seed, prompts=4, grid=(3, 5), channels=6):
    generator = np.random.default_rng(seed)
    return generator.normal(0.2, 0.02, (prompts, *grid)), generator.normal(size=(*grid, channels))


@pytest.mark.parametrize("normalisation", ["official", "cosine"])
@pytest.mark.parametrize("threshold", [1.0, 0.7, 0.0])
@given(seed=st.integers(0, 2**16))
def test_key_smoothing_equals_the_reference(normalisation, threshold, seed):
    scores, keys = grids(seed)
    ours = key_smoothing(
        torch.from_numpy(scores), torch.from_numpy(keys), threshold=threshold, normalisation=normalisation
    )
    theirs = oracle.key_smoothing(scores, keys, threshold, normalisation=normalisation)
    assert oracle.relative_error(ours.numpy(), theirs) <= 1e-12


@given(seed=st.integers(0, 2**16), threshold=st.sampled_from([0.3, 0.5, 0.9]))
def test_prompt_denoising_equals_the_reference_where_something_is_kept(seed, threshold):
    scores, _ = grids(seed)
    scores[seed % 4, 1, 1] += 0.2
    ours, kept = prompt_denoising(torch.from_numpy(scores), threshold)
    theirs = oracle.prompt_denoising(scores, threshold)
    assert oracle.relative_error(ours.numpy(), theirs) <= 1e-12
    assert kept.tolist() == (theirs[:, 0, 0] != REMOVED).tolist()


def test_when_every_prompt_is_denoised_away_it_is_said():
    with pytest.warns(UserWarning, match="removed every prompt"):
        _, kept = prompt_denoising(torch.full((3, 2, 2), 0.2))
    assert not kept.any()


def test_smoothing_never_builds_positions_times_positions():
    scores, keys = torch.rand(2, 200, 200), torch.rand(200, 200, 8)  # 40 000 positions: their square is 6 GB
    assert key_smoothing(scores, keys).isfinite().all()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, True, "half", None, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(PromptError):
        prompt_denoising(torch.rand(2, 2, 2), threshold)
    with pytest.raises(PromptError):
        key_smoothing(torch.rand(2, 2, 2), torch.rand(2, 2, 3), threshold=threshold)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(PromptError, match="'l2'"):
        key_smoothing(torch.rand(2, 2, 2), torch.rand(2, 2, 3), normalisation="l2")
