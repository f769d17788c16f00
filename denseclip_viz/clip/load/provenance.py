"""What a loaded model is, in words: read off the built modules, never assumed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING

import torch
from torch import nn

from denseclip_viz.clip.load.pretrained import SEED, Weights
from denseclip_viz.clip.load.weights import hash_start, says_random

if TYPE_CHECKING:
    from denseclip_viz.geometry import Preprocess

GATES = {"QuickGELU": "quickgelu", "GELU": "gelu", "GELUActivation": "gelu", "NewGELUActivation": "gelu-tanh"}


def describe_model(
    clip: nn.Module, name: str, weights: Weights, preprocess: Preprocess, dtype: torch.dtype, device: torch.device
) -> dict[str, str | int]:
    """Say what a model that was just loaded is, as every result carries it along; nothing is switched, unless added."""
    return {
        "model": name,
        "weights": weights.label,
        "weights_hash": hash_start(weights.file) if weights.file else f"random-{SEED}",
        "activation": activation_of(clip),
        "preprocess": describe_preprocess(preprocess),
        "dtype": str(dtype).removeprefix("torch."),
        "device": str(device),
        "preset": "none",
        "switches": "none",
        "random_weights": int(weights.file is None or says_random(weights.file)),
        "versions": versions(),
    }


def activation_of(clip: nn.Module) -> str:
    """Name the transformer blocks' activation, "quickgelu" or "gelu", of both towers where they differ.

    A ResNet image tower has ReLUs whatever the weights are; there the word is about the text tower.

    Example:
        >>> activation_of(nn.Sequential(nn.Linear(2, 2), nn.GELU()))
        'gelu'
    """
    visual = set(getattr(clip, "visual", nn.Identity()).modules())
    image = _gates(visual)
    text = _gates(module for module in clip.modules() if module not in visual)
    if image and text and image != text:
        return f"{image} (image), {text} (text)"
    return image or text or "none"


def describe_preprocess(preprocess: Preprocess) -> str:
    """Say in one line how an image is made ready.

    Example:
        >>> from denseclip_viz.geometry import Preprocess
        >>> describe_preprocess(Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
        '224 x 224 px, shortest, bicubic, mean 0.5 0.5 0.5, std 0.25 0.25 0.25'
    """
    height, width = preprocess.size
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (preprocess.mean, preprocess.std))
    before = preprocess.before_crop
    cropped = f" from the middle of {before[0]} x {before[1]}" if before else ""
    how = f"{preprocess.resize_mode}, {preprocess.interpolation}"
    return f"{height} x {width} px{cropped}, {how}, mean {mean}, std {std}"


def versions(*more: str) -> str:
    """Give the versions that decide the numbers.

    Args:
        *more: Further packages that a model is made of.

    Example:
        >>> versions()
        'denseclip_viz ... · open_clip ... · torch ...'
    """
    import open_clip

    import denseclip_viz

    parts = {"denseclip_viz": denseclip_viz.__version__, "open_clip": open_clip.__version__, "torch": torch.__version__}
    parts |= {name: metadata.version(name) for name in more}
    return " · ".join(f"{name} {version}" for name, version in parts.items())


def _gates(modules: Iterable[nn.Module]) -> str:
    kinds = set()
    for module in modules:
        kind = GATES.get(type(module).__name__)
        if kind:
            tanh = kind == "gelu" and getattr(module, "approximate", "none") == "tanh"
            kinds.add("gelu-tanh" if tanh else kind)
    return "+".join(sorted(kinds))
