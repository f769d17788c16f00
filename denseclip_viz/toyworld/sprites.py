"""Things as small layered images, drawn once per kind, surface and resolution, coloured when they are used.

A sprite keeps what is fixed (windows, wheels, faces) apart from the weights of the thing's own two colours,
so that one sprite serves every colour: ``rgb = fixed + weights @ (main, second)``, premultiplied by alpha.
"""

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFilter

from denseclip_viz.toyworld.art import ART
from denseclip_viz.toyworld.shapes import PALETTE, Part, extent

Plane = NDArray[np.float32]

LEVELS = (27, 40, 60, 90, 135, 200, 300, 450, 680)
_OVERSAMPLE = 4
_CONTOUR = 0.015
_SWATCHES_PER_UNIT = 5.0


class Sprite(NamedTuple):
    """A drawn thing: ``fixed`` is (red, green, blue, alpha), ``weights`` is (main, second, 0)."""

    fixed: Image.Image
    weights: Image.Image
    scale: float
    margin: int


class Frame(NamedTuple):
    """Size of a kind in units in which the geometric mean of width and height is one."""

    width: float
    height: float
    left: float
    top: float
    unit: float


class _Sheet(NamedTuple):
    """The layers (red, green, blue, main, second, alpha) and how drawing units fall on them."""

    layers: Plane
    pattern: Plane
    origin: tuple[float, float]
    step: float
    margin: int


@cache
def frame_of(kind: str) -> Frame:
    """Return width and height of a kind at size one, and where its drawing units start."""
    left, top, right, bottom = extent(ART[kind]())
    unit = float(np.sqrt((right - left) * (bottom - top)))
    return Frame((right - left) / unit, (bottom - top) / unit, left, top, unit)


@lru_cache(maxsize=1600)
def draw_sprite(kind: str, surface: str, longest: int) -> Sprite:
    """Draw a kind with a surface, its longer side ``longest`` pixels.

    Surfaces are ``plain``, ``striped``, ``striped across``, ``dotted`` and ``checked``.
    """
    shape = frame_of(kind)
    scale = longest / max(shape.width, shape.height)
    margin = 2 + int(np.ceil(3 * _CONTOUR * scale))
    width, height = (int(np.ceil(side * scale - 1e-6)) + 2 * margin for side in (shape.width, shape.height))
    layers = np.zeros((height, width, 6), np.float32)
    pattern = _pattern(surface, width, height, scale, margin)
    sheet = _Sheet(layers, pattern, (shape.left, shape.top), scale / shape.unit, margin)
    for part in ART[kind]():
        _paint(sheet, part)
    _contour(layers, scale)
    planes = np.rint(np.clip(layers, 0, 1) * 255).astype(np.uint8)
    # CMYK is four bare channels to Pillow; RGBA it would multiply by alpha once more
    fixed = Image.frombytes("CMYK", (width, height), planes[..., [0, 1, 2, 5]].tobytes())
    weights = np.concatenate([planes[..., 3:5], np.zeros_like(planes[..., :1])], -1)
    return Sprite(fixed, Image.fromarray(weights), scale, margin)


def _paint(sheet: _Sheet, part: Part) -> None:
    """Lay one part over the layers."""
    cover, window = _coverage(sheet, part)
    under = sheet.layers[window]
    weights, opacity = _mix(part.paint)
    ink = np.broadcast_to(weights, under.shape).copy()
    if part.paint == "main":
        ink[..., 4] = sheet.pattern[window]
        ink[..., 3] = 1.0 - ink[..., 4]
    if part.atop:
        ink *= under[..., 5:]  # premultiplied: what is not there cannot be painted, and alpha stays
    under += (cover * opacity)[..., None] * (ink - under)


def _coverage(sheet: _Sheet, part: Part) -> tuple[Plane, tuple[slice, slice]]:
    """Return how much of each pixel the part covers, and the window it was computed in."""
    rings = [(ring - sheet.origin) * sheet.step + sheet.margin for ring in part.rings]
    points = np.concatenate(rings)
    limit = np.array(sheet.layers.shape[1::-1])
    x0, y0 = np.clip(np.floor(points.min(0)).astype(int) - 1, 0, limit - 1).tolist()
    x1, y1 = np.clip(np.ceil(points.max(0)).astype(int) + 1, (x0 + 1, y0 + 1), limit).tolist()
    tile = Image.new("L", ((x1 - x0) * _OVERSAMPLE, (y1 - y0) * _OVERSAMPLE))
    pen = ImageDraw.Draw(tile)
    for ring in rings:
        pen.polygon(((ring - (x0, y0)) * _OVERSAMPLE).ravel().tolist(), fill=255)
    cover: Plane = np.asarray(tile.reduce(_OVERSAMPLE), np.float32) / np.float32(255)
    return cover, (slice(y0, y1), slice(x0, x1))


def _mix(paint: str) -> tuple[Plane, float]:
    """Turn a paint into weights of (red, green, blue, main, second, alpha), and its opacity."""
    if paint.startswith("main"):
        towards = int(paint[4:] or 0) / 100
        white = max(towards, 0.0)
        return np.array([white, white, white, 1 - abs(towards), 0, 1], np.float32), 1.0
    red, green, blue, *alpha = ImageColor.getrgb(PALETTE.get(paint, paint))
    opacity = alpha[0] / 255 if alpha else 1.0
    return np.array([red / 255, green / 255, blue / 255, 0, 0, 1], np.float32), opacity


def _contour(layers: Plane, scale: float) -> None:
    """Slip a thin dark rim, in the thing's own hue, under the silhouette."""
    alpha = layers[..., 5]
    plate = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    reach = max(_CONTOUR * scale, 0.4)
    wide = np.asarray(plate.filter(ImageFilter.GaussianBlur(reach)), np.float32) / 255
    rim = np.clip((wide - 0.12) * max(6.0, reach * 5), 0, 1) * (1 - alpha) * 0.8
    layers[..., 3] += rim * 0.42
    layers[..., 5] += rim


def _pattern(surface: str, width: int, height: int, scale: float, margin: int) -> Plane:
    """Return the weight of the second colour: 0 where the surface shows the main colour."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = ((axis + 0.5 - margin) / scale * _SWATCHES_PER_UNIT for axis in (x, y))
    sharp = scale / _SWATCHES_PER_UNIT
    if surface == "striped":
        return _bands(0.3 * x + 0.95 * y, 0.42, sharp)
    if surface == "striped across":
        return _bands(0.95 * x - 0.3 * y, 0.42, sharp)
    if surface == "checked":
        first, second = _bands(x * 0.62, 0.5, sharp / 0.62), _bands(y * 0.62, 0.5, sharp / 0.62)
        return np.asarray(first + second - 2 * first * second, np.float32)
    if surface == "dotted":
        odd = np.floor(y) % 2
        away = np.hypot((x + 0.5 * odd) % 1 - 0.5, y % 1 - 0.5)
        return np.asarray(np.clip((0.3 - away) * sharp + 0.5, 0, 1), np.float32)
    return np.zeros((height, width), np.float32)


def _bands(along: Plane, share: float, sharp: float) -> Plane:
    """Draw bands of period one; ``sharp`` pixels a period make the edge one pixel wide."""
    away = np.abs(along % 1 - 0.5)
    return np.asarray(np.clip((share / 2 - away) * sharp + 0.5, 0, 1), np.float32)
