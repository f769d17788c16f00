"""Vehicles of the road, boats and aircraft: siblings share wheels, glass or hulls and differ in shape."""

from denseclip_viz.toyworld.shapes import Part, atop, both, box, oval, path, poly, stroke

_LAMP = "#fff0a8"
_TAIL = "#e5483f"


def wheel(x: float, y: float, r: float) -> list[Part]:
    """Draw a tyre with a rim and a hub."""
    return [
        oval("ink", x, y, r),
        oval("steel", x, y, r * 0.58),
        oval("#e6ebf0", x, y, r * 0.42),
        oval("dark steel", x, y, r * 0.18),
    ]


def sports_car() -> list[Part]:
    """Draw a low wedge with a rear wing."""
    return [
        path("ink", "M9 19 L11 10 L15 10 L17 19 Z"),
        path("main-25", "M1 6 Q1 4 4 4 L22 7 Q24 8 23 10 L4 10 Q1 10 1 8 Z"),
        path(
            "main", "M4 31 Q1 21 12 18 L36 15 Q50 3 68 3 Q82 4 92 14 Q116 16 122 25 Q124 31 120 33 L8 33 Q5 33 4 31 Z"
        ),
        *atop(path("shade", "M0 27 L126 27 L126 40 L0 40 Z")),
        path("night glass", "M41 15 Q52 6.5 65 6.5 L66 15 Z"),
        path("night glass", "M69 6.5 Q80 7 88 15 L70 15 Z"),
        *atop(poly("#ffffff59", 72, 6, 76, 6, 82, 15, 78, 15), poly("#ffffff59", 56, 6, 60, 6, 58, 15, 54, 15)),
        stroke("main-30", 1.0, "M40 18 Q42 26 46 28 L72 28 L72 18"),
        box("main-40", 43, 20, 50, 21.6, r=0.8),
        path("ink", "M76 21 L90 20 L88 25 L78 25 Z"),
        path(_LAMP, "M110 19 Q118 20 120 24 L111 23 Z"),
        box(_TAIL, 3.4, 21, 10, 25, r=1.6),
        *wheel(28, 33, 10),
        *wheel(98, 33, 10),
    ]


def taxi() -> list[Part]:
    """Draw a town car with a lit roof sign and a checker stripe."""
    squares = [
        box("ink" if (i + row) % 2 else "cream", 11 + 4.5 * i, 33 + 4 * row, 15.5 + 4.5 * i, 37 + 4 * row)
        for i in range(20)
        for row in range(2)
    ]
    return [
        box("ink", 45, 5, 69, 11, r=1),
        box("gold", 46, -4, 68, 7, r=3),
        box("cream", 49, -1, 65, 4, r=1.2),
        *[box("ink", 51 + 3.6 * i, 0.2, 53 + 3.6 * i, 2.8) for i in range(4)],
        path(
            "main",
            "M3 46 L3 34 Q3 29 9 28 L27 26 L38 11 Q40 8 45 8 L71 8 Q75 8 78 11 L91 26 Q106 27 109 33 "
            "L110 46 Q110 49 106 49 L7 49 Q3 49 3 46 Z",
        ),
        *atop(path("shade", "M0 43 L112 43 L112 52 L0 52 Z")),
        path("glass", "M33 25 L42 13 Q43 12 45 12 L55 12 L55 25 Z"),
        path("glass", "M59 12 L70 12 Q73 12 75 14 L84 25 L59 25 Z"),
        *atop(poly("shine", 41, 25, 49, 12, 53, 12, 45, 25), poly("shine", 66, 25, 70, 12, 74, 12, 71, 25)),
        *atop(*squares),
        stroke("main-30", 1.0, "M57 26 L57 45"),
        box("main-40", 47, 28.5, 53, 30.3, r=0.8),
        box("main-40", 74, 28.5, 80, 30.3, r=0.8),
        box(_LAMP, 102, 31, 109, 37, r=2.5),
        box(_TAIL, 3, 32, 8, 38, r=1.6),
        box("steel", 0, 43, 12, 47, r=2),
        box("steel", 101, 43, 113, 47, r=2),
        *wheel(27, 49, 10.5),
        *wheel(87, 49, 10.5),
    ]


