"""The models that can be named: open_clip's, in one table, and folders with a configuration."""

from __future__ import annotations

import copy
import difflib
import fnmatch
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from denseclip_viz.clip.text.text_towers import trimming_of_config
from denseclip_viz.errors import ModelNameError, UnsupportedTowerError

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("models.json")
UNSUPPORTED = "not supported"
_FOLDER = "local-dir:"
CONFIG_FILE = "open_clip_config.json"
_OPENAI_REPOS = {
    "openai/clip-vit-base-patch32": "ViT-B-32",
    "openai/clip-vit-base-patch16": "ViT-B-16",
    "openai/clip-vit-large-patch14": "ViT-L-14",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336",
}
OF_TRANSFORMERS = (
    "CLIPModel and SiglipModel of transformers are not read: take the name and tag of open_clip for the same weights, "
    'as "ViT-B-32", pretrained="openai" for openai/clip-vit-base-patch32.'
)
# Names in a checkpoint that are no parameters of a tower; OpenAI's archives carry the last three.
_NO_PARAMETERS = frozenset(
    "running_mean running_var num_batches_tracked position_ids attn_mask logit_scale logit_bias"
    " input_resolution context_length vocab_size".split()
)


@dataclass(frozen=True)
class Source:
    """An architecture: the name that people read, its configuration, and the folder that it is from."""

    name: str
    config: Mapping[str, Any]
    folder: Path | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)


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
        >>> models("RN50x4").loc["RN50x4", ["pooling", "grid"]].tolist()
        ['ResNet attention pool', '9 x 9']
    """
    import pandas as pd

    rows = {name: _row(name, facts) for name, facts in known_models(pattern).items()}
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

    names = [name for name in open_clip.list_models() if fnmatch.fnmatchcase(name, pattern)]
    configs = {name: open_clip.get_model_config(name) for name in names}
    return {name: _table().get(name) or describe(config) for name, config in configs.items() if "vision_cfg" in config}


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

    Example:
        >>> fitting_models({"text_projection": (512, 512)})
        []
    """
    counts = [0, 0]
    for key, shape in shapes.items():
        if key.rpartition(".")[2] not in _NO_PARAMETERS:
            counts[not key.startswith("visual.")] += math.prod(shape)
    known = known_models().items()
    return [name for name, facts in known if [facts["image_parameters"], facts["text_parameters"]] == counts]


def find_source(name: str | os.PathLike[str]) -> Source:
    """Find the architecture behind a name of open_clip or a folder with an `open_clip_config.json`.

    Example:
        >>> find_source("ViT-B/32").name
        'ViT-B-32'
    """
    import open_clip

    if not isinstance(name, str | os.PathLike):
        got, fix = f"The model name came as {type(name).__name__}", 'Pass "ViT-B-16", say.'
        if callable(getattr(name, "state_dict", None)):
            fix = 'Save its state_dict() as .safetensors, and load the name of its architecture with pretrained="FILE".'
        raise ModelNameError(got, expected="a string", fix=fix)
    text = os.path.expanduser(os.fspath(name))
    cleaned = text.replace("/", "-")
    if cleaned in open_clip.list_models():
        return Source(cleaned, open_clip.get_model_config(cleaned))
    if text.startswith(_FOLDER) or (text.strip() and os.path.isdir(text)):
        return _folder_source(Path(text.removeprefix(_FOLDER)).expanduser())
    raise _unknown(text, cleaned, open_clip.list_models())


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
        "tags": _tags(find_source(name)),
        "needs": facts["needs"],
    }


def hub_place(path: Path) -> tuple[str, str, Path | None]:
    """Say where a path of the hub's download cache is: the repository, the path in it, the cache; else ("", "", None).

    Example:
        >>> hub_place(Path("/hub/models--timm--vit/snapshots/0a1b/config.json"))
        ('timm/vit', 'config.json', ...Path('/hub'))
    """
    path = path.absolute()
    for place in path.parents:
        if place.name == "snapshots" and place.parent.name.startswith("models--"):
            repo = place.parent.name.removeprefix("models--").replace("--", "/")
            return repo, "/".join(path.relative_to(place).parts[1:]), place.parent.parent
    return "", "", None


