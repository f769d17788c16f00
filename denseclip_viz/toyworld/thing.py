"""A thing as it is seen in a scene: what captions, claims and masks are about."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing in a scene.

    ``box`` is left, top, right, bottom of what is visible, in pixels, right and bottom exclusive; ``depth`` is 0
    for the nearest; ``on`` is the stuff at its foot, None where that is a border; ``visible`` is the share
    that no other thing hides; ``mask`` is (row, column) bool.

    Example:
        >>> from denseclip_viz.toyworld import scene
        >>> taxi = scene("a red taxi on a road", 64).things[0]
        >>> taxi.colour, taxi.on, taxi.mask.shape
        ('red', 'road', (64, 64))
    """

    kind: str
    colour: str
    surface: str
    size: str
    box: tuple[int, int, int, int]
    depth: int
    on: str | None
    visible: float
    mask: NDArray[np.bool_] = field(repr=False)
