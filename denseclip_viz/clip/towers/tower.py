"""What every image tower answers, whatever its pooling; the other files of this folder are the families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import Tap
from denseclip_viz.clip.towers.linearize import Step, apply
from denseclip_viz.clip.towers.pool_row import PoolRow
from denseclip_viz.errors import GeometryError, RecompositionError, UnsupportedTowerError

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@dataclass(frozen=True, eq=False)
class BlockPass:
    """One transformer block of one pass, at every token; its parts are projected when they are first asked for.

    Attributes:
        entering: `(image, token, C)`, the stream that enters it.
        call: Its attention call.
        entry: From the stream to what attention reads.
        out: From merged heads to what is added to the stream.
        mlp: From the stream to what its MLP adds to it.
        call_on: Its attention call as another stream would make it.
    """

    entering: Tensor
    call: AttentionCall
    entry: tuple[Step, ...]
    out: tuple[Step, ...]
    mlp: tuple[Step, ...]
    call_on: Callable[[Tensor], AttentionCall]

    @cached_property
    def length(self) -> Tensor:
        """The mean length of what attention reads, `(image, 1, 1, 1)`."""
        lengths: Tensor = apply(self.entry, self.entering).norm(dim=-1)
        return lengths.mean(-1)[:, None, None, None]

    @cached_property
    def query(self) -> Tensor:
        """Queries, `(image, head, token, channel)`."""
        return self.call.part("query", slice(None))

    @cached_property
    def key(self) -> Tensor:
        """Keys, `(image, head, token, channel)`."""
        return self.call.part("key", slice(None))

    @cached_property
    def value(self) -> Tensor:
        """Values, `(image, head, token, channel)`."""
        return self.call.part("value", slice(None))

    @cached_property
    def weights(self) -> Tensor:
        """Attention, `(image, head, query, token)`."""
        return self.call.weights(slice(None))


@dataclass(frozen=True)
class Streams:
    """What dense features are made of: the layer that pools, at every position of one pass.

        y = r · entering + O(A V),   y += mlp(y),   F = head(y)        `clip/paths.py` sums it up

    Attributes:
        values: `(image, position, C)`, V: what each answers if it attends to itself alone, heads merged.
        head: From the stream to text space.
        project: O, from merged heads to the stream.
        mlp: From the stream to what an MLP adds to it; empty where none stands behind the attention.
        entering: `(image, position, C)`, the stream beside the attention; None where none is.
        leaving: `(image, position, C)`, y as the tower itself made it; None where it makes none.
        stood_in: In `leaving` positions attended to themselves alone.
        attended: O(A V) of every position as the tower itself would attend, for a path of this name; None where
            `leaving` holds it.
        placed: `values` with the positional embedding added, where the pool adds one.
        prefix: Tokens before the positions. The tower's own block takes them along for the value path, so all paths
            do: a product of other rows may end in other bits, and a path must not hang on those asked for beside it.
        blocks: The transformer blocks that were asked for, by their number from 0.
        heads: Heads that are side by side in `values`.
        pool: The query that pools; None of an inner layer.
    """

    values: Tensor
    head: tuple[Step, ...]
    project: tuple[Step, ...] = ()
    mlp: tuple[Step, ...] = ()
    entering: Tensor | None = None
    leaving: Tensor | None = None
    stood_in: bool = False
    attended: Callable[[str], Tensor] | None = None
    placed: Callable[[], Tensor] | None = None
    prefix: int = 0
    blocks: Mapping[int, BlockPass] = field(default_factory=dict)
    heads: int = 1
    pool: PoolRow | None = None

    @cached_property
    def alone(self) -> Tensor:
        """O(V): what each position answers if it attends to itself alone, made once for all paths."""
        return apply(self.project, self.values)


@dataclass(frozen=True)
class Pooling:
    """The pooled embedding of a batch of images, taken apart.

    Attributes:
        embedding: `(image, D)`, the pooled embedding, not normalised.
        attention: `(image, head, y, x)`, pooling weights; with those on no position they sum to 1 per head.
        contributions: `(image, y, x, D)`, each position's term of the embedding.
        even: `(image, y, x, D)`, what the terms would be if the pool looked at all its tokens alike, and all behind it
            stayed as it is: 1/L in every head for its L tokens, those on no position among them.
            Both are None, and the rest empty, where they are not `shared` out.
        rest: Terms that belong to no position, `(image, D)` each.
        even_rest: Those of the rest that the pool looks at, as they would be then.
        keys: `(image, y, x, C)`, if asked for.
        layers: What the taps saw, as the tower made it, `(image, …)`.
    """

    embedding: Tensor
    attention: Tensor
    contributions: Tensor | None = None
    even: Tensor | None = None
    rest: Mapping[str, Tensor] = field(default_factory=dict)
    even_rest: Mapping[str, Tensor] = field(default_factory=dict)
    keys: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one pass of a tower.

    Attributes:
        layers: Names of taps to keep.
        keys: `""` for none, `"key"` for the pool's keys, `"projected"` for keys pushed through the output projection.
        antialias: Antialias where a table of positions is resized.
        alone: Nothing but what positions make of themselves alone is wanted, so where nobody listens they may stand in
            for what the tower computes of them.
        blocks: Numbers of the transformer blocks that paths are made of, in a tower with the switch `blocks`.
        gradients: The pool's weights and values hang on what it reads, though the pass itself keeps no graph.
        weighed: These blocks attend by weights that the rest of the pass hangs on, where the pass keeps a graph.
        shared: The embedding is shared out to positions: contributions, an even look, and the rest.
    """

    layers: Sequence[str] = ()
    keys: str = ""
    antialias: bool = True
    alone: bool = False
    blocks: Sequence[int] = ()
    gradients: bool = False
    weighed: bool = False
    shared: bool = True


