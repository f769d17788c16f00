"""Files of a cache: written whole or not at all, and deleted when there are too many."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ENDING = ".safetensors"
_ABANDONED = 3600.0  # seconds after which an unfinished file is nobody's


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file beside, flushes it to the disk, and renames it: it is there whole, or not at all.

    Only the owner may read it: it holds what somebody typed.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    with suppress(OSError):  # a folder cannot be flushed on every system
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def clean(root: Path, most_bytes: int) -> None:
    """Deletes the files that were not read for longest until the rest fits, and unfinished files that nobody writes.

    Args:
        root: A folder of folders of files.
        most_bytes: What may stay; 0 empties it.
    """
    found = sorted(_stats(root, f"*/*{ENDING}"), reverse=True)
    room = most_bytes
    for _, size, path in found:
        room -= size
        if room < 0:
            with suppress(OSError):
                path.unlink()
    for written, _, path in _stats(root, "*/.*.part"):
        if time.time() - written > _ABANDONED:
            with suppress(OSError):
                path.unlink()


def _stats(root: Path, pattern: str) -> list[tuple[float, int, Path]]:
    found = []
    for path in root.glob(pattern):
        with suppress(OSError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    return found
