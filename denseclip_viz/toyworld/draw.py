"""From a plan to pixels: textures, shadows and sprites laid over each other, then light, blur and noise.

A pixel belongs to the layer that gives it most of its colour: masks are exact, and every pixel has one owner.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from denseclip_viz.toyworld.rng import stream
from denseclip_viz.toyworld.scene_plan import Edge, Light, Plan, StuffPlan, ThingPlan
from denseclip_viz.toyworld.sprites import LEVELS, Plane, Sprite, draw_sprite
from denseclip_viz.toyworld.textures import draw_texture

_NOISE_SLACK = 64


class Drawing(NamedTuple):
    """An image (row, column, rgb) uint8 and the ``owner`` of its pixels (row, column) uint8.

    Owners count stuff first, then things, back to front. ``ground`` is the owner before things were laid,
    ``own`` the number of pixels of each thing before it was hidden.
    """

    image: NDArray[np.uint8]
    owner: NDArray[np.uint8]
    ground: NDArray[np.uint8]
    own: tuple[int, ...]


def draw(plan: Plan, size: int) -> Drawing:
    """Draw a plan as a square image of ``size`` pixels a side."""
    owner = np.zeros((size, size), np.uint8)
    share = np.ones((size, size), np.float32)
    canvas = _cut(plan.stuff[0], size, 0, size)
    for index, layer in enumerate(plan.stuff[1:], 1):
        _lay_stuff(layer, index, size, canvas, owner, share)
    ground, own = owner.copy(), []
    for index, thing in enumerate(plan.things, len(plan.stuff)):
        own.append(_lay_thing(thing, index, canvas, owner, share))
    return Drawing(_lit(canvas, plan.light), owner, ground, tuple(own))


def _cut(layer: StuffPlan, size: int, top: int, bottom: int, *, start: float | None = None) -> Plane:
    """Cut out rows of a texture as an image shows them; with ``start`` the texture begins at that row."""
    rgb = draw_texture(layer.name, layer.variant, size).rgb
    slack = rgb.shape[0] - size
    down = int(layer.cut[1] * slack) if start is None else -round(start)
    across = int(layer.cut[0] * slack)
    rows = rgb[max(top + down, 0) : bottom + down, across : across + size]
    pixels = (rows[:, ::-1] if layer.flip else rows).astype(np.float32).reshape(len(rows), -1)
    pixels *= np.tile(np.asarray(layer.tint, np.float32), size)  # long rows: ten times as fast as three channels
    return pixels.reshape(len(rows), size, 3)


def _lay_stuff(layer: StuffPlan, index: int, size: int, canvas: Plane, owner: NDArray[np.uint8], share: Plane) -> None:
    """Cover what lies beyond the layer's edge."""
    assert layer.edge is not None
    start = layer.edge.at * size if layer.name == "mountains" else None
    line = _line(layer, layer.edge, size)
    if layer.edge.upright:
        top, solid, bottom = 0, size, size
        cover = np.clip(np.arange(1, size + 1, dtype=np.float32) - line[:, None], 0, 1)
    else:
        top = int(np.clip(np.floor(line.min()), 0, size))
        bottom = size
        solid = int(np.clip(np.ceil(line.max()), top, size))
        cover = np.clip(np.arange(top + 1, solid + 1, dtype=np.float32)[:, None] - line, 0, 1)
    if top == bottom:
        return
    colour = _cut(layer, size, top, bottom, start=start)
    mixed = slice(top, solid)
    canvas[mixed] += cover[..., None] * (colour[: solid - top] - canvas[mixed])
    canvas[solid:] = colour[solid - top :]
    _claim(index, cover, owner[mixed], share[mixed])
    owner[solid:], share[solid:] = index, 1.0


def _line(layer: StuffPlan, edge: Edge, size: int) -> Plane:
    """Return where the layer begins, in pixels, for every column (or row, where the edge is upright)."""
    if layer.name == "mountains":
        known = draw_texture(layer.name, layer.variant, size)
        assert known.ridge is not None
        across = int(layer.cut[0] * (len(known.ridge) - size))
        ridge = known.ridge[across : across + size]
        return np.asarray((ridge[::-1] if layer.flip else ridge) + edge.at * size, np.float32)
    along = (np.arange(size, dtype=np.float32) + 0.5) / size
    swing = edge.wave * np.sin(2 * np.pi * (edge.turns * along + edge.phase))
    return np.asarray((edge.at + edge.slope * (along - 0.5) + swing) * size, np.float32)


def _claim(index: int, alpha: Plane, owner: NDArray[np.uint8], share: Plane) -> None:
    """Give the pixels to ``index`` in which it now has the largest share."""
    share *= 1 - alpha  # so much of the owner before shows through
    won = alpha > share
    owner[won] = index
    np.maximum(share, alpha, out=share)