LEAN = Wanted()


class Tower(Protocol):
    """One image tower behind one small interface; a family is a file that implements it."""

    @property
    def visual(self) -> nn.Module:
        """The image tower itself."""

    @property
    def family(self) -> str:
        """What its pooling is, in words."""

    @property
    def cell(self) -> tuple[int, int]:
        """Input pixels of a grid cell, `(y, x)`."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that an image goes through, in order."""

    @property
    def layer_readout(self) -> str:
        """How inner layers are read, in one line for figures."""

    @property
    def switches(self) -> frozenset[str]:
        """The switches of a `DensePath` that change something in this tower."""

    def shift(self, layer: str) -> tuple[float, float]:
        """Count input pixels `(down, right)` from the middle of a cell of this layer to the middle of what it sees."""

    def at(self, pixels: Tensor) -> Tower:
        """Return the tower for the size of this input: itself, or one on a private copy of the structure."""

    def taps(self) -> dict[str, Tap]:
        """List every place that can be recorded, in the order in which an image passes it."""

    def resizes_positions(self, pixels: Tensor) -> bool:
        """Tell whether a table of positions must be resized for this input, and so antialiased or not."""

    def forward(self, pixels: Tensor, wanted: Wanted = LEAN) -> tuple[Pooling, Streams]:
        """Run the tower once on `(image, 3, H, W)`, a size that it is `at`, and record its pooling.

        Args:
            pixels: The input.
            wanted: What is kept of the pass.
        """

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Name the taps that `read` wants recorded for these layers; empty where it reads by gradients."""

    def read(self, recorded: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Streams]:
        """Take one recorded layer for the last one: what it would answer, `(image, D)`, and its streams."""


def grid_of(pixels: Tensor, cell: tuple[int, int], native: tuple[int, int] | None = None) -> tuple[int, int]:
    """Count the grid cells `(y, x)` of an input `(image, 3, H, W)`.

    Args:
        pixels: The input.
        cell: Its pixels per grid cell, `(y, x)`.
        native: The size that a tower was made for, whole cells or not: what fills none is not seen, as by itself
            (384 pixels in patches of 14).

    Raises:
        GeometryError: other sides that are no multiple of the cell.
    """
    height, width = pixels.shape[-2:]
    if (height, width) != native and (height % cell[0] or width % cell[1] or not height or not width):
        raise GeometryError(
            f"an input of {height} x {width} pixels",
            expected=f"sides that are multiples of {cell[0]} x {cell[1]}, the tower's grid cell",
            fix="Let model.trace(image, geometry='whole') resize and pad it.",
        )
    return height // cell[0], width // cell[1]


def pooled_of(output: Any) -> Tensor:
    """Take the pooled embedding of what a tower returns, which some return with their tokens."""
    pooled: Tensor = output[0] if isinstance(output, tuple) else output
    return pooled


def refuse_unfused() -> NoReturn:
    """Say that a pool ran without an attention call that can be seen.

    Raises:
        UnsupportedTowerError: always.
    """
    raise UnsupportedTowerError(
        "the pool of this image tower ran without a fused attention call",
        expected="attention by torch.nn.functional.scaled_dot_product_attention",
        fix="Load the model again without the environment variable TIMM_FUSED_ATTN=0.",
    )


def resize_positional(
    embedding: Tensor,
    grid: tuple[int, int],
    *,
    prefix: int = 1,
    antialias: bool = True,
    native: tuple[int, int] | None = None,
) -> Tensor:
    """Resize a positional embedding `(prefix + y·x, C)` to another grid; at its own grid it is returned as is.

    Its own grid `native` is a square unless given. Bicubic, as open_clip/model.py `resize_pos_embed` (antialiased) or
    the official MaskCLIP (not).

    Example:
        >>> resize_positional(torch.zeros(1 + 49, 8), (3, 10)).shape
        torch.Size([31, 8])
    """
    side = round((embedding.shape[0] - prefix) ** 0.5)
    native = (side, side) if native is None else native
    if grid == native:
        return embedding
    rows, columns = (_bicubic(own, cells, antialias, embedding) for own, cells in zip(native, grid, strict=True))
    table = embedding[prefix:].unflatten(0, native).to(rows.dtype)
    resized = torch.einsum("ry,cx,yxd->rcd", rows, columns, table).flatten(0, 1)
    return torch.cat([embedding[:prefix], resized.to(embedding.dtype)])


def _bicubic(before: int, after: int, antialias: bool, like: Tensor) -> Tensor:
    # One axis at a time: torch's antialiased bicubic is wrong for maps of one column (seen in 2.15, contiguous input)
    wide = torch.float64 if like.dtype == torch.float64 else torch.float32
    identity = torch.eye(before, device=like.device, dtype=wide)[None, None]
    size = (after, before)
    return F.interpolate(identity, size, mode="bicubic", antialias=antialias, align_corners=False)[0, 0]


def recomposition_miss(pooling: Pooling) -> Tensor:
    """Give how far contributions and rest miss the embedding, the largest relative residual, where the tensors are.

    Of an embedding that is not shared out, 0, and NaN if it is not finite.
    """
    if pooling.contributions is None:
        return (pooling.embedding - pooling.embedding).amax().double()
    terms = [pooling.contributions.double().sum((1, 2)), *(term.double() for term in pooling.rest.values())]
    residual = torch.stack(terms).sum(0) - pooling.embedding.double()
    largest = torch.stack([pooling.embedding.double(), *terms]).abs().amax((0, 2))
    return (residual.abs().amax(1) / largest.clamp_min(1e-300)).max()


def check_miss(miss: Tensor, dtype: torch.dtype, family: str) -> float:
    """Check what `recomposition_miss` gave of a tower of this dtype.

    Raises:
        RecompositionError: it is too much, so the tower is not what it was taken for.
    """
    relative = float(miss)
    if not relative <= TOLERANCE[dtype]:
        raise RecompositionError(
            f"contributions and rest miss the embedding by {relative:.1e} (relative)",
            expected=f"at most {TOLERANCE[dtype]:.0e} ({dtype}), for a tower taken for {family}",
            fix="Check the weights for NaN or infinity; if the tower was modified, it is not supported as it is.",
        )
    return relative


def check_recomposition(pooling: Pooling, family: str) -> float:
    """Check that contributions and rest sum to the embedding; return the largest relative residual.

    Raises:
        RecompositionError: they do not, so the tower is not what it was taken for.
    """
    return check_miss(recomposition_miss(pooling), pooling.embedding.dtype, family)
