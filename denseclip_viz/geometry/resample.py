"""From the grid to the image and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.cells import Geometry
from denseclip_viz.geometry.placement import Floats, Weights, between
from denseclip_viz.validation import pair


def weights(geometry: Geometry, rows: int, columns: int) -> Weights:
    """Weigh the grid bilinearly for the image drawn at rows x columns, edge cells held.

    Returns:
        `y` (row, grid y), `x` (column, grid x), rows sum to 1; `visible_rows`, `visible_columns`: False where
        the model saw nothing and the weights only hold the edge. With `stretch`, or windows kept apart, in two
        steps, as the official code: to the resized image, to the drawn one. GeometryError for a size that cannot be.
    """
    rows, columns = pair((rows, columns), "drawn image (rows, columns)")
    if geometry.stretch or geometry.apart:
        y, x = _two_steps(geometry, 0, rows), _two_steps(geometry, 1, columns)
        return Weights(y, x, np.ones(rows, dtype=bool), np.ones(columns, dtype=bool))
    return geometry.placement().weights(rows, columns)


def upsample(maps: NDArray[Any], geometry: Geometry, rows: int | None = None, columns: int | None = None) -> Floats:
    """Draw maps (..., y, x) over the image, (..., row, column), NaN where the model saw nothing.

    In the image's own size by default. GeometryError if the maps are not of this grid.
    """
    if maps.shape[-2:] != geometry.grid:
        got, expected = f"Maps of shape {maps.shape}", f"(..., y, x) with the grid {geometry.grid}"
        raise GeometryError(got, expected=expected, fix="Pass maps and geometry of one trace.")
    rows = geometry.image[0] if rows is None else rows
    columns = geometry.image[1] if columns is None else columns
    return weights(geometry, rows, columns).draw(maps)


def downsample_mask(mask: NDArray[np.bool_], geometry: Geometry) -> Floats:
    """Measure the share of each cell (y, x) that a mask (row, column) of the original image covers, exact in area.

    Padding does not count; a cell of nothing but padding is NaN. GeometryError if the mask is not boolean or
    not of the image's size.

    Example:
        >>> from denseclip_viz.geometry import Native, Preprocess
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> geometry = Native().plan((3, 3), preprocess=clip, cell=(1, 1))
        >>> downsample_mask(np.array([[False, True, True]] * 3), geometry)[0].round(2)
        array([0.33, 1.  ])
    """
    if mask.dtype != np.bool_ or mask.shape != geometry.image:
        got, expected = f"A mask {mask.shape} of {mask.dtype}", f"booleans of shape {geometry.image}"
        raise GeometryError(got, expected=expected, fix="Resize it to the image and threshold it.")
    covered: Floats = mask.astype(np.float64)
    for axis in (0, 1):
        edges = geometry.edges(axis).clip(*geometry.sight(axis))
        sums = np.concatenate([np.zeros_like(covered[:1]), covered.cumsum(axis=0)])
        with np.errstate(invalid="ignore"):  # 0 / 0 is a cell of padding
            covered = (np.diff(between(sums, edges), axis=0) / np.diff(edges)[:, None]).T
    return covered


def _two_steps(geometry: Geometry, axis: int, n: int) -> Floats:
    """Weigh by way of the resized image, where each window's map is drawn over its own pixels, and their mean taken.

    Rows and columns part, as bilinear weights do: windows are every start along y with every start along x.
    """
    resized, starts = geometry.resized[axis], geometry.starts(axis) if geometry.apart else [0]
    side = geometry.window[axis] if geometry.apart and geometry.window else resized
    cells = geometry.grid[axis] // len(starts)
    one = between(np.eye(cells), (np.arange(side) + 0.5) / side * cells - 0.5)
    drawn = np.zeros((resized, len(starts), cells))
    for at, start in enumerate(starts):
        drawn[start : start + side, at] = one
    drawn /= drawn.sum((1, 2), keepdims=True)
    return between(drawn.reshape(resized, -1), (np.arange(n) + 0.5) / n * resized - 0.5)
