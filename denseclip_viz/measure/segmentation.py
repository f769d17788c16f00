"""Labels against the truth: pixels that are both, true and given, their IoU, and which class is taken for which."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.geometry import Geometry, downsample_mask, weights
from denseclip_viz.maps.refine import REMOVED
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_whole

Counts = NDArray[np.int64]
Labels = NDArray[np.integer]
_ROUNDING = 1e-5  # far above what interpolation rounds, far below what sets classes apart


@guarded
def confusion(truth: Labels, labels: Labels, classes: int) -> Counts:
    """Count pixels by true and given class.

    Args:
        truth: `(row, column)`, class indices; negative ones are not counted.
        labels: `(row, column)`, class indices; -1 is no class.
        classes: How many classes there are.

    Returns:
        `(true, given)` counts, `classes` by `classes + 1`; the last column is no class.

    Raises:
        ImageError: Other than whole numbers below `classes`, or truth and labels of two shapes.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> dcv.measure.confusion(np.array([[0, 1]]), np.array([[0, -1]]), 2).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    if not is_whole(classes, 1):
        raise ImageError(f"classes={classes!r}", expected="how many there are, from 1", fix="Pass len(names).")
    truth, labels = _indices(truth, "truth", classes), _indices(labels, "labels", classes)
    if truth.shape != labels.shape:
        got, fix = f"truth {truth.shape} and labels {labels.shape}", "Segment with size=truth.shape."
        raise ImageError(got, expected="one label for each pixel of the truth", fix=fix)
    given = np.where(labels < 0, classes, labels)
    cells = truth[truth >= 0].astype(np.int64) * (classes + 1) + given[truth >= 0]
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def _indices(values: Labels, name: str, classes: int) -> Labels:
    """Refuse what would be counted as another class."""
    indices = np.asarray(values)
    if not np.issubdtype(indices.dtype, np.integer):
        fix = "Pass result.labels, or bring them to whole numbers: array.astype(int)."
        raise ImageError(f"{name} of {indices.dtype}", expected="class indices, whole numbers", fix=fix)
    if indices.size and (highest := int(indices.max())) >= classes:
        fix = "Set pixels that are to be ignored, such as 255, to -1 (in a signed kind of number)."
        raise ImageError(f"{name} with the class {highest}", expected=f"indices below {classes}", fix=fix)
    return indices


def class_areas(counts: Counts) -> Counts:
    """Sum a confusion up: `(class, 3)` pixels that are both, that are true, and that are given.

    Example:
        >>> class_areas(np.array([[3, 1, 0], [0, 4, 0]])).tolist()
        [[3, 4, 3], [4, 4, 5]]
    """
    square = counts[:, :-1]
    return np.stack([np.diag(square), counts.sum(1), square.sum(0)], axis=-1)


@guarded
def intersection_over_union(counts: Counts) -> NDArray[np.float64]:
    """Divide, for each class, the pixels that are both by those that are either.

    Args:
        counts: `(true, given)`, as `confusion` returns, summed over images.

    Returns:
        `(class,)`; NaN for a class not in the truth.

    Raises:
        ImageError: A table without the column of no class, or of another shape.

    Source: the Pascal VOC segmentation measure; mIoU is its mean over classes.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> dcv.measure.intersection_over_union(np.array([[3, 1, 0], [0, 4, 0]])).tolist()
        [0.75, 0.8]
    """
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape[1] != table.shape[0] + 1:
        fix = "Append a column of zeros to a square table: np.pad(counts, ((0, 0), (0, 1)))."
        raise ImageError(f"counts {table.shape}", expected="(true, given) with a last column of no class", fix=fix)
    return areas_iou(class_areas(table))


