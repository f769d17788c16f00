"""The one loop over images × candidates × a metric; rankings, selections and reports stand on its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz import arguments
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import classes_of, examples
from denseclip_viz.errors import ImageError, LayerError, warn
from denseclip_viz.features.stored_traces import Features, StoredTraces
from denseclip_viz.geometry import Native, Tiles, Whole
from denseclip_viz.maps.finer_choice import Finer, FinerLike, choose_finer
from denseclip_viz.measure.candidates import Candidates
from denseclip_viz.measure.engines import Engine, engine_of, results_of
from denseclip_viz.measure.given_numbers import require_alike
from denseclip_viz.measure.group_work import Group, GroupWork, Measure, Unread, digest_of, on_gpu
from denseclip_viz.measure.map_metric import map_metric
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.measure.store import ResultStore, Values
from denseclip_viz.presets import Preset
from denseclip_viz.progress import bar
from denseclip_viz.validation import check_function

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
    features: Features | None = None,
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
            trace that gives one number for each candidate: an array `(candidate,)`. Several come by name,
            `{"peak": array, "mean": array}`; with other axes as `{"peak": (("candidate", "prompt"), array)}`.
        threshold: A cosine for the metric "iou"; the absent baseline by default.
        store: A file that keeps each image's numbers as they come, so that an interrupted or killed run goes on where
            it was, to the same numbers bit for bit. Images that could not be read are tried again once they changed. Of
            images that are no longer in the data set it keeps the numbers, and they do not count.
        geometry: As for `Model.trace_many`.
        path: As for `Model.trace_many`.
        preset: As for `Model.trace_many`.
        finer: Finer grids on which every candidate is scored again, of the same pass: "guided", "shifted", a factor
            behind it as in "guided:8", a function that makes such a trace of one (`maps.upsampled` by an upsampler of
            your own), a `plus.Student`, whose features stand in the place of the path's; several in a list, or by
            names of your own.
        features: A store that `features.encode` filled, or its folder: dense features are taken from there, and the
            model is asked about texts alone. Numbers are those of a run without it, bit for bit where features are
            kept in "float32" and were encoded in the same batches. What is not in it is refused.
        batch_size: As for `Model.trace_many`.
        unreadable: Called with an image that cannot be read, or whose masks cannot, and its error; by default a warning
            names it.
        engine: Where images are measured: here; `4` or "processes", in as many worker processes; "ray" or
            "ray://HOST:PORT", by workers of Ray; `Processes` and `Ray` say more. Numbers are the same bit for bit. The
            images of a batch go to a worker together, and a batch whose worker is killed is done again.
        progress: Show a bar where somebody can see it.

    Returns:
        `score` (image, candidate), NaN where an image says nothing; where a metric gives numbers by name, these in its
        place. `attrs` hold model, weights, path and versions, `unread` images, and whether it was `stopped`.

    Warns:
        UserWarning: an image or its masks cannot be read and it is left out, or the run was interrupted.

    Raises:
        PromptError: a metric that there is not or that lacks masks or prompts, one that gives something other than a
            number for each candidate, or masks of no prompt.
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
    if not callable(metric):
        classes = classes_of(dataset)
        measure = map_metric(str(metric), model, candidates, threshold=threshold, classes=classes, option="metric")
    options = {"geometry": geometry, "path": path, "preset": preset, "batch_size": batch_size}
    more: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    more |= {"finer": finer, "features": features}
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
    features: Features | None = None,
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
        LayerError: several paths, and a student in the place of one; a path for candidates that have their own; or
            features that lack what candidates take.
    """
    own_options, given = getattr(candidates, "trace_options", {}), {k: v for k, v in options.items() if v is not None}
    _refuse_two_paths(own_options.get("path"), given.get("path"))
    options = {**own_options, **given}
    chosen, total = choose_finer(finer), length_hint(dataset) or None
    own = tuple(candidates.names)
    names, options = _with_finer(own, chosen, options)
    stored = None if features is None else _stored(features, model, dataset, candidates, options, chosen)
    question = {"model": model, "candidates": candidates, "metric": measure, "options": options, "finer": chosen}
    question |= {"features": stored.store.question} if stored else {}
    results, stopped = ResultStore(store, question, summed=collect is not None), 0
    left_out, where = check_function(unreadable, "unreadable") or _leave_out, engine_of(engine)
    work = GroupWork(model, candidates, own, measure, options, digests=store is not None, finer=chosen, features=stored)
    size = arguments.check_batch_size(options.get("batch_size", 8))
    done = results_of(where, work, _groups(dataset, size, results, left_out), gpu=on_gpu(model))
    try:
        with bar("images", wanted=progress, total=total) as advance, closing(done):
            for group, outcome in done:
                if isinstance(outcome, Unread):
                    results.add_unread(outcome.place, outcome.name, outcome.error, digest=outcome.digest)
                    left_out(group.image(outcome.place), outcome.error)
                    continue
                if known := next(iter(results.images.values()), ("", {}))[1]:
                    require_alike(measure, known, outcome.values, outcome.name)
                results.add_attrs(outcome.place, outcome.provenance)
                results.add(outcome.place, outcome.name, outcome.values, digest=outcome.digest)
                advance(len(results.images), total or 0)
    except KeyboardInterrupt:
        stopped = 1
        if not any(place < results.passed for place in results.images):
            raise
    results.settle()
    return (collect or _dataset)(results, names, stopped)


def _refuse_two_paths(own: Any, given: Any) -> None:
    """Refuse a path for candidates that are paths: each would be the same map by another name."""
    if own is None or given is None:
        return
    if (fixed := arguments.choose_paths(own)) != arguments.choose_paths(given):
        names = ", ".join(path.name for path in (fixed if isinstance(fixed, tuple) else (fixed,)))
        got = f"path={given!r} for candidates along paths of their own: {names}"
        raise LayerError(got, expected="one or the other", fix="Leave path out.")


def _stored(
    features: Features,
    model: Model,
    dataset: Iterable[Any],
    candidates: Candidates,
    options: Mapping[str, Any],
    finer: Sequence[Finer],
) -> StoredTraces:
    """Open a store in the place of passes; refuse what takes more than it has."""
    beyond = [*getattr(candidates, "beyond_features", ()), *(one.name for one in finer if one.passes)]
    if beyond:
        got, fix = f"{', '.join(beyond)} of stored features", "Leave it out, or leave features out."
        raise LayerError(got, expected="what dense features alone give", fix=fix)
    stored = StoredTraces.of(features, model, options, pixels=bool(finer))
    stored.check(dataset)
    return stored


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
        results.passed += len(members)
        for place, example in members if results.path is not None else ():
            if place in results.images:
                results.check(place, digest_of(example))
            elif place in results.unread:
                results.retry(place, digest_of(example))
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
