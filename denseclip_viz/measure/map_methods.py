"""Ways to a map of a prompt, by name: dense paths, parts of the score, attributions, and placebos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz import arguments
from denseclip_viz.attribution.attributions import attribution_maps, choose_methods, offered
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import PATHS, choose_path, paths_together
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.fingerprint import by_texts, fingerprint
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.given_numbers import as_array
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.model import Model
from denseclip_viz.progress import bar
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import refuse_twice

Draw = Callable[[Model, Trace, Tensor], Any]
"""From a model, a trace of one path, `dense` `(y, x, D)`, and unit vectors `(prompt, D)` to maps `(prompt, y, x)`."""

Methods = str | DensePath | Draw | Sequence[str | DensePath | Draw] | None


def _contribution(_: Model, trace: Trace, vectors: Tensor) -> Tensor:
    return torch.einsum("yxd,pd->pyx", trace.contributions, vectors / trace.global_embedding.norm())


def _attention(_: Model, trace: Trace, vectors: Tensor) -> Tensor:
    return trace.attention.mean(0).expand(len(vectors), -1, -1)


def _attention_times_score(model: Model, trace: Trace, vectors: Tensor) -> Tensor:
    score = F.normalize(trace.global_embedding, dim=-1) @ vectors.T
    return score[:, None, None] * _attention(model, trace, vectors)


def _random(_: Model, trace: Trace, vectors: Tensor) -> Tensor:
    assert trace.pixels is not None
    # by the signs of a text's vector: its last bits are other ones on another kind of processor
    seeds = [int(fingerprint([trace.pixels, vector > 0]), 16) for vector in vectors]
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(trace.geometry.grid) for seed in seeds]))


def _centre(_: Model, trace: Trace, vectors: Tensor) -> Tensor:
    rows, columns = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in trace.geometry.grid)
    return (-(rows[:, None] ** 2) - columns**2).exp().expand(len(vectors), -1, -1)


VIEWS: dict[str, Draw] = {
    "contribution": _contribution,
    "attention": _attention,
    "attention-times-score": _attention_times_score,
}
PLACEBOS: dict[str, Draw] = {"random": _random, "centre": _centre}


def of_path(path: DensePath) -> Draw:
    """Compare the dense features of a path with each prompt: raw cosines."""

    def draw(_: Model, trace: Trace, vectors: Tensor) -> Tensor:
        features = trace.dense[trace.paths.index(path.name)] if trace.has_path_axis else trace.dense
        return cosine_maps(features, vectors[None])[0]

    return draw


def of_attribution(name: str) -> Draw:
    """Attribute the global score of each prompt, by one method in a pass of its own."""

    def draw(model: Model, trace: Trace, vectors: Tensor) -> Tensor:
        assert trace.pixels is not None
        return attribution_maps(model.tower, trace.pixels, vectors, [name])[name]

    return draw


@dataclass(frozen=True)
class MapMethod:
    """One way to a map.

    Attributes:
        name: What it is called.
        draw: What makes the maps.
        path: Whose dense features a trace must hold for it, if any.
        traced: Whether it reads more of a trace than its pixels.
        attribution: Whether it is one of `attribution.methods`: they are made together.
    """

    name: str
    draw: Draw
    path: DensePath | None = None
    traced: bool = True
    attribution: bool = False

    def maps(self, model: Model, trace: Trace, vectors: Tensor) -> Any:
        """Draw from a trace; what is no path itself has the first path alone: no axis of paths is in its way."""
        return self.draw(model, trace if self.path else trace.with_path(trace.paths[0]), vectors)


@dataclass(frozen=True)
class MapMethods:
    """Ways to a map of a prompt as candidates for `evaluate`: paths and parts of the score from one forward pass.

    Attributes:
        model: Whose maps they are.
        methods: The ways.
        prompts: `(prompt,)`.
        absent: `(prompt,)`, which prompts are known not to be in any image.
        vectors: `(prompt, D)`, each the mean of its templates, of length 1.
        texts: What they are of (`TextBank.identity_of`).
    """

    model: Model
    methods: tuple[MapMethod, ...]
    prompts: tuple[str, ...]
    absent: tuple[bool, ...]
    vectors: Tensor
    texts: str = ""
    fingerprinted = by_texts

    @classmethod
    def of(cls, model: Model, prompts: Prompts, methods: Methods, *, progress: bool = False) -> MapMethods:
        """Find ways by their names; all that the model has by default, and the placebo `random`.

        Raises:
            LayerError: a way that there is not, there twice, or none.
        """
        chosen, prompts = several(methods), Prompts.of(prompts)
        named = tuple(method_named(model, method) for method in (method_names(model) if chosen is None else chosen))
        if not named:
            raise LayerError("No methods", expected=_known(model), fix="Name one, or leave methods out for all.")
        refuse_twice([method.name for method in named], "methods")
        with bar("texts", wanted=progress) as advance:
            vectors = ensemble(model.texts.encode(prompts, progress=advance))
        return cls(model, named, prompts.prompts, prompts.absent, vectors, model.texts.identity_of(prompts))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(method.name for method in self.methods)

    @property
    def paths(self) -> tuple[DensePath, ...]:
        """The paths that a trace holds for them; the value path where none is asked for."""
        return tuple(method.path for method in self.methods if method.path) or (PATHS["value"],)

    @property
    def trace_options(self) -> Mapping[str, Any]:
        """All paths of one pass."""
        return {"path": list(self.paths)}

    @property
    def beyond_features(self) -> tuple[str, ...]:
        """Those that take more than dense features: other parts of a pass, pixels, or gradients."""
        return tuple(one.name for one in self.methods if one.attribution or one.name in (*VIEWS, "random"))

    def maps(self, trace: Trace) -> Floats:
        """Make the maps of all prompts, `(method, prompt, y, x)`."""
        return self.drawn(self.model, trace, self.vectors)

    def drawn(self, model: Model, trace: Trace, vectors: Tensor) -> Floats:
        """Make maps of any texts' vectors, by a model and a trace of its own.

        Raises:
            GeometryError: a trace of tiles where a way is no path, or maps that are not on its grid.
            LayerError: maps with NaN or infinity, which have no order that could be right or wrong.
        """
        if not all(method.path for method in self.methods):
            one_input(trace)
        attributed = [method.name for method in self.methods if method.attribution]
        pixels = trace.pixels if attributed else None
        together = {} if pixels is None else attribution_maps(model.tower, pixels, vectors, attributed)
        every = [together[one.name] if one.attribution else one.maps(model, trace, vectors) for one in self.methods]
        shape, named = (len(vectors), *trace.geometry.grid), zip(self.names, every, strict=True)
        return np.stack([_finite(name, as_array(each), shape, trace.name) for name, each in named])


def _finite(name: str, maps: np.ndarray, shape: tuple[int, ...], image: str) -> Floats:
    if maps.shape != shape or maps.dtype.kind not in "biuf":
        got, expected = f"Maps of {name!r} of shape {maps.shape}, {maps.dtype}", f"numbers (prompt, y, x) = {shape}"
        raise GeometryError(got, expected=expected, fix="Bring them to the grid of the trace.")
    if not np.isfinite(maps).all():
        got, fix = f"Maps of {name!r} for {image} with NaN or infinity", "Say least where nothing is known: 0, say."
        raise LayerError(got, expected="finite numbers at all positions", fix=fix)
    return maps.astype(np.float64)


def one_input(trace: Trace) -> Tensor:
    """Give the input of the tower that a trace is of.

    Raises:
        GeometryError: a trace of tiles.

    Example:
        >>> import denseclip_viz as dcv
        >>> one_input(dcv.load().trace(dcv.toyworld.scene("a taxi", size=64))).shape
        torch.Size([3, 256, 256])
    """
    if trace.pixels is None:
        got, fix = "A trace of tiles", "Take geometry='native' or geometry='whole'."
        raise GeometryError(got, expected="one input that gradients and changed pixels go through", fix=fix)
    return trace.pixels


def method_names(model: Model) -> tuple[str, ...]:
    """List the ways that a model has to a map of a prompt, and the placebos last but `centre`."""
    paths = [name for name in model.paths if choose_path(name).antialias]
    return (*paths, *VIEWS, *offered(model.tower), "random")


@guarded
def path_candidates(
    model: Model, prompts: Prompts, paths: Sequence[str | DensePath] | None = None, *, progress: bool = False
) -> MapMethods:
    """Compare recipes of dense features, from one forward pass an image: which sees the prompts best.

    Args:
        model: A loaded model.
        prompts: Several templates of a prompt are one mean vector.
        paths: Names, or each a `DensePath` of your own; by default all that the model offers, but for what resizes
            positions in another way than the model does.
        progress: Show a bar while texts are encoded.

    Returns:
        Candidates for `evaluate`, one for each path.

    Raises:
        LayerError: A path that there is not, or none.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, prompts = dcv.load(), dcv.Prompts(["a taxi", "a road"])
        >>> paths = dcv.measure.path_candidates(model, prompts, ["value", "vanilla"])
        >>> scenes = dcv.toyworld.dataset(2, "test", size=128)
        >>> dcv.measure.evaluate(model, scenes, paths, "margin_runner_up", progress=False).candidate.values.tolist()
        ['value', 'vanilla']
    """
    asked = paths_together(model.tower) if paths is None else paths
    chosen = arguments.choose_paths([asked] if isinstance(asked, str | DensePath) else asked)
    assert isinstance(chosen, tuple)
    return MapMethods.of(model, prompts, chosen, progress=progress)


@guarded
def attribution_candidates(
    model: Model, prompts: Prompts, methods: str | Sequence[str] | None = None, *, progress: bool = False
) -> MapMethods:
    """Compare attributions: which method's maps find the prompts best; all are made of one pass beside the trace.

    A metric that ranks positions or prompts within a map is fair to all; one that cuts at a number is not, since each
    method has units of its own.

    Args:
        model: A loaded model.
        prompts: Several templates of a prompt are one mean vector.
        methods: Names; all that the model offers by default (`attribution.methods`).
        progress: Show a bar while texts are encoded.

    Returns:
        Candidates for `evaluate`, one for each method.

    Raises:
        LayerError: A method that the model does not offer, or none.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, prompts = dcv.load(), dcv.Prompts(["a taxi", "a road"])
        >>> candidates = dcv.measure.attribution_candidates(model, prompts, ["grad-cam", "relevance"])
        >>> scenes = dcv.toyworld.dataset(2, "test", size=128)
        >>> dcv.measure.evaluate(model, scenes, candidates, "pointing_hit", progress=False).candidate.values.tolist()
        ['grad-cam', 'relevance']
    """
    return MapMethods.of(model, prompts, choose_methods(model.tower, methods), progress=progress)


def several(methods: Methods) -> tuple[str | DensePath | Draw, ...] | None:
    """List what is asked for, one or several, so that it can be asked of more than one image; None is all.

    Example:
        >>> several("value"), several(iter(["value", "vanilla"])), several(None)
        (('value',), ('value', 'vanilla'), None)
    """
    chosen: Any = methods
    alone = isinstance(chosen, str) or callable(chosen) or not isinstance(chosen, Iterable)
    return None if chosen is None else (chosen,) if alone else tuple(chosen)


def method_named(model: Model, method: str | DensePath | Draw) -> MapMethod:
    """Find one way by its name.

    Raises:
        LayerError: a way that there is not.

    Example:
        >>> import denseclip_viz as dcv
        >>> method_named(dcv.load(), "grad-cam").attribution
        True
    """
    if isinstance(method, DensePath) or (isinstance(method, str) and method in model.paths):
        path = choose_path(method)
        return MapMethod(path.name, of_path(path), path)
    if callable(method):
        return MapMethod(getattr(method, "__name__", type(method).__name__), method)
    name = method if isinstance(method, str) else ""
    if name in offered(model.tower):
        return MapMethod(name, of_attribution(name), traced=False, attribution=True)
    for table, traced in ((VIEWS, True), (PLACEBOS, False)):
        if name in table:
            return MapMethod(name, table[name], traced=traced)
    raise LayerError(f"method {method!r}", expected=_known(model), fix="Or pass a DensePath, or a function.")


def _known(model: Model) -> str:
    return f"some of {', '.join(dict.fromkeys((*method_names(model), *PLACEBOS)))}"
