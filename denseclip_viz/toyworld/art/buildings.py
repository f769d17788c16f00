"""Buildings, and things of the kitchen table."""

from denseclip_viz.toyworld.shapes import Part, atop, both, box, oval, path, poly, stroke


def _window(x: float, y: float, width: float, height: float) -> list[Part]:
    middle, across = x + width / 2, y + height / 2
    return [
        box("cream", x - 2, y - 2, x + width + 2, y + height + 2, r=1),
        box("glass", x, y, x + width, y + height),
        *atop(poly("shine", x, y + height, x + width * 0.7, y, x + width, y, x + width * 0.3, y + height)),
        stroke("cream", 1.6, f"M{middle} {y} L{middle} {y + height} M{x} {across} L{x + width} {across}"),
    ]


def house() -> list[Part]:
    """Draw walls, a gable roof, a chimney, a door."""
    return [
        box("#a65a49", 74, 4, 86, 34),
        box("#8a483a", 72, 1, 88, 8, r=1),
        poly("main", 12, 44, 54, 8, 96, 44, 96, 102, 12, 102),
        *atop(path("shade", "M54 2 L110 50 L110 58 L54 14 L0 58 L0 50 Z"), box("shade", 12, 95, 96, 104)),
        path("#6f5866", "M0 50 L54 0 L108 50 L102 55 L54 12 L6 55 Z"),
        oval("cream", 54, 34, 8),
        oval("night glass", 54, 34, 5.6),
        *_window(20, 58, 18, 18),
        *_window(70, 58, 18, 18),
        box("dark wood", 45, 64, 63, 102, r=2),
        box("wood", 47, 66, 61, 102, r=1),
        oval("gold", 58, 85, 1.7),
        box("#c9c3bd", 41, 99, 67, 104),
    ]


def castle() -> list[Part]:
    """Draw battlements between two towers with pointed roofs."""
    teeth = [box("main", x, 36, x + 7, 46) for x in (36, 47, 58, 69)]
    tower = [
        stroke("dark wood", 1.8, "M18 4 L18 -16"),
        path("main-35", "M18 0 L40 38 L-4 38 Z"),
        box("main", 2, 38, 34, 104),
        *atop(box("shade", 0, 38, 36, 43)),
        box("main-25", 0, 38, 36, 43, r=1),
        path("night glass", "M13 64 L13 57 Q18 50 23 57 L23 64 Z"),
    ]
    return [
        box("main", 32, 44, 80, 104),
        *teeth,
        *atop(box("shade", 30, 34, 82, 104), box("shade", 30, 46, 82, 51)),
        *both(56, *tower),
        path("gold", "M18 -17 L34 -12 L18 -6 Z M94 -17 L110 -12 L94 -6 Z"),
        path("dark wood", "M43 104 L43 80 Q56 62 69 80 L69 104 Z"),
        *atop(stroke("gold", 1.4, "M50 70 L50 104 M56 70 L56 104 M62 70 L62 104 M43 86 L69 86 M43 95 L69 95")),
        box("main-20", 42, 54, 51, 57, r=1),
        box("main-20", 60, 58, 69, 61, r=1),
        box("main-20", 8, 76, 17, 79, r=1),
        box("main-20", 94, 84, 103, 87, r=1),
    ]


def lighthouse() -> list[Part]:
    """Draw a tapering tower with a lamp that shines to both sides."""
    return [
        *both(40, path("#ffe79a", "M40 18 L-2 6 Q-4 18 -2 32 Z")),
        poly("main", 25, 34, 55, 34, 63, 116, 17, 116),
        *atop(poly("shade", 46, 30, 70, 30, 70, 120, 50, 120)),
        *atop(box("cream", 0, 58, 80, 76)),
        *[path("night glass", f"M36 {y} L36 {y - 7} Q40 {y - 12} 44 {y - 7} L44 {y} Z") for y in (54, 92)],
        path("dark wood", "M33 116 L33 104 Q40 95 47 104 L47 116 Z"),
        path("#8a8f98", "M0 126 Q2 112 16 115 Q26 109 36 116 Q46 110 58 114 Q66 109 70 116 Q80 115 82 126 Z"),
        path("#a9aeb6", "M8 120 Q14 114 22 119 Z M50 119 Q57 114 64 120 Z"),
        box("ink", 18, 31, 62, 36, r=1.5),
        box("#fff3b5", 29, 12, 51, 31),
        *atop(stroke("ink", 1.6, "M36 12 L36 31 M44 12 L44 31")),
        path("main-35", "M24 13 Q40 -8 56 13 Z"),
        stroke("ink", 2, "M40 2 L40 -6"),
        oval("gold", 40, -7, 2.8),
    ]


def teapot() -> list[Part]:
    """Draw a round pot with spout, handle and lid."""
    return [
        stroke("main-25", 7, "M26 36 Q0 34 2 54 Q4 72 30 72"),
        path("main-15", "M84 70 Q98 66 100 48 Q102 38 112 32 L118 38 Q112 42 110 54 Q106 80 86 84 Z"),
        path("main", "M32 28 L78 28 Q98 44 94 68 Q90 88 74 92 L36 92 Q20 88 16 68 Q12 44 32 28 Z"),
        *atop(
            path("shade", "M10 76 L100 76 L100 98 L10 98 Z"), path("shine", "M26 46 Q22 60 27 72 L33 70 Q30 58 34 42 Z")
        ),
        path("main-25", "M30 29 Q34 14 55 14 Q76 14 80 29 Q55 34 30 29 Z"),
        oval("gold", 55, 10, 6),
        box("main-30", 34, 90, 76, 96, r=2),
    ]


def mug() -> list[Part]:
    """Draw a straight cup with one handle and steam."""
    steam = "M28 16 Q22 8 28 2 Q33 -4 28 -10 M46 16 Q40 8 46 2 Q51 -4 46 -10"
    return [
        stroke("#dfe6ee", 3.6, steam),
        stroke("main-25", 8, "M66 38 Q92 34 90 56 Q88 76 64 76"),
        path("main", "M4 24 L70 24 L67 86 Q66 94 58 94 L16 94 Q8 94 7 86 Z"),
        *atop(path("shade", "M52 20 L80 20 L80 98 L50 98 Z"), path("shine", "M12 34 L19 34 L21 82 L15 82 Z")),
        oval("main-25", 37, 24, 33, 7),
        oval("#5b3621", 37, 25, 28, 5),
    ]


ART = {"house": house, "castle": castle, "lighthouse": lighthouse, "teapot": teapot, "mug": mug}
