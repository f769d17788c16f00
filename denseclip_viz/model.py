"""A loaded model, to be asked about images and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from denseclip_viz import arguments
from denseclip_viz.attribution.gradients import gradient_maps
from denseclip_viz.clip.forward import Prepared, check_against_forward, check_eval, trace_all
from denseclip_viz.clip.hooks import Record, match, record
from denseclip_viz.clip.load.checkpoints import Loaded
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.text.bank import TextBank, encode_texts, ensemble
from denseclip_viz.clip.text.cache_key import Cache
from denseclip_viz.clip.towers import DensePath, ForwardOptions, Tower, logit_scale, tower_of
from denseclip_viz.clip.towers.tower import choose_path
from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.geometry import Fit, fit_from
from denseclip_viz.html import format_shape, join_names, repr_html
from denseclip_viz.images import ImageLike, describe, readable
from denseclip_viz.maps.comparison import compare, with_gradients, with_layer_readout
from denseclip_viz.maps.layer_readout import read_layers
from denseclip_viz.maps.segment import Background, segment
from denseclip_viz.maps.similarity import classify, similarity
from denseclip_viz.presets import Preset, preset_named
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr
    from PIL import Image


PromptsLike = Prompts | Named
FitLike = str | Fit


class Model:
    """A CLIP with its tokenizer and preprocessing, opened. Never changed by anything that is asked of it.

    Args:
        loaded: What `encode.checkpoints.load_clip` returns.
        cache: Where text vectors are kept on disk, as for `TextBank`.
    """

    def __init__(self, loaded: Loaded, *, cache: Cache = None) -> None:
        self.clip: nn.Module = loaded.clip
        self.preprocess, self.provenance = loaded.preprocess, loaded.provenance
        self.tower: Tower = tower_of(loaded.clip)
        self.texts = TextBank(loaded.clip, loaded.tokenizer, provenance=loaded.provenance, cache=cache)
        self.tokenizer = loaded.tokenizer
        self._checked = False

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that an image goes through."""
        return self.tower.layers

    @property
    def taps(self) -> tuple[str, ...]:
        """Every place that `record` and `trace(layers=…)` can name."""
        return tuple(self.tower.taps())

    def trace(self, image: ImageLike, **options: Any) -> Trace:
        """Open one image in one forward pass.

        Args:
            image: A path, a PIL image, an array `(row, column, rgb)`, or a scene.
            **options: As for `trace_many`.

        Returns:
            Global embedding, dense features, attention, contributions, rest, and what was asked for.
        """
        return next(self.trace_many([image], **options))

    def trace_many(
        self,
        images: Iterable[ImageLike],
        *,
        geometry: FitLike | None = None,
        layers: str | Sequence[str] = (),
        attention: str | Sequence[str] = (),
        keys: str = "",
        path: str | DensePath | None = None,
        preset: str | Preset | None = None,
        batch_size: int = 8,
        unreadable: Callable[[ImageLike, ImageError], object] | None = None,
    ) -> Iterator[Trace]:
        """Open images one after the other, in batches; memory is bounded by the batch.

        Args:
            images: As for `trace`.
            geometry: `"native"` (the model's own resize and crop; the default), `"whole"`, `"tiles"`, or
                `Native()`, `Whole(short=512)`, `Tiles(overlap=0.5)`.
            layers: Taps to keep: names, wildcards, negative indices; `"all"` layers, or `"*"`, every tap.
            attention: Layers whose attention to keep, per head, as taps `LAYER.attention`.
            keys: `"key"` to keep the pool's keys, `"projected"` for the official ViT variant.
            path: The way to dense features, by name or as `DensePath(...)`.
            preset: `"maskclip-paper"` for the paper's geometry, path and keys where they are not given.
            batch_size: Images, or windows of tiles, in one forward pass.
            unreadable: Called with an image that cannot be read and its error, and the work goes on without it;
                by default the error is raised.

        Raises:
            ImageError, GeometryError, LayerError: bad input.
            RecompositionError: the tower is not what it was taken for.
            OutOfMemoryError: the batch does not fit.
        """
        paper = preset_named(preset)
        fit = fit_from(geometry if geometry is not None else paper.geometry)
        batch_size, taps = arguments.check_batch_size(batch_size), arguments.list_names(layers, "layers")
        taps = list(self.tower.layers_to_record(self.layers) or self.layers) if taps == ["all"] else taps
        taps += [f"{name}.attention" for name in arguments.list_names(attention, "attention")]
        options = ForwardOptions(
            path=choose_path(arguments.check_path(paper.path if path is None else path)),
            layers=tuple(match(taps, self.taps)) if taps else (),
            keys=arguments.check_keys(keys) or paper.keys_for(self.tower.family),
        )
        common: dict[str, Any] = {
            "preprocess": self.preprocess,
            "options": options,
            "provenance": {**self.provenance, "path": options.path.name, "tower": self.tower.family},
        }
        untraced = map(arguments.refuse_trace, arguments.require_several(images))
        prepared = (self._prepare(image, upright, fit) for image, upright in readable(untraced, unreadable))
        for trace in trace_all(self.tower, prepared, batch_size=batch_size, **common):
            self._check_once(trace)
            yield trace

    def record(self, *patterns: str) -> AbstractContextManager[Record]:
        """Record named taps while the tower runs: `with model.record("layer*") as seen: …`.

        Args:
            *patterns: Names, wildcards, negative indices; `model.taps` lists the names.

        Raises:
            LayerError: a pattern that names no tap, or a tap that never fired.
        """
        return record(self.tower.taps(), patterns)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed pixels `(image, 3, H, W)`: the tower's plain forward pass, `(image, D)`.

        Raises:
            ImageError: pixels of another shape or type, or whose embedding is not finite.
        """
        check_eval(self.tower.visual)
        pixels, parameter = arguments.require_pixels(pixels, self.preprocess.size), next(self.tower.visual.parameters())
        with torch.no_grad(), memory_guard("the number of images"):
            embedding = self.tower.visual(pixels.to(parameter.device, parameter.dtype))
        return arguments.require_finite(embedding[0] if isinstance(embedding, tuple) else embedding)

    def encode_text(self, texts: Sequence[str], *, truncate: bool = False) -> Tensor:
        """Embed plain texts: `(text, D)`, unit length.

        Raises:
            PromptError: no list of texts, or a text that cannot be encoded as it is.
        """
        return encode_texts(self.clip, self.tokenizer, arguments.list_texts(texts), truncate=truncate)

    def similarity(self, image: ImageLike | Trace, prompts: PromptsLike) -> xr.DataArray:
        """Compare dense features with every prompt in every template: raw cosines (template, prompt, y, x)."""
        prompts = Prompts.of(prompts)
        return similarity(self._trace_of(image), self.texts.encode(prompts), prompts)

    def compare(
        self, image: ImageLike | Trace, prompts: PromptsLike, *, layers: str | Sequence[str] = ()
    ) -> xr.Dataset:
        """Compare the pooled answer with the dense map, prompt by prompt, and layer by layer if asked.

        Args:
            image: A trace, or an image to trace with what is needed.
            prompts: Texts, or `Prompts`.
            layers: Layers to read too: names, wildcards, negative indices, or `"all"`. A transformer's are read in
                text space and must be in the trace (`model.layers_to_record(layers)`); those of a ResNet, ConvNeXt,
                FastViT or Swin are read by gradients, in one further pass.

        Returns:
            See `maps.compare.compare`; with layers also `layer_…` variables and `attrs["layer_readout"]`.
        """
        prompts, wanted = Prompts.of(prompts), self._layers(layers)
        trace = arguments.require_nonzero(self._trace_of(image, layers=self.tower.layers_to_record(wanted)))
        vectors = self.texts.encode(prompts)
        both = compare(trace, vectors, prompts)
        return self._with_layers(both, trace, vectors, wanted) if wanted else both

    def segment(
        self,
        image: ImageLike | Trace,
        prompts: PromptsLike,
        *,
        geometry: FitLike | None = None,
        background: None | float | Sequence[str] | Background = None,
        denoise: float | None = None,
        smooth: str | None = None,
        preset: str | Preset | None = None,
        soft: bool = False,
        size: tuple[int, int] | None = None,
    ) -> xr.Dataset:
        """Name every pixel by its best prompt; several templates are ensembled (mean of unit vectors).

        Args:
            image: A trace, or an image to trace with what is needed.
            prompts: Texts, or `Prompts`.
            geometry: As for `trace`, if an image came.
            background: `None`, a probability, or names of background prompts; prompts marked as background always
                count as such.
            denoise: Threshold of prompt denoising (0: none).
            smooth: `"cosine"` or `"official"` key smoothing (`""`: none).
            preset: `"maskclip-paper"`.
            soft: Give probabilities (label, row, column) too.
            size: `(row, column)` of the answer; the image's own by default.
        """
        paper, prompts = preset_named(preset), Prompts.of(prompts)
        smooth = paper.smooth if smooth is None else smooth
        keys = (paper.keys_for(self.tower.family) or "key") if isinstance(smooth, str) and smooth else ""
        options: dict[str, Any] = {"preset": preset, "geometry": geometry, "keys": keys}
        marked = [name for name, is_so in zip(prompts.prompts, prompts.background, strict=True) if is_so]
        return segment(
            self._trace_of(image, **options),
            ensemble(self.texts.encode(prompts)),
            prompts.prompts,
            scale=self.logit_scale,
            background=Background.of(background).joined(marked),
            denoise=paper.denoise if denoise is None else denoise,
            smooth=smooth,
            soft=soft,
            size=size,
        )

    def classify(self, image: ImageLike | Trace, prompts: PromptsLike) -> xr.DataArray:
        """Give CLIP's ordinary zero-shot probabilities, with the model's own scale: (template, prompt)."""
        prompts, trace = Prompts.of(prompts), arguments.require_nonzero(self._trace_of(image))
        return classify(trace, self.texts.encode(prompts), prompts, scale=self.logit_scale)

    def layers_to_record(self, layers: str | Sequence[str]) -> tuple[str, ...]:
        """Name the taps to trace so that `compare` can read these layers: `trace(image, layers=...)`."""
        return self.tower.layers_to_record(self._layers(layers))

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by: exp(logit_scale)."""
        return logit_scale(self.clip)

    def __repr__(self) -> str:
        return in_a_line(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def _layers(self, layers: str | Sequence[str]) -> list[str]:
        names = arguments.list_names(layers, "layers")
        return list(self.layers) if names == ["all"] else match(names, self.layers)

    def _prepare(self, image: ImageLike, upright: Image.Image, fit: Fit) -> Prepared:
        geometry = fit.plan((upright.height, upright.width), preprocess=self.preprocess, cell=self.tower.cell)
        return Prepared(upright, replace(geometry, shift=self.tower.shift("pool.input")), describe(image))

    def _check_once(self, trace: Trace) -> None:
        if self._checked or trace.pixels is None or trace.geometry.mode != "native":
            return
        check_against_forward(self.tower, trace.pixels[None], ForwardOptions())
        self._checked = True

    def _trace_of(self, image: ImageLike | Trace, **options: Any) -> Trace:
        if not isinstance(image, Trace):
            return self.trace(image, **options)
        return arguments.require_same_model(image, self.provenance, geometry=options.get("geometry"))

    def _with_layers(self, both: xr.Dataset, trace: Trace, vectors: Tensor, wanted: Sequence[str]) -> xr.Dataset:
        path = choose_path(str(trace.provenance.get("path", "value")))
        if self.tower.layers_to_record(wanted):
            return with_layer_readout(
                both, read_layers(self.tower, trace, wanted, path), vectors, self.tower.layer_readout
            )
        if trace.pixels is None:
            raise LayerError("layers of a tiled image", expected="a single window", fix="Trace with 'whole'.")
        maps = gradient_maps(self.tower, trace.pixels, vectors, layers=wanted, path=path)
        shifts = [self.tower.shift(name) for name in maps]
        return with_gradients(both, maps, self.tower.layer_readout, shifts=shifts)


def in_a_line(model: Model) -> str:
    """Name the model, its weights and its pooling, for `repr`."""
    about = model.provenance
    facts = f"{model.tower.family}, {len(model.layers)} layers, {_millions(model):.1f} M"
    return f"Model({about['model']}, {about['weights']}: {facts})"


def as_html(model: Model) -> str:
    """Lay out what a model is, everything escaped; random weights are not to be overlooked."""
    about, size, cell = model.provenance, model.preprocess.size, model.tower.cell
    facts = {
        "weights": f"{about['weights']} ({about['weights_hash']})",
        "pooling": model.tower.family,
        "reads": f"{format_shape(size)} pixels as {size[0] // cell[0]} × {size[1] // cell[1]} positions",
        "layers": join_names(model.layers),
        "parameters": f"{_millions(model):.1f} million",
        "runs": f"{about['dtype']}, {about['device']}, {about['activation']}",
    }
    after, random = 'model.trace("street.jpg")', "random weights: only the mechanics show"
    return repr_html(f"Model {about['model']}", facts, after=after, warning=random if about["random_weights"] else "")


def _millions(model: Model) -> float:
    return sum(parameter.numel() for parameter in model.clip.parameters()) / 1e6
