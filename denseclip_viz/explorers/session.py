"""The models and images of an explorer: a new query is answered out of the traces that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from denseclip_viz import arguments
from denseclip_viz.attribution.attributions import attribute, offered
from denseclip_viz.attribution.effects import direct_effects
from denseclip_viz.canvas.recipe import EFFECTS
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import choose_path, paths_together
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import ModelNameError, shown_elsewhere
from denseclip_viz.explorers.notices import note_of, status_of, warning_of
from denseclip_viz.explorers.query import Query, Result
from denseclip_viz.explorers.recent import Recent
from denseclip_viz.explorers.worker import Report
from denseclip_viz.loading import load
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import xarray as xr

BUNDLED = ("bundled-resnet", "bundled-vit", "bundled-vit-cls")
DENOISE = 0.5  # MaskCLIP's threshold
MEMORY = 256e6  # bytes of traces, and as many of attributions, that an explorer holds
SMALL = 256e6  # bytes of models that are given as names, together: more of them make room for each other
Models = Model | str | Mapping[str, Model | str] | Sequence[Model | str] | None


class Session:
    """Answer queries; one forward pass for each image, model, geometry and choice of paths, as long as it is held.

    What was shown last is held, traces and attributions, as far as memory is granted. A model that is given as a name
    is loaded on its first query; a large one makes room for the next.

    Attributes:
        passes: Images that were traced, and attributions that were made: what ran an image encoder.
    """

    def __init__(self, models: Models = None) -> None:
        self._models = models_by_name(models)
        self._loaded: dict[str, Model] = {}
        self._warned: dict[str, list[str]] = {}  # while they were loaded
        self._traces = Recent[tuple[Any, ...], Trace](MEMORY, size=lambda trace: trace.nbytes)
        self._attributions = Recent[tuple[Any, ...], "xr.DataArray"](MEMORY, size=lambda maps: int(maps.nbytes))
        self.passes = 0

    @property
    def names(self) -> list[str]:
        """The models there are."""
        return list(self._models)

    def model(self, name: str) -> Model:
        """Get a model, and load it if it was given as a name."""
        model = self._models[name]
        if isinstance(model, Model):
            return model
        if name not in self._loaded:
            if sum(map(_size, self._loaded.values())) > SMALL:
                self._loaded = {}  # before the next is loaded: two may not fit into memory
            with shown_elsewhere() as warned:
                self._loaded[name] = load(model)
            self._warned[name] = warned
        return self._loaded[name]

    def add(self, model: Model | str) -> str:
        """Take one more model, unless it is there, and give its name."""
        (wanted, model), *_ = models_by_name(model).items()
        there = next((name for name, known in self._models.items() if known == model), None)
        name = there or _free(wanted, self._models)
        self._models[name] = model
        return name

    def hold_paths(self, query: Query, report: Report) -> None:
        """Trace along all paths of one pass, unless that is held: each of them is answered out of it."""
        with shown_elsewhere():
            self._trace(replace(query, paths=None), report)

    def run(self, query: Query, report: Report, *, adapts: bool = False) -> Result:
        """Answer a query, with a new forward pass only where image, model or geometry are new.

        Where it `adapts`, attributions that the model has not are left out, and the result's query and warning say so.
        """
        with shown_elsewhere():
            return self._answer(query, report, adapts)

    def _answer(self, query: Query, report: Report, adapts: bool) -> Result:
        report(f"loading {query.model}", 0.0)
        model = self.model(query.model)
        missing = [name for name in query.attributions or () if adapts and name not in attributions_of(model)]
        if missing:  # it was chosen of another model
            query = replace(query, attributions=tuple(name for name in query.attributions or () if name not in missing))
        trace = self._trace(query, report)
        _encode_texts(model, query.prompts, report)
        report("comparing", 0.9)
        comparison = model.compare(trace, query.prompts, layers=query.layers or ())
        if query.attributions != ():
            comparison = comparison.assign(attribution=self._attribution(query, trace, report))
        segments = _segments(model, trace, query) if query.smooth or query.denoise else None
        status = status_of(query, trace)
        left_out = f"{query.model} has no {', '.join(missing)}." if missing else ""
        warned = [left_out, *self._warned.get(query.model, []), warning_of(model, query, trace, segments)]
        warning = " ".join(filter(None, warned))
        return Result(query, comparison, segments, trace, model, status, warning, note_of(query.prompts))

    def _trace(self, query: Query, report: Report) -> Trace:
        """Trace the image, unless a trace that is held has what is needed."""
        model, paths = self.model(query.model), self._paths(query)
        layers = model.layers_to_record(query.layers) if query.layers else ()
        trace = self._held(query, paths, layers)
        if trace is None:
            report("looking at the image", 0.1)
            path: Any = list(paths) if len(paths) > 1 else paths[0]  # one has no axis
            options: dict[str, Any] = {"layers": layers, "keys": "key" if query.smooth else "", "path": path}
            key = (*self._base(query), paths)
            self._traces[key] = trace = _looked(model, query, report, **options)
            self.passes += 1
        return trace.with_path(paths[0].name) if len(paths) == 1 else trace

    def _held(self, query: Query, paths: tuple[DensePath, ...], layers: Sequence[str]) -> Trace | None:
        """Find a trace that has these paths, layers, and keys where they are smoothed by."""
        for key in self._traces:
            *base, held = key
            if tuple(base) == self._base(query) and (paths == held or (len(paths) == 1 and paths[0] in held)):
                trace = self._traces.get(key)
                if (
                    trace is not None
                    and set(layers) <= set(trace.names)
                    and (trace.keys is not None or not query.smooth)
                ):
                    return trace
        return None

    def _base(self, query: Query) -> tuple[Any, ...]:
        return query.image, query.model, self.model(query.model).provenance["weights_hash"], query.geometry

    def _paths(self, query: Query) -> tuple[DensePath, ...]:
        if query.paths is not None:
            return query.paths
        return tuple(map(choose_path, paths_together(self.model(query.model).tower)))

    def _attribution(self, query: Query, trace: Trace, report: Report) -> xr.DataArray:
        """Make attributions of the very trace, unless they are held."""
        key = (*self._base(query), query.prompts, query.attributions)
        maps = self._attributions.get(key)
        if maps is None:
            report("going back through the image encoder", 0.92)
            maps = self._attributions[key] = attributions(self.model(query.model), trace, query)
            self.passes += 1
        return maps


def attributions_of(model: Model) -> tuple[str, ...]:
    """Name the attributions that an explorer can show of a model."""
    return (*offered(model.tower), *([EFFECTS] if "pool.attention" in model.tower.taps() else []))


def attributions(model: Model, trace: Trace, query: Query) -> xr.DataArray:
    """Make the attributions that a query names, with direct effects among them; all that the tower offers for None.

    Raises:
        LayerError: One that the tower does not offer, or an image in tiles.
    """
    import xarray as xr

    names = attributions_of(model) if query.attributions is None else query.attributions
    maps = []
    if methods := [name for name in names if name != EFFECTS]:
        maps.append(attribute(model, trace, query.prompts, methods))
    if EFFECTS in names:
        summed = direct_effects(model, trace, query.prompts)["position"].sum("layer", keep_attrs=True)
        maps.append(summed.expand_dims(candidate=[EFFECTS]).assign_coords(unit=("candidate", ["cosine"])))
    return maps[0] if len(maps) == 1 else xr.concat(maps, "candidate", combine_attrs="override")


@guarded
def _looked(model: Model, query: Query, report: Report, **options: Any) -> Trace:
    """Trace the image as `Model.trace` does, and tell how many windows are done: of a photo in tiles it takes long."""

    def on_window(done: int, every: int) -> None:
        report(f"looking at the image, {done} of {many(every, 'window')}", 0.1 + 0.4 * done / every)

    options |= {"geometry": query.geometry, "on_window": on_window}
    tracing = arguments.tracing(model.tower, model.preprocess, model.provenance, model.checked, 0, **options)
    (trace,) = tracing.traces([[arguments.refuse_trace(query.image.image())]])
    return trace


def _size(model: Model) -> int:
    return sum(tensor.nbytes for tensor in model.clip.state_dict().values())


def _encode_texts(model: Model, prompts: Prompts, report: Report) -> None:
    """Encode the texts; the bank holds them, so that comparing them is quick."""
    report(f"reading {many(len(prompts.prompt_index) * len(prompts.templates), 'text')}", 0.5)

    def on_progress(done: int, new: int) -> None:
        report(f"reading texts, {done} of {new}", 0.5 + 0.4 * done / new)

    model.texts.encode(prompts, progress=on_progress)


def _segments(model: Model, trace: Trace, query: Query) -> xr.Dataset:
    """Refine segments along the first path, no larger than the image that is shown."""
    return model.segment(
        trace.with_path(trace.paths[0]),
        query.prompts,
        smooth="cosine" if query.smooth else "",
        denoise=DENOISE if query.denoise else 0.0,
        size=trace.image.shape[:2],
    )


def models_by_name(models: Models) -> dict[str, Model | str]:
    """Name the models that were given, each once; the bundled ones by default.

    Raises:
        ModelNameError: No models, or something else.

    Example:
        >>> models_by_name("ViT-B-16"), list(models_by_name(None))
        ({'ViT-B-16': 'ViT-B-16'}, ['bundled-resnet', 'bundled-vit', 'bundled-vit-cls'])
    """
    if isinstance(models, Mapping):
        named = {str(name): _checked(model) for name, model in models.items()}
    else:
        listed = BUNDLED if models is None else [models] if isinstance(models, Model | str) else models
        if not isinstance(listed, Sequence):
            raise _no_model(models)
        named = {}
        for model in map(_checked, listed):
            named[_free(model if isinstance(model, str) else str(model.provenance["model"]), named)] = model
    if named:
        return named
    raise ModelNameError("No models came", expected="at least one", fix="Leave it out for the bundled ones.")


def _checked(model: object) -> Model | str:
    if isinstance(model, Model | str):
        return model
    raise _no_model(model)


def _no_model(value: object) -> ModelNameError:
    got, expected = f"An object of type {type(value).__name__}", "a model, the name of one, or several"
    return ModelNameError(got, expected=expected, fix="Pass what denseclip_viz.load returns.")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return next(free for free in (name, *numbered) if free not in taken)
