"""A few templates instead of all: chosen greedily on one part of the images, judged on the other."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import ImageError, OutOfMemoryError, PromptError
from denseclip_viz.measure.bootstrap import intervals
from denseclip_viz.measure.candidates import Candidates, template_candidates
from denseclip_viz.measure.evaluate import EachMasks, Judge, judge_of, look
from denseclip_viz.measure.map_scores import Floats, MapScores
from denseclip_viz.measure.progress import bar
from denseclip_viz.measure.rank import check_draws, replaced
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import pandas as pd

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
        what = f"{len(self.templates)} of the templates give {self.score} {self.small:.4f}, all of them {self.full:.4f}"
        what = f"Interrupted; so far {what}" if self.stopped else what
        gain = f"gain {self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] on {self.held_out} held-out images"
        if self.low > 0:
            return f"{what}: {gain}, more than noise."
        if self.high < 0:
            return f"{what}: {gain}; the small ensemble is worse."
        return f"{what}: {gain}: within noise, so no gain was shown."


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
    progress: bool = True,
    **options: Any,
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
        progress: Show bars where somebody can see them.
        **options: As for `model.trace_many`.

    Warns:
        UserWarning: An image cannot be read and is left out; or it was interrupted.

    Raises:
        PromptError: as `rank_templates`; a `most` or `held_out` that cannot be.
        ImageError: fewer than two images on either side.
        OutOfMemoryError: the maps need more than 2 GiB.
    """
    check_draws(interval, resamples)
    _check(most, held_out)
    candidates = template_candidates(model, Prompts.of(prompts), weights=weights, progress=progress)
    judge = judge_of(candidates, masks, score=score, threshold=threshold, progress=progress, **options)
    kept, stopped = _kept(model, images, candidates, judge)
    choosing, judging = _parts(kept, held_out, seed)
    if min(len(judging), len(choosing)) < 2:
        if stopped:
            raise KeyboardInterrupt
        got = f"{len(choosing)} images to choose on and {len(judging)} to judge on"
        raise ImageError(got, expected="at least two different ones each", fix="Pass more images.")
    chosen, steps, short = _greedy(choosing, candidates, judge, most)
    if stopped or short:
        what = f"{len(kept)} images and {many(len(chosen), 'template')} until then"
        warnings.warn(f"Interrupted: this is about the {what}.", stacklevel=2)
    full, small = (_scores(judging, candidates, judge, [members])[:, 0] for members in (None, chosen))
    low, high = intervals((small - full)[:, None], interval, resamples=resamples, seed=seed)
    return EnsembleSelection(
        templates=tuple(candidates.names[at] for at in chosen),
        steps=steps,
        score=judge.score,
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
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise PromptError(f"most={most!r}", expected="a whole number of at least 1", fix="Try most=8.")
    if isinstance(held_out, bool) or not isinstance(held_out, int | float) or not 0 < held_out < 1:
        raise PromptError(f"held_out={held_out!r}", expected="a share between 0 and 1", fix="Try held_out=0.5.")


def _kept(
    model: Model, images: Iterable[Any], candidates: Candidates, judge: Judge
) -> tuple[list[tuple[bytes, MapScores]], bool]:
    """Hold what was seen in the images that can be judged, by what they hold; and whether that was interrupted."""
    kept: list[tuple[bytes, MapScores]] = []
    held = 0
    try:
        for trace, seen in look(model, images, candidates, judge):
            if np.isfinite(judge.count(seen, candidates)).all():
                kept.append((hashlib.blake2b(trace.image.tobytes()).digest(), seen))
                held += seen.maps.nbytes
            if held > _MOST_BYTES:
                got = f"The maps of {len(kept)} images in {len(candidates.names)} templates need more than 2 GiB"
                raise OutOfMemoryError(got, expected="less", fix="Pass fewer images, prompts or templates.")
    except KeyboardInterrupt:
        return kept, True
    return kept, False


def _parts(kept: Sequence[tuple[bytes, MapScores]], share: float, seed: int) -> tuple[list[MapScores], list[MapScores]]:
    """Part images at random into those that choose and those that judge; equal ones stay together."""
    same: dict[bytes, list[MapScores]] = {}
    for image, seen in kept:
        same.setdefault(image, []).append(seen)
    groups, judging, choosing = list(same.values()), list[MapScores](), list[MapScores]()
    for at in np.random.default_rng(seed).permutation(len(groups)):
        (judging if len(judging) < round(len(kept) * share) else choosing).extend(groups[at])
    return choosing, judging


def _scores(images: Sequence[MapScores], candidates: Candidates, judge: Judge, ensembles: Sequence[Any]) -> Floats:
    """The score of each ensemble in each image, `(image, ensemble)`; None is all templates."""
    rows = []
    for seen in images:
        maps = np.stack([candidates.ensembled(seen.maps, members) for members in ensembles])
        rows.append(judge.count(replaced(seen, maps), candidates))
    return np.stack(rows)


def _greedy(
    images: Sequence[MapScores], candidates: Candidates, judge: Judge, most: int
) -> tuple[list[int], pd.DataFrame, bool]:
    """Which were chosen, what each reached, and whether that was interrupted; before the first one, that is raised."""
    import pandas as pd

    chosen: list[int] = []
    reached: list[float] = []
    stopped = False
    try:
        with bar("templates", wanted=judge.progress, total=most) as said:
            while len(chosen) < min(most, len(candidates.names)):
                left = [at for at in range(len(candidates.names)) if at not in chosen]
                means = _with_each(images, candidates, judge, chosen, left)
                best = int(means.argmax())
                if reached and means[best] <= reached[-1]:
                    break
                chosen, reached = [*chosen, left[best]], [*reached, float(means[best])]
                said(len(chosen), most)
    except KeyboardInterrupt:
        stopped = True
        if not reached:
            raise
    names = [candidates.names[at] for at in chosen[: len(reached)]]
    return chosen[: len(reached)], pd.DataFrame({"template": names, f"{judge.score} so far": reached}), stopped


def _with_each(
    images: Sequence[MapScores], candidates: Candidates, judge: Judge, chosen: Sequence[int], left: Sequence[int]
) -> Floats:
    """The mean score of those chosen and one more, one after the other, `(one more,)`."""
    total = np.zeros(len(left))
    for seen in images:
        total += judge.count(replaced(seen, candidates.joined(seen.maps, chosen, left)), candidates)
    return total / len(images)
