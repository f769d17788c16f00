"""Towers whose pool is a plain mean: ConvNeXt, FastViT, Swin, ViTamin, CLIPA, ViT-GAP, ALIGN.

    e   = H(Σ_j z_j / N)        z: the map that is averaged, behind whatever norm each position has of its own
    F_j = H(z_j)                 H: norm, MLP and projection behind the mean, frozen at the mean for the terms

Attention is flat, 1/N in one head; where H is linear, the mean of the dense features is the embedding itself.
Source: timm's convnext.py, fastvit.py, swin_transformer.py, vision_transformer.py; open_clip/transformer.py (pool
'avg').
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from denseclip_viz.clip.hooks import Tap, on_forward, record
from denseclip_viz.clip.towers.linearize import Step, apply, flatten, propagate_terms
from denseclip_viz.clip.towers.shadow import at_input_size
from denseclip_viz.clip.towers.tower import Decomposition, DensePath, ForwardOptions, grid_of
from denseclip_viz.clip.towers.transformer import trunk_of
from denseclip_viz.errors import LayerError


@dataclass(frozen=True)
class MeanPool:
    """What is averaged, and what stands behind the mean.

    Attributes:
        cell: Pixels of a position, `(y, x)`.
        native: The size of an input that need not be whole cells, if there is one.
        pool: The tap whose map or stream is averaged.
        prefix: Tokens of a stream that the mean leaves out.
        behind: From the mean to text space.
        layers: Names of the layers.
        taps: Every place that can be recorded before the pool, in order.
        norm: What a stream goes through before the mean; None for maps, whose channels differ from layer to layer.
        at: Gives the image tower for the size of an input.
        place: Resizes the table of positions by function, until the stack closes.
        grid: Counts the cells of an input, `(y, x)`; None where an input is whole cells.
        shifts: Where a layer's cells see beside their middle, as `Tower.shift` says it.
    """

    cell: tuple[int, int]
    native: tuple[int, int] | None
    pool: Tap
    prefix: int
    behind: tuple[Step, ...]
    layers: tuple[str, ...]
    taps: Mapping[str, Tap]
    norm: tuple[Step, ...] | None
    at: Callable[[Tensor], nn.Module]
    place: Callable[..., None] = lambda *_, **__: None
    grid: Callable[[Tensor], tuple[int, int]] | None = None
    shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def cells(self, pixels: Tensor) -> tuple[int, int]:
        """Count the cells of an input, `(y, x)`."""
        return self.grid(pixels) if self.grid else grid_of(pixels, self.cell, self.native)


@dataclass(frozen=True)
class MeanPoolTower:
    """A tower that ends in a mean over positions."""

    visual: nn.Module
    family: str = "average"
    last_map: str = "pool.input"
    find: Callable[[Any], MeanPool] = lambda visual: mean_pool_of(visual)

    @property
    def parts(self) -> MeanPool:
        """Where the parts are."""
        return self.find(self.visual)

    @property
    def cell(self) -> tuple[int, int]:
        """Pixels of a position, `(y, x)`."""
        return self.parts.cell

    @property
    def layers(self) -> tuple[str, ...]:
        """The blocks of a transformer, the stages of a convolutional tower."""
        return self.parts.layers

    @property
    def layer_readout(self) -> str:
        """How inner layers are read."""
        if self.parts.norm is None:
            return "gradient × activation of the score, LayerNorm statistics frozen"
        return "patch tokens of each block, and their mean, through the final norm and projection"

    def shift(self, layer: str) -> tuple[float, float]:
        """Say how far beside its middle a cell sees, where the tower's padding makes it so."""
        return self.parts.shifts.get(layer, (0.0, 0.0))

    def at(self, pixels: Tensor) -> MeanPoolTower:
        """Give the tower for the size of this input: itself, or one on a private copy of the structure."""
        parts = self.parts
        parts.cells(pixels)
        visual = parts.at(pixels)
        return self if visual is self.visual else replace(self, visual=visual)

    def taps(self) -> dict[str, Tap]:
        """Name the layers and what goes into the pool and comes out."""
        parts = self.parts
        return {**parts.taps, "pool.input": parts.pool, "pool.output": Tap(self.visual)}

    def decompose(self, pixels: Tensor, options: ForwardOptions) -> Decomposition:
        """Run the tower once and share its mean out."""
        if options.keys:
            raise LayerError(
                "keys were asked for, and this tower has none: its pool is a plain mean",
                expected="a tower that pools by attention",
                fix="Leave key smoothing out: smooth='' in segment, keys='' in trace.",
            )
        parts, inputs = self.parts, []
        grid = parts.cells(pixels)
        with ExitStack() as stack:
            parts.place(stack, grid, antialias=options.path.antialias)
            recorded = stack.enter_context(record(self.taps() if options.layers else {}, options.layers))
            keep = on_forward(parts.pool.module, lambda i, o: inputs.append(parts.pool.map(i, o)))
            stack.enter_context(keep)
            embedding = self.visual(pixels)
        embedding = embedding[0] if isinstance(embedding, tuple) else embedding
        tokens = _tokens(inputs[-1], parts.prefix)
        return _decomposed(embedding, tokens, grid, parts.behind, dict(recorded))

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream behind each block; maps are read by gradients."""
        return () if self.parts.norm is None else tuple(layers)

    def read(self, streams: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
        """Average a block's patches, and push the mean and each of them through the final norm and projection."""
        parts = self.parts
        assert parts.norm is not None
        patches = apply(parts.norm, streams[layer][:, parts.prefix :])
        return apply(parts.behind, patches.mean(1)), apply(parts.behind, patches)


