"""Tiny models with the text towers that open_clip has, every number random, and tokenizers made on the spot."""

from __future__ import annotations

import copy
import json

import open_clip
import tiny
import torch
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
TEXT = {"context_length": 16, "vocab_size": 160, "width": 16, "heads": 2, "layers": 2}
COCA = {"context_length": 16, "vocab_size": 160, "width": 16, "heads": 2, "layers": 1}
SMALL = {
    "vocab_size": 160,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
M2M = {
    "vocab_size": 160,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 40,
}
HUGGING_FACE = {
    "roberta": {**SMALL, "pad_token_id": 1},
    "xlm-roberta": {**SMALL, "pad_token_id": 1},
    "bert": {**SMALL, "pad_token_id": 0},
    "mt5": {"vocab_size": 160, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    "m2m_100": M2M,
}
FAMILIES = {"xlm": "xlm-roberta", "roberta": "roberta", "mt5": "mt5", "nllb": "m2m_100"}  # what is in a shipped name


class Letters:
    """One id per letter, from 20 on; begin 150, end 159 (the highest id); what is too long is cut before the end."""

    def __init__(self, context_length=16, *, pad=0):
        self.context_length, self.pad = context_length, pad

    def __call__(self, texts, context_length=None):
        size = context_length or self.context_length
        rows = [[150, *(20 + ord(letter) % 128 for letter in text)][: size - 1] + [159] for text in texts]
        return torch.tensor([row + [self.pad] * (size - len(row)) for row in rows])


def config_of(**text):
    """A model_cfg; options for the whole model are `custom_text` and `multimodal_cfg`."""
    whole = {name: text.pop(name) for name in ("custom_text", "multimodal_cfg") if name in text}
    return {"embed_dim": 8, "vision_cfg": VISION, "text_cfg": {**TEXT, **text}, **whole}


def build(config, monkeypatch, *, dtype=torch.float64):
    """What open_clip makes of a model_cfg, by its own choice of class."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-text", copy.deepcopy(config))
    clip = open_clip.create_model("Tiny-text", load_weights=False, pretrained_text=False)
    return tiny.randomise(clip.to(dtype))


def masked(**settings):
    """A tower that hides its padding: an option of open_clip's TextTransformer that no configuration has."""
    clip = open_clip.CustomTextCLIP(8, VISION, TEXT)
    clip.text = TextTransformer(**TEXT, output_dim=8, no_causal_mask=True, use_pad_mask=True, **settings)
    return tiny.randomise(clip.double())


def write_architecture(folder, architecture, **settings):
    """A folder with the configuration of a tiny text tower of Hugging Face."""
    AutoConfig.for_model(architecture, **HUGGING_FACE[architecture], **settings).save_pretrained(folder)
    return str(folder)


def shrunk(config, folder):
    """A shipped configuration with tiny widths; what a token attends to and where the vector is taken stay."""
    text = {**config["text_cfg"], "width": 16, "heads": 2, "layers": 1, "vocab_size": 160}
    if name := text.get("hf_model_name"):
        kind = next(
            k
            for word, k in (("xlm", "xlm-roberta"), ("roberta", "roberta"), ("mt5", "mt5"), ("nllb", "m2m_100"))
            if word in name
        )
        text["hf_model_name"] = write_architecture(folder / kind, kind)
    small = {**config, "embed_dim": 8, "vision_cfg": VISION, "text_cfg": text}
    if "multimodal_cfg" in small:
        vision = {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        small |= {"multimodal_cfg": {**COCA, "context_length": 76}, "vision_cfg": vision}
    return small


def word_pieces(sentences, *, special):
    """The words of some sentences with the sign for the space before them, and their letters, for unlikely words."""
    words = sorted({f"▁{word}" for sentence in sentences for word in sentence.split()})
    letters = sorted({letter for word in words for letter in word} - set(words))
    return [*((piece, 0.0) for piece in special), *((w, -2.0) for w in words), *((c, -9.0) for c in letters)]


def unigram(sentences, *, special, begin=(), end="</s>"):
    """A tokenizer like those of XLM-R, T5 and NLLB: sentence pieces, each script's letters real tokens."""
    vocabulary = word_pieces(sentences, special=special)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("<unk>")))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    frame = [*begin, "$A", end]
    ids = [(piece, special.index(piece)) for piece in {*begin, end}]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, pair=[*frame, "$B", end], special_tokens=ids)
    return tokenizer


def save_tokenizer(folder, tokenizer, **tokens):
    """As `save_pretrained` of transformers leaves it."""
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder)
    return str(folder)


def write_multilingual(folder, sentences, *, pooler="mean_pooler", **text):
    """A whole model of many languages in a folder, as a user has it: nothing of it is on the hub."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokens = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = unigram(sentences, special=special, begin=["<s>"])
    save_tokenizer(folder, tokenizer, **tokens)
    size = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 80}
    settings = HUGGING_FACE["xlm-roberta"] | size
    AutoConfig.for_model("xlm-roberta", **settings).save_pretrained(folder / "words")
    text = {"hf_model_name": "words", "hf_tokenizer_name": "words", "hf_pooler_type": pooler, **text}
    config = {"embed_dim": 24, "vision_cfg": tiny.VIT, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
    built = {**config, "text_cfg": {**text, "hf_model_name": str(folder / "words"), "hf_model_pretrained": False}}
    clip = tiny.randomise(open_clip.CustomTextCLIP(**built))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors", metadata={"weights": "random"})
    return clip
