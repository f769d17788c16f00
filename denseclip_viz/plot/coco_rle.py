"""Masks as COCO writes them: runs of pixels, column by column, as a text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask `(row, column)`: how long runs of off and on pixels are, by turns, in COCO's own letters.

    Source: cocodataset/cocoapi, common/maskApi.c, `rleToString`: from the third run on the difference to the last but
    one, five bits a letter, the lowest first.

    Example:
        >>> encode(np.array([[False, True], [True, True]]))
        {'size': [2, 2], 'counts': '13'}
    """
    pixels = np.concatenate([[False], mask.T.reshape(-1)])
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]), mask.size)
    runs = np.diff(ends, prepend=0).tolist()
    last_but_one = [0, 0, 0, *runs[1:]]
    counts = "".join(_letters(run - before) for run, before in zip(runs, last_but_one, strict=False))
    return {"size": list(mask.shape), "counts": counts}


def _letters(number: int) -> str:
    letters = ""
    while True:
        low, number = number & 31, number >> 5
        more = number != (-1 if low & 16 else 0)
        letters += chr(48 + low + 32 * more)
        if not more:
            return letters


def instances(labels: NDArray[np.integer[Any]], names: list[str], image: str) -> dict[str, Any]:
    """List the regions of labels `(row, column)` as COCO lists instances: a mask, its box and area for each label.

    Category `i + 1` is label i; a label that is nowhere is a category without a mask.
    """
    regions: list[dict[str, Any]] = []
    for at in np.unique(labels[labels >= 0]).tolist():
        mask = labels == at
        (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis))[[0, -1]].tolist() for axis in (1, 0))
        box = [left, top, right - left + 1, bottom - top + 1]
        region = {"id": len(regions) + 1, "image_id": 1, "category_id": at + 1, "segmentation": encode(mask)}
        regions.append({**region, "area": int(mask.sum()), "bbox": box, "iscrowd": 1})
    height, width = labels.shape
    return {
        "images": [{"id": 1, "file_name": image, "height": height, "width": width}],
        "categories": [{"id": at, "name": name} for at, name in enumerate(names, start=1)],
        "annotations": regions,
    }
