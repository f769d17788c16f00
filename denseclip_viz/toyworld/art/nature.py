"""Animals of the land, the air and the sea; trees and garden plants, whose colour is the crown's or the flower's."""

import numpy as np

from denseclip_viz.toyworld.shapes import Part, atop, both, moved, oval, path, poly, stroke

_ORANGE = "#f59a32"


def eye(x: float, y: float, r: float) -> list[Part]:
    """Draw a white eye with a dark pupil and a glint."""
    return [oval("#ffffff", x, y, r), oval("ink", x, y, r * 0.68), oval("#ffffff", x + r * 0.2, y - r * 0.25, r * 0.24)]


def cat() -> list[Part]:
    """Draw it sitting, with whiskers, pointed ears and a thin raised tail."""
    whiskers = "M30 39 L12 35 M30 42 L12 43 M58 39 L76 35 M58 42 L76 43"
    return [
        stroke("main", 8, "M62 98 Q90 98 86 74 Q82 60 92 52"),
        path("main", "M20 104 Q14 74 30 56 L58 56 Q74 74 68 104 Q44 108 20 104 Z"),
        *atop(path("shade", "M58 60 Q70 80 66 110 L80 110 L80 56 Z"), oval("#ffffff8c", 44, 74, 9, 15)),
        stroke("main-30", 1.8, "M37 84 L37 102 M51 84 L51 102"),
        path("main", "M18 26 L17 0 Q18 -3 21 -1 L38 13 Z"),
        path("main", "M70 26 L71 0 Q70 -3 67 -1 L50 13 Z"),
        poly("blush", 22, 18, 21, 5, 31, 14),
        poly("blush", 66, 18, 67, 5, 57, 14),
        oval("main", 44, 34, 29, 25),
        oval("#ffffffb0", 44, 43, 12, 8),
        *[part for x in (33, 55) for part in (oval("#cdeb8b", x, 31, 6), oval("ink", x, 31, 2.4, 5.4))],
        poly("#e8707d", 40.5, 38, 47.5, 38, 44, 42),
        stroke("ink", 1.3, "M44 42 Q42 47 38 46 M44 42 Q46 47 50 46"),
        stroke("#ffffff", 1.1, whiskers),
    ]


def fox() -> list[Part]:
    """Draw it sitting, with big ears, a white muzzle and a huge brush of a tail."""
    return [
        path("main", "M58 100 Q104 104 104 62 Q104 40 92 34 Q94 52 82 64 Q68 74 58 84 Z"),
        *atop(path("#fff6ea", "M78 20 L110 20 L110 62 Q100 50 84 62 Z")),
        path("main", "M22 104 Q12 80 26 60 L58 60 Q72 80 64 104 Q42 108 22 104 Z"),
        *atop(path("#fff6ea", "M34 60 L50 60 Q54 78 42 92 Q30 78 34 60 Z")),
        stroke("main-30", 1.8, "M36 92 L36 103 M49 92 L49 103"),
        *both(42, path("main", "M12 34 L8 -4 Q9 -8 13 -5 L36 16 Z"), poly("#4a3340", 15, 18, 13.5, 3, 27, 15)),
        path("main", "M42 10 Q72 12 76 34 Q66 52 42 64 Q18 52 8 34 Q12 12 42 10 Z"),
        *atop(path("#fff6ea", "M2 34 Q26 32 42 50 Q58 32 82 34 L60 70 L24 70 Z")),
        *both(42, oval("ink", 27, 33, 3.6, 4.4), oval("#ffffff", 28.2, 31.5, 1.2)),
        oval("ink", 42, 60, 5, 3.8),
    ]


def bear() -> list[Part]:
    """Draw it broad and upright, with round ears, a pale muzzle and a big belly."""
    return [
        *both(50, oval("main", 30, 108, 15, 9), oval("main-30", 29, 110, 7, 5)),
        *both(50, oval("main", 14, 72, 10, 22, turn=22)),
        oval("main", 50, 80, 36, 34),
        *atop(oval("#ffffff80", 50, 85, 21, 21)),
        *atop(path("shade", "M70 46 Q92 80 66 118 L100 118 L100 46 Z")),
        *both(50, oval("main", 23, 14, 12), oval("main-35", 23, 14, 6.6)),
        oval("main", 50, 33, 34, 29),
        oval("#f7e3c8", 50, 43, 17, 13),
        *both(50, oval("#ffffff", 35, 28, 4.6), oval("ink", 35.4, 28, 3.4)),
        oval("ink", 50, 37.5, 7, 4.8),
        stroke("ink", 1.8, "M50 42 L50 47 Q44 52 40 48 M50 47 Q56 52 60 48"),
    ]


