"""What a model is made from: an architecture of open_clip by name, or a folder with a configuration."""

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from denseclip_viz.clip.load.transformers_config import ADAPTER, CONFIG, KINDS, describe_folder, type_of
from denseclip_viz.clip.load.transformers_towers import Part
from denseclip_viz.errors import ModelNameError
from denseclip_viz.validation import readable

_FOLDER = "local-dir:"
CONFIG_FILE = "open_clip_config.json"


@dataclass(frozen=True)
class Source:
    """An architecture: the name that people read, its configuration, and the folder that it is from.

    The rest is of folders of transformers, as in `transformers_config.Described`.
    """

    name: str
    config: Mapping[str, Any]
    folder: Path | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    prepared: str = ""
    notes: tuple[str, ...] = ()


def find_source(name: str | os.PathLike[str]) -> Source:
    """Find the architecture behind a name of open_clip, or in a folder as open_clip or transformers writes it.

    Example:
        >>> find_source("ViT-B/32").name
        'ViT-B-32'
    """
    import open_clip

    if not isinstance(name, str | os.PathLike):
        got, fix = f"The model name came as {type(name).__name__}", 'Pass "ViT-B-16", say.'
        if isinstance(name, tuple):  # what clip.load and open_clip.create_model_and_transforms give
            fix = "Pass the model itself, which comes first in it, and its transform as preprocess=."
        raise ModelNameError(got, expected="a string, or a model in memory", fix=fix)
    text = os.path.expanduser(os.fspath(name))
    cleaned = text.replace("/", "-")
    if cleaned in open_clip.list_models():
        return Source(cleaned, open_clip.get_model_config(cleaned))
    if text.startswith(_FOLDER) or (text.strip() and os.path.isdir(text)):
        return _folder_source(Path(text.removeprefix(_FOLDER)).expanduser())
    raise _unknown(text, cleaned, open_clip.list_models())


def holds_config(folder: Path) -> bool:
    """Say whether a folder describes a model, as open_clip or as transformers does.

    Example:
        >>> holds_config(Path("no/such/folder"))
        False
    """
    return (folder / CONFIG_FILE).is_file() or type_of(folder) in KINDS


def names_of(source: Source) -> list[str]:
    """Name the models of open_clip that a source is: its own name, or for a folder those of its configuration."""
    import open_clip

    if source.folder is None:
        return [source.name]
    written = json.dumps(source.config, sort_keys=True, default=str)
    return list(_names_with(written, tuple(open_clip.list_models())))


@lru_cache(maxsize=32)  # each question copies every configuration of open_clip, which takes as long as a small model
def _names_with(written: str, names: tuple[str, ...]) -> tuple[str, ...]:
    import open_clip

    return tuple(name for name in names if json.dumps(open_clip.get_model_config(name), sort_keys=True) == written)


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


def fetch_again(file: Path) -> str:
    """Say how to get a damaged file anew: for one of the download cache, the command, since the cache is asked first.

    Example:
        >>> fetch_again(Path("weights.pt"))
        'Copy or download it again.'
    """
    from huggingface_hub import constants

    repo, inside, cache = hub_place(file)
    if not repo:
        return "Copy or download it again."
    where = "" if Path(constants.HF_HUB_CACHE) == cache else f" --cache-dir {cache}"
    return f"Fetch it again: `hf download {repo} {inside} --force-download{where}`."


def _folder_source(folder: Path) -> Source:
    file, name = folder / CONFIG_FILE, hub_place(folder)[0] or folder.resolve().name
    if not file.is_file() and any((folder / other).is_file() for other in (CONFIG, ADAPTER)):
        return Source(name, folder=folder, **vars(describe_folder(folder)))
    expected = f"a folder with an {CONFIG_FILE} and a weights file, as open_clip writes them, or one of transformers"
    try:
        read = json.loads(readable(file).read_text(encoding="utf-8"))
        config, preprocess = read["model_cfg"], dict(read.get("preprocess_cfg") or {})
        dict(config["vision_cfg"]), dict(config["text_cfg"]), int(config["embed_dim"])
    except OSError as error:
        got = f"The folder {folder} has no {CONFIG_FILE} that can be read ({error.strerror})"
        raise ModelNameError(got, expected=expected, fix="Check the path.") from error
    except (ValueError, LookupError, TypeError) as error:
        got = f"{file} is no model description ({type(error).__name__}: {error})"
        fix = "It needs model_cfg with embed_dim, vision_cfg and text_cfg."
        fix = fetch_again(file) if isinstance(error, ValueError) else fix
        raise ModelNameError(got, expected=expected, fix=fix) from error
    return Source(name, config, folder, preprocess)


def _unknown(text: str, cleaned: str, names: list[str]) -> ModelNameError:
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[hit] for hit in difflib.get_close_matches(cleaned[:80].lower(), by_lower, n=4, cutoff=0.5)]
    fix = f"The closest names: {', '.join(close)}." if close else "models() lists them."
    if text.strip("/").count("/") == 1:
        fix = f'For a repository of the hub write "hf-hub:{text[:80]}". {fix}'
    expected = f"one of open_clip's {len(names)} model names, a folder with an {CONFIG_FILE}, or hf-hub:OWNER/NAME"
    return ModelNameError(f"There is no model {text[:80]!r}", expected=expected, fix=fix)