def _lay_thing(thing: ThingPlan, index: int, canvas: Plane, owner: NDArray[np.uint8], share: Plane) -> int:
    """Lay a thing and its shadow; return how many pixels are its own."""
    size = canvas.shape[0]
    if thing.shadow:
        _shade(thing, canvas)
    left, top, right, bottom = thing.box
    longest = max(right - left, bottom - top) * size
    # the next larger of a few sprites: sampling shrinks it, or grows it by 3 % at most, so that edges stay sharp
    level = next((known for known in LEVELS if known >= 0.97 * longest), LEVELS[-1])
    drawn = draw_sprite(thing.kind, thing.weave, level)
    x0, y0, x1, y1 = _reach(thing, drawn, size)
    if x0 >= x1 or y0 >= y1:
        return 0
    matrix = _inverse(thing, drawn, size, x0, y0)
    shape = (x1 - x0, y1 - y0)
    fixed = np.asarray(drawn.fixed.transform(shape, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    weights = np.asarray(drawn.weights.transform(shape, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    colours = np.array([thing.main, thing.second, (0, 0, 0)], np.float32) / 255
    alpha = fixed[..., 3] * np.float32(1 / 255)
    window = (slice(y0, y1), slice(x0, x1))
    under = canvas[window]
    # what is drawn is premultiplied by its alpha; alpha in long rows is four times as fast as (…, 1)
    under *= np.repeat(1 - alpha, 3, axis=1).reshape(under.shape)
    under += fixed[..., :3]
    under += weights.astype(np.float32) @ colours
    _claim(index, alpha, owner[window], share[window])
    return int(np.count_nonzero(alpha > 0.5))


def _reach(thing: ThingPlan, drawn: Sprite, size: int) -> tuple[int, int, int, int]:
    """Return the pixels that the turned thing can touch, within the image."""
    left, top, right, bottom = thing.box
    cos, sin = abs(np.cos(np.deg2rad(thing.turn))), abs(np.sin(np.deg2rad(thing.turn)))
    wide, tall = (right - left) / 2, (bottom - top) / 2
    rim = drawn.margin / drawn.scale * thing.side
    half_x, half_y = cos * wide + sin * tall + rim, sin * wide + cos * tall + rim
    x0, x1 = (thing.x - half_x) * size, (thing.x + half_x) * size
    y0, y1 = (thing.y - half_y) * size, (thing.y + half_y) * size
    return max(int(x0), 0), max(int(y0), 0), min(int(x1) + 1, size), min(int(y1) + 1, size)


def _inverse(thing: ThingPlan, drawn: Sprite, size: int, x0: int, y0: int) -> tuple[float, ...]:
    """Return the affine map from pixels of the window to pixels of the sprite."""
    zoom = drawn.scale / (thing.side * size)
    angle = float(np.deg2rad(thing.turn))
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    across = zoom / thing.stretch * (-1 if thing.flip else 1)
    down = zoom * thing.stretch
    a, b, d, e = across * cos, across * sin, -down * sin, down * cos
    dx, dy = x0 - thing.x * size, y0 - thing.y * size
    middle_x, middle_y = drawn.fixed.size[0] / 2, drawn.fixed.size[1] / 2
    return a, b, middle_x + a * dx + b * dy, d, e, middle_y + d * dx + e * dy


def _shade(thing: ThingPlan, canvas: Plane) -> None:
    """Darken the ground softly where the thing touches it."""
    size = canvas.shape[0]
    left, _, right, bottom = (side * size for side in thing.box)
    wide = (right - left) * 0.56
    tall = max(wide * 0.17, 1.5)
    x, y = (left + right) / 2, bottom - tall * 0.15
    x0, x1 = max(int(x - wide), 0), min(int(x + wide) + 1, size)
    y0, y1 = max(int(y - tall), 0), min(int(y + tall) + 1, size)
    if x0 >= x1 or y0 >= y1:
        return
    columns = ((np.arange(x0, x1, dtype=np.float32) + 0.5 - x) / wide) ** 2
    rows = ((np.arange(y0, y1, dtype=np.float32) + 0.5 - y) / tall) ** 2
    fall = np.clip(1.25 * (1 - columns - rows[:, None]), 0, 1)
    canvas[y0:y1, x0:x1] *= (1 - np.float32(thing.shadow) * fall)[..., None]


def _lit(canvas: Plane, light: Light) -> NDArray[np.uint8]:
    """Add brightness slopes, darker corners, blur and noise."""
    size = canvas.shape[0]
    at = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    dark = 1 - 4 * light.corners * at**2
    canvas *= ((1 + light.down * at) * dark)[:, None, None]
    canvas *= ((1 + light.across * at) * dark)[:, None] * np.asarray(light.tint, np.float32)
    if light.blur * size > 0.2:
        canvas = np.clip(canvas, 0, 255, out=canvas)
        image = Image.fromarray((canvas + 0.5).astype(np.uint8)).filter(ImageFilter.BoxBlur(light.blur * size))
        canvas = np.asarray(image, np.float32)
    x, y = (int(share * _NOISE_SLACK) for share in light.noise_at)  # another cut of one grain: drawing it anew is slow
    lit = canvas + np.float32(light.noise) * _noise(size)[y : y + size, x : x + size]
    lit += np.float32(0.5)
    return np.asarray(np.clip(lit, 0, 255, out=lit), np.uint8)


@lru_cache(maxsize=4)
def _noise(size: int) -> Plane:
    """Draw grain with a standard deviation of about one level, mostly the same in all channels."""
    side = size + _NOISE_SLACK
    # four uniform numbers are nearly normal, and come out alike on every platform, which `normal` does not promise
    grey = stream(7).random((4, side, side, 1), dtype=np.float32).sum(0) - 2
    colour = stream(8).random((4, side, side, 3), dtype=np.float32).sum(0) - 2
    return np.asarray(1.5 * grey + 0.9 * colour, np.float32)
