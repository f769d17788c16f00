"""What open_clip offers, read from its configurations alone: names, families, tags, what fits a file."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from denseclip_viz.errors import ModelNameError

RESNET, CLASS_TOKEN, OTHER = "ResNet attention pool", "ViT class token", "not supported"
AVERAGE, LATENT_QUERY = "average", "latent query"
_POOLS = {"tok": CLASS_TOKEN, "token": CLASS_TOKEN, "avg": AVERAGE, "map": LATENT_QUERY}
# How timm's models pool where a configuration leaves it to them.
_TIMM = {"convnext": "avg", "fastvit": "avg", "swin": "avg", "vitamin": "avg", "vit_medium_patch16_gap": "avg"}
_TIMM |= {"vit_relpos_medium_patch16_cls": "token", "vit": "", "eva": ""}
_FOLDER = "local-dir:"
_PARTS = {"vision_cfg", "text_cfg", "multimodal_cfg"}  # a model with further parts is no CLIP
_CONFIG_FILE = "open_clip_config.json"


class KnownModel(TypedDict):
    """One model name of open_clip; `image_size` is (height, width) in pixels."""

    name: str
    family: str
    image_size: tuple[int, int]
    embed_dim: int
    tags: tuple[str, ...]
    needs: str


@dataclass(frozen=True)
class Source:
    """An architecture: the name that people read, the one that open_clip is asked for, its configuration."""

    name: str
    handle: str
    config: Mapping[str, Any]
    folder: Path | None = None


def known_models() -> list[KnownModel]:
    """List every image model of open_clip with its family, in open_clip's order; nothing is built.

    Returns:
        One entry per name. `tags` are the pretrained weights there are; `needs` is "transformers" where the
        text tower or its tokenizer is from there, else "".

    Example:
        >>> [(m["family"], m["image_size"], m["embed_dim"]) for m in known_models() if m["name"] == "RN50x4"]
        [('ResNet attention pool', (288, 288), 640)]
    """
    import open_clip

    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return [_known(name, config) for name, config in configs.items() if "vision_cfg" in config]


def family_of(config: Mapping[str, Any]) -> str:
    """Say which kind of pooling a configuration of open_clip describes.

    Example:
        >>> family_of({"vision_cfg": {"layers": [3, 4, 6, 3]}})
        'ResNet attention pool'
    """
    vision = config["vision_cfg"]
    if {key for key in config if key.endswith("_cfg")} - _PARTS:
        return OTHER
    if name := vision.get("timm_model_name"):
        usual = next((pool for start, pool in _TIMM.items() if name.startswith(start)), None)
        return OTHER if usual is None else _POOLS.get(vision.get("timm_pool", "avg") or usual, OTHER)
    if vision.get("attentional_pool"):
        return LATENT_QUERY if vision["attentional_pool"] is True else OTHER
    if isinstance(vision.get("layers"), list | tuple):
        return RESNET
    return _POOLS.get(vision.get("pool_type", "tok"), OTHER)


def find_source(name: str | os.PathLike[str]) -> Source:
    """Find the architecture behind a name of open_clip or a folder with an `open_clip_config.json`.

    Raises:
        ModelNameError: There is neither; the message has the closest names.

    Example:
        >>> find_source("ViT-B/32").name
        'ViT-B-32'
    """
    import open_clip

    if not isinstance(name, str | os.PathLike):
        got = f"The model name came as {type(name).__name__}"
        raise ModelNameError(got, expected="a string", fix='Pass "ViT-B-16", say.')
    text = os.fspath(name)
    cleaned = text.replace("/", "-")
    if cleaned in open_clip.list_models():
        return Source(cleaned, cleaned, open_clip.get_model_config(cleaned))
    if text.startswith(_FOLDER) or (text.strip() and os.path.isdir(text)):
        return _folder_source(Path(text.removeprefix(_FOLDER)))
    raise _unknown(text, cleaned, open_clip.list_models())


def fitting_models(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Name the models of open_clip that the tensors of a checkpoint would fit, as far as their sizes tell.

    Args:
        shapes: The shape of each tensor by its name.

    Example:
        >>> fitting_models({"text_projection": (512, 512)})
        []
    """
    import open_clip

    try:
        wanted = _sizes_of_tensors(shapes)
    except (LookupError, ValueError):
        return []
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return [name for name, config in configs.items() if _sizes_of_config(config) == wanted]


def pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """Make (height, width) of a size as configurations give it.

    Example:
        >>> pair(224), pair([240, 320])
        ((224, 224), (240, 320))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _known(name: str, config: Mapping[str, Any]) -> KnownModel:
    import open_clip

    text = config.get("text_cfg", {})
    return KnownModel(
        name=name,
        family=family_of(config),
        image_size=pair(config["vision_cfg"].get("image_size", 224)),
        embed_dim=config["embed_dim"],
        tags=tuple(open_clip.list_pretrained_tags_by_model(name)),
        needs="transformers" if text.get("hf_model_name") or text.get("hf_tokenizer_name") else "",
    )


def _folder_source(folder: Path) -> Source:
    file = folder / _CONFIG_FILE
    expected = f"a folder with an {_CONFIG_FILE} and a weights file, as open_clip writes them"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
        dict(config["vision_cfg"]), dict(config["text_cfg"]), int(config["embed_dim"])
    except OSError as error:
        got = f"The folder {folder} has no {_CONFIG_FILE} that can be read ({error.strerror})"
        raise ModelNameError(got, expected=expected, fix="Check the path.") from error
    except (ValueError, LookupError, TypeError) as error:
        got = f"{file} is no model description ({type(error).__name__}: {error})"
        fix = "It needs model_cfg with embed_dim, vision_cfg and text_cfg."
        raise ModelNameError(got, expected=expected, fix=fix) from error
    return Source(folder.resolve().name, f"{_FOLDER}{folder}", config, folder)


def _unknown(text: str, cleaned: str, names: list[str]) -> ModelNameError:
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[hit] for hit in difflib.get_close_matches(cleaned[:80].lower(), by_lower, n=4, cutoff=0.5)]
    fix = f"The closest names: {', '.join(close)}." if close else "denseclip-viz models lists them."
    if os.path.isfile(text):
        fix = f"For a checkpoint, name its architecture first and pass pretrained={text!r}."
    elif text.startswith("hf-hub:"):
        fix = "Name the architecture and its tag, or download the repository and pass its folder."
    expected = f"one of open_clip's {len(names)} model names, or a folder with an {_CONFIG_FILE}"
    return ModelNameError(f"There is no model {text[:80]!r}", expected=expected, fix=fix)


def _sizes_of_config(config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    vision, text = config.get("vision_cfg"), config["text_cfg"]
    if vision is None or config.get("custom_text") or "hf_model_name" in text or "timm_model_name" in vision:
        return None
    if family_of(config) not in (RESNET, CLASS_TOKEN):
        return None
    side, layers = pair(vision.get("image_size", 224))[0], vision.get("layers", 12)
    resnet = isinstance(layers, list)
    depth = tuple(layers) if resnet else (layers,)
    patch = 32 if resnet else vision.get("patch_size", 16)
    usual = {"width": 512, "layers": 12, "context_length": 77, "vocab_size": 49408}
    said = (text.get(key, value) for key, value in usual.items())
    return config["embed_dim"], depth, vision.get("width", 768), patch, side // patch, *said


def _sizes_of_tensors(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, ...]:
    words, embed = shapes["text_projection"]
    said = words, _count(shapes, "transformer.resblocks."), *(shapes["positional_embedding"][:1])
    said = *said, shapes["token_embedding.weight"][0]
    if "visual.attnpool.positional_embedding" in shapes:
        depth = tuple(_count(shapes, f"visual.layer{stage}.") for stage in (1, 2, 3, 4))
        width, patch = shapes["visual.layer1.0.conv1.weight"][0], 32
        tokens = shapes["visual.attnpool.positional_embedding"][0]
    else:
        depth = (_count(shapes, "visual.transformer.resblocks."),)
        width, _, patch, _ = shapes["visual.conv1.weight"]
        tokens = shapes["visual.positional_embedding"][0]
    return embed, depth, width, patch, math.isqrt(max(tokens - 1, 0)), *said


def _count(shapes: Mapping[str, tuple[int, ...]], start: str) -> int:
    return len({key[len(start) :].split(".")[0] for key in shapes if key.startswith(start)})