def limousine() -> list[Part]:
    """Draw a very long car with a row of dark windows."""
    panes = [box("night glass", 50 + 22 * i, 8.5, 69 + 22 * i, 19, r=1.5) for i in range(4)]
    shine = [poly("shine", 55 + 22 * i, 19, 60 + 22 * i, 8, 63 + 22 * i, 8, 58 + 22 * i, 19) for i in range(4)]
    return [
        path(
            "main",
            "M2 39 L2 29 Q2 23 9 22 L28 20 L38 8 Q41 5 46 5 L144 5 Q149 5 153 9 L162 20 Q184 21 189 27 "
            "L190 39 Q190 41 186 41 L6 41 Q2 41 2 39 Z",
        ),
        *atop(path("shade", "M0 34 L192 34 L192 44 L0 44 Z")),
        path("night glass", "M34 19 L41 10 Q42.5 8.5 45 8.5 L47 8.5 L47 19 Z"),
        *panes,
        path("night glass", "M138 8.5 L144 8.5 Q147 8.5 149 11 L156 19 L138 19 Z"),
        *atop(*shine),
        box("#eef2f5", 4, 26.5, 186, 28.6, r=1),
        *[stroke("main-30", 0.9, f"M{x} 20 L{x} 38") for x in (48, 92.5, 136.5)],
        box(_LAMP, 181, 24, 188.5, 30, r=2.5),
        box(_TAIL, 2, 24.5, 8, 30, r=1.6),
        box("steel", -1, 35, 10, 39, r=2),
        box("steel", 181, 35, 193, 39, r=2),
        stroke("steel", 1.2, "M177 22 L177 10"),
        poly("gold", 177, 9.5, 177, 15, 168, 12.3),
        *wheel(34, 41, 9.5),
        *wheel(158, 41, 9.5),
    ]


def bus() -> list[Part]:
    """Draw a tall double-decker with two rows of windows."""
    upper = [box("glass", 7 + 18.6 * i, 8, 22 + 18.6 * i, 22, r=2) for i in range(5)]
    lower = [box("glass", 7 + 18.6 * i, 39, 22 + 18.6 * i, 53, r=2) for i in range(3)]
    shine = [poly("shine", 10 + 18.6 * i, 22, 15 + 18.6 * i, 8, 19 + 18.6 * i, 8, 14 + 18.6 * i, 22) for i in range(5)]
    shine += [
        poly("shine", 10 + 18.6 * i, 53, 15 + 18.6 * i, 39, 19 + 18.6 * i, 39, 14 + 18.6 * i, 53) for i in range(3)
    ]
    return [
        box("main", 0, 0, 106, 74, r=9),
        *atop(box("shade", 0, 63, 106, 80)),
        *atop(box("main+60", 0, 26, 106, 34)),
        *upper,
        *lower,
        box("glass", 90, 38, 106, 56, r=2),
        box("night glass", 63, 39, 85, 72, r=2),
        *atop(*shine, poly("shine", 93, 56, 100, 38, 104, 38, 97, 56)),
        stroke("main-20", 1.4, "M74 39 L74 72"),
        box("ink", 86, 27.5, 105, 32.5, r=1),
        box("gold", 88, 28.8, 103, 31.2, r=0.6),
        box(_LAMP, 99, 60, 106, 66, r=2.5),
        box(_TAIL, 0, 60, 4, 67, r=1.6),
        box("ink", -1, 70, 108, 74, r=2),
        *wheel(24, 75, 10),
        *wheel(87, 75, 10),
    ]


def truck() -> list[Part]:
    """Draw a cargo box behind a cab with a tall exhaust."""
    return [
        box("ink", 2, 58, 118, 66, r=2),
        box("dark steel", 80, 4, 84, 40, r=2),
        box("steel", 79, 2, 85, 7, r=2),
        box("main", 0, 0, 77, 58, r=3),
        *atop(box("shade", 0, 49, 77, 60)),
        *[stroke("main-22", 1.3, f"M{x} 5 L{x} 53") for x in (19, 38, 57)],
        path("main-22", "M82 62 L82 23 Q82 20 86 20 L104 20 Q108 20 110 24 L116 40 Q120 42 120 47 L120 62 Z"),
        *atop(box("shade", 78, 55, 122, 64)),
        path("glass", "M90 40 L90 25 L103 25 Q105 25 106 27 L111 40 Z"),
        *atop(poly("shine", 94, 40, 98, 25, 102, 25, 98, 40)),
        box("ink", 88, 46, 95, 48.4, r=1),
        box(_LAMP, 114, 46, 120, 53, r=2),
        box("steel", 110, 58, 124, 64, r=2),
        *wheel(16, 66, 10.5),
        *wheel(40, 66, 10.5),
        *wheel(101, 66, 10.5),
    ]


