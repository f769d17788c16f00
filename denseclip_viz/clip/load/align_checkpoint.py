"""ALIGN of transformers, from a folder or the download cache, as the same kind of loaded model as open_clip's."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denseclip_viz.clip.load import hub
from denseclip_viz.clip.load.checkpoints import Loaded, building, choose_device, choose_dtype, describe_model, settle
from denseclip_viz.clip.load.image_processor import preprocess_in
from denseclip_viz.clip.load.pretrained import choose_weights
from denseclip_viz.clip.load.source import Source, hub_place
from denseclip_viz.clip.load.transformers_config import read_config, require_transformers, type_of, unbuildable
from denseclip_viz.clip.load.weights import Checkpoint, misfit, read_checkpoint, require_finite
from denseclip_viz.clip.towers import Align
from denseclip_viz.errors import ModelNameError, WeightsError, first_line
from denseclip_viz.files import read_json

PREFIX = "align:"
_TOKENIZERS = ("tokenizer.json", "vocab.txt")
# Settings that change what transformers hands out or how, not what is computed.
_MANNERS = ("output_hidden_states", "output_attentions", "return_dict", "attn_implementation", "_attn_implementation")
_SAVED_TOO = {"text_model.embeddings.position_ids"}  # counted up anew in every model; older files hold them


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
    return bool(text) and type_of(Path(text)) == "align"


def load_align(
    name: str | os.PathLike[str],
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    cache_dir: str | None = None,
) -> Loaded:
    """Load an `AlignModel` with its tokenizer and preprocessing; no code of its own is run.

    In fp64 texts are exact to 1e-6 only: transformers computes their softmax in fp32. The folder of "align:FOLDER"
    holds config.json, model.safetensors, the tokenizer and preprocessor_config.json; options are those of
    `denseclip_viz.load`.

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
    where = choose_device(device)
    kind = choose_dtype(dtype, where)
    source = _find(os.path.expanduser(os.fspath(name).removeprefix(PREFIX)), cache_dir)
    assert source.folder is not None
    preprocess, tokenizer = preprocess_in(source.folder), read_tokenizer(source.folder)
    weights = choose_weights(source, pretrained, cache_dir=cache_dir)
    checkpoint = read_checkpoint(weights.file) if weights.file else None
    clip = _build(source, checkpoint, tokenizer, kind)
    settle(clip, where, kind)
    if checkpoint:
        require_finite(clip, checkpoint.file)
    tokenizer.context_length = clip.context_length
    provenance = describe_model(clip, source.name, weights, preprocess, kind, where, "transformers")
    provenance["notes"] = ", ".join(checkpoint.notes if checkpoint else ()) or "none"
    return Loaded(clip, tokenizer, preprocess, provenance)


def _find(text: str, cache_dir: str | None) -> Source:
    """Find the folder itself, or the snapshot of the hub; transformers is there, and it is an ALIGN."""
    require_transformers(f"ALIGN ({text})")
    folder, name = Path(text), hub_place(Path(text))[0] or Path(text).resolve().name
    if not (text and folder.is_dir()):
        if text.count("/") != 1 or text.startswith("."):
            got, expected = f"There is no folder {text!r}", "a folder with an ALIGN, or OWNER/NAME of the hub"
            raise ModelNameError(got, expected=expected, fix="Check the path.")
        folder, name = hub.folder_of(text, cache_dir=cache_dir), text.partition("@")[0]
    config = read_config(folder, "align")
    return Source(name, {key: _plain(value) for key, value in config.items() if key not in _MANNERS}, folder)


def _plain(value: Any) -> Any:
    return {key: each for key, each in value.items() if key not in _MANNERS} if isinstance(value, dict) else value


