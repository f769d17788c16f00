"""What may be named in the bundled world, and by which other words."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

Rgb = tuple[int, int, int]

FAMILIES: dict[str, tuple[str, ...]] = {
    "road vehicle": ("sports car", "taxi", "limousine", "bus", "truck"),
    "boat": ("sailing boat", "rowing boat", "steamboat"),
    "aircraft": ("airplane", "helicopter", "rocket", "hot-air balloon"),
    "tree": ("oak", "pine", "palm"),
    "garden plant": ("tulip", "sunflower", "cactus"),
    "land animal": ("cat", "fox", "bear", "rabbit"),
    "bird": ("owl", "duck", "penguin"),
    "sea animal": ("fish", "whale", "octopus"),
    "character": ("knight", "wizard", "pirate", "robot", "queen", "king", "astronaut"),
    "building": ("house", "castle", "lighthouse"),
    "crockery": ("teapot", "mug"),
}
KINDS: tuple[str, ...] = tuple(kind for family in FAMILIES.values() for kind in family)
FAMILY_OF: dict[str, str] = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}

# Words for several kinds at once; a caption may say "a tree" of an oak.
GROUPS: dict[str, tuple[str, ...]] = {
    "vehicle": FAMILIES["road vehicle"] + FAMILIES["boat"] + FAMILIES["aircraft"],
    "car": ("sports car", "taxi", "limousine"),
    "boat": FAMILIES["boat"],
    "aircraft": FAMILIES["aircraft"],
    "tree": FAMILIES["tree"],
    "plant": FAMILIES["tree"] + FAMILIES["garden plant"],
    "flower": ("tulip", "sunflower"),
    "animal": FAMILIES["land animal"] + FAMILIES["bird"] + FAMILIES["sea animal"],
    "bird": FAMILIES["bird"],
    "character": FAMILIES["character"],
    "building": FAMILIES["building"],
}

# Several tones a colour: a name is never one pixel value.
COLOURS: dict[str, tuple[Rgb, ...]] = {
    "red": ((220, 56, 52), (200, 42, 56), (232, 74, 64)),
    "orange": ((242, 138, 46), (234, 120, 36), (248, 152, 66)),
    "yellow": ((246, 204, 58), (240, 190, 38), (250, 216, 92)),
    "green": ((70, 160, 82), (48, 138, 88), (112, 178, 66)),
    "blue": ((56, 116, 220), (44, 94, 192), (76, 150, 232)),
    "purple": ((142, 84, 188), (120, 70, 168), (160, 104, 204)),
    "pink": ((244, 142, 182), (236, 114, 164), (250, 166, 194)),
    "brown": ((134, 88, 58), (116, 74, 48), (150, 102, 70)),
    "white": ((247, 245, 240), (240, 242, 246)),
    "black": ((42, 44, 54), (52, 50, 56)),
}
# What stripes, dots and checks are painted with: (rather light, rather dark).
SECOND: dict[str, tuple[Rgb, Rgb]] = {
    "yellow": ((255, 252, 240), (92, 62, 34)),
    "white": ((122, 136, 158), (60, 66, 84)),
    "black": ((244, 240, 230), (168, 174, 186)),
    "pink": ((255, 250, 246), (140, 44, 84)),
}
SECOND_LIGHT: Rgb = (255, 249, 238)

SURFACES: tuple[str, ...] = ("plain", "striped", "dotted", "checked")
# Geometric mean of width and height, as a share of the picture's side.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.19, 0.25),
    "medium": (0.28, 0.37),
    "large": (0.42, 0.56),
}
# The word that places a thing on, in or before a stuff.
STUFF: dict[str, str] = {
    "sky": "in",
    "night sky": "in",
    "mountains": "in front of",
    "brick wall": "in front of",
    "grass": "on",
    "sand": "on",
    "water": "on",
    "snow": "in",
    "road": "on",
    "leaves": "on",
    "wooden floor": "on",
    "tiles": "on",
}
COUNTED_STUFF: frozenset[str] = frozenset({"brick wall", "road", "wooden floor", "night sky"})

SYNONYMS: dict[str, tuple[str, ...]] = {
    "sports car": ("racing car", "coupe"),
    "taxi": ("cab", "taxicab"),
    "limousine": ("limo",),
    "bus": ("double-decker", "coach"),
    "truck": ("lorry",),
    "sailing boat": ("sailboat", "yacht"),
    "rowing boat": ("rowboat",),
    "steamboat": ("steamship", "steamer"),
    "airplane": ("plane", "aeroplane"),
    "helicopter": ("chopper",),
    "rocket": ("spaceship",),
    "hot-air balloon": ("hot air balloon", "balloon"),
    "oak": ("oak tree",),
    "pine": ("pine tree", "fir tree"),
    "palm": ("palm tree",),
    "cat": ("kitty",),
    "bear": ("teddy bear",),
    "rabbit": ("bunny",),
    "wizard": ("magician", "sorcerer"),
    "knight": ("armored knight",),
    "pirate": ("buccaneer",),
    "robot": ("android",),
    "astronaut": ("spaceman",),
    "house": ("cottage",),
    "castle": ("fortress",),
    "mug": ("cup",),
    "purple": ("violet",),
    "striped": ("stripy", "stripey"),
    "dotted": ("spotted", "polka dot"),
    "checked": ("checkered", "chequered"),
    "small": ("little", "tiny"),
    "large": ("big", "huge"),
    "medium": ("medium-sized",),
    "night sky": ("starry sky", "starry night"),
    "mountains": ("mountain range",),
    "brick wall": ("bricks", "wall of bricks"),
    "grass": ("lawn", "meadow"),
    "sand": ("beach", "desert"),
    "water": ("sea", "lake"),
    "road": ("street", "asphalt"),
    "leaves": ("foliage",),
    "wooden floor": ("wood floor", "wooden planks"),
    "tiles": ("tiled floor",),
    "character": ("storybook character",),
}
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below", "in front of", "behind", "next to")
CLASSES: tuple[str, ...] = tuple(STUFF) + KINDS


@dataclass(frozen=True)
class Vocabulary:
    """Everything that may be named; ``classes`` is the order of ``Scene.labels()``."""

    kinds: tuple[str, ...]
    families: dict[str, tuple[str, ...]]
    groups: dict[str, tuple[str, ...]]
    colours: tuple[str, ...]
    surfaces: tuple[str, ...]
    sizes: tuple[str, ...]
    stuff: tuple[str, ...]
    relations: tuple[str, ...]
    synonyms: dict[str, tuple[str, ...]]
    classes: tuple[str, ...]

    def _repr_html_(self) -> str:
        rows = [(name, ", ".join(self._said(k) for k in kinds)) for name, kinds in self.families.items()]
        rows += [("groups", ", ".join(self.groups)), ("stuff", ", ".join(self._said(s) for s in self.stuff))]
        rows += [("colours", ", ".join(self.colours)), ("surfaces", ", ".join(self.surfaces))]
        rows += [("sizes", ", ".join(self.sizes)), ("relations", ", ".join(self.relations))]
        cells = "".join(f"<tr><th>{escape(a)}</th><td style='text-align:left'>{escape(b)}</td></tr>" for a, b in rows)
        return f"<table>{cells}</table>"

    def _said(self, name: str) -> str:
        return f"{name} ({' / '.join(self.synonyms[name])})" if name in self.synonyms else name


def vocabulary() -> Vocabulary:
    """What may be named in the bundled world, with synonyms.

    Example:
        >>> words = vocabulary()
        >>> len(words.kinds), len(words.stuff), words.synonyms["taxi"]
        (40, 12, ('cab', 'taxicab'))
    """
    return Vocabulary(
        kinds=KINDS,
        families=dict(FAMILIES),
        groups=dict(GROUPS),
        colours=tuple(COLOURS),
        surfaces=SURFACES,
        sizes=tuple(SIZES),
        stuff=tuple(STUFF),
        relations=RELATIONS,
        synonyms=dict(SYNONYMS),
        classes=CLASSES,
    )
