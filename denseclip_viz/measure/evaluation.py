"""The one loop over images × candidates × a metric; rankings, selections and reports stand on its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz import arguments
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example, examples
from denseclip_viz.errors import ImageError, PromptError, warn
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.images import describe
from denseclip_viz.measure.candidates import Candidates
from denseclip_viz.measure.map_scores import Floats, MapScores, flat_scores, truth_on_grid
from denseclip_viz.measure.metrics import METRICS
from denseclip_viz.measure.store import ResultStore, Values
from denseclip_viz.measure.template_table import number_of
from denseclip_viz.presets import Preset
from denseclip_viz.progress import bar, traced_beside
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.clip.dense_path import DensePath
    from denseclip_viz.model import Model

Measure = Callable[[Any, Example, Trace], Any]
"""From `(candidate, prompt, y, x)`, what is true and the trace to a number for each candidate, or to several by name:
`{name: (axes, numbers)}`."""


Collect = Callable[[ResultStore, list[str], int], "xr.Dataset"]
"""From what is known of each image, the candidates' names and whether it was stopped, to what is returned."""


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
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Score every candidate on every image; one forward pass of an image serves all of them.

    Images are read, looked at and let go one batch after the other; what stays is the numbers. An interrupt keeps
    what was done, and says so.

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
        batch_size: As for `Model.trace_many`.
        unreadable: Called with an image that cannot be read and its error; by default a warning names it.
        progress: Show a bar where somebody can see it.

    Returns:
        `score` (image, candidate), NaN where an image says nothing; a metric that gives several numbers names them
        itself. `attrs` hold model, weights, path and versions, `unread` images, and whether it was `stopped`.

    Warns:
        UserWarning: an image cannot be read and is left out, or the run was interrupted.

    Raises:
        PromptError: a metric that there is not or that lacks masks or prompts, or masks of no prompt.
        ImageError: no image that can be read, or masks that do not fit.
        OutputError: a store that holds another model's, other candidates' or another metric's results.

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
    return whole(
        run(model, dataset, candidates, measure, options, store=store, unreadable=unreadable, progress=progress)
    )


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
    store: str | os.PathLike[str] | None = None,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    progress: bool = True,
    collect: Collect | None = None,
) -> xr.Dataset:
    """Do what `evaluate` does, without its warning of an interrupt, and without images too.

    Options that are None are left to the candidates, or to `Model.trace_many`. `collect` makes a data set of what is
    known, where an image's numbers are not to be laid beside the others': they are sums, or of no common shape.

    Raises:
        KeyboardInterrupt: before any image was done.
    """
    options = {**getattr(candidates, "trace_options", {}), **{k: v for k, v in options.items() if v is not None}}
    names, total = list(candidates.names), length_hint(dataset) or None
    question = {"model": model, "candidates": candidates, "metric": measure, "options": options}
    results, stopped = ResultStore(store, question), 0
    try:
        with bar("images", wanted=progress, total=total) as advance:
            for group in _groups(dataset, arguments.check_batch_size(options.get("batch_size", 8))):
                for place, example, trace in _traced(model, group, results, unreadable or _leave_out, options):
                    asked = candidates.for_example(example) if hasattr(candidates, "for_example") else candidates
                    values = _values(asked.maps(trace), names, measure, place, example, trace)
                    digest = "" if store is None else _digest(example)
                    results.add_attrs(trace.provenance)
                    results.add(place, example.name or trace.name, values, digest=digest)
                    advance(len(results.images), total or 0)
    except KeyboardInterrupt:
        stopped = 1
        if not results.images:
            raise
    return (collect or _dataset)(results, names, stopped)


def _groups(dataset: Iterable[Any], size: int) -> Iterator[list[tuple[int, Example]]]:
    """Go through a data set in batches that begin at the same images whatever was done before.

    What is done together decides the last bit of floats: a batch that a kill has cut is done again as it was.
    """
    numbered = enumerate(examples(dataset))
    while group := list(islice(numbered, size)):
        yield group


def _traced(
    model: Model,
    group: list[tuple[int, Example]],
    results: ResultStore,
    unreadable: Callable[[Any, ImageError], object],
    options: Mapping[str, Any],
) -> Iterator[tuple[int, Example, Trace]]:
    """Trace the images of a batch whose numbers are not known yet, with those beside them that are."""
    if results.path is not None:
        for place, example in group:
            results.check(place, _digest(example) if place in results.images else "")

    def leave_out(beside: tuple[int, Example], error: ImageError) -> None:
        results.add_unread(beside[0], beside[1].name or describe(beside[1].image), error)
        unreadable(beside[1].image, error)

    for place, example in group:
        if place in results.unread:
            unreadable(example.image, results.unread[place][1])
    if all(place in results.images or place in results.unread for place, _ in group):
        return
    fed = ((example.image, (place, example)) for place, example in group if place not in results.unread)
    for (place, example), trace in traced_beside(model, fed, leave_out, **options):
        if place not in results.images:
            yield place, example, trace


def _leave_out(_: Any, error: ImageError) -> None:
    warn(f"Left out: {error}")


def _values(maps: Any, names: list[str], measure: Measure, place: int, example: Example, trace: Trace) -> Values:
    """Measure the maps of one image; what is wrong with its masks is said with its place."""
    maps = np.asarray(maps)
    if maps.ndim != 4 or len(maps) != len(names):
        got, expected = f"Maps of shape {maps.shape}", f"(candidate, prompt, y, x) with {many(len(names), 'candidate')}"
        raise PromptError(got, expected=expected, fix="Look at what maps(trace) returns.")
    try:
        numbers = measure(maps, example, trace)
    except (PromptError, ImageError) as error:
        what = f"masks of image {place} ({example.name or trace.name}): {error.got}"
        raise type(error)(what, expected=error.expected, fix=error.fix) from error
    named = numbers if isinstance(numbers, Mapping) else {"score": (("candidate",), numbers)}
    return {name: (tuple(axes), np.asarray(array)) for name, (axes, array) in named.items()}


def _dataset(results: ResultStore, names: list[str], stopped: int) -> xr.Dataset:
    import xarray as xr

    known = [results.images[place] for place in sorted(results.images)]
    empty: Values = {"score": (("candidate",), np.zeros(len(names)))}
    data = {
        name: (("image", *axes), np.array([values[name][1] for _, values in known]).reshape(len(known), *array.shape))
        for name, (axes, array) in (known[0][1] if known else empty).items()
    }
    coords = {"image": [name for name, _ in known], "candidate": names}
    unread = [name for name, _ in results.unread.values()]
    return xr.Dataset(data, coords=coords, attrs={**results.attrs, "unread": unread, "stopped": stopped})


def _digest(example: Example) -> str:
    """Fingerprint an image as it is stored, and what is true of it."""
    image = getattr(example.image, "image", example.image)
    if isinstance(image, (str, os.PathLike)):
        try:
            image = Path(image).read_bytes()
        except OSError:
            image = os.fspath(image)
    pixels = image if isinstance(image, str | bytes) else np.asarray(image)
    return fingerprint([pixels, example.masks, example.labels])


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
