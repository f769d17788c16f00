"""Boats and aircraft."""

from denseclip_viz.toyworld.shapes import Part, atop, both, box, oval, path, poly, stroke


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
    "sailing boat": sailing_boat,
    "rowing boat": rowing_boat,
    "steamboat": steamboat,
    "airplane": airplane,
    "helicopter": helicopter,
    "rocket": rocket,
    "hot-air balloon": hot_air_balloon,
}
