"""Options of the front door: as they should be, or an error that names the one that cannot be."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from denseclip_viz.errors import LayerError, PictureError, PromptError


def names(value: object, option: str) -> list[str]:
    """List the names that an option gives: one, or several.

    Raises:
        LayerError: something else.

    Example:
        >>> names("layer*", "layers"), names(("stem", "layer1"), "layers")
        (['layer*'], ['stem', 'layer1'])
    """
    value = value.tolist() if isinstance(value, np.ndarray) else value
    listed = [value] if isinstance(value, str) else _listed(value)
    if listed is None or not all(isinstance(name, str) for name in listed):
        expected = "a name or a list of names, as text"
        raise LayerError(f"{option}={reprlib.repr(value)}", expected=expected, fix="model.taps lists the names.")
    return [str(name) for name in listed]


def keys(kind: object) -> str:
    """Refuse a kind of keys that there is not.

    Raises:
        LayerError: neither `""`, `"key"` nor `"projected"`.

    Example:
        >>> keys("key")
        'key'
    """
    if not isinstance(kind, str) or kind not in ("", "key", "projected"):
        expected, fix = "'', 'key' or 'projected'", "keys='key' is the pool's own."
        raise LayerError(f"keys={reprlib.repr(kind)}", expected=expected, fix=fix)
    return kind


def batch(size: object) -> int:
    """Refuse a batch size that is no whole number of at least 1.

    Raises:
        LayerError: it is not.

    Example:
        >>> batch(8)
        8
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        came, expected = f"batch_size={reprlib.repr(size)}", "a whole number of at least 1"
        raise LayerError(came, expected=expected, fix="Try batch_size=8.")
    return size


def several(pictures: object) -> Iterable[object]:
    """Refuse one picture where several are due: a path would be read as letters, an array as rows.

    Raises:
        PictureError: one picture, or nothing that can be gone through.

    Example:
        >>> list(several(["cat.jpg"]))
        ['cat.jpg']
    """
    one = isinstance(pictures, str | bytes | os.PathLike) or not isinstance(pictures, Iterable)
    if one or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        came = f"one {type(pictures).__name__} where several pictures are due"
        fix = "Put it into a list, or call model.trace for one picture."
        raise PictureError(came, expected="a list of pictures, or an array (picture, row, column, rgb)", fix=fix)
    return pictures


def texts(value: object) -> list[str]:
    """List plain texts; what each of them may be is the tokenizer's to say.

    Raises:
        PromptError: one text without a list around it, or nothing that can be gone through.

    Example:
        >>> texts(("a cat", "grass"))
        ['a cat', 'grass']
    """
    value = value.tolist() if isinstance(value, np.ndarray) else value
    listed = None if isinstance(value, str) else _listed(value)
    if listed is None:
        came = f"texts came as {reprlib.repr(value)}"
        raise PromptError(came, expected="a list with at least one text", fix="Put the text into a list.")
    return listed


def pixels(value: object, size: tuple[int, int]) -> Tensor:
    """Refuse what is not a batch of preprocessed pictures of the model's own size.

    Raises:
        PictureError: no tensor `(picture, 3, H, W)` of floats.

    Example:
        >>> import torch
        >>> pixels(torch.zeros(2, 3, 32, 32), (32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """
    came = f"pixels as {type(value).__name__}"
    if isinstance(value, Tensor):
        came = f"pixels of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
        if value.is_floating_point() and value.shape[1:] == (3, *size) and len(value):
            return value
    expected = f"floats (picture, 3, {size[0]}, {size[1]}), preprocessed"
    raise PictureError(came, expected=expected, fix="model.trace(picture).pixels[None] is such a batch of one.")


def _listed(value: object) -> list[str] | None:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else None
