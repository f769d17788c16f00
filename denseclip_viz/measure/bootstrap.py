"""How far means over pictures would move with other pictures: the bootstrap."""

from __future__ import annotations

import numpy as np

from denseclip_viz.measure.seen import Floats

_HELD = 2**23  # numbers of one block of resamples: the memory does not grow with the pictures


def resampled(scores: Floats, *, resamples: int = 2000, seed: int = 0) -> Floats:
    """Draw the pictures again, with replacement, and average: the same draws for every column, so pairs stay pairs.

    Args:
        scores: `(picture, column)`, finite.
        resamples: How often.
        seed: The same seed gives the same draws.

    Returns:
        `(resample, column)` means.

    Source: Efron (1979), the nonparametric bootstrap.

    Example:
        >>> means = resampled(np.array([[1.0, 2.0], [3.0, 4.0]]), resamples=100)
        >>> bool(np.allclose(means[:, 1] - means[:, 0], 1)), bool(1 <= means[:, 0].min() < means[:, 0].max() <= 3)
        (True, True)
    """
    rng, pictures = np.random.default_rng(seed), len(scores)
    even, block = np.full(pictures, 1 / pictures), max(1, _HELD // pictures)
    blocks = (min(block, resamples - start) for start in range(0, resamples, block))
    return np.concatenate([rng.multinomial(pictures, even, size=size) @ scores / pictures for size in blocks])


def intervals(means: Floats, interval: float) -> tuple[Floats, Floats]:
    """The percentile interval of each column: `(column,)` lower and upper ends.

    Example:
        >>> low, high = intervals(np.linspace(0, 1, 101)[:, None], 0.9)
        >>> low.round(2).tolist(), high.round(2).tolist()
        ([0.05], [0.95])
    """
    low, high = np.quantile(means, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
    return low, high
