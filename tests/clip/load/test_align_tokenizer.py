"""BERT's tokenizer out of a folder: its own ids, and nothing lost or hidden in silence."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import align_models
import pytest
import torch
from transformers import AutoTokenizer

from denseclip_viz.clip.load.align_checkpoint import read_tokenizer
from denseclip_viz.clip.text.tokenize import token_ids
from denseclip_viz.errors import PromptError

TEXTS = ["a red car", "", "A Photo of  grass.", "cars", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return align_models.write(tmp_path_factory.mktemp("models") / "tiny-align")


def rows(tokenizer, texts, *, context=16, truncate=False):
    return token_ids(tokenizer, texts, context=context, truncate=truncate)


def test_ids_are_those_of_transformers(folder):
    theirs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding="max_length", max_length=16, return_tensors="pt")
    assert torch.equal(rows(read_tokenizer(folder), TEXTS), theirs.input_ids)


def test_a_vocabulary_alone_is_a_tokenizer_too(folder, tmp_path):
    shutil.copy(folder / "tokenizer_config.json", tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(align_models.WORDS), encoding="utf-8")
    assert torch.equal(rows(read_tokenizer(tmp_path), TEXTS), rows(read_tokenizer(folder), TEXTS))


def test_a_text_that_is_too_long_is_refused_with_the_place_where_it_would_be_cut(folder):
    tokenizer, text = read_tokenizer(folder), "a red car of a photo of grass"
    with pytest.raises(
        PromptError, match="has at least 10 tokens and this text tower reads 8.*after 'a red car of a photo'"
    ):
        rows(tokenizer, [text], context=8)
    cut = rows(tokenizer, [text], context=8, truncate=True)
    assert cut.tolist()[0][-1] == tokenizer.tokenizer.sep_token_id
    assert torch.equal(cut, rows(tokenizer, ["a red car of a photo"], context=8))


@pytest.mark.parametrize("text", ["a 🚀", "高い", "a zebra", "[UNK]"])
def test_a_word_that_is_not_known_is_refused_and_named(folder, text):
    with pytest.raises(PromptError, match=f"holds '{text.split()[-1].replace('[', '.')[:-1]}.*does not know"):
        rows(read_tokenizer(folder), ["a car", text])


@pytest.mark.parametrize("text", ["a [PAD] car", "[CLS]", "car [SEP] grass", "[MASK]"])
def test_control_tokens_are_refused(folder, text):
    with pytest.raises(PromptError, match="control token"):
        rows(read_tokenizer(folder), [text])


def test_many_threads_get_what_one_gets(folder):
    tokenizer = read_tokenizer(folder)
    alone = [rows(tokenizer, [text]) for text in TEXTS * 20]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: rows(tokenizer, [text]), TEXTS * 20))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
