"""What a value is, in sixteen bytes: models, functions, arrays, and objects of these."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from denseclip_viz.model import Model


def fingerprint(value: object) -> str:
    """Hash all that a value holds: numbers, texts, arrays, weights, functions, and objects of these.

    Example:
        >>> fingerprint({"a": torch.ones(2)}) == fingerprint({"a": torch.ones(2)}) != fingerprint({"a": torch.zeros(2)})
        True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """Give the bytes of a value, with its kind and length, so that no two values look alike."""
    yield f"{type(value).__qualname__}:".encode()
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, (Model, nn.Module)):
        yield from _parts([value.clip, value.provenance] if isinstance(value, Model) else value.state_dict())
    elif isinstance(value, Mapping):
        yield from _parts([item for pair in value.items() for item in pair])
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, FunctionType):
        defaults = [value.__defaults__, value.__kwdefaults__]
        yield from _parts([value.__module__, value.__qualname__, value.__code__, *defaults])
        yield from _parts([cell.cell_contents for cell in value.__closure__ or ()])
    elif isinstance(value, partial):  # what it holds is in none of its `vars`, as with the next
        yield from _parts([value.func, value.args, value.keywords])
    elif isinstance(value, MethodType):
        yield from _parts([value.__self__, value.__func__])
    elif isinstance(value, CodeType):
        yield from _parts([value.co_code, list(value.co_names), list(value.co_consts)])
    elif hasattr(value, "__dict__"):
        yield from _parts(vars(value))
    else:
        yield repr(value).encode()
