"""Reading captions of the bundled world: from words to what they claim.

The grammar is small: things with adjectives ("a small striped red taxi", "a taxi with dots", "two cats"),
relations between the thing before and the thing after, and places ("on grass", "in the sky"). A place holds
for every thing named before it that has none yet. Each mention is another thing. "No" and "without" deny what
follows them ("a road without a taxi").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache

from denseclip_viz.errors import PromptError
from denseclip_viz.toyworld.vocabulary import (
    COLOURS,
    COUNTED_STUFF,
    GROUPS,
    KINDS,
    RELATIONS,
    SIZES,
    STUFF,
    SURFACES,
    SYNONYMS,
)

Token = tuple[str, str]

_NUMBERS = {"a": 1, "an": 1, "the": 1, "one": 1, "some": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_WITH = {"with stripes": "striped", "with dots": "dotted", "with spots": "dotted", "with checks": "checked"}
_PLURALS = {
    "bus": "buses",
    "coach": "coaches",
    "fish": "fish",
    "aircraft": "aircraft",
    "fox": "foxes",
    "octopus": "octopuses",
}
_RELATION_WORDS = {
    "left of": ("to the left of", "on the left of"),
    "right of": ("to the right of", "on the right of"),
    "above": ("over",),
    "below": ("under", "beneath"),
    "in front of": (),
    "behind": (),
    "next to": ("beside", "by"),
}
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


@dataclass(frozen=True)
class Phrase:
    """A thing as it is spoken of: a kind or a group of kinds, and what is said of it."""

    noun: str
    colour: str | None = None
    surface: str | None = None
    size: str | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the noun may mean.

        Example:
            >>> Phrase("flower").kinds
            ('tulip', 'sunflower')
        """
        return (self.noun,) if self.noun in KINDS else GROUPS[self.noun]


@dataclass(frozen=True)
class Claims:
    """What a caption says.

    ``places`` are (index of a thing, stuff), ``relations`` (index, relation, index), and ``counts`` (index of
    the first of several things, how many) where a number was said. ``no_things`` and ``no_stuff`` are denied.
    """

    things: tuple[Phrase, ...] = ()
    stuff: tuple[str, ...] = ()
    places: tuple[tuple[int, str], ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    counts: tuple[tuple[int, int], ...] = ()
    no_things: tuple[Phrase, ...] = ()
    no_stuff: tuple[str, ...] = ()


def plural(noun: str) -> str:
    """Several of them.

    Example:
        >>> plural("taxi"), plural("octopus")
        ('taxis', 'octopuses')
    """
    head, _, last = noun.rpartition(" ")
    return f"{head} {_PLURALS.get(last, last + 's')}".strip()


def with_article(words: str) -> str:
    """Words of this world behind "a" or "an".

    Example:
        >>> with_article("oak"), with_article("red oak")
        ('an oak', 'a red oak')
    """
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def said(name: str) -> str:
    """Name a class as captions do: things and countable stuff with an article.

    Example:
        >>> said("oak"), said("grass"), said("road")
        ('an oak', 'grass', 'a road')
    """
    if name in STUFF and name not in COUNTED_STUFF:
        return name
    return with_article(name)


def parse(text: str) -> Claims:
    """Read a caption.

    Raises:
        PromptError: On a word that the bundled world does not know, or words that do not fit together.

    Example:
        >>> claims = parse("a red taxi left of a limousine, on a road")
        >>> [phrase.noun for phrase in claims.things], claims.relations
        (['taxi', 'limousine'], ((0, 'left of', 1),))
        >>> claims.places
        ((0, 'road'), (1, 'road'))
    """
    reader = _Reader(text)
    for kind, value in _tokens(text):
        reader.take(kind, value)
    return reader.claims()


def _tokens(text: str) -> Iterator[Token]:
    """The longest known run of words at a time."""
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"The caption {text!r}", expected="words", fix='Say for example "a taxi on a road".')
    words = re.findall(r"[^\W_]+|[,;&]", text.lower())
    known = lexicon()
    while words:
        for length in range(min(5, len(words)), 0, -1):
            found = known.get(" ".join(words[:length]))
            if found:
                yield found
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
    """Every word that can be read, and what it is.

    Example:
        >>> lexicon()["cab"], lexicon()["polka dot"]
        (('thing', 'taxi'), ('surface', 'dotted'))
    """
    known: dict[str, Token] = {word: ("filler", "") for word in _FILLERS}
    known |= {word: ("separator", "") for word in _SEPARATORS}
    known |= {word: ("number", str(number)) for word, number in _NUMBERS.items()}
    known |= {str(number): ("number", str(number)) for number in range(1, 6)}
    known |= {word: ("place", "") for word in _PLACE_WORDS}
    known |= {word: ("denial", "") for word in _DENIALS}
    known |= {word: ("surface after", surface) for word, surface in _WITH.items()}
    for relation in RELATIONS:
        known |= {word: ("relation", relation) for word in (relation, *_RELATION_WORDS[relation])}
    tables = (("colour", COLOURS), ("surface", SURFACES), ("size", SIZES), ("stuff", STUFF))
    for kind, names in tables:
        known |= {_plain(word): (kind, name) for name in names for word in (name, *SYNONYMS.get(name, ()))}
    for name in (*GROUPS, *KINDS):
        for word in (name, *SYNONYMS.get(name, ())):
            known[_plain(word)] = known[_plain(plural(word))] = ("thing", name)
    return known


