"""How grown and natural grounds are painted."""

import numpy as np

from denseclip_viz.toyworld.pen import CANVAS, Pen, Points, Stuff, near
from denseclip_viz.toyworld.rng import Rng, between
from denseclip_viz.toyworld.vocabulary import Rgb


def wave(x: float, y: float, width: float, height: float, turns: float) -> Points:
    """Draw a sine that begins at x, y.

    Example:
        >>> wave(0, 0, 1, 0, 1)[-1].tolist()
        [1.0, 0.0]
    """
    t = np.linspace(0, 1, 12)
    return np.stack([x + t * width, y + height * np.sin(t * turns * 2 * np.pi)], 1)


def grass(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint tufts of blades, lit and shaded, and a few flowers."""
    tones: list[Rgb] = [(78, 142, 62), (166, 210, 100), (104, 168, 76), (60, 120, 58)]
    for _ in range(9):
        x, y, rx = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.2, 0.45)
        pen.oval(x, y, rx, rx * 0.28, (tones[1] if rng.random() < 0.5 else tones[0]) + (34,))
    for y in np.sort(rng.random(620)) * CANVAS:
        x, tall = between(rng, 0, CANVAS), between(rng, 0.022, 0.042)
        paint = near(rng, tones[int(rng.random() * 4)], 8, 215)
        for lean in (-0.6, 0.05, 0.65):
            tip = [x + lean * tall, y - tall * (1 - 0.35 * abs(lean))]
            foot = x + lean * 0.012
            pen.poly(np.array([[foot - 0.0042, y], [foot + 0.0042, y], tip]), paint)
    petals: list[Rgb] = [(255, 255, 255), (255, 224, 92), (250, 160, 190), (180, 150, 235)]
    for _ in range(34):
        x, y, paint = between(rng, 0, CANVAS), between(rng, 0, CANVAS), petals[int(rng.random() * 4)] + (255,)
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            pen.oval(x + dx * 0.007, y + dy * 0.007, 0.0062, 0.0062, paint)
        pen.oval(x, y, 0.0046, 0.0046, (245, 180, 50, 255))


def sand(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint wind ripples, grains and pebbles."""
    for _ in range(10):
        x, y, rx = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.2, 0.5)
        pen.oval(x, y, rx, rx * 0.2, (255, 240, 200, 60) if rng.random() < 0.5 else (196, 150, 88, 34))
    for i in range(30):
        y = 0.055 * i + between(rng, -0.015, 0.015)
        x = between(rng, -0.2, 0.3)
        while x < CANVAS:
            width = between(rng, 0.25, 0.5)
            curve = wave(x, y, width, 0.009, between(rng, 1.5, 2.5))
            pen.line(curve + (0, 0.008), (255, 244, 208, 150), 0.007)
            pen.line(curve, (188, 140, 82, 120), 0.006)
            x += width + between(rng, 0.05, 0.22)
    for _ in range(520):
        r = between(rng, 0.0016, 0.0036)
        pen.oval(between(rng, 0, CANVAS), between(rng, 0, CANVAS), r, r, near(rng, (170, 124, 74), 30, 190))
    for _ in range(16):
        x, y, r = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.008, 0.016)
        pen.oval(x, y + r * 0.3, r * 1.1, r * 0.7, (150, 108, 64, 90))
        pen.oval(x, y, r, r * 0.7, near(rng, (222, 206, 190), 18))


