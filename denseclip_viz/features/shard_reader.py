"""Shards that are read: mapped from their files, checked once, and told from those that were replaced meanwhile."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from denseclip_viz.errors import OutputError
from denseclip_viz.features.feature_shards import Shard, digest_of
from denseclip_viz.features.manifest import Manifest
from denseclip_viz.validation import short_name

_OPEN = 256 * 2**20  # bytes of tensors that stay mapped, so that another question opens no file again
_MOST = 4096  # of them: a system maps some ten thousand at most


class ShardReader:
    """Tensors of shards, mapped from their files; each is checked when it is first read. Threads may share it.

    Args:
        store: The folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._open: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._bytes = 0
        self._checked: set[tuple[str, str]] = set()
        self._lock = threading.Lock()  # not while a file is read: threads would wait for each other's disk

    def read(self, shard: Shard, name: str) -> Tensor:
        """Map a tensor; it is not to be written to.

        Raises:
            OutputError: the file is not there, or is not what was written.
        """
        key = (shard.file, name)
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        tensor = self._mapped(shard, name)
        with self._lock:
            if key not in self._open:  # another thread may have been faster
                self._open[key] = tensor
                self._bytes += tensor.nbytes
            while len(self._open) > 1 and (self._bytes > _OPEN or len(self._open) > _MOST):
                self._bytes -= self._open.popitem(last=False)[1].nbytes
        return tensor

    def _mapped(self, shard: Shard, name: str) -> Tensor:
        try:
            with safe_open(os.path.join(self._store, shard.file), "pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise not_as_written(self._store, [shard]) from error
        if (shard.file, name) not in self._checked and digest_of(tensor) != shard.checksums[name]:
            raise not_as_written(self._store, [shard])
        self._checked.add((shard.file, name))
        return tensor

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path]]:
        return type(self), (self._store,)  # what is mapped, and the lock, are of this process


def not_as_written(store: Path, shards: list[Shard]) -> OutputError:
    """Make the error that names files which are not what was written, or says that the store has others by now."""
    files = [shard.file for shard in shards]
    missing = {file for file in files if not (store / file).exists()}
    counted = {image.shard.file for image in Manifest(store).images.values() if image.shard} if missing else set()
    broken = [file for file in files if file in counted or file not in missing]
    if not broken:
        got = f"{short_name(store)} has grown or changed since it was opened: {files[0]} is there no more"
        fix = "Open it again: store = dcv.features.open_store(store.folder)."
        return OutputError(got, expected="the store as it is now", fix=fix)
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    got, expected = f"{broken[0]}{more} of the store is not what was written", "the bytes that were written"
    return OutputError(got, expected=expected, fix="Delete it, and encode the same images again: only it is made anew.")
