"""How far a layout in two dimensions keeps the neighbours that points have by cosine."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_JUDGED = 2000  # points: each is compared with each
NEIGHBOURS = 10


class Neighbourhoods(NamedTuple):
    """What is kept of neighbourhoods.

    Attributes:
        trustworthiness: Venna and Kaski's, 1 where all neighbours in the layout are neighbours, about 0.5 by chance.
        neighbours_kept: The share of a point's nearest in the layout that are among its nearest by cosine.
        neighbours: How many are called the nearest.
        judged: Of how many points.
    """

    trustworthiness: float
    neighbours_kept: float
    neighbours: int
    judged: int

    @property
    def by_chance(self) -> float:
        """The share that a layout of no meaning would keep."""
        return self.neighbours / (self.judged - 1)


def neighbours_kept(vectors: NDArray[np.float64], places: NDArray[np.float64]) -> Neighbourhoods:
    """Judge a layout `(point, 2)` of unit vectors `(point, D)`, by the nearest of each point; equals in their order.

    Trustworthiness after Venna and Kaski (2001), formula 1: neighbours in the layout that are none by cosine count by
    how far down they are among all points.

    Example:
        >>> line = np.linspace(0, 1, 9)
        >>> arc = np.stack([np.cos(line), np.sin(line)], 1)
        >>> neighbours_kept(arc, arc)[:3]
        (1.0, 1.0, 4)
    """
    count = len(vectors)
    k = min(NEIGHBOURS, (count - 1) // 2)
    apart = -(vectors @ vectors.T)
    np.fill_diagonal(apart, np.inf)
    ranks = np.empty((count, count), dtype=np.int64)  # from 1
    np.put_along_axis(ranks, apart.argsort(1, kind="stable"), np.arange(1, count + 1)[None], 1)
    apart = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(apart, np.inf)
    down = np.take_along_axis(ranks, apart.argsort(1, kind="stable")[:, :k], 1)
    strangers = int(np.maximum(down - k, 0).sum())
    trustworthiness = 1 - 2 * strangers / (count * k * (2 * count - 3 * k - 1))
    return Neighbourhoods(trustworthiness, float((down <= k).mean()), k, count)
