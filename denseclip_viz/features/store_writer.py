"""Writing into a store of features: one process at a time, one batch at a time, nothing half-written."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import Tensor

from denseclip_viz.errors import OutputError, warn
from denseclip_viz.features.feature_question import Question, differing
from denseclip_viz.features.feature_shards import is_there, remove_shards, write_shard
from denseclip_viz.features.manifest import FILE, FORMAT, Manifest, StoredImage, record_of
from denseclip_viz.files import make_folder, written
from denseclip_viz.validation import many, short_name

LOCK = "writing.lock"


class StoreWriter:
    """A store that this process alone writes to.

    Args:
        folder: The store's.
        question: All that decides the numbers: a word for each part, with its fingerprint and what to call it.
        about: What else the first line says.

    Attributes:
        manifest: What is stored; images whose shard is lost are not.

    Raises:
        OutputError: features of another question, or of something else.
    """

    def __init__(self, folder: Path, question: Question, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self._file = folder / FILE
        header = {"denseclip_viz_features": FORMAT, "question": {k: list(v) for k, v in question.items()}, **about}
        with written(folder):
            if _is_begun(self._file):
                self.manifest = Manifest(folder)
                self._check(header)
                os.truncate(self._file, self.manifest.whole)
            else:
                refuse_others(folder)
                self._file.write_bytes(line_of(header))
                self.manifest = Manifest(folder)
            self._clean()

    def add(self, images: list[StoredImage], tensors: Mapping[str, Tensor], error: float) -> None:
        """Write a batch: first its features, then the line that counts them, and last remove what they replace."""
        shard = write_shard(self.folder, self.manifest.number(images[0]), tensors, error) if tensors else None
        line = line_of(record_of(shard, images))
        with written(self._file), open(self._file, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        replaced = {old.file for old in self.manifest.take(json.loads(line))}
        remove_shards(self.folder, replaced - ({shard.file} if shard else set()))  # same images again are the same file

    def _check(self, header: Mapping[str, Any]) -> None:
        if apart := differing(header["question"], self.manifest.header["question"]):
            other, theirs, ours = apart
            got = f"{short_name(self.folder)} holds features of another {other}: {theirs}. This is {ours}"
            raise OutputError(got, expected="one store for one question", fix="Name another folder.")

    def _clean(self) -> None:
        """Forget images whose shard is lost, and remove what a kill left of a batch that is not counted."""
        shards = {image.shard for image in self.manifest.images.values() if image.shard}
        lost = {shard for shard in shards if not is_there(self.folder, shard)}
        for key, image in self.manifest.images.items():
            if image.shard in lost:
                self.manifest.images[key] = image._replace(shard=None, geometry=None)  # its place stays
        if lost:
            warn(f"{many(len(lost), 'shard')} of {short_name(self.folder)} cannot be found: encoded again.")
        counted = {self.folder / shard.file for shard in shards}
        for path in (self.folder / "shards").glob("*/*"):
            if path not in counted:
                path.unlink()


def refuse_others(folder: Path) -> None:
    """Refuse a folder of other things.

    Raises:
        OutputError: it holds any.
    """
    others = [path.name for path in folder.iterdir() if path.name not in (FILE, LOCK)]
    if others:
        got = f"{short_name(folder)} holds other files, such as {short_name(min(others))}"
        raise OutputError(got, expected="a new folder, or a store of features", fix="Name another one.")


@contextmanager
def opened(folder: Path, question: Question, about: Mapping[str, Any]) -> Iterator[StoreWriter]:
    """Open a store for this process alone, made if it is not there.

    Raises:
        OutputError: another process writes to it, or nobody may.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK, timeout=0)
    with written(folder):
        if not _is_begun(folder / FILE):
            refuse_others(folder)  # before the lock, which stays where it was made
        try:
            lock.acquire()
        except Timeout:  # which is an OSError
            got, fix = f"another process writes to {short_name(folder)}", "Wait for it, or name another folder."
            raise OutputError(got, expected="one at a time", fix=fix) from None
    try:
        yield StoreWriter(folder, question, about)
    finally:
        lock.release()


def _is_begun(file: Path) -> bool:
    """Say whether a file has a first line; a kill may leave its beginning."""
    if not file.is_file():
        return False
    with open(file, "rb") as lines:
        return lines.readline().endswith(b"\n")


def line_of(record: Mapping[str, Any]) -> bytes:
    """Write a record as a line of the manifest."""
    return json.dumps(record).encode() + b"\n"
