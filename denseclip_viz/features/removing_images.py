"""Taking images out of a store: their features, and every line that names them, leave the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import ImageError
from denseclip_viz.features.feature_shards import Shard, remove_shards, write_shard
from denseclip_viz.features.feature_store import FeatureStore, open_store
from denseclip_viz.features.manifest import FILE, Manifest, StoredImage, key_of, record_of
from denseclip_viz.features.shard_reader import ShardReader
from denseclip_viz.features.store_writer import line_of, opened
from denseclip_viz.files import atomic_write
from denseclip_viz.validation import is_whole

Images = int | str | os.PathLike[str] | Iterable[int | str | os.PathLike[str]]


@guarded
def remove(folder: str | os.PathLike[str], images: Images) -> FeatureStore:
    """Take images out of a store, and whatever it knew of them; the others keep their features to the bit.

    Files of features that hold some of them are written anew without them. All of it counts at once: after a kill the
    store is as it was, or as it is to be. `encode` adds an image again where it is given again.

    Args:
        folder: The store's.
        images: One or more, each by its path, by its name where no other has it, or by its number in the store. By its
            path also one that could not be read.

    Returns:
        The store, of what is left. Stores that were opened before say that it has changed.

    Raises:
        ImageError: An image that is not in the store, or all that are.
        OutputError: No store, a damaged one, or one that another process writes to; nothing of it has changed.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> scenes = [dcv.toyworld.scene(text, size=64) for text in ("a red car", "a taxi")]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = dcv.features.encode(dcv.load(), scenes, folder, progress=False)
        ...     len(store), len(dcv.features.remove(folder, 0))
        (2, 1)
    """
    store = open_store(folder)
    keys = _keys(store, images)
    if keys and not {image.key for image in store.images} - keys:
        got, expected = f"all {len(store)} images of the store", "one that stays"
        raise ImageError(got, expected=expected, fix="Delete the folder instead.")
    if keys:
        with opened(store.folder, store.question, {}) as writer:
            _remove(store.folder, writer.manifest, keys)
    return open_store(store.folder)


def _keys(store: FeatureStore, images: Images) -> set[str]:
    """Find the keys of images: that of a path is known also where it could not be read."""
    listed = [images] if isinstance(images, str | os.PathLike) or is_whole(images) else images
    if not isinstance(listed, Iterable):
        got, fix = f"images={images!r}", "For example ['a.jpg', 'b.jpg']."
        raise ImageError(got, expected="images by their paths, names or numbers", fix=fix)
    paths = ((image, os.path.abspath(image) if isinstance(image, str | os.PathLike) else "") for image in listed)
    return {path if path in store.known else store.images[store.find(image)].key for image, path in paths}


def _remove(folder: Path, manifest: Manifest, keys: set[str]) -> None:
    """Write the shards anew that hold some, then the list; what the old list counted goes last."""
    header, *lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    files = [(record["shard"] or {}).get("file", "") for record in records]
    naming = [any(_key(fields) in keys for fields in record["images"]) for record in records]
    touched = {file for file, names in zip(files, naming, strict=True) if file and names}
    left = [
        _without(record, keys) if names or file in touched else line
        for line, record, file, names in zip(lines, records, files, naming, strict=True)
    ]
    anew = [line_of(record_of(*again)) for again in _anew(folder, manifest, keys, touched)]
    with atomic_write(folder / FILE, [Path(FILE).suffix], force=True, fsync=True) as part:
        part.write_bytes(b"".join([header, *left, *anew]))
    remove_shards(folder, touched)


def _without(record: dict[str, Any], keys: set[str]) -> bytes:
    """Leave images in their order, without features: those that count stand in lines that follow."""
    left = [fields for fields in record["images"] if _key(fields) not in keys]
    for fields in left:
        fields.pop("geometry", None)
    return line_of({"shard": None, "geometries": [], "images": left}) if left else b""


def _anew(
    folder: Path, manifest: Manifest, keys: set[str], touched: set[str]
) -> Iterable[tuple[Shard, list[StoredImage]]]:
    """Write the features of what stays of each shard; they are read and checked one shard at a time."""
    stay: dict[str, list[StoredImage]] = {}
    for key, image in manifest.images.items():
        if image.shard and image.shard.file in touched and key not in keys:
            stay.setdefault(image.shard.file, []).append(image)
    for images in stay.values():
        shard, reader = images[0].shard, ShardReader(folder)
        assert shard is not None
        tensors = {name: _rows(reader.read(shard, name), name, images) for name in shard.checksums}
        yield write_shard(folder, images[0].number, tensors, shard.error), images


def _rows(tensor: Tensor, name: str, images: list[StoredImage]) -> Tensor:
    spans = [(image.row, 1) if name.startswith("global") else (image.start, image.positions) for image in images]
    return torch.cat([tensor[start : start + count] for start, count in spans])


def _key(fields: dict[str, Any]) -> str:
    return key_of(fields["file"], fields["digest"])
