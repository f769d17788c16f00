"""Towers whose pool is a plain mean: ConvNeXt, FastViT, Swin, ViTamin, CLIPA, ViT-GAP, ALIGN.

    e   = H(Σ_j z_j / N)        z: the map that is averaged, behind whatever norm each position has of its own
    F_j = H(z_j)                 H: norm, MLP and projection behind the mean, frozen at the mean for the terms

Attention is flat, 1/N in one head, so an even look is what there is and the gap is zero everywhere; where H is linear,
the mean of the dense features is the embedding itself.
Source: timm's convnext.py, fastvit.py, swin_transformer.py, vision_transformer.py; open_clip/transformer.py (pool
'avg').
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from denseclip_viz.clip.hooks import Tap, on_forward, record
from denseclip_viz.clip.towers.linearize import Step, apply, flatten, propagate_terms
from denseclip_viz.clip.towers.pool_row import PoolRow
from denseclip_viz.clip.towers.shadow import at_input_size
from denseclip_viz.clip.towers.tower import LEAN, Pooling, Streams, Wanted, grid_of, pooled_of
from denseclip_viz.clip.towers.transformer import Trunk, trunk_of
from denseclip_viz.errors import LayerError

Own = TypeVar("Own", bound="MeanPoolTower")


@dataclass(frozen=True)
class MeanParts:
    """What is averaged, and what stands behind the mean.

    Attributes:
        cell: Pixels of a position, `(y, x)`.
        pool: The tap whose map or stream is averaged.
        layers: Names of the layers.
        taps: Every place that can be recorded before the pool, in order.
        behind: From the mean to text space.
        norm: What a stream goes through before the mean; None for maps, whose channels differ from layer to layer.
        trunk: The transformer, where the tower is one.
        shifts: Where a layer's cells see beside their middle, as `Tower.shift` says it.
    """

    cell: tuple[int, int]
    pool: Tap
    layers: tuple[str, ...]
    taps: Mapping[str, Tap]
    behind: tuple[Step, ...] = ()
    norm: tuple[Step, ...] | None = None
    trunk: Trunk | None = None
    shifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MeanPoolTower:
    """A tower that ends in a mean over positions."""

    visual: nn.Module
    family: str = "mean"

    @property
    def parts(self) -> MeanParts:
        """Where the parts are."""
        return mean_parts(self.visual)

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

    @property
    def switches(self) -> frozenset[str]:
        """Nothing but a table of positions that is open_clip's own: every path is the value path."""
        trunk = self.parts.trunk
        return frozenset({"antialias"} if trunk and trunk.positional is not None else ())

    def shift(self, layer: str) -> tuple[float, float]:
        """Say how far beside its middle a cell sees, where the tower's padding makes it so."""
        return self.parts.shifts.get(layer, (0.0, 0.0))

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Count the cells of an input, `(y, x)`."""
        parts = self.parts
        return parts.trunk.grid(pixels) if parts.trunk else grid_of(pixels, parts.cell)

    def at(self: Own, pixels: Tensor) -> Own:
        """Give the tower for the size of this input: itself, or one on a private copy of the structure."""
        self.grid(pixels)
        trunk, (height, width) = self.parts.trunk, pixels.shape[-2:]
        visual = trunk.at(pixels) if trunk else at_input_size(self.visual, (height, width))
        return self if visual is self.visual else replace(self, visual=visual)

    def resizes_positions(self, pixels: Tensor) -> bool:
        """Resize open_clip's own table by function where the grid is another."""
        trunk = self.parts.trunk
        return trunk is not None and trunk.resizes(self.grid(pixels))

    def taps(self) -> dict[str, Tap]:
        """Name the layers and what goes into the pool and comes out."""
        parts = self.parts
        return {**parts.taps, "pool.input": parts.pool, "pool.output": Tap(self.visual)}

    def forward(self, pixels: Tensor, wanted: Wanted = LEAN) -> tuple[Pooling, Streams]:
        """Run the tower once and share its mean out."""
        if wanted.keys:
            raise LayerError(
                "keys were asked for, and this tower has none: its pool is a plain mean",
                expected="a tower that pools by attention",
                fix="Leave key smoothing out.",
            )
        parts, averaged = self.parts, list[Tensor]()
        grid = self.grid(pixels)
        with ExitStack() as stack:
            if parts.trunk:
                parts.trunk.place(stack, grid, antialias=wanted.antialias)
            recorded = stack.enter_context(record(self.taps() if wanted.layers else {}, wanted.layers))
            stack.enter_context(on_forward(parts.pool.module, lambda i, o: averaged.append(parts.pool.map(i, o))))
            embedding = pooled_of(self.visual(pixels))
        tokens = _positions(averaged[-1], parts.trunk)
        streams = replace(_streams(tokens, parts), pool=_row(tokens, parts, gradients=wanted.gradients))
        even = tokens.new_full((len(tokens), 1, *grid), 1 / tokens.shape[1])
        pooling = Pooling(embedding=embedding, attention=even, layers=dict(recorded))
        return _shared_out(pooling, tokens, grid, parts.behind) if wanted.shared else pooling, streams

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream behind each block; maps are read by gradients."""
        return () if self.parts.norm is None else tuple(layers)

    def read(self, recorded: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Streams]:
        """Average a block's patches, and push the mean through the final norm and projection."""
        parts = self.parts
        assert parts.norm is not None
        tokens = apply(parts.norm, _positions(recorded[layer], parts.trunk))
        return apply(parts.behind, tokens.mean(1)), _streams(tokens, parts)


