"""What a map can be counted by, one number for each template and prompt; with masks, how well it finds the place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denseclip_viz.maps.comparison import spearman as rank_correlation
from denseclip_viz.measure.map_scores import Floats, GroundTruth, MapScores


def peak(scores: MapScores) -> Floats:
    """Take the highest cosine."""
    highest: Floats = scores.maps.max(-1)
    return highest


def margin_absent(scores: MapScores) -> Floats:
    """Take the peak, less the highest value of all (other) prompts that are known to be absent; NaN without any."""
    highest = peak(scores)
    margins = highest - scores.baseline
    for at in np.flatnonzero(scores.absent):
        others = scores.absent & (np.arange(len(scores.absent)) != at)
        margins[:, at] = highest[:, at] - highest[:, others].max(-1) if others.any() else np.nan
    return margins


def margin_runner_up(scores: MapScores) -> Floats:
    """Take, at a prompt's own peak, its cosine less that of the strongest other prompt; negative where that one wins.

    Absent prompts are the baseline and no rivals. NaN where there is no rival.
    """
    margins = np.full(scores.maps.shape[:2], np.nan)
    templates = np.arange(len(scores.maps))
    for at in range(scores.maps.shape[1]):
        rivals = np.flatnonzero(~scores.absent & (np.arange(len(scores.absent)) != at))
        if len(rivals):
            best = scores.maps[:, at].argmax(-1)
            there = scores.maps[templates, :, best]
            margins[:, at] = there[:, at] - there[:, rivals].max(-1)
    return margins


def entropy(scores: MapScores) -> Floats:
    """Measure the softmax over cells at the model's scale against a flat map's: 0 one cell, 1 everywhere."""
    if scores.maps.shape[-1] == 1:
        return np.full(scores.maps.shape[:2], np.nan)
    weights = np.exp(scores.scale * (scores.maps - scores.maps.max(-1, keepdims=True)))
    shares = weights / weights.sum(-1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    values: Floats = -(shares * logs).sum(-1) / np.log(shares.shape[-1])
    return values


def area(scores: MapScores) -> Floats:
    """Measure the share of what the model saw whose cosine is above every absent prompt's highest; NaN without any."""
    shares = ((scores.maps > scores.baseline[..., None]) * scores.areas).sum(-1) / scores.areas.sum()
    return np.where(np.isnan(scores.baseline), np.nan, shares)


def pearson(scores: MapScores) -> Floats:
    """Correlate over cells with the ensemble's map; NaN for a flat map.

    The ensemble's map is the mean over templates divided by one number for each prompt: the same correlation.
    """
    return correlation(scores.maps, scores.maps.mean(0, keepdims=True))


