"""Text vectors on disk: files of many texts that are whole or not there, and never trusted unread."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from denseclip_viz.files import ENDING, clean, write_whole

LEAST = 16  # texts worth a file: encoding fewer is as fast as writing them
MOST_ROWS = 1024  # texts that wait before a file is written
SECONDS = 5.0  # after which a file is written anyway: what a killed process can lose
MOST_BYTES = 2**31  # of all models together; the files that were not read for longest go first
_SAID = "denseclip_viz"  # one entry of the header: the order of several changes from call to call


class CacheWarning(UserWarning):
    """Something about the kept text vectors that costs time, never a wrong number."""


class TextCache:
    """Unit vectors of one model's texts in a folder of files.

    A file holds the vectors of many texts (safetensors; the texts are in its header) and is named by the hash of its
    content. It is written beside, flushed to the disk and renamed, so that a process killed at any moment leaves
    nothing half-written under a name that is read; processes that write at once write different files, or equal ones.
    A file whose content is not what its name says is dropped with a warning. Any file may be deleted at any time.

    Args:
        root: The folder for all models.
        identity: All that the vectors depend on beside the text (`text_key.identity`).
        least: Texts that are worth a file; fewer wait for more.
        seconds: How long texts wait when there are enough.
        most_bytes: What all models' files may take up; those that were not read for longest are deleted.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> folder = TemporaryDirectory()
        >>> cache = TextCache(Path(folder.name), {"model": "one"}, least=1)
        >>> cache.add(["grass"], torch.ones(1, 4) / 2, truncate=False)
        >>> cache.flush()
        >>> TextCache(Path(folder.name), {"model": "one"}).recall(["grass", "sky"], truncate=False)
        {'grass': tensor([0.5000, 0.5000, 0.5000, 0.5000])}
        >>> folder.cleanup()
    """

    def __init__(
        self,
        root: Path,
        identity: Mapping[str, str],
        *,
        least: int = LEAST,
        seconds: float = SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._identity = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        self._root = root / "texts"
        self.folder = self._root / _hash(self._identity.encode())
        self._least, self._seconds, self._most_bytes = least, seconds, most_bytes
        self._held: dict[str, tuple[list[str], bool]] = {}
        self._where: dict[tuple[str, bool], str] = {}
        self._waiting: dict[tuple[str, bool], Tensor] = {}
        self._since, self._writes = time.monotonic(), True
        self._lock = threading.RLock()

    def recall(self, texts: Sequence[str], *, truncate: bool) -> dict[str, Tensor]:
        """Give the vectors of those texts that are kept.

        Args:
            texts: The texts.
            truncate: Whether texts may have been cut.
        """
        with self._lock:
            self._look()
            wanted: dict[str, list[str]] = {}
            for text in texts:
                if (text, truncate) in self._where:
                    wanted.setdefault(self._where[text, truncate], []).append(text)
            files = ((self._read(name), asked) for name, asked in wanted.items())
            return {text: vectors[text] for vectors, asked in files for text in asked if text in vectors}

    def add(self, texts: Sequence[str], vectors: Tensor, *, truncate: bool) -> None:
        """Take texts that were encoded; a file is written when many wait, or long.

        Args:
            texts: The texts.
            vectors: (text, D), unit vectors on the CPU.
            truncate: Whether texts may have been cut.
        """
        with self._lock:
            if not self._writes:
                return
            self._waiting.update(((text, truncate), row) for text, row in zip(texts, vectors, strict=True))
            if len(self._waiting) >= MOST_ROWS or time.monotonic() - self._since >= self._seconds:
                self.flush()

    def flush(self) -> None:
        """Write what waits, if it is worth a file."""
        with self._lock:
            if len(self._waiting) < self._least:
                return
            for truncate in (False, True):
                rows = {text: row for (text, cut), row in self._waiting.items() if cut is truncate}
                if rows:
                    self._write(list(rows), torch.stack(list(rows.values())), truncate)
            self._waiting.clear()
            self._since = time.monotonic()
            clean(self._root, self._most_bytes)

    def _look(self) -> None:
        """Other processes write too: what is new in the folder is read each time, its headers only."""
        with suppress(OSError):  # a folder that is not there yet, or not for us
            names = {name for name in os.listdir(self.folder) if name.endswith(ENDING)}
            for name in sorted(names - self._held.keys()):
                self._index(name)

    def _index(self, name: str) -> None:
        try:
            with safe_open(self.folder / name, framework="pt") as file:
                said = json.loads(file.metadata()[_SAID])
                shape = file.get_slice("vectors").get_shape()
            texts, cut = list(said["texts"]), bool(said["truncate"])
            if said["identity"] != self._identity:
                raise ValueError("it is of another model")
            if len(shape) != 2 or shape[0] != len(texts) or not all(isinstance(text, str) for text in texts):
                raise ValueError("its texts are not those of its vectors")
        except FileNotFoundError:
            return
        except OSError as error:
            _warn(f"{self.folder / name} cannot be read ({error.strerror or error}): its texts are encoded again.")
        except (SafetensorError, ValueError, LookupError, TypeError) as error:
            self._drop(name, str(error) or type(error).__name__)
        else:
            self._held[name] = texts, cut
            self._where.update(((text, cut), name) for text in texts)

    def _read(self, name: str) -> dict[str, Tensor]:
        path, (texts, _) = self.folder / name, self._held[name]
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._forget(name)
            return {}
        if _hash(data) != path.stem:
            self._drop(name, "its content is not what was written")
            return {}
        with suppress(OSError):
            os.utime(path)
        return dict(zip(texts, load(data)["vectors"], strict=True))

    def _drop(self, name: str, why: str) -> None:
        self._forget(name)
        with suppress(OSError):
            (self.folder / name).unlink()
        _warn(f"{self.folder / name} is broken ({why[:150]}): it is deleted and its texts are encoded again.")

    def _forget(self, name: str) -> None:
        texts, cut = self._held.pop(name, ([], False))
        for text in texts:
            if self._where.get((text, cut)) == name:
                del self._where[text, cut]

    def _write(self, texts: list[str], vectors: Tensor, truncate: bool) -> None:
        said = {"identity": self._identity, "truncate": truncate, "texts": texts}
        data = save({"vectors": vectors.contiguous()}, metadata={_SAID: json.dumps(said, ensure_ascii=False)})
        name = _hash(data) + ENDING
        try:
            write_whole(self.folder / name, data)
        except OSError as error:
            self._writes = False
            _warn(
                f"Text vectors cannot be kept in {self.folder} ({error.strerror}): they stay in memory. "
                "DENSECLIP_VIZ_CACHE names another folder, or says off."
            )
            return
        self._held[name] = texts, truncate
        self._where.update(((text, truncate), name) for text in texts)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _warn(what: str) -> None:
    warnings.warn(what, CacheWarning, stacklevel=2)
