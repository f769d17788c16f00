"""What every image tower answers, whatever its pooling; the other files of this folder are the families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.hooks import Tap
from denseclip_viz.errors import GeometryError, LayerError, RecompositionError, UnsupportedTowerError

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@dataclass(frozen=True)
class DensePath:
    """Which way from tokens to dense features: switches, so that every published variant can be named.

    Attributes:
        name: What figures and provenance call it.
        residual: Keep the position's own stream beside the attention (ViT; the official MaskCLIP does).
        mlp: Keep the MLP that is added behind the attention (ViT, where the official MaskCLIP does; learned query).
        positional: Add the pool's positional embedding to a position before its value (ResNet; the official code
            does not).
        one_hot: Let a position attend to itself alone; otherwise it attends as the tower lets it ("vanilla": plain
            patch tokens of a ViT, every position as a query of a ResNet's pool).
        antialias: Antialias when a positional embedding is resized (open_clip does; the official code does not).
            timm's towers resize their own, always antialiased.
    """

    name: str
    residual: bool = True
    mlp: bool = True
    positional: bool = False
    one_hot: bool = True
    antialias: bool = True


PATHS = {
    path.name: path
    for path in (
        DensePath("value"),
        DensePath("value-attention-only", residual=False, mlp=False),
        DensePath("value-positional", positional=True),
        DensePath("value-maskclip", antialias=False),
        DensePath("vanilla", one_hot=False),
    )
}


@dataclass(frozen=True)
class ForwardOptions:
    """What is wanted from a forward pass beside the lean default.

    Attributes:
        path: The way to dense features.
        layers: Names of taps to keep.
        keys: `""` for none, `"key"` for the pool's keys, `"projected"` for keys pushed through the output projection.
    """

    path: DensePath = PATHS["value"]
    layers: tuple[str, ...] = ()
    keys: str = ""


@dataclass(frozen=True)
class Decomposition:
    """What one forward pass left behind, for a batch of images.

    Attributes:
        embedding: `(image, D)`, the pooled embedding, not normalised.
        dense: `(image, y, x, D)`, dense features in text space.
        attention: `(image, head, y, x)`, pooling weights; with those on no position they sum to 1 per head.
        contributions: `(image, y, x, D)`, each position's term of the embedding.
        rest: Terms that belong to no position, `(image, D)` each.
        keys: `(image, y, x, C)`, if asked for.
        layers: What the taps saw, as the tower made it, `(image, …)`.
    """

    embedding: Tensor
    dense: Tensor
    attention: Tensor
    contributions: Tensor
    rest: Mapping[str, Tensor]
    keys: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)


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
    def last_map(self) -> str:
        """The tap of the last map before the pool, which Grad-CAM weighs."""

    def shift(self, layer: str) -> tuple[float, float]:
        """Input pixels `(down, right)` from the middle of a cell of this layer to the middle of what it sees."""

    def at(self, pixels: Tensor) -> Tower:
        """The tower for the size of this input: itself, or one on a private copy of the structure."""

    def taps(self) -> dict[str, Tap]:
        """Every place that can be recorded, in the order in which an image passes it."""

    def decompose(self, pixels: Tensor, options: ForwardOptions) -> Decomposition:
        """Run the tower once on `(image, 3, H, W)`, a size that it is `at`, and take its pooling apart."""

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The taps that `read` wants recorded for these layers; empty where it reads by gradients."""

    def read(self, streams: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
        """Read one recorded layer in text space: `(image, D)` global and `(image, y, x, D)` dense."""


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


def unseen() -> NoReturn:
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


def check_recomposition(decomposition: Decomposition, family: str) -> float:
    """Check that contributions and rest sum to the embedding; return the largest relative residual.

    Raises:
        RecompositionError: they do not, so the tower is not what it was taken for.
    """
    terms = [decomposition.contributions.double().sum((1, 2)), *(term.double() for term in decomposition.rest.values())]
    residual = torch.stack(terms).sum(0) - decomposition.embedding.double()
    largest = torch.stack([decomposition.embedding.double(), *terms]).abs().amax((0, 2))
    relative = float((residual.abs().amax(1) / largest.clamp_min(1e-300)).max())
    dtype = decomposition.embedding.dtype
    if not relative <= TOLERANCE[dtype]:
        raise RecompositionError(
            f"contributions and rest miss the embedding by {relative:.1e} (relative)",
            expected=f"at most {TOLERANCE[dtype]:.0e} ({dtype}), for a tower taken for {family}",
            fix="Check the weights for NaN or infinity; if the tower was modified, it is not supported as it is.",
        )
    return relative


def choose_path(path: str | DensePath) -> DensePath:
    """Find a path by name.

    Example:
        >>> choose_path("value").mlp
        True
    """
    if isinstance(path, DensePath):
        return path
    if path not in PATHS:
        raise LayerError(
            f"path {path!r} is unknown", expected=f"one of {', '.join(PATHS)}", fix="Or pass a DensePath(...)."
        )
    return PATHS[path]
