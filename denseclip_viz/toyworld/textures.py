"""Stuff as large textures: grass with blades, bricks, planks, waves; each in a few variants.

A texture is drawn in units of the image's side, on a canvas larger than the image, so that every scene
can show another cut of it. The same variant looks the same at every resolution.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.toyworld.art.stuff import PAINTERS
from denseclip_viz.toyworld.pen import CANVAS, Pen
from denseclip_viz.toyworld.rng import stream
from denseclip_viz.toyworld.vocabulary import STUFF

VARIANTS = 5
_OVERSAMPLE = 2


class Texture(NamedTuple):
    """``rgb`` (row, column, 3) uint8, and for mountains the ``ridge``: per column, in pixels from the top."""

    rgb: NDArray[np.uint8]
    ridge: NDArray[np.float32] | None


@lru_cache(maxsize=160)
def draw_texture(stuff: str, variant: int, size: int) -> Texture:
    """Draw a variant of a stuff for images of ``size`` pixels a side."""
    pixels = int(np.ceil(CANVAS * size))
    side = pixels * _OVERSAMPLE
    rng = stream(list(STUFF).index(stuff), variant)
    tops, painter = PAINTERS[stuff]
    upper, lower = tops[variant % len(tops)]
    share = np.linspace(0, 1, side)[:, None, None]
    ramp = np.asarray(upper) * (1 - share) + np.asarray(lower) * share
    image = Image.fromarray(np.repeat(np.rint(ramp).astype(np.uint8), side, 1))
    ridge = painter(Pen(image, size * _OVERSAMPLE), rng, variant)
    rgb = np.array(image.reduce(_OVERSAMPLE))
    rgb.flags.writeable = False
    if ridge is None:
        return Texture(rgb, None)
    at = (np.arange(pixels) + 0.5) / size
    return Texture(rgb, np.interp(at, ridge[:, 0], ridge[:, 1]).astype(np.float32) * size)
