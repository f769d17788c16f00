"""Padding is left out exactly where it cannot reach the vector, and nowhere else."""

import copy
import re

import open_clip
import pytest
import state
import text_models
import torch
from text_models import COCA, HUGGING_FACE, TEXT, Letters, build, config_of, masked, shrunk, write_architecture

from denseclip_viz.clip.text.encode import encode_texts
from denseclip_viz.clip.text.text_towers import context_of, trimming_of_config, trimming_of_model
from denseclip_viz.errors import PromptError

TEXTS = ["a red car", "grass", "a giraffe", "x", "sky"]
COCA_TEXT = {"custom_text": True, "multimodal_cfg": COCA, "embed_cls": True, "output_tokens": True}
EXACT = {
    "CLIP": {},
    "CLIP without projection": {"proj_type": "none"},
    "custom": {"custom_text": True},
    "worldwide": {"pool_type": "eos", "eos_id": 159},
    "custom worldwide": {"custom_text": True, "pool_type": "eos", "eos_id": 159},
    "other blocks": {"custom_text": True, "qk_norm": True, "scale_heads": True, "scale_attn": True},
    "CoCa": COCA_TEXT,
    "CoCa that sees all": {**COCA_TEXT, "no_causal_mask": True},
    "CoCa without class token": {**COCA_TEXT, "embed_cls": False},
}
REFUSED = {
    "MobileCLIP-S": {"custom_text": True, "no_causal_mask": True},
    "SigLIP": {"custom_text": True, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    "CLIPA": {"no_causal_mask": True, "pool_type": "last"},
    "causal, last": {"pool_type": "last"},
    "sees all, eos": {"no_causal_mask": True, "pool_type": "eos", "eos_id": 159},
}
POOLERS = [(kind, "mean_pooler") for kind in HUGGING_FACE] + [
    ("xlm-roberta", "cls_pooler"),
    ("roberta", "cls_last_hidden_state_pooler"),
    ("m2m_100", "cls_pooler"),
    ("bert", "cls_pooler"),
]


def vision(settings):
    """CoCa's image tower has a pool of its own."""
    more = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    return more if "multimodal_cfg" in settings else {}


def made(settings, monkeypatch):
    config = config_of(**settings)
    config["vision_cfg"] = {**config["vision_cfg"], **vision(settings)}
    return build(config, monkeypatch)


def theirs(clip, ids):
    with torch.no_grad():
        vectors = clip.encode_text(ids)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def widths(module):
    """A list that gets the number of places of each sequence that goes through a transformer."""
    seen = []
    module.register_forward_pre_hook(
        lambda _, inputs, named: seen.append((inputs or (named["input_ids"],))[0].shape[1]), with_kwargs=True
    )
    return seen


def check_exact(clip, tokenizer, *, extra=0, tolerance=1e-12):
    seen = widths((getattr(clip, "text", clip)).transformer)
    mine = encode_texts(clip, tokenizer, TEXTS, batch_size=2)
    assert seen == [length + extra for length in (3, 7, 11)]  # "x", "grass" with "sky", "a giraffe"; with ends
    assert (mine - theirs(clip, tokenizer(TEXTS))).abs().max() <= tolerance
    full = ["b" * 14, "a", "c" * 13]  # one fills the context to the last place
    assert (encode_texts(clip, tokenizer, full) - theirs(clip, tokenizer(full))).abs().max() <= tolerance


@pytest.mark.parametrize("settings", EXACT.values(), ids=EXACT)
def test_trimmed_is_full_where_padding_cannot_reach_the_vector(settings, monkeypatch):
    clip = made(settings, monkeypatch)
    assert trimming_of_model(clip).exact and trimming_of_model(clip) == trimming_of_config(config_of(**settings))
    # CoCa reads one place behind the text, and its class token.
    check_exact(clip, Letters(), extra=2 * settings.get("embed_cls", False))


@pytest.mark.parametrize("pool", ["argmax", "eos"])
@pytest.mark.parametrize("pad", [0, 7])
def test_trimmed_is_full_where_padding_is_hidden(pool, pad):
    clip = masked(pool_type=pool, eos_id=159, pad_id=pad)
    assert trimming_of_model(clip).kind == f"padding masked · {pool}" and trimming_of_model(clip).exact
    check_exact(clip, Letters(pad=pad))


@pytest.mark.parametrize("corrected", [False, True])
def test_a_class_token_behind_the_text_keeps_its_position_whichever_mask_it_was_trained_with(corrected, monkeypatch):
    clip = made(COCA_TEXT, monkeypatch)
    clip.text.correct_cls_mask = corrected
    check_exact(clip, Letters(), extra=2)


@pytest.mark.parametrize(("kind", "pooler"), POOLERS)
def test_trimmed_is_full_for_towers_of_hugging_face(kind, pooler, monkeypatch, tmp_path):
    folder = write_architecture(tmp_path, kind)
    clip = build(config_of(hf_model_name=folder, hf_pooler_type=pooler, hf_proj_type="linear"), monkeypatch)
    verdict = trimming_of_model(clip)
    assert verdict.exact and verdict.kind == f"{kind} · padding masked · {pooler}"
    # mT5's softmax runs in fp32 in older versions of transformers.
    check_exact(clip, Letters(pad=clip.text.config.pad_token_id), tolerance=1e-6 if kind == "mt5" else 1e-12)


def shorter(clip, settings, monkeypatch, length):
    """The same model, built for fewer places: what trimming would compute, by another way than the package's."""
    short = made({**settings, "context_length": length}, monkeypatch)
    tensors = clip.state_dict()
    for name in tensors:
        if name.endswith("positional_embedding") and "visual" not in name:
            tensors[name] = tensors[name][: length + settings.get("embed_cls", False)]
    short.load_state_dict(tensors)
    return short


@pytest.mark.parametrize("settings", REFUSED.values(), ids=REFUSED)
def test_where_trimming_is_refused_it_would_be_wrong(settings, monkeypatch):
    clip, ids = made(settings, monkeypatch), Letters()(TEXTS)
    assert not trimming_of_model(clip).exact and trimming_of_model(clip) == trimming_of_config(config_of(**settings))
    assert (theirs(shorter(clip, settings, monkeypatch, 11), ids[:, :11]) - theirs(clip, ids)).abs().max() > 1e-3
    assert torch.equal(encode_texts(clip, Letters(), TEXTS), theirs(clip, ids))


def test_a_hidden_padding_is_still_read_where_the_vector_is_taken_there():
    clip, ids = masked(pool_type="last"), Letters()(TEXTS)
    assert not trimming_of_model(clip).exact
    with torch.no_grad():
        assert (clip.text(ids[:, :11]) - clip.text(ids)).abs().max() > 1e-3
    assert torch.equal(encode_texts(clip, Letters(), TEXTS), theirs(clip, ids))


def test_cocas_class_token_would_be_wrong_at_another_position(monkeypatch):
    clip, ids = made(COCA_TEXT, monkeypatch), Letters()(TEXTS)
    assert (theirs(shorter(clip, COCA_TEXT, monkeypatch, 12), ids[:, :12]) - theirs(clip, ids)).abs().max() > 1e-3


def test_cocas_unit_vectors_are_those_of_its_tower(monkeypatch):
    clip = made(COCA_TEXT, monkeypatch)
    with torch.no_grad():
        raw = clip.encode_text(Letters()(TEXTS), normalize=False)
    assert (encode_texts(clip, Letters(), TEXTS) - raw / raw.norm(dim=-1, keepdim=True)).abs().max() <= 1e-12


@pytest.mark.parametrize("settings", [EXACT["CLIP"], EXACT["custom"], EXACT["CoCa"], REFUSED["SigLIP"]])
def test_the_model_keeps_its_full_context_at_every_moment_and_afterwards(settings, monkeypatch):
    clip = made(settings, monkeypatch)
    tower, rows = getattr(clip, "text", clip), []
    tower.transformer.register_forward_pre_hook(lambda *_: rows.append(len(tower.positional_embedding)))
    before = state.fingerprint(clip)
    encode_texts(clip, Letters(), TEXTS)
    assert set(rows) == {16 + settings.get("embed_cls", False)} and state.fingerprint(clip) == before


def test_a_tower_of_hugging_face_is_left_as_it_was(monkeypatch, tmp_path):
    clip = build(config_of(hf_model_name=write_architecture(tmp_path, "xlm-roberta")), monkeypatch)
    before = state.fingerprint(clip)
    encode_texts(clip, Letters(pad=1), TEXTS)
    with pytest.raises(PromptError):
        encode_texts(clip, Letters(pad=1), ["b" * 99])
    assert state.fingerprint(clip) == before


def unknown_towers():
    class Mine(open_clip.CLIP):
        pass

    def plain(kind=open_clip.CLIP):
        return text_models.tiny.randomise(kind(8, text_models.VISION, TEXT).double())

    replaced, forward, windowed, compiled = plain(), plain(open_clip.CustomTextCLIP), plain(), plain()
    replaced.encode_text = replaced.encode_text
    forward.text.forward = forward.text.forward
    windowed.attn_mask = windowed.attn_mask.tril(-3)
    compiled.transformer = torch.nn.Sequential(compiled.transformer)
    first = masked(pool_type="first")
    return {
        "subclass": (plain(Mine), "a Mine has no"),
        "method": (replaced, "replaced"),
        "forward": (forward, "replaced"),
        "mask": (windowed, "not the causal one"),
        "wrapped": (compiled, "Sequential is not known"),
        "pool": (first, "padding masked · first"),
        "no CLIP": (torch.nn.Linear(2, 2), "a Linear"),
    }


UNKNOWN = unknown_towers()


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_tower_is_not_trimmed_and_says_so(name):
    clip, said = UNKNOWN[name]
    verdict = trimming_of_model(clip)
    assert (verdict.kind, verdict.exact) == ("unknown", False) and said in verdict.why


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({"hf_model_name": "nobody/words"}, "nobody/words"),
        ({"window": 3, "no_causal_mask": True}, "settings that are not known here: window"),
        ({"pool_type": "attention"}, "causal · attention"),
        ({"hf_model_name": "roberta-base", "hf_pooler_type": "max_pooler"}, "roberta · padding masked · max_pooler"),
    ],
)
def test_an_unknown_configuration_is_not_guessed(text, said):
    verdict = trimming_of_config(config_of(**text))
    assert (verdict.kind, verdict.exact) == ("unknown", False) and said in verdict.why


