"""What captions of the bundled world claim of its things, and whether it is true of a scene.

The grammar is small: things with adjectives ("a small striped red taxi", "a taxi with dots", "two cats"),
relations between the thing before and the thing after, and places ("on grass", "in the sky"). A place holds
for every thing named before it that has none yet. Each mention is another thing. "No" and "without" deny what
follows them ("a road without a taxi").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import PromptError
from denseclip_viz.toyworld.vocabulary import GROUPS, KINDS, tokens

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Thing:
    """A thing as it is seen in a scene: what captions, claims and masks are about.

    ``box`` is left, top, right, bottom of what is visible, in pixels, right and bottom exclusive; ``depth`` is 0
    for the nearest; ``on`` is the stuff at its foot, None where that is a border; ``visible`` is the share
    that no other thing hides; ``mask`` is (row, column) bool.

    Example:
        >>> from denseclip_viz.toyworld import scene
        >>> taxi = scene("a red taxi on a road", 64).things[0]
        >>> taxi.colour, taxi.on, taxi.mask.shape
        ('red', 'road', (64, 64))
    """

    kind: str
    colour: str
    surface: str
    size: str
    box: tuple[int, int, int, int]
    depth: int
    on: str | None
    visible: float
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class Phrase:
    """A thing as it is spoken of: a kind or a group of kinds, and what is said of it.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.toyworld.Phrase("flower").kinds
        ('tulip', 'sunflower')
    """

    noun: str
    colour: str | None = None
    surface: str | None = None
    size: str | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the noun may mean."""
        return (self.noun,) if self.noun in KINDS else GROUPS[self.noun]


