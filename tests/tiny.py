"""Tiny open_clip models with every number random, and what the oracle needs to know of them.

An identity that holds on default initialisation may hold by luck: biases are 0 there, norms the identity,
attention near uniform. Here nothing is 0, 1 or flat.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import TypeVar

import numpy as np
import torch
from oracle import Vit
from torch import nn

from denseclip_viz.clip.load.weights import Drawn

Module = TypeVar("Module", bound=nn.Module)

TABLES = ("embedding", "pos_embed", "token", "latent", "relative_position_bias_table", "rel_pos.mlp")
BRANCH = 0.5  # on what a bottleneck adds: random running statistics tame nothing, deep maps would blow up
LARGE, PERIOD = 2**21, 65_537  # numbers; a prime, so that no two rows of a large tensor are alike
RESNET = {"layers": (1, 1, 1, 1), "width": 16, "image_size": 96, "head_width": 64}
VIT = {"layers": 3, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 32}
MEAN = {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 96}
QUERY = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear", "image_size": 160}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def new_values(name: str, parameter: torch.Tensor, noise: torch.Tensor, sharpness: float) -> torch.Tensor:
    """Random values of a size that keeps activations sane, picked by the name's last word and the shape."""
    *_, owner, word = f".{name}".split(".")
    if word.startswith("logit_"):
        return parameter + 0.1 * noise
    if word == "running_var":
        return torch.exp(0.3 * noise)
    if word == "gamma":
        return 0.6 + 0.2 * noise
    if parameter.ndim < 2 and word == "weight":
        return (BRANCH if owner == "bn3" and "layer" in name else 1.0) * (1 + 0.3 * noise)
    if parameter.ndim < 2 or any(part in name for part in TABLES):
        return 0.3 * noise
    fan_in = parameter.shape[0] if word in ("proj", "text_projection") else parameter[0].numel()
    values = fan_in**-0.5 * noise
    if name.endswith(("q_proj.weight", "k_proj.weight", "attn_pool.q.weight")):
        return sharpness * values
    if word == "in_proj_weight" or name.endswith("qkv.weight"):
        values[: 2 * len(values) // 3] *= sharpness
    return values


def randomise(module: Module, seed: int = 0, sharpness: float = 2.0, *, large: int = LARGE) -> Module:
    """Give every parameter and running statistic a random value, in place, whatever the dtype and device.

    `sharpness` scales queries and keys, so attention logits grow by its square. Of a `large` tensor a part is drawn,
    and is in it over and over: to draw it takes longer than all that a tower computes.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(module.named_parameters())
    tensors |= {name: b for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var"))}
    with torch.no_grad():
        for name, tensor in tensors.items():
            noise = _noise(tensor.shape, generator, large)
            tensor.copy_(new_values(name, tensor.cpu().to(noise.dtype), noise, sharpness))
    return module.eval()


def _noise(shape: torch.Size, generator: torch.Generator, large: int) -> torch.Tensor:
    if (numbers := shape.numel()) < large:
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.randn(PERIOD, generator=generator).repeat(-(-numbers // PERIOD))[:numbers].view(shape)


_made: dict[str, nn.Module] = {}
KEPT = 12  # of one test file after the other: a tower is asked for again by the next test, or never


def tiny_clip(vision: dict, **options) -> nn.Module:
    """A model of one's own, copied from one that is built once: to draw 49,408 vectors of words takes longest."""
    key = repr((vision, options))
    _made[key] = _made.pop(key, None) or _build(vision, **options)
    while len(_made) > KEPT:
        del _made[next(iter(_made))]
    return copy.deepcopy(_made[key])


def _build(vision: dict, *, seed: int, dtype: torch.dtype, sharpness: float, **options) -> nn.Module:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    known = {field.name for field in fields(CLIPVisionCfg)}
    vision = vision | {name: value for name, value in options.items() if name in known}
    options = {name: value for name, value in options.items() if name not in known}
    embed_dim, text = options.pop("embed_dim", 24), TEXT | options.pop("text", {})
    with Drawn(filled=False):
        model = CLIP(embed_dim, CLIPVisionCfg(**vision), CLIPTextCfg(**text), **options)
    return randomise(model.to(dtype), seed, sharpness)


def tiny_resnet(*, seed: int = 0, dtype: torch.dtype = torch.float64, **options) -> nn.Module:
    """CLIP with a ModifiedResNet on a 3 × 3 grid.

    Options: fields of CLIPVisionCfg, `text={...}` with fields of CLIPTextCfg, arguments of CLIP (`embed_dim`,
    `quick_gelu`, …).
    """
    return clip_of(RESNET, seed=seed, dtype=dtype, **options)


def tiny_vit(*, seed: int = 0, dtype: torch.dtype = torch.float64, **options) -> nn.Module:
    """CLIP with a VisionTransformer on a 4 × 4 grid; options as in `tiny_resnet`."""
    return clip_of(VIT, seed=seed, dtype=dtype, **options)


def clip_of(vision: dict, **options) -> nn.Module:
    """CLIP with a tower of this configuration, on the usual sharpness of its kind."""
    usual = {"seed": 0, "dtype": torch.float64, "sharpness": 3.5 if vision is RESNET else 2.0}
    return tiny_clip(vision, **usual | options)


def weights(visual: nn.Module) -> dict[str, np.ndarray]:
    """The state dict in NumPy, float64: what the oracle calls `sd`."""
    return {name: tensor.detach().cpu().double().numpy() for name, tensor in visual.state_dict().items()}


def vit_settings(visual: nn.Module) -> Vit:
    """What the oracle must know of a VisionTransformer beside its weights."""
    block = visual.transformer.resblocks[0]
    y, x = visual.conv1.kernel_size
    activation = {"QuickGELU": "quick_gelu", "GELU": "gelu"}[type(block.mlp.gelu).__name__]
    return Vit(heads=block.attn.num_heads, patch=(y, x), activation=activation, eps=visual.ln_post.eps)


def resnet_settings(visual: nn.Module) -> tuple[tuple[int, ...], int]:
    """Bottlenecks per layer, and heads of the attention pool."""
    depths = tuple(len(getattr(visual, f"layer{number}")) for number in range(1, 5))
    return depths, visual.attnpool.num_heads


def random_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(3, height, width) after normalisation: smooth blobs and noise, so that positions differ."""
    generator = np.random.default_rng(seed)
    coarse = np.kron(generator.normal(size=(3, -(-height // 16), -(-width // 16))), np.ones((16, 16)))
    return coarse[:, :height, :width] + 0.5 * generator.normal(size=(3, height, width))


# Image towers of every kind of pooling, small: what open_clip is asked for, and what makes timm's model small.
TIMM = {
    "EVA01": ("eva_giant_patch14_224", "token", {"embed_dim": 32, "num_heads": 2}, 14),
    "EVA02": ("eva02_base_patch16_clip_224", "token", {"embed_dim": 32, "num_heads": 2}, 16),
    "EVA02-E": ("eva02_enormous_patch14_clip_224", "token", {"embed_dim": 32, "num_heads": 2}, 14),
    "MobileCLIP-B": ("vit_base_mci_224", "token", {}, 16),
    "MobileCLIP2-L": ("vit_large_patch14_clip_224", "token", {"embed_dim": 32, "num_heads": 2}, 14),
    "relpos": ("vit_relpos_medium_patch16_cls_224", "", {"embed_dim": 32, "num_heads": 2}, 16),
    "GAP": ("vit_medium_patch16_gap_256", "", {"embed_dim": 32, "num_heads": 2}, 16),
    "SigLIP": ("vit_base_patch16_siglip_224", "map", {"embed_dim": 32, "num_heads": 2}, 16),
    "PE": ("vit_pe_core_tiny_patch16_384", "map", {"embed_dim": 32, "num_heads": 2}, 16),
    "ConvNeXt": ("test_convnext", "", {}, 32),
    "ConvNeXt-mlp": ("test_convnext", "", {}, 32),
    "FastViT": ("fastvit_t8", "avg", {"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32)}, 32),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        "",
        {"depths": (2, 2, 2, 2), "embed_dim": 16, "num_heads": (1, 2, 2, 4)},
        32,
    ),
}
OPEN_CLIP = {
    "CLIPA": {"pool_type": "avg", "final_ln_after_pool": True},
    "norm before mean": {"pool_type": "avg"},
    "CoCa": {"attentional_pool": True, "output_tokens": True},
}
KINDS = (*TIMM, *OPEN_CLIP)
POOLS = {"token": "ViT class token", "avg": "mean", "map": "latent query"}


def tiny_tower(kind: str, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options) -> nn.Module:
    """An image tower of a kind in `KINDS`, everything random; options: further ones of timm's."""
    if kind in OPEN_CLIP:
        return tiny_vit(seed=seed, dtype=dtype, **OPEN_CLIP[kind]).visual
    from open_clip.timm_model import TimmModel

    name, pool, smaller, cell = TIMM[kind]
    conv = kind in ("ConvNeXt", "ConvNeXt-mlp", "FastViT", "Swin")
    smaller = smaller if conv else {**smaller, "depth": 2, "img_size": 3 * cell} | options
    with smaller_timm(smaller), Drawn(filled=False):
        proj = "mlp" if kind.endswith("mlp") else None if pool in ("token", "map") else "linear"
        proj = "none" if kind == "SigLIP" else None if kind == "FastViT" else proj
        width = 32 if kind == "SigLIP" else 24
        side = {"Swin": 224}.get(kind, 3 * cell)
        tower = TimmModel(name, width, image_size=side, pool=pool, proj=proj)
    return randomise(tower.to(dtype), seed)


def smaller_timm(smaller: dict) -> AbstractContextManager:
    """Let timm make its models with these arguments, whatever open_clip says."""
    from unittest import mock

    import timm

    create = timm.create_model
    return mock.patch.object(timm, "create_model", lambda name, **given: create(name, **{**given, **smaller}))


def native_side(visual: nn.Module) -> int:
    """Pixels a side that a tower was made for."""
    side = visual.image_size
    return side if isinstance(side, int) else side[0]
