"""What a store of features holds: a line of JSON a batch, behind a first line that says what was asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from denseclip_viz.errors import OutputError
from denseclip_viz.features.feature_shards import Shard
from denseclip_viz.geometry import Geometry
from denseclip_viz.validation import readable, short_name

FORMAT = 2
FILE = "manifest.jsonl"


def key_of(file: str, digest: str) -> str:
    """Tell an image from others: by its file, or by its pixels."""
    return file or digest


class StoredImage(NamedTuple):
    """An image of a store.

    Attributes:
        name: For titles.
        file: The absolute path of its file; empty of an image that was in memory.
        size: Bytes of the file.
        mtime: When the file was last written, in nanoseconds.
        digest: Of the file's bytes, or of the pixels of an image that was in memory.
        geometry: How it was fitted; None of an image that cannot be read.
        shard: Where its features are.
        row: Its place among the images there.
        start: Its first position among the positions there.
        number: Its number in the store, those that cannot be read counted too.
        caution: What must be said with its numbers.
        unread: Why it cannot be read: got, expected, fix.
    """

    name: str
    file: str
    size: int
    mtime: int
    digest: str
    geometry: Geometry | None = None
    shard: Shard | None = None
    row: int = 0
    start: int = 0
    number: int = 0
    caution: str = ""
    unread: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from others: its file, or its pixels."""
        return key_of(self.file, self.digest)

    @property
    def positions(self) -> int:
        """How many positions its grid has."""
        y, x = self.geometry.grid if self.geometry else (0, 0)
        return y * x


class Manifest:
    """All images of a store by their key, in the order in which they first came; of each the last record counts.

    Attributes:
        header: What was asked, in fingerprints and in words.
        images: `{key: image}`, also those that cannot be read.
        batch: The images of the last record.
        whole: How many bytes of the file are whole lines: a kill may leave the beginning of one more.

    Raises:
        OutputError: no store, a damaged one, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header: dict[str, Any] = {}
        self.images: dict[str, StoredImage] = {}
        self.batch: list[StoredImage] = []
        self.whole = 0
        self._geometries: dict[str, Geometry] = {}
        self._counting: Counter[Shard] = Counter()  # its images: to look for them at every line is quadratic
        try:
            with open(readable(folder / FILE), "rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        self._read(line)
        except OSError as error:
            got = f"{short_name(folder)} is no store of features ({error.strerror})"
            raise OutputError(got, expected="a folder that features.encode wrote", fix="Check the path.") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            got, fix = f"{short_name(folder / FILE)} is damaged, or of something else", "Encode into another folder."
            raise OutputError(got, expected="the file that features.encode wrote", fix=fix) from error

    def _read(self, line: bytes) -> None:
        record = json.loads(line)
        if self.header:
            self.take(record)
        elif (version := record["denseclip_viz_features"]) == FORMAT:
            self.header = record
        else:
            got = f"{short_name(self.folder)} is a store of format {version!r}"
            raise OutputError(got, expected=f"format {FORMAT}, of this version", fix="Encode into another folder.")
        self.whole += len(line)

    def take(self, record: Mapping[str, Any]) -> list[Shard]:
        """Take what a line says; give the shards of which nothing counts any more."""
        shard = Shard(**record["shard"]) if record["shard"] else None
        geometries = [self._geometry(json.dumps(fields)) for fields in record["geometries"]]
        self.batch, replaced, row, start = [], set[Shard](), 0, 0
        for fields in record["images"]:
            at = fields.pop("geometry", None)
            image = StoredImage(**{**fields, "unread": tuple(fields.get("unread", ()))})
            if at is not None:
                image = image._replace(geometry=geometries[at], shard=shard, row=row, start=start)
                row, start = row + 1, start + image.positions
            if (before := self.images.get(image.key)) and before.shard:
                self._counting[before.shard] -= 1
                replaced.add(before.shard)
            if image.shard:
                self._counting[image.shard] += 1
            self.images[image.key] = image._replace(number=self.number(image))
            self.batch.append(self.images[image.key])
        released = [old for old in replaced if not self._counting[old]]
        for old in released:
            del self._counting[old]
        return released

    def number(self, image: StoredImage) -> int:
        """Give the number of an image: that which it has, or the next one."""
        known = self.images.get(image.key)
        return known.number if known else len(self.images)

    def _geometry(self, text: str) -> Geometry:
        """Read a geometry; images of one size share theirs."""
        if text not in self._geometries:
            self._geometries[text] = Geometry.from_json(text)
        return self._geometries[text]


def record_of(shard: Shard | None, images: list[StoredImage]) -> dict[str, Any]:
    """Say in JSON what `Manifest.take` reads."""
    geometries = list(dict.fromkeys(image.geometry for image in images if image.geometry))
    listed = []
    for image in images:
        fields: dict[str, Any] = {name: getattr(image, name) for name in ("name", "file", "size", "mtime", "digest")}
        fields |= {name: getattr(image, name) for name in ("caution", "unread") if getattr(image, name)}
        listed.append(fields | ({"geometry": geometries.index(image.geometry)} if image.geometry else {}))
    return {"shard": asdict(shard) if shard else None, "geometries": list(map(asdict, geometries)), "images": listed}
