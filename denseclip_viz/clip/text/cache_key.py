"""What a text vector depends on, and where vectors are kept on disk."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from denseclip_viz.clip.text.encode import context_length
from denseclip_viz.clip.text.tokenize import Tokenizer, token_ids
from denseclip_viz.errors import OutputError, PromptError

VARIABLE = "DENSECLIP_VIZ_CACHE"
FORMAT = "1"  # of the vectors: a new one leaves the old rows unread
_OFF = ("", "0", "off", "no", "false")
_ON = ("1", "on", "yes", "true")
_FACTS = ("model", "weights_hash", "activation", "switches", "dtype")
_SAMPLE = 1024  # numbers of each tensor
# Letters in two cases, accents, digits, marks, white space, entities, scripts: where tokenizers differ, it shows here.
_PROBES = ("A photo of the Orange-Tree's  leaves!", "naïve ÉCOLE 3.14 &amp; a_b <b>", "고양이 猫 кошка 🐈", "")

Cache = bool | str | os.PathLike[str] | None
"""Where vectors are kept: a folder, False for nowhere, None for the default place."""


def cache_folder(cache: Cache = None) -> Path | None:
    """Find the folder for vectors: what was asked for, else the variable DENSECLIP_VIZ_CACHE, else the system's own.

    Args:
        cache: A folder, False for none, None for the default.

    Returns:
        The folder, which may not be there yet, or None: nothing is kept.

    Raises:
        OutputError: Something else.

    Example:
        >>> cache_folder(False) is None, cache_folder("here").name
        (True, 'here')
    """
    if cache is False:
        return None
    if isinstance(cache, str | os.PathLike) and str(cache):
        return Path(cache).expanduser()
    if cache is not None and cache is not True:
        expected = "a folder, False for none, or None for the default"
        raise OutputError(f"cache={cache!r}"[:80], expected=expected, fix="Leave it out, or name a folder.")
    setting = os.environ.get(VARIABLE, "on").strip()
    if setting.lower() in _OFF:
        return None
    if setting.lower() not in _ON:
        return Path(setting).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("denseclip_viz", appauthor=False)


def identity(clip: nn.Module, tokenizer: Tokenizer, provenance: Mapping[str, str | int]) -> dict[str, str]:
    """List everything that the vector of a text depends on.

    Versions are not among it: what they would change shows in the weights that are read and the ids that are made.

    Args:
        clip: The model.
        tokenizer: Its tokenizer.
        provenance: What `load_clip` says of it.

    Returns:
        Names and values: model, hash of the weights' file, activation, switches, dtype, kind of device, and prints of
        the text tower's numbers and of the tokenizer's behaviour.
    """
    return {
        "format": FORMAT,
        **{name: str(provenance.get(name, "")) for name in _FACTS},
        "device": next(clip.parameters()).device.type,
        "tower": weights_print(clip),
        "tokenizer": tokenizer_print(tokenizer, context_length(clip, tokenizer)),
    }


def weights_print(clip: nn.Module) -> str:
    """Hash a sample of every tensor of the text tower: other weights show, whatever their file was called.

    A training step changes all of them; a change of a few single numbers by hand may go unseen (`TextBank.clear` and
    `cache=False` are for that).

    Example:
        >>> weights_print(nn.Linear(2, 2)) == weights_print(nn.Linear(2, 2))
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(clip.state_dict().items()):
        if not name.startswith(("visual.", "logit_")):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(_sample(tensor))
    return digest.hexdigest()


def tokenizer_print(tokenizer: Tokenizer, length: int) -> str:
    """Hash what a tokenizer is and what it makes of texts in which tokenizers differ.

    `length` is how many tokens are read.
    """
    cut = getattr(getattr(tokenizer, "reduction_fn", None), "__name__", "")
    facts: list[object] = [type(tokenizer).__qualname__, length, cut]
    facts += [getattr(inside, "vocab_size", None) for inside in (tokenizer, getattr(tokenizer, "tokenizer", None))]
    facts += [_probe(tokenizer, text, length) for text in _PROBES]
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _probe(tokenizer: Tokenizer, text: str, length: int) -> list[int] | str:
    try:
        return [int(number) for number in token_ids(tokenizer, [text], context=length, truncate=True)[0]]
    except PromptError as error:  # of a script that the tokenizer has no pieces for
        return error.got


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    taken = flat[:: max(1, len(flat) // _SAMPLE)].contiguous().cpu()
    return taken.view(torch.uint8).numpy().tobytes() if taken.numel() else b""
