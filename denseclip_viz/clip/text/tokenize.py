"""Texts to token ids, and where a text that is too long would be cut."""

import inspect
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from denseclip_viz.errors import PromptError
from denseclip_viz.validation import check_text, short, some

Tokenizer = Callable[..., Tensor]
"""Texts to ids, (text, context), as open_clip's tokenizers do it."""

_PROBE = 4000  # characters: they fill any context, and even as a single word they are split at once
_WORD = 100  # characters of a word that decide: a word of a page takes minutes
_ROOM = 8  # times the context, for tokenizers that only answer with padded rows
# The tokenizers of transformers keep in themselves how to cut and pad: two threads at once would mix it up.
_ONE_AT_A_TIME = threading.RLock()


@runtime_checkable
class BytePairs(Protocol):
    """A tokenizer that says what the tokens of a text are, like CLIP's own."""

    sot_token_id: int
    eot_token_id: int

    def encode(self, text: str) -> list[int]:
        """Turn a text into tokens, without those for begin and end."""

    def decode(self, tokens: list[int]) -> str:
        """Turn tokens into text."""


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], *, context: int, truncate: bool) -> Tensor:
    """Give the token ids of texts, none of them cut unless that was asked for.

    Returns:
        (text, context), int64; the context counts the tokens for begin and end.

    Raises:
        PromptError: No texts; a text that is not a string, has no tokens, holds a control token or a character
            that the tokenizer does not know, or is longer than the context (the message shows where it would be
            cut).

    Example:
        >>> import open_clip
        >>> token_ids(open_clip.SimpleTokenizer(), ["grass"], context=77, truncate=False)[0, :4].tolist()
        [49406, 5922, 49407, 0]
    """
    if isinstance(texts, str) or not len(texts):
        got = f"texts came as {texts!r}"[:80]
        raise PromptError(got, expected="a list with at least one text", fix="Put the text into a list.")
    rows = [text if text == "" else check_text(text, f"texts[{at}]") for at, text in enumerate(texts)]
    has_length = "context_length" in inspect.signature(tokenizer).parameters
    options = {"context_length": context} if has_length else {}
    if isinstance(tokenizer, BytePairs):
        for text in rows:
            _check_tokens(tokenizer, text, context, truncate)
        return tokenizer(rows, **options)
    with _ONE_AT_A_TIME:
        for start in range(0, len(rows) if has_length else 0, 256):
            _check_padded(tokenizer, rows[start : start + 256], context, truncate)
        return tokenizer(rows, **options)


def unread(tokenizer: Tokenizer, texts: Iterable[str]) -> str:
    """Say which words CLIP's own tokenizer, made from English text, has no words for; nothing of other tokenizers.

    Judged are letters that are not Latin, word by word: in as many tokens as letters, or more, it is no word to the
    text tower. Signs are judged by whether they are taken apart: many an emoji has a token of its own.

    Example:
        >>> import open_clip
        >>> unread(open_clip.SimpleTokenizer(), ["a café", "🚗"]), unread(open_clip.SimpleTokenizer(), ["кот"])[:25]
        ('', "CLIP's tokenizer reads 'к")
    """
    words = dict.fromkeys(word for text in texts if not text.isascii() for word in text.split())
    count = _counter(tokenizer) if words else None
    with _ONE_AT_A_TIME:
        apart = [short(word) for word in words if count and _is_apart(count, word)]
    if not apart:
        return ""
    return (
        f"CLIP's tokenizer reads {some(apart)} in single letters or bytes: it was made from English text, and towers "
        "that use it have learned little else. Say it in English, or take a multilingual model, such as "
        "xlm-roberta-base-ViT-B-32."
    )


def _counter(tokenizer: Tokenizer) -> Callable[[str], int] | None:
    """Give what counts the tokens of a text, of CLIP's own tokenizer, open_clip's or transformers'; None of others."""
    own: Any = getattr(tokenizer, "tokenizer", None)
    if type(own).__name__.startswith("CLIPTokenizer"):
        return lambda text: len(own(text, add_special_tokens=False, verbose=False)["input_ids"])
    if isinstance(tokenizer, BytePairs) and hasattr(tokenizer, "byte_encoder"):  # which CLIP's alone has
        return lambda text: len(tokenizer.encode(text))
    return None


def _is_apart(count: Callable[[str], int], word: str) -> bool:
    foreign = "".join(filter(_is_foreign, word))[:_WORD]
    letters = "".join(character for character in foreign if unicodedata.category(character)[0] in "LM")
    signs = "".join(character for character in foreign if character not in letters)
    return count(letters) >= max(2, len(letters)) or count(signs) > len(signs)


def _is_foreign(character: str) -> bool:
    name = unicodedata.name(character, "")
    return not (character.isascii() or name.startswith(("LATIN", "COMBINING")) or _is_invisible(character))


