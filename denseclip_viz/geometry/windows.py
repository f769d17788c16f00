"""Tiles laid over one another on the grid of the whole picture."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.cells import Floats, Geometry


def blend_weights(geometry: Geometry) -> tuple[Floats, Floats]:
    """Weights of a window's cells along y and x: a triangle, 1 in the middle, never 0.

    GeometryError if the geometry has no windows.

    Example:
        >>> from denseclip_viz.geometry import Preprocess, Tiles
        >>> clip = Preprocess((3, 3), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> blend_weights(Tiles().plan((3, 9), preprocess=clip, cell=(1, 1)))[0]
        array([0.5, 1. , 0.5])
    """
    if geometry.window is None:
        came = f"A geometry of the {geometry.mode} way, without windows"
        raise GeometryError(came, expected="one of tiles", fix="Plan it with Tiles().")
    y, x = (np.arange(n // c) for n, c in zip(geometry.window, geometry.cell, strict=True))
    y, x = np.minimum(y, y[::-1]) + 1, np.minimum(x, x[::-1]) + 1
    return y / y.max(), x / x.max()


def blend(values: Iterable[NDArray[Any]], geometry: Geometry) -> Floats:
    """Mean over the windows, weighted by `blend_weights`: (window, y, x, ...) to (y, x, ...) of the grid.

    `values` may be a generator of windows. GeometryError if their number or size is wrong.

    Example:
        >>> from denseclip_viz.geometry import Preprocess, Tiles
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> tiles = Tiles().plan((2, 3), preprocess=clip, cell=(1, 1))
        >>> blend(np.array([[[0.0, 2.0]] * 2, [[4.0, 6.0]] * 2]), tiles)[0]
        array([0., 3., 6.])
    """
    weight = np.outer(*blend_weights(geometry))
    total = _laid(values, geometry, weight)
    share = _laid(repeat(np.ones_like(weight), len(geometry.windows)), geometry, weight)
    return np.asarray(total / _like(share, total))


def overlay_sum(values: Iterable[NDArray[Any]], geometry: Geometry) -> Floats:
    """Plain sum over the windows: (window, y, x, ...) to (y, x, ...) of the grid; raises as `blend`.

    Example:
        >>> from denseclip_viz.geometry import Preprocess, Tiles
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> overlay_sum(np.ones((2, 2, 2)), Tiles().plan((2, 3), preprocess=clip, cell=(1, 1)))[0]
        array([1., 2., 1.])
    """
    tall, wide = (len(side) for side in blend_weights(geometry))
    return _laid(values, geometry, np.ones((tall, wide)))


def _laid(values: Iterable[NDArray[Any]], geometry: Geometry, weight: Floats) -> Floats:
    (tall, wide), out, count = weight.shape, None, 0
    for count, value in enumerate(values, start=1):
        if value.shape[:2] != (tall, wide) or count > len(geometry.windows):
            raise _wrong_windows(f"Window number {count} of shape {value.shape}", geometry, weight)
        if out is None:
            out = np.zeros((*geometry.grid, *value.shape[2:]), dtype=np.result_type(value, np.float32))
        top, left = geometry.windows[count - 1]
        y, x = top // geometry.cell[0], left // geometry.cell[1]
        out[y : y + tall, x : x + wide] += value * _like(weight, value)
    if out is None or count < len(geometry.windows):
        raise _wrong_windows(f"{count} windows", geometry, weight)
    return out


def _wrong_windows(came: str, geometry: Geometry, weight: Floats) -> GeometryError:
    expected = f"{len(geometry.windows)} windows (y, x, ...) of {weight.shape} cells"
    return GeometryError(came, expected=expected, fix="Pass one for each of geometry.windows, in that order.")


def _like(weight: Floats, values: NDArray[Any]) -> Floats:
    """Weights (y, x) that multiply values (y, x, ...) and leave float32 as it is."""
    dtype = np.result_type(values, np.float32)
    return weight.reshape(weight.shape + (1,) * (values.ndim - 2)).astype(dtype)
