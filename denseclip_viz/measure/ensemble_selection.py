"""A few templates instead of all: chosen greedily on one part of the images, judged on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example
from denseclip_viz.datasets.paired import EachMasks, Paired
from denseclip_viz.errors import ImageError, OutOfMemoryError, PromptError, warn
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.measure.bootstrap import Draws, intervals
from denseclip_viz.measure.candidates import TextCandidates, template_candidates
from denseclip_viz.measure.evaluation import run
from denseclip_viz.measure.map_metric import MapMetric, map_metric
from denseclip_viz.measure.map_scores import Floats, MapScores
from denseclip_viz.presets import Preset
from denseclip_viz.progress import bar
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_whole, many

if TYPE_CHECKING:
    import pandas as pd

    from denseclip_viz.clip.dense_path import DensePath
    from denseclip_viz.model import Model

_MOST_BYTES = 2 * 2**30  # of maps that are held while templates are tried out


@dataclass(frozen=True)
class EnsembleSelection:
    """A few templates, and whether they are worth more than all of them.

    Attributes:
        templates: Those chosen, in the order in which they were taken.
        steps: One row for each: the template, and the score of the ensemble so far on the validation part.
        score: The name of the number.
        full, small: Mean score of all templates and of the chosen ones, on the held-out part.
        gain, low, high: Their paired difference there and its bootstrap interval.
        validation, held_out: How many images chose, and how many judged.
        stopped: Whether it was interrupted, so that it is about the images and the templates tried until then.
    """

    templates: tuple[str, ...]
    steps: pd.DataFrame
    score: str
    full: float
    small: float
    gain: float
    low: float
    high: float
    validation: int
    held_out: int
    stopped: bool = False

    @property
    def verdict(self) -> str:
        """What was found, in one sentence; most often that there is no gain."""
        few = "1 template gives" if len(self.templates) == 1 else f"{len(self.templates)} templates give"
        what = f"{few} {self.score} {self.small:.4f}, all of them {self.full:.4f}"
        what = f"Interrupted; so far {what}" if self.stopped else what
        gain = f"gain {self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] on {self.held_out} held-out images"
        if self.low > 0:
            return f"{what}: {gain}, more than noise."
        if self.high < 0:
            return f"{what}: {gain}; the small ensemble is worse."
        return f"{what}: {gain}: within noise, so no gain was shown."


@guarded
def select_templates(
    model: Model,
    images: Iterable[Any],
    prompts: Prompts,
    masks: EachMasks | None = None,
    *,
    score: str | None = None,
    threshold: float | None = None,
    weights: Sequence[float] | None = None,
    most: int = 8,
    held_out: float = 0.5,
    interval: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    geometry: str | Native | Whole | Tiles | None = None,
    path: str | DensePath | None = None,
    preset: str | Preset | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    progress: bool = True,
) -> EnsembleSelection:
    """Choose a small ensemble greedily on one part of the images, and judge it on the other against the full one.

    It starts with the best template and takes the one that helps most, while one does. What was chosen always looks
    good where it was chosen; only the held-out part says whether it is. An image that comes twice is on one side
    only. Maps of all images are held, at most 2 GiB. An interrupt while images are looked at goes on with those
    until then, one while templates are chosen with those chosen until then, and says so.

    Args:
        model: A loaded model.
        images: As for `rank_templates`.
        prompts: As for `rank_templates`.
        masks: As for `rank_templates`.
        score: As for `rank_templates`.
        threshold: As for `rank_templates`.
        weights: As for `rank_templates`; the chosen ones count as much as they do among all.
        most: How many templates at the most.
        held_out: The share of images that judge and do not choose.
        interval: Of the bootstrap over held-out images.
        resamples: How often they are drawn again.
        seed: Of the split and of the bootstrap.
        geometry: As for `Model.trace_many`.
        path: As for `Model.trace_many`.
        preset: As for `Model.trace_many`.
        batch_size: As for `Model.trace_many`.
        unreadable: As for `evaluate`.
        progress: Show bars where somebody can see them.

    Returns:
        The templates chosen, their score and that of all, and the gain with its interval.

    Warns:
        UserWarning: An image cannot be read and is left out; or it was interrupted.

    Raises:
        PromptError: as `rank_templates`; a `most` or `held_out` that cannot be.
        ImageError: fewer than two images on either side.
        OutOfMemoryError: the maps need more than 2 GiB.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(4, "test", size=128)
        >>> templates = dcv.Prompts(["grass", "a taxi"], ["{}", "a photo of {}"], absent=["a whale"])
        >>> chosen = dcv.measure.select_templates(model, scenes, templates, progress=False)
        >>> chosen.validation, chosen.held_out, len(chosen.templates) <= 2
        (2, 2, True)
    """
    draws = Draws(interval, resamples, seed)
    _check(most, held_out)
    candidates = template_candidates(model, Prompts.of(prompts), weights=weights, progress=progress)
    given = Paired(images, masks)
    metric = map_metric(score, model, candidates, threshold=threshold, masks=given.judged)
    options = {"geometry": geometry, "path": path, "preset": preset, "batch_size": batch_size}
    held = _Held(metric, candidates)
    result = run(model, given, candidates, held, options, unreadable=unreadable, progress=progress)
    choosing, judging = _parts(held.images, held_out, seed)
    stopped = bool(result.attrs["stopped"])
    if min(len(judging), len(choosing)) < 2:
        if stopped:
            raise KeyboardInterrupt
        got = f"{len(choosing)} images to choose on and {len(judging)} to judge on"
        raise ImageError(got, expected="at least two different ones each", fix="Pass more images.")
    chosen, steps, short = _greedy(choosing, candidates, metric, most, progress=progress)
    if stopped or short:
        what = f"{len(held.images)} images and {many(len(chosen), 'template')} until then"
        warn(f"Interrupted: this is about the {what}.")
    full, small = (_scores(judging, candidates, metric, members) for members in (None, chosen))
    low, high = intervals((small - full)[:, None], draws.interval, resamples=draws.resamples, seed=draws.seed)
    return EnsembleSelection(
        templates=tuple(candidates.names[at] for at in chosen),
        steps=steps,
        score=metric.name,
        full=float(full.mean()),
        small=float(small.mean()),
        gain=float((small - full).mean()),
        low=float(low[0]),
        high=float(high[0]),
        validation=len(choosing),
        held_out=len(judging),
        stopped=stopped or short,
    )


def _check(most: int, held_out: float) -> None:
    if not is_whole(most, 1):
        raise PromptError(f"most={most!r}", expected="a whole number of at least 1", fix="Try most=8.")
    if not is_number(held_out, 0, 1, ends=False):
        raise PromptError(f"held_out={held_out!r}", expected="a share between 0 and 1", fix="Try held_out=0.5.")


@dataclass
class _Held:
    """A measure that holds on to what it measured: which ensembles will be tried is not known before."""

    metric: MapMetric
    candidates: TextCandidates
    images: list[tuple[bytes, MapScores]] = field(default_factory=list)
    size: int = 0

    def __call__(self, maps: Floats, example: Example, trace: Trace) -> Floats:
        """Hold the maps of an image that can be judged, by what it shows."""
        held = self.metric.map_scores(maps, example, trace)
        scores = self.metric.mean(held)
        if np.isfinite(scores).all():
            self.images.append((hashlib.blake2b(trace.image.tobytes()).digest(), held))
            self.size += held.maps.nbytes
        if self.size > _MOST_BYTES:
            got = f"The maps of {len(self.images)} images in {len(maps)} templates need more than 2 GiB"
            raise OutOfMemoryError(got, expected="less", fix="Pass fewer images, prompts or templates.")
        return scores


def _parts(held: Sequence[tuple[bytes, Any]], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """Part images at random into those that choose and those that judge; equal ones stay together."""
    same: dict[bytes, list[Any]] = {}
    for image, scores in held:
        same.setdefault(image, []).append(scores)
    groups, judging, choosing = list(same.values()), list[Any](), list[Any]()
    for at in np.random.default_rng(seed).permutation(len(groups)):
        (judging if len(judging) < round(len(held) * share) else choosing).extend(groups[at])
    return choosing, judging


def _scores(
    images: Sequence[MapScores], candidates: TextCandidates, metric: MapMetric, members: Sequence[int] | None
) -> Floats:
    """Score an ensemble in each image, `(image,)`; None is all templates."""
    ensembles = (replace(scores, maps=candidates.ensembled(scores.maps, members)[None]) for scores in images)
    return np.concatenate([metric.mean(scores) for scores in ensembles])


def _greedy(
    images: Sequence[MapScores], candidates: TextCandidates, metric: MapMetric, most: int, *, progress: bool
) -> tuple[list[int], pd.DataFrame, bool]:
    """Say which were chosen, what each reached, and whether that was interrupted; before the first one, raise that."""
    import pandas as pd

    steps: list[tuple[int, float]] = []
    stopped = False
    try:
        with bar("templates", wanted=progress, total=most) as advance:
            able = [at for at, weight in enumerate(candidates.weights or [1.0] * len(candidates.names)) if weight > 0]
            while len(steps) < min(most, len(able)):
                chosen = [at for at, _ in steps]
                left = [at for at in able if at not in chosen]
                means = _with_each(images, candidates, metric, chosen, left)
                best = int(means.argmax())
                if steps and means[best] <= steps[-1][1]:
                    break
                steps.append((left[best], float(means[best])))
                advance(len(steps), most)
    except KeyboardInterrupt:
        stopped = True
        if not steps:
            raise
    rows = [(candidates.names[at], reached) for at, reached in steps]
    return [at for at, _ in steps], pd.DataFrame(rows, columns=["template", f"{metric.name} so far"]), stopped


def _with_each(
    images: Sequence[MapScores],
    candidates: TextCandidates,
    metric: MapMetric,
    chosen: Sequence[int],
    left: Sequence[int],
) -> Floats:
    """Average the score of those chosen and one more, each in turn, `(one more,)`."""
    each = (metric.mean(replace(scores, maps=candidates.joined(scores.maps, chosen, left))) for scores in images)
    return sum(each, np.zeros(len(left))) / len(images)
