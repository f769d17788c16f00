"""The models and the one image on the table: a new question is answered out of the trace that is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseclip_viz.clip.load.bundled import WarningTokenizer, unknown_words
from denseclip_viz.errors import ModelNameError
from denseclip_viz.explorers.worker import Tell
from denseclip_viz.images import ImageLike, describe, from_bytes
from denseclip_viz.loading import load
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many, short

if TYPE_CHECKING:
    import xarray as xr


DENOISE = 0.5  # MaskCLIP's threshold


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image to look at: something that `Model.trace` takes, or the bytes of a file with its name."""

    source: ImageLike | bytes
    name: str = ""

    def opened(self) -> ImageLike:
        """Decode bytes; everything else is the model's to read."""
        return from_bytes(self.source, name=self.name) if isinstance(self.source, bytes) else self.source


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be shown.

    Attributes:
        image: Of what.
        model: The name of one of the models.
        prompts: Prompts and templates.
        geometry: How the image is fed: "native", "whole" or "tiles".
        smooth: Refine the segments by key smoothing.
        denoise: Refine them by prompt denoising.
        layers: Which layers to read too, as for `Model.compare`.
    """

    image: ImageSource
    model: str
    prompts: Prompts
    geometry: str = "native"
    smooth: bool = False
    denoise: bool = False
    layers: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a question was answered with.

    Attributes:
        question: The question.
        result: What `Model.compare` returned.
        segments: What `Model.segment` returned, where refinement was asked for.
        trace: The trace that it came from.
        model: What made them.
        status: One line: what was shown to what, and how long it took.
        warning: What has to be known about it, or nothing.
    """

    question: Question
    result: xr.Dataset
    segments: xr.Dataset | None
    trace: Trace
    model: Model
    status: str
    warning: str = ""


class Bench:
    """Answers questions; one forward pass for each image, model and geometry, and only the last is kept.

    Args:
        models: A model, its name, several of them, or a mapping from names; the bundled ones by default. What came as
            a name is loaded when it is first asked for, and makes way for the next one.

    Raises:
        ModelNameError: No models, two of one name, or something else.
    """

    def __init__(self, models: Models = None) -> None:
        self._given = named(models)
        self._loaded: tuple[str, Model] | None = None
        self._traced: tuple[tuple[Any, ...], Trace] | None = None
        self.passes = 0

    @property
    def names(self) -> list[str]:
        """The models there are."""
        return list(self._given)

    def model(self, name: str) -> Model:
        """Get a model, and load it if it came as a name.

        Raises:
            ModelNameError, WeightsError: as `load`.
        """
        given = self._given[name]
        if isinstance(given, Model):
            return given
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            self._loaded = (name, load(given))
        return self._loaded[1]

    def answer(self, question: Question, tell: Tell) -> Answer:
        """Answer a question, with a new forward pass only where image, model or geometry are new.

        Args:
            question: The question.
            tell: Told what is being done.

        Raises:
            DenseclipVizError: whatever is wrong with image, texts or model.
        """
        tell(f"loading {question.model}", 0.0)
        model, began = self.model(question.model), time.perf_counter()
        trace = self.trace(question, tell)
        _read(model, question.prompts, tell)
        tell("comparing", 0.9)
        result = model.compare(trace, question.prompts, layers=question.layers or ())
        segments = _segments(model, trace, question) if question.smooth or question.denoise else None
        spent = time.perf_counter() - began
        status, warning = _status(question, trace, spent), _warning(model, question, segments)
        return Answer(question, result, segments, trace, model, status, warning)

    def trace(self, question: Question, tell: Tell) -> Trace:
        """Open the image, unless the trace that is kept has what is needed."""
        model = self.model(question.model)
        key = (question.image, question.model, question.geometry)
        layers, keys = (
            (model.layers_to_record(question.layers) if question.layers else ()),
            "key" if question.smooth else "",
        )
        if self._traced is not None and self._traced[0] == key and _serves(self._traced[1], layers, keys):
            return self._traced[1]
        tell("looking at the image", 0.1)
        opened = question.image.opened()
        trace = model.trace(opened, geometry=question.geometry, layers=layers, keys=keys)
        self._traced, self.passes = (key, trace), self.passes + 1
        return trace


