"""Numbers in which prompts compete, and a way of saying pays for a map that is bad as a whole.

A map judged by itself, cell against cell, hides what is wrong with all of it: that it lies above the maps of what is
really there, or that it shows another thing which every prompt shows. Beside other prompts that costs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.measure.seen import Floats, Seen


def iou_won(seen: Seen) -> Floats:
    """Intersection over union of the mask and the cells that the prompt wins.

    Every cell goes to the prompt with the highest cosine, equal ones share it. All prompts take part: those in the
    picture, those elsewhere, those known to be absent. NaN for prompts without a mask, and for masks of nothing.
    """
    found, true = np.full(seen.maps.shape[:2], np.nan), _true(seen)
    judged = true.sum(-1) > 0
    if judged.any():
        winners = seen.maps == seen.maps.max(1, keepdims=True)
        won = winners[:, judged] / winners.sum(1, keepdims=True)
        both = (won * true[judged]).sum(-1)
        found[:, judged] = both / ((won * seen.areas).sum(-1) + true[judged].sum(-1) - both)
    return found


def shared_precision(seen: Seen) -> Floats:
    """Average precision when one threshold serves all prompts.

    For each pixel of the prompt's mask: when every prompt's map is cut at the cosine there, the share of all that is
    named which is right; averaged over the mask. With one prompt that is its average precision. Of prompts without a
    mask nothing is known, and they do not take part, unless they are marked absent: a prompt that is nowhere needs a
    mask of nothing. NaN for prompts without a mask, and for masks of nothing.

    Source: the micro-averaged average precision of multi-label ranking, with recall for each prompt by itself, so
    that large things do not outweigh small ones.
    """
    found, true = np.full(seen.maps.shape[:2], np.nan), _true(seen)
    judged, known = true.sum(-1) > 0, seen.absent | _told(seen)
    if judged.any():
        areas = np.broadcast_to(seen.areas, true[known].shape).ravel()
        for row, maps in zip(found, seen.maps, strict=True):  # one by one: many prompts are long rows
            precision = np.zeros_like(true)
            precision[known] = _precision(maps[known].ravel(), true[known].ravel(), areas).reshape(-1, true.shape[1])
            row[judged] = (precision[judged] * true[judged]).sum(-1) / true[judged].sum(-1)
    return found


def _told(seen: Seen) -> NDArray[np.bool_]:
    """Of which prompts a mask says where they are, `(prompt,)`."""
    if seen.truth is None:
        return np.zeros(seen.maps.shape[1], dtype=bool)
    return np.asarray(np.isfinite(seen.truth.shares).all(-1))


def _true(seen: Seen) -> Floats:
    """Pixels of each prompt's mask in each cell, `(prompt, cell)`; none where nothing is known."""
    if seen.truth is None:
        return np.zeros(seen.maps.shape[1:])
    return np.nan_to_num(seen.truth.shares) * seen.areas


def _precision(values: Floats, true: Floats, areas: Floats) -> Floats:
    """Of all that is as high as each value or higher, the share that is true: `(value,)`, equal ones together."""
    order = np.argsort(-values, kind="stable")
    last = np.searchsorted(-values[order], -values, side="right") - 1
    precision: Floats = (true[order].cumsum() / areas[order].cumsum())[last]
    return precision