def _plain(word: str) -> str:
    return word.replace("-", " ")


class _Reader:
    """What has been read so far; words come one at a time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.said: dict[str, str] = {}
        self.things: list[Phrase] = []
        self.stuff: list[str] = []
        self.places: dict[int, str] = {}
        self.relations: list[tuple[int, str, int]] = []
        self.counts: list[tuple[int, int]] = []
        self.last: range | None = None
        self.first: range | None = None
        self.waiting: str | None = None
        self.parted = False
        self.denied = False
        self.no_things: list[Phrase] = []
        self.no_stuff: list[str] = []

    def take(self, kind: str, value: str) -> None:
        if kind in ("number", "colour", "surface", "size"):
            if kind in self.said:
                raise self.wrong(f"two words for the {kind} of one thing", f"one {kind} before each thing")
            self.said[kind] = value
        elif kind == "thing":
            self.thing(value)
        elif kind == "stuff":
            self.ground(value)
        elif kind in ("relation", "place"):
            self.connect(value if kind == "relation" else "on")
        elif kind == "surface after":
            self.finish_surface(value)
        elif kind == "denial":
            self.deny()
        elif kind == "separator":
            self.parted = True

    def connect(self, relation: str) -> None:
        if self.waiting or self.last is None:
            raise self.wrong(f'"{relation}" without a thing before it', "a thing, then how it stands to another")
        self.waiting = relation
        if self.parted and self.first is not None:
            self.last = self.first

    def deny(self) -> None:
        if self.said or self.waiting or self.denied:
            raise self.wrong('"no" in the middle of other words', 'for example "a road without a taxi"')
        self.denied = True

    def thing(self, noun: str) -> None:
        if self.denied:
            self.said.pop("number", None)
            self.no_things.append(Phrase(noun, **self.said))
            self.end_phrase()
            return
        count = int(self.said.pop("number", "1"))
        begin = len(self.things)
        self.things += [Phrase(noun, **self.said)] * count
        group = range(begin, begin + count)
        if count > 1:
            self.counts.append((begin, count))
        if self.waiting == "on":
            raise self.wrong(f"a thing on or in a {noun}", "a stuff after on, in, at or against")
        if self.waiting and self.last is not None:
            self.relations += [(i, self.waiting, j) for i in self.last for j in group]
        else:
            self.first = group
        self.last, self.waiting = group, None
        self.end_phrase()

    def ground(self, name: str) -> None:
        if set(self.said) - {"number"}:
            raise self.wrong(f"an adjective before {name}", "adjectives only before things")
        if self.denied:
            self.no_stuff.append(name)
            self.end_phrase()
            return
        if self.waiting in ("on", "in front of"):
            self.places |= {i: name for i in range(len(self.things)) if i not in self.places}
        elif self.waiting not in (None, "below"):
            raise self.wrong(f'"{self.waiting}" before {name}', "on, in, at, against or in front of before a stuff")
        if name not in self.stuff:
            self.stuff.append(name)
        self.waiting = None
        self.end_phrase()

    def end_phrase(self) -> None:
        self.said, self.parted, self.denied = {}, False, False

    def finish_surface(self, surface: str) -> None:
        if self.last is None or any(self.things[i].surface for i in self.last):
            raise self.wrong("a surface without its thing", 'for example "a taxi with stripes"')
        for i in self.last:
            self.things[i] = replace(self.things[i], surface=surface)

    def claims(self) -> Claims:
        if self.said or self.waiting or self.denied:
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

    def wrong(self, came: str, expected: str) -> PromptError:
        return PromptError(
            f'{came[0].upper()}{came[1:]} in "{self.text}"', expected=expected, fix="Say it in simpler words."
        )