def rabbit() -> list[Part]:
    """Draw it sitting, with very long ears and a puff of a tail."""
    return [
        oval("#fffaf2", 74, 104, 10),
        *both(40, oval("main", 28, 16, 8.5, 27, turn=-8), oval("#f7b5b8", 28, 18, 4, 20, turn=-8)),
        path("main", "M14 116 Q4 88 24 72 L56 72 Q78 90 68 116 Q40 120 14 116 Z"),
        *atop(oval("#ffffff8c", 40, 97, 14, 17)),
        *both(40, oval("main-15", 20, 116, 13, 6), oval("main-15", 31, 90, 5, 11, turn=-12)),
        oval("main", 40, 58, 26, 22),
        oval("#ffffffb0", 40, 68, 12, 8),
        *both(40, *eye(29, 54, 5.2), oval("#f2938c80", 20, 64, 5, 3.4)),
        poly("#e8707d", 37, 61, 43, 61, 40, 65),
        stroke("ink", 1.3, "M40 65 L40 69 M40 69 Q37 72 34 70 M40 69 Q43 72 46 70"),
        *atop(path("#ffffff", "M37.5 70 L42.5 70 L42.5 76 L37.5 76 Z")),
    ]


def owl() -> list[Part]:
    """Draw it upright, with huge eyes, ear tufts and folded wings."""
    feathers = [
        stroke("main-25", 1.8, f"M{x - 4} {y} Q{x} {y + 5} {x + 4} {y}")
        for x, y in ((36, 66), (50, 66), (43, 76), (57, 76), (36, 86), (50, 86), (64, 66), (64, 86))
    ]
    return [
        *both(50, stroke(_ORANGE, 3.4, "M40 100 L36 109 M40 100 L41 110 M40 100 L46 109")),
        path("main", "M12 30 L10 0 Q30 2 36 10 L64 10 Q70 2 90 0 L88 30 Q98 104 50 104 Q2 104 12 30 Z"),
        *atop(oval("#ffffff70", 50, 78, 25, 27)),
        *feathers,
        *both(50, path("main-28", "M10 42 Q-2 76 20 96 Q34 74 18 44 Z")),
        *both(
            50,
            oval("cream", 32, 33, 18),
            oval("gold", 32, 33, 11),
            oval("ink", 32, 33, 7.4),
            oval("#ffffff", 35, 30, 2.5),
        ),
        path(_ORANGE, "M43 40 L57 40 L50 55 Z"),
    ]


def duck() -> list[Part]:
    """Draw it from the side, with a flat bill and a turned-up tail."""
    return [
        stroke(_ORANGE, 4, "M46 80 L44 92 L54 92 M62 80 L62 92 L72 92"),
        path(
            "main",
            "M2 42 Q12 50 26 44 Q44 36 60 44 Q66 40 64 32 Q56 14 70 5 Q86 -2 95 10 Q102 22 94 34 "
            "Q100 70 74 80 Q38 90 16 70 Q2 56 2 42 Z",
        ),
        *atop(path("shade", "M0 62 Q50 90 100 60 L100 100 L0 100 Z")),
        path("main-28", "M22 52 Q42 44 62 52 Q64 70 44 71 Q28 70 22 52 Z"),
        stroke("main-45", 1.6, "M32 58 Q44 64 58 60 M36 65 Q46 69 55 66"),
        path(_ORANGE, "M94 12 Q106 13 113 19 Q115 23 111 25 Q102 27 95 24 Z"),
        stroke("#c96f1c", 1.4, "M96 19 Q104 21 112 21"),
        *eye(83, 14, 4.6),
        *atop(path("#ffffff", "M62 33 Q78 42 97 33 L97 37.5 Q78 47 61 38 Z")),
    ]


def penguin() -> list[Part]:
    """Draw it upright, white-bellied, with flippers and orange feet."""
    return [
        *both(40, path(_ORANGE, "M22 106 Q20 99 30 99 Q38 100 38 107 Q30 111 22 106 Z")),
        *both(40, path("main-25", "M12 44 Q-6 66 0 88 Q10 84 18 64 Z")),
        path("main", "M40 0 Q66 0 68 30 Q78 60 70 88 Q62 104 40 104 Q18 104 10 88 Q2 60 12 30 Q14 0 40 0 Z"),
        *atop(oval("#fffdf8", 40, 74, 23, 33)),
        *both(40, oval("#fffdf8", 30, 28, 12, 14)),
        *both(40, oval("ink", 31, 26, 4), oval("#ffffff", 32.4, 24.6, 1.4)),
        path(_ORANGE, "M31 33 Q40 28 49 33 Q42 45 40 45 Q38 45 31 33 Z"),
        *both(40, oval("#f2938c80", 22, 38, 4.5, 3)),
    ]


