"""Classes that are easily confused: which is taken for which, and what happens where two stand in one image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from denseclip_viz.geometry import Geometry
from denseclip_viz.measure.segmentation import Counts, label_pixels


def confusion_in_groups(true: NDArray[np.intp], scores: NDArray[np.floating], groups: NDArray[np.intp]) -> Counts:
    """Count which class is taken for which, where those of its own group alone compete.

    Args:
        true: `(image,)`, the true class.
        scores: `(image, class)`, the highest wins.
        groups: `(class,)`, the group of each class.

    Returns:
        `(class, given class)` counts.

    Example:
        >>> confusion_in_groups(np.array([0, 2]), np.array([[1, 2, 9], [0, 0, 1]]), np.array([0, 0, 1])).tolist()
        [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    """
    given = np.where(groups[true][:, None] == groups, scores, -np.inf).argmax(1)
    counts = np.zeros((len(groups), len(groups)), np.int64)
    np.add.at(counts, (true, given), 1)
    return counts


def share_right(counts: Counts) -> float:
    """Say how often a class was given its own name; 0 for classes that were in no image."""
    return round(float(np.trace(counts) / max(1, counts.sum())), 4)


def most_confused(counts: Counts, names: Sequence[str]) -> dict[str, Any] | None:
    """Find the most frequent confusion, the first of equal ones; `None` without any.

    Example:
        >>> most_confused(np.array([[3, 2], [0, 0]]), ["oak", "pine"])
        {'kind': 'oak', 'taken for': 'pine', 'times': 2, 'of': 5}
    """
    wrong = counts - np.diag(np.diag(counts))
    true, given = divmod(int(wrong.argmax()), len(names))
    if not (times := int(wrong[true, given])):
        return None
    return {"kind": names[true], "taken for": names[given], "times": times, "of": int(counts[true].sum())}


def two_at_once(
    scores: Tensor, pair: Sequence[int], masks: Sequence[NDArray[np.bool_]], others: Sequence[int], geometry: Geometry
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Measure, for `evaluate`, two classes of one image against all others: each asked for alone, then both at once.

    Args:
        scores: `(class, y, x)`.
        pair: The two classes.
        masks: Where they are, `(row, column)` each.
        others: Classes that compete with them.
        geometry: Says where the grid lies.

    Returns:
        `alone` and `together` (place), the IoU of each; `given`, pixels of one that go to the other; `pixels` of both.
    """
    both = label_pixels(scores[[*pair, *others]], geometry)
    single = [label_pixels(scores[[one, *others]], geometry) for one in pair]
    lost = [int((both[mask] == 1 - place).sum()) for place, mask in enumerate(masks)]
    return {
        "alone": (("place",), [_iou(labels == 0, mask) for labels, mask in zip(single, masks, strict=True)]),
        "together": (("place",), [_iou(both == place, mask) for place, mask in enumerate(masks)]),
        "given": ((), sum(lost)),
        "pixels": ((), sum(int(mask.sum()) for mask in masks)),
    }


def _iou(guess: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((guess & truth).sum() / max(1, (guess | truth).sum()))
