"""What a weights file is, told by its first bytes whatever it is called, and what it holds."""

import re
import struct
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from denseclip_viz.clip.load.archive import read_archive
from denseclip_viz.clip.load.source import fetch_again
from denseclip_viz.errors import WeightsError, first_line, silenced
from denseclip_viz.validation import readable

_START = 512
_PAGE = "Download the file itself, not the page about it."
_PACKED = "Unpack it, and pass the checkpoint that is in it."
_OTHER = "Pass the weights that torch or safetensors wrote; from other formats take the model's original."
# The bytes at a place, what they say, and what to do.
_FOREIGN = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), what, fix)
    for pattern, what, fix in (
        (rb"\s*version https://git-lfs", "the pointer of git-lfs to a file, not the file", "Run `git lfs pull` there."),
        (rb"\s*(<!doctype|<html|<\?xml)", "a web page", _PAGE),
        (rb"\x1f\x8b", "a gzip archive", _PACKED),
        (rb"BZh\d|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!|\x28\xb5\x2f\xfd", "a packed archive", _PACKED),
        (rb".{257}ustar", "a tar archive", _PACKED),
        (rb"GGUF|lmgg|tjgg", "a GGUF file of llama.cpp", _OTHER),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write", _OTHER),
        (rb".{4}TFL3", "a model of TensorFlow Lite", _OTHER),
        (rb"\x08\x01\x12.*(MetaGraph|saved_model|serve)", "a SavedModel of TensorFlow", _OTHER),
        (rb"\x08[\x01-\x20](\x12|:)", "an ONNX model", _OTHER),
        (rb"\x93NUMPY", "an array of NumPy", _OTHER),
    )
)
# What readers raise on bytes that are no checkpoint; they have no error of their own for that.
_UNREADABLE = (
    RuntimeError, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, NotImplementedError, struct.error, zipfile.BadZipFile, SafetensorError,
)  # fmt: skip


def refuse_foreign(file: Path) -> bytes:
    """Refuse a file whose first bytes say that it is of another kind, by the name of the kind; else give them.

    Raises:
        WeightsError: A web page, an archive, ONNX, …; or a file that may not be read.
    """
    try:
        with readable(file).open("rb") as stream:
            start = stream.read(_START)
    except OSError as error:
        got = f"{file} cannot be opened ({error.strerror})"
        raise WeightsError(got, expected="a file that may be read", fix="Check its permissions.") from error
    for mark, what, fix in _FOREIGN:
        if mark.match(start):
            raise WeightsError(f"{file} is {what}", expected="a whole checkpoint file", fix=fix)
    return start


def read_file(file: Path) -> Any:
    """Read what a file holds, tensors mapped where they can be; nothing in it is run.

    Archives of torch, TorchScript among them, are read by `archive.read_archive`, what torch wrote before them by torch
    with `weights_only=True`.

    Raises:
        WeightsError: The file is broken, of another kind, or an old one that holds objects.
    """
    start = refuse_foreign(file)
    is_header = start[8:9] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size
    try:
        # readers remark on what they read all the same, or refuse: protocols, escapes in names
        with silenced(), file.open("rb") as stream:
            if is_header:
                return load_file(file)
            if start.startswith(b"PK"):
                return read_archive(file)
            if file.suffix.lower() == ".safetensors" and not start.startswith(b"\x80"):
                return load_file(file)
            return torch.load(stream, map_location="cpu", weights_only=True)  # by its path torch would go by its ending
    except UnpicklingError as error:
        raise _refused(file, error) from error
    except _UNREADABLE as error:
        raise _broken(file, first_line(error)) from error


def _refused(file: Path, error: UnpicklingError) -> WeightsError:
    """Say what a reader did not take; of torch's own message, which is long, the one line that matters."""
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        got = f"{file.name}, in the format before torch 1.6, holds Python objects ({match[1]}) beside tensors"
        fix = "Where you trust it, read it once and save only its state dict as .safetensors."
        return WeightsError(got, expected="tensors only, as reading objects could run code", fix=fix)
    match = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    return _broken(file, match[1] if match else first_line(error))


def _broken(file: Path, why: str) -> WeightsError:
    got = f"{file} ({file.stat().st_size} bytes) cannot be read as a checkpoint ({why})"
    return WeightsError(got, expected="a whole checkpoint file", fix=fetch_again(file))
