"""What some text towers need beside weights: the package transformers, a configuration, a tokenizer."""

import copy
import json
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from denseclip_viz.clip.load import hub
from denseclip_viz.clip.load.source import Source, fetch_again, hub_place
from denseclip_viz.clip.load.transformers_config import require_transformers
from denseclip_viz.clip.text.text_towers import HUGGING_FACE
from denseclip_viz.clip.text.tokenize import Tokenizer
from denseclip_viz.errors import ModelNameError, first_line

_HUB_NAME = re.compile(r"\w(-?[\w.])*(/\w(-?[\w.])*)?")
_ELSE_A_FOLDER = "load a folder that holds the tokenizer and whose hf_model_name is a folder with the config.json."
# What transformers and its readers raise on files that are no tokenizer; they have no error of their own for that.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError, AssertionError)


def text_config(source: Source, *, cache_dir: str | None = None) -> dict[str, Any]:
    """Make sure, before any weights are read, that the parts of a text tower are here or can be had.

    A folder's `hf_model_name` is a folder with a `config.json` (in it, or anywhere) or a name of the hub; its
    tokenizer lies in the folder itself, as open_clip writes it. What the hub's download cache has is taken from
    there without asking the network.

    Returns:
        The `text_cfg`, with the folders that are here in place of their names.

    Raises:
        ModelNameError: transformers is not installed, or a folder that is named, its configuration or its
            tokenizer is not there or cannot be used.
        WeightsError: A file of the hub that is not here and cannot be had.

    Example:
        >>> from denseclip_viz.clip.load.source import find_source
        >>> text_config(find_source("RN50"))["width"]
        512
    """
    text = dict(source.config["text_cfg"])
    model, words = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if not (model or words):
        return text
    require_transformers(f"The text tower of {source.name} ({model or words})")
    repository = partial(hub.Repository, model=source.name, otherwise=_ELSE_A_FOLDER, cache_dir=cache_dir)
    if model:
        folder = _local_folder(source, model) or repository(model).parts(_holds_config)
        _check_architecture(folder / "config.json")
        text |= {"hf_model_name": str(folder.resolve()), "hf_model_pretrained": False}
    if source.folder is not None and not _names_tokenizer_of_hub(source.folder, words):
        return text | {"hf_tokenizer_name": str(_with_tokenizer(source.folder, named=bool(words)))}
    if words:
        text["hf_tokenizer_name"] = str(repository(words).parts(_holds_tokenizer))
    return text


def read_tokenizer(text: Mapping[str, Any], *, cache_dir: str | None = None) -> Tokenizer:
    """Read a model's tokenizer, as `open_clip.get_tokenizer` does, which would set up the root logger for its steps."""
    from open_clip.tokenizer import HFTokenizer

    words, options = text.get("hf_tokenizer_name"), text.get("tokenizer_kwargs", {})
    options = {"context_length": text.get("context_length", 77), **options}
    as_typed = options.get("clean") == ""
    read: Tokenizer
    try:
        if as_typed:
            return _as_typed(HFTokenizer(words, **options | {"clean": "whitespace", "trust_remote_code": False}), text)
        if words:
            options |= {"trust_remote_code": False, "local_files_only": True}  # whatever a configuration wishes
            read = HFTokenizer(words, cache_dir=cache_dir, tokenizer_mode=text.get("tokenizer_mode"), **options)
        else:
            read = clips_own(**options)
    except _UNREADABLE as error:
        got = f"The tokenizer in {words or text} cannot be read ({first_line(error)})"
        fix = f"{_fetch_again(words)} A vocabulary of sentencepiece needs the packages sentencepiece and protobuf."
        raise ModelNameError(got, expected="files as transformers writes them", fix=fix) from error
    return read


def clips_own(**options: Any) -> Any:
    """Give CLIP's own tokenizer; its tables, which take longer than a small model, are built once for all of them."""
    read = copy.copy(_tables_of(json.dumps(options, sort_keys=True)))
    read.cache = dict(read.cache)  # the one thing that reading a text changes
    return read


