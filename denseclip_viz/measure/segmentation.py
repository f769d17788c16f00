"""Labels against the truth: a confusion matrix, and the intersection over union that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.text.bank import ensemble
from denseclip_viz.geometry import downsample_mask, weights
from denseclip_viz.maps.refine import REMOVED
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, KINDS, noun_phrase
from denseclip_viz.trace import Trace

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
        counts: `(true, given)`, as `confusion` returns, summed over images.

    Source: the Pascal VOC segmentation measure; mIoU is its mean over classes.

    Example:
        >>> intersection_over_union(np.array([[3, 1, 0], [0, 4, 0]])).tolist()
        [0.75, 0.8]
    """
    square = counts[:, :-1]
    both = np.diag(square).astype(float)
    either = counts.sum(1) + square.sum(0) - both
    return np.where(counts.sum(1) > 0, both / np.maximum(either, 1), np.nan)


TEMPLATES = ("{}", "a photo of {}", "there is {} in the scene", "a picture of {}", "an illustration of {}")
THINGS = np.array([name in KINDS for name in CLASSES])
PARTS = ("all", "things", "stuff")
_ROUNDING = 1e-5  # far above what interpolation rounds, far below what sets classes apart


@dataclass(frozen=True)
class Texts:
    """Vectors of all classes, `(class, D)`: one template, and the ensemble."""

    single: Tensor
    ensembled: Tensor


def texts_of(model: Model) -> Texts:
    """Encode the names of all classes."""
    vectors = model.texts.encode(Prompts([noun_phrase(name) for name in CLASSES], TEMPLATES))
    return Texts(vectors[0], ensemble(vectors))


def mean(values: Iterable[float]) -> float | None:
    """Average what there is, to four decimals; `None` where there is nothing.

    Example:
        >>> mean([0.5, float("nan"), 1.0]), mean([])
        (0.75, None)
    """
    found = np.array([value for value in values if np.isfinite(value)])
    return round(float(found.mean()), 4) if len(found) else None


@dataclass
class Tally:
    """Pixels by method: `(true, given)` counts summed over scenes, and how many scenes those were."""

    counts: dict[str, Counts] = field(default_factory=dict)
    scenes: dict[str, int] = field(default_factory=dict)

    def add(self, method: str, truth: NDArray[np.int16], labels: NDArray[np.int16]) -> None:
        """Add a scene."""
        new = confusion(truth, labels, len(CLASSES))
        self.counts[method] = self.counts.get(method, np.zeros_like(new)) + new
        self.scenes[method] = self.scenes.get(method, 0) + 1

    def iou(self, method: str) -> NDArray[np.float64]:
        """IoU by class; NaN for a class that was in no scene."""
        return intersection_over_union(self.counts[method])

    def miou(self, method: str) -> dict[str, float | None]:
        """Mean IoU over all classes, things, and stuff."""
        scores = self.iou(method)
        return dict(zip(PARTS, (mean(scores), mean(scores[THINGS]), mean(scores[~THINGS])), strict=True))

    def share(self, method: str, of: str) -> dict[str, float | None]:
        """Mean IoU over all classes, things, and stuff, as a share of another method's on the same scenes."""
        mine, whole = self.miou(method), self.miou(of)
        pairs = {part: (mine[part], whole[part]) for part in PARTS}
        return {part: round(a / b, 4) if a is not None and b else None for part, (a, b) in pairs.items()}


def ceiling(trace: Trace, scene: Scene) -> Tensor:
    """Average the true masks over the cells, `(class, y, x)`: the best that this grid can say."""
    truth = scene.labels()
    shares = np.zeros((len(CLASSES), *trace.geometry.grid))
    for index in np.unique(truth):
        shares[index] = np.nan_to_num(downsample_mask(truth == index, trace.geometry))
    return torch.from_numpy(shares)


def pixels(scores: Tensor, trace: Trace, size: int) -> NDArray[np.int16]:
    """Name every pixel by its best class, the first of equal ones.

    Args:
        scores: `(class, y, x)` on the grid; a class with -100 is removed.
        trace: Says where the grid lies.
        size: Pixels a side.

    Returns:
        `(row, column)` indices; -1 where every class is removed, or the model saw nothing.
    """
    chosen = contenders(scores)
    y, x, rows, columns = weights(trace.geometry, size, size)
    down, across = (torch.from_numpy(np.nan_to_num(w)).to(scores.dtype) for w in (y, x))
    best, place = (down @ (scores[chosen] @ across.T)).max(0)
    labels = chosen[place].numpy().astype(np.int16)
    labels[(best <= REMOVED / 2).numpy() | ~(rows[:, None] & columns)] = -1
    return labels


def contenders(scores: Tensor) -> Tensor:
    """Find the classes that can be the best one somewhere between cells; the others need not be drawn.

    Between four cells a class is never above its highest corner, and the best one never below the highest of all
    lowest corners.

    Example:
        >>> contenders(torch.tensor([[[0.9, 0.1]], [[0.2, 0.3]], [[0.1, 0.05]]])).tolist()
        [0, 1]
    """
    padded = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")[0]
    highest, lowest = F.max_pool2d(padded, 2, stride=1), -F.max_pool2d(-padded, 2, stride=1)
    able = highest >= lowest.amax(0) - _ROUNDING
    return able.flatten(1).any(1).nonzero()[:, 0]