def _positions(averaged: Tensor, trunk: Trunk | None) -> Tensor:
    """Flatten a map (image, C, y, x) or stream (image, token, C) to positions (image, position, C)."""
    return averaged[:, trunk.prefix :] if trunk else averaged.flatten(2).transpose(1, 2)


def _streams(tokens: Tensor, parts: MeanParts) -> Streams:
    return Streams(values=tokens, head=parts.behind)


def _row(tokens: Tensor, parts: MeanParts, *, gradients: bool) -> PoolRow:
    """Take the mean for one head that looks everywhere alike."""
    reads = tokens.detach().requires_grad_() if gradients else tokens
    even = tokens.new_full((len(tokens), 1, tokens.shape[1]), 1 / tokens.shape[1])
    with torch.set_grad_enabled(reads.requires_grad):
        return PoolRow(reads, reads, even, reads[:, None], head=parts.behind)


def _shared_out(pooling: Pooling, tokens: Tensor, grid: tuple[int, int], behind: tuple[Step, ...]) -> Pooling:
    """Take a mean over positions apart."""
    terms, rest = propagate_terms(tokens / tokens.shape[1], behind)
    return replace(pooling, contributions=terms.unflatten(1, grid), even=terms.unflatten(1, grid), rest=rest)


def mean_parts(visual: Any) -> MeanParts:
    """Find what a tower averages, and what stands behind the mean.

    Example:
        >>> from open_clip.timm_model import TimmModel
        >>> parts = mean_parts(TimmModel("convnext_atto", 8, image_size=64, pool="", proj="linear"))
        >>> parts.cell, parts.layers[-1]
        ((32, 32), 'stages.3')
    """
    trunk = getattr(visual, "trunk", visual)
    return _of_maps(visual, trunk) if not hasattr(trunk, "blocks") and trunk is not visual else _of_tokens(visual)


def _of_tokens(visual: Any) -> MeanParts:
    """Read a transformer: the final norm stands before the mean, or behind it as in open_clip's CLIPA."""
    trunk = trunk_of(visual)
    late = getattr(visual, "final_ln_after_pool", False)
    (norm,) = trunk.norm
    assert isinstance(norm, nn.Module)
    return MeanParts(
        cell=trunk.cell,
        pool=Tap(trunk.container if late else norm),
        layers=trunk.layers,
        taps=trunk.taps(),
        behind=flatten(norm if late else None, *trunk.project),
        norm=() if late else flatten(norm),
        trunk=trunk,
    )


def _of_maps(visual: Any, trunk: Any) -> MeanParts:
    """Read a hierarchy of stages, convolutional or windowed."""
    last = getattr(trunk, "layers", None) is not None  # Swin's maps are (y, x, C)
    stages = trunk.layers if last else trunk.stages
    taps = {"stem": Tap(trunk.patch_embed if last else trunk.stem, channels_last=last)}
    for i, stage in enumerate(stages):
        taps |= {f"stages.{i}.{j}": Tap(block, channels_last=last) for j, block in enumerate(stage.blocks)}
        taps[f"stages.{i}"] = Tap(stage, channels_last=last)
    head, cell = trunk.head, trunk.feature_info[-1]["reduction"]
    behind = (getattr(head, "norm", None), getattr(head, "pre_logits", None), head.fc, visual.head)
    layers = ("stem", *(f"stages.{i}" for i in range(len(stages))))
    return MeanParts(
        cell=(cell, cell),
        pool=Tap(head.global_pool, "input", channels_last=last),
        behind=flatten(*behind),
        layers=layers,
        taps=taps,
        shifts=_shifts(trunk, layers) if type(trunk).__name__ == "FastVit" else {},
    )


def _shifts(trunk: Any, layers: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Follow FastViT, which halves with odd kernels padded alike: output i has its middle at input 2 i.

    So the middle of what a cell sees is the first pixel of its square. Towers that halve by patches see its middle.
    """
    cells = [info["reduction"] for info in trunk.feature_info]
    sizes = zip((*layers, "pool.input"), (cells[0], *cells, cells[-1]), strict=True)
    return {name: ((1 - size) / 2, (1 - size) / 2) for name, size in sizes}
