"""Rankings over many images: of templates, or of synonyms."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.paired import EachMasks, Paired
from denseclip_viz.errors import ImageError, warn
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.measure.bootstrap import Draws, intervals, intervals_to_best
from denseclip_viz.measure.candidates import TextCandidates, WithEnsembles, synonym_candidates, template_candidates
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import run
from denseclip_viz.measure.map_metric import map_metric
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.presets import Preset
from denseclip_viz.prompts import Prompts

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from denseclip_viz.clip.dense_path import DensePath
    from denseclip_viz.model import Model


@guarded
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
    store: str | os.PathLike[str] | None = None,
    geometry: str | Native | Whole | Tiles | None = None,
    path: str | DensePath | None = None,
    preset: str | Preset | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> Ranking:
    """Rank templates by how well they see the prompts, over many images.

    Images are read, looked at and let go one batch after the other; what stays is three numbers for each image
    and template. An interrupt keeps what was done, and says so.

    Args:
        model: A loaded model.
        images: Anything `model.trace_many` takes, also a generator; of `datasets.read`, with its own masks.
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
        store: As for `evaluate`: a file from which a killed run goes on.
        geometry: As for `Model.trace_many`.
        path: As for `Model.trace_many`.
        preset: As for `Model.trace_many`.
        batch_size: As for `Model.trace_many`.
        unreadable: As for `evaluate`.
        engine: As for `evaluate`.
        progress: Show a bar where somebody can see it.

    Returns:
        The ranking: `table`, best first, and the `scores` it is made of.

    Warns:
        UserWarning: Templates differ from the best within noise; an image cannot be read and is left out; or the
            run was interrupted.

    Raises:
        PromptError: one template only, a score or weights that cannot be, masks that are not of the prompts or not
            as many.
        ImageError: fewer than two images that can be judged, or masks that do not fit.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), [dcv.toyworld.scene("a taxi on a road", 128)] * 2
        >>> templates = dcv.Prompts(["a road", "a taxi"], ["{}", "a photo of {}"], absent=["a whale"])
        >>> ranking = dcv.measure.rank_templates(model, scenes, templates, progress=False)
        >>> ranking.score, list(ranking.table.columns[:3])
        ('margin_absent', ['template', 'score', 'low'])
    """
    candidates = template_candidates(model, Prompts.of(prompts), weights=weights, progress=progress)
    draws = Draws(interval, resamples, seed)
    given, each = Paired(images, masks), WithEnsembles(candidates)
    metric = map_metric(score, model, candidates, threshold=threshold, masks=given.judged)
    options = {"geometry": geometry, "path": path, "preset": preset, "batch_size": batch_size}
    more: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    scores = run(model, given, each, metric, options, **more)
    return ranking_of(scores, candidates, metric.name, draws)


@guarded
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
    store: str | os.PathLike[str] | None = None,
    geometry: str | Native | Whole | Tiles | None = None,
    path: str | DensePath | None = None,
    preset: str | Preset | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
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
        store: As for `rank_templates`.
        geometry: As for `rank_templates`.
        path: As for `rank_templates`.
        preset: As for `rank_templates`.
        batch_size: As for `rank_templates`.
        unreadable: As for `rank_templates`.
        engine: As for `evaluate`.
        progress: As for `rank_templates`.

    Returns:
        As `rank_templates`.

    Raises:
        PromptError: one synonym only, more than one template, a synonym among the others; as `rank_templates`.
        ImageError: as `rank_templates`.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), [dcv.toyworld.scene("a taxi on a road", 128)] * 2
        >>> dcv.measure.rank_synonyms(model, scenes, ["a cab", "a pirate"], absent=["a whale"], progress=False).best
        'a cab'
    """
    candidates = synonym_candidates(model, synonyms, others=others, absent=absent, template=template)
    draws = Draws(interval, resamples, seed)
    given, each = Paired(images, masks), WithEnsembles(candidates)
    metric = map_metric(score, model, candidates, threshold=threshold, masks=given.judged)
    options = {"geometry": geometry, "path": path, "preset": preset, "batch_size": batch_size}
    more: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    scores = run(model, given, each, metric, options, **more)
    return ranking_of(scores, candidates, metric.name, draws)


