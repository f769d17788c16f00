"""Labels against the truth: a confusion matrix, and the intersection over union that follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def confusion(truth: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> Counts:
    """Count pixels by true and given class.

    Args:
        truth: `(row, column)`, class indices; negative ones are not counted.
        labels: `(row, column)`, class indices; -1 is no class.
        classes: How many classes there are.

    Returns:
        `(true, given)` counts, `classes` by `classes + 1`; the last column is no class.

    Example:
        >>> confusion(np.array([[0, 1]]), np.array([[0, -1]]), 2).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    given = np.where(labels < 0, classes, labels)
    cells = truth[truth >= 0].astype(np.int64) * (classes + 1) + given[truth >= 0]
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def intersection_over_union(counts: Counts) -> NDArray[np.float64]:
    """Divide, for each class, the pixels that are both by those that are either; NaN for a class not in the truth.

    Args:
        counts: `(true, given)`, as `confusion` returns, summed over pictures.

    Source: the Pascal VOC segmentation measure; mIoU is its mean over classes.

    Example:
        >>> intersection_over_union(np.array([[3, 1, 0], [0, 4, 0]])).tolist()
        [0.75, 0.8]
    """
    square = counts[:, :-1]
    both = np.diag(square).astype(float)
    either = counts.sum(1) + square.sum(0) - both
    return np.where(counts.sum(1) > 0, both / np.maximum(either, 1), np.nan)
