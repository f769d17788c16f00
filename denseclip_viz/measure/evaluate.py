"""Images one after the other, each with its masks: what every way of saying is judged on; memory stays bounded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz import arguments
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.candidates import Candidates
from denseclip_viz.measure.map_scores import Floats, MapScores, Masks, flat_scores, truth_on_grid
from denseclip_viz.measure.metrics import METRICS
from denseclip_viz.measure.progress import bar, traced_beside
from denseclip_viz.measure.template_table import number_of
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    from denseclip_viz.model import Model

EachMasks = Iterable[Masks] | Callable[[Any], Masks]
_OVER: Any = object()


@dataclass(frozen=True)
class Judge:
    """By what ways of saying are judged.

    Attributes:
        score: The number, by its name in `METRICS`.
        masks: Masks of every image: a dict each, or a function of the image that gives one.
        threshold: A cosine for the score "iou"; the absent baseline by default.
        options: As for `Model.trace_many`.
        progress: Show a bar, where somebody can see it.
    """

    score: str
    masks: EachMasks | None
    threshold: float
    options: Mapping[str, Any]
    progress: bool

    def count(self, map_scores: MapScores, candidates: Candidates) -> Floats:
        """One number for each way of saying `(way,)`: the mean over the judged prompts that have one; NaN if none."""
        values = METRICS[self.score].count(map_scores)[:, np.asarray(candidates.judged)]
        known = np.isfinite(values)
        count = known.sum(-1)
        return np.where(count > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)


def judge_of(
    candidates: Candidates,
    masks: EachMasks | None,
    *,
    score: str | None,
    threshold: float | None,
    progress: bool,
    **options: Any,
) -> Judge:
    """Choose what to judge by, and refuse what cannot be.

    With masks the score is the average precision with one threshold for all prompts: it is about cosines as people
    look at them, on one scale, so a map pays both for its own cells and for standing above or below the others'. In
    average precision by itself a map is never too high as a whole; where each cell goes to the highest prompt, what a
    template adds to all prompts costs nothing. Without masks it is the margin over the absent prompts, else the one
    over the runner-up.

    Raises:
        PromptError: a score that does not rank, that needs masks or prompts which are not there, or a threshold for
            one that has none.
    """
    rivals = sum(not absent for absent in candidates.absent) > 1
    chosen = score or ("margin_absent" if any(candidates.absent) else "margin_runner_up")
    if score is None and masks is not None:
        chosen = "shared_precision"
    able = [name for name, number in METRICS.items() if number.ranks]
    if not isinstance(chosen, str) or chosen not in able:
        raise PromptError(f"score={score!r}", expected=f"one of {', '.join(able)}", fix="More of it must be better.")
    baseline = chosen == "margin_absent" or (chosen == "iou" and threshold is None)
    lacks = {
        "masks": METRICS[chosen].masks and masks is None,
        "absent prompts": baseline and not any(candidates.absent),
        "a second prompt": chosen == "margin_runner_up" and not rivals,
        "another prompt to win against": chosen == "iou_won" and len(candidates.prompts) < 2,
    }
    for what, missing in lacks.items():
        if missing:
            fix = f"Pass {what}, or choose another score: {', '.join(able)}."
            raise PromptError(f"score={chosen!r} without {what}", expected=what, fix=fix)
    limit = float("nan") if threshold is None else number_of(threshold, "threshold")
    if threshold is not None and chosen != "iou":
        got, fix = f"threshold={threshold!r} for the score {chosen!r}", 'Pass score="iou", or leave threshold out.'
        raise PromptError(got, expected="a score that has one", fix=fix)
    return Judge(chosen, masks, limit, options, progress)


def look(
    model: Model, images: Iterable[Any], candidates: Candidates, judge: Judge
) -> Iterator[tuple[Trace, MapScores]]:
    """Look at images one by one: each one's trace, and what each way of saying sees there `(way, prompt, cell)`.

    An image that cannot be read is left out, with a warning: one of a million must not undo the work on the others.
    """
    several, options = arguments.require_several(images), {"unreadable": _leave_out, **judge.options}
    fed = ((image, (at, masks)) for at, (image, masks) in enumerate(_paired(several, judge.masks)))
    total = len(several) if isinstance(several, Sized) else None
    with bar("images", wanted=judge.progress, total=total) as said:
        for done, ((at, masks), trace) in enumerate(traced_beside(model, fed, **options), 1):
            what = f"masks of image {at} ({trace.name})"
            truth = None if masks is None else _truth(masks, trace.geometry, candidates, what)
            maps = cosine_maps(trace.dense, candidates.vectors).numpy()
            numbers = {"scale": model.logit_scale, "threshold": judge.threshold}
            yield trace, flat_scores(maps, candidates.absent, trace.geometry, truth, **numbers)
            said(done, total or 0)


def _leave_out(_: Any, error: ImageError) -> None:
    warnings.warn(f"Left out: {error}", stacklevel=2)


def _truth(masks: Masks, geometry: Any, candidates: Candidates, what: str) -> Any:
    """Masks that are not those of the judged prompts would change nothing, and a misspelt one would hide that."""
    try:
        return truth_on_grid(masks, geometry, candidates.prompts, candidates.absent)
    except (PromptError, ImageError) as error:
        raise type(error)(f"{what}: {error.got}", expected=error.expected, fix=error.fix) from error


def _paired(images: Iterable[Any], masks: EachMasks | None) -> Iterator[tuple[Any, Masks | None]]:
    if masks is None:
        yield from zip(images, repeat(None))
        return
    if isinstance(masks, Mapping):
        got, fix = "One dict of masks for several images", "Pass a list of dicts, or a function of the image."
        raise PromptError(got, expected="a dict of masks for each image", fix=fix)
    if callable(masks):
        yield from ((image, masks(image)) for image in images)
        return
    rest = chain(masks, repeat(_OVER))
    count = 0
    for count, (image, each) in enumerate(zip(images, rest), 1):  # noqa: B905
        if each is _OVER:
            raise _unequal(f"More images than masks (masks end after {count - 1})")
        yield image, each
    if next(rest) is not _OVER:
        raise _unequal(f"More masks than images (images end after {count})")


def _unequal(got: str) -> PromptError:
    return PromptError(got, expected="a dict of masks for each image, in their order", fix="Pass {} for none.")
