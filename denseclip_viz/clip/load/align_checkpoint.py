"""ALIGN of transformers, from a folder or the download cache, as the same kind of loaded model as open_clip's."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denseclip_viz.clip.load.architectures import Source
from denseclip_viz.clip.load.bert_tokens import BertTokens
from denseclip_viz.clip.load.checkpoints import Loaded, choose_device, choose_dtype, settle
from denseclip_viz.clip.load.image_processor import FILES, read_preprocess
from denseclip_viz.clip.load.pretrained import SEED, Weights, choose_weights
from denseclip_viz.clip.load.provenance import activation_of, describe_preprocess, versions
from denseclip_viz.clip.load.weights import first_line, hash_start, misfit, read_shapes, says_random
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.towers import Align
from denseclip_viz.errors import ModelNameError, WeightsError

PREFIX, CONFIG = "align:", "config.json"
_HUB_NAME = re.compile(r"\w(-?[\w.])*/\w(-?[\w.])*")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZERS = ("tokenizer.json", "vocab.txt")
# Settings that change what transformers hands out or how, not what is computed.
_MANNERS = ("output_hidden_states", "output_attentions", "return_dict", "attn_implementation", "_attn_implementation")
_SAVED_TOO = {"text_model.embeddings.position_ids"}  # counted up anew in every model; older files hold them
_UNBUILDABLE = (TypeError, LookupError, ValueError, RuntimeError, AttributeError, ArithmeticError)


def is_align(name: object) -> bool:
    """Say whether a name means an ALIGN: it starts with "align:", or is a folder whose config.json says so.

    Example:
        >>> is_align("align:kakaobrain/align-base"), is_align("ViT-B-16")
        (True, False)
    """
    if not isinstance(name, str | os.PathLike):
        return False
    text = os.fsdecode(name)
    if text.startswith(PREFIX):
        return True
    file = Path(text) / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if text and file.is_file() else {}
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "align"


def load_align(
    name: str | os.PathLike[str],
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    cache_dir: str | None = None,
    **switches: Any,
) -> Loaded:
    """Load an `AlignModel` with its tokenizer and preprocessing; nothing is downloaded, and no code is run.

    In fp64 texts are exact to 1e-6 only: transformers computes their softmax in fp32.

    Args:
        name: "align:OWNER/NAME" from the download cache, "align:FOLDER", or the folder. It holds config.json,
            model.safetensors, the tokenizer and preprocessor_config.json.
        pretrained: Another weights file, or "random" (seed 0); the folder's own by default.
        device: As for `load_clip`.
        dtype: As for `load_clip`.
        cache_dir: Where the hub's files are kept.
        **switches: The switches of `load_clip`, none of which is for ALIGN.

    Raises:
        ModelNameError: transformers is not installed, no such model, or one that is no ALIGN.
        WeightsError: Weights that are not here, are broken, or of another architecture.
        GeometryError: Preprocessing that cannot be followed exactly.
        OutOfMemoryError: The model does not fit.

    Example:
        >>> load_align("align:no/such/folder")
        Traceback (most recent call last):
        denseclip_viz.errors.ModelNameError: There is no folder 'no/such/folder'. Expected ...
    """
    _refuse(switches)
    where = choose_device(device)
    kind = choose_dtype(dtype, where)
    source = _find(os.fspath(name).removeprefix(PREFIX), cache_dir)
    assert source.folder is not None
    preprocess, tokenizer = read_preprocess(source.folder), BertTokens(source.folder)
    weights = choose_weights(source, pretrained, cache_dir=cache_dir)
    clip = _build(source, weights, tokenizer, kind)
    settle(clip, where, kind)
    tokenizer.context_length = clip.context_length
    provenance: dict[str, str | int] = {
        "model": source.name,
        "weights": weights.label,
        "weights_hash": hash_start(weights.file) if weights.file else f"random-{SEED}",
        "activation": activation_of(clip),
        "preprocess": describe_preprocess(preprocess),
        "dtype": str(kind).removeprefix("torch."),
        "device": str(where),
        "preset": "none",
        "switches": "none",
        "random_weights": int(weights.file is None or says_random(weights.file)),
        "versions": f"{versions()} · transformers {importlib.import_module('transformers').__version__}",
    }
    return Loaded(clip, tokenizer, preprocess, provenance)


def _refuse(switches: dict[str, Any]) -> None:
    """The switches say what published code did to CLIP; on ALIGN they would change nothing, or something else."""
    if asked := [name for name, value in switches.items() if value is not None]:
        got = f"{asked[0]}={switches[asked[0]]!r} for an ALIGN"
        raise ModelNameError(got, expected="device, dtype, pretrained or cache_dir", fix=f"Leave {asked[0]} out.")


def _find(text: str, cache_dir: str | None) -> Source:
    """The folder itself, or the snapshot in the download cache; transformers is there, and it is an ALIGN."""
    if importlib.util.find_spec("transformers") is None:
        got, fix = f"ALIGN ({text}) needs the package transformers", 'pip install "denseclip_viz[transformers]"'
        raise ModelNameError(got, expected="it to be installed", fix=f"{fix}.")
    folder, name = Path(text), Path(text).resolve().name
    if not (text and folder.is_dir()):
        if not _HUB_NAME.fullmatch(text):
            got, expected = f"There is no folder {text!r}", "a folder with an ALIGN, or OWNER/NAME of the hub"
            raise ModelNameError(got, expected=expected, fix="Check the path.")
        folder, name = _snapshot(text, cache_dir), text
    return Source(name, f"{PREFIX}{text}", _config(folder / CONFIG), folder)


def _snapshot(repo: str, cache_dir: str | None) -> Path:
    """The cached files of a repository; each is looked for, since a download that was cut leaves some."""
    from huggingface_hub import try_to_load_from_cache

    folder = None
    for names in ((CONFIG,), FILES, _TOKENIZERS, _WEIGHTS):
        paths = [try_to_load_from_cache(repo, name, cache_dir=cache_dir) for name in names]
        here = [path for path in paths if isinstance(path, str)]
        if not here:
            got = f"The file {names[0]} of {repo} is not in the download cache, and nothing is downloaded unasked"
            fix = f"Fetch the model once with `hf download {repo}`, or pass a folder: align:FOLDER."
            raise WeightsError(got, expected="the whole model in the cache", fix=fix)
        folder = folder or Path(here[0]).parent
    assert folder is not None
    return folder


def _config(file: Path) -> dict[str, Any]:
    expected = "a configuration of an AlignModel, as transformers writes it"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        got = f"The folder {file.parent} has no {CONFIG} that can be read ({error.strerror})"
        raise ModelNameError(got, expected=expected, fix="Check the path.") from error
    except ValueError as error:
        raise ModelNameError(f"{file} is no JSON ({first_line(error)})", expected=expected, fix="Copy it.") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "align":
        got = f"{file} describes a model of the type {kind!r}"
        raise ModelNameError(got, expected=f"{expected} (model_type 'align')", fix="Name the folder of an ALIGN.")
    return {key: _plain(value) for key, value in config.items() if key not in _MANNERS}


def _plain(value: Any) -> Any:
    return {key: each for key, each in value.items() if key not in _MANNERS} if isinstance(value, dict) else value


def _build(source: Source, weights: Weights, tokenizer: BertTokens, kind: torch.dtype) -> Align:
    """As the configuration says, with the weights put in; the caller's random state is left as it was."""
    shapes = read_shapes(weights.file) if weights.file else {}
    guard = memory_guard("the size of the model")
    with guard, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        model = _empty(source)
        if weights.file:
            _fill(model, weights.file, shapes, source.name)
        model.to(torch.float64 if kind == torch.float64 else torch.float32)  # then the scale's logarithm is as exact
        clip = Align(model, pad=tokenizer.pad_token_id, context_length=tokenizer.context_length)
    _check(clip, tokenizer, source.name)
    return clip