def test_every_configuration_of_open_clip_is_classified_as_the_tower_that_it_builds(monkeypatch, tmp_path):
    built = {}
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        said, small = trimming_of_config(copy.deepcopy(config)), shrunk(config, tmp_path)
        key = repr(sorted(small["text_cfg"].items())), small.get("custom_text"), "multimodal_cfg" in small
        if key not in built:
            built[key] = trimming_of_model(build(small, monkeypatch))
        assert said == built[key], name
        assert said.kind != "unknown", f"{name}: {said.why}"
        assert said.exact != bool(re.search("MobileCLIP2?-[SL]|SigLIP|CLIPA", name)), name


def test_a_tower_says_how_many_tokens_it_has_positions_for(monkeypatch, tmp_path):
    for kind, most in {"roberta": 38, "bert": 40, "mt5": None}.items():
        folder = write_architecture(tmp_path / kind, kind)
        clip = build(config_of(hf_model_name=folder), monkeypatch)
        assert context_of(clip) == most
        letters = Letters(77, pad=clip.text.config.pad_token_id)
        length = most or 77
        assert encode_texts(clip, letters, ["b" * (length - 2)]).isfinite().all()
        with pytest.raises(PromptError, match=f"reads {length}"):
            encode_texts(clip, letters, ["b" * length])
