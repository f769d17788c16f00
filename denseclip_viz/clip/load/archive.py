"""Zip archives of torch, of `torch.save` and of TorchScript: their tensors, without running anything in them."""

import math
import mmap
import re
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.clip.load.inert import Record, read_inert
from denseclip_viz.validation import is_whole, some

_DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Double": torch.float64,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}  # fmt: skip
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_CODE_BYTES = 1 << 24  # of one file that says what a module's parameters are; those of CLIP take up some thousand
_MODULES = 100_000
_DEPTH = 100
_CLASS = re.compile(r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\]\n(?:  __buffers__ = \[(.*)\]\n)?", re.M)

Members = tuple[set[str], set[str] | None]


def read_archive(file: Path) -> Any:
    """Read what `torch.save` put into a file, or the state dict of a TorchScript archive; storages are mapped.

    Objects are not made: they come as `inert.Record`. A module that was saved whole comes as its state dict.

    Raises:
        UnpicklingError: No archive of torch, or one that says what cannot be.
        zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, RuntimeError: One that is broken.
    """
    with zipfile.ZipFile(file) as opened, file.open("rb") as stream:
        tops = [name.removesuffix("/data.pkl") for name in opened.namelist() if name.count("/") == 1]
        tops = [top for top in tops if f"{top}/data.pkl" in opened.NameToInfo]
        if len(tops) != 1:
            listed = some(opened.namelist()) or "nothing"
            raise UnpicklingError(
                f"a zip archive of {listed}, without torch's data.pkl; what is in it may be a checkpoint"
            )
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        archive = _Archive(opened, mapped, tops[0])
        return archive.read()


