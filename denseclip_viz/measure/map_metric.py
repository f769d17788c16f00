"""A number of maps by its name, as the metric of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import PromptError
from denseclip_viz.measure.map_scores import Floats, MapScores, flat_scores, truth_on_grid
from denseclip_viz.measure.metrics import METRICS
from denseclip_viz.measure.template_table import number_of
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    from denseclip_viz.model import Model


@dataclass(frozen=True)
class MapMetric:
    """A number of `METRICS` as a measure: its mean over the judged prompts that have one.

    Attributes:
        name: The number.
        prompts: `(prompt,)`, what maps are of.
        absent: `(prompt,)`, which are known not to be in any image.
        judged: `(prompt,)`, which count.
        scale: What cosines are multiplied by before a softmax.
        threshold: A cosine for "iou"; NaN for the absent baseline.
    """

    name: str
    prompts: tuple[str, ...]
    absent: tuple[bool, ...]
    judged: tuple[bool, ...]
    scale: float
    threshold: float = float("nan")

    def map_scores(self, maps: Floats, example: Example, trace: Trace) -> MapScores:
        """Lay maps and masks out to be counted."""
        present = [name for name, absent in zip(self.prompts, self.absent, strict=True) if not absent]
        masks, geometry = example.masks_of(present), trace.geometry
        if masks is None and METRICS[self.name].masks:
            got, fix = f"{self.name} of an image without masks", "Give examples masks or labels, or choose another one."
            raise PromptError(got, expected="masks", fix=fix)
        truth = None if masks is None else truth_on_grid(masks, geometry, self.prompts, self.absent)
        return flat_scores(maps, self.absent, geometry, truth, scale=self.scale, threshold=self.threshold)

    def mean(self, scores: MapScores) -> Floats:
        """Average over prompts, `(candidate,)`; NaN where no judged prompt has a number."""
        values = METRICS[self.name].count(scores)[:, np.asarray(self.judged)]
        known = np.isfinite(values)
        count = known.sum(-1)
        return np.where(count > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)

    def __call__(self, maps: Floats, example: Example, trace: Trace) -> Floats:
        """Give one number for each candidate."""
        return self.mean(self.map_scores(maps, example, trace))


def map_metric(
    name: str | None,
    model: Model,
    candidates: Any,
    *,
    threshold: float | None = None,
    masks: bool = True,
    classes: tuple[str, ...] = (),
    option: str = "score",
) -> MapMetric:
    """Choose what to score by, and refuse what cannot be.

    With masks the score is the average precision with one threshold for all prompts: it is about cosines as people
    look at them, on one scale, so a map pays both for its own cells and for standing above or below the others'. In
    average precision by itself a map is never too high as a whole; where each cell goes to the highest prompt, what a
    template adds to all prompts costs nothing. Without masks it is the margin over the absent prompts, else the one
    over the runner-up.

    Candidates may have `prompts`, `absent` and `judged`; `classes` are the prompts of those that name none. `option` is
    what the user calls the number.

    Raises:
        PromptError: a score that does not rank, that needs masks or prompts which are not there, or a threshold for
            one that has none.
    """
    prompts = tuple(getattr(candidates, "prompts", classes))
    absent = tuple(getattr(candidates, "absent", [False] * len(prompts)))
    default = "shared_precision" if masks else "margin_absent" if any(absent) else "margin_runner_up"
    chosen = default if name is None else name
    able = [number for number, metric in METRICS.items() if metric.ranks]
    if not isinstance(chosen, str) or chosen not in able:
        raise PromptError(f"{option}={name!r}", expected=f"one of {', '.join(able)}", fix="More of it must be better.")
    baseline = chosen == "margin_absent" or (chosen == "iou" and threshold is None)
    lacks = {
        "masks": METRICS[chosen].masks and not masks,
        "absent prompts": baseline and not any(absent),
        "a second prompt": chosen == "margin_runner_up" and sum(not away for away in absent) < 2,
        "another prompt to win against": chosen == "iou_won" and len(prompts) < 2,
    }
    for what in (what for what, missing in lacks.items() if missing):
        fix = f"Pass {what}, or choose another score: {', '.join(able)}."
        raise PromptError(f"{option}={chosen!r} without {what}", expected=what, fix=fix)
    limit = float("nan") if threshold is None else number_of(threshold, "threshold")
    if threshold is not None and chosen != "iou":
        got, fix = f"threshold={threshold!r} for the score {chosen!r}", f'Pass {option}="iou", or no threshold.'
        raise PromptError(got, expected="a score that has one", fix=fix)
    judged = tuple(getattr(candidates, "judged", (not away for away in absent)))
    return MapMetric(chosen, prompts, absent, judged, model.logit_scale, limit)