def _build(source: Source, checkpoint: Checkpoint | None, tokenizer: Any, kind: torch.dtype) -> Align:
    """Build what the configuration describes, with the weights put in; the caller's random state is left as it was."""
    with building(drawn=checkpoint is None):
        model = _empty(source)
        if checkpoint:
            _fill(model, checkpoint, source.name)
        model.to(torch.float64 if kind == torch.float64 else torch.float32)  # then the scale's logarithm is as exact
        clip = Align(model, pad=tokenizer.tokenizer.pad_token_id, context_length=tokenizer.context_length)
    _check(clip, tokenizer, source.name)
    return clip


def _empty(source: Source) -> Any:
    from transformers import AlignConfig, AlignModel

    try:
        return AlignModel(AlignConfig.from_dict(dict(source.config)))
    except unbuildable() as error:
        got = f"The configuration in {source.folder} describes no model ({first_line(error)})"
        fix = "Compare it with the original."
        raise ModelNameError(got, expected="what transformers can build", fix=fix) from error


def _check(clip: Align, tokenizer: Any, name: str) -> None:
    """Refuse a configuration with which no text could be read or compared with an image."""
    if clip.widths[0] != clip.widths[1]:
        got = f"The image tower of {name} makes {clip.widths[0]} numbers and its text tower {clip.widths[1]}"
        raise ModelNameError(got, expected="vectors of one space", fix="Make projection_dim the image tower's width.")
    if (size := len(tokenizer.tokenizer)) > clip.words:
        got = f"The tokenizer of {name} has {size} tokens and its text tower {clip.words}"
        raise ModelNameError(got, expected="the tokenizer that it was trained with", fix="Copy the model's own.")
    if not bool(clip.logit_scale.isfinite()):
        got = f"The temperature of {name} is zero, negative or not finite"
        raise WeightsError(got, expected="a number above 0", fix="Check the checkpoint.")


def _fill(model: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    mine = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    state = {key: tensor for key, tensor in checkpoint.tensors.items() if key not in _SAVED_TOO - mine.keys()}
    if {key: tuple(tensor.shape) for key, tensor in state.items()} != mine:
        raise misfit(checkpoint, name, mine)
    model.load_state_dict(state)


def read_tokenizer(folder: Path) -> Any:
    """Read the BERT tokenizer of a folder as one of open_clip's; texts are read as typed, as ALIGN's own are."""
    from open_clip.tokenizer import HFTokenizer

    if not any((folder / name).is_file() for name in _TOKENIZERS):
        fix = "Save it there: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        got = f"The folder {folder} holds no tokenizer"
        raise ModelNameError(got, expected=" or ".join(_TOKENIZERS), fix=fix)
    expected, fix = "a BERT tokenizer, as transformers writes it", "Copy the model's own."
    try:
        kind = read_json(folder / "tokenizer_config.json").get("tokenizer_class", "BertTokenizer")
        # read here first: the tokenizers' own reader has no error of its own
        if "model" not in read_json(folder / _TOKENIZERS[0], model=None):
            raise LookupError(f"{_TOKENIZERS[0]} says nothing of its model")
        if kind in ("BertTokenizer", "BertTokenizerFast"):
            # by its type: else the model's whole configuration is read for it, and refused in another voice
            tokenizer = HFTokenizer(str(folder), tokenizer_type="bert", local_files_only=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        got = f"The tokenizer in {folder} cannot be read ({first_line(error)})"
        raise ModelNameError(got, expected=expected, fix=fix) from error
    if kind not in ("BertTokenizer", "BertTokenizerFast"):
        raise ModelNameError(f"The tokenizer in {folder} is a {kind!r}", expected=expected, fix=fix)
    own = tokenizer.tokenizer
    tokenizer.clean_fn, tokenizer.context_length = str, int(own.model_max_length)
    frame = [own.cls_token_id, own.sep_token_id]
    if None in (*frame, own.pad_token_id) or tokenizer("a", 3)[0, ::2].tolist() != frame:
        got = f"The tokenizer in {folder} does not frame a text as BERT does"
        raise ModelNameError(got, expected="[CLS], the text, [SEP], and a token for padding", fix=fix)
    return tokenizer