@lru_cache(maxsize=8)
def _tables_of(options: str) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(**json.loads(options))


def _as_typed(tokenizer: Any, text: Mapping[str, Any]) -> Tokenizer:
    """Let texts be read as typed, as transformers does; refuse a tokenizer that is not that of the text tower."""
    own, size, eos = tokenizer.tokenizer, text["vocab_size"], text.get("eos_id")
    tokenizer.clean_fn = str
    wrong = {
        "has code of its own (auto_map), which is never run": bool(own.init_kwargs.get("auto_map")),
        "has no token for padding": own.pad_token_id is None,
        f"pads on the {own.padding_side}": own.padding_side != "right",
        f"has {len(own)} tokens for a text tower of {size}": len(own) > size,
    }
    if not any(wrong.values()):
        wrong = {f"ends no text with the token {eos}, where its vector is taken": eos not in (None, *tokenizer("a")[0])}
    if faults := [what for what, holds in wrong.items() if holds]:
        got = f"The tokenizer in {text['hf_tokenizer_name']} {faults[0]}"
        raise ModelNameError(got, expected="the tokenizer that it was trained with", fix="Copy the model's own.")
    read: Tokenizer = tokenizer
    return read


def _fetch_again(words: str | None) -> str:
    vocabularies = [Path(words or "") / name for name in hub.VOCABULARIES]
    return fetch_again(next((file for file in vocabularies if file.is_file()), vocabularies[0]))


def _local_folder(source: Source, model: object) -> Path | None:
    """Find a folder, which goes before a name of the hub as in transformers; one beside the model goes first."""
    places = [source.folder / str(model)] if source.folder else []
    for place in (*places, Path(str(model))):
        if place.is_dir():
            return place
    if isinstance(model, str) and _HUB_NAME.fullmatch(model):
        return None
    got = f"The configuration of {source.name} names {model!r} for its text tower, which is no folder here"
    expected, fix = "a folder with a config.json, or a name of the hub", "Check hf_model_name."
    raise ModelNameError(got, expected=expected, fix=fix)


def _check_architecture(file: Path) -> None:
    """Allow only what open_clip makes towers of; transformers would ask at the prompt to run a folder's own code."""
    expected = f"a configuration as transformers writes it, of one of {', '.join(HUGGING_FACE)}"
    try:
        kind = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except OSError as error:
        got = f"{file} cannot be read ({error.strerror})"
        raise ModelNameError(got, expected=expected, fix="Put it there.") from error
    except (ValueError, LookupError, TypeError) as error:
        got = f"{file} names no model_type ({type(error).__name__})"
        raise ModelNameError(got, expected=expected, fix=fetch_again(file)) from error
    if kind not in HUGGING_FACE:
        got = f"{file} describes a {kind!r}, of which open_clip makes no text tower"
        raise ModelNameError(got, expected=expected, fix="Take another model.")


def _names_tokenizer_of_hub(folder: Path, words: object) -> bool:
    """Say whether a repository of the hub brings no tokenizer of its own, and names another's."""
    return bool(words and hub_place(folder)[0]) and not _holds_words(folder) and not Path(str(words)).is_dir()


def _holds_config(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _holds_words(folder: Path) -> bool:
    return any((folder / name).is_file() for name in hub.VOCABULARIES)


def _holds_tokenizer(folder: Path) -> bool:
    return _holds_words(folder) and (folder / "tokenizer_config.json").is_file()


def _with_tokenizer(folder: Path, *, named: bool) -> Path:
    """Refuse a folder that names or holds no tokenizer: open_clip would read CLIP's own in silence."""
    if not named:
        got = f"{folder} describes a text tower of transformers and names no tokenizer"
        fix = "Set hf_tokenizer_name in its open_clip_config.json, and put the tokenizer's files beside it."
        raise ModelNameError(got, expected="the tokenizer that it was trained with", fix=fix)
    if not _holds_words(folder):
        got = f"{folder} holds no tokenizer, which its text tower needs"
        fix = "Save it there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        raise ModelNameError(got, expected=f"one of {', '.join(hub.VOCABULARIES)}", fix=fix)
    return folder
