"""Ways of saying, ranked over many pictures: templates, or wordings that mean the same thing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import PromptError
from denseclip_viz.maps.similarity import attributes
from denseclip_viz.measure.entrants import Entrants, templates_of, wordings_of
from denseclip_viz.measure.judging import EachMasks, Judge, judge_of, look
from denseclip_viz.measure.ranking import Ranking, dataset_of, table_of, warn_of_noise
from denseclip_viz.measure.seen import Floats, Seen
from denseclip_viz.prompts import Prompts

if TYPE_CHECKING:
    from denseclip_viz.model import Model


def rank_templates(
    model: Model,
    pictures: Iterable[Any],
    prompts: Prompts,
    masks: EachMasks | None = None,
    *,
    score: str | None = None,
    threshold: float | None = None,
    weights: Sequence[float] | None = None,
    interval: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Ranking:
    """Rank templates by how well they see the prompts, over many pictures.

    Pictures are read, looked at and let go one batch after the other; what stays is three numbers for each picture
    and template. An interrupt keeps what was done, and says so.

    Args:
        model: A loaded model.
        pictures: Anything `model.trace_many` takes, also a generator.
        prompts: With two templates or more; those marked absent are in none of the pictures.
        masks: For each picture `{prompt: (row, column) bool}`, as an iterable in their order or as a function of the
            picture. Prompts without a mask there are not judged there; a prompt that is not in a picture has a mask
            of nothing, or else nobody knows whether its map is wrong.
        score: A number of `templates_table`; by default "shared_precision" with masks (average precision with one
            threshold for all prompts), "margin_absent" with absent prompts, else "margin_runner_up".
        threshold: For the score "iou".
        weights: How much each template counts in the ensemble that all are compared with; all the same by default.
        interval: Width of the bootstrap intervals over pictures.
        resamples: How often pictures are drawn again.
        seed: Of the bootstrap; the same seed gives the same intervals.
        progress: Show a bar where somebody can see it.
        **options: As for `model.trace_many`: `geometry=`, `path=`, `batch_size=`, …

    Warns:
        UserWarning: Templates differ from the best within noise; a picture cannot be read and is left out; or the
            run was interrupted.

    Raises:
        PromptError: one template only, a score or weights that cannot be, masks that are not of the prompts or not
            as many.
        PictureError: fewer than two pictures that can be judged, or masks that do not fit.
    """
    entrants = templates_of(model, Prompts.of(prompts), weights=weights, progress=progress)
    return _rank(model, pictures, entrants, masks, **_options(locals()), **options)


def rank_wordings(
    model: Model,
    pictures: Iterable[Any],
    wordings: Sequence[str],
    masks: EachMasks | None = None,
    *,
    others: Sequence[str] = (),
    absent: Sequence[str] = (),
    template: str = "none",
    score: str | None = None,
    threshold: float | None = None,
    interval: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Ranking:
    """Rank prompts that mean the same thing: synonyms, adjectives, word order, languages of a multilingual tower.

    Args:
        model: A loaded model.
        pictures: As for `rank_templates`.
        wordings: Two or more; the first one names the thing in masks.
        masks: For each picture `{first wording: (row, column) bool}`; with masks of others, they compete too.
        others: Prompts of other things, the same beside every wording: rivals for "margin_runner_up" and "iou_won",
            and for "shared_precision" where a mask says where they are.
        absent: Prompts that are in none of the pictures: the baseline.
        template: One template for all.
        score: As for `rank_templates`.
        threshold: As for `rank_templates`.
        interval: As for `rank_templates`.
        resamples: As for `rank_templates`.
        seed: As for `rank_templates`.
        progress: As for `rank_templates`.
        **options: As for `rank_templates`.

    Raises:
        PromptError: one wording only, more than one template, a wording among the others; as `rank_templates`.
        PictureError: as `rank_templates`.
    """
    entrants = wordings_of(model, wordings, others=others, absent=absent, template=template)
    return _rank(model, pictures, entrants, masks, **_options(locals()), **options)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("score", "threshold", "interval", "resamples", "seed", "progress")}


def _rank(
    model: Model,
    pictures: Iterable[Any],
    entrants: Entrants,
    masks: EachMasks | None,
    *,
    interval: float,
    resamples: int,
    seed: int,
    **options: Any,
) -> Ranking:
    check_draws(interval, resamples)
    judge = judge_of(entrants, masks, **options)
    names: list[str] = []
    rows: list[Floats] = []
    attrs: dict[str, Any] = {}
    stopped = False
    try:
        for trace, seen in look(model, pictures, entrants, judge):
            rows.append(scored(seen, entrants, judge))
            names.append(trace.name)
            attrs = attributes(trace)
    except KeyboardInterrupt:
        stopped = True
        if len(rows) < 2:
            raise
        warnings.warn(f"Interrupted: this is about the {len(rows)} pictures until then.", stacklevel=3)
    scores = dataset_of(names, rows[: len(names)], entrants, judge, attrs)
    table = table_of(scores, entrants, interval, resamples, seed)
    ranking = Ranking(table, scores, judge.score, entrants.noun, interval, stopped)
    warn_of_noise(ranking)
    return ranking


def scored(seen: Seen, entrants: Entrants, judge: Judge) -> Floats:
    """One picture in numbers, `(3, way)`: each way of saying, the ensemble of all (repeated), and that without each."""
    maps, ways = seen.maps, len(entrants.names)
    together = np.concatenate([maps, entrants.ensembled(maps)[None], entrants.left_out(maps)])
    counts = judge.count(replaced(seen, together), entrants)
    return np.stack([counts[:ways], np.repeat(counts[ways], ways), counts[ways + 1 :]])


def replaced(seen: Seen, maps: Floats) -> Seen:
    """The same picture with other maps."""
    return Seen(maps, seen.absent, seen.areas, seen.truth, seen.scale, seen.threshold)


def check_draws(interval: float, resamples: int) -> None:
    """Refuse an interval or a number of resamples that cannot be.

    Raises:
        PromptError: it cannot.
    """
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < 1:
        raise PromptError(f"interval={interval!r}", expected="a number between 0 and 1", fix="Try interval=0.95.")
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 100:
        came, expected = f"resamples={resamples!r}", "a whole number of at least 100"
        raise PromptError(came, expected=expected, fix="Try resamples=2000.")
