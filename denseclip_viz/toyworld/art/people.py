"""Characters of stories, seen from the front; the colour is what they wear."""

from denseclip_viz.toyworld.shapes import Part, atop, both, box, oval, path, poly, stroke

_PALE, _TAN, _BROWN = "#f6cfae", "#dca277", "#a86f4a"


def face(y: float, skin: str, *, r: float = 19.0) -> list[Part]:
    """Draw a round head at x = 50 with eyes, cheeks and a smile."""
    return [
        oval(skin, 50, y, r, r * 1.02),
        *both(50, oval("ink", 42.5, y - 0.5, 2.5, 3.2), oval("#ffffff", 43.3, y - 1.8, 0.9)),
        *both(50, oval("#f2938c90", 38, y + 7, 3.6, 2.3)),
        stroke("ink", 1.6, f"M45.5 {y + 8.5} Q50 {y + 12} 54.5 {y + 8.5}"),
    ]


def crown(y: float) -> list[Part]:
    """Draw a golden crown whose band ends at ``y``, with three jewels."""
    return [
        path(
            "gold",
            f"M32 {y} L29 {y - 19} L40 {y - 10} L50 {y - 23} L60 {y - 10} L71 {y - 19} L68 {y} Q50 {y + 4} 32 {y} Z",
        ),
        *[oval("gold", x, top, 2.8) for x, top in ((29, y - 20), (50, y - 24), (71, y - 20))],
        *[oval(paint, x, y - 4, 2.4) for x, paint in ((40, "#3f8efc"), (50, "#e63950"), (60, "#3f8efc"))],
    ]


def knight() -> list[Part]:
    """Draw a steel helmet with a plume, a raised sword and a shield."""
    return [
        path("main", "M50 14 Q44 -14 20 -10 Q30 -2 28 8 Q36 2 44 14 Z"),
        *both(50, box("dark steel", 35, 98, 47, 124, r=3), box("steel", 31, 118, 48, 127, r=4)),
        stroke("steel", 10, "M66 64 Q82 66 86 56"),
        path("main", "M32 58 L68 58 L74 106 Q50 112 26 106 Z"),
        *atop(path("shade", "M58 54 L80 54 L80 114 L60 114 Z")),
        box("dark wood", 28, 84, 72, 90, r=1),
        box("gold", 45, 82.5, 55, 91.5, r=1.5),
        *both(50, oval("steel", 31, 62, 9, 8)),
        path("steel", "M29 42 Q28 10 50 10 Q72 10 71 42 L68 56 Q50 64 32 56 Z"),
        *atop(path("shade", "M58 6 Q76 30 62 64 L80 64 L80 6 Z"), path("shine", "M34 32 Q36 16 47 14 Q39 24 39 40 Z")),
        path("ink", "M31 31 Q50 26 69 31 L68 39 Q50 35 32 39 Z"),
        stroke("dark steel", 2, "M50 40 L50 57"),
        *both(50, oval("ink", 43, 47, 1.4), oval("ink", 38.5, 46, 1.4), oval("ink", 43, 52, 1.4)),
        poly("#e8eef4", 84, 44, 84, -6, 88, -13, 92, -6, 92, 44),
        *atop(poly("#aab6c2", 88, 44, 88, -13, 92, -6, 92, 44)),
        box("gold", 76, 43, 100, 48, r=2),
        box("dark wood", 85.5, 48, 90.5, 60, r=2),
        oval("steel", 87, 54, 6),
        path("gold", "M2 62 Q20 66 38 62 L38 82 Q36 100 20 108 Q4 100 2 82 Z"),
        path("main", "M6 66 Q20 69 34 66 L34 82 Q32 97 20 103 Q8 97 6 82 Z"),
        *atop(box("cream", 18, 62, 22, 106), box("cream", 4, 78, 36, 82)),
    ]


def wizard() -> list[Part]:
    """Draw a pointed hat, a long white beard, a staff with an orb."""
    star = "M50 -12 L52 -6.5 L57.5 -6.3 L53.2 -3 L54.8 2.4 L50 -0.8 L45.2 2.4 L46.8 -3 L42.5 -6.3 L48 -6.5 Z"
    return [
        stroke("dark wood", 4.4, "M92 22 Q88 70 91 124"),
        oval("#7fe3e0", 92, 15, 9.5),
        oval("#d5fbf6", 89.5, 12, 3.6),
        stroke("dark wood", 3, "M83 22 Q92 32 101 22"),
        path("main", "M34 54 L66 54 Q74 90 84 124 Q50 130 16 124 Q26 90 34 54 Z"),
        *atop(path("shade", "M58 50 L96 50 L96 132 L64 132 Z")),
        path("main-22", "M36 58 Q12 66 10 92 Q18 98 26 92 Q28 78 40 72 Z"),
        path("main-22", "M64 58 Q84 62 96 72 Q98 80 92 85 Q78 80 62 74 Z"),
        oval(_PALE, 17, 94, 5.4),
        oval(_PALE, 92, 79, 5.6),
        *face(40, _PALE, r=18),
        path("#f4f4f6", "M31 40 Q32 78 50 96 Q68 78 69 40 Q62 52 50 50 Q38 52 31 40 Z"),
        *atop(stroke("#cfd3da", 1.6, "M43 58 Q45 74 50 86 M57 58 Q55 74 50 86")),
        stroke("#f4f4f6", 4, "M49 49 Q42 47 38 51 M51 49 Q58 47 62 51"),
        path("main", "M31 27 Q42 -2 60 -32 Q64 -34 64 -29 Q62 -6 69 27 Z"),
        *atop(path("shade", "M56 -34 L80 -34 L80 32 L60 32 Z")),
        path("gold", star),
        path("main-30", "M16 30 Q50 18 84 30 Q86 36 78 36 Q50 28 22 36 Q14 36 16 30 Z"),
    ]


