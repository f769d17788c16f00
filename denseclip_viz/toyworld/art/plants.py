"""Trees and garden plants; the colour is the crown's or the flower's."""

import numpy as np

from denseclip_viz.toyworld.shapes import Part, atop, both, moved, oval, path, stroke


def oak() -> list[Part]:
    """Draw a broad cloud of leaves on a forked trunk."""
    crown = ((50, 30, 30), (24, 42, 22), (77, 42, 22), (36, 22, 20), (66, 21, 20), (50, 52, 20))
    return [
        path(
            "dark wood",
            "M40 104 Q46 84 44 64 L28 46 L34 44 L46 56 L48 40 L54 40 L55 57 L68 43 L73 46 L57 66 Q55 86 62 104 Z",
        ),
        *[oval("main", x, y, r) for x, y, r in crown],
        *atop(*[oval("#ffffff30", x, y, r) for x, y, r in ((38, 18, 13), (64, 17, 10), (20, 36, 10))]),
        *atop(path("shade", "M0 46 Q24 64 44 50 Q58 68 74 52 Q90 58 104 42 L104 76 L0 76 Z")),
        path("wood", "M44 104 Q49 88 47.5 72 L51 72 Q52 90 54 104 Z"),
    ]


def pine() -> list[Part]:
    """Draw four tiers on a short straight trunk."""
    parts = [path("dark wood", "M35 112 L36 88 L44 88 L45 112 Z")]
    for half, top, foot in ((40, 48, 92), (33, 28, 68), (26, 8, 48)):
        low, inner, outer = foot + 6, half * 0.35, half * 0.6
        left = f"Q40 {foot + 8} {40 - inner} {foot} Q{40 - outer} {low} {40 - half} {foot} Z"
        right = f"L{40 + half} {foot} Q{40 + outer} {low} {40 + inner} {foot}"
        parts.append(path("main", f"M40 {top} {right} {left}"))
        parts += atop(path("shade", f"M40 {top} L{40 + half} {foot} V{low} H{40 + half * 0.14} Z"))
    parts.append(path("main", "M40 -6 L60 28 Q52 33 46 28 Q40 34 34 28 Q28 33 20 28 Z"))
    return parts + atop(path("shade", "M40 -6 L60 28 L60 34 L43 34 Z"))


def palm() -> list[Part]:
    """Draw a leaning ringed trunk under arching fronds."""
    rings = [
        stroke("dark wood", 1.6, f"M{x - 5} {y} Q{x} {y + 3} {x + 5} {y - 1}")
        for x, y in ((55, 56), (53, 68), (49, 80), (45, 92))
    ]
    fronds = [
        path("main-25", "M52 34 Q40 10 18 12 Q36 18 44 36 Z"),
        path("main-25", "M54 34 Q62 8 86 12 Q68 18 62 36 Z"),
        path("main", "M52 32 Q22 20 2 44 Q6 44 12 40 Q12 46 16 50 Q20 44 26 42 Q26 46 29 49 Q36 38 54 38 Z"),
        path("main", "M54 32 Q86 18 108 42 Q103 43 97 39 Q98 45 94 50 Q89 43 83 41 Q83 46 80 49 Q72 38 54 38 Z"),
        path("main+18", "M52 33 Q34 36 26 64 Q31 62 34 57 Q36 62 39 65 Q40 48 55 38 Z"),
        path("main+18", "M54 33 Q76 36 82 66 Q77 63 74 58 Q72 63 69 66 Q66 48 54 38 Z"),
        path("main", "M50 34 Q44 12 54 -4 Q66 12 58 34 Z"),
    ]
    return [
        path("wood", "M49 36 Q56 62 34 112 Q42 116 52 112 Q64 70 60 36 Z"),
        *atop(*rings),
        *fronds,
        *[oval("dark wood", x, y, 4.6) for x, y in ((49, 40), (59, 41), (54, 44))],
    ]


def tulip() -> list[Part]:
    """Draw a cup of three petals on a stem with two long leaves."""
    cup = [
        path("main-22", "M22 30 Q28 -6 42 -2 Q54 -6 60 30 Z"),
        path("main", "M14 2 Q34 14 41 46 Q41 52 36 52 Q10 46 14 2 Z"),
        path("main", "M67 2 Q48 14 40 46 Q40 52 46 52 Q72 46 67 2 Z"),
        path("main", "M40 10 Q58 34 41 53 Q24 34 40 10 Z"),
        *atop(path("shade", "M40 10 Q58 34 41 53 L70 56 Q72 20 67 2 Q50 14 46 22 Z")),
    ]
    return [
        stroke("leaf", 5.5, "M40 44 Q42 80 39 116"),
        path("dark leaf", "M40 116 Q4 104 6 66 Q26 84 40 108 Z"),
        path("leaf", "M39 116 Q80 100 76 70 Q54 86 40 108 Z"),
        *moved(cup, -14, -14, scale=1.35),
    ]


def sunflower() -> list[Part]:
    """Draw a ring of petals around a seeded disc."""
    petals = []
    for ring, (count, reach, paint) in enumerate(((14, 25, "main-22"), (14, 24, "main"))):
        for angle in (np.arange(count) + 0.5 * ring) * 2 * np.pi / count:
            x, y = 40 + reach * np.cos(angle), 34 + reach * np.sin(angle)
            petals.append(oval(paint, float(x), float(y), 13, 5.6, turn=float(np.rad2deg(angle))))
    seeds = [
        oval("#3d2616", 40 + r * np.cos(a), 34 + r * np.sin(a), 1.2)
        for r, count in ((4, 6), (9, 12))
        for a in np.arange(count) * 2 * np.pi / count
    ]
    return [
        stroke("leaf", 5, "M40 40 Q38 84 41 122"),
        path("dark leaf", "M40 104 Q14 104 8 80 Q32 80 40 104 Z"),
        path("leaf", "M40 96 Q64 98 72 74 Q48 74 40 96 Z"),
        *petals,
        oval("#6b4426", 40, 34, 16.5),
        oval("#8a5a32", 40, 34, 14),
        *seeds,
    ]


def cactus() -> list[Part]:
    """Draw a ribbed column with two arms and a flower."""
    ribs = "M40 16 L40 108 M30 18 L30 106 M50 18 L50 106"
    spines = [
        stroke("#fff4df", 1.3, f"M{x - 2} {y - 2} L{x} {y} L{x + 2} {y - 2}")
        for x, y in ((35, 26), (45, 38), (35, 52), (45, 66), (35, 80), (45, 94), (11, 48), (69, 40))
    ]
    return [
        stroke("main", 14, "M40 78 L20 78 Q11 78 11 68 L11 46"),
        stroke("main", 14, "M40 68 L60 68 Q69 68 69 58 L69 34"),
        path("main", "M24 110 L24 26 Q24 6 40 6 Q56 6 56 26 L56 110 Q40 114 24 110 Z"),
        *atop(stroke("main-25", 1.8, ribs)),
        *atop(path("shade", "M50 4 L60 4 L60 116 L48 116 Z")),
        *spines,
        *both(40, oval("#ff9bb3", 34, 5, 6.5, 4, turn=40)),
        oval("#ff7d9d", 40, 2, 4, 6.5),
        oval("#ffd96a", 40, 6, 3),
    ]


ART = {"oak": oak, "pine": pine, "palm": palm, "tulip": tulip, "sunflower": sunflower, "cactus": cactus}
