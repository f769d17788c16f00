"""Texts become tokens, and none of them is lost in silence."""

from __future__ import annotations

import time

import open_clip
import pytest
import torch

from denseclip_viz.encode.tokens import token_ids
from denseclip_viz.errors import PromptError

TOKENIZER = open_clip.SimpleTokenizer()


def ids(texts, *, truncate=False):
    return token_ids(TOKENIZER, texts, context=77, truncate=truncate)


def test_a_prompt_that_is_too_long_is_refused_and_shown_where_it_would_be_cut():
    words = [f"word{number}" for number in range(200)]
    with pytest.raises(PromptError) as caught:
        ids(["grass", " ".join(words)])
    kept = TOKENIZER.decode(TOKENIZER.encode(" ".join(words))[:75]).split()
    assert f"{kept[-3]} {kept[-2]} {kept[-1]}'" in caught.value.came
    assert "this text tower reads 77" in caught.value.came and "truncate=True" in caught.value.fix
    assert torch.equal(ids([" ".join(words)], truncate=True), TOKENIZER([" ".join(words)]))


def test_exactly_seventy_five_words_fit():
    found = token_ids(TOKENIZER, ["a " * 75], context=77, truncate=False)
    assert found[0, -1] == TOKENIZER.eot_token_id
    with pytest.raises(PromptError, match="has 78 tokens"):
        token_ids(TOKENIZER, ["a " * 76], context=77, truncate=False)


class Padded:
    """Stands in for tokenizers that only answer with padded rows: one id per letter, begin 1, end 2."""

    context_length = 16

    def __init__(self, *, pad=0, begin=(1,), end=2, last=()):
        self.pad, self.begin, self.end, self.last = pad, begin, end, last

    def __call__(self, texts, context_length=None):
        size = (context_length or self.context_length) - len(self.last)
        rows = [[*self.begin, *(ord(letter) + 10 for letter in text)] for text in texts]
        rows = [[*row[: size - 1], self.end] for row in rows]
        return torch.tensor([row + [self.pad] * (size - len(row)) + list(self.last) for row in rows])


@pytest.mark.parametrize(
    ("tokenizer", "most"),
    [(Padded(), 14), (Padded(pad=2), 14), (Padded(pad=1, begin=(), end=1), 15), (Padded(last=(7,)), 13)],
    ids=["padded with zero", "padded with the end", "sentence piece", "class token last"],
)
def test_padded_tokenizers_are_seen_through(tokenizer, most):
    found = token_ids(tokenizer, ["b" * most, "a", "b"], context=16, truncate=False)
    assert torch.equal(found, tokenizer(["b" * most, "a", "b"]))
    for count in (most + 1, most + 2, 60, 5000):
        with pytest.raises(PromptError, match="this text tower reads 16"):
            token_ids(tokenizer, ["a", "b" * count], context=16, truncate=False)
        assert token_ids(tokenizer, ["b" * count], context=16, truncate=True).shape == (1, 16)


def test_a_control_token_inside_a_prompt_is_refused_since_it_hides_the_rest():
    with pytest.raises(PromptError, match="control tokens"):
        ids(["a car <END_OF_TEXT> in the rain"])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "texts came as"),
        ("grass", "texts came as 'grass'"),
        (["grass", 3], r"texts\[1\] is 3"),
        (["  "], r"texts\[0\]"),
        (["\ud800"], "surrogate"),
        (["&nbsp;"], "has no tokens"),
    ],
)
def test_texts_that_cannot_be_encoded_are_refused_by_name(texts, said):
    with pytest.raises(PromptError, match=said):
        ids(texts)


def test_a_word_as_long_as_a_book_is_refused_at_once():
    letters = "".join(chr(97 + (number * number) % 26) for number in range(300_000))
    start = time.perf_counter()
    with pytest.raises(PromptError, match="more than"):
        ids([letters])
    assert time.perf_counter() - start < 5


def test_white_space_however_long_is_not_too_long():
    long = "a" + " " * 100_000 + "car"
    assert torch.equal(ids([long]), ids(["a car"]))