def pirate() -> list[Part]:
    """Draw a black hat with a skull, an eye patch, a hook and a wooden leg."""
    return [
        box("ink", 53, 98, 68, 120, r=3),
        path("ink", "M53 114 L68 114 L74 122 Q74 126 70 126 L53 126 Z"),
        poly("wood", 34, 100, 44, 100, 41.5, 126, 36.5, 126),
        stroke("main", 13, "M68 66 Q84 74 84 88"),
        stroke("main", 13, "M32 66 Q16 74 16 86"),
        oval(_TAN, 84.5, 96, 6),
        box("gold", 9.5, 88, 22.5, 93, r=2),
        stroke("steel", 3.6, "M16 93 L16 99 Q24 103 22 109 Q17 116 9 109"),
        path("main", "M30 58 L70 58 L78 108 L22 108 Z"),
        *atop(stroke("main-35", 1.8, "M50 92 L50 110")),
        *atop(poly("cream", 42, 56, 58, 56, 54, 86, 46, 86), path("shade", "M60 50 L84 50 L84 112 L63 112 Z")),
        box("dark wood", 25, 85, 75, 92, r=1),
        box("gold", 44, 83, 56, 94, r=2),
        *[oval("gold", x, y, 1.8) for x in (37, 63) for y in (68, 76)],
        *face(40, _TAN),
        path("#4b3226", "M32 44 Q34 62 50 63 Q66 62 68 44 Q60 55 50 50 Q40 55 32 44 Z"),
        stroke("#ffffff", 2, "M45 54.5 Q50 57.5 55 54.5"),
        stroke("ink", 2, "M31 29 L68 43"),
        oval("ink", 58, 39, 6.4),
        path("ink", "M10 26 Q18 4 50 2 Q82 4 90 26 Q92 31 86 30 Q50 16 14 30 Q8 31 10 26 Z"),
        *atop(stroke("gold", 2.2, "M12 27 Q50 11 88 27")),
        oval("#ffffff", 50, 10, 5.4, 5),
        box("#ffffff", 47, 12, 53, 17, r=1),
        *both(50, oval("ink", 48, 10, 1.4)),
    ]


def robot() -> list[Part]:
    """Draw a box of a body, lamp eyes, an antenna and claws."""
    claw = [stroke("dark steel", 4, "M84 96 Q76 100 79 108 M84 96 Q92 100 89 108"), oval("steel", 84, 95, 5.5)]
    return [
        stroke("dark steel", 3, "M50 10 L50 -8"),
        oval("#ff5d5d", 50, -11, 5.4),
        *both(50, box("dark steel", 33, 104, 43, 120), box("ink", 27, 117, 47, 127, r=4)),
        *both(50, stroke("steel", 7.5, "M72 66 Q86 70 84 92"), *claw),
        *both(50, oval("dark steel", 74, 66, 6.5)),
        box("main", 25, 54, 75, 108, r=7),
        *atop(box("shade", 63, 50, 80, 112)),
        box("#eef2f6", 33, 66, 67, 90, r=3),
        stroke("#e63950", 2.2, "M37 80 L44 80 L47 72 L52 86 L55 78 L63 78"),
        *[oval(paint, x, 98, 3) for x, paint in ((38, "#ff5d5d"), (50, "gold"), (62, "#57c785"))],
        box("dark steel", 42, 48, 58, 56),
        box("main", 22, 9, 78, 50, r=9),
        *atop(box("shade", 66, 4, 84, 54)),
        *both(50, box("dark steel", 16, 22, 23, 37, r=2)),
        box("ink", 29, 17, 71, 34, r=8),
        *both(50, oval("#6ff0f5", 40, 25.5, 5), oval("#ffffff", 41.2, 24, 1.7)),
        *[box("cream", x, 39, x + 4.4, 45, r=0.6) for x in (37, 43, 49, 55)],
    ]