def names_of(source: Source) -> list[str]:
    """Name the models of open_clip that a source is: its own name, or for a folder those of its configuration."""
    import open_clip

    if source.folder is None:
        return [source.name]
    return [name for name in open_clip.list_models() if open_clip.get_model_config(name) == source.config]


def tags_of(source: Source) -> dict[str, dict[str, Any]]:
    """Give what the open_clip that is installed knows of each tag of a name, with what it takes where a tag is silent.

    Example:
        >>> tags_of(find_source("RN50x4"))["openai"]["quick_gelu"]
        True
    """
    import open_clip
    from open_clip.transform import PreprocessCfg

    silent = asdict(PreprocessCfg()) | {"quick_gelu": source.config.get("quick_gelu", False)}
    pairs = [(name, tag) for name in names_of(source) for tag in open_clip.list_pretrained_tags_by_model(name)]
    return {tag: silent | open_clip.get_pretrained_cfg(name, tag) for name, tag in pairs}


def _tags(source: Source) -> str:
    """List the tags, each with the activation that its weights want."""
    tags = tags_of(source).items()
    return ", ".join(f"{tag} ({'QuickGELU' if config['quick_gelu'] else 'GELU'})" for tag, config in tags)


def _folder_source(folder: Path) -> Source:
    file = folder / CONFIG_FILE
    expected = f"a folder with an {CONFIG_FILE} and a weights file, as open_clip writes them"
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        config, preprocess = read["model_cfg"], dict(read.get("preprocess_cfg") or {})
        dict(config["vision_cfg"]), dict(config["text_cfg"]), int(config["embed_dim"])
    except OSError as error:
        got = f"The folder {folder} has no {CONFIG_FILE} that can be read ({error.strerror})"
        fix = f"A model of transformers? {OF_TRANSFORMERS}" if (folder / "config.json").is_file() else "Check the path."
        raise ModelNameError(got, expected=expected, fix=fix) from error
    except (ValueError, LookupError, TypeError) as error:
        got = f"{file} is no model description ({type(error).__name__}: {error})"
        fix = "It needs model_cfg with embed_dim, vision_cfg and text_cfg."
        raise ModelNameError(got, expected=expected, fix=fix) from error
    return Source(hub_place(folder)[0] or folder.resolve().name, config, folder, preprocess)


def _of_hub(repo: str) -> str:
    """Say which name and tag of open_clip hold the weights of a repository of the hub, if there are."""
    import open_clip

    if repo in _OPENAI_REPOS:
        return f'open_clip has its weights: "{_OPENAI_REPOS[repo]}", pretrained="openai".'
    for name, tag in open_clip.list_pretrained():
        if open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "").strip("/") == repo:
            return f'open_clip has its weights: "{name}", pretrained="{tag}".'
    return ""


def _unknown(text: str, cleaned: str, names: list[str]) -> ModelNameError:
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[hit] for hit in difflib.get_close_matches(cleaned[:80].lower(), by_lower, n=4, cutoff=0.5)]
    fix = f"The closest names: {', '.join(close)}." if close else "denseclip-viz models lists them."
    if os.path.isfile(text):
        fix = f"For a checkpoint, name its architecture first and pass pretrained={text!r}."
    elif known := _of_hub(text.removeprefix("hf-hub:")):
        fix = known
    elif text.startswith("hf-hub:"):
        command = f"hf download {text.removeprefix('hf-hub:')}"
        fix = f"`{command}` prints a folder: pass that one, if it holds an {CONFIG_FILE}."
    expected = f"one of open_clip's {len(names)} model names, or a folder with an {CONFIG_FILE}"
    return ModelNameError(f"There is no model {text[:80]!r}", expected=expected, fix=fix)
