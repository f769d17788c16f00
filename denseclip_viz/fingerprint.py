"""What a value is, in sixteen bytes: models, functions, arrays, and objects of these."""

import dis
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from itertools import count
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from denseclip_viz.model import Model

_LOADS, _STORES = ("LOAD_GLOBAL", "LOAD_NAME"), ("STORE_GLOBAL", "DELETE_GLOBAL")
_CACHES = frozenset(("_cache", "_hash", "_str", "__weakref__", "__dict__"))
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, Tensor)


class _Known:
    """Functions, and objects that are being gone through: one that names itself, or another twice, has an end.

    `counted` are globals that one of the functions sets.
    """

    def __init__(self, numbers: Mapping[int, int] = MappingProxyType({}), counted: Iterable[str] = ()) -> None:
        self.numbers, self._count = dict(numbers), count(max(numbers.values(), default=-1) + 1)
        self.counted = set(counted)

    def add(self, value: object) -> None:
        self.numbers[id(value)] = next(self._count)


def fingerprint(value: object) -> str:
    """Hash all that a value holds: numbers, texts, arrays, weights, functions, and objects of these.

    A function is its code, what it closes over, the functions of its module that it calls, and the constants of its
    module that it reads: plain values, tuples of them, and arrays, but none that it or they set. Lists, sets and
    mappings there are left out, as they may be memories that grow while it runs.

    Example:
        >>> fingerprint({"a": torch.ones(2)}) == fingerprint({"a": torch.ones(2)}) != fingerprint({"a": torch.zeros(2)})
        True
    """
    return _hashed(value, _Known())


def by_texts(value: Any) -> dict[str, Any]:
    """Give the fields of what has `vectors` of texts, but for these what was read, where it is known: `texts`.

    Last bits of vectors differ from one processor to another (`TextBank.identity_of`), where a run may have to go on.
    """
    return {**vars(value), "vectors": value.texts or value.vectors}


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
        yield from _parts(sorted(_hashed(item, _Known(known.numbers, known.counted)) for item in value), known)
    elif isinstance(value, CodeType):
        yield from _parts([value.co_code, list(value.co_names), list(value.co_consts)], known)
    elif isinstance(value, ModuleType):
        yield f"{value.__name__} {getattr(value, '__version__', '')}".encode()
    elif type(value).__module__.startswith("xarray.") and hasattr(value, "to_dict"):
        yield from _parts(value.to_dict(data="array"), known)
    elif hasattr(type(value), "fingerprinted"):  # it knows better what it is
        yield from _parts(value.fingerprinted(), known)
    elif isinstance(value, os.PathLike):  # one that keeps what it was asked before would be another then
        yield os.fsencode(value)
    elif id(value) in known.numbers:
        yield f"again {known.numbers[id(value)]}".encode()
    else:
        yield from _parts_of_object(value, known)


def _parts_of_object(value: Any, known: _Known) -> Iterator[bytes]:
    known.add(value)
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
    elif cast(Any, type(value)).__repr__ is not object.__repr__:  # which would tell where it lies
        yield repr(value).encode()
    del known.numbers[id(value)]


def _fields(value: Any) -> dict[str, Any] | None:
    """Give what an object holds, without what types keep of former answers; None where that is nothing."""
    there = {}
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            own = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in _CACHES and hasattr(value, own):
                there[name] = getattr(value, own)
    return {**there, **getattr(value, "__dict__", {})} if there or hasattr(value, "__dict__") else None


def _parts_of_function(value: FunctionType, known: _Known) -> Iterator[bytes]:
    defaults = [value.__defaults__, value.__kwdefaults__]
    yield from _parts([value.__module__, value.__qualname__, value.__code__, *defaults], known)
    for cell in value.__closure__ or ():
        content = None
        with suppress(ValueError):  # nothing is in it yet
            content = cell.cell_contents
        yield from _parts(content, known)
    for each in _reached(value, {}):
        known.counted |= _named(each.__code__, _STORES)
    for name in sorted(_named(value.__code__, _LOADS) & value.__globals__.keys()):
        named = value.__globals__[name]
        if _is_mine(named, value) or (name not in known.counted and _is_constant(named)):
            yield from _parts([name, named], known)


def _reached(value: FunctionType, there: dict[int, FunctionType]) -> list[FunctionType]:
    """List a function and those of its module that it calls, and they call."""
    if id(value) not in there:
        there[id(value)] = value
        for name in _named(value.__code__, _LOADS) & value.__globals__.keys():
            if _is_mine(value.__globals__[name], value):
                _reached(value.__globals__[name], there)
    return list(there.values())


def _is_mine(other: object, function: FunctionType) -> bool:
    return isinstance(other, FunctionType) and other.__module__ == function.__module__


@lru_cache(maxsize=4096)
def _named(code: CodeType, calls: tuple[str, ...]) -> frozenset[str]:
    """List the names that a code, and functions within it, load or store."""
    inner = [_named(const, calls) for const in code.co_consts if isinstance(const, CodeType)]
    return frozenset(str(each.argval) for each in dis.get_instructions(code) if each.opname in calls).union(*inner)


def _is_constant(value: object) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_constant, value))
    return isinstance(value, _PLAIN)
