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

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, Tensor)
_Known = dict[int, int]
"""Functions, and objects that are being gone through, by their ids: one that names itself, or another twice, ends."""


def fingerprint(value: object) -> str:
    """Hash all that a value holds: numbers, texts, arrays, weights, functions, and objects of these.

    A function is its code, what it closes over, the functions of its module that it calls, and the constants of its
    module that it reads: plain values, tuples of them, and arrays. Lists, sets and mappings there are left out, as they
    may be memories that grow while it runs.

    Example:
        >>> fingerprint({"a": torch.ones(2)}) == fingerprint({"a": torch.ones(2)}) != fingerprint({"a": torch.zeros(2)})
        True
    """
    return _hashed(value, {})


def _hashed(value: object, known: _Known) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(value, known):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, known: _Known) -> Iterator[bytes]:
    """Give the bytes of a value, with its kind and length, so that no two values look alike."""
    yield f"{type(value).__qualname__}:".encode()
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield from _parts(value.tolist(), known) if value.dtype.hasobject else [value.tobytes()]
    elif isinstance(value, (Model, nn.Module)):
        yield from _parts([value.clip, value.provenance] if isinstance(value, Model) else value.state_dict(), known)
    elif isinstance(value, (set, frozenset)):
        yield from _parts(sorted(_hashed(item, dict(known)) for item in value), known)
    elif isinstance(value, CodeType):
        yield from _parts([value.co_code, list(value.co_names), list(value.co_consts)], known)
    elif id(value) in known:
        yield f"again {known[id(value)]}".encode()
    else:
        yield from _parts_of_object(value, known)


def _parts_of_object(value: Any, known: _Known) -> Iterator[bytes]:
    known[id(value)] = len(known)
    if isinstance(value, FunctionType):
        yield from _parts_of_function(value, known)
        return  # it stays known: however often it is called, it is gone through once
    if isinstance(value, Mapping):
        yield from _parts([item for pair in value.items() for item in pair], known)
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item, known)
    elif isinstance(value, partial):  # what it holds is in none of its `vars`, as with the next
        yield from _parts([value.func, value.args, value.keywords], known)
    elif isinstance(value, MethodType):
        yield from _parts([value.__self__, value.__func__], known)
    elif (fields := _fields(value)) is not None:
        yield from _parts(fields, known)
    else:
        yield repr(value).encode()
    del known[id(value)]


def _fields(value: Any) -> dict[str, Any] | None:
    slots = [name for kind in type(value).__mro__ for name in np.atleast_1d(vars(kind).get("__slots__", []))]
    there = {str(name): getattr(value, name) for name in slots if hasattr(value, name)}
    return {**there, **getattr(value, "__dict__", {})} if there or hasattr(value, "__dict__") else None


def _parts_of_function(value: FunctionType, known: _Known) -> Iterator[bytes]:
    defaults = [value.__defaults__, value.__kwdefaults__]
    yield from _parts([value.__module__, value.__qualname__, value.__code__, *defaults], known)
    for cell in value.__closure__ or ():
        yield from _parts(getattr(cell, "cell_contents", None), known)
    for name in sorted(_names(value.__code__) & value.__globals__.keys()):
        named = value.__globals__[name]
        is_mine = isinstance(named, FunctionType) and named.__module__ == value.__module__
        if is_mine or _is_constant(named):
            yield from _parts([name, named], known)


def _names(code: CodeType) -> set[str]:
    """List what a code names, and functions within it."""
    inner = [_names(const) for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*inner)


def _is_constant(value: object) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_constant, value))
    return isinstance(value, _PLAIN)