@dataclass(frozen=True, repr=False)
class Ranking:
    """Ways of saying, best first, with what is known of each.

    Attributes:
        table: One row for each: mean `score` over images with its interval (`low`, `high`); `to_best`, the paired
            difference to the one that looks best, with the interval of what it is behind the one that is best,
            whichever that may be: never above 0, and wider the more there are to choose from; `within_noise`, whether
            that interval holds 0, so that it may be the best one; `left_out`, how much the ensemble's score changes
            when this one is left out (above 0: better without), with an interval of its own.
        scores: `score` (image, candidate), `ensemble` (image), `left_out` (image, candidate): all that it is made of.
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


def ranking_of(result: xr.Dataset, candidates: TextCandidates, score: str, draws: Draws) -> Ranking:
    """Rank what `run` has measured of `WithEnsembles`.

    Raises:
        KeyboardInterrupt: it was stopped before the second image.
        ImageError: fewer than two images that can be judged.
    """
    stopped, images = bool(result.attrs["stopped"]), result.sizes["image"]
    if stopped and images < 2:
        raise KeyboardInterrupt
    if stopped:
        warn(f"Interrupted: this is about the {images} images until then.")
    scores = split(result, candidates, score)
    ranking = Ranking(table_of(scores, candidates, draws), scores, score, candidates.noun, draws.interval, stopped)
    warn_of_noise(ranking)
    return ranking


def split(result: xr.Dataset, candidates: TextCandidates, score: str) -> xr.Dataset:
    """Part texts, ensemble and ensembles without each; keep the images that can be judged, and count the others."""
    import xarray as xr

    values, count = result["score"].values, len(candidates.names)
    judged = np.asarray(np.isfinite(values).all(1))
    if judged.sum() < 2:
        got = f"{judged.sum()} images that can be judged by {score}, of {len(values)}"
        fix = "Pass more images; with masks, those in which a prompt has one that is not empty."
        raise ImageError(got, expected="at least two, to say how much is noise", fix=fix)
    axes, values = ("image", candidates.noun), values[judged]
    data = {
        "score": (axes, values[:, :count]),
        "ensemble": (axes[:1], values[:, count]),
        "left_out": (axes, values[:, count + 1 :]),
    }
    coords = {"image": result["image"].values[judged], candidates.noun: list(candidates.names)}
    source = {name: value for name, value in result.attrs.items() if name not in ("unread", "stopped")}
    more = {"number": score, "images_not_judged": int((~judged).sum()), "prompts": list(candidates.prompts)}
    return with_quantities(xr.Dataset(data, coords=coords, attrs={**source, **more}))


def table_of(scores: xr.Dataset, candidates: TextCandidates, draws: Draws) -> pd.DataFrame:
    """Average over images, with intervals, and sort: the table of a `Ranking`."""
    import pandas as pd

    score, gain = scores["score"].values, scores["left_out"].values - scores["ensemble"].values[:, None]
    again = {"resamples": draws.resamples, "seed": draws.seed}
    best = score[:, [int(score.mean(0).argmax())]]
    columns: dict[str, Any] = {candidates.noun: list(candidates.names)}
    for name, values, (low, high) in (
        ("score", score, intervals(score, draws.interval, **again)),
        ("to_best", score - best, intervals_to_best(score, draws.interval, **again)),
        ("left_out", gain, intervals(gain, draws.interval, **again)),
    ):
        start = "" if name == "score" else f"{name}_"
        columns |= {name: values.mean(0), f"{start}low": low, f"{start}high": high}
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
        warn(
            f"Within noise of the best {ranking.noun} {ties[0]!r} ({ranking.interval:.0%} interval of what each is "
            f"behind the best in {ranking.score}, {ranking.scores.sizes['image']} images): "
            f"{', '.join(map(repr, ties[1:4]))}{more}. More images may tell them apart."
        )
