"""What a model is, in one line and as HTML."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from denseclip_viz.clip.towers import Tower
from denseclip_viz.html import format_shape, join_names, repr_html

# What files are called whatever is in them: by the bundled models, and on hubs.
_ANY = ("weights", "model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model")


def weights_of(about: Mapping[str, Any]) -> str:
    """Name weights and the beginning of their hash; a name that any file has is left out.

    Example:
        >>> weights_of({"weights": "openai", "weights_hash": "0123456789ab"})
        'openai (01234567)'
        >>> weights_of({"weights": "weights.safetensors", "weights_hash": "0123456789ab"})
        '01234567'
    """
    name, digest = str(about["weights"]), "" if is_random(about) else about.get("weights_hash", "")
    if not digest:
        return name
    return digest[:8] if name.rpartition(".")[0] in _ANY else f"{name} ({digest[:8]})"


def is_random(about: Mapping[str, Any]) -> bool:
    """Say whether a model, or what made a result, has random weights."""
    return bool(int(about.get("random_weights", 0)))


def one_line(about: Mapping[str, str | int], tower: Tower, clip: nn.Module) -> str:
    """Name the model, its weights and its pooling, for `repr`."""
    facts = f"{tower.family}, {len(tower.layers)} layers, {_millions(clip):.1f} M"
    return f"Model({about['model']}, {weights_of(about)}: {facts})"


def html_card(about: Mapping[str, str | int], tower: Tower, clip: nn.Module, size: tuple[int, int]) -> str:
    """Lay out what a model is, everything escaped; random weights are not to be overlooked."""
    facts = {
        "weights": weights_of(about),
        "pooling": tower.family,
        "reads": f"{format_shape(size)} pixels as {size[0] // tower.cell[0]} × {size[1] // tower.cell[1]} positions",
        "layers": join_names(tower.layers),
        "parameters": f"{_millions(clip):.1f} million",
        "runs": f"{about['dtype']}, {about['device']}, {about['activation']}",
    }
    warning = "random weights: only the mechanics show" if is_random(about) else ""
    return repr_html(f"Model {about['model']}", facts, after='model.trace("street.jpg")', warning=warning)


def _millions(clip: nn.Module) -> float:
    return sum(parameter.numel() for parameter in clip.parameters()) / 1e6
