"""Tiny CLIPs of transformers in folders, as it saves them: every number random, odd sizes, vocabularies made here."""

from __future__ import annotations

import io
import json

import sentencepiece
import tiny
import torch
import transformers
from tokenizers import pre_tokenizers

WORDS = "a red car grass photo of giraffe two green the sky".split()
SIDE, CONTEXT = 56, 24
IMAGE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 41}
TEXT = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 33}
TEXT |= {"max_position_embeddings": CONTEXT}
SQUARE = {"image_size": SIDE, "patch_size": 14}
CONFIGS = {
    "clip": {"vision_config": IMAGE | SQUARE, "text_config": TEXT, "projection_dim": 18},
    "chinese_clip": {"vision_config": IMAGE | SQUARE, "text_config": TEXT, "projection_dim": 18},
    "siglip": {"vision_config": IMAGE | SQUARE, "text_config": TEXT | {"projection_size": 24}},
    "siglip2": {
        "vision_config": IMAGE | {"patch_size": 14, "num_patches": 16},
        "text_config": TEXT | {"projection_size": 24},
    },
}
NAMES = {"clip": "CLIP", "chinese_clip": "ChineseCLIP", "siglip": "Siglip", "siglip2": "Siglip2"}
PROCESSORS = {
    "clip": {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
    "chinese_clip": {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False},
    "siglip": {"size": {"height": SIDE, "width": SIDE}},
    "siglip2": {"patch_size": 14, "max_num_patches": 16},
}


def make(kind, *, dtype=torch.float32, seed=0, **config):
    """A model of a kind in eval mode; `vision_config` and `text_config` add to the usual ones."""
    whole = dict(CONFIGS[kind])
    for name, value in config.items():
        whole[name] = {**whole[name], **value} if isinstance(value, dict) else value
    vocabulary = {"vocab_size": len(tokenizer(kind))}
    whole["text_config"] = {**vocabulary, **({"eos_token_id": 517} if kind == "clip" else {}), **whole["text_config"]}
    config_type, model_type = (getattr(transformers, f"{NAMES[kind]}{what}") for what in ("Config", "Model"))
    model = tiny.randomise(model_type(config_type(**whole)).to(dtype), seed)
    with torch.no_grad():
        for name, value in {"logit_scale": 2.3, "logit_bias": -1.7}.items():
            if hasattr(model, name):
                getattr(model, name).fill_(value)
    return model


def image_processor(kind, backend=""):
    """The image processor of a kind."""
    processor = getattr(transformers, f"{NAMES[kind]}ImageProcessor{backend}")
    return processor(**PROCESSORS[kind])


def tokenizer(kind, folder=None):
    """The tokenizer of a kind, with a vocabulary that is made here."""
    return {"clip": _pairs, "chinese_clip": _pieces, "siglip": _sentences, "siglip2": _gemma}[kind](folder)


def write(folder, kind, model=None, **config):
    """A model, its tokenizer and its image processor, saved as a user saves them."""
    (model or make(kind, **config)).save_pretrained(folder)
    tokenizer(kind, folder).save_pretrained(folder)
    image_processor(kind).save_pretrained(folder)
    return folder


def rewrite(file, **changes):
    """Change settings of a JSON file; None takes one out, and a__b is b in a."""
    read = json.loads(file.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *path, last = name.split("__")
        place = read
        for part in path:
            place = place[part]
        place[last] = value
        if value is None:
            del place[last]
    file.write_text(json.dumps(read), encoding="utf-8")


def _pairs(folder):
    """CLIP's: pairs of bytes, with ends of words."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "ca", "car</w>", "re", "red</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    merges = [("c", "a"), ("ca", "r</w>"), ("r", "e"), ("re", "d</w>")]
    return transformers.CLIPTokenizer(vocab={token: at for at, token in enumerate(tokens)}, merges=merges)


def _pieces(folder):
    """BERT's: pieces of words."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "!", ".", "##s", "红", "色", "的", "车"]
    return transformers.BertTokenizer(vocab={token: at for at, token in enumerate(tokens)})


def _sentences(folder):
    """SigLIP's: pieces of sentences, in lower case and without punctuation."""
    model = io.BytesIO()
    sentences = [" ".join(WORDS), "a photo of a red car", "the green grass", "two giraffe", *WORDS] * 4
    options = {"vocab_size": 60, "pad_id": -1, "bos_id": -1, "eos_id": 1, "unk_id": 2, "hard_vocab_limit": False}
    options |= {"control_symbols": "<x>", "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=model, **options)
    return transformers.SiglipTokenizer(_kept(folder, "spiece.model", model.getvalue()), model_max_length=CONTEXT)


def _gemma(folder):
    """SigLIP 2's: Gemma's pairs of letters, which ends a text and begins none."""
    letters = sorted({letter for word in WORDS for letter in word})
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters]
    merges = [("c", "a"), ("ca", "r"), ("▁", "a")]
    tokens += ["".join(pair) for pair in merges]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    options = {"add_bos_token": False, "add_eos_token": True, "padding_side": "right", "model_max_length": CONTEXT}
    return transformers.GemmaTokenizer(vocab=vocabulary, merges=merges, **options)


def _kept(folder, name, data):
    import tempfile
    from pathlib import Path

    file = Path(folder or tempfile.mkdtemp()) / name
    file.write_bytes(data)
    return str(file)
