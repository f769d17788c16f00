"""What each switch of a published path is worth: from the value path up, rung by rung, on the same forward passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.maps.regions import require
from denseclip_viz.measure.bootstrap import Draws, ends_of, intervals, resampled
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import evaluate
from denseclip_viz.measure.map_methods import path_candidates
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.measure.rungs import costs, differences, offered_rungs
from denseclip_viz.measure.segmentation import Labels, areas_iou, areas_of
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_whole

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from denseclip_viz.model import Model

TEMPLATE = "a photo of a {}."
BETWEEN = ("miou", "gain", "change")  # what has an interval over images


@guarded
def ladder(
    model: Model,
    dataset: Iterable[Any],
    prompts: Prompts | Named | None = None,
    paths: Sequence[str | DensePath] | None = None,
    *,
    time: int = 5,
    interval: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    geometry: str | Native | Whole | Tiles | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Climb from the value path to a published one, a switch a rung, and measure what each switch changes.

    All rungs are of one forward pass an image. With masks every pixel is named by the best prompt, and mIoU is of the
    data set, as that of `evaluate_segmentation`: pixels are summed over images, then divided, and a class that is given
    and nowhere true has 0. Without masks there is what changes in the maps, and time.

    Args:
        model: A loaded model.
        dataset: As for `evaluate`. Pixels of no prompt are not counted.
        prompts: Texts that compete for pixels; those marked absent take no part. By default the data set's classes, as
            "a photo of a {}." with the right articles.
        paths: The rungs from the lowest up, each compared with the one before; by default `measure.rungs.RUNGS`: no
            MLP, no residual, k·k, Gaussian, similarity, outliers, smoothing, summed blocks, class token.
        time: How often each rung takes its turn beside a plain pass, on an input of the model's own size; 0 for never.
        interval: Width of the bootstrap intervals over images; images are paired between rungs.
        resamples: How often images are drawn again.
        seed: Of the bootstrap; the same seed gives the same intervals.
        store: As for `evaluate`: a file from which a killed run goes on.
        geometry: As for `Model.trace_many`.
        batch_size: As for `Model.trace_many`.
        unreadable: As for `evaluate`.
        engine: As for `evaluate`; what passes cost is measured here.
        progress: Show a bar where somebody can see it.

    Returns:
        By `rung`, with `…_low` and `…_high`: `miou`; `gain`, mIoU less that of the rung before; `change`, 1 less the
        cosine of a prompt's map with that of the rung before, the mean over prompts and images. `iou` (rung, class);
        `image_miou`, of the classes in an image, and `image_change` (image, rung); `areas` (image, rung, class, area),
        pixels both, true and given; `cost` (turn, rung), how many plain passes a pass with this rung alone takes.
        `changed` says what a rung switches, `attrs["not_offered"]` which rungs the tower has no switch for.

    Raises:
        LayerError: Fewer than two rungs that the tower offers, or paths that one pass cannot give.
        PromptError: No prompts and no classes, masks of no prompt or that lie over each other.
        ImageError: Fewer than two images, to say how much is noise.

    Warns:
        UserWarning: As `evaluate`.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(3, "test", size=64)
        >>> names, rungs = ["sky", "grass"], ["value", "vanilla"]
        >>> climbed = dcv.measure.ladder(dcv.load(), scenes, names, rungs, time=0, progress=False)
        >>> climbed.rung.values.tolist(), climbed.changed.values.tolist()
        (['value', 'vanilla'], ['', 'attention qk'])
    """
    chosen, lacking = offered_rungs(model, paths)
    turns, draws = _turns(time), Draws(interval, resamples, seed)
    candidates = path_candidates(model, _prompts(dataset, prompts), chosen, progress=progress)
    steps = Steps(candidates.prompts, candidates.absent)
    cost = costs(model, chosen, turns)
    options: dict[str, Any] = {"geometry": geometry, "batch_size": batch_size, "unreadable": unreadable}
    options["engine"] = engine
    measured = evaluate(model, dataset, candidates, steps, store=store, progress=progress, **options)
    if measured.sizes["image"] < 2:
        raise ImageError("A ladder on one image", expected="at least two, to say how much is noise", fix="Pass more.")
    result = _summary(measured, differences(model, chosen), steps.present, draws, cost)
    result.attrs["not_offered"] = lacking
    return result


@guarded
def ladder_table(climbed: xr.Dataset) -> pd.DataFrame:
    """Say what each rung is worth in numbers that can be sorted.

    Args:
        climbed: What `ladder` returns.

    Returns:
        A row for each rung, as far as it was measured: `changed`, `miou`, `gain`, `change`, each with `_low` and
        `_high`, and `cost`, the median of its turns.

    Raises:
        LayerError: Something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(3, "test", size=64)
        >>> names, rungs = ["sky", "grass"], ["value", "vanilla"]
        >>> climbed = dcv.measure.ladder(dcv.load(), scenes, names, rungs, time=0, progress=False)
        >>> list(dcv.measure.ladder_table(climbed).columns[:5])
        ['rung', 'changed', 'miou', 'miou_low', 'miou_high']
    """
    climbed = require(climbed, ["change", "changed"], made_by="measure.ladder")
    columns = [f"{name}{end}" for name in BETWEEN for end in ("", "_low", "_high") if name in climbed]
    table: pd.DataFrame = climbed[columns].to_dataframe()[["changed", *columns]].reset_index()
    return table.assign(cost=climbed["cost"].median("turn").values) if "cost" in climbed else table


@dataclass(frozen=True)
class Steps:
    """What `evaluate` measures of one image: pixels by class of every rung, and how far maps moved from rung to rung.

    Attributes:
        prompts: `(prompt,)`.
        absent: `(prompt,)`, which take no part.
    """

    prompts: tuple[str, ...]
    absent: tuple[bool, ...]

    @property
    def present(self) -> list[str]:
        """The prompts that take part."""
        return [prompt for prompt, absent in zip(self.prompts, self.absent, strict=True) if not absent]

    def __call__(self, maps: Floats, example: Example, trace: Trace) -> dict[str, tuple[tuple[str, ...], Any]]:
        """Measure maps `(rung, prompt, y, x)`; areas are 0 of an image without masks."""
        shown = maps[:, ~np.asarray(self.absent)]
        truth = true_labels(example, self.present, trace.geometry.image)
        areas = np.zeros((*shown.shape[:2], 3), dtype=np.int64)
        if truth is not None:
            areas[:] = [areas_of(torch.from_numpy(rung), truth, trace.geometry) for rung in shown]
        moved = np.r_[np.nan, moves(shown[..., trace.geometry.in_sight])]
        return {"areas": (("candidate", "class", "area"), areas), "image_change": (("candidate",), moved)}


def moves(maps: Floats) -> Floats:
    """Give 1 - cosine of each prompt's map with that of the rung before, averaged over prompts: `(rung - 1,)`.

    Example:
        >>> moves(np.array([[[[1.0, 0.0]]], [[[0.0, 2.0]]], [[[0.0, 1.0]]]])).tolist()
        [1.0, 0.0]
    """
    flat = maps.reshape(*maps.shape[:2], -1).astype(np.float64)
    flat = flat / np.linalg.norm(flat, axis=-1, keepdims=True).clip(np.finfo(float).tiny)
    moved: Floats = 1 - (flat[1:] * flat[:-1]).sum(-1).mean(-1)
    return moved


def true_labels(example: Example, prompts: Sequence[str], image: tuple[int, int]) -> Labels | None:
    """Give the place of each pixel's prompt, `(row, column)`, -1 for none; None without masks.

    Raises:
        PromptError: No mask is of a prompt, or two lie over each other.
        ImageError: Masks of another size.
    """
    masks = example.masks_of(prompts)
    if masks is None:
        return None
    known = {prompt: np.asarray(masks[prompt]) for prompt in prompts if prompt in masks}
    if not known:
        got, fix = f"masks of {', '.join(map(repr, list(masks)[:6])) or 'no prompt'}", "Name prompts as masks are."
        raise PromptError(got, expected=f"some of {', '.join(map(repr, prompts[:6]))}", fix=fix)
    labels = np.full(image, -1, dtype=np.int16)
    for prompt, mask in known.items():
        if mask.shape != image or mask.dtype != bool:
            got, fix = f"The mask of {prompt!r} is {mask.dtype} of shape {mask.shape}", "Write mask > 0 for booleans."
            raise ImageError(got, expected=f"booleans of the upright image's shape {image}", fix=fix)
        if (labels[mask] >= 0).any():
            got, fix = f"a mask of {prompt!r} that lies over another", "Give each pixel to one prompt."
            raise PromptError(got, expected="one prompt a pixel, for mIoU", fix=fix)
        labels[mask] = prompts.index(prompt)
    return labels


