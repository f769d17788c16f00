"""How skies and mountains are painted."""

import numpy as np

from denseclip_viz.toyworld.pen import CANVAS, Gradient, Pen, Points, Stuff, near
from denseclip_viz.toyworld.rng import Rng, between


def _cloud(pen: Pen, rng: Rng, x: float, y: float, width: float, paint: tuple[int, ...]) -> None:
    """Paint puffs on a flat base."""
    for share, size in ((0.18, 0.13), (0.4, 0.2), (0.62, 0.17), (0.82, 0.12)):
        r = width * size * between(rng, 0.85, 1.15)
        pen.oval(x + share * width, y - r * 0.62, r, r, paint)
    pen.box(x, y - width * 0.12, x + width, y + width * 0.04, paint, r=width * 0.08)


def sky(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint clouds, sometimes the sun and birds."""
    if variant in (0, 2):
        x, y = between(rng, 0.3, 1.3), between(rng, 0.12, 0.5)
        for r, alpha in ((0.2, 40), (0.145, 60), (0.095, 255)):
            pen.oval(x, y, r, r, (255, 236, 150, alpha))
    for i in range(13):
        x, y, width = (between(rng, -0.1, 1.5), 0.1 + 0.125 * i + between(rng, -0.05, 0.05), between(rng, 0.16, 0.42))
        _cloud(pen, rng, x, y + width * 0.03, width, (126, 154, 192, 30))
        _cloud(pen, rng, x, y, width, (255, 255, 255) if variant != 3 else (224, 230, 238))
    for _ in range(6):
        x, y, w = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.012, 0.022)
        bird = np.array(
            [[x - w, y - w * 0.5], [x - w * 0.4, y - w * 0.7], [x, y], [x + w * 0.4, y - w * 0.7], [x + w, y - w * 0.5]]
        )
        pen.line(bird, (70, 90, 120, 200), 0.006)


def night_sky(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint stars of three sizes, a moon, thin clouds."""
    for _ in range(7):
        x, y, width = between(rng, -0.2, 1.4), between(rng, 0, CANVAS), between(rng, 0.4, 0.8)
        pen.oval(x + width / 2, y, width / 2, width * 0.07, (150, 150, 220, 22))
    for _ in range(260):
        r = between(rng, 0.0018, 0.005)
        pen.oval(between(rng, 0, CANVAS), between(rng, 0, CANVAS), r, r, near(rng, (248, 243, 214), 12, 235))
    for _ in range(26):
        x, y, r = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.014, 0.024)
        thin = r * 0.2
        star = np.array([[0, -r], [thin, -thin], [r, 0], [thin, thin], [0, r], [-thin, thin], [-r, 0], [-thin, -thin]])
        pen.poly(star + (x, y), (255, 248, 205, 255))
    x, y = between(rng, 0.4, 1.2), between(rng, 0.2, 0.7)
    pen.oval(x, y, 0.14, 0.14, (255, 248, 214, 26))
    pen.oval(x, y, 0.085, 0.085, (252, 243, 206, 255))
    for dx, dy, r in ((-0.03, -0.02, 0.018), (0.03, 0.015, 0.024), (-0.01, 0.045, 0.013)):
        pen.oval(x + dx, y + dy, r, r, (232, 218, 172, 255))


def mountains(pen: Pen, rng: Rng, variant: int) -> Points:
    """Paint snow-capped peaks before lower, darker ranges; return the ridge."""
    peaks = np.arange(-1, 6) * 0.36 + (rng.random(7) - 0.5) * 0.14
    tops = 0.03 + 0.14 * rng.random(7)
    lows = 0.3 + 0.06 * rng.random(7)
    middles = np.append((peaks[1:] + peaks[:-1]) / 2, CANVAS + 0.4)
    for i in range(7):
        left = middles[i - 1] if i else peaks[0] - 0.2
        _peak(pen, rng, (float(left), float(peaks[i]), float(middles[i])), float(tops[i]), float(lows[i]))
    ranges = ((0.4, (92, 116, 146)), (0.52, (78, 108, 122)), (0.68, (66, 100, 102)), (0.9, (56, 90, 86)))
    for base, paint in ranges:
        x = np.linspace(-0.05, CANVAS + 0.05, 60)
        bumps = 0.05 * np.sin(6 * x + between(rng, 0, 6)) + 0.02 * np.sin(17 * x + between(rng, 0, 6))
        firs = 0.012 * np.abs(np.sin(90 * x))
        hill = np.stack([x, base + bumps - firs], 1)
        pen.poly(np.concatenate([hill, [[CANVAS + 0.1, CANVAS + 0.1], [-0.1, CANVAS + 0.1]]]), (*paint, 255))
    return np.stack([np.stack([peaks, tops], 1), np.stack([middles, lows], 1)], 1).reshape(-1, 2)


def _peak(pen: Pen, rng: Rng, across: tuple[float, float, float], top: float, low: float) -> None:
    """Paint a shaded right face and a jagged cap of snow; what lies above the ridge is never seen."""
    left, x, right = across
    jag = (rng.random(3) - 0.5) * 0.03
    shade = [
        [x, top - 0.02],
        [right, low],
        [right, 0.6],
        [x - 0.02, 0.6],
        [x + 0.03 + jag[0], top + 0.2],
        [x - 0.02, top + 0.1],
    ]
    pen.poly(np.array(shade), (48, 58, 104, 80))
    cap = 0.3 * (low - top) + 0.02
    ends = x - (x - left) * 0.5, x + (right - x) * 0.5
    teeth = np.linspace(ends[1], ends[0], 8)
    depth = top + cap * np.array([0.9, 1.25, 0.8, 1.3, 0.75, 1.2, 0.8, 0.9])
    pen.poly(np.concatenate([[[x, top - 0.1]], np.stack([teeth, depth], 1)]), (249, 251, 255, 255))
    pen.poly(
        np.array(
            [[x, top - 0.1], [ends[1], depth[0]], [teeth[1], depth[1]], [teeth[2], depth[2]], [x, top + cap * 0.7]]
        ),
        (190, 206, 234, 120),
    )


_BLUES: list[Gradient] = [
    ((74, 156, 228), (190, 226, 246)), ((108, 184, 236), (214, 238, 246)), ((244, 150, 120), (255, 226, 168)),
    ((150, 178, 206), (222, 232, 240)), ((64, 132, 214), (160, 208, 240)),
]  # fmt: skip
SKIES: dict[str, Stuff] = {
    "sky": (_BLUES, sky),
    "night sky": (
        [((18, 22, 58), (62, 58, 122)), ((12, 24, 50), (34, 70, 116)), ((30, 20, 62), (92, 62, 120))],
        night_sky,
    ),
    "mountains": (
        [((132, 148, 186), (120, 138, 176)), ((150, 142, 172), (130, 128, 164)), ((116, 144, 170), (104, 132, 160))],
        mountains,
    ),
}
