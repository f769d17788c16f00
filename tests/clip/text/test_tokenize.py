"""Texts become tokens, and none of them is lost in silence."""

import threading
import time

import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from text_models import save_tokenizer, unigram
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from denseclip_viz.clip.text.tokenize import token_ids, unread
from denseclip_viz.errors import PromptError

TOKENIZER = open_clip.SimpleTokenizer()


def ids(texts, *, truncate=False):
    return token_ids(TOKENIZER, texts, context=77, truncate=truncate)


def test_a_prompt_that_is_too_long_is_refused_and_shown_where_it_would_be_cut():
    words = [f"word{number}" for number in range(200)]
    with pytest.raises(PromptError) as caught:
        ids(["grass", " ".join(words)])
    kept = TOKENIZER.decode(TOKENIZER.encode(" ".join(words))[:75]).split()
    assert f"{kept[-3]} {kept[-2]} {kept[-1]}'" in caught.value.got
    assert "this text tower reads 77" in caught.value.got and caught.value.fix == "Shorten it."
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


SENTENCES = ["a red car on the grass", "빨간 자동차", "سيارة حمراء", "🦒 🚗"]


def xlm_roberta():
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokens = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return unigram(SENTENCES, special=special, begin=["<s>"]), tokens, {}


def siglip():
    """Padded with the end of text, as T5's pieces are for SigLIP; punctuation and capitals are cleaned away."""
    tokens = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return unigram(SENTENCES, special=["<pad>", "</s>", "<unk>"]), tokens, {"clean": "canonicalize"}


def mt5():
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return unigram(SENTENCES, special=["<pad>", "</s>", "<unk>"]), tokens, {"clean": "canonicalize"}


def nllb():
    """The language comes first."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"]
    tokens = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return unigram(SENTENCES, special=special, begin=["eng_Latn"]), tokens, {}


def gemma():
    """SigLIP 2's: bytes stand in for what is unknown, and nothing begins a text."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"acr"]
    letters = {piece: number for number, piece in enumerate([*pieces, "▁c", "ar", "▁car"])}
    merges = [("▁", "c"), ("a", "r"), ("▁c", "ar")]
    tokenizer = Tokenizer(models.BPE(letters, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", "<eos>"], special_tokens=[("<eos>", 1)])
    tokens = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return tokenizer, tokens, {"clean": "canonicalize"}


def bert(**options):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[BOS]", "[EOS]", "a", "red", "car", "on", "the", "grass"]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    frame = ["[CLS]", "$A", "[SEP]"]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return tokenizer, {**names, "bos_token": "[BOS]", "eos_token": "[EOS]"}, options


def clipa():
    """Its end of text is wiped out to the id of padding."""
    return bert(strip_sep_token=True)


def clips():
    """A class token stands at the last place, behind the padding."""
    return bert(tokenizer_mode="clips")


# How many words "car" fit into 16 places beside the tokens that each kind adds.
KINDS = {xlm_roberta: 14, siglip: 15, mt5: 15, nllb: 14, gemma: 15, bert: 14, clipa: 14, clips: 13}


@pytest.fixture
def wrapped(tmp_path):
    """A tokenizer read from files, in open_clip's hands."""

    def make(kind):
        tokenizer, tokens, options = kind()
        return HFTokenizer(save_tokenizer(tmp_path / kind.__name__, tokenizer, **tokens), context_length=16, **options)

    return make


@pytest.mark.parametrize(("kind", "most"), KINDS.items(), ids=[kind.__name__ for kind in KINDS])
def test_no_tokenizer_of_transformers_cuts_a_prompt_in_silence(kind, most, wrapped):
    tokenizer = wrapped(kind)
    fits = ["car " * most, "a car", "car " * (most - 1)]
    found = token_ids(tokenizer, fits, context=16, truncate=False)
    assert torch.equal(found, tokenizer(fits)) and found.shape == (3, 16)
    for count in (most + 1, most + 2, 60, 5000):
        with pytest.raises(PromptError, match="this text tower reads 16") as caught:
            token_ids(tokenizer, ["a car", "car " * count], context=16, truncate=False)
        assert "car car" in caught.value.got and caught.value.fix == "Shorten it."
        assert torch.equal(
            token_ids(tokenizer, ["car " * count], context=16, truncate=True), tokenizer(["car " * count])
        )


@pytest.mark.parametrize("kind", [xlm_roberta, siglip, mt5, nllb, bert, clipa, clips])
def test_a_character_that_the_tokenizer_does_not_know_is_named(kind, wrapped):
    with pytest.raises(PromptError, match="holds '𓂀', which the tokenizer does not know"):
        token_ids(wrapped(kind), ["a car", "a 𓂀 car"], context=16, truncate=True)


def test_scripts_that_a_tokenizer_knows_are_tokens_of_their_own(wrapped):
    found = token_ids(
        wrapped(xlm_roberta), ["빨간 자동차", "سيارة حمراء", "🦒", "🚗\ufe0f"], context=16, truncate=False
    )
    assert (found[:3] != 3).all() and len({tuple(row) for row in found.tolist()}) == 4


def test_what_bytes_can_spell_is_known(wrapped):
    assert token_ids(wrapped(gemma), ["𓂀"], context=16, truncate=False).shape == (1, 16)


def test_a_prompt_that_is_cleaned_away_is_refused(wrapped):
    for truncate in (False, True):
        with pytest.raises(PromptError, match=r"'\?!' has no tokens"):
            token_ids(wrapped(siglip), ["a car", "?!"], context=16, truncate=truncate)
    assert token_ids(wrapped(siglip), [""], context=16, truncate=False).shape == (1, 16)


def test_threads_can_share_a_tokenizer_of_transformers(wrapped):
    tokenizer, found = wrapped(xlm_roberta), []
    texts = ["car " * count for count in range(1, 14)]

    def ask():
        for _ in range(20):
            found.append(token_ids(tokenizer, texts, context=16, truncate=False))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80 and all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize(
    "text", ["машина", "a photo of a кот", "고양이", "猫", "東京", "مرحبا", "ελλάδα", "🦖", "ÿ машина"]
)
def test_words_that_the_english_tokenizer_takes_apart_are_named(text):
    word = text.split()[-1]
    assert f"CLIP's tokenizer reads {word!r} in single letters or bytes" in unread(TOKENIZER, ["grass", text])


@pytest.mark.parametrize("text", [
    "a café in Łódź", "Smørrebrød", "🚗", "❤️", "👍🏽", "日", "“a dog’s life” – really …", "25 °C", "½ cup → ™", "",
])  # fmt: skip
def test_words_and_signs_that_have_tokens_are_not_named(text):
    assert unread(TOKENIZER, [text]) == ""


def test_words_are_named_once_and_a_page_long_one_takes_no_time():
    said = unread(TOKENIZER, ["кот", "кот и машина", "кот", *(f"кот{number}" for number in range(9)), "ы" * 10**6])
    assert said.count("'кот'") == 1 and "and 10 more" in said


def test_of_a_tokenizer_of_other_languages_nothing_is_said():
    assert unread(lambda texts: torch.zeros(len(texts), 4), ["ёж"]) == ""
