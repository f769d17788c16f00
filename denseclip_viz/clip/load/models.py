"""The models of open_clip in one table: what each is, and which of them a checkpoint would fit."""

from __future__ import annotations

import copy
import fnmatch
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from denseclip_viz.clip.load.source import find_source, tags_of
from denseclip_viz.clip.text.text_towers import trimming_of_config
from denseclip_viz.errors import ModelNameError, UnsupportedTowerError

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("models.json")
UNSUPPORTED = "not supported"
# Names in a checkpoint that are no parameters of a tower; OpenAI's archives carry the last three.
_NO_PARAMETERS = frozenset(
    "running_mean running_var num_batches_tracked position_ids attn_mask logit_scale logit_bias"
    " input_resolution context_length vocab_size".split()
)


class ModelFacts(TypedDict):
    """What a configuration describes; sizes are `[height, width]`, in pixels and in cells.

    There is no number of parameters for a text tower that transformers makes; `text` says what its tokens attend to and
    where the vector is taken, `trimmed` whether padding is left out, `needs` the package that it is from.
    """

    family: str
    tower: str
    image_size: list[int]
    grid: list[int]
    embed_dim: int
    image_parameters: int
    text_parameters: int | None
    text: str
    trimmed: bool
    needs: str


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
        >>> import denseclip_viz as dcv
        >>> dcv.models("RN50x4").loc["RN50x4", ["pooling", "grid"]].tolist()
        ['ResNet attention pool', '9 x 9']
    """
    import pandas as pd

    known = known_models(pattern) if isinstance(pattern, str) else {}
    rows = {name: _row(name, facts) for name, facts in known.items()}
    if not rows:
        got = f"No model of open_clip is named {pattern!r}"
        raise ModelNameError(got, expected="a name or a pattern such as 'ViT-B*'", fix="models() lists all.")
    table: pd.DataFrame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")
    return table


def known_models(pattern: str = "*") -> dict[str, ModelFacts]:
    """Give the facts of every image model of open_clip by name, in open_clip's order.

    They are those of models.json, which `tests/make_models.py` writes; what is not in there is built for it.

    Example:
        >>> known_models("RN50x4")["RN50x4"]["image_size"]
        [288, 288]
    """
    import open_clip

    table = _table()
    names = [name for name in open_clip.list_models() if fnmatch.fnmatchcase(name, pattern)]
    # of these alone: for each that it is asked for, open_clip copies all that it has
    new = {name: open_clip.get_model_config(name) for name in names if name not in table}
    table = table | {name: describe(config) for name, config in new.items() if "vision_cfg" in config}
    return {name: table[name] for name in names if name in table}


def describe(config: Mapping[str, Any]) -> ModelFacts:
    """Build both towers of a configuration on torch's device for shapes alone, and say what they are; a second or two.

    Example:
        >>> import open_clip
        >>> describe(open_clip.get_model_config("ViT-S-32-alt"))["grid"]
        [7, 7]
    """
    import torch
    from open_clip.model import _build_text_tower, _build_vision_tower

    config = copy.deepcopy(dict(config))
    vision, text, dimensions = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    trimming, quick = trimming_of_config(config), config.get("quick_gelu", False)
    with torch.device("meta"):
        image: Any = _build_vision_tower(dimensions, vision, quick)
        texts: Any = None if text.get("hf_model_name") else _build_text_tower(dimensions, text, quick)
    family, cell = _family_of(image)
    sides = vision.get("image_size", 224)
    sides = [sides, sides] if isinstance(sides, int) else list(sides)
    resnet = "ModifiedResNet" if isinstance(vision.get("layers"), list) else "VisionTransformer"
    return {
        "family": family,
        "tower": vision.get("timm_model_name", resnet),
        "image_size": sides,
        "grid": [side // step for side, step in zip(sides, cell, strict=False)],
        "embed_dim": dimensions,
        "image_parameters": sum(p.numel() for p in image.parameters()),
        "text_parameters": None if texts is None else sum(p.numel() for p in texts.parameters()),
        "text": trimming.kind,
        "trimmed": trimming.exact,
        "needs": "transformers" if text.get("hf_model_name") or text.get("hf_tokenizer_name") else "",
    }


def fitting_models(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Name the models of open_clip whose two towers have as many parameters as a checkpoint: few others share both.

    Of two that differ in the activation alone the plain one: sizes cannot tell, and its loading warns.

    Example:
        >>> fitting_models({"text_projection": (512, 512)})
        []
    """
    counts = [0, 0]
    for key, shape in shapes.items():
        if key.rpartition(".")[2] not in _NO_PARAMETERS:
            counts[not key.startswith("visual.")] += math.prod(shape)
    known = known_models().items()
    fits = [name for name, facts in known if [facts["image_parameters"], facts["text_parameters"]] == counts]
    return [name for name in fits if name.removesuffix("-quickgelu") not in {*fits} - {name}]


@cache
def _table() -> dict[str, ModelFacts]:
    table: dict[str, ModelFacts] = json.loads(TABLE.read_text("utf-8"))
    return table


def _family_of(image: Any) -> tuple[str, Sequence[int]]:
    from denseclip_viz.clip.towers import tower_for

    try:
        tower = tower_for(image)
    except UnsupportedTowerError:
        return UNSUPPORTED, ()
    return tower.family, tower.cell


def _row(name: str, facts: ModelFacts) -> dict[str, Any]:
    image, text = facts["image_parameters"], facts["text_parameters"]
    return {
        "pooling": facts["family"],
        "tower": facts["tower"],
        "pixels": " x ".join(map(str, facts["image_size"])),
        "grid": " x ".join(map(str, facts["grid"])),
        "dimensions": facts["embed_dim"],
        "image_parameters": round(image / 1e6, 1),
        "text_parameters": None if text is None else round(text / 1e6, 1),
        "text": facts["text"],
        "trimmed": facts["trimmed"],
        "tags": _tags(name),
        "needs": facts["needs"],
    }


def _tags(name: str) -> str:
    """List the tags, each with the activation that its weights want."""
    tags = tags_of(find_source(name)).items()
    return ", ".join(f"{tag} ({'QuickGELU' if config['quick_gelu'] else 'GELU'})" for tag, config in tags)