class _Archive:
    """An open archive, all of whose entries are behind one folder."""

    def __init__(self, opened: zipfile.ZipFile, mapped: mmap.mmap, top: str) -> None:
        self._zip, self._mapped, self._top = opened, mapped, top
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}
        self._classes: dict[str, dict[str, Members]] = {}

    def read(self) -> Any:
        order = self._text("byteorder", "little").strip()
        if order != sys.byteorder:
            raise UnpicklingError(f"its numbers are {order[:20]} endian, those of this machine {sys.byteorder}")
        makers: dict[str, Any] = {
            "collections.OrderedDict": lambda *_: {},
            "__builtin__.set": lambda items: items,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
            "torch._tensor._rebuild_from_type_v2": lambda function, _, given, __: makers[function.name](*given),
        }
        start, size = self._place("data.pkl")
        read = read_inert(self._mapped[start : start + size], makers, self._storage)
        if not isinstance(read, dict):
            return self._opened(read)
        return {key: self._opened(value) for key, value in read.items()}

    def _opened(self, value: Any) -> Any:
        """Give the state dict of a module that was saved whole, and all else as it is."""
        scripted = f"{self._top}/constants.pkl" in self._zip.NameToInfo
        members = self._members_of_class if scripted else _members_of_module
        return dict(_entries(value, members)) if isinstance(value, Record) and members(value) else value

    def _place(self, name: str) -> tuple[int, int]:
        """Say where in the file the bytes of an entry are, and how many."""
        info = self._zip.getinfo(f"{self._top}/{name}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise UnpicklingError(f"its {name} is compressed, which torch never does")
        mark, *lengths = _LOCAL_HEADER.unpack_from(self._mapped, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        if mark != b"PK\x03\x04" or start + info.file_size > len(self._mapped):
            raise UnpicklingError(f"its {name} reaches beyond the end of the file")
        return start, info.file_size

    def _text(self, name: str, otherwise: str | None = None) -> str:
        full = f"{self._top}/{name}"
        if otherwise is not None and full not in self._zip.NameToInfo:
            return otherwise
        with self._zip.open(full) as stream:
            read = stream.read(_CODE_BYTES)
        if len(read) == _CODE_BYTES:
            raise UnpicklingError(f"its {name} is larger than {_CODE_BYTES >> 20} MiB")
        return read.decode()

    def _storage(self, identity: Any) -> Tensor:
        """Map the numbers of a storage: `("storage", TYPE, KEY, device, count)`."""
        what, kind, key, _, count = identity
        dtype = _DTYPES.get(kind.name)
        if what != "storage" or dtype is None or not isinstance(key, str) or not is_whole(count, 0):
            raise UnpicklingError(f"it holds numbers of the kind {kind.name[:80]}")
        if (key, dtype) in self._storages:
            return self._storages[key, dtype]
        start, size = self._place(f"data/{key}")
        if count * dtype.itemsize > size:
            raise UnpicklingError(f"its storage {key[:20]} has {size} bytes where {count} numbers ({dtype}) should be")
        place: dict[str, Any] = {"dtype": dtype, "count": count}
        if not count:
            values = torch.empty(0, dtype=dtype)
        elif start % dtype.itemsize:
            values = torch.frombuffer(bytearray(self._mapped[start : start + size]), **place)
        else:
            values = torch.frombuffer(self._mapped, offset=start, **place)
        return self._storages.setdefault((key, dtype), values)

    def _members_of_class(self, module: Record) -> tuple[dict[str, Any], Members] | None:
        """Say what a TorchScript module holds, and which of it its code declares to be parameters and buffers."""
        place, _, kind = module.name.rpartition(".")
        if not place.startswith("__torch__"):  # a list of numbers, say
            return None
        if place not in self._classes:
            text = self._text(f"code/{place.replace('.', '/')}.py")
            self._classes[place] = {
                name: (_quoted(parameters), None if buffers is None else _quoted(buffers))
                for name, parameters, buffers in (match.groups() for match in _CLASS.finditer(text))
            }
        members = self._classes[place].get(kind)
        return (module.state, members) if members and isinstance(module.state, dict) else None


def _quoted(text: str) -> set[str]:
    return set(re.findall(r'"([^"]*)"', text))


def _members_of_module(module: Record) -> tuple[dict[str, Any], Members] | None:
    """Say what a module of torch that was saved whole holds."""
    if not isinstance(module.state, dict) or not isinstance(module.state.get("_modules"), dict):
        return None
    parts = [module.state.get(name) or {} for name in ("_modules", "_parameters", "_buffers")]
    passing = {name for name in module.state.get("_non_persistent_buffers_set") or () if isinstance(name, str)}
    inside = {name: value for part in parts for name, value in part.items()}
    return inside, (set(parts[1]), set(parts[2]) - passing)


def _entries(root: Record, members: Any) -> Iterator[tuple[str, Tensor]]:
    """Go through the modules of a tree for its tensors by name; one that stands in two places counts twice."""
    waiting: list[tuple[str, Record, int]] = [("", root, 0)]
    visited = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        if (visited := visited + 1) > _MODULES or depth > _DEPTH:
            raise UnpicklingError("its modules have no end")
        if (parts := members(module)) is None:
            continue
        inside, (parameters, buffers) = parts
        for name, value in inside.items():
            if isinstance(value, Record):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif isinstance(value, Tensor) and (buffers is None or name in parameters | buffers):
                yield f"{prefix}{name}", value


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Rebuild a tensor over its storage, of which it may take each number once."""
    count, numbers = len(storage), (offset, *size, *stride)
    extents = list(zip(size, stride, strict=True))
    possible = all(is_whole(number, 0) for number in numbers) and len(extents) <= 16
    possible = possible and all(length <= 1 or max(length, step) <= count for length, step in extents)
    last = offset + sum((length - 1) * step for length, step in extents) if possible else count
    if not possible or math.prod(size) > count or (math.prod(size) and last >= count):
        raise UnpicklingError(f"a tensor reaches beyond its storage of {count} numbers")
    return torch.as_strided(storage, size, stride, offset)