def _tokens(taken: Tensor, prefix: int) -> Tensor:
    """A map (image, C, y, x) or stream (image, token, C) as positions (image, position, C)."""
    return taken.flatten(2).transpose(1, 2) if taken.ndim == 4 else taken[:, prefix:]


def _decomposed(
    embedding: Tensor, tokens: Tensor, grid: tuple[int, int], behind: tuple[Step, ...], layers: dict[str, Tensor]
) -> Decomposition:
    """Take a mean over positions apart."""
    count = tokens.shape[1]
    terms, rest = propagate_terms(tokens / count, {}, behind)
    return Decomposition(
        embedding=embedding,
        dense=apply(behind, tokens).unflatten(1, grid),
        attention=tokens.new_full((len(tokens), 1, *grid), 1 / count),
        contributions=terms.unflatten(1, grid),
        rest={name: term[:, 0] for name, term in rest.items()},
        layers=layers,
    )


def mean_pool_of(visual: Any) -> MeanPool:
    """Find what a tower averages, and what stands behind the mean.

    Example:
        >>> from open_clip.timm_model import TimmModel
        >>> parts = mean_pool_of(TimmModel("convnext_atto", 8, image_size=64, pool="", proj="linear"))
        >>> parts.cell, parts.layers[-1]
        ((32, 32), 'stages.3')
    """
    trunk = getattr(visual, "trunk", visual)
    return _of_maps(visual, trunk) if not hasattr(trunk, "blocks") and trunk is not visual else _of_tokens(visual)


def _of_tokens(visual: Any) -> MeanPool:
    """A transformer: the final norm stands before the mean, or behind it as in open_clip's CLIPA."""
    trunk = trunk_of(visual)
    late = getattr(visual, "final_ln_after_pool", False)
    (norm,) = trunk.norm
    assert isinstance(norm, nn.Module)
    return MeanPool(
        cell=trunk.cell,
        native=trunk.native,
        pool=Tap(trunk.container if late else norm),
        prefix=trunk.prefix,
        behind=flatten(norm if late else None, *trunk.project),
        layers=trunk.layers,
        taps=trunk.taps(),
        norm=() if late else flatten(norm),
        at=trunk.at,
        place=trunk.place,
    )


def _of_maps(visual: Any, trunk: Any) -> MeanPool:
    """A hierarchy of stages, convolutional or windowed."""
    last = getattr(trunk, "layers", None) is not None  # Swin's maps are (y, x, C)
    stages = trunk.layers if last else trunk.stages
    taps = {"stem": Tap(trunk.patch_embed if last else trunk.stem, channels_last=last)}
    for i, stage in enumerate(stages):
        taps |= {f"stages.{i}.{j}": Tap(block, channels_last=last) for j, block in enumerate(stage.blocks)}
        taps[f"stages.{i}"] = Tap(stage, channels_last=last)
    head, cell = trunk.head, trunk.feature_info[-1]["reduction"]
    behind = (getattr(head, "norm", None), getattr(head, "pre_logits", None), head.fc, visual.head)
    layers = ("stem", *(f"stages.{i}" for i in range(len(stages))))
    return MeanPool(
        cell=(cell, cell),
        native=None,
        pool=Tap(head.global_pool, "input", channels_last=last),
        prefix=0,
        behind=flatten(*behind),
        layers=layers,
        taps=taps,
        norm=None,
        at=lambda pixels: at_input_size(visual, (pixels.shape[-2], pixels.shape[-1])),
        shifts=_shifts(trunk, layers) if type(trunk).__name__ == "FastVit" else {},
    )


def _shifts(trunk: Any, layers: Sequence[str]) -> dict[str, tuple[float, float]]:
    """FastViT halves with odd kernels, padded alike on both sides: output i has its middle at input 2 i.

    So the middle of what a cell sees is the first pixel of its square. Towers that halve by patches see its middle.
    """
    cells = [info["reduction"] for info in trunk.feature_info]
    sizes = zip((*layers, "pool.input"), (cells[0], *cells, cells[-1]), strict=True)
    return {name: ((1 - size) / 2, (1 - size) / 2) for name, size in sizes}
