"""A loaded model, to be asked about images and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from denseclip_viz import arguments
from denseclip_viz.clip import summary
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.forward import embed
from denseclip_viz.clip.hooks import Recording, record
from denseclip_viz.clip.load.checkpoints import Loaded
from denseclip_viz.clip.paths import paths_of
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.disk_cache import Cache
from denseclip_viz.clip.text.encode import encode_texts, ensemble
from denseclip_viz.clip.towers import Tower, logit_bias, logit_scale, tower_of
from denseclip_viz.errors import ImageError
from denseclip_viz.geometry import Fit
from denseclip_viz.images import ImageLike
from denseclip_viz.maps import comparison, finer_choice, layer_maps, segment, similarity
from denseclip_viz.presets import Preset, preset_named
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr

Asked = ImageLike | Trace
PromptsLike = Prompts | Named
FitLike = str | Fit
PathLike = str | DensePath | Sequence[str | DensePath]


@guarded
class Model:
    """A CLIP with its tokenizer and preprocessing, as `load` opens it. Never changed by anything that is asked of it.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.load().layers
        ('stem', 'layer1', 'layer2', 'layer3', 'layer4')
    """

    def __init__(self, loaded: Loaded, *, cache: Cache = None) -> None:
        self.clip: nn.Module = loaded.clip
        self._loaded, self.preprocess, self.tokenizer = loaded, loaded.preprocess, loaded.tokenizer
        self.tower: Tower = tower_of(loaded.clip)
        self.texts = TextBank(loaded.clip, self.tokenizer, provenance=loaded.provenance, cache=cache, live=loaded.live)
        self.checked: set[str] = set()

    @property
    def provenance(self) -> dict[str, str | int]:
        """What the model is and where it is from; of a model in memory as it is now."""
        return self._loaded.described()

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that an image goes through: `("stem", "layer1", …)`."""
        return self.tower.layers

    @property
    def taps(self) -> tuple[str, ...]:
        """Every place that `record` and `trace(layers=…)` can name: `("stem", "layer1.0", …)`."""
        return tuple(self.tower.taps())

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that give dense features of their own in this tower; `clip.paths.PATHS` says from which papers."""
        return paths_of(self.tower)

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by: exp(logit_scale)."""
        return logit_scale(self.clip)

    @property
    def logit_bias(self) -> float | None:
        """What the model adds before its sigmoid, if it was trained with one (SigLIP)."""
        return logit_bias(self.clip)

    def trace(
        self,
        image: ImageLike,
        *,
        geometry: FitLike | None = None,
        layers: str | Sequence[str] = (),
        attention: str | Sequence[str] = (),
        keys: str = "",
        path: PathLike | None = None,
        preset: str | Preset | None = None,
        keep: str | Sequence[str] | None = None,
        device: str | torch.device = "cpu",
        batch_size: int = 8,
    ) -> Trace:
        """Open one image in one forward pass.

        Args:
            image: A path, a PIL image, an array `(row, column, rgb)`, or a scene.
            geometry: `"native"` (the model's own crop, the default), `"whole"`, `"tiles"`, or `Whole(short=512)` …
            layers: Taps to keep: names, wildcards, negative indices; `"all"` layers, or `"*"`, every tap.
            attention: Layers whose attention to keep, per head, as taps `LAYER.attention`.
            keys: `"key"` to keep the pool's keys, `"projected"` for the official ViT variant.
            path: The path to dense features, by name or as `DensePath(...)`; a list, of one pass, gives dense an axis.
            preset: `"maskclip-paper"` for the paper's geometry, path and keys where they are not given.
            keep: Which of `dense, attention, contributions, even, pixels, image` beside `global`; by default all.
                Without contributions and even, the first image alone is checked to recompose.
            device: Where the trace is to be.
            batch_size: Images, or windows of tiles, in one forward pass.

        Returns:
            Global embedding, dense features, attention, contributions, rest, and what was asked for.

        Raises:
            DenseclipVizError: bad input, a tower that is not what it seems, or an image that does not fit.

        Example:
            >>> import denseclip_viz as dcv
            >>> trace = dcv.load().trace(dcv.toyworld.scene("a red car on grass", size=64), path=["value", "vanilla"])
            >>> trace.paths, trace.dense.shape
            (('value', 'vanilla'), torch.Size([2, 8, 8, 128]))
        """
        options: dict[str, Any] = {"geometry": geometry, "layers": layers, "attention": attention, "keys": keys}
        options |= {"path": path, "preset": preset, "keep": keep, "device": device, "batch_size": batch_size}
        (trace,) = self.trace_many([image], **options, workers=0)
        return trace

    def trace_many(
        self,
        images: Iterable[ImageLike],
        *,
        geometry: FitLike | None = None,
        layers: str | Sequence[str] = (),
        attention: str | Sequence[str] = (),
        keys: str = "",
        path: PathLike | None = None,
        preset: str | Preset | None = None,
        keep: str | Sequence[str] | None = None,
        device: str | torch.device = "cpu",
        batch_size: int = 8,
        workers: int | None = None,
        unreadable: Callable[[ImageLike, ImageError], object] | None = None,
    ) -> Iterator[Trace]:
        """Return the traces of images, in their order, each when it is asked for; memory is bounded by a few batches.

        Options are those of `trace`. `unreadable` is called with an image that cannot be read and its error, which is
        raised by default. `workers` threads prepare images a batch ahead. With `device="cuda"` the traces of a batch
        share its memory: clone what outlives it.

        Example:
            >>> import denseclip_viz as dcv
            >>> scenes = [dcv.toyworld.scene(text, size=64) for text in ("a red car", "a taxi")]
            >>> [trace.attention.shape for trace in dcv.load().trace_many(scenes)]
            [torch.Size([12, 8, 8]), torch.Size([12, 8, 8])]
        """
        options: dict[str, Any] = {"geometry": geometry, "layers": layers, "attention": attention, "keys": keys}
        options |= {"path": path, "preset": preset, "keep": keep, "device": device, "batch_size": batch_size}
        tracing = arguments.tracing(self.tower, self.preprocess, self.provenance, self.checked, workers, **options)
        yield from tracing.traces([map(arguments.refuse_trace, arguments.require_several(images))], unreadable)

    def record(self, *patterns: str) -> AbstractContextManager[Recording]:
        """Record taps while the tower runs: names that `model.taps` lists, wildcards, negative indices.

        Returns:
            A context that gives a mapping from names of taps to what they saw last; one that is silent is an error.

        Example:
            >>> import denseclip_viz as dcv
            >>> model = dcv.load()
            >>> with model.record("layer*", "pool.attention") as recorded:
            ...     _ = model.encode_image(model.trace(dcv.toyworld.scene("a taxi", size=64)).pixels[None])
            >>> recorded["layer4"].shape, recorded["pool.attention"].shape
            (torch.Size([1, 768, 8, 8]), torch.Size([1, 12, 65]))
        """
        return record(self.tower.taps(), patterns)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return the tower's plain pass of preprocessed pixels `(image, 3, H, W)`: `(image, D)`, not normalised.

        Raises:
            ImageError: pixels of another shape or type, or whose embedding is not finite.

        Example:
            >>> import denseclip_viz as dcv
            >>> model = dcv.load()
            >>> model.encode_image(model.trace(dcv.toyworld.scene("a taxi", size=64)).pixels[None]).shape
            torch.Size([1, 128])
        """
        return arguments.require_finite(embed(self.tower, arguments.require_pixels(pixels, self.preprocess.size)))

    def encode_text(self, texts: Sequence[str], *, truncate: bool = False) -> Tensor:
        """Return the unit vectors `(text, D)` of plain texts; `truncate` cuts those that are too long.

        Raises:
            PromptError: no list of texts, or a text that cannot be encoded as it is.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.load().encode_text(["a red car", "grass"]).shape
            torch.Size([2, 128])
        """
        return encode_texts(self.clip, self.tokenizer, arguments.list_texts(texts), truncate=truncate)

    def similarity(self, image: Asked, prompts: PromptsLike, *, geometry: FitLike | None = None) -> xr.DataArray:
        """Return raw cosines of dense features with every prompt in every template: `(template, prompt, y, x)`.

        `image` is a trace, or an image to trace in a `geometry` as for `trace`; `prompts` are texts, or `Prompts`. The
        maps stand behind a `path` axis if the trace has one; `y`, `x` are pixel centres in the image.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.load().similarity(dcv.toyworld.scene("a red car on grass", size=64), ["a red car", "grass"]).dims
            ('template', 'prompt', 'y', 'x')
        """
        prompts = Prompts.of(prompts)
        return similarity.similarity(self._trace_of(image, geometry=geometry), self.texts.encode(prompts), prompts)

    def compare(
        self, image: Asked, prompts: PromptsLike, *, geometry: FitLike | None = None, layers: str | Sequence[str] = ()
    ) -> xr.Dataset:
        """Compare the pooled answer with the dense map, prompt by prompt, and layer by layer if asked.

        Args:
            image: A trace, or an image to trace with what is needed.
            prompts: Texts, or `Prompts`.
            geometry: As for `trace`, with an image.
            layers: Layers to read too, as for `trace`, or `"all"`. A transformer's must be in the trace
                (`model.layers_to_record(layers)`); those of others are read by gradients, in one further pass.

        Returns:
            In cosine units `dense`, `contribution` and `gap` (what an even look would add, minus what it adds), each
            `(template, prompt, y, x)`; `score`, `even_score` of each text, and `rest`, `gap_rest` (term), what is of no
            position: contributions and rest sum to the score, gap and its rest to even score − score. How far
            pooled and dense agree: `crowding`, `spearman`, `same_peak`, `attention_in_top_decile` of each text,
            `global_vs_mean_dense`, `global_vs_attended_dense`. `attention` (y, x), `attention_heads` (head, y, x), and
            `image`. `y`, `x` are pixel centres. Of a list of paths, what hangs on them stands behind a `path` axis.
            With layers also `layer_…` variables, and in `attrs["layer_readout"]` how they were read.

        Example:
            >>> import denseclip_viz as dcv
            >>> both = dcv.load().compare(dcv.toyworld.scene("a red car on grass", size=64), ["a red car", "grass"])
            >>> bool(abs(both.contribution.sum(("y", "x")) + both.rest.sum("term") - both.score).max() < 1e-6)
            True
        """
        prompts, wanted = Prompts.of(prompts), arguments.pick_layers(layers, self.layers)
        recorded = self.tower.layers_to_record(wanted)
        trace = self._trace_of(image, bool(wanted), geometry=geometry, layers=recorded)
        both = comparison.compare(arguments.require_nonzero(trace), vectors := self.texts.encode(prompts), prompts)
        return layer_maps.with_layers(both, self.tower, trace, vectors, wanted) if wanted else both

    def segment(
        self,
        image: Asked,
        prompts: PromptsLike,
        *,
        geometry: FitLike | None = None,
        background: None | float | Sequence[str] | segment.Background = None,
        formula: str | None = None,
        denoise: float | None = None,
        smooth: str | None = None,
        preset: str | Preset | None = None,
        finer: finer_choice.OneFiner | None = None,
        soft: bool = False,
        independent: bool = False,
        size: tuple[int, int] | None = None,
    ) -> xr.Dataset:
        """Name every pixel by its best prompt; several templates are ensembled (mean of unit vectors).

        The best is relative; a cosine, a model's own sigmoid or absent prompts tell whether it is there at all. Where
        prompts are absent, a pixel is named only above the highest cosine that they have anywhere in the image.

        Args:
            image: A trace, or an image to trace with what is needed.
            prompts: Texts, or `Prompts`.
            geometry: As for `trace`, with an image.
            background: The least probability, names, or `maps.Background(below, prompts, cosine, absent)`.
            formula: As for `classify`.
            denoise: Threshold of prompt denoising (0: none).
            smooth: `"cosine"` or `"official"` key smoothing (`""`: none).
            preset: `"maskclip-paper"`.
            finer: A grid to draw on, of the same pass: "guided", "shifted", "guided:8", a function, a `plus.Student`.
            soft: Give `probabilities` (label, row, column) too.
            independent: Give `masks` (label, row, column) too, each prompt's own yes or no by the absolute rules.
            size: `(row, column)` of the answer; the image's own by default.

        Returns:
            `labels` (row, column), numbers of `label`, the prompts' names, or -1 for background and what the tower did
            not see; `probability` (row, column) of the best prompt; `image`; `attrs["background"]` says the rule.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.load().segment(dcv.toyworld.scene("a taxi on grass", size=64), ["a taxi", "grass"]).labels.shape
            (64, 64)
        """
        paper, prompts = preset_named(preset), Prompts.of(prompts)
        chosen = similarity.choose_formula(formula, self.logit_scale, self.logit_bias)
        keys = paper.keys_for(self.tower.family, smooth := paper.smooth if smooth is None else smooth)
        again = finer_choice.runs_again(finer)
        trace = self._trace_of(image, again, preset=preset, geometry=geometry, keys=keys).one_path("a segmentation")
        trace = finer_choice.on_finer_grid(self, trace, finer, smooth)
        options: dict[str, Any] = {"background": background, "soft": soft, "independent": independent, "size": size}
        options |= {"denoise": paper.denoise if denoise is None else denoise, "smooth": smooth}
        return segment.segment(trace, ensemble(self.texts.encode(prompts)), prompts, chosen, **options)

    def classify(
        self, image: Asked, prompts: PromptsLike, *, geometry: FitLike | None = None, formula: str | None = None
    ) -> xr.DataArray:
        """Give the whole image's probability of each prompt; absent ones take no share, and are the baseline.

        `geometry` as for `trace`; `formula` "softmax" (shares) or "sigmoid" (each by itself), else the model's own.

        Returns:
            `(template, prompt)`, with the coordinates `cosine` and, of absent prompts, `absent_baseline`.

        Example:
            >>> import denseclip_viz as dcv
            >>> shares = dcv.load().classify(dcv.toyworld.scene("a red car", size=64), ["a red car", "a taxi"])
            >>> shares.idxmax("prompt").values.tolist(), shares.long_name
            (['a red car'], 'share of the prompts given (softmax)')
        """
        chosen = similarity.choose_formula(formula, self.logit_scale, self.logit_bias)
        prompts, trace = Prompts.of(prompts), self._trace_of(image, geometry=geometry)
        return similarity.classify(arguments.require_nonzero(trace), self.texts.encode(prompts), prompts, chosen)

    def layers_to_record(self, layers: str | Sequence[str]) -> tuple[str, ...]:
        """Return the taps to give to `trace` so that `compare` can read these layers; none where gradients read them.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.load("bundled-vit").layers_to_record("blocks.1")
            ('blocks.1',)
        """
        return self.tower.layers_to_record(arguments.pick_layers(layers, self.layers))

    def __repr__(self) -> str:
        return summary.one_line(self.provenance, self.tower, self.clip)

    def _repr_html_(self) -> str:
        return summary.html_card(self.provenance, self.tower, self.clip, self.preprocess.size)

    def _trace_of(self, image: Asked, is_run_again: bool = False, **options: Any) -> Trace:
        if not isinstance(image, Trace):
            return self.trace(image, **options)
        return arguments.require_same_model(image, self.provenance, options.get("geometry"), is_run_again)
