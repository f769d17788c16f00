"""Words and their tokens in every text tower and tokenizer; gradients against finite differences."""

import copy

import open_clip
import pytest
import state
import text_models
import torch
from text_models import COCA, HUGGING_FACE, Letters, build, config_of, write_architecture
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.clip.text.word_tokens import token_shares, word_places, words_of
from denseclip_viz.errors import PromptError, UnsupportedTowerError

COCA_TEXT = {"custom_text": True, "multimodal_cfg": COCA, "embed_cls": True, "output_tokens": True}
NATIVE = {
    "CLIP": {},
    "custom": {"custom_text": True},
    "worldwide": {"custom_text": True, "pool_type": "eos", "eos_id": 159},
    "CoCa": COCA_TEXT,
    "MobileCLIP-S": {"custom_text": True, "no_causal_mask": True},
    "SigLIP": {"custom_text": True, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    "CLIPA": {"no_causal_mask": True, "pool_type": "last"},
}
TOWERS = [*NATIVE, *HUGGING_FACE]
TEXT = "abc def"  # no letter twice, so that rows of the table can be scaled word by word


@pytest.fixture(params=TOWERS)
def tower(request, monkeypatch, tmp_path):
    """A tiny model with each kind of text tower, in fp64, and its tokenizer."""
    kind = request.param
    if kind in NATIVE:
        config = config_of(**NATIVE[kind])
        if kind == "CoCa":
            config["vision_cfg"] |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        return build(config, monkeypatch), Letters()
    folder = write_architecture(tmp_path / "words", kind)
    config = {"embed_dim": 8, "vision_cfg": text_models.VISION, "text_cfg": {"hf_model_name": folder}}
    config["text_cfg"] |= {"hf_tokenizer_name": folder, "hf_model_pretrained": False}
    pad = HUGGING_FACE[kind].get("pad_token_id", 1 if kind == "m2m_100" else 0)
    return build(config, monkeypatch), Letters(pad=pad)


def table(clip):
    text = getattr(clip, "text", clip)
    return text.token_embedding.weight if hasattr(text, "token_embedding") else _hugging_face(text)


def _hugging_face(text):
    return text.transformer.get_input_embeddings().weight


def test_shares_of_words_equal_the_change_when_their_embeddings_grow(tower):
    clip, tokenizer = tower
    ids = tokenizer([TEXT])[0]
    directions = F.normalize(
        torch.randn(70, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    before = state.fingerprint(clip)
    shares = token_shares(clip, ids, directions)
    assert state.fingerprint(clip) == before and shares.shape == (70, 16)
    for place in word_places(tokenizer, "{}", TEXT, context=16):
        found = shares[:, place].sum(-1)
        # T5 computes its norms in fp32, also in an fp64 model: a small step would measure rounding
        step, tolerance = (
            (1e-2, 1e-3) if "T5" in type(getattr(clip, "text", clip).transformer).__name__ else (1e-4, 1e-6)
        )
        expected = _grown(clip, ids, ids[place], directions, step)
        assert (found - expected).abs().max() < tolerance * expected.abs().max()


def _grown(clip, ids, some, directions, step):
    cosines = []
    for factor in (1 + step, 1 - step):
        changed = copy.deepcopy(clip)
        with torch.no_grad():
            table(changed)[some] *= factor
            cosines.append(directions @ F.normalize(changed.encode_text(ids[None])[0], dim=-1))
    return (cosines[0] - cosines[1]) / (2 * step)


def test_frozen_models_and_grad_modes_of_the_caller_change_nothing():
    clip = open_clip.CLIP(8, text_models.VISION, text_models.TEXT).eval()
    ids, directions = Letters()([TEXT])[0], torch.eye(8)
    plain = token_shares(clip, ids, directions)
    with torch.no_grad():
        assert torch.equal(token_shares(clip, ids, directions), plain)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.equal(token_shares(clip, ids, directions), plain)
        assert torch.is_inference_mode_enabled()
    clip.requires_grad_(False)
    assert torch.equal(token_shares(clip, ids, directions), plain)


def test_a_tower_that_looks_nothing_up_is_refused():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.randn(200, 8))

        def encode_text(self, ids):
            return self.table[ids].mean(1)

    with pytest.raises(UnsupportedTowerError, match="Odd never looked its tokens up.*gradient=False"):
        token_shares(Odd(), Letters()([TEXT])[0], torch.eye(8))


def test_words_of_clips_own_tokenizer_have_all_their_pieces_and_nothing_else():
    tokenizer = open_clip.SimpleTokenizer()
    prompt = "a   hot-air balloon's flugzeugträger 빨간"
    places = word_places(tokenizer, "A photo, of {}!", prompt, context=77)
    ids = tokenizer([f"A photo, of {prompt}!"])[0]
    said = [tokenizer.decode(ids[place].tolist()).strip() for place in places]
    assert said == ["a", "hot - air", "balloon 's", "flugzeugträger", "빨간"]
    assert places[0].start == 5 and all(a.stop == b.start for a, b in zip(places, places[1:], strict=False))
    assert words_of(prompt) == ["a", "hot-air", "balloon's", "flugzeugträger", "빨간"]


def test_words_of_sentence_pieces_are_found_in_any_script(tmp_path):
    sentences = ["빨간 자동차 사진", "a red car", "سيارة حمراء"]
    text_models.write_multilingual(tmp_path, sentences)
    tokenizer = dcv.load(tmp_path, device="cpu").tokenizer
    for prompt in ("빨간 자동차", "a red car", "سيارة حمراء"):
        places = word_places(tokenizer, "{}", prompt, context=77)
        ids = tokenizer([prompt])[0]
        assert [tokenizer.tokenizer.decode(ids[place]) for place in places] == prompt.split()


def test_tokens_that_do_not_part_at_words_are_refused():
    def pairs(texts, context_length=None):
        """One token for two letters, whatever they are: what stands before a word changes its tokens."""
        rows = [
            [150, *(ord(t[at]) % 50 + 50 * (len(t[at : at + 2]) - 1) for at in range(0, len(t), 2)), 159] for t in texts
        ]
        size = context_length or 16
        return torch.tensor([(row + [0] * size)[:size] for row in rows])

    with pytest.raises(PromptError, match="do not part where its words do.*gradient=False"):
        word_places(pairs, "{}", "abc def", context=16)


def test_a_text_longer_than_the_context_is_refused():
    with pytest.raises(PromptError, match="reads 16"):
        word_places(open_clip.SimpleTokenizer(), "a photo of {}", "a b c d e f g h i j k l m n", context=16)