def correlation(a: Floats, b: Floats) -> Floats:
    """Compute Pearson's correlation over the last axis; NaN where one of the two is flat."""
    flat = (np.ptp(a, axis=-1) == 0) | (np.ptp(b, axis=-1) == 0)  # their mean may be off by a rounding
    a, b = (maps - maps.mean(-1, keepdims=True) for maps in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        values: Floats = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.where(flat, np.nan, values)


def spearman(scores: MapScores) -> Floats:
    """Rank correlation over cells with the ensemble's map; NaN for a flat map."""
    mean = np.broadcast_to(scores.maps.mean(0, keepdims=True), scores.maps.shape)
    return np.asarray(rank_correlation(torch.from_numpy(scores.maps), torch.from_numpy(mean.copy())).numpy())


def iou_best(scores: MapScores) -> Floats:
    """Divide intersection by union of mask and map at the threshold that is best for this very map."""
    return _judged(scores, lambda maps, truth: _cuts(maps, truth.shares, scores.areas)[0])


def iou(scores: MapScores) -> Floats:
    """Divide intersection by union at the fixed threshold, or at the absent baseline of the template."""
    fixed = scores.baseline if np.isnan(scores.threshold) else np.full((len(scores.maps), 1), scores.threshold)

    def count(maps: Floats, truth: GroundTruth) -> Floats:
        named, true = (maps > fixed[..., None]) * scores.areas, truth.shares * scores.areas
        both = (named * truth.shares).sum(-1)
        return np.where(np.isnan(fixed), np.nan, both / (named.sum(-1) + true.sum(-1) - both))

    return _judged(scores, count)


def average_precision(scores: MapScores) -> Floats:
    """Measure the area under precision over recall, cells from the highest cosine down, equal ones together.

    Source: the average precision of information retrieval, without interpolation, over pixels.
    """
    return _judged(scores, lambda maps, truth: _cuts(maps, truth.shares, scores.areas)[1])


def pointing_hit(scores: MapScores) -> Floats:
    """Give 1 if the pixel at the centre of the peak lies in the mask, else 0.

    Source: the pointing game of Zhang et al. (arXiv 1608.00507), without its tolerance of 15 pixels.
    """

    def hit(maps: Floats, truth: GroundTruth) -> Floats:
        return np.asarray(truth.centred[np.arange(maps.shape[1]), maps.argmax(-1)], dtype=float)

    return _judged(scores, hit)


def iou_ceiling(scores: MapScores) -> Floats:
    """Compute the best intersection over union that any map on this grid could have."""

    def best(maps: Floats, truth: GroundTruth) -> Floats:
        values = _cuts(truth.shares[None], truth.shares, scores.areas)[0]
        return np.broadcast_to(values, maps.shape[:2])

    return _judged(scores, best)


@dataclass(frozen=True)
class Metric:
    """A number that maps are counted by: how, whether it needs masks, and whether more of it is better."""

    count: Callable[[MapScores], Floats]
    masks: bool = False
    ranks: bool = True


# Where prompts compete, a way of saying pays for a map that is bad as a whole. A map judged by itself, cell against
# cell, hides what is wrong with all of it: that it lies above the maps of what is really there, or that it shows
# another thing which every prompt shows. Beside other prompts that costs.
def argmax_iou(scores: MapScores) -> Floats:
    """Divide intersection by union of the mask and the cells that the prompt wins.

    Every cell goes to the prompt with the highest cosine, equal ones share it. All prompts take part: those in the
    image, those elsewhere, those known to be absent. NaN for prompts without a mask, and for masks of nothing.
    """
    values, true = np.full(scores.maps.shape[:2], np.nan), np.nan_to_num(_shares(scores)) * scores.areas
    judged = true.sum(-1) > 0
    if judged.any():
        winners = scores.maps == scores.maps.max(1, keepdims=True)
        won = winners[:, judged] / winners.sum(1, keepdims=True)
        both = (won * true[judged]).sum(-1)
        values[:, judged] = both / ((won * scores.areas).sum(-1) + true[judged].sum(-1) - both)
    return values


def micro_average_precision(scores: MapScores) -> Floats:
    """Average precision when one threshold serves all prompts.

    For each pixel of the prompt's mask: when every prompt's map is cut at the cosine there, the share of all that is
    named which is right; averaged over the mask. With one prompt that is its average precision. Of prompts without a
    mask nothing is known, and they do not take part, unless they are marked absent: a prompt that is nowhere needs a
    mask of nothing. NaN for prompts without a mask, and for masks of nothing.

    Source: the micro-averaged average precision of multi-label ranking, with recall for each prompt by itself, so
    that large things do not outweigh small ones.
    """
    values, shares = np.full(scores.maps.shape[:2], np.nan), _shares(scores)
    true = np.nan_to_num(shares) * scores.areas
    judged, known = true.sum(-1) > 0, scores.absent | np.isfinite(shares).all(-1)
    if judged.any():
        areas = np.broadcast_to(scores.areas, true[known].shape).ravel()
        for row, maps in zip(values, scores.maps, strict=True):  # one by one: many prompts are long rows
            precision = np.zeros_like(true)
            precision[known] = _precision(maps[known].ravel(), true[known].ravel(), areas).reshape(-1, true.shape[1])
            row[judged] = (precision[judged] * true[judged]).sum(-1) / true[judged].sum(-1)
    return values


def _shares(scores: MapScores) -> Floats:
    """Take the share of each cell that each prompt's mask covers, `(prompt, cell)`; NaN where nothing is known."""
    return np.full(scores.maps.shape[1:], np.nan) if scores.truth is None else scores.truth.shares


def _precision(values: Floats, true: Floats, areas: Floats) -> Floats:
    """Take, of all that is as high as each value or higher, the share that is true: `(value,)`, equal ones together."""
    order = np.argsort(-values, kind="stable")
    last = np.searchsorted(-values[order], -values, side="right") - 1
    precision: Floats = (true[order].cumsum() / areas[order].cumsum())[last]
    return precision


# These are the columns of the table, in their order; those that rank are what templates can be ranked by.
METRICS: dict[str, Metric] = {
    "peak": Metric(peak),
    "margin_absent": Metric(margin_absent),
    "margin_runner_up": Metric(margin_runner_up),
    "entropy": Metric(entropy, ranks=False),
    "area": Metric(area, ranks=False),
    "pearson": Metric(pearson, ranks=False),
    "spearman": Metric(spearman, ranks=False),
    "iou_best": Metric(iou_best, masks=True),
    "iou": Metric(iou, masks=True),
    "iou_won": Metric(argmax_iou, masks=True),
    "average_precision": Metric(average_precision, masks=True),
    "shared_precision": Metric(micro_average_precision, masks=True),
    "pointing_hit": Metric(pointing_hit, masks=True),
    "iou_ceiling": Metric(iou_ceiling, masks=True, ranks=False),
}


def _cuts(maps: Floats, shares: Floats, areas: Floats) -> tuple[Floats, Floats]:
    """Cut maps at each of their values: the best IoU, and the area under precision over recall, `(template, prompt)`.

    It goes through the cells from the highest down; places where equal cells are still to come are no cuts.
    """
    order = np.argsort(-maps, axis=-1, kind="stable")
    values = np.take_along_axis(maps, order, -1)
    cut = np.concatenate([values[..., :-1] != values[..., 1:], np.ones((*values.shape[:-1], 1), dtype=bool)], -1)
    true = np.take_along_axis(np.broadcast_to(shares * areas, maps.shape), order, -1).cumsum(-1)
    named, whole = areas[order].cumsum(-1), (shares * areas).sum(-1)[:, None]
    recall = np.maximum.accumulate(np.where(cut, true / whole, 0.0), axis=-1)
    gained = np.diff(recall, axis=-1, prepend=0.0)
    ious = np.where(cut, true / (named + whole - true), 0.0)
    return ious.max(-1), (gained * (true / named)).sum(-1)


def _judged(scores: MapScores, count: Callable[[Floats, GroundTruth], Any]) -> Floats:
    """Count where there is something to find; NaN for prompts without a mask, and for masks of nothing."""
    values = np.full(scores.maps.shape[:2], np.nan)
    if scores.truth is None:
        return values
    judged = np.nansum(scores.truth.shares, axis=-1) > 0
    if judged.any():
        truth = GroundTruth(scores.truth.shares[judged], scores.truth.centred[judged])
        values[:, judged] = count(scores.maps[:, judged], truth)
    return values
