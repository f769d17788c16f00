"""A pen for textures, in units of the image's side."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from denseclip_viz.toyworld.rng import Rng, between
from denseclip_viz.toyworld.vocabulary import Rgb

CANVAS = 1.6

Points = NDArray[np.float64]
Paint = tuple[int, ...]


class Pen:
    """Draws in units of the image's side."""

    def __init__(self, image: Image.Image, scale: float) -> None:
        self.draw, self.scale = ImageDraw.Draw(image, "RGBA"), scale

    def poly(self, points: Points, paint: Paint) -> None:
        """Fill a polygon."""
        self.draw.polygon((points * self.scale).ravel().tolist(), fill=paint)

    def line(self, points: Points, paint: Paint, width: float) -> None:
        """Draw a line through points, at least a pixel wide."""
        thick = max(1, round(width * self.scale))
        self.draw.line((points * self.scale).ravel().tolist(), fill=paint, width=thick, joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        """Fill an ellipse around x, y."""
        box = [v * self.scale for v in (x - rx, y - ry, x + rx, y + ry)]
        self.draw.ellipse(box, fill=paint)

    def box(self, x0: float, y0: float, x1: float, y1: float, paint: Paint, r: float = 0.0) -> None:
        """Fill a rectangle with corners rounded by ``r``."""
        corners = [v * self.scale for v in (x0, y0, x1, y1)]
        self.draw.rounded_rectangle(corners, radius=r * self.scale, fill=paint)


Painter = Callable[[Pen, Rng, int], "Points | None"]
Gradient = tuple[Rgb, Rgb]
# The gradients (top, bottom) that the variants take turns in, and what is drawn on them.
Stuff = tuple[Sequence[Gradient], Painter]


def near(rng: Rng, colour: Rgb, by: float, alpha: int = 255) -> tuple[int, int, int, int]:
    """Draw a colour a little lighter or darker, by at most ``by`` levels, with an alpha."""
    shift = between(rng, -by, by)
    red, green, blue = (int(min(max(c + shift, 0), 255)) for c in colour)
    return red, green, blue, alpha
