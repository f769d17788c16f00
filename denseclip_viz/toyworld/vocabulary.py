"""What may be named in the bundled world, and by which other words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from html import escape

from denseclip_viz.errors import PromptError

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

SURFACES: tuple[str, ...] = ("plain", "striped", "dotted", "checked")
# Geometric mean of width and height, as a share of the image's side.
SIZES: dict[str, tuple[float, float]] = {"small": (0.19, 0.25), "medium": (0.28, 0.37), "large": (0.42, 0.56)}
# The word that places a thing on, in or before a stuff.
STUFF: dict[str, str] = {
    "sky": "in", "night sky": "in", "mountains": "in front of", "brick wall": "in front of",
    "grass": "on", "sand": "on", "water": "on", "snow": "in",
    "road": "on", "leaves": "on", "wooden floor": "on", "tiles": "on",
}  # fmt: skip
# Stuff that takes an article, and other words for stuff that do.
COUNTED: frozenset[str] = frozenset({
    "brick wall", "road", "wooden floor", "night sky", "lawn", "meadow", "beach", "desert", "sea", "lake", "street",
    "starry sky", "starry night", "mountain range", "wood floor", "tiled floor", "wall of bricks",
})  # fmt: skip

SYNONYMS: dict[str, tuple[str, ...]] = {
    "sports car": ("racing car", "coupe"), "taxi": ("cab", "taxicab"), "limousine": ("limo",),
    "bus": ("double-decker", "coach"), "truck": ("lorry",),
    "sailing boat": ("sailboat", "yacht"), "rowing boat": ("rowboat",), "steamboat": ("steamship", "steamer"),
    "airplane": ("plane", "aeroplane"), "helicopter": ("chopper",), "rocket": ("spaceship",),
    "hot-air balloon": ("hot air balloon", "balloon"),
    "oak": ("oak tree",), "pine": ("pine tree", "fir tree"), "palm": ("palm tree",),
    "cat": ("kitty",), "bear": ("teddy bear",), "rabbit": ("bunny",),
    "wizard": ("magician", "sorcerer"), "knight": ("armored knight",), "pirate": ("buccaneer",),
    "robot": ("android",), "astronaut": ("spaceman",),
    "house": ("cottage",), "castle": ("fortress",), "mug": ("cup",),
    "purple": ("violet",),
    "striped": ("stripy", "stripey"), "dotted": ("spotted", "polka dot"), "checked": ("checkered", "chequered"),
    "small": ("little", "tiny"), "large": ("big", "huge"), "medium": ("medium-sized",),
    "night sky": ("starry sky", "starry night"), "mountains": ("mountain range",),
    "brick wall": ("bricks", "wall of bricks"), "grass": ("lawn", "meadow"), "sand": ("beach", "desert"),
    "water": ("sea", "lake"), "road": ("street", "asphalt"), "leaves": ("foliage",),
    "wooden floor": ("wood floor", "wooden planks"), "tiles": ("tiled floor",),
    "character": ("storybook character",),
}  # fmt: skip
# Relations, and how else they may be said.
RELATIONS: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of", "on the left of"),
    "right of": ("to the right of", "on the right of"),
    "above": ("over",),
    "below": ("under", "beneath"),
    "in front of": (),
    "behind": (),
    "next to": ("beside", "by"),
}
CLASSES: tuple[str, ...] = tuple(STUFF) + KINDS


@dataclass(frozen=True)
class WorldVocabulary:
    """Everything that may be named; ``classes`` is the order of ``Scene.labels()``.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.toyworld.WorldVocabulary().families["crockery"]
        ('teapot', 'mug')
    """

    kinds: tuple[str, ...] = KINDS
    families: dict[str, tuple[str, ...]] = field(default_factory=FAMILIES.copy)
    groups: dict[str, tuple[str, ...]] = field(default_factory=GROUPS.copy)
    colours: tuple[str, ...] = tuple(COLOURS)
    surfaces: tuple[str, ...] = SURFACES
    sizes: tuple[str, ...] = tuple(SIZES)
    stuff: tuple[str, ...] = tuple(STUFF)
    relations: tuple[str, ...] = tuple(RELATIONS)
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=SYNONYMS.copy)
    classes: tuple[str, ...] = CLASSES

    def rows(self) -> list[tuple[str, str]]:
        """List what each family, and what colours, surfaces, sizes and relations there are, with synonyms.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.toyworld.WorldVocabulary().rows()[-2]
            ('sizes', 'small, medium, large')
        """
        rows = [(name, ", ".join(self._with_synonyms(k) for k in kinds)) for name, kinds in self.families.items()]
        rows += [("groups", ", ".join(self.groups)), ("stuff", ", ".join(self._with_synonyms(s) for s in self.stuff))]
        rows += [("colours", ", ".join(self.colours)), ("surfaces", ", ".join(self.surfaces))]
        rows += [("sizes", ", ".join(self.sizes)), ("relations", ", ".join(self.relations))]
        return rows

    def _repr_html_(self) -> str:
        rows = [(escape(name), escape(listed)) for name, listed in self.rows()]
        cells = "".join(f"<tr><th>{name}</th><td style='text-align:left'>{listed}</td></tr>" for name, listed in rows)
        return f"<table>{cells}</table>"

    def _with_synonyms(self, name: str) -> str:
        return f"{name} ({' / '.join(self.synonyms[name])})" if name in self.synonyms else name


def vocabulary() -> WorldVocabulary:
    """Return what may be named in the bundled world, with synonyms.

    Example:
        >>> import denseclip_viz as dcv
        >>> words = dcv.toyworld.vocabulary()
        >>> len(words.kinds), len(words.stuff), words.synonyms["taxi"]
        (40, 12, ('cab', 'taxicab'))
    """
    return WorldVocabulary()


Token = tuple[str, str]

_NUMBERS = {"a": 1, "an": 1, "the": 1, "one": 1, "some": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_WITH = {"with stripes": "striped", "with dots": "dotted", "with spots": "dotted", "with checks": "checked"}
# Not the grammar of `prompts.articles`: both models have read captions in these words ("cactuss" is one of them).
_PLURALS = {
    "bus": "buses", "coach": "coaches", "fish": "fish", "aircraft": "aircraft", "fox": "foxes", "octopus": "octopuses",
}  # fmt: skip
_PLACE_WORDS = ("on", "in", "at", "against", "standing on", "standing in")
_FILLERS = (
    "a photo of", "a picture of", "an image of", "a drawing of", "an illustration of", "a scene with",
    "a scene of", "a picture showing", "there is", "there are", "in the scene", "in the picture",
    "in this picture", "in the background", "behind it", "all around", "you can see", "we see", "i see",
    "here is", "here are", "this is", "these are", "look", "somewhere", "showing", "is", "are", "it",
    "a photo", "a picture", "a scene",
)  # fmt: skip
_SEPARATORS = ("and", "with", ",", ";", "&", "plus")
_DENIALS = ("no", "without", "nothing like", "without any", "not any")


def plural(noun: str) -> str:
    """Name several of them."""
    head, _, last = noun.rpartition(" ")
    return f"{head} {_PLURALS.get(last, last + 's')}".strip()


def with_article(words: str) -> str:
    """Put "a" or "an" before words of this world."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def noun_phrase(name: str) -> str:
    """Name a class as captions do: things and countable stuff with an article.

    Example:
        >>> noun_phrase("oak"), noun_phrase("grass"), noun_phrase("road")
        ('an oak', 'grass', 'a road')
    """
    if name in STUFF and name not in COUNTED:
        return name
    return with_article(name)


def tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """Read a caption's words, one after the other; the longest known run of words at a time.

    Yields:
        What it is, the standard word for it, and the words as they were typed.

    Raises:
        PromptError: No text, or a word that the bundled world does not know.
    """
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"The caption {text!r}", expected="words", fix='Say for example "a taxi on a road".')
    words = re.findall(r"[^\W_]+|[,;&]", text.lower())
    known = lexicon()
    while words:
        for length in range(min(5, len(words)), 0, -1):
            typed = " ".join(words[:length])
            if typed in known:
                yield (*known[typed], typed)
                words = words[length:]
                break
        else:
            raise _unknown(words[0], text)


def _unknown(word: str, text: str) -> PromptError:
    names = [known for known, (kind, _) in lexicon().items() if kind != "filler"]
    near = get_close_matches(word, names, n=3, cutoff=0.7)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return PromptError(
        f'The word "{word}" in "{text}"',
        expected="words of the bundled world",
        fix=f"{hint}toyworld.vocabulary() lists them.",
    )


@lru_cache(maxsize=1)
def lexicon() -> dict[str, Token]:
    """List every word that can be read, and what it is."""
    known: dict[str, Token] = {word: ("filler", "") for word in _FILLERS}
    known |= {word: ("separator", "") for word in _SEPARATORS}
    known |= {word: ("number", str(number)) for word, number in _NUMBERS.items()}
    known |= {str(number): ("number", str(number)) for number in range(1, 6)}
    known |= {word: ("place", "") for word in _PLACE_WORDS}
    known |= {word: ("denial", "") for word in _DENIALS}
    known |= {word: ("surface after", surface) for word, surface in _WITH.items()}
    for relation, words in RELATIONS.items():
        known |= {word: ("relation", relation) for word in (relation, *words)}
    tables = (("colour", COLOURS), ("surface", SURFACES), ("size", SIZES), ("stuff", STUFF))
    for kind, names in tables:
        known |= {_plain(word): (kind, name) for name in names for word in (name, *SYNONYMS.get(name, ()))}
    for name in (*GROUPS, *KINDS):
        for word in (name, *SYNONYMS.get(name, ())):
            known[_plain(word)] = known[_plain(plural(word))] = ("thing", name)
    return known


def _plain(word: str) -> str:
    return word.replace("-", " ")
