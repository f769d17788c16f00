"""Where open_clip's and timm's vision transformers keep their parts: tables that the kinds of pooling read."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in
from denseclip_viz.clip.towers.linearize import Step, apply, flatten
from denseclip_viz.clip.towers.shadow import at_input_size
from denseclip_viz.clip.towers.tower import grid_of, resize_positional
from denseclip_viz.errors import UnsupportedTowerError

Pool = TypeVar("Pool", bound="TransformerTower")


@dataclass(frozen=True)
class Block:
    """A transformer block: what runs the attention call, and what a stream goes through before and behind it.

    Attributes:
        attention: The module that makes the attention call.
        entry: From the stream to what attention reads.
        project: The heads' output projection.
        out: From merged heads to what is added to the stream.
        mlp: From the stream to what the MLP branch adds to it.
    """

    attention: nn.Module
    entry: tuple[Step, ...]
    project: Step
    out: tuple[Step, ...]
    mlp: tuple[Step, ...]

    def values(self, stream: Tensor) -> Tensor:
        """Compute the merged values `(image, token, C)` of the stream that enters the block."""
        for step in self.entry:
            assert isinstance(step, nn.Module)
            stream = step.forward(stream)  # not a call: nobody's hooks see this second run
        return _values(self.attention, stream)

    def call_on(self, stream: Tensor) -> AttentionCall:
        """Give the attention call that another stream would make; of a block that does not turn queries and keys."""
        calls: list[AttentionCall] = []

        def answer(call: AttentionCall) -> Tensor:
            calls.append(call.projected("value"))
            return torch.zeros_like(calls[0].part("value", slice(None)))  # the call is wanted, nobody reads the answer

        reads = apply(self.entry, stream)
        with active_in(self.attention, InterceptAttention(answer)):
            is_torchs = isinstance(self.attention, nn.MultiheadAttention)
            self.attention(reads, reads, reads, need_weights=False) if is_torchs else self.attention(reads)
        return calls[0]


def block_of(block: Any) -> Block:
    """Name the parts of a block by its kind.

    Raises:
        UnsupportedTowerError: a block of another kind, or attention with a gate.
    """
    kind = type(block).__name__
    if kind not in _BLOCKS or getattr(block.attn, "gate", None) is not None:
        raise UnsupportedTowerError(
            f"the image tower has blocks of the kind {kind}{'' if kind not in _BLOCKS else ' with gated attention'}",
            expected=f"blocks of {', '.join(sorted(_BLOCKS))}",
            fix="models() lists what is supported.",
        )
    return _BLOCKS[kind](block)


def _open_clip(block: Any) -> Block:
    out = block.attn.out_proj, block.ls_1
    return Block(block.attn, (block.ln_1,), block.attn.out_proj, flatten(*out), (block.ln_2, block.mlp, block.ls_2))


def _timm(block: Any) -> Block:
    norm = getattr(block.attn, "norm", None)
    out = norm, block.attn.proj, getattr(block, "ls1", None), getattr(block, "gamma_1", None)
    scale = getattr(block, "ls2", None), getattr(block, "gamma_2", None)
    mlp = tuple(step for step in (block.norm2, block.mlp, *scale) if step is not None)
    return Block(block.attn, (block.norm1,), block.attn.proj, flatten(*out), mlp)


def _post_norm(block: Any) -> Block:
    out = getattr(block.attn, "norm", None), block.attn.proj, block.norm1
    return Block(block.attn, (), block.attn.proj, flatten(*out), (block.mlp, block.norm2))


_BLOCKS: dict[str, Callable[[Any], Block]] = {
    "ResidualAttentionBlock": _open_clip,
    "Block": _timm,
    "RelPosBlock": _timm,
    "EvaBlock": _timm,
    "EvaBlockPostNorm": _post_norm,
}


def _values(attention: Any, tokens: Tensor) -> Tensor:
    if (own := getattr(attention, "v_proj", None)) is not None:
        values: Tensor = own(tokens)
        return values
    if (packed := getattr(attention, "in_proj_weight", None)) is not None:
        weight, bias = packed, attention.in_proj_bias
    else:
        weight, bias = attention.qkv.weight, attention.qkv.bias
    last = None if bias is None else bias.chunk(3)[2]
    apart = getattr(attention, "v_bias", None)
    if packed is None and type(attention.qkv) is not nn.Linear:  # an adapter, whose `weight` is that of what it adapts
        added: Tensor = attention.qkv.forward(tokens).chunk(3, -1)[2]
        return added if apart is None else added + apart
    return F.linear(tokens, weight.chunk(3)[2], last if apart is None else apart)


@dataclass(frozen=True)
class Trunk:
    """A vision transformer: its blocks, and what stands behind them.

    Attributes:
        visual: The whole image tower.
        blocks: Its blocks, in order.
        cell: Pixels per patch, `(y, x)`.
        native: Pixels of the input that it was made for, `(y, x)`; they need not fill whole patches.
        prefix: Tokens before the patches.
        norm: What every token goes through behind the last block.
        project: What the pooled vector goes through behind that.
        positional: The table of positions where it is resized by function; None where a copy is made.
        container: The module around the blocks.
    """

    visual: nn.Module
    blocks: Sequence[nn.Module]
    cell: tuple[int, int]
    native: tuple[int, int]
    prefix: int
    norm: tuple[Step, ...]
    project: tuple[Step, ...]
    positional: Tensor | None
    container: nn.Module

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the blocks, in order."""
        return tuple(f"blocks.{i}" for i in range(len(self.blocks)))

    def head(self) -> tuple[Step, ...]:
        """List the steps from the stream behind the last block to text space, for a pool that only picks a token."""
        return flatten(*self.norm, *self.project)

    def after(self) -> list[nn.Module]:
        """List modules that see the patches behind the last block."""
        norms = [step for step in self.norm if isinstance(step, nn.Module)]
        return [self.container, *norms, *([self.visual] if getattr(self.visual, "output_tokens", False) else [])]

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Count the patches `(y, x)` of an input."""
        return grid_of(pixels, self.cell, self.native)

    def at(self, pixels: Tensor) -> nn.Module:
        """Give the image tower for the size of an input: itself, or a private copy of its structure."""
        self.grid(pixels)
        height, width = pixels.shape[-2:]
        return self.visual if self.positional is not None else at_input_size(self.visual, (height, width))

    @property
    def _native_grid(self) -> tuple[int, int]:
        return self.native[0] // self.cell[0], self.native[1] // self.cell[1]

    def resizes(self, grid: tuple[int, int]) -> bool:
        """Tell whether positions are resized by function for this grid."""
        return self.positional is not None and grid != self._native_grid

    def place(self, stack: ExitStack, grid: tuple[int, int], *, antialias: bool) -> None:
        """Let the tower read positions resized to `grid`, in this thread, until `stack` closes."""
        if self.positional is not None and self.resizes(grid):
            resized = resize_positional(self.positional, grid, antialias=antialias, native=self._native_grid)
            stack.enter_context(active_in(self.visual, InterceptAttention(swap={id(self.positional): resized})))

    def taps(self) -> dict[str, Tap]:
        """Name the embedding and the blocks with their attention and MLP."""
        taps = {"embed": Tap(self.blocks[0], "input")}
        for name, block in zip(self.layers, self.blocks, strict=True):
            attention, mlp = block_of(block).attention, block.get_submodule("mlp")
            taps[f"{name}.norm"] = Tap(attention, "input")
            taps |= {f"{name}.{part}": Tap(attention, part) for part in ("query", "key", "value", "attention")}
            taps |= {f"{name}.mlp": Tap(mlp), name: Tap(block)}
        return taps


def trunk_of(visual: Any) -> Trunk:
    """Find the parts of an image tower that is a transformer, of open_clip's own or of timm.

    Example:
        >>> from open_clip.transformer import VisionTransformer
        >>> trunk = trunk_of(VisionTransformer(32, 8, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=4))
        >>> trunk.cell, trunk.prefix, trunk.layers
        ((8, 8), 1, ('blocks.0', 'blocks.1'))
    """
    if not hasattr(visual, "trunk"):
        return Trunk(
            visual=visual,
            blocks=visual.transformer.resblocks,
            cell=_pair(visual.patch_size),
            native=_pair(visual.image_size),
            prefix=1,
            norm=(visual.ln_post,),
            project=(visual.proj,),
            positional=visual.positional_embedding,
            container=visual.transformer,
        )
    trunk = visual.trunk
    return Trunk(
        visual=visual,
        blocks=trunk.blocks,
        cell=_pair(trunk.patch_embed.feat_ratio(as_scalar=False)),
        native=_pair(trunk.patch_embed.img_size),
        prefix=trunk.num_prefix_tokens,
        norm=(trunk.norm,),
        project=(trunk.fc_norm, trunk.head, *visual.head),
        positional=None,
        container=trunk.blocks,
    )


def _pair(size: Sequence[int]) -> tuple[int, int]:
    height, width = size
    return int(height), int(width)


@dataclass(frozen=True)
class TransformerTower:
    """What is the same for every pool that stands on a vision transformer."""

    visual: nn.Module

    @property
    def trunk(self) -> Trunk:
        """Where the parts of the transformer are."""
        return trunk_of(self.visual)

    @property
    def cell(self) -> tuple[int, int]:
        """Pixels per patch, `(y, x)`."""
        return self.trunk.cell

    @property
    def layers(self) -> tuple[str, ...]:
        """The blocks, in order."""
        return self.trunk.layers

    def shift(self, layer: str) -> tuple[float, float]:
        """Return zero: no cell sees beside its middle."""
        return 0.0, 0.0

    def at(self: Pool, pixels: Tensor) -> Pool:
        """Give the tower for the size of this input: itself, or one on a private copy of the structure."""
        visual = self.trunk.at(pixels)
        return self if visual is self.visual else replace(self, visual=visual)

    def resizes_positions(self, pixels: Tensor) -> bool:
        """Resize open_clip's own table by function where the grid is another; timm resizes its own."""
        return self.trunk.resizes(self.trunk.grid(pixels))
