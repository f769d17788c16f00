"""One table of every model that open_clip lists: what its pool is, how fine its grid, how large, which weights."""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from denseclip_viz.clip.load.architectures import known_models
from denseclip_viz.clip.text.text_towers import trimming_of
from denseclip_viz.errors import ModelNameError

if TYPE_CHECKING:
    import pandas as pd

_SIZES = Path(__file__).with_name("sizes.json")


class Sizes(TypedDict):
    """Parameters of the towers, and cells a side `(y, x)`; no number for a text tower that transformers makes."""

    image: int
    text: int | None
    grid: list[int]


def models(pattern: str = "*") -> pd.DataFrame:
    """List every image model of open_clip, a row each, in open_clip's order.

    Args:
        pattern: A name, with wildcards.

    Returns:
        Indexed by `name`: `pooling` (the family of its tower), `tower`, `pixels` and `grid` (height x width),
        `dimensions` of text space, `image_parameters` and `text_parameters` in millions (missing where transformers
        makes the text tower), `text` (what its tokens attend to, and where the vector is taken), `trimmed` (whether
        padding is left out, which is exact), `tags` (pretrained weights, each with its activation), `needs`.

    Raises:
        ModelNameError: No name fits the pattern.

    Example:
        >>> models("RN50x4").loc["RN50x4", ["pooling", "grid"]].tolist()
        ['ResNet attention pool', '9 x 9']
    """
    import pandas as pd

    chosen = [known for known in known_models() if fnmatch.fnmatchcase(known["name"], pattern)]
    if not chosen:
        got = f"No model of open_clip is named {pattern!r}"
        raise ModelNameError(got, expected="a name or a pattern such as 'ViT-B*'", fix="models() lists all.")
    table: pd.DataFrame = pd.DataFrame([_row(dict(known)) for known in chosen]).set_index("name")
    return table


def _row(known: dict[str, Any]) -> dict[str, Any]:
    name, config = known["name"], _config(known["name"])
    sizes, text = sizes_of(name), trimming_of(config)
    return {
        "name": name,
        "pooling": known["family"],
        "tower": _tower(config["vision_cfg"]),
        "pixels": _times(known["image_size"]),
        "grid": _times(sizes["grid"]),
        "dimensions": known["embed_dim"],
        "image_parameters": round(sizes["image"] / 1e6, 1),
        "text_parameters": None if sizes["text"] is None else round(sizes["text"] / 1e6, 1),
        "text": text.kind,
        "trimmed": text.exact,
        "tags": ", ".join(f"{tag} ({_activation(name, tag, config)})" for tag in known["tags"]),
        "needs": known["needs"],
    }


def sizes_of(name: str) -> Sizes:
    """Give the sizes of a model: known ones from a table, others from the towers, built without weights.

    Example:
        >>> sizes_of("RN50")["grid"]
        [7, 7]
    """
    known: Mapping[str, Sizes] = _known_sizes()
    return known[name] if name in known else measured_sizes(name)


@cache
def _known_sizes() -> Mapping[str, Sizes]:
    found: Mapping[str, Sizes] = json.loads(_SIZES.read_text("utf-8"))
    return found


def measured_sizes(name: str) -> Sizes:
    """Build both towers of a model on torch's device for shapes alone, and count; it takes a second or two.

    Example:
        >>> measured_sizes("ViT-S-32-alt")["grid"]
        [7, 7]
    """
    import torch
    from open_clip.model import _build_text_tower, _build_vision_tower

    from denseclip_viz.clip.towers import tower_for

    config = copy.deepcopy(_config(name))
    quick, dimensions = config.get("quick_gelu", False), config["embed_dim"]
    with torch.device("meta"):
        image: Any = _build_vision_tower(dimensions, config["vision_cfg"], quick)
        texts: Any = None
        if not config["text_cfg"].get("hf_model_name"):
            texts = _build_text_tower(dimensions, config["text_cfg"], quick)
    side, cell = config["vision_cfg"].get("image_size", 224), tower_for(image).cell
    height, width = (side, side) if isinstance(side, int) else side
    return {
        "image": sum(p.numel() for p in image.parameters()),
        "text": None if texts is None else sum(p.numel() for p in texts.parameters()),
        "grid": [height // cell[0], width // cell[1]],
    }


def _config(name: str) -> Any:
    import open_clip

    return open_clip.get_model_config(name)


def _tower(vision: Mapping[str, Any]) -> str:
    if timm := vision.get("timm_model_name"):
        return str(timm)
    return "ModifiedResNet" if isinstance(vision.get("layers"), list) else "VisionTransformer"


def _activation(name: str, tag: str, config: Mapping[str, Any]) -> str:
    import open_clip

    said = open_clip.get_pretrained_cfg(name, tag)
    return "QuickGELU" if said.get("quick_gelu", config.get("quick_gelu", False)) else "GELU"


def _times(pair: Any) -> str:
    return f"{pair[0]} x {pair[1]}"
