"""Kinds of text towers, and which of them need not read padding; no other file knows what text towers look like."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CAUSAL, MASKED, OPEN = "causal", "padding masked", "padding attended"
CLASS_TOKEN = "class token"
UNKNOWN = "unknown"
_BEFORE = "a token attends only to what stands before it, and the vector is taken inside the text"
_HIDDEN = "padding is masked in the attention, and the vector is taken from the text alone"
_APPENDED = "the class token attends to the text and at most the one place behind it, and its own position is kept"
_ATTENDED = "every token attends to the padding too"
_AT_END = "the vector is taken at the last place of the context, where padding stands"

# (what a token attends to, where the vector is taken): whether padding can be left out exactly, and why.
KINDS: dict[tuple[str, str], tuple[bool, str]] = {
    (CAUSAL, "argmax"): (True, _BEFORE),
    (CAUSAL, "eos"): (True, _BEFORE),
    (CAUSAL, "last"): (False, _AT_END),
    (CAUSAL, CLASS_TOKEN): (True, _APPENDED),
    (OPEN, "argmax"): (False, _ATTENDED),
    (OPEN, "eos"): (False, _ATTENDED),
    (OPEN, "last"): (False, _ATTENDED),
    (MASKED, "argmax"): (True, _HIDDEN),
    (MASKED, "eos"): (True, _HIDDEN),
    (MASKED, "last"): (False, _AT_END),
    (MASKED, CLASS_TOKEN): (True, _APPENDED),
    (MASKED, "mean_pooler"): (True, _HIDDEN),
    (MASKED, "cls_pooler"): (True, _HIDDEN),
    (MASKED, "cls_last_hidden_state_pooler"): (True, _HIDDEN),
}
# Architectures of Hugging Face that open_clip builds, each with the pool it takes unless told otherwise.
HUGGING_FACE = {
    "roberta": "mean_pooler",
    "xlm-roberta": "mean_pooler",
    "mt5": "mean_pooler",
    "bert": "cls_pooler",
    "m2m_100": "cls_pooler",
}
# What stands behind the names in open_clip's configurations; other names are known when the tower is built.
HUB_NAMES = {
    "roberta-base": "roberta",
    "xlm-roberta-base": "xlm-roberta",
    "xlm-roberta-large": "xlm-roberta",
    "google/mt5-base": "mt5",
    "google/mt5-xl": "mt5",
    "facebook/nllb-200-distilled-600M": "m2m_100",
    "facebook/nllb-200-distilled-1.3B": "m2m_100",
}
# Settings of a text tower that change neither what a token attends to nor where the vector is taken.
_NEUTRAL = frozenset(
    "context_length vocab_size hf_tokenizer_name tokenizer_mode tokenizer_kwargs width heads layers mlp_ratio"
    " ls_init_value pad_id eos_id final_ln_after_pool proj_bias proj_type output_tokens act_kwargs norm_kwargs"
    " block_type qk_norm scaled_cosine_attn scale_heads scale_attn_inner scale_attn scale_fc"
    " hf_model_pretrained hf_proj_type correct_cls_mask".split()
)
_DECISIVE = {"embed_cls", "no_causal_mask", "use_pad_mask", "pool_type", "hf_model_name", "hf_pooler_type"}


@dataclass(frozen=True)
class Trimming:
    """Whether what stands behind a text can be left out, equal in exact arithmetic.

    Attributes:
        kind: What the tower's tokens attend to and where it takes its vector, or "unknown".
        exact: Padding is left out; where False, the tower reads the whole context.
        why: The reason, in words for people.
    """

    kind: str
    exact: bool
    why: str


class _Traits(NamedTuple):
    attention: str
    pool: str
    architecture: str = ""
    pad: int = 0
    eos: int = -1


def trimming_of_model(clip: nn.Module) -> Trimming:
    """Say whether a model's text tower can leave padding out, by what it is made of; a guess is never made.

    Example:
        >>> trimming_of_model(nn.Linear(2, 2))
        Trimming(kind='unknown', exact=False, why='a Linear has no text tower that is known here')
    """
    return _verdict(_traits_of_model(clip))


def trimming_of_config(config: Mapping[str, Any]) -> Trimming:
    """Say the same of a model that is not built, by its configuration.

    Example:
        >>> trimming_of_config({"text_cfg": {"no_causal_mask": True, "pool_type": "last"}}).why
        'every token attends to the padding too'
    """
    return _verdict(_traits_of_config(config))


def needed(clip: nn.Module, ids: Tensor) -> Tensor:
    """Count how many places of each padded row of ids can reach its vector, (text,): all where none may be left out."""
    traits = _traits_of_model(clip)
    if isinstance(traits, str) or not _verdict(traits).exact:
        return torch.full((len(ids),), ids.shape[1])
    pools = {"argmax": ids.argmax(dim=-1), "eos": (ids == traits.eos).int().argmax(dim=-1)}
    read = pools.get(traits.pool, torch.zeros(len(ids), dtype=torch.int64)) + 1
    if traits.attention == MASKED or traits.pool == CLASS_TOKEN:
        written = ((ids != traits.pad) * torch.arange(1, ids.shape[1] + 1)).amax(dim=-1)
        # CoCa's mask is shifted by one place: its class token attends to the first padding behind the text.
        read = torch.maximum(read, written + (traits.pool == CLASS_TOKEN))
    return torch.clamp(read, max=ids.shape[1])


def encode_ids(clip: nn.Module, ids: Tensor) -> Tensor:
    """Compute `clip.encode_text`, (text, D), also of rows that were cut to as many places as `needed` counts.

    The model stays as it is, also for other threads in this very moment.
    """
    reader: Any = _shortened(clip, ids.shape[1])
    vectors: Tensor = reader.encode_text(ids)
    return vectors


def context_of(clip: nn.Module) -> int | None:
    """Give the number of tokens that a text tower has positions for; None where it has no limit or says none.

    Example:
        >>> context_of(nn.Linear(2, 2)) is None
        True
    """
    from open_clip.hf_model import HFTextEncoder

    lengths, tower = [getattr(clip, "context_length", None)], getattr(clip, "text", None)
    if isinstance(tower, HFTextEncoder) and tower.config.model_type in ("roberta", "xlm-roberta"):
        # Their positions are counted from behind the padding id.
        lengths.append(tower.context_length - tower.config.pad_token_id - 1)
    return min([length for length in lengths if isinstance(length, int) and length > 0], default=None)


def _verdict(traits: _Traits | str) -> Trimming:
    if isinstance(traits, str):
        return Trimming(UNKNOWN, False, traits)
    kind = " · ".join(part for part in (traits.architecture, traits.attention, traits.pool) if part)
    if (traits.attention, traits.pool) not in KINDS:
        return Trimming(UNKNOWN, False, f"nobody has checked a tower of the kind {kind}")
    return Trimming(kind, *KINDS[traits.attention, traits.pool])


def _traits_of_model(clip: nn.Module) -> _Traits | str:
    """Read the traits of exactly the classes that were checked, with nothing put in the place of their methods."""
    from open_clip import CLIP, CoCa, CustomTextCLIP
    from open_clip.hf_model import HFTextEncoder
    from open_clip.transformer import TextTransformer, Transformer

    if type(clip) not in (CLIP, CoCa, CustomTextCLIP):
        return f"a {type(clip).__name__} has no text tower that is known here"
    tower: Any = clip if type(clip) is CLIP else clip.text
    if {"forward", "encode_text"} & (vars(clip).keys() | vars(tower).keys()):
        return "a method of the text tower was replaced"
    if type(tower) is HFTextEncoder:
        return _hugging_face(tower)
    if type(tower) not in (CLIP, TextTransformer) or type(tower.transformer) is not Transformer:
        return f"a {type(tower).__name__} over a {type(tower.transformer).__name__} is not known here"
    return _native(tower)


def _native(tower: Any) -> _Traits | str:
    mask, appended = tower.attn_mask, getattr(tower, "cls_emb", None) is not None
    if mask is not None and not torch.equal(mask, torch.full_like(mask, float("-inf")).triu_(1)):
        return "its attention mask is not the causal one"
    hidden = appended or getattr(tower, "use_pad_mask", False)
    attention = CAUSAL if mask is not None else MASKED if hidden else OPEN
    prefix = "text_" if hasattr(tower, "text_pool_type") else ""
    pool, eos = getattr(tower, f"{prefix}pool_type"), getattr(tower, f"{prefix}eos_id")
    return _Traits(attention, CLASS_TOKEN if appended else pool, pad=getattr(tower, "pad_id", 0), eos=eos)


def _hugging_face(tower: Any) -> _Traits | str:
    architecture, pad = tower.config.model_type, tower.config.pad_token_id
    if architecture not in HUGGING_FACE or pad is None:
        return f"nobody has checked a {architecture} with padding id {pad}"
    pool = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(tower.pooler).__name__).lower()  # as configurations name it
    return _Traits(MASKED, pool, architecture, pad)


def _traits_of_config(config: Mapping[str, Any]) -> _Traits | str:
    text = config["text_cfg"]
    if new := sorted(text.keys() - _NEUTRAL - _DECISIVE):
        return f"its configuration has settings that are not known here: {', '.join(new)}"
    if name := text.get("hf_model_name"):
        architecture = HUB_NAMES.get(name)
        if architecture is None:
            return f"what {name} is shows when it is built"
        return _Traits(MASKED, text.get("hf_pooler_type", "mean_pooler") or HUGGING_FACE[architecture], architecture)
    custom = config.get("custom_text", False) or "hf_model_name" in text
    appended = custom and text.get("embed_cls", False)  # a plain CLIP takes neither over from its text tower
    hidden = custom and (appended or text.get("use_pad_mask", False))
    attention = (MASKED if hidden else OPEN) if text.get("no_causal_mask", False) else CAUSAL
    return _Traits(attention, CLASS_TOKEN if appended else text.get("pool_type", "argmax"))


def _shortened(clip: nn.Module, length: int) -> nn.Module:
    """Return the model with as many positions as there are tokens; towers of Hugging Face need no help."""
    traits = _traits_of_model(clip)
    if isinstance(traits, str) or traits.architecture or not _verdict(traits).exact:
        return clip
    tower: Any = clip.text if hasattr(clip, "text") else clip
    rows = tower.positional_embedding
    places = [*range(length), *[len(rows) - 1] * (traits.pool == CLASS_TOKEN)]
    changed = {"positional_embedding": rows[places]}
    if tower.attn_mask is not None:
        changed["attn_mask"] = tower.attn_mask[: len(places), : len(places)]
    view = _view(tower, changed)
    return view if tower is clip else _view(clip, {"text": view})


def _view(module: nn.Module, changed: Mapping[str, Tensor | nn.Module]) -> nn.Module:
    """Make a second module that shares all but `changed` with the first, so that the first is never touched."""
    view = copy.copy(module)
    for kind in ("_parameters", "_buffers", "_modules"):
        vars(view)[kind] = {name: changed.get(name, held) for name, held in vars(module)[kind].items()}
    return view
