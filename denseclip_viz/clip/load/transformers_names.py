"""Tensors of transformers' CLIPs under open_clip's names: tables of renamings, and a few changes of shape."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from denseclip_viz.clip.load.weights import Checkpoint

_MARK = "vision_model.embeddings.patch_embedding.weight"
_COUNTED = re.compile(r"(text|vision)_model\.embeddings\.position_ids")  # 0, 1, 2 …, which older files hold
_PART = re.compile(r"(.+\.self_attn)\.[qkv]_proj\.(weight|bias)")
_POOL = re.compile(r"vision_model\.head\.attention\.in_proj_(weight|bias)")

Renamings = tuple[tuple[str, str], ...]
_BLOCK: Renamings = (
    (r"(resblocks\.\d+)\.layer_norm", r"\1.ln_"),
    (r"(resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"(resblocks\.\d+\.mlp)\.fc1\.", r"\1.c_fc."),
    (r"(resblocks\.\d+\.mlp)\.fc2\.", r"\1.c_proj."),
)
_CLIP_IMAGE: Renamings = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^visual_projection\.weight$", "visual.proj"),
)
_TEXT: Renamings = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_projection\.weight$", "text_projection"),
)
_SIGLIP_IMAGE: Renamings = (
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.trunk.patch_embed.proj."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.trunk.pos_embed"),
    (r"^vision_model\.encoder\.layers\.", "visual.trunk.blocks."),
    (r"^vision_model\.post_layernorm\.", "visual.trunk.norm."),
    (r"^vision_model\.head\.probe$", "visual.trunk.attn_pool.latent"),
    (r"^vision_model\.head\.attention\.out_proj\.", "visual.trunk.attn_pool.proj."),
    (r"^vision_model\.head\.attention\.", "visual.trunk.attn_pool."),
    (r"^vision_model\.head\.layernorm\.", "visual.trunk.attn_pool.norm."),
    (r"^vision_model\.head\.mlp\.", "visual.trunk.attn_pool.mlp."),
    (r"(trunk\.blocks\.\d+)\.layer_norm", r"\1.norm"),
    (r"(trunk\.blocks\.\d+)\.self_attn\.in_proj_", r"\1.attn.qkv."),
    (r"(trunk\.blocks\.\d+)\.self_attn\.out_proj\.", r"\1.attn.proj."),
)
_SIGLIP_TEXT: Renamings = (
    *((old, f"text.{new}") for old, new in _TEXT[:-1]),
    (r"^text_model\.head\.", "text.text_projection."),
)
_BERT: Renamings = ((r"^text_model\.", "text.transformer."), (r"^text_projection\.", "text.proj."))
_TABLES: Mapping[str, Renamings] = {
    "CLIP": (*_CLIP_IMAGE, *_TEXT, *_BLOCK),
    "SigLIP": (*_SIGLIP_IMAGE, *_SIGLIP_TEXT, *_BLOCK),
    "Chinese CLIP": (*_CLIP_IMAGE, *_BERT, *_BLOCK),
}


def in_open_clips_names(checkpoint: Checkpoint) -> Checkpoint:
    """Translate a checkpoint that is in transformers' layout, and say so in its notes; give any other as it is."""
    layout = layout_of(checkpoint.tensors)
    if not layout:
        return checkpoint
    note = f"the names of transformers' {layout} were translated to open_clip's"
    return replace(checkpoint, tensors=translated(checkpoint.tensors), notes=(*checkpoint.notes, note))


def layout_of(names: Iterable[str]) -> str:
    """Name the layout of transformers that tensors are in: "CLIP", "SigLIP", "Chinese CLIP", or "".

    Example:
        >>> layout_of(["visual.conv1.weight"]), layout_of(["vision_model.embeddings.patch_embedding.weight"])
        ('', 'CLIP')
    """
    names = set(names)
    if _MARK not in names:
        return ""
    if "text_model.embeddings.word_embeddings.weight" in names:
        return "Chinese CLIP"
    return "SigLIP" if "vision_model.head.probe" in names else "CLIP"


def translated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a CLIP of transformers the names and shapes of open_clip.

    Queries, keys and values are joined, SigLIP's pool is parted, projections are turned, and SigLIP 2's patches become
    a convolution. What has no place in the tables, or not the shape for it, stays as it is, for `weights.fill` to name.

    Raises:
        KeyError: They are in no layout that is known.

    Example:
        >>> mark = {"vision_model.embeddings.patch_embedding.weight": torch.ones(2, 3, 8, 8)}
        >>> list(translated(mark | {"text_projection.weight": torch.ones(2, 1)}))
        ['visual.conv1.weight', 'text_projection']
    """
    layout = layout_of(tensors)
    joined = _joined({name: tensor for name, tensor in tensors.items() if not _COUNTED.fullmatch(name)})
    return {
        _renamed(part, _TABLES[layout]): _reshaped(part, piece, layout)
        for name, tensor in joined.items()
        for part, piece in _parted(name, tensor).items()
    }


def _renamed(name: str, table: Renamings) -> str:
    for old, new in table:
        name = re.sub(old, new, name)
    return name


def _joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the three projections of an attention, where they are there and alike."""
    state = dict(tensors)
    for match in filter(None, map(_PART.fullmatch, tensors)):
        names = [f"{match[1]}.{part}_proj.{match[2]}" for part in "qkv"]
        shapes = {state[name].shape for name in names if name in state}
        if all(name in state for name in names) and len(shapes) == 1 and min(map(len, shapes)):
            state[f"{match[1]}.in_proj_{match[2]}"] = torch.cat([state.pop(name) for name in names])
    return state


def _parted(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Part a pool's projections into that of its query and the other two, which timm keeps apart."""
    match = _POOL.fullmatch(name)
    if match is None or not tensor.ndim or len(tensor) % 3:
        return {name: tensor}
    query, others = tensor.split([len(tensor) // 3, len(tensor) // 3 * 2])
    return {name.replace("in_proj_", "q."): query, name.replace("in_proj_", "kv."): others}


def _reshaped(name: str, tensor: Tensor, layout: str) -> Tensor:
    if tensor.ndim != 2:
        return tensor
    if name == "visual_projection.weight" or (name == "text_projection.weight" and layout == "CLIP"):
        return tensor.T.contiguous()
    if name == "vision_model.embeddings.position_embedding.weight" and layout == "SigLIP":
        return tensor[None]
    side = math.isqrt(tensor.shape[1] // 3)
    if name == _MARK and 3 * side**2 == tensor.shape[1]:
        return tensor.reshape(len(tensor), side, side, 3).permute(0, 3, 1, 2).contiguous()
    return tensor
