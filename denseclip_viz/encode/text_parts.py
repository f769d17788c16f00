"""What some text towers need beside weights: the package transformers, a configuration, a tokenizer."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from denseclip_viz.encode.catalogue import Source
from denseclip_viz.encode.pretrained import require_hub_file
from denseclip_viz.encode.text_towers import HUGGING_FACE
from denseclip_viz.errors import ModelNameError

_HUB_NAME = re.compile(r"\w(-?[\w.])*(/\w(-?[\w.])*)?")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def text_parts(source: Source, *, cache_dir: str | None = None) -> dict[str, Any]:
    """Makes sure, before any weights are read, that the parts of a text tower are here or can be had.

    A folder's `hf_model_name` is a folder with a `config.json` (in it, or anywhere), or a name of the hub; its
    tokenizer lies in the folder itself, as open_clip writes it.

    Args:
        source: The architecture.
        cache_dir: Where the hub's tokenizers are kept, as in open_clip.

    Returns:
        The `text_cfg` to build from, names of folders made absolute.

    Raises:
        ModelNameError: transformers is not installed, or a folder that is named, its configuration or its
            tokenizer is not there or cannot be used.
        WeightsError: A file of the hub that is not here, and nobody answers.

    Example:
        >>> from denseclip_viz.encode.catalogue import find_source
        >>> text_parts(find_source("RN50"))["width"]
        512
    """
    text = dict(source.config["text_cfg"])
    model, words = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if not (model or words):
        return text
    if importlib.util.find_spec("transformers") is None:
        came = f"The text tower of {source.name} ({model or words}) needs the package transformers"
        fix = 'pip install "denseclip_viz[transformers]", or take another model.'
        raise ModelNameError(came, expected="it to be installed", fix=fix)
    if source.folder is not None:
        _require_tokenizer(source.folder, named=bool(words))
    elif words:
        require_hub_file(words, "tokenizer_config.json", asked=source.name, cache_dir=cache_dir)
    if not model:
        return text
    folder = _local_folder(source, model)
    if folder is None:
        require_hub_file(model, "config.json", asked=source.name)
    return {**text, "hf_model_name": str(folder or model), "hf_model_pretrained": False}


def _local_folder(source: Source, model: object) -> Path | None:
    """A folder goes before a name of the hub, as in transformers; one inside the model's folder goes first."""
    places = [source.folder / str(model)] if source.folder else []
    for place in (*places, Path(str(model))):
        if place.is_dir():
            _check_architecture(place / "config.json")
            return place.resolve()
    if isinstance(model, str) and _HUB_NAME.fullmatch(model):
        return None
    came = f"The configuration of {source.name} names {model!r} for its text tower, which is no folder here"
    expected, fix = "a folder with a config.json, or a name of the hub", "Check hf_model_name."
    raise ModelNameError(came, expected=expected, fix=fix)


def _check_architecture(file: Path) -> None:
    expected = f"a configuration as transformers writes it, of one of {', '.join(HUGGING_FACE)}"
    try:
        kind = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except OSError as error:
        raise ModelNameError(
            f"{file} cannot be read ({error.strerror})", expected=expected, fix="Put it there."
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        came = f"{file} names no model_type ({type(error).__name__})"
        raise ModelNameError(came, expected=expected, fix="Copy it again.") from error
    if kind not in HUGGING_FACE:
        came = f"{file} describes a {kind!r}, of which open_clip makes no text tower"
        raise ModelNameError(came, expected=expected, fix="Take another model.")


def _require_tokenizer(folder: Path, *, named: bool) -> None:
    """open_clip reads a folder's tokenizer from the folder, and CLIP's own where none is named: never in silence."""
    if not named:
        came = f"{folder} describes a text tower of transformers and names no tokenizer"
        fix = "Set hf_tokenizer_name in its open_clip_config.json, and put the tokenizer's files beside it."
        raise ModelNameError(came, expected="the tokenizer that it was trained with", fix=fix)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        fix = "Save it there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        came = f"{folder} holds no tokenizer, which its text tower needs"
        raise ModelNameError(came, expected=f"one of {', '.join(_TOKENIZER_FILES)}", fix=fix)