def sailing_boat() -> list[Part]:
    """Draw two sails on a mast above a curved hull."""
    return [
        stroke("dark wood", 3.2, "M50 4 L50 84"),
        path("main", "M53 6 Q92 44 93 74 L53 76 Z"),
        *atop(path("shade", "M53 6 Q60 44 58 78 L53 78 Z")),
        path("main", "M47 14 Q24 44 14 73 L47 75 Z"),
        *atop(path("#ffffff50", "M47 14 Q24 44 14 73 L47 75 Z")),
        path("gold", "M50 -3 L66 1.5 L50 6 Z"),
        path("main-30", "M2 82 Q50 87 101 80 Q96 100 84 104 L22 104 Q8 100 2 82 Z"),
        *atop(path("#fff4df", "M0 80 Q50 86 104 79 L103 85 Q50 91 2 87 Z")),
        *atop(path("shade", "M0 98 L110 98 L110 110 L0 110 Z")),
        *[oval("cream", x, 95, 2.4) for x in (34, 50, 66)],
    ]


def rowing_boat() -> list[Part]:
    """Draw an open wide hull with thwarts and a pair of oars."""
    oars = both(60, stroke("wood", 3, "M44 2 L13 42"), oval("cream", 9, 47, 4.2, 10, turn=38))
    return [
        path("dark wood", "M4 14 Q60 30 116 14 L110 26 L10 26 Z"),
        path("wood", "M24 18 L44 20 L44 26 L24 26 Z"),
        path("wood", "M76 20 L96 18 L96 26 L76 26 Z"),
        path("main", "M0 10 Q60 32 120 10 Q116 36 96 45 Q60 50 24 45 Q4 36 0 10 Z"),
        *atop(path("main-30", "M-2 8 Q60 30 122 8 L121 15 Q60 37 -1 15 Z")),
        *atop(path("shade", "M0 38 Q60 46 120 38 L120 54 L0 54 Z")),
        stroke("main-20", 1.2, "M10 28 Q60 44 110 28"),
        *oars,
        *both(60, oval("steel", 33.5, 18, 3)),
    ]


def steamboat() -> list[Part]:
    """Draw a hull with white cabins and two smoking funnels."""
    return [
        *[oval("#d7dce2", x, y, r) for x, y, r in ((28, 6, 8), (19, 0, 6.5), (11, -4, 5), (50, 4, 7), (42, -3, 5.5))],
        box("main", 32, 14, 43, 42),
        box("main", 54, 14, 65, 42),
        *atop(box("ink", 30, 12, 67, 20)),
        box("cream", 22, 38, 84, 52, r=2),
        *[oval("night glass", x, 45, 3) for x in (31, 42, 53, 64, 75)],
        box("#fffdf7", 14, 51, 96, 65, r=2),
        *atop(box("shade", 14, 51, 96, 54)),
        *[box("night glass", x, 55, x + 7, 61, r=1.2) for x in (20, 33, 46, 59, 72, 84)],
        stroke("ink", 1.5, "M104 64 L104 40"),
        poly("gold", 104, 40, 104, 48, 92, 44),
        path("main", "M0 62 L122 62 Q117 82 104 90 L18 90 Q4 84 0 62 Z"),
        *atop(box("cream", 0, 62, 124, 67)),
        *atop(path("shade", "M0 81 L124 81 L124 96 L0 96 Z")),
    ]


def airplane() -> list[Part]:
    """Draw a passenger plane from the side, wing towards the viewer."""
    return [
        path("main-35", "M62 26 L46 6 Q45 3 49 3 L57 3 L84 27 Z"),
        path("main-20", "M6 30 L0 3 Q0 0 4 0 L14 0 Q17 0 18 3 L32 27 Z"),
        path("main", "M3 32 Q6 24 20 24 L98 23 Q118 24 125 35 Q126 42 112 45 L52 47 Q18 45 3 32 Z"),
        *atop(path("shade", "M0 39 Q60 44 130 40 L130 52 L0 52 Z")),
        *[oval("glass", x, 31.5, 2.7) for x in (36, 45, 54, 63, 72, 81, 90)],
        path("night glass", "M104 26 Q114 28 119 33 L105 33 Z"),
        path("main-20", "M2 31 Q-7 33 -8 38 L16 38 L24 33 Z"),
        box("dark steel", 60, 51, 80, 59, r=4),
        box("ink", 77, 51.5, 81, 58.5, r=2),
        path("main-35", "M46 41 L80 41 L50 67 Q48 69 44 69 L38 69 Q35 69 36 65 Z"),
        *atop(path("shine", "M20 24 L100 23 L106 26 L20 27 Z")),
    ]


