"""The one loop over images × candidates × a metric; rankings, selections and reports stand on its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz import arguments
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example, examples
from denseclip_viz.errors import ImageError, LayerError, PromptError, warn
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.maps.finer_choice import Finer, FinerLike, choose_finer
from denseclip_viz.measure.candidates import Candidates
from denseclip_viz.measure.engines import Engine, engine_of, results_of
from denseclip_viz.measure.group_work import Group, GroupWork, Measure, Unread, digest_of, on_gpu
from denseclip_viz.measure.map_scores import Floats, MapScores, flat_scores, truth_on_grid
from denseclip_viz.measure.metrics import METRICS
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.measure.store import ResultStore, Values
from denseclip_viz.measure.template_table import number_of
from denseclip_viz.presets import Preset
from denseclip_viz.progress import bar
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.clip.dense_path import DensePath
    from denseclip_viz.model import Model


Collect = Callable[[ResultStore, list[str], int], "xr.Dataset"]
"""From the sums over images, the candidates' names and whether it was stopped, to what is returned."""


@guarded
def evaluate(
    model: Model,
    dataset: Iterable[Any],
    candidates: Candidates,
    metric: str | Measure,
    *,
    threshold: float | None = None,
    store: str | os.PathLike[str] | None = None,
    geometry: str | Native | Whole | Tiles | None = None,
    path: str | DensePath | None = None,
    preset: str | Preset | None = None,
    finer: FinerLike | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Score every candidate on every image; one forward pass of an image serves all of them.

    Images are read, looked at and let go one batch after the other, the next one while the model is at work on this;
    what stays is the numbers. An interrupt keeps what was done, and says so.

    Args:
        model: A loaded model.
        dataset: Examples, scenes, or pairs of an image and its masks; see `Example`.
        candidates: What is compared: `names`, and `maps(trace)` with `(candidate, prompt, y, x)`; see `Candidates`.
        metric: A number of `templates_table` by its name, averaged over prompts, or a function of maps, example and
            trace that gives one number for each candidate.
        threshold: A cosine for the metric "iou"; the absent baseline by default.
        store: A file that keeps each image's numbers as they come, so that an interrupted or killed run goes on where
            it was, to the same numbers bit for bit. Images that could not be read are not tried again.
        geometry: As for `Model.trace_many`.
        path: As for `Model.trace_many`.
        preset: As for `Model.trace_many`.
        finer: Finer grids on which every candidate is scored again, of the same pass: "guided", "shifted", a factor
            behind it as in "guided:8", a function that makes such a trace of one (`maps.upsampled` by an upsampler of
            your own), a `plus.Student`, whose features stand in the place of the path's; several in a list, or by
            names of your own.
        batch_size: As for `Model.trace_many`.
        unreadable: Called with an image that cannot be read, or whose masks cannot, and its error; by default a warning
            names it.
        engine: Where images are measured: here; `4` or "processes", in as many worker processes; "ray" or
            "ray://HOST:PORT", by workers of Ray; `Processes` and `Ray` say more. Numbers are the same bit for bit. The
            images of a batch go to a worker together, and a batch whose worker is killed is done again.
        progress: Show a bar where somebody can see it.

    Returns:
        `score` (image, candidate), NaN where an image says nothing; a metric that gives several numbers names them
        itself. `attrs` hold model, weights, path and versions, `unread` images, and whether it was `stopped`.

    Warns:
        UserWarning: an image or its masks cannot be read and it is left out, or the run was interrupted.

    Raises:
        PromptError: a metric that there is not or that lacks masks or prompts, or masks of no prompt.
        ImageError: no image that can be read, or masks that do not fit.
        OutputError: a store that holds another model's, other candidates' or another metric's results.
        WorkerError: an engine that there is not, what cannot be sent to a worker, or a batch that ends three of them.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(2, "test", size=128)
        >>> templates = dcv.measure.template_candidates(model, dcv.Prompts(["grass", "sky"], ["{}", "a photo of {}"]))
        >>> dcv.measure.evaluate(model, scenes, templates, "average_precision", progress=False).score.dims
        ('image', 'candidate')
    """
    measure: Any = metric
    if isinstance(metric, str):
        classes = tuple(getattr(dataset, "classes", ()))
        measure = map_metric(metric, model, candidates, threshold=threshold, classes=classes, option="metric")
    options = {"geometry": geometry, "path": path, "preset": preset, "batch_size": batch_size}
    more: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    more["finer"] = finer
    return whole(run(model, dataset, candidates, measure, options, **more))


def whole(result: xr.Dataset) -> xr.Dataset:
    """Refuse a result without images, and warn of one that was interrupted.

    Raises:
        ImageError: there is none that could be read.
    """
    if not result.sizes["image"]:
        got, expected = "A data set without an image that can be read", "at least one"
        raise ImageError(got, expected=expected, fix="Look at the paths.")
    if result.attrs["stopped"]:
        warn(f"Interrupted: this is about the {result.sizes['image']} images until then.")
    return result


def run(
    model: Model,
    dataset: Iterable[Any],
    candidates: Candidates,
    measure: Measure,
    options: Mapping[str, Any],
    *,
    finer: FinerLike | None = None,
    store: str | os.PathLike[str] | None = None,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
    collect: Collect | None = None,
) -> xr.Dataset:
    """Do what `evaluate` does, without its warning of an interrupt, and without images too.

    Options that are None are left to the candidates, or to `Model.trace_many`. `collect` makes a data set of sums over
    images: then an image's own numbers are kept in a file at most.

    Raises:
        KeyboardInterrupt: before any image was done.
        LayerError: several paths, and a student in the place of one.
    """
    options = {**getattr(candidates, "trace_options", {}), **{k: v for k, v in options.items() if v is not None}}
    chosen, total = choose_finer(finer), length_hint(dataset) or None
    own = tuple(candidates.names)
    names, options = _with_finer(own, chosen, options)
    question = {"model": model, "candidates": candidates, "metric": measure, "options": options, "finer": chosen}
    results, stopped = ResultStore(store, question, summed=collect is not None), 0
    left_out, where = unreadable or _leave_out, engine_of(engine)
    work = GroupWork(model, candidates, own, measure, options, digests=store is not None, finer=chosen)
    size = arguments.check_batch_size(options.get("batch_size", 8))
    done = results_of(where, work, _groups(dataset, size, results, left_out), gpu=on_gpu(model))
    try:
        with bar("images", wanted=progress, total=total) as advance, closing(done):
            for group, outcome in done:
                if isinstance(outcome, Unread):
                    results.add_unread(outcome.place, outcome.name, outcome.error)
                    left_out(group.image(outcome.place), outcome.error)
                    continue
                results.add_attrs(outcome.place, outcome.provenance)
                results.add(outcome.place, outcome.name, outcome.values, digest=outcome.digest)
                advance(len(results.images), total or 0)
    except KeyboardInterrupt:
        stopped = 1
        if not results.images:
            raise
    return (collect or _dataset)(results, names, stopped)


def _with_finer(
    own: Sequence[str], finer: Sequence[Finer], options: Mapping[str, Any]
) -> tuple[list[str], Mapping[str, Any]]:
    """Name candidates on every grid, and have traces keep what finer grids are made of."""
    if not finer:
        return list(own), options
    traced = arguments.choose_paths(options.get("path", "value"))
    paths = [path.name for path in (traced if isinstance(traced, tuple) else (traced,))]
    if len(paths) > 1 and (successors := [one.name for one in finer if one.replaces]):
        got = f"{successors[0]}, which takes the place of a path, beside {len(paths)} paths"
        raise LayerError(got, expected="one path", fix=f"Try path={paths[0]!r}.")
    if options.get("keep") is not None:
        options = {**options, "keep": sorted(arguments.choose_parts(options["keep"]) | {"pixels"})}
    return [*own, *(name for one in finer for name in one.names(own, paths))], options


def _groups(
    dataset: Iterable[Any], size: int, results: ResultStore, unreadable: Callable[[Any, ImageError], object]
) -> Iterator[Group]:
    """Go through a data set in batches that begin at the same images whatever was done before; give those to be done.

    What is done together decides the last bit of floats: a batch that a kill has cut is done again as it was.
    """
    numbered = enumerate(examples(dataset))
    while members := list(islice(numbered, size)):
        for place, example in members if results.path is not None else ():
            results.check(place, digest_of(example) if place in results.images else "")
        for place, example in members:
            if place in results.unread:
                unreadable(example.image, results.unread[place][1])
        able = tuple(member for member in members if member[0] not in results.unread)
        group = Group(able, frozenset(place for place, _ in able if place not in results.images))
        if group.wanted:
            yield group


def _leave_out(_: Any, error: ImageError) -> None:
    warn(f"Left out: {error}")


def _dataset(results: ResultStore, names: list[str], stopped: int) -> xr.Dataset:
    import xarray as xr

    known = [results.images[place] for place in sorted(results.images)]
    empty: Values = {"score": (("candidate",), np.zeros(len(names)))}
    data = {
        name: (("image", *axes), np.array([values[name][1] for _, values in known]).reshape(len(known), *array.shape))
        for name, (axes, array) in (known[0][1] if known else empty).items()
    }
    coords = {"image": [name for name, _ in known], "candidate": names}
    unread = [results.unread[place][0] for place in sorted(results.unread)]
    attrs = {**results.attrs, "unread": unread, "stopped": stopped}
    return with_quantities(xr.Dataset(data, coords=coords, attrs=attrs))


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
    chosen = name or ("shared_precision" if masks else "margin_absent" if any(absent) else "margin_runner_up")
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
