"""Vehicles of the road: siblings that share wheels and glass and differ in shape."""

from denseclip_viz.toyworld.shapes import Part, atop, box, oval, path, poly, stroke

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


ART = {"sports car": sports_car, "taxi": taxi, "limousine": limousine, "bus": bus, "truck": truck}
