"""How much each cell of a tile counts where tiles overlap."""

from __future__ import annotations

import numpy as np

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
