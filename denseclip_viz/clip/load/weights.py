"""Weights files: what they hold, what is wrong with them, and putting them into a model."""

import hashlib
import os
import re
import struct
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from denseclip_viz.clip.load.models import fitting_models
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.errors import WeightsError

ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}  # what OpenAI's archives carry beside them
# What torch's reader raises on bytes that are no checkpoint; it has no error of its own for that.
_UNREADABLE = (
    RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip

Shapes = dict[str, tuple[int, ...]]


def local_file(path: str | os.PathLike[str]) -> Path:
    """Give the path of a checkpoint that is there, holds something, and has an ending that says how to read it."""
    file = Path(path)
    expected = f"a checkpoint ending in {', '.join(ENDINGS)}"
    if not os.path.isfile(file):
        what = "is a folder" if os.path.isdir(file) else "does not exist"
        raise WeightsError(f"The checkpoint {file} {what}", expected=expected, fix="Check the path.")
    if file.suffix.lower() not in ENDINGS:
        got = f"The checkpoint {file.name} ends in {file.suffix or 'nothing'}"
        raise WeightsError(got, expected=expected, fix="Save the state dict as .safetensors.")
    if not file.stat().st_size:
        raise WeightsError(f"{file.name} is empty (0 bytes)", expected="weights", fix="Copy or download it again.")
    return file


def read_shapes(file: Path) -> Shapes:
    """Read the shape of each tensor of a checkpoint, without its wrapper and its "module." prefixes.

    Nothing in the file is run: pickles are read with `weights_only=True`.

    Raises:
        WeightsError: The file is broken, holds code, is a TorchScript archive, or holds no named tensors.
    """
    shapes = _safetensors_shapes(file) if file.suffix.lower() == ".safetensors" else _pickled_shapes(file)
    if next(iter(shapes)).startswith("module"):
        return {key[len("module.") :]: shape for key, shape in shapes.items()}
    return shapes


def load_into(clip: nn.Module, file: Path, *, shapes: Shapes, name: str) -> str:
    """Put a checkpoint of these shapes into a new model, as `open_clip.load_checkpoint` does: all tensors or none.

    Returns:
        What was changed on the way ("positional embedding resized …"), or "".

    Raises:
        WeightsError: Of another architecture: the message names keys, and models that would fit.

    Warns:
        UserWarning: The positional embedding had another length and was resized.
    """
    import open_clip

    try:
        with memory_guard("the size of the model"), _no_remarks():
            keys = open_clip.load_checkpoint(clip, str(file), strict=False, weights_only=True)
    except (RuntimeError, LookupError, AttributeError, TypeError, ValueError, AssertionError) as error:
        mine = {key: tuple(tensor.shape) for key, tensor in clip.state_dict().items()}
        raise misfit(file, name, shapes, mine.keys() - shapes, shapes.keys() - mine, mine) from error
    unexpected = set(keys.unexpected_keys) - _NOT_WEIGHTS
    if keys.missing_keys or unexpected:
        raise misfit(file, name, shapes, keys.missing_keys, unexpected, {})
    return _resized(clip, shapes, file, name)


def hash_start(file: Path) -> str:
    """Give the first 16 hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()[:16]


def says_random(file: Path) -> bool:
    """Say whether a safetensors file says of itself, in its header, that its weights are random.

    Saved with `save_file(tensors, file, metadata={"weights": "random"})`: then figures and tables say so too.
    """
    if file.suffix.lower() != ".safetensors":
        return False
    with safe_open(file, framework="pt") as opened:
        return (opened.metadata() or {}).get("weights") == "random"


def first_line(error: BaseException) -> str:
    """Give what an error says, in one line of at most 150 characters.

    Example:
        >>> first_line(EOFError()), first_line(ValueError("of 3"))
        ('EOFError', 'of 3')
    """
    return (str(error).strip().splitlines() or [""])[0][:150] or type(error).__name__


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Silence the reader's remarks on pickle protocols that it reads without fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _safetensors_shapes(file: Path) -> Shapes:
    try:
        with safe_open(file, framework="pt") as archive:
            shapes = {key: tuple(archive.get_slice(key).get_shape()) for key in archive.keys()}
    except (SafetensorError, OSError) as error:
        raise _broken(file, error) from error
    return shapes or _no_tensors(file, "nothing")


def _pickled_shapes(file: Path) -> Shapes:
    try:
        zipped = _is_zip(file)
        with _no_remarks():
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except UnpicklingError as error:
        raise _holds_code(file, error) from error
    except _UNREADABLE as error:
        raise _broken(file, error) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state:
        return _no_tensors(file, f"a {type(state).__name__}{' of nothing' if isinstance(state, dict) else ''}")
    others = [f"{key} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        return _no_tensors(file, _some(others))
    return {str(key): tuple(tensor.shape) for key, tensor in state.items()}


def _is_zip(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            got = f"{file.name} is a TorchScript archive, which is code and not only weights"
            fix = "Save its state dict once: save_file(torch.jit.load(FILE).state_dict(), NEW), or use the tag."
            raise WeightsError(got, expected="a state dict, best as .safetensors", fix=fix)
    return True


def _broken(file: Path, error: BaseException) -> WeightsError:
    match = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    why = match[1] if match else first_line(error)
    got = f"{file.name} ({file.stat().st_size} bytes) cannot be read as a checkpoint ({why})"
    return WeightsError(got, expected="a whole checkpoint file", fix="Copy or download it again.")


def _holds_code(file: Path, error: UnpicklingError) -> WeightsError:
    match = re.search(r"GLOBAL (\S+)", str(error))
    if not match:
        return _broken(file, error)
    got = f"{file.name} holds Python objects ({match[1]}) beside tensors, and reading it could run code"
    fix = "Where you trust it, read it once and save only its state dict as .safetensors."
    return WeightsError(got, expected="tensors only", fix=fix)


def _no_tensors(file: Path, got: str) -> Shapes:
    expected = "tensors by name, at the top or under state_dict"
    raise WeightsError(f"{file.name} holds {got}", expected=expected, fix="Save model.state_dict().")


def misfit(
    file: Path, name: str, shapes: Shapes, missing: Iterable[str], unexpected: Iterable[str], mine: Shapes
) -> WeightsError:
    """Make the error for a checkpoint of another architecture: its keys, and the models that it would fit.

    `shapes` are the file's, `mine` the model's, to find those that differ; may be empty.
    """
    differ = [key for key in shapes if mine.get(key, shapes[key]) != shapes[key]]
    other = [f"{key} {shapes[key]} instead of {mine[key]}" for key in differ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    differences = "; ".join(f"{what}: {_some(keys)}" for what, keys in parts if keys)
    fits = [model for model in fitting_models(shapes) if model != name]
    fix = f"Its tensors have the sizes of {_some(fits)}: pass that name." if fits else "Name the model it was made for."
    return WeightsError(f"{file.name} does not fit {name} ({differences})", expected=f"the weights of {name}", fix=fix)


def _resized(clip: nn.Module, shapes: Shapes, file: Path, name: str) -> str:
    """Warn of tables that open_clip resizes without a word: the model is then not the one that was trained."""
    notes = []
    for key, tensor in clip.state_dict().items():
        if key.endswith("positional_embedding") and key in shapes and shapes[key] != tuple(tensor.shape):
            notes.append(f"{key} resized from {shapes[key][0]} to {tensor.shape[0]} rows")
    if notes:
        message = f"{file.name} was made for another input size than {name}: {', '.join(notes)}."
        warnings.warn(message, UserWarning, stacklevel=4)
    return ", ".join(notes)


def _some(keys: Iterable[str], most: int = 3) -> str:
    listed = sorted(keys)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest
