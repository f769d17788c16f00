"""The vector language of the bundled world: a thing is a list of painted parts, drawn back to front.

Coordinates are free units, x to the right and y down; a thing looks to the right.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]

PALETTE = {
    "ink": "#2d3142",
    "glass": "#c3e6f4",
    "night glass": "#3d5675",
    "steel": "#b9c4cf",
    "dark steel": "#7d8a98",
    "wood": "#9a6a43",
    "dark wood": "#74492a",
    "gold": "#f4b83a",
    "cream": "#fff4df",
    "leaf": "#57a05a",
    "dark leaf": "#3c7d48",
    "blush": "#f2938c",
    "shade": "#1c203c26",
    "shine": "#ffffff52",
}
"""Paints that several things share, by the names that parts give them."""

_CURVE = 14


class Part(NamedTuple):
    """A painted shape: the union of closed rings.

    ``paint`` is ``"main"`` (the thing's colour and surface), ``"main-20"`` or ``"main+20"`` (its colour 20 %
    towards black or white, no surface), a name of `PALETTE`, or a hex colour with or without alpha. With ``atop`` it
    only colours what is there.
    """

    paint: str
    rings: tuple[Ring, ...]
    atop: bool = False


def poly(paint: str, *xy: float) -> Part:
    """Draw a polygon through x, y pairs."""
    return Part(paint, (_pairs(xy),))


def oval(paint: str, x: float, y: float, rx: float, ry: float | None = None, *, turn: float = 0.0) -> Part:
    """Draw an ellipse around x, y, turned clockwise by ``turn`` degrees."""
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    across, down = rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    return Part(paint, (np.stack([x + cos * across - sin * down, y + sin * across + cos * down], 1),))


def box(paint: str, left: float, top: float, right: float, bottom: float, *, r: float = 0.0) -> Part:
    """Draw a rectangle with corners rounded by ``r``."""
    if r == 0:
        return poly(paint, left, top, right, top, right, bottom, left, bottom)
    r = min(r, (right - left) / 2, (bottom - top) / 2)
    quarter = np.linspace(0.0, np.pi / 2, 7)
    arc = np.stack([np.cos(quarter), np.sin(quarter)], 1) * r
    corners = ((right - r, bottom - r), (left + r, bottom - r), (left + r, top + r), (right - r, top + r))
    spun = [np.stack([arc[:, 0], arc[:, 1]], 1), np.stack([-arc[:, 1], arc[:, 0]], 1)]
    spun += [-spun[0], -spun[1]]
    return Part(paint, (np.concatenate([np.asarray(c) + a for c, a in zip(corners, spun, strict=True)]),))


def path(paint: str, d: str) -> Part:
    """Draw a shape in the path notation of SVG: absolute M, L, H, V, Q, C and Z only."""
    return Part(paint, tuple(_flatten(d)))


def stroke(paint: str, width: float, d: str) -> Part:
    """Draw a line of ``width`` with round ends along a path."""
    rings: list[Ring] = []
    for line in _flatten(d):
        rings.extend(oval("", x, y, width / 2).rings[0] for x, y in line)
        step = np.diff(line, axis=0)
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]
        side = np.stack([-step[:, 1], step[:, 0]], 1) / length * (width / 2)
        starts, ends = line[:-1], line[1:]
        rings.extend(np.stack([starts + side, ends + side, ends - side, starts - side], 1))
    return Part(paint, tuple(rings))


def atop(*parts: Part) -> list[Part]:
    """Let parts paint only over what was drawn before them."""
    return [part._replace(atop=True) for part in parts]


def both(x: float, *parts: Part) -> list[Part]:
    """Return the parts and their mirror images about the vertical line at ``x``.

    Example:
        >>> both(2, poly("main", 0, 0, 1, 0, 1, 1))[1].rings[0][:, 0].tolist()
        [4.0, 3.0, 3.0]
    """
    flip, shift = np.array([-1.0, 1.0]), np.array([2 * x, 0.0])
    return [*parts, *(part._replace(rings=tuple(ring * flip + shift for ring in part.rings)) for part in parts)]


def moved(parts: Iterable[Part], dx: float, dy: float, *, scale: float = 1.0) -> list[Part]:
    """Scale parts about the origin and then move them."""
    shift = np.array([dx, dy])
    return [part._replace(rings=tuple(ring * scale + shift for ring in part.rings)) for part in parts]


def extent(parts: Sequence[Part]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of everything that adds to the silhouette."""
    points = np.concatenate([ring for part in parts if not part.atop for ring in part.rings])
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return float(left), float(top), float(right), float(bottom)


def _pairs(xy: Sequence[float]) -> Ring:
    return np.asarray(xy, np.float64).reshape(-1, 2)


def _flatten(d: str) -> list[Ring]:
    """Turn a path into rings of points."""
    rings: list[list[Ring]] = []
    for command, numbers in re.findall(r"([MLHVQCZ])([^MLHVQCZ]*)", d):
        values = [float(n) for n in re.findall(r"-?\d*\.?\d+", numbers)]
        if command == "M":
            rings.append([_pairs(values)])
        elif command != "Z":
            rings[-1].append(_segment(command, values, rings[-1][-1][-1]))
    return [np.concatenate(ring) for ring in rings]


def _segment(command: str, values: list[float], start: Ring) -> Ring:
    """Return the points of one command, without its start; repeated curves are allowed."""
    if command == "H":
        return np.array([[values[0], start[1]]])
    if command == "V":
        return np.array([[start[0], values[0]]])
    points = _pairs(values)
    if command == "L":
        return points
    order = 2 if command == "Q" else 3
    pieces = []
    for control in points.reshape(-1, order, 2):
        pieces.append(_bezier(np.concatenate([start[None], control])))
        start = control[-1]
    return np.concatenate(pieces)


def _bezier(control: Ring) -> Ring:
    t = np.linspace(0.0, 1.0, _CURVE + 1)[1:, None]
    if len(control) == 3:
        return np.asarray((1 - t) ** 2 * control[0] + 2 * t * (1 - t) * control[1] + t**2 * control[2])
    a, b, c, e = control
    return np.asarray((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * e)
