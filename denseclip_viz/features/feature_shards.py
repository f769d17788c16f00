"""Features of one batch of images in one file: safetensors, written whole."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from denseclip_viz.files import atomic_write, make_folder, written

ENDING = ".safetensors"
_IN_A_FOLDER = 4096  # images: file systems and clean-ups slow down where many thousand files lie in one


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
    return Shard(file, len(content), checksum, {name: digest_of(tensor) for name, tensor in tensors.items()}, error)


def remove_shards(store: Path, files: Iterable[str]) -> None:
    """Remove files that nothing counts any more.

    Raises:
        OutputError: nobody may write there.
    """
    for file in files:
        with written(store / file):
            (store / file).unlink(missing_ok=True)


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


def digest_of(tensor: Tensor) -> str:
    """Hash the numbers of a tensor."""
    return digest(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _sync(folder: Path) -> None:
    """Wait until the disk knows of the files in a folder; elsewhere than on POSIX folders cannot be asked."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
