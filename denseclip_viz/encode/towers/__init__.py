"""The only code that knows attribute paths of open_clip; one file per kind of pooling."""

from __future__ import annotations

from torch import Tensor, nn

from denseclip_viz.encode.towers.attention_pool import AttentionPoolTower
from denseclip_viz.encode.towers.class_token import ClassTokenTower
from denseclip_viz.encode.towers.tower import PATHS, Opened, Path, Request, Tower
from denseclip_viz.errors import UnsupportedTowerError

__all__ = ["PATHS", "Opened", "Path", "Request", "Tower", "logit_scale", "tower_for", "tower_of"]


def tower_of(clip: nn.Module) -> Tower:
    """Pick the family of a whole CLIP's image tower; see `tower_for`."""
    visual = clip.visual
    assert isinstance(visual, nn.Module)
    return tower_for(visual)


def logit_scale(clip: nn.Module) -> float:
    """Read what a CLIP multiplies cosines by: exp(logit_scale)."""
    scale = clip.logit_scale
    assert isinstance(scale, Tensor)
    return float(scale.detach().exp())


def tower_for(visual: nn.Module) -> Tower:
    """Pick the family of an image tower, by what it is made of; a guess is never made.

    Args:
        visual: The image tower of an open_clip model (`model.visual`).

    Raises:
        UnsupportedTowerError: a tower that no family here describes.

    Example:
        >>> from open_clip.modified_resnet import ModifiedResNet
        >>> tower_for(ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=32, width=4)).family
        'ResNet attention pool'
    """
    from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if isinstance(visual, ModifiedResNet) and isinstance(visual.attnpool, AttentionPool2d):
        return AttentionPoolTower(visual)
    if isinstance(visual, VisionTransformer):
        blocks = visual.transformer.resblocks
        plain = all(isinstance(block, ResidualAttentionBlock) for block in blocks)
        if plain and visual.attn_pool is None and visual.pool_type == "tok" and visual.proj is not None:
            return ClassTokenTower(visual)
    raise UnsupportedTowerError(
        f"the image tower is a {_describe(visual)}",
        expected="a ModifiedResNet with attention pool, or a VisionTransformer that pools its class token",
        fix="`denseclip-viz models` lists what is supported.",
    )


def _describe(visual: nn.Module) -> str:
    switches = {name: getattr(visual, name) for name in ("pool_type", "attn_pool_type") if hasattr(visual, name)}
    inner = type(trunk).__name__ if isinstance(trunk := getattr(visual, "trunk", None), nn.Module) else ""
    said = ", ".join(
        [*(f"{name}={value!r}" for name, value in switches.items()), *([f"trunk {inner}"] if inner else [])]
    )
    return f"{type(visual).__name__} ({said})" if said else type(visual).__name__