def _prompts(dataset: Iterable[Any], prompts: Prompts | Named | None) -> Prompts:
    classes = list(getattr(dataset, "classes", ()))
    if prompts is None and not classes:
        got, fix = "no prompts, and a data set that names no classes", 'Pass prompts=["a taxi", "grass"], say.'
        raise PromptError(got, expected="prompts that compete for pixels", fix=fix)
    return Prompts(classes, TEMPLATE, articles="right") if prompts is None else Prompts.of(prompts)


def _turns(time: object) -> int:
    if not is_whole(time, 0):
        raise LayerError(f"time={time!r}", expected="a whole number of turns, 0 for none", fix="Try time=5.")
    return time


def _summary(
    measured: xr.Dataset, rungs: Mapping[str, str], classes: Sequence[str], draws: Draws, cost: Floats
) -> xr.Dataset:
    """Average over images, with intervals; `rungs` are names, and what each changes."""
    import xarray as xr

    areas, moved = measured["areas"].values, measured["image_change"].values
    again = {"resamples": draws.resamples, "seed": draws.seed}
    ends = np.clip(intervals(moved[:, 1:], draws.interval, **again), 0, 2)  # few images widen them beyond
    values = {"change": (moved.mean(0), *(np.r_[np.nan, end] for end in ends))}
    axes = ("image", "rung")
    data: dict[str, Any] = {"image_change": (axes, moved)}
    coords: dict[str, Any] = {"image": measured["image"].values, "rung": list(rungs)}
    if areas.any():
        values |= _mious(areas, draws)
        data |= {
            "areas": ((*axes, "class", "area"), areas),
            "iou": (("rung", "class"), _iou(areas.sum(0), _nowhere(areas))),
        }
        data["image_miou"] = (axes, over_classes(areas_iou(areas)))
        coords |= {"class": list(classes), "area": ["both", "true", "given"]}
    for name, triple in values.items():
        data |= {f"{name}{end}": ("rung", each) for end, each in zip(("", "_low", "_high"), triple, strict=True)}
    if len(cost):
        data["cost"] = (("turn", "rung"), cost)
    coords["changed"] = ("rung", list(rungs.values()))
    attrs = {**measured.attrs, "interval": draws.interval, **again}
    return with_quantities(xr.Dataset(data, coords=coords, attrs=attrs))


def _mious(areas: Floats, draws: Draws) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Divide what is summed over images, and over images drawn again: mIoU and what each rung gains.

    Raises:
        ImageError: Fewer than two images whose masks show a prompt.
    """
    judged = areas[areas[:, 0, :, 1].any(-1)]
    if len(judged) < 2:
        got, expected = f"{len(judged)} images whose masks show a prompt", "at least two, to say how much is noise"
        raise ImageError(got, expected=expected, fix="Pass more images.")
    nowhere = _nowhere(judged)
    miou = over_classes(_iou(judged.sum(0), nowhere))
    again = {"resamples": draws.resamples, "seed": draws.seed}
    # rung by rung: the same seed draws the same images, and all rungs at once would be gigabytes for many classes
    each = (resampled(rung.reshape(len(judged), -1), **again) * len(judged) for rung in judged.swapaxes(0, 1))
    drawn = np.stack([over_classes(_iou(sums.reshape(len(sums), -1, 3), nowhere)) for sums in each], axis=1)
    ends = ends_of(drawn, miou, len(judged), draws.interval)
    gain, gain_ends = np.diff(miou), ends_of(np.diff(drawn), np.diff(miou), len(judged), draws.interval)
    low, high = (np.r_[np.nan, np.clip(end, -1, 1)] for end in gain_ends)
    return {"miou": (miou, *np.clip(ends, 0, 1)), "gain": (np.r_[np.nan, gain], low, high)}


def _nowhere(areas: Floats) -> NDArray[np.bool_]:
    """Mark the classes that no image has, of areas (image, rung, class, area)."""
    return np.asarray(~areas[..., 1].any((0, 1)))


def _iou(areas: Floats, nowhere: NDArray[np.bool_]) -> Floats:
    """Divide areas (…, class, area) as mmseg does: a class of no image has 0 where it is given.

    One that is only not among images drawn again does not count there: it would pull down all that is drawn.
    """
    return np.where(nowhere & (areas[..., 2] > 0), 0.0, areas_iou(areas))


def over_classes(iou: Floats) -> Floats:
    """Average over the classes that there are, the last axis; NaN where there is none.

    Example:
        >>> over_classes(np.array([[0.5, np.nan, 1.0], [np.nan] * 3])).tolist()
        [0.75, nan]
    """
    known = np.isfinite(iou)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, iou, 0.0).sum(-1) / np.maximum(count, 1), np.nan)
