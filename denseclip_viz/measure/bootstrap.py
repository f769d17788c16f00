"""How far means over images would move with other images: the bootstrap, and what it says of the best of many."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import PromptError
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.validation import is_number, is_whole, many

_HELD = 2**23  # numbers of one block of resamples: the memory does not grow with the images
_ROUNDING = 1e-9  # scores are of the order of one: what differs by less is equal


@dataclass(frozen=True)
class Draws:
    """How wide intervals are, and how often and from which seed images are drawn again for them."""

    interval: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        width, count = self.interval, self.resamples
        if not is_number(width, 0, 1, ends=False):
            raise PromptError(f"interval={width!r}", expected="a number between 0 and 1", fix="Try interval=0.95.")
        if not is_whole(count, 100):
            got, expected = f"resamples={count!r}", "a whole number of at least 100"
            raise PromptError(got, expected=expected, fix="Try resamples=2000.")
        if not is_whole(self.seed, 0):
            raise PromptError(f"seed={self.seed!r}", expected="a whole number from 0 on", fix="Try seed=0.")


@guarded
def resampled(scores: Floats, *, resamples: int = 2000, seed: int = 0) -> Floats:
    """Draw the images again, with replacement, and average: the same draws for every column, so pairs stay pairs.

    Args:
        scores: `(image, column)`, finite.
        resamples: How often.
        seed: The same seed gives the same draws.

    Returns:
        `(resample, column)` means.

    Source: Efron (1979), the nonparametric bootstrap.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> means = dcv.measure.resampled(np.array([[1.0, 2.0], [3.0, 4.0]]), resamples=100)
        >>> bool(np.allclose(means[:, 1] - means[:, 0], 1)), bool(1 <= means[:, 0].min() < means[:, 0].max() <= 3)
        (True, True)
    """
    draws = Draws(resamples=resamples, seed=seed)
    return _means(_several(scores), draws)


def _means(scores: Floats, draws: Draws) -> Floats:
    rng, images = np.random.default_rng(draws.seed), len(scores)
    even, block = np.full(images, 1 / images), max(1, _HELD // images)
    blocks = (min(block, draws.resamples - start) for start in range(0, draws.resamples, block))
    return np.concatenate([rng.multinomial(images, even, size=size) @ scores / images for size in blocks])


@guarded
def intervals(scores: Floats, interval: float, *, resamples: int = 2000, seed: int = 0) -> tuple[Floats, Floats]:
    """Compute the interval of each column's mean: percentiles of the bootstrap, widened for few images.

    Args:
        scores: `(image, column)`, finite, of two images or more.
        interval: How sure it is, between 0 and 1; of each column by itself.
        resamples: As for `resampled`.
        seed: As for `resampled`.

    Returns:
        `(column,)` lower and upper ends.

    Source: Hesterberg, What Teachers Should Know About the Bootstrap (arXiv 1411.5279), on why percentiles are too
    narrow for small samples, and by how much.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> low, high = dcv.measure.intervals(np.linspace(0, 1, 400)[:, None], 0.95)
        >>> (low.round(2).tolist(), high.round(2).tolist())  # 0.5 and 1.96 times 0.29 / 20 on either side
        ([0.47], [0.53])
    """
    draws, scores = Draws(interval, resamples, seed), _several(scores, 2)
    return ends_of(_means(scores, draws), scores.mean(0), len(scores), interval)


def ends_of(draws: Floats, centre: Floats, images: int, interval: float) -> tuple[Floats, Floats]:
    """Take an interval around what was measured from `(resample, …)` draws of it, widened for few images."""
    away = np.quantile(draws, [(1 - interval) / 2, (1 + interval) / 2], axis=0) - centre
    low, high = centre + small_sample_factor(images, interval) * away
    return low, high


@guarded
def intervals_to_best(
    scores: Floats, interval: float, *, resamples: int = 2000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Compute how far each column's mean is behind that of the best, whichever that is: intervals, never above 0.

    Which one is the best is not known, only which one looks best here; of many that are equal, some look worse than
    the luckiest by more than any two of them would. So for each column the widest of its differences to all others,
    in standard errors, sets how wide its intervals are; no error counts as less than their median, or else a twin
    that is better by next to nothing, but surely, would decide. A column whose upper end is 0 may be the best one,
    and the best one is among them with the probability `interval`, however many there are.

    Args:
        scores: As for `intervals`.
        interval: As for `intervals`.
        resamples: As for `resampled`.
        seed: As for `resampled`.

    Returns:
        `(column,)` lower and upper ends of its mean less the best one's.

    Source: Hsu (1984), constrained intervals for multiple comparisons with the best, with the bootstrap's
    distribution of the largest difference instead of a normal one's.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).normal([0.5, 0.5, 0.1], 0.1, (50, 3))
        >>> (dcv.measure.intervals_to_best(scores, 0.95)[1] == 0).tolist()
        [True, True, False]
    """
    draws, scores = Draws(interval, resamples, seed), _several(scores, 2)
    mean = scores.mean(0)
    moves = _means(scores, draws) - mean
    wide = small_sample_factor(len(scores), interval)
    ends = np.zeros((2, len(mean)))
    for at in range(len(mean)):
        apart = moves - moves[:, [at]]
        error = apart.std(0)
        error = np.maximum(error, np.median(np.delete(error, at))) if len(error) > 1 else error
        error[at] = 0.0
        largest = (np.abs(apart) / np.where(error > _ROUNDING, error, np.inf)).max(1)
        reach = wide * np.quantile(largest, interval) * error
        ends[:, at] = (mean[at] - mean - reach).min(), (mean[at] - mean + reach).min()
    ends[np.abs(ends) < _ROUNDING] = 0.0
    return ends[0], ends[1]


def _several(scores: Floats, least: int = 1) -> Floats:
    """Refuse what has no means, or too few images to say how far these would move."""
    values = np.asarray(scores)
    if values.ndim < 1 or values.dtype.kind not in "fiu" or len(values) < least or not np.isfinite(values).all():
        got, fix = f"scores {values.shape} of {values.dtype}", "Leave out images that have no number."
        raise PromptError(got, expected=f"finite numbers (image, column) of {many(least, 'image')} or more", fix=fix)
    return values


def small_sample_factor(images: int, interval: float) -> float:
    """Tell how much too narrow the bootstrap is: the spread divides by n, and few images have long tails.

    Example:
        >>> [round(small_sample_factor(images, 0.95), 2) for images in (5, 20, 1000)]
        [1.58, 1.1, 1.0]
    """
    from scipy.special import stdtrit  # Student's quantile; scipy.stats has it too, and takes ten times as long to load

    upper = (1 + interval) / 2
    return sqrt(images / (images - 1)) * float(stdtrit(images - 1, upper)) / NormalDist().inv_cdf(upper)