@dataclass(frozen=True)
class Claims:
    """What a caption says.

    ``places`` are (index of a thing, stuff), ``relations`` (index, relation, index), and ``counts`` (index of
    the first of several things, how many) where a number was said. ``no_things`` and ``no_stuff`` are denied.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.toyworld.parse("two cats without a bus").counts
        ((0, 2),)
    """

    things: tuple[Phrase, ...] = ()
    stuff: tuple[str, ...] = ()
    places: tuple[tuple[int, str], ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    counts: tuple[tuple[int, int], ...] = ()
    no_things: tuple[Phrase, ...] = ()
    no_stuff: tuple[str, ...] = ()


def parse(text: str) -> Claims:
    """Read a caption.

    Returns:
        What it says.

    Raises:
        PromptError: On a word that the bundled world does not know, or words that do not fit together.

    Example:
        >>> import denseclip_viz as dcv
        >>> claims = dcv.toyworld.parse("a red taxi left of a limousine, on a road")
        >>> [phrase.noun for phrase in claims.things], claims.relations
        (['taxi', 'limousine'], ((0, 'left of', 1),))
        >>> claims.places
        ((0, 'road'), (1, 'road'))
    """
    reader = _Reader(text)
    for kind, value, typed in tokens(text):
        reader.take(kind, value, typed)
    return reader.claims()


class _Reader:
    """What has been read so far; words come one at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.modifiers: dict[str, str] = {}
        self.things: list[Phrase] = []
        self.stuff: list[str] = []
        self.places: dict[int, str] = {}
        self.relations: list[tuple[int, str, int]] = []
        self.counts: list[tuple[int, int]] = []
        self.last: range | None = None
        self.first: range | None = None
        self.waiting: str | None = None
        self.waiting_as = ""
        self.parted = False
        self.denied = False
        self.no_things: list[Phrase] = []
        self.no_stuff: list[str] = []

    def take(self, kind: str, value: str, typed: str) -> None:
        if kind in ("number", "colour", "surface", "size"):
            if kind in self.modifiers:
                raise self.wrong(f"two words for the {kind} of one thing", f"one {kind} before each thing")
            self.modifiers[kind] = value
        elif kind == "thing":
            self.thing(value, typed)
        elif kind == "stuff":
            self.ground(value, typed)
        elif kind in ("relation", "place"):
            self.connect(value if kind == "relation" else "on", typed)
        elif kind == "surface after":
            self.finish_surface(value)
        elif kind == "denial":
            self.deny(typed)
        elif kind == "separator":
            self.parted = True

    def connect(self, relation: str, typed: str) -> None:
        if self.waiting or self.last is None:
            raise self.wrong(f'"{typed}" without a thing before it', "a thing, then how it stands to another")
        self.waiting, self.waiting_as = relation, typed
        if self.parted and self.first is not None:
            self.last = self.first

    def deny(self, typed: str) -> None:
        if self.modifiers or self.waiting or self.denied:
            raise self.wrong(f'"{typed}" in the middle of other words', 'for example "a road without a taxi"')
        self.denied = True

    def thing(self, noun: str, typed: str) -> None:
        if self.denied:
            self.modifiers.pop("number", None)
            self.no_things.append(Phrase(noun, **self.modifiers))
            self.end_phrase()
            return
        count = int(self.modifiers.pop("number", "1"))
        begin = len(self.things)
        self.things += [Phrase(noun, **self.modifiers)] * count
        group = range(begin, begin + count)
        if count > 1:
            self.counts.append((begin, count))
        if self.waiting == "on":
            raise self.wrong(f'"{self.waiting_as}" before "{typed}"', "a stuff after on, in, at or against")
        if self.waiting and self.last is not None:
            self.relations += [(i, self.waiting, j) for i in self.last for j in group]
        else:
            self.first = group
        self.last, self.waiting = group, None
        self.end_phrase()

    def ground(self, name: str, typed: str) -> None:
        if set(self.modifiers) - {"number"}:
            raise self.wrong(f'an adjective before "{typed}"', "adjectives only before things")
        if self.denied:
            self.no_stuff.append(name)
            self.end_phrase()
            return
        if self.waiting in ("on", "in front of"):
            self.places |= {i: name for i in range(len(self.things)) if i not in self.places}
        elif self.waiting not in (None, "below"):
            raise self.wrong(
                f'"{self.waiting_as}" before "{typed}"', "on, in, at, against or in front of before a stuff"
            )
        if name not in self.stuff:
            self.stuff.append(name)
        self.waiting = None
        self.end_phrase()

    def end_phrase(self) -> None:
        self.modifiers, self.parted, self.denied = {}, False, False

    def finish_surface(self, surface: str) -> None:
        if self.last is None or any(self.things[i].surface for i in self.last):
            raise self.wrong("a surface without its thing", 'for example "a taxi with stripes"')
        for i in self.last:
            self.things[i] = replace(self.things[i], surface=surface)

    def claims(self) -> Claims:
        if self.modifiers or self.waiting or self.denied:
            raise self.wrong("words without their noun at the end", "a thing or a stuff at the end")
        if not (self.things or self.stuff or self.no_things or self.no_stuff):
            raise self.wrong("no thing and no stuff", "at least one thing or stuff")
        return Claims(
            things=tuple(self.things),
            stuff=tuple(self.stuff),
            places=tuple(sorted(self.places.items())),
            relations=tuple(self.relations),
            counts=tuple(self.counts),
            no_things=tuple(self.no_things),
            no_stuff=tuple(self.no_stuff),
        )

    def wrong(self, got: str, expected: str) -> PromptError:
        return PromptError(
            f'{got[0].upper()}{got[1:]} in "{self.text}"', expected=expected, fix="Say it in simpler words."
        )


def fits(phrase: Phrase, thing: Thing) -> bool:
    """Tell whether a thing may be called so."""
    looks = ((phrase.colour, thing.colour), (phrase.surface, thing.surface), (phrase.size, thing.size))
    return thing.kind in phrase.kinds and all(claimed in (None, actual) for claimed, actual in looks)


def related(relation: str, one: Box, other: Box, *, nearer: bool, side: float) -> bool:
    """Tell whether ``one`` stands so to ``other``; boxes are left, top, right, bottom in an image of ``side``.

    *Left of* and *above* ask that neither box reaches the other's middle; *next to* asks for a gap below 0.15
    of the side and shared height; *in front of* asks that the boxes share more than 5 % of the smaller one.
    """
    if relation in ("right of", "below", "behind"):
        flipped = {"right of": "left of", "below": "above", "behind": "in front of"}[relation]
        return related(flipped, other, one, nearer=not nearer, side=side)
    if relation in ("left of", "above"):
        low, high = (0, 2) if relation == "left of" else (1, 3)
        return (one[low] + one[high]) / 2 < other[low] and one[high] < (other[low] + other[high]) / 2
    wide, tall = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    if relation == "next to":
        shared = tall / min(one[3] - one[1], other[3] - other[1])
        return -0.15 * side < wide < 0.04 * side and shared > 0.5
    area = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return nearer and wide > 0 and tall > 0 and wide * tall > 0.05 * area


def holds(claims: Claims, things: Sequence[Thing], stuff: Sequence[str], *, side: float) -> bool:
    """Tell whether all claims hold at once, each phrase meaning a thing of its own."""
    if not set(claims.stuff) <= set(stuff) or set(claims.no_stuff) & set(stuff):
        return False
    if any(fits(phrase, thing) for phrase in claims.no_things for thing in things):
        return False
    for index, count in claims.counts:
        if sum(fits(claims.things[index], thing) for thing in things) != count:
            return False
    return _assigned(claims, things, [], side)


def _assigned(claims: Claims, things: Sequence[Thing], chosen: list[Thing], side: float) -> bool:
    """Try every thing for the next phrase."""
    index = len(chosen)
    if index == len(claims.things):
        return all(
            related(word, chosen[i].box, chosen[j].box, nearer=chosen[i].depth < chosen[j].depth, side=side)
            for i, word, j in claims.relations
        )
    places = [stuff for i, stuff in claims.places if i == index]
    for thing in things:
        free = all(thing is not other for other in chosen)
        if free and fits(claims.things[index], thing) and all(thing.on == place for place in places):
            if _assigned(claims, things, [*chosen, thing], side):
                return True
    return False
