"""Features of one batch of images in one file: safetensors, written whole, mapped when read, checked once."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from denseclip_viz.errors import OutputError
from denseclip_viz.files import atomic_write, make_folder

ENDING = ".safetensors"
_IN_A_FOLDER = 4096  # images: file systems and clean-ups slow down where many thousand files lie in one
_OPEN = 256 * 2**20  # bytes of tensors that stay mapped, so that another question opens no file again
_MOST = 4096  # of them: a system maps some ten thousand at most


@dataclass(frozen=True, eq=False)
class Shard:
    """A file of features.

    Attributes:
        file: Its place in the store.
        bytes: Its size.
        checksum: The BLAKE2b of all of it.
        checksums: Those of its tensors: only what is read has to be checked.
        error: The largest distance of a stored unit vector from the one in full precision.
    """

    file: str
    bytes: int
    checksum: str
    checksums: Mapping[str, str]
    error: float


def digest(content: bytes | memoryview) -> str:
    """Hash bytes.

    Example:
        >>> digest(b"")
        'cae66941d9efbd404e4d88758ea67670'
    """
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_shard(store: Path, first: int, tensors: Mapping[str, Tensor], error: float) -> Shard:
    """Write features whose first image has a number; they are on the disk, whole, when this returns.

    Raises:
        OutputError: the disk is full, or nobody may write there.
    """
    content = save(dict(tensors))
    checksum = digest(content)
    file = f"shards/{first // _IN_A_FOLDER:06d}/{first:09d}-{checksum[:12]}{ENDING}"
    folder = make_folder((store / file).parent)
    with atomic_write(store / file, [ENDING], force=True, fsync=True) as part:
        part.write_bytes(content)
    _sync(folder)
    return Shard(file, len(content), checksum, {name: _checksum(tensor) for name, tensor in tensors.items()}, error)


def verify_shard(store: Path, shard: Shard) -> bool:
    """Say whether a file is, byte for byte, what was written."""
    try:
        return digest((store / shard.file).read_bytes()) == shard.checksum
    except OSError:
        return False


def is_there(store: Path, shard: Shard) -> bool:
    """Say whether a file is there with the size that was written, without a look inside."""
    with suppress(OSError):
        return (store / shard.file).stat().st_size == shard.bytes
    return False


class ShardReader:
    """Tensors of shards, mapped from their files; each is checked when it is first read.

    Args:
        store: The folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._open: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._bytes = 0
        self._checked: set[tuple[str, str]] = set()

    def read(self, shard: Shard, name: str) -> Tensor:
        """Map a tensor; it is not to be written to.

        Raises:
            OutputError: the file is not there, or is not what was written.
        """
        key = (shard.file, name)
        if key not in self._open:
            self._open[key] = self._mapped(shard, name)
            self._bytes += self._open[key].nbytes
            while len(self._open) > 1 and (self._bytes > _OPEN or len(self._open) > _MOST):
                self._bytes -= self._open.popitem(last=False)[1].nbytes
        self._open.move_to_end(key)
        return self._open[key]

    def _mapped(self, shard: Shard, name: str) -> Tensor:
        try:
            with safe_open(os.path.join(self._store, shard.file), "pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise damaged([shard]) from error
        if (shard.file, name) not in self._checked and _checksum(tensor) != shard.checksums[name]:
            raise damaged([shard])
        self._checked.add((shard.file, name))
        return tensor


def damaged(shards: list[Shard]) -> OutputError:
    """Make the error that names files which are not what was written."""
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    got, expected = f"{shards[0].file}{more} of the store is not what was written", "the bytes that were written"
    return OutputError(got, expected=expected, fix="Delete it, and encode the same images again: only it is made anew.")


def _checksum(tensor: Tensor) -> str:
    return digest(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _sync(folder: Path) -> None:
    """Wait until the disk knows of the files in a folder; elsewhere than on POSIX folders cannot be asked."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