def _serves(trace: Trace, layers: Sequence[str], keys: str) -> bool:
    return set(layers) <= set(trace.names) and not (keys and trace.keys is None)


def _read(model: Model, prompts: Prompts, tell: Tell) -> None:
    """Encode the texts; they are remembered, so that comparing them is quick."""
    tell(f"reading {many(len(prompts.prompt_index) * len(prompts.templates), 'text')}", 0.5)

    def told(done: int, new: int) -> None:
        tell(f"reading texts, {done} of {new}", 0.5 + 0.4 * done / new)

    model.texts.encode(prompts, progress=told)


def _segments(model: Model, trace: Trace, question: Question) -> xr.Dataset:
    """Refined segments, no larger than the image that is shown."""
    return model.segment(
        trace,
        question.prompts,
        smooth="cosine" if question.smooth else "",
        denoise=DENOISE if question.denoise else 0.0,
        size=trace.image.shape[:2],
    )


def _status(question: Question, trace: Trace, spent: float) -> str:
    y, x = trace.geometry.grid
    template = many(len(question.prompts.templates), "template")
    refined = [name for name, on in (("denoised", question.denoise), ("smoothed", question.smooth)) if on]
    parts = [
        question.image.name or describe(question.image.source),
        question.model,
        f"{y} × {x} cells, {question.geometry}",
        f"{many(len(question.prompts), 'prompt')} × {template}",
        *([f"segments {' and '.join(refined)}"] if refined else []),
        f"{spent * 1000:.0f} ms",
    ]
    return " · ".join(parts)


def _warning(model: Model, question: Question, segments: xr.Dataset | None) -> str:
    """What the package would warn of on the command line."""
    said = []
    if isinstance(model.tokenizer, WarningTokenizer):
        texts = (text for row in question.prompts.texts for text in row)
        unknown = list(dict.fromkeys(word for text in texts for word in unknown_words(text)))
        more = f" and {len(unknown) - 4} more" if len(unknown) > 4 else ""
        if unknown:
            words = ", ".join(short(word) for word in unknown[:4])
            said.append(f"{question.model} has never read {words}{more}: what it says of that means nothing.")
    if segments is not None and bool((segments["labels"] < 0).all()):
        said.append("Prompt denoising removed every prompt: none is likely anywhere.")
    return " ".join(said)


BUNDLED = ("bundled-resnet", "bundled-vit")
Models = Model | str | Mapping[str, Model | str] | Sequence[Model | str] | None


def named(models: Models) -> dict[str, Model | str]:
    """Name the models that came, each once; what came as a name is loaded when it is asked for.

    Args:
        models: A model, its name, several of them, or a mapping from names; the bundled ones by default.

    Raises:
        ModelNameError: No models, or something else.

    Example:
        >>> named("ViT-B-16"), list(named(None))
        ({'ViT-B-16': 'ViT-B-16'}, ['bundled-resnet', 'bundled-vit'])
    """
    if models is None:
        return {name: name for name in BUNDLED}
    if isinstance(models, Mapping):
        found = {str(name): _model(one) for name, one in models.items()}
    else:
        several = [models] if isinstance(models, Model | str) else _several(models)
        found = {}
        for one in several:
            found.setdefault(_free(_name(one), found), _model(one))
    if found:
        return found
    raise ModelNameError("No models came", expected="at least one", fix="Leave it out for the bundled ones.")


def _several(models: object) -> list[Model | str]:
    if isinstance(models, Sequence):
        return list(models)
    raise _no_model(models)


def _model(one: object) -> Model | str:
    if isinstance(one, Model | str):
        return one
    raise _no_model(one)


def _no_model(one: object) -> ModelNameError:
    expected = "a model, the name of one, or several"
    return ModelNameError(
        f"An object of type {type(one).__name__}", expected=expected, fix="Pass what denseclip_viz.load returns."
    )


def _name(one: object) -> str:
    known = _model(one)
    return known if isinstance(known, str) else str(known.provenance["model"])


def _free(name: str, taken: Mapping[str, Any]) -> str:
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)
