"""The only code that knows attribute paths of open_clip, timm and transformers; one file per kind of pooling."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from denseclip_viz.clip.towers.align import Align, AlignImage, AlignTower
from denseclip_viz.clip.towers.attention_pool import AttentionPoolTower
from denseclip_viz.clip.towers.class_token import ClassTokenTower
from denseclip_viz.clip.towers.latent_query import LatentQueryTower
from denseclip_viz.clip.towers.mean_pool import MeanPoolTower
from denseclip_viz.clip.towers.shadow import shared_copy
from denseclip_viz.clip.towers.tower import Tower
from denseclip_viz.errors import UnsupportedTowerError

__all__ = ["Align", "Tower", "eager", "logit_bias", "logit_scale", "tower_for", "tower_of"]


def tower_of(clip: nn.Module) -> Tower:
    """Pick the family of a whole CLIP's image tower; see `tower_for`."""
    visual = clip.visual
    assert isinstance(visual, nn.Module)
    return tower_for(visual)


def eager(tower: Tower) -> Tower:
    """Give a tower whose parts run one by one and once, so that hooks see them: a private copy where they do not.

    They do not where `compile` was called, and where blocks would run again for gradients, when hooks are gone.
    """
    modules = list(tower.visual.modules())
    again = [getattr(module, _AGAIN, False) for module in modules]
    if not any(again) and all(module._compiled_call_impl is None for module in modules):
        return tower
    copy = shared_copy(tower.visual)
    for module in copy.modules():
        if getattr(module, _AGAIN, False):
            setattr(module, _AGAIN, False)
    return tower_for(copy)


_AGAIN = "grad_checkpointing"  # as open_clip and timm call it


def logit_scale(clip: nn.Module) -> float:
    """Read what a CLIP multiplies cosines by: exp(logit_scale)."""
    scale = clip.logit_scale
    assert isinstance(scale, Tensor)
    return float(scale.detach().exp())


def logit_bias(clip: nn.Module) -> float | None:
    """Read what a CLIP that was trained with a sigmoid adds to scaled cosines; None of any other."""
    bias = getattr(clip, "logit_bias", None)
    return float(bias.detach()) if isinstance(bias, Tensor) else None


def tower_for(visual: nn.Module) -> Tower:
    """Pick the family of an image tower, by what it is made of; a guess is never made.

    Args:
        visual: The image tower of an open_clip model (`model.visual`), or of `Align`.

    Raises:
        UnsupportedTowerError: a tower that no family here describes.

    Example:
        >>> from open_clip.modified_resnet import ModifiedResNet
        >>> tower_for(ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=32, width=4)).family
        'ResNet attention pool'
    """
    from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    family: Callable[[nn.Module], Tower] | None = None
    if isinstance(visual, ModifiedResNet):
        family = AttentionPoolTower if isinstance(visual.attnpool, AttentionPool2d) else None
    elif isinstance(visual, VisionTransformer):
        family = _POOLS.get(_open_clip_pool(visual))
    elif isinstance(visual, TimmModel):
        family = _POOLS.get(_timm_pool(visual))
    elif isinstance(visual, AlignImage):
        family = AlignTower
    if family is None:
        raise UnsupportedTowerError(
            f"the image tower is a {_describe(visual)}",
            expected="a ModifiedResNet, or a tower that pools by a class token, a mean or one latent query",
            fix="models() lists what is supported.",
        )
    return family(visual)


_POOLS: dict[str, Callable[[nn.Module], Tower]] = {
    "token": ClassTokenTower,
    "avg": MeanPoolTower,
    "map": LatentQueryTower,
}


def _open_clip_pool(visual: Any) -> str:
    """Name how a `VisionTransformer` pools; "" where it is none of the known poolings."""
    plain = all(type(block).__name__ == "ResidualAttentionBlock" for block in visual.transformer.resblocks)
    if not plain or visual.proj is None:
        return ""
    if visual.attn_pool is not None:
        return "map" if visual.attn_pool_contrastive is None and visual.pool_type == "tok" else ""
    return {"tok": "token", "avg": "avg"}.get(visual.pool_type, "")


def _timm_pool(visual: Any) -> str:
    """Name how a timm trunk pools; "" where it is none of the known poolings."""
    trunk, kind = visual.trunk, type(visual.trunk).__name__
    if set(dict(visual.head.named_children())) - {"drop", "proj", "mlp"}:
        return ""  # open_clip's own attention pools for feature maps, which no configuration uses
    if kind in ("ConvNeXt", "FastVit", "SwinTransformer"):
        return str(trunk.head.global_pool.pool_type)
    if kind not in ("VisionTransformer", "VisionTransformerRelPos", "Eva"):
        return ""
    pool = getattr(trunk, "attn_pool", None)
    if pool is not None and (type(pool).__name__, pool.pool, pool.latent_len) != ("AttentionPoolLatent", "token", 1):
        return ""
    return "" if getattr(trunk, "pool_include_prefix", False) and pool is None else str(trunk.global_pool)


def _describe(visual: Any) -> str:
    """Name a tower by its class and by what its pooling hangs on."""
    facts = [f"{name}={getattr(visual, name)!r}" for name in ("pool_type", "attn_pool_type") if hasattr(visual, name)]
    if (blocks := getattr(getattr(visual, "transformer", None), "resblocks", None)) is not None:
        facts.append(f"blocks {', '.join(sorted({type(block).__name__ for block in blocks}))}")
    if hasattr(visual, "proj") and visual.proj is None:
        facts.append("no projection")
    if (trunk := getattr(visual, "trunk", None)) is not None:
        pool = getattr(trunk, "global_pool", None) or getattr(getattr(trunk, "head", None), "global_pool", None)
        facts.append(f"trunk {type(trunk).__name__}, pool {getattr(pool, 'pool_type', pool)!r}")
    return f"{type(visual).__name__} ({', '.join(facts)})" if facts else type(visual).__name__