def queen() -> list[Part]:
    """Draw a crown, long hair and a wide gown."""
    return [
        path("#3b2530", "M28 34 Q24 8 50 8 Q76 8 72 34 Q76 62 72 72 L28 72 Q24 62 28 34 Z"),
        stroke(_BROWN, 8, "M36 66 Q18 76 22 88 M64 66 Q82 76 78 88"),
        path("main", "M37 60 Q50 68 63 60 L61 82 Q80 98 96 124 Q50 136 4 124 Q20 98 39 82 Z"),
        *atop(path("#ffffff40", "M46 84 L54 84 Q59 106 61 134 L39 134 Q41 106 46 84 Z")),
        *atop(path("shade", "M62 84 Q84 104 88 134 L104 134 L104 90 Z")),
        *atop(stroke("main-30", 1.6, "M42 86 Q30 106 20 130 M58 86 Q70 106 80 130")),
        box("gold", 38, 79, 62, 84, r=2),
        *both(50, oval("main-18", 32, 67, 9, 8)),
        *both(50, oval(_BROWN, 22, 90, 4.6)),
        *face(38, _BROWN, r=18),
        path("#3b2530", "M31 36 Q32 16 50 17 Q68 16 69 36 Q60 28 50 26 Q40 28 31 36 Z"),
        *[oval("gold", x, y, 2) for x, y in ((41, 59), (45.5, 61), (50, 61.8), (54.5, 61), (59, 59))],
        *crown(20),
    ]


def king() -> list[Part]:
    """Draw a crown, a white beard, a cloak trimmed with fur and a sceptre."""
    return [
        path("main", "M30 58 L70 58 Q88 86 92 120 L8 120 Q12 86 30 58 Z"),
        *atop(path("#1c203c40", "M30 58 L70 58 Q88 86 92 120 L8 120 Q12 86 30 58 Z")),
        *both(50, box("ink", 36, 108, 47, 124, r=3)),
        path("main", "M32 58 L68 58 Q78 84 74 112 Q50 118 26 112 Q22 84 32 58 Z"),
        *atop(path("shade", "M60 54 L90 54 L90 120 L64 120 Z")),
        box("dark wood", 25, 90, 76, 96, r=1),
        box("gold", 44, 88, 56, 98, r=2),
        *both(50, path("#fffaf0", "M34 58 L26 60 Q8 88 4 120 L14 120 Q18 88 36 64 Z")),
        *[oval("ink", x, y, 1.3) for x, y in ((24, 74), (16, 92), (11, 108), (76, 74), (84, 92), (89, 108))],
        path("#fffaf0", "M26 58 Q50 50 74 58 Q74 68 50 70 Q26 68 26 58 Z"),
        stroke("gold", 3.4, "M88 50 L84 104"),
        oval("gold", 88.5, 46, 6),
        oval("#e63950", 88.5, 46, 3),
        stroke("main", 10, "M68 70 Q80 76 84 78"),
        oval(_PALE, 86, 79, 5.6),
        *face(38, _PALE),
        path("#ecedf1", "M31 38 Q30 66 50 74 Q70 66 69 38 Q61 50 50 47 Q39 50 31 38 Z"),
        stroke("#c9838a", 2, "M46 53 Q50 56 54 53"),
        *crown(24),
    ]


def astronaut() -> list[Part]:
    """Draw a space suit with a golden visor and a backpack."""
    return [
        box("dark steel", 20, 52, 80, 98, r=8),
        *both(50, box("main", 31, 92, 48, 118, r=6), box("#eef2f6", 29, 114, 49, 127, r=5)),
        *both(50, stroke("main", 14, "M70 66 Q86 74 84 88"), oval("#eef2f6", 84, 95, 7.5)),
        box("main", 28, 54, 72, 106, r=12),
        *atop(path("shade", "M60 50 L80 50 L80 110 L62 110 Z")),
        box("#eef2f6", 36, 72, 64, 90, r=3),
        *[oval(paint, x, 78, 2.6) for x, paint in ((42, "#ff5d5d"), (50, "gold"), (58, "#4d96ff"))],
        box("dark steel", 40, 83.5, 60, 86.5, r=1),
        *both(50, box("#eef2f6", 30, 97, 70, 101, r=2)),
        oval("#f7f9fb", 50, 32, 32, 30),
        *atop(path("shade", "M62 0 Q90 30 64 64 L90 64 L90 0 Z")),
        *both(50, box("dark steel", 14, 26, 21, 40, r=3)),
        box("#d5a02f", 25, 16, 75, 51, r=17),
        box("#26355d", 28, 19, 72, 48, r=14.5),
        *atop(path("#ffffff70", "M33 34 Q34 24 44 22 L48 22 Q38 28 37 38 Z"), oval("#ffffff70", 63, 41, 2.8)),
        stroke("steel", 2, "M72 8 L80 -4"),
        oval("#ff5d5d", 81, -6, 3.2),
    ]


ART = {
    "knight": knight, "wizard": wizard, "pirate": pirate, "robot": robot, "queen": queen, "king": king,
    "astronaut": astronaut,
}  # fmt: skip
