"""How skies, grounds, floors and walls are painted; ``PAINTERS[stuff]`` has the gradients and the painter."""

import numpy as np

from denseclip_viz.toyworld.pen import CANVAS, Gradient, Pen, Points, Stuff, near
from denseclip_viz.toyworld.rng import Rng, between
from denseclip_viz.toyworld.vocabulary import Rgb


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


def _wave(x: float, y: float, width: float, height: float, turns: float) -> Points:
    """Draw a sine that begins at x, y."""
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
            curve = _wave(x, y, width, 0.009, between(rng, 1.5, 2.5))
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


def brick_wall(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint staggered bricks with lit upper and shaded lower edges."""
    bases: list[Rgb] = [(190, 96, 76), (176, 84, 70), (202, 118, 84), (168, 98, 84), (196, 104, 88)]
    tall, wide, joint = 0.062, 0.15, 0.0045
    for row in range(27):
        for column in range(-1, 12):
            x, y = (column + 0.5 * (row % 2)) * wide, row * tall
            paint = near(rng, bases[variant], 17)
            pen.box(x + joint, y + joint, x + wide - joint, y + tall - joint, paint, r=0.006)
            pen.box(x + joint, y + joint, x + wide - joint, y + joint + 0.007, (255, 226, 200, 62), r=0.003)
            pen.box(x + joint, y + tall - joint - 0.009, x + wide - joint, y + tall - joint, (70, 26, 30, 62), r=0.003)
            if rng.random() < 0.3:
                spot = between(rng, 0.02, 0.12)
                pen.oval(x + spot, y + tall * 0.5, 0.008, 0.004, (90, 36, 34, 90))


def wooden_floor(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint long planks with grain, knots and dark joints."""
    bases: list[Rgb] = [(198, 142, 88), (178, 120, 72), (212, 164, 108), (160, 106, 66), (190, 130, 84)]
    tall = 0.105
    for row in range(16):
        x, y = between(rng, -0.5, -0.1), row * tall
        while x < CANVAS:
            wide = between(rng, 0.45, 0.8)
            paint = near(rng, bases[variant], 14)
            pen.box(x, y, x + wide, y + tall, paint)
            for _ in range(5):
                at, start = y + between(rng, 0.015, tall - 0.015), x + between(rng, 0, 0.15)
                length = between(rng, 0.15, wide * 0.8)
                pen.line(
                    _wave(start, at, length, 0.004, between(rng, 0.6, 1.4)), near(rng, (104, 62, 30), 10, 95), 0.0045
                )
            if rng.random() < 0.4:
                knot = x + between(rng, 0.08, wide - 0.08)
                for r, alpha in ((0.022, 60), (0.014, 90), (0.007, 140)):
                    pen.oval(knot, y + tall / 2, r * 1.5, r, (96, 56, 28, alpha))
            pen.box(x + wide - 0.006, y, x + wide, y + tall, (84, 48, 26, 220))
            x += wide
        pen.box(0, y + tall - 0.007, CANVAS, y + tall, (84, 48, 26, 220))
        pen.box(0, y, CANVAS, y + 0.005, (255, 230, 190, 60))


def road(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint asphalt with grit, lane lines and a few cracks."""
    for _ in range(1300):
        r = between(rng, 0.0016, 0.004)
        paint = (150, 154, 164, 150) if rng.random() < 0.5 else (52, 55, 64, 150)
        pen.oval(between(rng, 0, CANVAS), between(rng, 0, CANVAS), r, r, paint)
    for _ in range(9):
        x, y = between(rng, 0, CANVAS), between(rng, 0, CANVAS)
        steps = np.cumsum((rng.random((5, 2)) - 0.5) * (0.12, 0.06), axis=0)
        pen.line(steps + (x, y), (56, 58, 66, 200), 0.0045)
    line: tuple[int, ...] = (250, 204, 84, 245) if variant in (1, 4) else (246, 246, 240, 240)
    for lane in range(6):
        y, x = 0.1 + 0.3 * lane, between(rng, -0.2, 0.0)
        while x < CANVAS:
            pen.box(x, y, x + 0.15, y + 0.024, line, r=0.003)
            x += 0.26


def tiles(pen: Pen, rng: Rng, variant: int) -> None:
    """Paint square floor tiles with grout, a lit edge and small inlays at every other corner."""
    pairs: list[Gradient] = [
        ((214, 228, 234), (196, 214, 222)),
        ((226, 176, 138), (214, 160, 122)),
        ((222, 224, 210), (206, 210, 194)),
        ((196, 206, 228), (180, 192, 218)),
        ((232, 208, 194), (220, 192, 178)),
    ]
    light, dark = pairs[variant]
    inlay = np.array([[0, -0.03], [0.03, 0], [0, 0.03], [-0.03, 0]])
    side, grout = 0.2, 0.007
    for row in range(9):
        for column in range(9):
            x, y = column * side, row * side
            paint = near(rng, light if (row + column) % 2 else dark, 7)
            pen.box(x + grout, y + grout, x + side - grout, y + side - grout, paint, r=0.01)
            pen.box(
                x + grout + 0.006, y + grout + 0.006, x + side - grout - 0.006, y + grout + 0.014, (255, 255, 255, 90)
            )
    for row in range(9):
        for column in range(9):
            pen.poly(
                inlay + (column * side, row * side), near(rng, (112, 136, 164) if variant != 1 else (150, 84, 58), 8)
            )


_BLUES: list[Gradient] = [
    ((74, 156, 228), (190, 226, 246)), ((108, 184, 236), (214, 238, 246)), ((244, 150, 120), (255, 226, 168)),
    ((150, 178, 206), (222, 232, 240)), ((64, 132, 214), (160, 208, 240)),
]  # fmt: skip
PAINTERS: dict[str, Stuff] = {
    "sky": (_BLUES, sky),
    "night sky": (
        [((18, 22, 58), (62, 58, 122)), ((12, 24, 50), (34, 70, 116)), ((30, 20, 62), (92, 62, 120))],
        night_sky,
    ),
    "mountains": (
        [((132, 148, 186), (120, 138, 176)), ((150, 142, 172), (130, 128, 164)), ((116, 144, 170), (104, 132, 160))],
        mountains,
    ),
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
    "brick wall": ([((224, 208, 194), (214, 198, 184)), ((206, 196, 190), (198, 186, 180))], brick_wall),
    "wooden floor": ([((150, 100, 60), (150, 100, 60))], wooden_floor),
    "road": ([((104, 108, 118), (88, 92, 102)), ((118, 118, 124), (98, 98, 106)), ((92, 98, 110), (78, 84, 96))], road),
    "tiles": ([((150, 158, 166), (140, 148, 156)), ((156, 128, 110), (146, 118, 102))], tiles),
}
