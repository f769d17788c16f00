"""Where a grid lies in an image: which cell is at a place, which part of a cell was seen, and how its maps are drawn.

All sizes are (height, width) in pixels, all grids (y, x), all boxes (top, left, bottom, right).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from denseclip_viz.validation import Size

MEET = 1e-6  # of a cell
LEAST = 1e-3  # pixels of a cell that count as seen
Box = tuple[float, float, float, float]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


class Weights(NamedTuple):
    """Sampling from a grid onto a drawn image: drawn = y @ map @ x.T, true only where the model saw the image."""

    y: Floats
    x: Floats
    visible_rows: Bools
    visible_columns: Bools

    def draw(self, maps: NDArray[Any]) -> Floats:
        """Draw maps (..., y, x) as (..., row, column), NaN where the model saw nothing."""
        dtype = np.result_type(maps, np.float32)
        drawn: Floats = self.y.astype(dtype) @ maps @ self.x.T.astype(dtype)
        drawn[..., ~self.visible_rows, :] = np.nan
        drawn[..., ~self.visible_columns] = np.nan
        return drawn


class Placement(NamedTuple):
    """Where a grid lies in an image, in the image's pixels, edges at whole numbers.

    Attributes:
        image: Size (height, width) of the image.
        grid: Cells (y, x).
        box: (top, left, bottom, right) of the grid; beyond the image where the input was padded.
        visible: (top, left, bottom, right) of what the model saw of the image.
    """

    image: Size
    grid: Size
    box: Box
    visible: Box

    @property
    def extent(self) -> Box:
        """(left, right, bottom, top) of the grid for `imshow`, where pixel centres are at whole numbers."""
        top, left, bottom, right = self.box
        return left - 0.5, right - 0.5, bottom - 0.5, top - 0.5

    @property
    def is_cropped(self) -> bool:
        """Whether the model did not see a part that is large enough to be noticed (half a pixel)."""
        top, left, bottom, right = self.visible
        return top > 0.5 or left > 0.5 or bottom < self.image[0] - 0.5 or right < self.image[1] - 0.5

    @property
    def in_sight(self) -> Bools:
        """Mark the cells (y, x) that `middle_of` has a place for: those of nothing but padding have none."""
        sides = (self._sides(axis, np.arange(cells)) for axis, cells in enumerate(self.grid))
        return np.asarray(np.logical_and.outer(*(last - first > LEAST for first, last in sides)))

    def _sides(self, axis: int, at: ArrayLike) -> tuple[Floats, Floats]:
        """Find from where to where what the model saw of these rows or columns of cells reaches."""
        start, at = self.box[axis], np.asarray(at)
        size = (self.box[axis + 2] - start) / self.grid[axis]
        first, last = start + at * size, start + (at + 1) * size
        return np.maximum(first, self.visible[axis]), np.minimum(last, self.visible[axis + 2])

    def mask(self, rows: int, columns: int) -> Bools:
        """Mark the pixels (row, column), by their middles, that the model saw of the image drawn with so many."""
        mask: Bools = np.logical_and.outer(self._middles(0, rows)[1], self._middles(1, columns)[1])
        return mask

    def cells_at(self, axis: int, places: ArrayLike) -> NDArray[np.int64]:
        """Find the row or column of cells that each place lies in: below 0, or from their number on, beyond the grid.

        Where two meet the later one has it, whichever way a sum was rounded; geometry.js does the same.
        """
        start, end, cells = self.box[axis], self.box[axis + 2], self.grid[axis]
        at: NDArray[np.int64] = np.floor((np.asarray(places) - start) / (end - start) * cells + MEET).astype(np.int64)
        return at

    def cell_at(self, place: Sequence[float]) -> list[int]:
        """Find the cell that a place (y, x) lies in, or the nearest one."""
        return [int(self.cells_at(axis, at).clip(0, self.grid[axis] - 1)) for axis, at in enumerate(place)]

    def box_of(self, cell: Sequence[int]) -> Box | None:
        """Find what the model saw of a cell (y, x); None where that is nothing, as geometry.js does."""
        (top, bottom), (left, right) = (self._sides(axis, at) for axis, at in enumerate(cell))
        if bottom - top <= LEAST or right - left <= LEAST:
            return None
        return float(top), float(left), float(bottom), float(right)

    def middle_of(self, cell: Sequence[int]) -> list[float] | None:
        """Find the middle of what the model saw of a cell (y, x); None where that is nothing."""
        box = self.box_of(cell)
        return None if box is None else [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]

    def weights(self, rows: int, columns: int, *, nearest: bool = False) -> Weights:
        """Weigh the grid for the image drawn at rows x columns, bilinearly or by its nearest cell; rows sum to 1."""
        sides = (self._weights(axis, count, nearest) for axis, count in enumerate((rows, columns)))
        (y, visible_rows), (x, visible_columns) = sides
        return Weights(y, x, visible_rows, visible_columns)

    @classmethod
    def from_centres(cls, y: Floats, x: Floats) -> Placement:
        """Place cells by their centres, at least two along each axis; the image ends where they do."""
        halves = [(at[-1] - at[0]) / (len(at) - 1) / 2 for at in (y, x)]
        top, left = (float(at[0] - half) + 0.5 for at, half in zip((y, x), halves, strict=True))
        bottom, right = (float(at[-1] + half) + 0.5 for at, half in zip((y, x), halves, strict=True))
        box = (top, left, bottom, right)
        return cls((math.ceil(bottom), math.ceil(right)), (len(y), len(x)), box, box)

    def to_dict(self) -> dict[str, Any]:
        """Return the grid and its box by name, for the browser."""
        sides = dict(zip(("top", "left", "bottom", "right"), map(float, self.box), strict=True))
        return {"rows": self.grid[0], "columns": self.grid[1], **sides}

    @classmethod
    def from_dict(cls, grid: Mapping[str, Any], *, image: Sequence[int], visible: Sequence[float]) -> Placement:
        """Read the placement of a grid that `to_dict` wrote, in an image of which a box is visible."""
        top, left, bottom, right = visible
        box = (grid["top"], grid["left"], grid["bottom"], grid["right"])
        return cls((image[0], image[1]), (grid["rows"], grid["columns"]), box, (top, left, bottom, right))

    def _middles(self, axis: int, count: int) -> tuple[Floats, Bools]:
        """Find where the middles of rows or columns lie in the image, and which of them the model saw."""
        middles = (np.arange(count) + 0.5) / count * self.image[axis]
        return middles, (self.visible[axis] <= middles) & (middles <= self.visible[axis + 2])

    def _weights(self, axis: int, count: int, nearest: bool) -> tuple[Floats, Bools]:
        middles, visible = self._middles(axis, count)
        start, end, cells = self.box[axis], self.box[axis + 2], self.grid[axis]
        places = (middles - start) / (end - start) * cells - 0.5
        return between(np.eye(cells), np.floor(places + 0.5) if nearest else places), visible


def between(matrix: Floats, at: Floats) -> Floats:
    """Take rows of a matrix (row, column) at fractional places, linear in between, held at the ends."""
    at = at.clip(0, len(matrix) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(matrix) - 1)
    share = (at - low)[:, None]
    return np.asarray((1 - share) * matrix[low] + share * matrix[high])
