"""Where the cells of a grid lie in the original image, and how the image was fitted to the model's input.

Per axis: input coordinate = image coordinate * resized / image - offset, pixel edges at whole numbers.
All sizes are (height, width) in pixels, all grids (y, x), all boxes (top, left, bottom, right).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.placement import Bools, Box, Floats, Placement
from denseclip_viz.validation import Size, one_of, pair

SIDES = (32, 2048)  # what a side may be resized to
MAX_PIXELS = 4096 * 4096  # of one input: 200 MB as float32


@dataclass(frozen=True)
class Geometry:
    """How one image became one model input, and where each cell of the grid came from.

    `offset` is the (top, left) of the input in the resized image, negative where padded before it.
    `windows` are (top, left) in the input. `stretch` draws the grid over the unpadded image, as the
    official MaskCLIP code does. `shift` is (down, right), in input pixels, from the middle of a cell's square
    to the middle of what it sees: 0 unless a tower pads one side only. With `apart` the grid is that of every
    window beside that of the next, as each was seen; drawing takes their mean where they lie over each other.
    GeometryError if the numbers cannot be.

    Example:
        >>> from denseclip_viz.geometry import Preprocess, Whole
        >>> clip = Preprocess((50, 50), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> whole = Whole().plan((100, 150), preprocess=clip, cell=(10, 10))
        >>> whole.input, whole.grid, whole.y
        ((50, 80), (5, 8), array([ 9.5, 29.5, 49.5, 69.5, 89.5]))
    """

    mode: str
    image: Size
    resized: Size
    offset: Size
    input: Size
    cell: Size
    windows: tuple[Size, ...] = ()
    window: Size | None = None
    stretch: bool = False
    shift: tuple[float, float] = (0.0, 0.0)
    apart: bool = False

    def __post_init__(self) -> None:
        one_of(self.mode, ("native", "whole", "tiles"), "mode")
        for name in ("image", "resized", "input", "cell"):
            pair(getattr(self, name), name)
        pair(self.offset, "offset", least=-(2**31))
        _check_windows(self)
        if np.shape(self.shift) != (2,) or not np.isfinite(self.shift).all():
            fix = "Give (0.0, 0.0) where cells see what lies around their middle."
            raise GeometryError(f"shift={self.shift!r}", expected="two numbers (down, right)", fix=fix)
        if min(self.grid) < 1:
            got, expected = f"An input of {self.input} px", f"at least one cell of {self.cell} px"
            raise GeometryError(got, expected=expected, fix="Resize the image to more pixels.")
        if math.prod(self.input) > MAX_PIXELS:
            got = f"The {self.mode} input of an image of {self.image} px is {self.input} px"
            expected = f"at most {MAX_PIXELS / 1e6:.1f} million pixels"
            raise GeometryError(got, expected=expected, fix=f"Make the longer side {SIDES[1]} or less.")

    @property
    def grid(self) -> Size:
        """Cells (y, x); a rest of the input that fills no cell is not seen, as in a convolution."""
        if self.apart:
            return self._cells(0) * len(self.starts(0)), self._cells(1) * len(self.starts(1))
        return self.input[0] // self.cell[0], self.input[1] // self.cell[1]

    def starts(self, axis: int) -> list[int]:
        """List where windows begin along y (axis 0) or x (axis 1), in pixels of the input."""
        return sorted({at[axis] for at in self.windows})

    def first_cell(self, window: Size) -> Size:
        """Say at which cell (y, x) of the grid the cells of a window begin."""
        if self.apart:
            y, x = (self.starts(i).index(window[i]) * self._cells(i) for i in (0, 1))
            return y, x
        return window[0] // self.cell[0], window[1] // self.cell[1]

    def _cells(self, axis: int) -> int:
        """Count the cells of one window."""
        return 0 if self.window is None else self.window[axis] // self.cell[axis]

    @property
    def y(self) -> Floats:
        """Rows of the cells' centres in the original image, where the first pixel's centre is 0."""
        return self._centres(0)

    @property
    def x(self) -> Floats:
        """Columns of the cells' centres in the original image, where the first pixel's centre is 0."""
        return self._centres(1)

    @property
    def visible(self) -> Box:
        """(top, left, bottom, right) of the original image that the model saw, pixel edges at whole numbers."""
        (top, bottom), (left, right) = self.sight(0), self.sight(1)
        return top, left, bottom, right

    def placement(self, *, shift: tuple[float, float] | None = None) -> Placement:
        """Tell where the grid lies in the original image; `shift` is that of an inner layer instead of this one's."""
        if shift is not None:
            return replace(self, shift=shift).placement()
        (top, bottom), (left, right) = (self.edges(i)[[0, -1]].tolist() for i in (0, 1))
        return Placement(self.image, self.grid, (top, left, bottom, right), self.visible)

    def placement_of_pixels(self) -> Placement:
        """Tell what of the original image was seen, where each of its pixels is a cell of its own, as of labels."""
        height, width = self.image
        return Placement(self.image, self.image, (0.0, 0.0, float(height), float(width)), self.visible)

    @property
    def in_sight(self) -> Bools:
        """Mark the cells (y, x) of which the model saw something of the image: where a map can be highest."""
        return np.ones(self.grid, dtype=bool) if self.apart else self.placement().in_sight

    def edges(self, axis: int) -> Floats:
        """Return edges of the cells along y (axis 0) or x (axis 1) in original pixels, one more than cells."""
        if self.apart:
            got, fix = "Windows that are kept apart, whose cells lie over each other", "Take Tiles() without apart."
            raise GeometryError(got, expected="one grid, to be drawn or measured cell by cell", fix=fix)
        cells = np.arange(self.grid[axis] + 1)
        if self.stretch:
            return cells * self.image[axis] / self.grid[axis]
        return self._drawn(axis, cells * self.cell[axis] + self.shift[axis])

    def sight(self, axis: int) -> tuple[float, float]:
        """Return from where to where along y (axis 0) or x (axis 1) the model saw the original image, in its pixels."""
        image = float(self.image[axis])
        if self.stretch or self.apart:
            return 0.0, image
        overlap = self.shift != (0.0, 0.0)  # then the rest that fills no cell of its own is seen too
        used = self.input[axis] if overlap else self.grid[axis] * self.cell[axis]
        first, last = self._drawn(axis, np.array([0, used]))
        return max(float(first), 0.0), min(float(last), image)

    def _centres(self, axis: int) -> Floats:
        if self.apart:
            middles = (np.arange(self._cells(axis)) + 0.5) * self.cell[axis]
            return self._drawn(axis, np.concatenate([start + middles for start in self.starts(axis)])) - 0.5
        edges = self.edges(axis)
        return (edges[1:] + edges[:-1] - 1) / 2

    def _drawn(self, axis: int, at: Floats | NDArray[np.integer[Any]]) -> Floats:
        """Find where places of the input lie in the original image."""
        drawn: Floats = (self.offset[axis] + at) * self.image[axis] / self.resized[axis]
        return drawn

    def cell_box(self, y: int, x: int) -> Box:
        """Return the box of a cell in original pixels, not clipped where it reaches into padding."""
        if not (0 <= y < self.grid[0] and 0 <= x < self.grid[1]):
            expected = f"a cell of the grid {self.grid}"
            raise GeometryError(f"Cell ({y}, {x})", expected=expected, fix="Count from 0, from the top left.")
        (top, bottom), (left, right) = self.edges(0)[y : y + 2], self.edges(1)[x : x + 2]
        return float(top), float(left), float(bottom), float(right)

    def to_json(self) -> str:
        """Write all fields as JSON text, for attrs and files."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Geometry:
        """Read the geometry that `to_json` wrote; raise GeometryError on other text."""
        try:
            return cls(**{name: _tuples(value) for name, value in json.loads(text).items()})
        except (ValueError, TypeError, AttributeError) as error:
            fix = "Pass the text of Geometry.to_json()."
            raise GeometryError(f"Text without a geometry ({error})", expected="its JSON", fix=fix) from error


def _check_windows(geometry: Geometry) -> None:
    if geometry.windows == () and geometry.window is None and not geometry.apart:
        return
    if not isinstance(geometry.windows, tuple):
        got, expected = f"windows={geometry.windows!r}", "a tuple of (top, left)"
        raise GeometryError(got, expected=expected, fix="Plan it with Tiles().")
    size = pair(geometry.window, "window")
    for at in geometry.windows:
        top, left = pair(at, "window position", least=0)
        on_lattice = top % geometry.cell[0] == 0 and left % geometry.cell[1] == 0
        inside = top + size[0] <= geometry.input[0] and left + size[1] <= geometry.input[1]
        if not inside or not (on_lattice or geometry.apart):
            expected = f"a multiple of the cell {geometry.cell} inside the input {geometry.input}"
            raise GeometryError(f"A window at {at}", expected=expected, fix="Plan it with Tiles().")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def blend_weights(geometry: Geometry) -> tuple[Floats, Floats]:
    """Weigh a window's cells along y and x: a triangle, 1 in the middle, never 0; all alike where windows are apart.

    GeometryError if the geometry has no windows.
    """
    if geometry.window is None:
        got = f"A {geometry.mode} geometry, without windows"
        raise GeometryError(got, expected="one of tiles", fix="Plan it with Tiles().")
    y, x = (np.arange(n // c) for n, c in zip(geometry.window, geometry.cell, strict=True))
    y, x = np.minimum(y, y[::-1]) + 1, np.minimum(x, x[::-1]) + 1
    if geometry.apart:
        return np.ones(len(y)), np.ones(len(x))
    return y / y.max(), x / x.max()
