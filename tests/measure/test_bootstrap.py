"""What intervals promise is kept: on numbers drawn so that the truth is known, again and again."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from denseclip_viz.errors import PromptError
from denseclip_viz.measure.bootstrap import intervals, intervals_to_best, resampled, small_sample_factor

FEW = {"resamples": 300}


def images(rng, count, ways, *, noise=0.02):
    """Scores of equal ways: images differ much more than ways do, as real ones."""
    return rng.normal(0.6, 0.1, (count, 1)) + rng.normal(0, noise, (count, ways))


def test_intervals_have_the_width_that_theory_gives_and_pairs_stay_pairs():
    scores = np.random.default_rng(0).normal(0.5, 0.1, (400, 1))
    low, high = intervals(scores, 0.95, resamples=4000)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.12)
    both = np.hstack([scores, scores + 0.01])
    means = resampled(both, resamples=4000)
    assert np.ptp(means[:, 1] - means[:, 0]) < 1e-12
    assert np.array_equal(means, resampled(both, resamples=4000))
    assert not np.array_equal(means, resampled(both, resamples=4000, seed=1))


@pytest.mark.parametrize("count", [3, 5, 40])
def test_an_interval_holds_the_truth_as_often_as_it_says_also_with_few_images(count):
    rng = np.random.default_rng(count)
    ends = [intervals(rng.normal(0, 1, (count, 1)), 0.95, **FEW) for _ in range(400)]
    assert np.mean([low[0] <= 0 <= high[0] for low, high in ends]) > 0.9  # plain percentiles: 0.74, 0.83, 0.91


@pytest.mark.parametrize("interval", [0.8, 0.95])
def test_intervals_are_as_wide_as_students(interval):
    for count in (2, 3, 4, 10, 60):
        exact = scipy.stats.t.ppf((1 + interval) / 2, count - 1) / scipy.stats.norm.ppf((1 + interval) / 2)
        assert small_sample_factor(count, interval) == pytest.approx(exact * np.sqrt(count / (count - 1)), rel=2e-3)


@pytest.mark.parametrize(("count", "ways"), [(60, 85), (10, 20), (60, 2)])
def test_the_best_one_is_among_those_within_noise_however_many_there_are(count, ways):
    """Beside the luckiest of 85 equal templates, half of them look worse than any two would of each other."""
    rng = np.random.default_rng(ways)
    kept = [intervals_to_best(images(rng, count, ways), 0.95, **FEW)[1][0] == 0 for _ in range(60)]
    assert np.mean(kept) > 0.88


def test_what_is_worse_is_found_so_and_by_how_much():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(40):
        scores = images(rng, 60, 12)
        scores[:, 5:] -= 0.05
        low, high = intervals_to_best(scores, 0.95, **FEW)
        assert (high[5:] < 0).all() and (low <= high).all() and (high <= 0).all()
        held.append(((low[5:] <= -0.05) & (-0.05 <= high[5:])).mean())
    assert np.mean(held) > 0.9


def test_equal_ones_are_equal_and_a_difference_in_every_image_is_no_noise():
    scores = np.random.default_rng(0).normal(0.6, 0.1, (6, 1)) + [0, 0, -0.01]
    low, high = intervals_to_best(scores, 0.95, **FEW)
    assert high.tolist() == pytest.approx([0, 0, -0.01]) and low.tolist() == pytest.approx([0, 0, -0.01])
    assert (high[:2] == 0).all()


@pytest.mark.parametrize("options", [
    {"interval": 95}, {"interval": "0.95"}, {"resamples": 0}, {"resamples": 1e3}, {"seed": -1}, {"seed": None},
    {"scores": np.ones((1, 2))}, {"scores": np.ones((0, 2))}, {"scores": [[1.0, np.nan]] * 2}, {"scores": "scores"},
])  # fmt: skip
def test_what_has_no_interval_is_refused(options):
    for call in (intervals, intervals_to_best):
        with pytest.raises(PromptError, match="Expected"):
            call(**{"scores": np.ones((3, 2)), "interval": 0.95, **options})


def test_a_plain_list_of_scores_has_intervals():
    assert np.allclose(intervals([[1.0, 2.0]] * 3, 0.95, **FEW), [[1, 2], [1, 2]])