def fish() -> list[Part]:
    """Draw it from the side, with a fanned tail and fins."""
    return [
        path("main-25", "M26 40 L2 14 Q-2 12 0 18 Q10 40 0 62 Q-2 68 2 66 Z"),
        path("main-25", "M42 18 Q52 -4 76 2 Q68 12 74 20 Z"),
        path("main-25", "M50 60 Q54 76 68 80 Q66 68 74 60 Z"),
        path("main", "M18 40 Q44 8 78 14 Q104 20 110 40 Q104 60 78 66 Q44 72 18 40 Z"),
        *atop(path("shade", "M14 50 Q60 72 112 48 L112 80 L14 80 Z")),
        *atop(path("main+35", "M86 10 Q74 40 86 70 L120 70 L120 10 Z")),
        stroke("main-30", 1.8, "M86 17 Q76 40 86 63"),
        path("main-25", "M66 42 Q50 38 44 52 Q58 58 68 50 Z"),
        *eye(94, 33, 6),
        stroke("ink", 1.8, "M108 44 Q101 48 97 45"),
    ]


def whale() -> list[Part]:
    """Draw a great rounded head, a raised fluke and a spout."""
    return [
        stroke("#a9dcf2", 4, "M86 18 Q86 2 72 0 M86 18 Q86 2 100 0"),
        oval("#a9dcf2", 68, 3, 5),
        oval("#a9dcf2", 104, 3, 5),
        path("main-20", "M10 40 Q-8 34 -6 12 Q8 14 14 26 Q22 12 38 14 Q36 34 20 42 Z"),
        path("main", "M8 38 Q14 30 22 38 Q30 54 46 40 Q62 20 90 20 Q124 22 126 56 Q122 84 80 86 Q20 88 8 38 Z"),
        *atop(path("#fffaf0", "M126 58 Q90 58 70 74 Q56 84 40 82 L60 96 L130 92 Z")),
        *atop(stroke("#cfc8bd", 1.4, "M124 66 Q96 66 78 80 M122 74 Q104 74 90 84")),
        path("main-25", "M70 66 Q62 84 46 92 Q46 76 56 64 Z"),
        *eye(104, 48, 4.6),
        stroke("ink", 1.8, "M125 57 Q112 56 106 60"),
    ]


def octopus() -> list[Part]:
    """Draw a domed head on eight curling arms."""
    arms = (
        "M34 62 Q30 84 8 80 Q-4 76 2 68",
        "M66 62 Q70 84 92 80 Q104 76 98 68",
        "M40 66 Q38 94 18 98 Q8 98 10 91",
        "M60 66 Q62 94 82 98 Q92 98 90 91",
        "M46 68 Q46 98 36 106 Q30 110 26 105",
        "M54 68 Q54 98 64 106 Q70 110 74 105",
    )
    return [
        *[stroke("main-20", 9, arm) for arm in arms[:2]],
        *[stroke("main", 9, arm) for arm in arms[2:]],
        path("main", "M50 0 Q86 0 86 38 Q86 54 76 62 Q72 76 50 76 Q28 76 24 62 Q14 54 14 38 Q14 0 50 0 Z"),
        *atop(
            path("#ffffff33", "M24 30 Q26 10 46 6 Q34 14 32 32 Z"),
            path("shade", "M66 3 Q86 9 86 38 Q86 54 76 62 Q72 73 60 75.6 Q80 44 66 3 Z"),
        ),
        *both(50, *eye(37, 42, 8)),
        stroke("ink", 2, "M42 58 Q50 65 58 58"),
        *both(50, oval("#f2938c80", 27, 54, 5, 3.4)),
    ]


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


ART = {
    "cat": cat, "fox": fox, "bear": bear, "rabbit": rabbit, "owl": owl, "duck": duck, "penguin": penguin,
    "fish": fish, "whale": whale, "octopus": octopus,
    "oak": oak, "pine": pine, "palm": palm, "tulip": tulip, "sunflower": sunflower, "cactus": cactus,
}  # fmt: skip
