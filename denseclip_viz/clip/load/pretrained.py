"""What `pretrained=` means: a tag from the cache or the network, a file, a folder's own, or random."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseclip_viz.clip.load import hub
from denseclip_viz.clip.load.source import CONFIG_FILE, Source, hub_place, tags_of
from denseclip_viz.clip.load.weights import ENDINGS, local_file
from denseclip_viz.errors import ModelNameError, WeightsError

SEED = 0
"""Where random weights start, so that two people who ask for them see the same model."""

_WAYS_OUT = 'pass a file with pretrained="FILE.safetensors", or pretrained="random" to try the mechanics only.'


@dataclass(frozen=True)
class Weights:
    """Which weights: their label, the file (None: random), and what open_clip knows of the tag."""

    label: str
    file: Path | None
    tag: Mapping[str, Any]


def choose_weights(
    source: Source, pretrained: str | os.PathLike[str] | None, *, cache_dir: str | None = None
) -> Weights:
    """Say which weights `pretrained=` means: a tag, then a file, as in open_clip; "random"; None: a folder's own.

    Raises:
        ModelNameError: No such tag.
        WeightsError: Nothing named, a file that is not here, a tag that cannot be had.

    Example:
        >>> from denseclip_viz.clip.load.source import find_source
        >>> choose_weights(find_source("RN50"), "random").label
        'random (seed 0)'
    """
    import open_clip

    if pretrained is None:
        return _own_weights(source)
    if not isinstance(pretrained, str | os.PathLike):
        got = f"pretrained came as {type(pretrained).__name__}"
        raise WeightsError(got, expected=_choices(source), fix="Pass a string or a path.")
    text = os.path.expanduser(os.fspath(pretrained))
    if text == "random":
        return Weights(f"random (seed {SEED})", None, {})
    if source.folder is None and open_clip.is_pretrained_cfg(source.name, text):
        tag = tags_of(source)[text]
        return Weights(text, tag_file(tag, model=f"{source.name} ({text})", cache_dir=cache_dir), tag)
    if os.sep in text or text.lower().endswith(ENDINGS) or (text and os.path.exists(text)):
        file = local_file(text)
        return Weights(file.name, file, {})
    got = f"{source.name} has no pretrained tag {text[:80]!r}"
    elsewhere = open_clip.list_pretrained_models_by_tag(text)
    close = difflib.get_close_matches(text[:80].lower(), _tags(source), n=2)
    fix = f"The closest: {', '.join(close)}." if close else "Check the tag, or the file's ending."
    if elsewhere:
        fix = f"The tag belongs to {', '.join(elsewhere[:4])}."
    raise ModelNameError(got, expected=_choices(source), fix=fix)


def tag_file(config: Mapping[str, Any], *, model: str, cache_dir: str | None = None) -> Path:
    """Give the weights file of a pretrained tag, from the cache or else from the hub, which has all of open_clip's.

    Raises:
        WeightsError: The file is not here and cannot be had.
    """
    repo, names = _hub_names(config)
    if repo:
        return hub.Repository(repo, model, _WAYS_OUT, cache_dir=cache_dir).fetch(names)
    got = f"open_clip knows the weights of {model} by their address only ({config.get('url')})"
    fix = f"Download it, and {_WAYS_OUT}"
    raise WeightsError(got, expected="a repository of the hub", fix=fix)


def _own_weights(source: Source) -> Weights:
    """Choose no weights in silence: only a folder that holds one file has an answer of its own."""
    if source.folder is None:
        got = f"No weights were named for {source.name}"
        fix = 'Pass pretrained="random" to try the mechanics.'
        raise WeightsError(got, expected=_choices(source), fix=fix)
    if hub_place(source.folder)[0] and not hub.holds_weights(source.folder):
        hub.complete(source.folder)
    if not (source.folder / CONFIG_FILE).is_file():
        own = [source.folder / name for name in hub.OF_TRANSFORMERS if (source.folder / name).is_file()]
        if own:
            return Weights(own[0].name, own[0] if own[0].suffix == ".json" else local_file(own[0]), {})
    files = sorted(file for file in source.folder.iterdir() if file.suffix.lower() in ENDINGS)
    named = [file for file in files if file.stem.startswith("open_clip_")]
    best = [file for file in named or files if file.suffix == ".safetensors"] or named or files
    if len(best) != 1:
        listed = ", ".join(file.name for file in best)
        what = f"{len(best)} weights files ({listed})" if best else "no weights file"
        fix = 'Pass pretrained="FILE", or pretrained="random".'
        raise WeightsError(f"The folder {source.folder} has {what}", expected="one", fix=fix)
    return Weights(best[0].name, local_file(best[0]), {})


def _tags(source: Source) -> list[str]:
    import open_clip

    return [] if source.folder else list(open_clip.list_pretrained_tags_by_model(source.name))


def _choices(source: Source) -> str:
    listed = f"one of its tags ({', '.join(_tags(source))}), " if _tags(source) else ""
    return f'{listed}a checkpoint file ({", ".join(ENDINGS)}), or "random"'


def _hub_names(config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Name the repository and the files that open_clip would take from it, in its order: safetensors first."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repo, name = os.path.split(config.get("hf_hub", ""))
    if not name:
        return repo, [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    stem, ending = os.path.splitext(name)
    return repo, [f"{stem}.safetensors", name] if ending in (".bin", ".pth") else [name]
