"""Towers of transformers that no configuration of open_clip describes, made of open_clip's and timm's classes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

Part = Callable[[], nn.Module]
"""Makes the part of a model that is put in the place of what its configuration describes."""


def put_in(clip: nn.Module, parts: Mapping[str, Part]) -> None:
    """Put parts into a model that was just built, each in the place that its name says."""
    for place, make in parts.items():
        parent, _, name = place.rpartition(".")
        setattr(clip.get_submodule(parent), name, make())


def image_tower(embed_dim: int, vision: Mapping[str, Any], quick_gelu: bool) -> nn.Module:
    """Build an image tower with an activation of its own: a configuration of open_clip has one for both towers."""
    from open_clip.model import _build_vision_tower

    tower: nn.Module = _build_vision_tower(embed_dim, dict(vision), quick_gelu)
    return tower


def latent_query_trunk(*, epsilon: float, gate: tuple[bool, str], **sizes: Any) -> nn.Module:
    """Build timm's transformer with a latent query, of any size: open_clip takes those that timm has a name for."""
    from open_clip.transformer import QuickGELU
    from timm.models.vision_transformer import VisionTransformer

    quick, approximate = gate
    layers: dict[str, Any] = {
        "norm_layer": partial(nn.LayerNorm, eps=epsilon),
        "act_layer": QuickGELU if quick else partial(nn.GELU, approximate=approximate),
    }
    trunk: nn.Module = VisionTransformer(class_token=False, global_pool="map", num_classes=0, **layers, **sizes)
    return trunk


def bert(embed_dim: int, config: Mapping[str, Any]) -> nn.Module:
    """Build a BERT as open_clip's text tower, with a projection of its class token."""
    from open_clip.hf_model import HFTextEncoder
    from transformers import BertConfig

    options = {"pooler_type": "cls_last_hidden_state_pooler", "proj_type": "linear"}
    tower: Any = HFTextEncoder("", embed_dim, config=BertConfig(**config), **options)
    tower.transformer.pooler = None  # a second pool, which this one does not ask
    built: nn.Module = tower
    return built
