"""Instances as COCO's JSON writes them, polygons and RLE, made labels: the class of every pixel."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.contents import Contents, Fault, misplaced
from denseclip_viz.datasets.dataset import Item
from denseclip_viz.datasets.layouts import IGNORED, Layout
from denseclip_viz.errors import DatasetError, ImageError

BACKGROUND = "background"
_CATEGORY, _SEGMENTATION = "category_id", "segmentation"


def instances(layout: Layout, root: Path, split: str) -> tuple[Contents, tuple[str, ...]]:
    """Find the images of a JSON file and their instances, and what classes there are: background, then by number.

    Example:
        >>> from denseclip_viz.datasets.layouts import LAYOUTS
        >>> instances(LAYOUTS["coco-json"], Path("nowhere"), "val")[0].faults[0].fault
        'is no folder'
    """
    word = layout.word(split)
    if faults := misplaced(layout, root, word):
        return Contents([], faults), ()
    file = root / layout.annotations.format(split=word)
    folder = next(each for each in (root / place.format(split=word) for place in layout.images) if each.is_dir())
    try:
        said_by = _parsed(file)
        numbers = sorted((int(each["id"]), str(each["name"])) for each in said_by["categories"])
        known = {number: at for at, (number, _) in enumerate(numbers, 1)}
        items, faults = _contents(said_by, file, folder, known, layout.advice)
        inside = Contents(items, [*_doubles(said_by["images"], numbers, file), *faults])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        why = f"cannot be read as COCO's instances ({type(error).__name__}: {error})"
        return Contents([], [Fault(file, why, "Write images, annotations and categories.")]), ()
    return inside, (BACKGROUND, *(name for _, name in numbers))


def _parsed(file: Path) -> Mapping[str, Any]:
    parsed = json.loads(file.read_text(encoding="utf-8"))
    for key in ("images", "annotations", "categories"):
        if not isinstance(parsed[key], list):
            raise TypeError(f"{key} is no list")
    return dict(parsed)


def _contents(parsed: Mapping[str, Any], file: Path, folder: Path, known: Mapping[int, int], advice: str) -> Contents:
    """Give each image its instances; what belongs to no image or class is a fault of the file."""
    images = {each["id"]: each for each in parsed["images"]}
    of_image, faults = defaultdict(list), []
    for at, each in enumerate(parsed["annotations"]):
        what = f"annotation {each.get('id', at)}"
        if each["image_id"] not in images:
            faults.append(Fault(file, f"{what} is of image {each['image_id']}, which is not there", advice))
        elif each[_CATEGORY] not in known:
            faults.append(Fault(file, f"{what} is of category {each[_CATEGORY]}, which is not there", advice))
        elif not each.get(_SEGMENTATION):
            faults.append(Fault(file, f"{what} has no segmentation", advice))
        else:
            of_image[each["image_id"]].append(each)
    items = []
    for number, image in sorted(images.items(), key=lambda pair: str(pair[1]["file_name"])):
        path, size = folder / image["file_name"], (int(image["height"]), int(image["width"]))
        if not path.is_file():
            faults.append(Fault(path, f"is missing, but {file} names it", "Copy it again, or take it out."))
            continue
        labels = partial(paint, of_image[number], size, known, f"{file}: image {image['file_name']}")
        items.append(Item(_name(image), path, file, labels))
    return Contents(items, faults)


def _name(image: Mapping[str, Any]) -> str:
    return Path(image["file_name"]).with_suffix("").as_posix()


def _doubles(images: Sequence[Any], categories: Sequence[tuple[int, str]], file: Path) -> Iterator[Fault]:
    """List images and categories of which one would stand for another, as they have one id or one name."""
    apart = {each["id"]: each for each in images}.values()  # those of one id are one fault
    called = [(name.strip(), f"id {number}") for number, name in categories]
    for what, fix, keyed in (
        ("images of id", "Number them anew.", [(each["id"], each["file_name"]) for each in images]),
        ("images named", "Rename one of them.", [(_name(each), each["file_name"]) for each in apart]),
        ("categories of id", "Number them anew.", categories),
        ("categories named", "Rename one, or make them one.", called),
    ):
        for key, one, other in _repeated(keyed):
            yield Fault(file, f"has two {what} {key}: {one} and {other}", fix)
    if BACKGROUND in dict(called):
        why = f"has a category named {BACKGROUND}, which is the class of pixels of no category"
        yield Fault(file, why, "Rename it, or take it and its annotations out.")


def _repeated(keyed: Iterable[tuple[Any, str]]) -> Iterator[tuple[Any, str, str]]:
    """Give each key that was there before, with what had it first and what has it now."""
    first: dict[Any, str] = {}
    for key, what in keyed:
        if key in first:
            yield key, first[key], what
        first.setdefault(key, what)


def paint(
    annotations: Sequence[Mapping[str, Any]], size: tuple[int, int], known: Mapping[int, int], where: str
) -> NDArray[np.int16]:
    """Paint the instances of an image: 0 where there is none, ignored where two classes claim a pixel.

    Crowds, which are marked roughly, are ignored but where an instance lies on them. Polygons are filled by COCO's
    own code.

    Raises:
        ImageError: a segmentation that cannot be read, or is of another size.
        DatasetError: pycocotools is not installed.

    Example:
        >>> square = {"category_id": 7, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
        >>> paint([square], (2, 3), {7: 1}, "the image").tolist()
        [[1, 1, 0], [1, 1, 0]]
    """
    labels, crowds = np.zeros(size, dtype=np.int16), np.zeros(size, dtype=bool)
    for each in annotations:
        mask = _mask(each[_SEGMENTATION], size, where)
        if each.get("iscrowd"):
            crowds |= mask
            continue
        place = known[each[_CATEGORY]]
        labels[mask & (labels != 0) & (labels != place)] = IGNORED
        labels[mask & (labels == 0)] = place
    labels[crowds & (labels == 0)] = IGNORED
    return labels


def _mask(segmentation: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        got, fix = "Polygons of COCO's JSON without pycocotools", 'Run pip install "denseclip_viz[coco]".'
        raise DatasetError(got, expected="the package that fills them", fix=fix) from error
    try:
        if isinstance(segmentation, Mapping) and isinstance(segmentation["counts"], str | bytes):
            runs = dict(segmentation)
        else:
            runs = coco.frPyObjects(segmentation, *size)
            runs = coco.merge(runs) if isinstance(runs, list) else runs
        mask: NDArray[np.bool_] = coco.decode(runs).astype(bool)
    except Exception as error:
        got = f"{where} has a segmentation that cannot be read ({type(error).__name__})"
        raise ImageError(got, expected="polygons [[x, y, …]] or RLE", fix="Export it again.") from error
    if mask.shape != size:
        got = f"{where} has a segmentation of size {mask.shape}"
        raise ImageError(got, expected=f"that of the image, {size}", fix="Export it again.")
    return mask
