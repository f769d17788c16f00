"""The words of the bundled world: names with articles and plurals, and every word that a caption may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
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


def tokens(text: str) -> Iterator[Token]:
    """Give what a caption's words are, one after the other; the longest known run of words at a time.

    Raises:
        PromptError: No text, or a word that the bundled world does not know.

    Example:
        >>> list(tokens("a taxi on grass"))
        [('number', '1'), ('thing', 'taxi'), ('place', ''), ('stuff', 'grass')]
    """
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
