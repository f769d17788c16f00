"""The numbers of a store: vectors of one image, or of all images, some at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.errors import LayerError
from denseclip_viz.features.feature_shards import Shard
from denseclip_viz.features.manifest import StoredImage
from denseclip_viz.features.shard_reader import ShardReader
from denseclip_viz.validation import Size

ROWS = 8192  # vectors that are in memory at once, in fp32: 16 MB of width 512


class Block(NamedTuple):
    """Rows of neighbouring images.

    Attributes:
        images: Numbers of the images.
        grid: The grid that all of them have, `(y, x)`; `(1, 1)` of global embeddings.
        rows: Unit vectors, `(image · y · x, D)` in fp32.
    """

    images: range
    grid: Size
    rows: Tensor


@dataclass(frozen=True)
class FeatureRows:
    """Reads the vectors of images.

    Attributes:
        images: Where each image's are.
        keep: What there is of them: `"global"`, `"dense"`.
        paths: The paths to dense features.
        reader: Reads files.
    """

    images: tuple[StoredImage, ...]
    keep: tuple[str, ...]
    paths: tuple[str, ...]
    reader: ShardReader

    @cached_property
    def width(self) -> int:
        """D, the length of a vector."""
        shard, _, _ = next(self._pieces(self.keep[0], range(1)))
        return int(self.reader.read(shard, self._name(self.keep[0])).shape[-1])

    def raw(self, number: int, kind: str, path: str | None = None) -> Tensor:
        """Take the vectors of an image at their own length, `(1, D)` or `(position, D)`."""
        ((shard, start, stop),) = self._pieces(kind, range(number, number + 1))
        name = self._name(kind, path)
        rows = self.reader.read(shard, name)[start:stop]
        if (lengths := f"{name}: length") not in shard.checksums:  # they are what the model gave
            return rows.clone()
        return F.normalize(rows.float(), dim=-1) * self.reader.read(shard, lengths)[start:stop, None]

    def blocks(self, kind: str, path: str | None = None) -> Iterator[Block]:
        """Go through all images in their order, some at a time: memory is bounded by `ROWS` vectors, or one image.

        Args:
            kind: `"global"` or `"dense"`.
            path: Whose dense features; the first path's by default.

        Raises:
            LayerError: the store does not hold them.
            OutputError: a damaged file.
        """
        name = self._name(kind, path)
        for images, grid in self._neighbours(kind):
            rows = [self.reader.read(shard, name)[start:stop] for shard, start, stop in self._pieces(kind, images)]
            units = torch.cat(rows).float()  # of any length, or rounded to half precision
            yield Block(
                images, grid, units.div_(torch.linalg.vector_norm(units, dim=-1, keepdim=True).clamp_min_(1e-12))
            )

    def check(self, kind: str, path: str | None = None) -> None:
        """Raise a LayerError where the store does not hold features of a kind, or along a path."""
        self._name(kind, path)

    def _name(self, kind: str, path: str | None = None) -> str:
        """Name the tensor of a kind, and a path."""
        if kind not in self.keep:
            got, fix = f"{kind} features of a store of {', '.join(self.keep)}", "Encode with keep=('global', 'dense')."
            raise LayerError(got, expected=f"a store that keeps {kind}", fix=fix)
        if path is not None and path not in self.paths:
            got, fix = f"path {path!r} of a store of {', '.join(self.paths)}", "Encode with that path."
            raise LayerError(got, expected="a path that was encoded", fix=fix)
        return "global" if kind == "global" else f"dense: {self.paths[0] if path is None else path}"

    def _neighbours(self, kind: str) -> Iterator[tuple[range, Size]]:
        """Part the images into neighbours of one grid, no more than fit into a block."""
        if kind == "global":
            yield from (
                (range(at, min(at + ROWS, len(self.images))), (1, 1)) for at in range(0, len(self.images), ROWS)
            )
            return
        start = 0
        for number in range(1, len(self.images) + 1):
            grid = self._grid(start)
            full = (number - start) * grid[0] * grid[1] >= ROWS
            if full or number == len(self.images) or self._grid(number) != grid:
                yield range(start, number), grid
                start = number

    def _grid(self, number: int) -> Size:
        geometry = self.images[number].geometry
        assert geometry is not None
        return geometry.grid

    def _pieces(self, kind: str, images: range) -> Iterator[tuple[Shard, int, int]]:
        """Say which rows of which files neighbours are, in as few pieces as there are."""
        piece: tuple[Shard, int, int] | None = None
        for stored in self.images[images.start : images.stop]:
            assert stored.shard is not None
            start, count = (stored.row, 1) if kind == "global" else (stored.start, stored.positions)
            if piece and piece[0] is stored.shard and piece[2] == start:
                piece = (stored.shard, piece[1], start + count)
                continue
            if piece:
                yield piece
            piece = (stored.shard, start, start + count)
        if piece:
            yield piece
