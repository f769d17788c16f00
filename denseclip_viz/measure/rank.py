"""Ways of saying, ranked over many images: templates, or synonyms that mean the same thing."""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.maps.similarity import attributes
from denseclip_viz.measure.bootstrap import intervals, intervals_to_best
from denseclip_viz.measure.candidates import Candidates, synonym_candidates, template_candidates
from denseclip_viz.measure.evaluate import EachMasks, Judge, judge_of, look
from denseclip_viz.measure.map_scores import Floats, MapScores
from denseclip_viz.prompts import Prompts

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from denseclip_viz.model import Model


def rank_templates(
    model: Model,
    images: Iterable[Any],
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
    """Rank templates by how well they see the prompts, over many images.

    Images are read, looked at and let go one batch after the other; what stays is three numbers for each image
    and template. An interrupt keeps what was done, and says so.

    Args:
        model: A loaded model.
        images: Anything `model.trace_many` takes, also a generator.
        prompts: With two templates or more; those marked absent are in none of the images.
        masks: For each image `{prompt: (row, column) bool}`, as an iterable in their order or as a function of the
            image. Prompts without a mask there are not judged there; a prompt that is not in an image has a mask
            of nothing, or else nobody knows whether its map is wrong.
        score: A number of `templates_table`; by default "shared_precision" with masks (average precision with one
            threshold for all prompts), "margin_absent" with absent prompts, else "margin_runner_up".
        threshold: For the score "iou".
        weights: How much each template counts in the ensemble that all are compared with; all the same by default.
        interval: Width of the bootstrap intervals over images.
        resamples: How often images are drawn again.
        seed: Of the bootstrap; the same seed gives the same intervals.
        progress: Show a bar where somebody can see it.
        **options: As for `model.trace_many`: `geometry=`, `path=`, `batch_size=`, …

    Warns:
        UserWarning: Templates differ from the best within noise; an image cannot be read and is left out; or the
            run was interrupted.

    Raises:
        PromptError: one template only, a score or weights that cannot be, masks that are not of the prompts or not
            as many.
        ImageError: fewer than two images that can be judged, or masks that do not fit.
    """
    candidates = template_candidates(model, Prompts.of(prompts), weights=weights, progress=progress)
    return _rank(model, images, candidates, masks, **_options(locals()), **options)


def rank_synonyms(
    model: Model,
    images: Iterable[Any],
    synonyms: Sequence[str],
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
        images: As for `rank_templates`.
        synonyms: Two or more; the first one names the thing in masks.
        masks: For each image `{first synonym: (row, column) bool}`; with masks of others, they compete too.
        others: Prompts of other things, the same beside every synonym: rivals for "margin_runner_up" and "iou_won",
            and for "shared_precision" where a mask says where they are.
        absent: Prompts that are in none of the images: the baseline.
        template: One template for all.
        score: As for `rank_templates`.
        threshold: As for `rank_templates`.
        interval: As for `rank_templates`.
        resamples: As for `rank_templates`.
        seed: As for `rank_templates`.
        progress: As for `rank_templates`.
        **options: As for `rank_templates`.

    Raises:
        PromptError: one synonym only, more than one template, a synonym among the others; as `rank_templates`.
        ImageError: as `rank_templates`.
    """
    candidates = synonym_candidates(model, synonyms, others=others, absent=absent, template=template)
    return _rank(model, images, candidates, masks, **_options(locals()), **options)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("score", "threshold", "interval", "resamples", "seed", "progress")}


def _rank(
    model: Model,
    images: Iterable[Any],
    candidates: Candidates,
    masks: EachMasks | None,
    *,
    interval: float,
    resamples: int,
    seed: int,
    **options: Any,
) -> Ranking:
    check_draws(interval, resamples)
    judge = judge_of(candidates, masks, **options)
    names: list[str] = []
    rows: list[Floats] = []
    attrs: dict[str, Any] = {}
    stopped = False
    try:
        for trace, seen in look(model, images, candidates, judge):
            rows.append(scored(seen, candidates, judge))
            names.append(trace.name)
            attrs = attributes(trace)
    except KeyboardInterrupt:
        stopped = True
        if len(rows) < 2:
            raise
        warnings.warn(f"Interrupted: this is about the {len(rows)} images until then.", stacklevel=3)
    scores = dataset_of(names, rows[: len(names)], candidates, judge, attrs)
    table = table_of(scores, candidates, interval, resamples, seed)
    ranking = Ranking(table, scores, judge.score, candidates.noun, interval, stopped)
    warn_of_noise(ranking)
    return ranking


def scored(seen: MapScores, candidates: Candidates, judge: Judge) -> Floats:
    """One image in numbers, `(3, way)`: each way of saying, the ensemble of all (repeated), and that without each."""
    maps, ways = seen.maps, len(candidates.names)
    together = np.concatenate([maps, candidates.ensembled(maps)[None], candidates.left_out(maps)])
    counts = judge.count(replaced(seen, together), candidates)
    return np.stack([counts[:ways], np.repeat(counts[ways], ways), counts[ways + 1 :]])


def replaced(seen: MapScores, maps: Floats) -> MapScores:
    """The same image with other maps."""
    return MapScores(maps, seen.absent, seen.areas, seen.truth, seen.scale, seen.threshold)


def check_draws(interval: float, resamples: int) -> None:
    """Refuse an interval or a number of resamples that cannot be.

    Raises:
        PromptError: it cannot.
    """
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < 1:
        raise PromptError(f"interval={interval!r}", expected="a number between 0 and 1", fix="Try interval=0.95.")
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 100:
        got, expected = f"resamples={resamples!r}", "a whole number of at least 100"
        raise PromptError(got, expected=expected, fix="Try resamples=2000.")


@dataclass(frozen=True, repr=False)
class Ranking:
    """Ways of saying, best first, with what is known of each.

    Attributes:
        table: One row for each: mean `score` over images with its interval (`low`, `high`); `to_best`, the paired
            difference to the one that looks best, with the interval of what it is behind the one that is best,
            whichever that may be: never above 0, and wider the more there are to choose from; `within_noise`, whether
            that interval holds 0, so that it may be the best one; `left_out`, how much the ensemble's score changes
            when this one is left out (above 0: better without), with an interval of its own.
        scores: `score` (image, way), `ensemble` (image), `left_out` (image, way): every number it is made of.
        score: The name of the number, as in `templates_table`.
        noun: What is ranked: "template" or "synonym".
        interval: Width of the intervals.
        stopped: Whether it was interrupted, so that it is about the images until then.

    The best one is chosen on these very images, and its own score is the luckiest of them: `select_templates` judges
    on images that chose nothing. The best one is among those within noise with the probability `interval`.
    """

    table: pd.DataFrame
    scores: xr.Dataset
    score: str
    noun: str
    interval: float
    stopped: bool = False

    @property
    def best(self) -> str:
        """The name of the best one."""
        return str(self.table[self.noun].iloc[0])

    @property
    def within_noise(self) -> list[str]:
        """Those that may be the best one, as far as these images can tell; the one that looks best first."""
        return [str(name) for name in self.table[self.noun][self.table["within_noise"]]]

    def __repr__(self) -> str:
        first = self.table.iloc[0]
        ties = len(self.within_noise) - 1
        noise = f", {ties} more within noise" if ties else ", ahead of all by more than noise"
        return (
            f"Ranking({len(self.table)} {self.noun}s by {self.score} on {self.scores.sizes['image']} images; "
            f"best: {self.best!r} {first['score']:.3f} [{first['low']:.3f}, {first['high']:.3f}]{noise})"
        )

    def _repr_html_(self) -> str:
        # The table escapes names by itself.
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):  # a shortened template would be another one
            return f"<p>{html.escape(repr(self))}</p>{self.table.round(4).to_html(index=False)}"


def dataset_of(
    names: list[str], rows: list[Floats], candidates: Candidates, judge: Judge, attrs: dict[str, Any]
) -> xr.Dataset:
    """Keep the images that can be judged; the others are counted in the attributes."""
    import xarray as xr

    values = np.stack(rows) if rows else np.zeros((0, 3, len(candidates.names)))
    judged = np.asarray(np.isfinite(values).all((1, 2)))
    if judged.sum() < 2:
        got = f"{judged.sum()} images that can be judged by {judge.score}, of {len(rows)}"
        fix = "Pass more images; with masks, those in which a prompt has one that is not empty."
        raise ImageError(got, expected="at least two, to say how much is noise", fix=fix)
    values, way = values[judged], candidates.noun
    data = {
        "score": (("image", way), values[:, 0]),
        "ensemble": (("image",), values[:, 1, 0]),
        "left_out": (("image", way), values[:, 2]),
    }
    known = {key: value for key, value in attrs.items() if key not in ("image_name", "geometry")}
    more = {"number": judge.score, "images_not_judged": int((~judged).sum()), "prompts": list(candidates.prompts)}
    named = [name for name, kept in zip(names, judged, strict=True) if kept]
    return xr.Dataset(data, coords={"image": named, way: list(candidates.names)}, attrs={**known, **more})


def table_of(scores: xr.Dataset, candidates: Candidates, interval: float, resamples: int, seed: int) -> pd.DataFrame:
    """Average over images, with intervals, and sort: the table of a `Ranking`."""
    import pandas as pd

    score, gain = scores["score"].values, scores["left_out"].values - scores["ensemble"].values[:, None]
    drawn: dict[str, int] = {"resamples": resamples, "seed": seed}
    best = score[:, [int(score.mean(0).argmax())]]
    ends = {
        "score": intervals(score, interval, **drawn),
        "to_best": intervals_to_best(score, interval, **drawn),
        "left_out": intervals(gain, interval, **drawn),
    }
    columns: dict[str, Any] = {candidates.noun: list(candidates.names)}
    for name, values in (("score", score), ("to_best", score - best), ("left_out", gain)):
        start = "" if name == "score" else f"{name}_"
        columns |= {name: values.mean(0), f"{start}low": ends[name][0], f"{start}high": ends[name][1]}
    table = pd.DataFrame(columns)
    table.insert(7, "within_noise", table["to_best_high"] >= 0)
    table["images"] = len(score)
    ranked: pd.DataFrame = table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
    return ranked


def warn_of_noise(ranking: Ranking) -> None:
    """Warn when some are no worse than the best as far as these images can tell."""
    ties = ranking.within_noise
    if len(ties) > 1:
        more = f" and {len(ties) - 4} more" if len(ties) > 4 else ""
        warnings.warn(
            f"Within noise of the best {ranking.noun} {ties[0]!r} ({ranking.interval:.0%} interval of what each is "
            f"behind the best in {ranking.score}, {ranking.scores.sizes['image']} images): "
            f"{', '.join(map(repr, ties[1:4]))}{more}. More images may tell them apart.",
            stacklevel=4,
        )
