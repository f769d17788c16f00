"""What `pretrained=` means: a tag from the cache or the network, a file, a folder's own, or random."""

import difflib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from denseclip_viz.clip.load.shards import INDEX
from denseclip_viz.clip.load.source import CONFIG_FILE, Source, tags_of
from denseclip_viz.clip.load.weights import ENDINGS, local_file
from denseclip_viz.errors import ModelNameError, WeightsError, first_line

SEED = 0
"""Where random weights start, so that two people who ask for them see the same model."""

_WAYS_OUT = (
    'Connect once and call again, pass a file with pretrained="FILE.safetensors", '
    'or pass pretrained="random" to try the mechanics only.'
)
_WAYS_TO_PARTS = (
    "Connect once and call again, or load a folder that holds the tokenizer and whose hf_model_name "
    "is a folder with the config.json."
)
# In the order in which transformers takes them.
_OF_TRANSFORMERS = tuple(
    f"{name}{index}" for name in ("model.safetensors", "pytorch_model.bin") for index in ("", INDEX)
)
_FAILURES = ("HTTPError", "RevisionResolutionError", "XetDownloadError", "EntryNotFoundError")
_BESIDE_A_VOCABULARY = ("config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")


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
    """Give the weights file of a pretrained tag, from the cache or else from the network.

    Raises:
        WeightsError: The file is not here and nobody answers (known within seconds), or the download failed.
    """
    import open_clip

    repo, names = _hub_names(config)
    if cached := _cached(repo, names, cache_dir):
        return cached
    wanted = f"{repo}/{names[0]}" if repo else os.path.basename(config.get("url", ""))
    require_answer("" if repo else config.get("url", ""), wanted=wanted, model=model)
    with _downloading(wanted, model, _WAYS_OUT):
        if not repo:
            return Path(open_clip.download_pretrained(dict(config), cache_dir=cache_dir))
        return _download_first(repo, names, cache_dir)


def hub_folder(repo: str, names: Sequence[str], *, model: str, cache_dir: str | None = None) -> Path:
    """Give the folder of the download cache with the first of these files, and any one of the others if there are.

    Raises:
        WeightsError: They are not here, and nobody answers (known within seconds), or the download failed.
    """
    from huggingface_hub import snapshot_download

    first, *others = names
    file = _cached(repo, [first], cache_dir)
    if file and (not others or any((file.parent / name).exists() for name in others)):
        return file.parent
    require_answer("", wanted=f"{repo}/{first}", model=model, fix=_WAYS_TO_PARTS)
    with _downloading(f"{repo}/{first}", model, _WAYS_TO_PARTS):
        beside = _BESIDE_A_VOCABULARY if others else ()
        return Path(snapshot_download(repo, allow_patterns=[*names, *beside], cache_dir=cache_dir))


def require_answer(url: str, *, wanted: str, model: str, timeout: float = 3.0, fix: str = _WAYS_OUT) -> None:
    """Make sure that somebody listens at the host of a URL (the hub's when empty), or at the proxy before it."""
    from huggingface_hub import constants

    host = "/".join((url or constants.ENDPOINT).split("/")[:3])
    got = f"The file {wanted} for {model} is not on this machine, and "
    expected = "the file in the download cache, or a network"
    if constants.HF_HUB_OFFLINE and not url:
        fix = fix.replace("Connect once", "Unset HF_HUB_OFFLINE")
        raise WeightsError(f"{got}HF_HUB_OFFLINE is set", expected=expected, fix=fix)
    if why := _silence(host, timeout):
        raise WeightsError(f"{got}{host} does not answer ({why})", expected=expected, fix=fix)


@contextmanager
def _downloading(wanted: str, model: str, fix: str) -> Iterator[None]:
    """Say what went wrong at the bottom of it; the hub's own summary of it names no cause."""
    from huggingface_hub import errors

    # of httpx or requests, as the hub is built on; two have no base of their own
    failures = tuple(getattr(errors, name) for name in _FAILURES if hasattr(errors, name))
    try:
        yield
    except (OSError, RuntimeError, ValueError, HTTPException, *failures) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        if status in (401, 403):
            fix = f"If the repository asks for it, accept its terms on its page and run `hf auth login`. {fix}"
        got = f"The download of {wanted} for {model} failed ({first_line(cause)})"
        raise WeightsError(got, expected="the whole file", fix=fix) from error


def _download_first(repo: str, names: Sequence[str], cache_dir: str | None) -> Path:
    """Download the first of these files that the repository has: only where it has none, the next is asked for."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names[:-1]:
        try:
            return Path(hf_hub_download(repo, name, cache_dir=cache_dir))
        except LocalEntryNotFoundError:  # it could not be asked
            raise
        except EntryNotFoundError:
            continue
    return Path(hf_hub_download(repo, names[-1], cache_dir=cache_dir))


def _own_weights(source: Source) -> Weights:
    """Choose no weights in silence: only a folder that holds one file has an answer of its own."""
    if source.folder is None:
        got = f"No weights were named for {source.name}"
        fix = 'Pass pretrained="random" to try the mechanics.'
        raise WeightsError(got, expected=_choices(source), fix=fix)
    if not (source.folder / CONFIG_FILE).is_file():
        own = [source.folder / name for name in _OF_TRANSFORMERS if (source.folder / name).is_file()]
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


def _cached(repo: str, names: list[str], cache_dir: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(repo, name, cache_dir=cache_dir) for name in names if repo)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def _silence(host: str, timeout: float) -> str:
    """Say why nobody listens there, or "". In a thread, since looking up a name knows no time limit."""
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(_connect(host, timeout)), daemon=True)
    asking.start()
    asking.join(timeout)
    return answers[0] if answers else f"nothing within {timeout:g} seconds"


def _connect(host: str, timeout: float) -> str:
    """Open a connection and close it: certificates and slow answers are the downloading client's own matter."""
    try:
        url = urlsplit(host)
        proxies = {} if proxy_bypass(url.hostname or "") else getproxies()
        proxy = proxies.get(url.scheme) or proxies.get("all", "")
        url = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else url
        port = url.port or (443 if url.scheme == "https" else 80)
        socket.create_connection((url.hostname or "", port), timeout).close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or first_line(error))
    return ""