def _check_tokens(tokenizer: BytePairs, text: str, context: int, truncate: bool) -> None:
    """Refuse control tokens: an end of text inside a prompt hides what follows it."""
    tokens, more = _encode(tokenizer, text, context)
    if {tokenizer.sot_token_id, tokenizer.eot_token_id} & set(tokens):
        raise _controlled(text)
    if text and not tokens:
        raise _cleaned_away(text)
    if not truncate and len(tokens) + 2 > context:
        readable = tokenizer.decode(tokens[: context - 2]).strip()
        lost = tokenizer.decode(tokens[context - 2 :]).strip()
        raise _cut(text, readable, lost, f"{'more than ' * more}{len(tokens) + 2}", context)


def _encode(tokenizer: BytePairs, text: str, context: int) -> tuple[list[int], bool]:
    """Encode a text, and tell whether there is more: a page-long word takes minutes, and its start decides."""
    if len(text) > _PROBE:
        tokens = tokenizer.encode(text[:_PROBE])
        if len(tokens) > 2 * context:
            return tokens, True
    return tokenizer.encode(text), False


def _check_padded(tokenizer: Tokenizer, texts: list[str], context: int, truncate: bool) -> None:
    """Ask tokenizers that only answer with padded rows once at the context, and once with room to spare.

    A short text shows what padding looks like, and whether the last place is kept for a class token.
    """
    tight, wide = (tokenizer([*texts, "", "a"], context_length=size) for size in (context, _ROOM * context))
    for text, row in zip(texts, wide, strict=False):
        if text and torch.equal(row, wide[-2]):
            raise _cleaned_away(text)
    _refuse_control(tokenizer, texts)
    _refuse_unknown(tokenizer, texts, wide)
    same = context if torch.equal(tight[-1], wide[-1, :context]) else context - 1
    lost = (tight[:, :same] != wide[:, :same]).any(1) | (wide[:, context:] != wide[-1, context:]).any(1)
    if lost.any() and not truncate:
        at = int(lost.nonzero()[0])
        count = int((wide[at] != wide[-1]).nonzero()[-1]) + 1
        raise _cut(texts[at], _decoded(tokenizer, tight[at]), "", f"at least {count}", context)


def _refuse_control(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Refuse typed control tokens, which a tokenizer of transformers takes as such."""
    own = getattr(tokenizer, "tokenizer", None)
    unknown, end = (getattr(own, f"{kind}_token_id", None) for kind in ("unk", "eos"))
    control = set(getattr(own, "all_special_ids", ())) - ({unknown} - {end})  # CLIP's is for both
    inside = own(texts, add_special_tokens=False, verbose=False)["input_ids"] if own and control else ()
    for text, tokens in zip(texts, inside, strict=False):
        if control & set(tokens):
            raise _controlled(text)


def _refuse_unknown(tokenizer: Tokenizer, texts: list[str], rows: Tensor) -> None:
    """Refuse unknown words: two prompts that differ by them alone would get one vector, and a map of neither."""
    unknown = getattr(getattr(tokenizer, "tokenizer", None), "unk_token_id", None)
    if unknown is None or unknown in rows[-1]:
        return
    for text, row in zip(texts, rows, strict=False):
        words = "".join(character for character in text if not _is_invisible(character)).split()
        if unknown in row and unknown in tokenizer([" ".join(words)]):
            lost = [word for word in words if unknown in tokenizer([word])] or words
            got = f"The prompt {_ends(text)} holds {_head(' '.join(lost))}, which the tokenizer does not know"
            fix = "Say it in other words, or take a model that reads this language."
            raise _refused(text, got, expected="a text of which nothing is lost", fix=fix)


def _is_invisible(character: str) -> bool:
    """Tell whether it only says how another is drawn (joiners, variation selectors): many tokenizers know none."""
    return unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f"


def _decoded(tokenizer: Tokenizer, ids: Tensor) -> str:
    decode = getattr(getattr(tokenizer, "tokenizer", None), "decode", None)
    return str(decode(ids.tolist(), skip_special_tokens=True)).strip() if decode else ""


def _refused(text: str, got: str, *, expected: str, fix: str) -> PromptError:
    error = PromptError(got, expected=expected, fix=fix)
    error.text = text
    return error


def _controlled(text: str) -> PromptError:
    got = f"The prompt {_ends(text)} holds one of the tokenizer's control tokens, which ends the text there"
    return _refused(text, got, expected="words only", fix="Take the control token out.")


def _cleaned_away(text: str) -> PromptError:
    got = f"The prompt {text!r} has no tokens: the tokenizer cleans all of it away"
    return _refused(text, got, expected="a text with at least one word", fix="Write it in words.")


def _cut(text: str, readable: str, lost: str, count: str, context: int) -> PromptError:
    where = f": it would be cut after {_tail(readable)}" if readable else ""
    where += f", before {_head(lost)}" if lost else ""
    got = f"The prompt {_ends(text)} has {count} tokens and this text tower reads {context}{where}"
    expected = f"at most {context} tokens, with those for begin and end"
    return _refused(text, got, expected=expected, fix="Shorten it.")


def _ends(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:30]!r} … {text[-20:]!r}"


def _tail(text: str) -> str:
    return repr(text) if len(text) <= 50 else f"… {text[-50:]!r}"


def _head(text: str) -> str:
    return repr(text) if len(text) <= 30 else f"{text[:30]!r} …"
