"""A scene before it is drawn: where everything stands and how it is lit, in shares of the image's side."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from denseclip_viz.toyworld.sprites import frame_of
from denseclip_viz.toyworld.vocabulary import Rgb

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Edge:
    """A wavy line; a stuff covers what lies below its edge, or to the right of it where it is ``upright``."""

    at: float
    slope: float = 0.0
    wave: float = 0.0
    turns: float = 1.0
    phase: float = 0.0
    upright: bool = False

    def place(self, along: float) -> float:
        """Return where the edge is at ``along`` (0 to 1) of the image's side."""
        swing = self.wave * float(np.sin(2 * np.pi * (self.turns * along + self.phase)))
        return self.at + self.slope * (along - 0.5) + swing


@dataclass(frozen=True)
class StuffPlan:
    """A stuff: which variant, which cut of it, its tint, and where it begins (everywhere without an edge)."""

    name: str
    variant: int
    cut: tuple[float, float]
    flip: bool
    tint: tuple[float, float, float]
    edge: Edge | None = None


@dataclass(frozen=True)
class ThingPlan:
    """A thing; ``side`` is the geometric mean of width and height, x and y the middle, ``turn`` degrees."""

    kind: str
    colour: str
    surface: str
    weave: str
    size: str
    side: float
    x: float
    y: float
    flip: bool
    turn: float
    stretch: float
    main: Rgb
    second: Rgb
    shadow: float = 0.0

    @cached_property
    def box(self) -> Box:
        """Left, top, right, bottom of the upright thing."""
        shape = frame_of(self.kind)
        width, height = shape.width * self.side * self.stretch, shape.height * self.side / self.stretch
        return self.x - width / 2, self.y - height / 2, self.x + width / 2, self.y + height / 2


@dataclass(frozen=True)
class Light:
    """Tint, slopes of brightness, darker corners, noise in levels, blur in shares of the image's side."""

    tint: tuple[float, float, float]
    across: float
    down: float
    corners: float
    noise: float
    noise_at: tuple[float, float]
    blur: float


@dataclass(frozen=True)
class Plan:
    """Stuff and things from back to front, and the light."""

    stuff: tuple[StuffPlan, ...]
    things: tuple[ThingPlan, ...]
    light: Light

    def stuff_at(self, x: float, y: float) -> str:
        """Name the stuff behind all things at a place."""
        name = self.stuff[0].name
        for layer in self.stuff[1:]:
            assert layer.edge is not None
            along, down = (y, x) if layer.edge.upright else (x, y)
            if down > layer.edge.place(along):
                name = layer.name
        return name
