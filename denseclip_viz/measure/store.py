"""Results kept image by image: in memory, or in a file that a killed run goes on from."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import ImageError, OutputError
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.validation import check_path, readable

FORMAT = 5  # of the question and its numbers: files of another one are refused
Values = dict[str, tuple[tuple[str, ...], NDArray[Any]]]
"""Numbers of one image by name, each with the names of its axes, as xarray takes them."""


class ResultStore:
    """What is known of each image, by its place in the data set.

    In a file it is a line of JSON for each image, written as soon as it is known, so that a kill loses the image at
    work and no other. The first line says what was asked: results of another question are never mixed in.

    Args:
        path: The file, made if missing; None keeps results in memory only.
        question: All that decides the numbers, by what it is; a file holds fingerprints of it.
        summed: Add numbers up as they come: those of each image are then in the file at most.

    Attributes:
        images: `{place: (name, values)}`, without values where they are added up.
        sums: Those that are.
        unread: `{place: (name, error)}`, images that could not be read.
        attrs: Where the numbers come from.
        passed: How many places of the data set were gone through; a file may hold more, of a longer one.

    Raises:
        OutputError: a file of another question, of something else, or one that cannot be read or written.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, question: Mapping[str, object], *, summed: bool = False
    ) -> None:
        self.images: dict[int, tuple[str, Values]] = {}
        self.sums: Values = {}
        self._summed = summed
        self.unread: dict[int, tuple[str, ImageError]] = {}
        self.attrs: dict[str, Any] = {}
        self.passed = 0
        self._first = math.inf  # the place of the image whose attrs they are
        self.path = None if path is None else check_path(path, "store")
        self._digests: dict[int, str] = {}
        if self.path is not None:
            prints = {what: fingerprint(part) for what, part in question.items()}
            with self._reporting():
                self._resume(self.path, {"denseclip_viz": FORMAT, "question": prints})

    def add(self, place: int, name: str, values: Values, *, digest: str = "") -> None:
        """Keep the numbers of an image."""
        self._known(place, name, values)
        if self.path is not None:  # numbers are long as lists: made for a file only
            arrays = {key: [dims, *_listed(array)] for key, (dims, array) in values.items()}
            self._write({"image": place, "name": name, "digest": digest, "values": arrays})

    def add_unread(self, place: int, name: str, error: ImageError, *, digest: str = "") -> None:
        """Keep that an image cannot be read."""
        self.unread[place] = name, error
        self._digests[place] = digest
        refused = [error.got, error.expected, error.fix]
        self._write({"image": place, "name": name, "digest": digest, "unread": refused})

    def retry(self, place: int, digest: str) -> None:
        """Forget that an image could not be read if it is another one now, or was mended."""
        if place in self.unread and self._digests.get(place, digest) != digest:
            del self.unread[place], self._digests[place]

    def settle(self) -> None:
        """Leave out what a file holds of images that were not gone through; it stays in the file."""
        beyond = any(place >= self.passed for place in self.images)
        self.images = {place: known for place, known in self.images.items() if place < self.passed}
        self.unread = {place: known for place, known in self.unread.items() if place < self.passed}
        if self._summed and beyond:
            assert self.path is not None  # only there can be more
            with self._reporting():
                records = map(json.loads, self.path.read_bytes().splitlines()[1:])
            self.images, self.sums = {}, {}
            for record in records:
                if "values" in record and record["image"] < self.passed and record["image"] not in self.images:
                    self._known(record["image"], record["name"], _values(record))

    def add_attrs(self, place: int, attrs: Mapping[str, Any]) -> None:
        """Keep where the numbers come from; those of the first image in the data set count, whenever they come."""
        if place < self._first:
            self._first = place
            if self.attrs != attrs:
                self.attrs = dict(attrs)
                self._write({"attrs": self.attrs, "image": place})

    def check(self, place: int, digest: str) -> None:
        """Refuse an image that is not the one whose numbers are kept.

        Raises:
            OutputError: it is another one, or its masks are.
        """
        if self._digests.get(place, digest) != digest:
            raise self._refused(f"was begun with another image number {place}, or other masks", "the same images")

    def _resume(self, path: Path, header: dict[str, Any]) -> None:
        """Take what a file holds. A kill within a line leaves its beginning at the end: that is cut off."""
        data, fresh = readable(path).read_bytes() if path.exists() else b"", _line(header)
        whole, _, torn = data.rpartition(b"\n")
        if fresh.startswith(data):
            path.write_bytes(fresh)
            return
        try:
            first, *records = map(json.loads, whole.splitlines())
            asked = first["question"] if first["denseclip_viz"] == FORMAT else {}
            ours = header["question"]
            other = [what for what in {**ours, **asked} if asked.get(what) != ours.get(what)]
            for record in records if not other else ():
                self._take(record)
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused("is no file of results, or a damaged one", "one that an evaluation wrote") from error
        if other:
            raise self._refused(f"holds results of another question: other {', '.join(other)}", "results of this one")
        if torn:  # else it stays as it is: another process may be writing
            os.truncate(path, len(data) - len(torn))

    def _take(self, record: dict[str, Any]) -> None:
        if "attrs" in record:
            self.attrs, self._first = record["attrs"], record["image"]
        elif record["image"] in self.images:
            pass  # two processes wrote at once: each image counts once, as it was first known
        elif "unread" in record:
            got, expected, fix = record["unread"]
            self.unread[record["image"]] = record["name"], ImageError(got, expected=expected, fix=fix)
            self._digests[record["image"]] = record["digest"]
        else:
            self._known(record["image"], record["name"], _values(record))
            self.unread.pop(record["image"], None)  # it could be read at another time
            self._digests[record["image"]] = record["digest"]

    def _known(self, place: int, name: str, values: Values) -> None:
        self.images[place] = name, {} if self._summed else values
        for key, (dims, array) in values.items() if self._summed else ():
            self.sums[key] = dims, self.sums[key][1] + array if key in self.sums else array

    def _write(self, record: dict[str, Any]) -> None:
        if self.path is not None:
            with self._reporting(), open(self.path, "ab") as file:
                file.write(_line(record))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refused(f"cannot be used ({error.strerror})", "a file that can be written") from error

    def _refused(self, what: str, expected: str) -> OutputError:
        return OutputError(f"{self.path} {what}", expected=expected, fix="Name another file as store=.")


def _values(record: Mapping[str, Any]) -> Values:
    return {key: (tuple(dims), _array(*listed)) for key, (dims, *listed) in record["values"].items()}


def _listed(array: NDArray[Any]) -> tuple[str, tuple[int, ...], list[Any], list[int] | None]:
    """List an array: its kind, shape and numbers; of one that is mostly noughts the others, and where they are.

    Example:
        >>> _listed(np.array([[0, 7, 0]]))
        ('<i8', (1, 3), [7], [1])
    """
    flat = array.reshape(-1)
    places = np.flatnonzero(flat)
    if array.dtype.kind not in "iu" or 2 * len(places) > len(flat):
        return array.dtype.str, array.shape, flat.tolist(), None
    return array.dtype.str, array.shape, flat[places].tolist(), places.tolist()


def _array(kind: str, shape: Sequence[int], numbers: Sequence[Any], places: Sequence[int] | None) -> NDArray[Any]:
    """Make the array that was listed."""
    if places is None:
        return np.array(numbers, kind).reshape(shape)
    array = np.zeros(shape, kind)
    array.reshape(-1)[places] = numbers
    return array


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"