def water(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint rows of crests and glints."""
    for i in range(34):
        y = 0.048 * i + between(rng, -0.01, 0.01)
        x = between(rng, -0.2, 0.1)
        while x < CANVAS:
            width = between(rng, 0.09, 0.2)
            bright = rng.random() < 0.55
            t = np.linspace(0, np.pi, 9)
            upper = np.stack([x + width * (1 - np.cos(t)) / 2, y - 0.017 * np.sin(t)], 1)
            lower = np.stack([x + width * (1 - np.cos(t)) / 2, y - 0.003 * np.sin(t)], 1)[::-1]
            pen.poly(np.concatenate([upper, lower]), (222, 245, 255, 120) if bright else (18, 72, 138, 60))
            x += width + between(rng, 0.0, 0.14)
    for _ in range(46):
        x, y, w = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.02, 0.05)
        pen.oval(x, y, w, 0.004, (255, 255, 255, 190))


def snow(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint drifts with blue shadows, sparkles and flakes."""
    across = np.linspace(-0.05, CANVAS + 0.05, 50)
    foot = np.array([[CANVAS + 0.05, CANVAS], [-0.05, CANVAS]])
    steps = ((-0.05, (170, 198, 232, 38)), (-0.025, (170, 198, 232, 50)), (0.0, (240, 246, 253, 225)))
    for i in range(12):
        swell = 0.03 * np.sin(between(rng, 3, 5) * across + between(rng, 0, 6))
        swell += 0.012 * np.sin(9 * across + between(rng, 0, 6))
        crest = np.stack([across, 0.14 * i + swell], 1)
        for lift, paint in steps:
            pen.poly(np.concatenate([crest + (0, lift), crest[::-1] + (0, 0.07)]), paint)
        pen.poly(np.concatenate([crest + (0, 0.05), foot]), (222, 234, 248, 70))
    for _ in range(320):
        r = between(rng, 0.002, 0.0046)
        paint = (255, 255, 255, 255) if rng.random() < 0.45 else (148, 180, 222, 200)
        pen.oval(between(rng, 0, CANVAS), between(rng, 0, CANVAS), r, r, paint)
    for _ in range(44):
        x, y, r = between(rng, 0, CANVAS), between(rng, 0, CANVAS), between(rng, 0.013, 0.025)
        for angle in np.arange(3) * np.pi / 3 + between(rng, 0, 1):
            arm = np.array([np.cos(angle), np.sin(angle)]) * r
            pen.line(np.stack([arm, -arm]) + (x, y), (118, 164, 218, 230), 0.0055)


def leaves(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint a carpet of overlapping leaves with midribs."""
    greens: list[Rgb] = [(96, 160, 72), (64, 128, 66), (134, 186, 84), (48, 104, 62)]
    autumn: list[Rgb] = [(222, 130, 50), (196, 78, 48), (232, 176, 66), (150, 92, 52)]
    tones = (greens, autumn, greens + autumn[:2], autumn, greens)[variant]
    t = np.linspace(0, 1, 9)
    edge = np.stack([t - 0.5, 0.3 * np.sin(np.pi * t**0.8)], 1)
    leaf = np.concatenate([edge, edge[::-1] * (1, -1)])
    for _ in range(620):
        angle, long = between(rng, 0, 2 * np.pi), between(rng, 0.085, 0.135)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * long
        at = rng.random(2) * CANVAS
        paint = near(rng, tones[int(rng.random() * len(tones))], 12)
        pen.poly(leaf @ turn + at + (0.006, 0.009), (26, 40, 30, 90))
        pen.poly(leaf @ turn + at, paint)
        rib = tuple(int(c * 0.72) for c in paint[:3])
        pen.line(np.array([[-0.62, 0.0], [0.42, 0.0]]) @ turn + at, (*rib, 255), 0.0055)


GROUNDS: dict[str, Stuff] = {
    "grass": (
        [((140, 196, 92), (108, 174, 80)), ((126, 186, 96), (92, 158, 78)), ((158, 200, 96), (126, 180, 82))],
        grass,
    ),
    "sand": (
        [((244, 218, 164), (228, 192, 132)), ((240, 208, 150), (222, 178, 116)), ((248, 226, 180), (234, 204, 150))],
        sand,
    ),
    "water": (
        [((96, 186, 222), (44, 128, 192)), ((82, 198, 206), (34, 142, 178)), ((84, 156, 214), (36, 98, 172))],
        water,
    ),
    "snow": ([((236, 243, 251), (220, 232, 246)), ((240, 244, 250), (226, 232, 246))], snow),
    "leaves": ([((58, 96, 58), (44, 80, 50)), ((120, 78, 44), (96, 62, 40))], leaves),
}
