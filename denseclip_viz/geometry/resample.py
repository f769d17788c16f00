"""From the grid to the image and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.cells import Floats, Geometry
from denseclip_viz.validation import pair


class Weights(NamedTuple):
    """Sampling from the grid onto the drawn image: map_full = y @ map @ x.T, true only where seen."""

    y: Floats
    x: Floats
    seen_rows: NDArray[np.bool_]
    seen_columns: NDArray[np.bool_]


def weights(geometry: Geometry, rows: int, columns: int) -> Weights:
    """Bilinear weights from the grid to the image drawn at rows x columns, edge cells held.

    Returns:
        `y` (row, grid y), `x` (column, grid x), rows sum to 1; `seen_rows`, `seen_columns`: False where the
        model saw nothing and the weights only hold the edge. With `stretch` in two steps, as the official
        code: grid to resized image to drawn image. GeometryError for a size that cannot be.

    Example:
        >>> from denseclip_viz.geometry import Native, Preprocess
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> weights(Native().plan((4, 4), preprocess=clip, cell=(1, 1)), 4, 4).y[:, 0]
        array([1.  , 0.75, 0.25, 0.  ])
    """
    rows, columns = pair((rows, columns), "drawn image (rows, columns)")
    (y, seen_rows), (x, seen_columns) = _axis_weights(geometry, 0, rows), _axis_weights(geometry, 1, columns)
    return Weights(y, x, seen_rows, seen_columns)


def upsample(maps: NDArray[Any], geometry: Geometry, rows: int | None = None, columns: int | None = None) -> Floats:
    """Maps (..., y, x) drawn over the image, (..., row, column), NaN where the model saw nothing.

    In the image's own size by default. GeometryError if the maps are not of this grid.

    Example:
        >>> from denseclip_viz.geometry import Native, Preprocess
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> upsample(np.ones((2, 2)), Native().plan((2, 4), preprocess=clip, cell=(1, 1)))[0]
        array([nan,  1.,  1., nan])
    """
    if maps.shape[-2:] != geometry.grid:
        got, expected = f"Maps of shape {maps.shape}", f"(..., y, x) with the grid {geometry.grid}"
        raise GeometryError(got, expected=expected, fix="Pass maps and geometry of one trace.")
    rows = geometry.image[0] if rows is None else rows
    columns = geometry.image[1] if columns is None else columns
    y, x, seen_rows, seen_columns = weights(geometry, rows, columns)
    dtype = np.result_type(maps, np.float32)
    full: Floats = y.astype(dtype) @ maps @ x.T.astype(dtype)
    full[..., ~seen_rows, :] = np.nan
    full[..., ~seen_columns] = np.nan
    return full


def downsample_mask(mask: NDArray[np.bool_], geometry: Geometry) -> Floats:
    """The share of each cell (y, x) that a mask (row, column) of the original image covers, exact in area.

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


def _axis_weights(geometry: Geometry, axis: int, n: int) -> tuple[Floats, NDArray[np.bool_]]:
    edges, cells, middles = geometry.edges(axis), geometry.grid[axis], (np.arange(n) + 0.5) / n
    at = middles * geometry.image[axis]
    first, last = geometry.sight(axis)
    seen = (first <= at) & (at <= last)
    matrix: Floats = np.eye(cells)
    if not geometry.stretch:
        return between(matrix, (at - edges[0]) / (edges[-1] - edges[0]) * cells - 0.5), seen
    resized = geometry.resized[axis]
    matrix = between(matrix, (np.arange(resized) + 0.5) / resized * cells - 0.5)
    return between(matrix, middles * resized - 0.5), seen


def between(matrix: Floats, at: Floats) -> Floats:
    """Rows of a matrix (row, column) at fractional places, linear in between, held at the ends.

    Example:
        >>> between(np.array([[0.0], [2.0]]), np.array([-1.0, 0.25, 3.0]))[:, 0].tolist()
        [0.0, 0.5, 2.0]
    """
    at = at.clip(0, len(matrix) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(matrix) - 1)
    share = (at - low)[:, None]
    return np.asarray((1 - share) * matrix[low] + share * matrix[high])
