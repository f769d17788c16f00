"""What lies in a data set's folder: images with where their labels are, and what is missing, file by file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from denseclip_viz.datasets.dataset import Item
from denseclip_viz.datasets.index_masks import read_labels
from denseclip_viz.datasets.layouts import LAYOUTS, Ids, Layout
from denseclip_viz.datasets.name_lists import read_lines
from denseclip_viz.errors import PromptError
from denseclip_viz.files import IMAGES


class Fault(NamedTuple):
    """What is wrong with one file or folder of a data set, and what to do."""

    file: Path
    fault: str
    fix: str


class Contents(NamedTuple):
    """What is there: images in the order of their names or of their list, and what is wrong."""

    items: list[Item]
    faults: list[Fault]


def look_into(layout: Layout, root: Path, split: str, classes: Sequence[str]) -> Contents:
    """Find the images of a split and their masks; no file is opened but the list of the split.

    Example:
        >>> look_into(LAYOUTS["voc21"], Path("nowhere"), "val", ()).faults[0].fault
        'is no folder'
    """
    word = layout.word(split)
    if faults := misplaced(layout, root, word):
        return Contents([], faults)
    first = next(folder for folder in _under(root, layout.images, word) if folder.is_dir())
    masks, (images, faults) = _masks(layout, root, word), _images(first, layout.suffix)
    names, listed = sorted(images.keys() | masks.keys()), layout.list_file.format(split=word)
    if listed:
        names, wrong = _listed(root / listed)
        faults += wrong
    items = []
    for name in names:
        image, mask = images.get(name), masks.get(name)
        if image is not None and mask is not None:
            file, at = mask
            ids: Ids = layout.masks[at].ids or tuple(range(len(classes)))
            items.append(Item(name, image, file, partial(read_labels, file, ids, layout.advice)))
        elif image is not None:
            faults.append(_maskless(name, layout, root, word))
        else:
            why = f"but its mask {mask[0].relative_to(root)} is there" if mask else "and so is its mask"
            why += f", and {listed} names it" * bool(listed)
            missing = first / f"{name}{layout.suffix or '.jpg'}"
            faults.append(Fault(missing, f"is missing, {why}", "Copy it again, or take its name out."))
    if not names and not faults:
        what, place = ("names no image", root / listed) if listed else ("holds no images", first)
        faults = [Fault(place, what, _splits(layout, root))]
    return Contents(items, faults)


def _maskless(name: str, layout: Layout, root: Path, word: str) -> Fault:
    """Say which files would be the mask of an image that has none."""
    files = _under(root, [f"{each.folder}/{name}{each.suffix}" for each in layout.masks], word)
    others = "".join(f", and so is {file.name}" for file in files[1:] if file.name != files[0].name)
    return Fault(files[0], f"is missing{others}; it is the mask of {name}", layout.advice)


def misplaced(layout: Layout, root: Path, word: str) -> list[Fault]:
    """List what of the layout's folders is not there, with the place nearby where all of it is."""
    if not root.is_dir():
        return [Fault(root, "is no folder", "Check the path.")]
    missing = _missing(layout, root, word)
    if not missing:
        return []
    near = next((each for each in _nearby(root) if not _missing(layout, each, word)), None)
    fix = f"It seems to be in {near}: pass that." if near else ""
    faults = []
    for choice in missing:
        masks = any(mask.folder.format(split=word) in choice for mask in layout.masks)
        advice = fix or (layout.advice if masks else _splits(layout, root))
        others = "".join(f", and so is {place}" for place in choice[1:])
        faults.append(Fault(root / choice[0], f"is missing{others}", advice))
    return faults


def _missing(layout: Layout, root: Path, word: str) -> list[tuple[str, ...]]:
    return [each for each in layout.choices(word) if not any(_is_there(root / place) for place in each)]


def _is_there(place: Path) -> bool:
    return place.is_file() if place.suffix in (".txt", ".json") else place.is_dir()


def _nearby(root: Path, depth: int = 3, most: int = 500) -> Iterator[Path]:
    """Go through the folders above and those below, nearest first, however many there are not too far."""
    yield from root.resolve().parents[:depth]
    level = [root]
    for _ in range(depth):
        level = [folder for each in level for folder in _folders(each)][:most]
        yield from level


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(each.path) for each in entries if not each.name.startswith(".") and each.is_dir())
    except OSError:
        return []  # a folder that may not be looked into is not where the data set is


def _splits(layout: Layout, root: Path) -> str:
    """Say which splits there are."""
    if layout.list_file:
        there = sorted(file.stem for file in (root / layout.list_file).parent.glob("*.txt"))
    else:
        there = list(layout.splits)
    return f"Splits there: {', '.join(there[:12])}." if there else "Check the path."


def _under(root: Path, places: Sequence[str], word: str) -> list[Path]:
    return [root / place.format(split=word) for place in places]


def _images(folder: Path, suffix: str) -> tuple[dict[str, Path], list[Fault]]:
    """Find images by their names; two that differ in their ending alone would have one mask."""
    images: dict[str, Path] = {}
    faults = []
    for file in sorted(_files(folder)):
        if not file.lower().endswith(suffix.lower() or IMAGES):
            continue
        name = file[: -len(suffix)] if suffix else os.path.splitext(file)[0]
        if name in images:
            faults.append(Fault(folder / file, f"has the name of {images[name]}", "Rename one of them and its mask."))
        images.setdefault(name, folder / file)
    return images, faults


def _files(folder: Path, below: str = "", depth: int = 3) -> Iterator[str]:
    """List the files in a folder and in those below, as paths below it; hidden ones are none."""
    with os.scandir(folder) as entries:
        for each in entries:
            if each.name.startswith("."):
                continue
            if not each.is_dir():
                yield f"{below}{each.name}"
            elif depth:
                yield from _files(folder / each.name, f"{below}{each.name}/", depth - 1)


def _masks(layout: Layout, root: Path, word: str) -> Mapping[str, tuple[Path, int]]:
    """Find masks by the names of their images, each with the kind that it is of; of several the first kind counts.

    A file is a mask of the longest ending that layouts have in such a folder: 1_labelTrainIds.png is not the mask of
    an image 1_labelTrainIds.
    """
    mine = {masks.folder for masks in layout.masks}
    others = {masks.suffix for each in LAYOUTS.values() for masks in each.masks if masks.folder in mine}
    suffixes = sorted(others | {masks.suffix for masks in layout.masks}, key=len, reverse=True)
    there: dict[str, tuple[Path, int]] = {}
    for at, masks in enumerate(layout.masks):
        folder = root / masks.folder.format(split=word)
        for file in _files(folder) if folder.is_dir() else ():
            suffix = next((each for each in suffixes if file.endswith(each)), None)
            if suffix == masks.suffix:
                there.setdefault(file[: -len(suffix)], (folder / file, at))
    return there


def _listed(file: Path) -> tuple[list[str], list[Fault]]:
    """Read the names of a split; one that is there twice would be counted twice."""
    try:
        names = [line for line in read_lines(file, "a text file in UTF-8, an image a line", blank=True) if line]
    except PromptError as error:
        return [], [Fault(file, error.got.removeprefix(f"{file} "), error.fix)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    return list(dict.fromkeys(names)), [Fault(file, f"names {name} twice", "Take one out.") for name in twice]
