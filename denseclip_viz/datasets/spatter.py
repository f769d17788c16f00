"""Drops on the lens, of water or of mud; what OpenCV 5 gives by its own steps, to 2e-5 of a grey value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]

_TURQUOISE, _BROWN = (175, 238, 238), (63, 42, 20)
_RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
_FAR = 20
_LOW, _HIGH = 50, 150
_UNIT = 1 << 16  # distances are counted in whole parts, as OpenCV does
_COSTS = {1: 1.0, 2: 1.4, 5: 2.1969}  # by squared length
_PAIRS = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
_STEPS = {(y, x): round(_COSTS[y**2 + x**2] * _UNIT) for y, x in _PAIRS if y**2 + x**2 in _COSTS}


def spatter(
    image: Floats, constants: tuple[str, float, float, float, float, float], rng: np.random.Generator
) -> Floats:
    """Throw drops at an image, `(row, column, rgb)` from 0 to 1.

    Constants are the liquid, the mean and the spread of noise, how it is blurred, above what there is a drop, and how
    bright water is or how mud is blurred.
    """
    liquid, mean, spread, sigma, threshold, last = constants
    layer = _blurred(rng.normal(mean, spread, image.shape[:2]), sigma)
    layer[layer < threshold] = 0
    if liquid == "mud":
        mud = _blurred((layer > threshold).astype(float), last)
        mud[mud < 0.8] = 0
        return image * (1 - mud[..., None]) + mud[..., None] * np.divide(_BROWN, 255)
    drops = (layer * 255).astype(np.uint8)
    water = drops * _relief(drops)
    water *= last / max(water.max(), 1e-12)  # an image too small for a drop has none
    return image + water[..., None] * np.divide(_TURQUOISE, 255)


def _blurred(values: Floats, sigma: float) -> Floats:
    from scipy.ndimage import gaussian_filter

    blurred: Floats = gaussian_filter(values, sigma, mode="nearest", truncate=4)
    return blurred


def _relief(drops: Bytes) -> Floats:
    """Light the drops from one side: how far the next edge is, equalised and embossed."""
    from scipy.ndimage import correlate

    far = _sums_of_nine(np.minimum(_distances(edges(drops)), _FAR)) * (1 / 9)
    lit = correlate(_equalised(far.astype(np.float32).astype(np.uint8)).astype(float), np.array(_RELIEF), mode="mirror")
    return np.rint(_sums_of_nine(lit.clip(0, 255)) / 9)


def _sums_of_nine(values: Floats) -> Floats:
    from scipy.ndimage import correlate

    sums: Floats = correlate(values, np.ones((3, 3)), mode="mirror")
    return sums


def edges(grey: Bytes) -> NDArray[np.bool_]:
    """Find edges as Canny does, in sums of absolute Sobel gradients, from 50 on where they join one above 150.

    Example:
        >>> edges(np.repeat([[0, 0, 99, 99]], 3, axis=0).astype(np.uint8)).sum(axis=0).tolist()
        [0, 3, 0, 0]
    """
    from scipy.ndimage import label, sobel

    dy, dx = (sobel(grey.astype(float), axis, mode="nearest") for axis in (0, 1))
    size = np.abs(dx) + np.abs(dy)
    around = np.pad(size, 1)

    def beside(y: int, x: int) -> Floats:
        return around[1 + y : 1 + y + size.shape[0], 1 + x : 1 + x + size.shape[1]]

    flat = np.abs(dy) < np.abs(dx) * np.tan(np.pi / 8)
    steep = np.abs(dy) > np.abs(dx) * np.tan(3 * np.pi / 8)
    falling = np.where(dx * dy < 0, (size > beside(-1, 1)) & (size > beside(1, -1)), size > beside(-1, -1))
    slanted = np.where(dx * dy < 0, falling, falling & (size > beside(1, 1)))
    level = (size > beside(0, -1)) & (size >= beside(0, 1))
    upright = (size > beside(-1, 0)) & (size >= beside(1, 0))
    ridge = np.where(flat, level, np.where(steep, upright, slanted)) & (size > _LOW)
    joined, _ = label(ridge, np.ones((3, 3)))
    strong = np.unique(joined[ridge & (size > _HIGH)])
    return np.isin(joined, strong[strong > 0])


def _distances(edge: NDArray[np.bool_]) -> Floats:
    """Give how far the nearest edge is, up to 20, in straight, diagonal and knight's steps of 1, 1.4 and 2.1969."""
    most = (_FAR + 2) * _UNIT
    far = np.where(edge, 0, most)
    while True:
        around = np.pad(far, 2, constant_values=most)
        height, width = far.shape
        steps = [around[2 + y : 2 + y + height, 2 + x : 2 + x + width] + cost for (y, x), cost in _STEPS.items()]
        nearer = np.minimum.reduce([far, *steps])
        if (nearer == far).all():
            return far / _UNIT
        far = nearer


def _equalised(values: Bytes) -> Bytes:
    """Spread the values so that each is as frequent as any other."""
    counts = np.bincount(values.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    if counts[first] == values.size:
        return values
    scale = np.float32(255) / np.float32(values.size - counts[first])
    table = np.rint((counts.cumsum() - counts[first]).astype(np.float32) * scale).clip(0, 255)
    equal: Bytes = table.astype(np.uint8)[values]
    return equal
