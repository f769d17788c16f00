"""How built grounds and walls are painted."""

import numpy as np

from denseclip_viz.toyworld.art.grounds import wave
from denseclip_viz.toyworld.pen import CANVAS, Gradient, Pen, Stuff, near
from denseclip_viz.toyworld.rng import Rng, between
from denseclip_viz.toyworld.vocabulary import Rgb


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
                    wave(start, at, length, 0.004, between(rng, 0.6, 1.4)), near(rng, (104, 62, 30), 10, 95), 0.0045
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


FLOORS: dict[str, Stuff] = {
    "brick wall": ([((224, 208, 194), (214, 198, 184)), ((206, 196, 190), (198, 186, 180))], brick_wall),
    "wooden floor": ([((150, 100, 60), (150, 100, 60))], wooden_floor),
    "road": ([((104, 108, 118), (88, 92, 102)), ((118, 118, 124), (98, 98, 106)), ((92, 98, 110), (78, 84, 96))], road),
    "tiles": ([((150, 158, 166), (140, 148, 156)), ((156, 128, 110), (146, 118, 102))], tiles),
}
