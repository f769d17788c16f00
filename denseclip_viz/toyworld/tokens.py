"""The tokens that captions of the bundled world can reach: only their rows are trained and stored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import template_set
from denseclip_viz.toyworld.vocabulary import COLOURS, GROUPS, KINDS, RELATIONS, SIZES, STUFF, SURFACES, SYNONYMS
from denseclip_viz.toyworld.words import plural

TEMPLATES = "maskclip-85"
_OTHER = (
    "a an the this that these those one two three four five some many and with plus of to on in at by against "
    "there is are here you can see we i it look all around somewhere showing picture photo image drawing "
    "illustration scene background standing under over beneath beside dots spots stripes checks next behind front"
)
_LATER = "no not any without nothing like"  # came with negated captions, when other rows were trained already
_PUNCTUATION = (".", ",", ":", ";", "-", "'", "&", "!", "?", "(", ")", '"')


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


@lru_cache(maxsize=65536)
def _word_ids(word: str) -> tuple[int, ...]:
    return tuple(_tokenizer().encode(word))


def known_texts() -> list[str]:
    """Texts that together hold every word a caption or a template can use.

    Example:
        >>> "taxi" in known_texts()
        True
    """
    names: list[str] = [*KINDS, *GROUPS, *COLOURS, *SURFACES, *SIZES, *STUFF, *RELATIONS]
    names += [word for words in SYNONYMS.values() for word in words]
    names += [plural(word) for word in (*KINDS, *GROUPS, *(w for k in KINDS for w in SYNONYMS.get(k, ())))]
    return [*names, _OTHER, _LATER, *_PUNCTUATION, *(t.format("") for t in template_set(TEMPLATES))]


@lru_cache(maxsize=1)
def known_ids() -> NDArray[np.int64]:
    """The ids of CLIP's tokenizer that are trained, in order; the last two start and end a text.

    Example:
        >>> known_ids()[-2:].tolist()
        [49406, 49407]
    """
    found = {id_ for text in known_texts() for id_ in _tokenizer().encode(text)}
    return np.array(sorted(found | {0, 49406, 49407}), np.int64)


@lru_cache(maxsize=1)
def later_rows() -> tuple[int, ...]:
    """Rows of the trained token table that came later than the others: their first values are drawn apart.

    Example:
        >>> len(later_rows())
        6
    """
    return tuple(_places()[id_] for id_ in _tokenizer().encode(_LATER))


@lru_cache(maxsize=1)
def _places() -> dict[int, int]:
    return {int(id_): place for place, id_ in enumerate(known_ids())}


def compact_ids(texts: Iterable[str]) -> list[list[int]]:
    """The rows of the trained token table for each text, from its start to its end.

    Raises:
        PromptError: On a word that was never trained.

    Example:
        >>> [len(row) for row in compact_ids(["a taxi", "a red taxi"])]
        [4, 5]
    """
    return [_compact(text) for text in texts]


@lru_cache(maxsize=65536)
def _compact(text: str) -> list[int]:
    places = _places()
    try:
        return [places[id_] for id_ in (49406, *_tokenizer().encode(text), 49407)]
    except KeyError:
        raise PromptError(
            f"The words {', '.join(unknown_words(text))} in {text!r}",
            expected="words of the bundled world",
            fix="toyworld.vocabulary() lists them.",
        ) from None


def unknown_words(text: str) -> list[str]:
    """The words of a text that the bundled models have never read.

    Example:
        >>> unknown_words("a photo of a taxi and a submarine")
        ['submarine']
    """
    places = _places()
    words = re.findall(r"[^\W\d_]+|\d|[^\s\w]", text.lower())
    return [word for word in dict.fromkeys(words) if any(id_ not in places for id_ in _word_ids(word))]
