"""The models and the one image of an explorer: a new query is answered out of the trace that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.load.bundled import WarningTokenizer, unknown_words
from denseclip_viz.clip.paths import PATHS, paths_together
from denseclip_viz.clip.text.tokenize import unread
from denseclip_viz.errors import ModelNameError, shown_elsewhere
from denseclip_viz.explorers.worker import Report
from denseclip_viz.images import ImageLike, describe, from_bytes
from denseclip_viz.loading import load
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.prompts.articles import fill
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many, short

if TYPE_CHECKING:
    import xarray as xr

BUNDLED = ("bundled-resnet", "bundled-vit", "bundled-vit-cls")
DENOISE = 0.5  # MaskCLIP's threshold
Paths = tuple[DensePath, ...] | None
"""Paths to dense features; None for all that the model has."""
VALUE: Paths = (PATHS["value"],)
Models = Model | str | Mapping[str, Model | str] | Sequence[Model | str] | None


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image to look at: something that `Model.trace` takes, or the bytes of a file with its name."""

    source: ImageLike | bytes
    name: str = ""

    def image(self) -> ImageLike:
        """Decode bytes; everything else is the model's to read."""
        return from_bytes(self.source, name=self.name) if isinstance(self.source, bytes) else self.source


@dataclass(frozen=True, eq=False)
class Query:
    """What is to be shown: prompts on an image, by one of the models, with segments refined or not."""

    image: ImageSource
    model: str
    prompts: Prompts
    geometry: str = "native"  # how the image is fitted to the model's input: or "whole", "tiles"
    smooth: bool = False
    denoise: bool = False
    layers: str = ""  # which to read too, as for `Model.compare`
    paths: Paths = VALUE
    warned: tuple[str, ...] = ()  # what the prompts, as they are typed, are warned of


@dataclass(frozen=True, eq=False)
class Result:
    """What a query was answered with; `status` tells in one line what was shown to what."""

    query: Query
    comparison: xr.Dataset
    segments: xr.Dataset | None  # where refinement was chosen
    trace: Trace
    model: Model
    status: str
    warning: str = ""  # what has to be known about it
    note: str = ""  # how the prompts were read

    def sent(self, template: str, prompt: str) -> str:
        """Say which text was sent for a prompt in a template, or in the mean of all, where it is not the prompt."""
        prompts = self.query.prompts
        templates = [template] if template in prompts.templates else prompts.templates
        first, *others = (text for one in templates for text in prompts.sent(one, prompt))
        if others:
            return f"sent: “{first}” and {len(others)} more"
        return "" if first == prompt else f"sent: “{first}”"


class Session:
    """Answer queries; one forward pass for each image, model, geometry and choice of paths; the last trace is held.

    A model that is given as a name is loaded on its first query, and makes room for the next one.
    """

    def __init__(self, models: Models = None) -> None:
        self._models = models_by_name(models)
        self._loaded: tuple[str, Model] | None = None
        self._warned: list[str] = []  # while it was loaded
        self._traced: tuple[tuple[Any, ...], Trace] | None = None
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
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # before the next is loaded: two may not fit into memory
            with shown_elsewhere() as self._warned:
                self._loaded = (name, load(model))
        return self._loaded[1]

    def run(self, query: Query, report: Report) -> Result:
        """Answer a query, with a new forward pass only where image, model or geometry are new."""
        with shown_elsewhere():
            return self._run(query, report)

    def _run(self, query: Query, report: Report) -> Result:
        report(f"loading {query.model}", 0.0)
        model = self.model(query.model)
        trace = self.trace(query, report)
        _encode_texts(model, query.prompts, report)
        report("comparing", 0.9)
        comparison = model.compare(trace, query.prompts, layers=query.layers or ())
        segments = _segments(model, trace, query) if query.smooth or query.denoise else None
        status = _status(query, trace)
        loading = self._warned if isinstance(self._models[query.model], str) else []
        warning = " ".join(filter(None, [*loading, _warning(model, query, trace, segments)]))
        return Result(query, comparison, segments, trace, model, status, warning, _note(query.prompts))

    def trace(self, query: Query, report: Report) -> Trace:
        """Trace the image, unless the trace that is held has what is needed."""
        model = self.model(query.model)
        key = (query.image, query.model, query.geometry, id(query.paths))
        layers = model.layers_to_record(query.layers) if query.layers else ()
        keys = "key" if query.smooth else ""
        if self._traced is not None and self._traced[0] == key:
            trace = self._traced[1]
            if set(layers) <= set(trace.names) and not (keys and trace.keys is None):
                return trace
        report("looking at the image", 0.1)
        paths = paths_together(model.tower) if query.paths is None else query.paths
        path: Any = list(paths) if len(paths) > 1 else paths[0]  # one has no axis
        trace = model.trace(query.image.image(), geometry=query.geometry, layers=layers, keys=keys, path=path)
        self._traced, self.passes = (key, trace), self.passes + 1
        return trace


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


def _status(query: Query, trace: Trace) -> str:
    y, x = trace.geometry.grid
    refined = [name for name, on in (("denoised", query.denoise), ("smoothed", query.smooth)) if on]
    along = f" along {trace.paths[0]}" if trace.has_path_axis else ""
    parts = [
        query.image.name or describe(query.image.source),
        query.model,
        f"{y} × {x} cells, {query.geometry}",
        f"{many(len(query.prompts), 'prompt')} × {many(len(query.prompts.templates), 'template')}",
        *([many(len(trace.paths), "path")] if trace.has_path_axis else []),
        *([f"segments {' and '.join(refined)}{along}"] if refined else []),
    ]
    return " · ".join(parts)


def _warning(model: Model, query: Query, trace: Trace, segments: xr.Dataset | None) -> str:
    """Write what the package would warn of on the command line."""
    warnings = [*query.warned, *([str(trace.provenance["caution"])] if "caution" in trace.provenance else [])]
    if isinstance(model.tokenizer, WarningTokenizer):
        texts = (text for row in query.prompts.texts for text in row)
        unknown = list(dict.fromkeys(word for text in texts for word in unknown_words(text)))
        more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
        if unknown:
            words = ", ".join(short(word) for word in unknown[:4])
            warnings.append(f"{query.model} has never read {words}{more}: what it says of that means nothing.")
    elif apart := unread(model.tokenizer, (text for row in query.prompts.texts for text in row)):
        warnings.append(apart)
    if segments is not None and bool((segments["labels"] < 0).all()):
        by_cut, rule = "cosine_cut" in segments.attrs, segments.attrs["background"]
        removed = "Prompt denoising removed every prompt: none is likely anywhere."
        warnings.append(f"No pixel is named. {rule.capitalize()}." if by_cut else removed)
    elif segments is not None and segments.sizes["label"] == 1 and "cosine_cut" not in segments.attrs:
        warnings.append("One prompt alone has no competitor: name others beside it, or absent ones.")
    return " ".join(warnings)


def _note(prompts: Prompts) -> str:
    """Say how the prompts were read, where people may mean them, or Python take them, otherwise."""
    listed = next((name for name in prompts.prompts if "," in name), "")
    notes = [f"“{listed}” is one prompt; several go one a line."] if listed else []
    names = [text for synonyms in prompts.synonyms for text in synonyms]
    written = [fill(one, text, articles=False, plural=prompts.plural) for one in prompts.templates for text in names]
    sent = [text for row in prompts.texts for text in row]
    if changed := next((pair for pair in zip(sent, written, strict=True) if pair[0] != pair[1]), None):
        notes.append('Articles are set right, as with articles="right" in Python: “{}”, not “{}”.'.format(*changed))
    return " ".join(notes)


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
