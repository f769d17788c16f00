"""From counts of pixels to what papers report: IoU of classes, its mean, accuracies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.maps.regions import require
from denseclip_viz.measure.ladder import over_classes
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.measure.segmentation import Counts
from denseclip_viz.measure.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

NO_CLASS = "no class"


def summary(classes: tuple[str, ...], results: ResultStore, names: list[str], stopped: int) -> xr.Dataset:
    """Divide the counts of all images, added up."""
    import xarray as xr

    counts, emptied = (
        results.sums[name][1] if results.sums else np.zeros((len(names), *shape), dtype=np.int64)
        for name, shape in (("confusion", (len(classes), len(classes) + 1)), ("emptied", ()))
    )
    data = {"confusion": (("candidate", "true", "given"), counts), "emptied": (("candidate",), emptied)}
    coords = {"candidate": names, "class": list(classes), "true": list(classes), "given": [*classes, NO_CLASS]}
    images = [results.images[place][0] for place in sorted(results.images)]
    unread = [results.unread[place][0] for place in sorted(results.unread)]
    attrs = {**results.attrs, "unread": unread, "stopped": stopped}
    return with_quantities(xr.Dataset(data | divided(counts), {**coords, "image": images}, attrs))


def divided(counts: Counts) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Divide confusions `(candidate, true, given)` as mmseg does: a class that is only given has IoU 0.

    Example:
        >>> scores = divided(np.array([[[3, 1, 0], [0, 4, 0]]]))
        >>> {name: values.round(2).tolist() for name, (_, values) in scores.items()}
        {'iou': [[0.75, 0.8]], 'miou': [0.78], 'accuracy': [0.88], 'mean_accuracy': [0.88]}
    """
    square = counts[..., :-1]
    both, true = np.diagonal(square, axis1=1, axis2=2), counts.sum(-1)
    either = true + square.sum(-2) - both
    iou = np.where(either > 0, both / np.maximum(either, 1), np.nan)
    hits = np.where(true > 0, both / np.maximum(true, 1), np.nan)
    return {
        "iou": (("candidate", "class"), iou),
        "miou": (("candidate",), over_classes(iou)),
        "accuracy": (("candidate",), both.sum(-1) / np.maximum(true.sum(-1), 1)),
        "mean_accuracy": (("candidate",), over_classes(hits)),
    }


@guarded
def segmentation_table(measured: xr.Dataset) -> pd.DataFrame:
    """Say of every class how well it was found.

    Args:
        measured: What `evaluate_segmentation` returns.

    Returns:
        A row for each candidate and class: `iou`, `accuracy` (of its pixels, the share that was given it), how many
        `pixels` it has, and in all rows of how many `images`, and whether the run was `stopped` before the last.

    Raises:
        LayerError: Something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(1, "test", size=64)
        >>> measured = dcv.measure.evaluate_segmentation(dcv.load(), scenes, progress=False)
        >>> dcv.measure.segmentation_table(measured).columns.tolist()
        ['candidate', 'class', 'iou', 'accuracy', 'pixels', 'images', 'stopped']
    """
    import xarray as xr

    measured = require(measured, ["confusion", "iou"], made_by="measure.evaluate_segmentation")
    counts = measured["confusion"].to_numpy()
    true, axes = counts.sum(-1), ("candidate", "class")
    hits = np.diagonal(counts[..., :-1], axis1=1, axis2=2)
    accuracy = np.where(true > 0, hits / np.maximum(true, 1), np.nan)
    data = {"iou": measured["iou"], "accuracy": (axes, accuracy), "pixels": (axes, true)}
    of_all = {"images": measured.sizes["image"], "stopped": bool(measured.attrs.get("stopped", 0))}
    table: pd.DataFrame = xr.Dataset(data).to_dataframe().reset_index().assign(**of_all)
    return table