def helicopter() -> list[Part]:
    """Draw a glass bubble, a tail boom and a rotor on top."""
    return [
        path("main-20", "M52 32 L8 26 L8 20 L52 20 Z"),
        path("main-35", "M10 26 L2 8 L10 8 L18 20 Z"),
        oval("#dfe5ea", 6, 17, 9.5),
        oval("dark steel", 6, 17, 2.4),
        stroke("dark steel", 3, "M50 60 L48 68 M82 60 L84 68"),
        stroke("ink", 3.4, "M36 69 L94 69 Q101 69 103 64"),
        path("main", "M42 22 Q46 15 60 14 L78 14 Q104 18 106 42 Q106 56 90 60 L58 60 Q42 57 40 40 Z"),
        *atop(path("shade", "M36 51 L110 51 L110 64 L36 64 Z")),
        path("glass", "M80 19 Q99 22 101 42 L80 42 Z"),
        *atop(path("shine", "M86 19 L91 19 L96 42 L91 42 Z")),
        box("glass", 58, 24, 74, 38, r=3),
        stroke("main-30", 1.2, "M77 20 L77 58 M55 22 L55 58"),
        box("dark steel", 62, 5, 70, 15, r=2),
        box("ink", 12, 1, 120, 5, r=2),
        oval("steel", 66, 3, 5, 4),
    ]


def rocket() -> list[Part]:
    """Draw an upright rocket with fins, a porthole and a flame."""
    return [
        path("#f9a03f", "M33 88 Q28 108 45 124 Q62 108 57 88 Z"),
        path("#ffe17a", "M38 88 Q36 101 45 111 Q54 101 52 88 Z"),
        *both(45, path("main-35", "M28 58 Q10 70 9 92 Q9 95 13 93 L31 84 Z")),
        path("main", "M45 0 Q20 26 25 64 L31 88 L59 88 L65 64 Q70 26 45 0 Z"),
        *atop(path("main-35", "M20 24 L70 24 L70 0 L20 0 Z"), path("shade", "M52 0 L80 0 L80 92 L50 92 Q60 50 52 0 Z")),
        *atop(box("cream", 20, 24, 70, 27.5)),
        oval("steel", 45, 43, 11.5),
        oval("night glass", 45, 43, 8.4),
        *atop(path("shine", "M39 43 Q39 37 45 37 L44 40 Q42 40 42 43 Z")),
        path("main-35", "M42 62 L48 62 L47 96 L43 96 Z"),
        box("dark steel", 30, 86, 60, 91, r=2),
    ]


def hot_air_balloon() -> list[Part]:
    """Draw a big envelope with a small basket."""
    return [
        stroke("dark wood", 1.6, "M36 84 L41 104 M64 84 L59 104 M50 86 L50 104"),
        path("main", "M50 0 C16 0 2 22 4 44 C6 62 24 76 34 90 L66 90 C76 76 94 62 96 44 C98 22 84 0 50 0 Z"),
        *atop(
            path("#ffffff2e", "M50 0 C32 10 28 60 42 90 L30 90 C10 60 12 16 50 0 Z"),
            path("shade", "M50 0 C88 10 92 58 62 90 L110 90 L110 0 Z"),
        ),
        *atop(path("main-30", "M28 82 Q50 88 72 82 L72 92 L28 92 Z")),
        box("wood", 37, 102, 63, 120, r=4),
        box("dark wood", 35, 101, 65, 106, r=2.4),
        *atop(stroke("dark wood", 1.3, "M38 112 L62 112 M46 107 L46 120 M54 107 L54 120")),
        *both(50, oval("#c8b08a", 34, 110, 3.2, 5)),
    ]


ART = {
    "sports car": sports_car, "taxi": taxi, "limousine": limousine, "bus": bus, "truck": truck,
    "sailing boat": sailing_boat, "rowing boat": rowing_boat, "steamboat": steamboat,
    "airplane": airplane, "helicopter": helicopter, "rocket": rocket, "hot-air balloon": hot_air_balloon,
}  # fmt: skip