def _empty(source: Source) -> Any:
    from transformers import AlignConfig, AlignModel

    unbuildable: tuple[type[Exception], ...] = (*_UNBUILDABLE, *_strict_errors())
    try:
        return AlignModel(AlignConfig.from_dict(dict(source.config)))
    except unbuildable as error:
        got = f"The configuration in {source.folder} describes no model ({first_line(error)})"
        raise ModelNameError(
            got, expected="what transformers can build", fix="Compare it with the original."
        ) from error


def _strict_errors() -> tuple[type[Exception], ...]:
    """What newer versions raise on settings of the wrong type; older ones have no name for it."""
    from huggingface_hub import errors

    kind = getattr(errors, "StrictDataclassError", None)
    return (kind,) if kind else ()


def _check(clip: Align, tokenizer: BertTokens, name: str) -> None:
    """What a configuration can say, and yet no text could be read or compared with an image."""
    if clip.widths[0] != clip.widths[1]:
        got = f"The image tower of {name} makes {clip.widths[0]} numbers and its text tower {clip.widths[1]}"
        raise ModelNameError(got, expected="vectors of one space", fix="Make projection_dim the image tower's width.")
    if tokenizer.size > clip.words:
        got = f"The tokenizer of {name} has {tokenizer.size} tokens and its text tower {clip.words}"
        raise ModelNameError(got, expected="the tokenizer that it was trained with", fix="Copy the model's own.")
    if not bool(clip.logit_scale.isfinite()):
        got = f"The temperature of {name} is zero, negative or not finite"
        raise WeightsError(got, expected="a number above 0", fix="Check the checkpoint.")


def _fill(model: nn.Module, file: Path, shapes: dict[str, tuple[int, ...]], name: str) -> None:
    import open_clip

    mine = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    missing, unexpected = mine.keys() - shapes, shapes.keys() - mine - _SAVED_TOO
    if missing or unexpected or any(shapes[key] != shape for key, shape in mine.items()):
        raise misfit(file, name, shapes, missing, unexpected, mine)
    state = open_clip.factory.load_state_dict(str(file), weights_only=True)
    model.load_state_dict({key: tensor for key, tensor in state.items() if key in mine})
