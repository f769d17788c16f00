"""From what a user names to an architecture: a name of open_clip, or a folder with a configuration."""

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denseclip_viz.errors import ModelNameError

_FOLDER = "local-dir:"
_CONFIG_FILE = "open_clip_config.json"


@dataclass(frozen=True)
class Source:
    """An architecture: the name that people read, its configuration, and the folder that it is from."""

    name: str
    config: Mapping[str, Any]
    folder: Path | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)


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
        return Source(cleaned, open_clip.get_model_config(cleaned))
    if text.startswith(_FOLDER) or (text.strip() and os.path.isdir(text)):
        return _folder_source(Path(text.removeprefix(_FOLDER)))
    raise _unknown(text, cleaned, open_clip.list_models())


def _folder_source(folder: Path) -> Source:
    file = folder / _CONFIG_FILE
    expected = f"a folder with an {_CONFIG_FILE} and a weights file, as open_clip writes them"
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        config, preprocess = read["model_cfg"], dict(read.get("preprocess_cfg") or {})
        dict(config["vision_cfg"]), dict(config["text_cfg"]), int(config["embed_dim"])
    except OSError as error:
        got = f"The folder {folder} has no {_CONFIG_FILE} that can be read ({error.strerror})"
        raise ModelNameError(got, expected=expected, fix="Check the path.") from error
    except (ValueError, LookupError, TypeError) as error:
        got = f"{file} is no model description ({type(error).__name__}: {error})"
        fix = "It needs model_cfg with embed_dim, vision_cfg and text_cfg."
        raise ModelNameError(got, expected=expected, fix=fix) from error
    return Source(folder.resolve().name, config, folder, preprocess)


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