def areas_iou(areas: Counts | NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Do what `intersection_over_union` does for `(…, class, 3)` areas, as `class_areas` returns."""
    both, true, given = np.moveaxis(areas, -1, 0)
    return np.where(true > 0, both / np.maximum(true + given - both, 1), np.nan)


def truth_of(example: Example, image: tuple[int, int], classes: int) -> Labels:
    """Give the true class of every pixel of an image of this size; negative ones are not counted.

    Example:
        >>> import numpy as np
        >>> truth_of(Example("tiny", "tiny.png", labels=np.zeros((1, 2), np.uint8)), (1, 2), 1).tolist()
        [[0, 0]]

    Raises:
        PromptError: there are no labels.
        ImageError: they are not whole numbers of the image's size and of these classes.
    """
    if example.labels is None:
        got, fix = "an example without labels", "Give each Example labels: the class of every pixel, in one array."
        raise PromptError(got, expected="labels, (row, column), for a confusion of classes", fix=fix)
    labels = np.asarray(example.labels)
    if labels.shape != image or labels.dtype.kind not in "iu":
        got, fix = f"labels of shape {labels.shape}, {labels.dtype}", "Keep one label a pixel, of the image as it is."
        raise ImageError(got, expected=f"whole numbers of the upright image's shape {image}", fix=fix)
    if labels.max(initial=0) >= classes:
        got, fix = f"label {labels.max()} of {classes} classes", "Make what is not counted negative."
        raise ImageError(got, expected=f"places in classes, 0 to {classes - 1}, or negative ones", fix=fix)
    return labels


def mean(values: Iterable[float]) -> float | None:
    """Average what there is, to four decimals; `None` where there is nothing.

    Example:
        >>> mean([0.5, float("nan"), 1.0]), mean([])
        (0.75, None)
    """
    finite = np.array([value for value in values if np.isfinite(value)])
    return round(float(finite.mean()), 4) if len(finite) else None


def pixel_areas(maps: NDArray[np.floating], example: Example, trace: Trace) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Measure, for `evaluate`, what mIoU is made of: every pixel is named by the best of all classes.

    `areas` (candidate, class, area) are pixels both, true and given. Summed over images, `areas_iou` divides them.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(2, "test", size=128)
        >>> prompts = dcv.Prompts(list(scenes[0].classes), ["{}", "a photo of {}"])
        >>> candidates = dcv.measure.template_candidates(model, prompts)
        >>> dcv.measure.evaluate(model, scenes, candidates, pixel_areas, progress=False).areas.dims
        ('image', 'candidate', 'class', 'area')
    """
    assert example.labels is not None
    areas = [areas_of(torch.from_numpy(scores), example.labels, trace.geometry) for scores in maps]
    return {"areas": (("candidate", "class", "area"), np.stack(areas))}


def areas_of(scores: Tensor, truth: Labels, geometry: Geometry) -> Counts:
    """Name every pixel by `(class, y, x)` scores, and say what is both, true and given."""
    return class_areas(confusion(truth, label_pixels(scores, geometry), len(scores)))


def grid_ceiling(labels: Labels, geometry: Geometry, classes: int) -> Tensor:
    """Average the true masks over the cells, `(class, y, x)`: the map of a model that knew the truth.

    No bound on IoU: what covers less than half of a cell is outvoted there, and in a map that overstates it is not.
    """
    shares = np.zeros((classes, *geometry.grid))
    for index in np.unique(labels):
        shares[index] = np.nan_to_num(downsample_mask(labels == index, geometry))
    return torch.from_numpy(shares)


def present_only(scores: Tensor, labels: Labels) -> Tensor:
    """Remove all classes that are nowhere in an image from its `(class, y, x)` scores."""
    present = torch.full_like(scores, REMOVED)
    there = np.unique(labels).tolist()
    present[there] = scores[there]
    return present


def label_pixels(scores: Tensor, geometry: Geometry) -> NDArray[np.int16]:
    """Name every pixel of the image by the best of its `(class, y, x)` scores, the first of equal ones.

    A class with -100 is removed; -1 stands where every class is, or the model saw nothing.
    """
    y, x, rows, columns = weights(geometry, *geometry.image)
    down, across = (torch.from_numpy(np.nan_to_num(w)).to(scores.dtype) for w in (y, x))
    best, labels = scores.new_full(geometry.image, -torch.inf), torch.full(geometry.image, -1, dtype=torch.int16)
    cells = _contended(scores, geometry)
    spans = zip(_spans(cells.any(2), down > 0), _spans(cells.any(1), across > 0), strict=True)
    for index, (high, wide) in enumerate(spans):
        # one class after the other, each where it can win: all maps at once would take many times an image's memory
        drawn, top = down[high] @ (scores[index] @ across[wide].T), best[high, wide]
        labels[high, wide].masked_fill_(drawn > top, index)
        torch.maximum(top, drawn, out=top)
    named = labels.numpy()
    named[(best <= REMOVED / 2).numpy() | ~(rows[:, None] & columns)] = -1
    return named


def contenders(scores: Tensor, geometry: Geometry | None = None) -> Tensor:
    """Find the classes that can be the best one somewhere between cells; the others need not be drawn.

    Example:
        >>> contenders(torch.tensor([[[0.9, 0.1]], [[0.2, 0.3]], [[0.1, 0.05]]])).tolist()
        [0, 1]
    """
    return _contended(scores, geometry).flatten(1).any(1).nonzero()[:, 0]


def _contended(scores: Tensor, geometry: Geometry | None) -> Tensor:
    """Find the cells between which each class can be the best one, `(class, y, x)`.

    Between four cells a class is never above its highest corner, and the best one never below the highest of all
    lowest corners. Drawn in two steps a pixel can mix two neighbouring fours; the mean over windows mixes any.
    """
    if geometry is not None and geometry.apart:
        return torch.ones_like(scores, dtype=torch.bool)
    reach = 3 if geometry is not None and geometry.stretch else 2
    padded = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")[0]
    highest, lowest = F.max_pool2d(padded, reach, stride=1), -F.max_pool2d(-padded, reach, stride=1)
    able = (highest >= lowest.amax(0) - _ROUNDING).to(scores.dtype)
    corners = F.max_pool2d(F.pad(able[None], (reach - 1,) * 4), reach, stride=1)[0]  # of each, those that it is between
    return corners[:, 1:-1, 1:-1] > 0


def _spans(able: Tensor, mixed: Tensor) -> list[slice]:
    """Give the rows that mix nothing but cells from the first to the last of each class, `able` (class, cell).

    `mixed`, (row, cell), says which cells a row mixes.
    """
    cells, weights = able.numpy(), mixed.numpy()
    rows, count = weights.shape
    every = np.arange(count)[:, None]
    from_here, up_to_here = weights.argmax(1) >= every, count - 1 - weights[:, ::-1].argmax(1) <= every
    starts = np.where(from_here.any(1), from_here.argmax(1), rows)[cells.argmax(1)]
    ends = np.where(up_to_here.any(1), rows - up_to_here[:, ::-1].argmax(1), 0)[count - 1 - cells[:, ::-1].argmax(1)]
    ends = np.where(cells.any(1), ends, 0)
    return [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def confusion_in_groups(true: NDArray[np.intp], scores: NDArray[np.floating], groups: NDArray[np.intp]) -> Counts:
    """Count which class is taken for which, `(true, given)`, where those of its own group alone compete.

    Images have a true class `(image,)` and scores `(image, class)`, of which the highest wins; `groups` is `(class,)`.

    Example:
        >>> confusion_in_groups(np.array([0, 2]), np.array([[1, 2, 9], [0, 0, 1]]), np.array([0, 0, 1])).tolist()
        [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    """
    given = np.where(groups[true][:, None] == groups, scores, -np.inf).argmax(1)
    return confusion(true, given, len(groups))[:, :-1]


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

    `alone` and `together` (place) are the IoU of each; `given`, pixels of one that go to the other; `pixels` of both.
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
