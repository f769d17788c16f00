"""Read a data set from its folder, or list all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from denseclip_viz.datasets.coco_json import instances
from denseclip_viz.datasets.contents import Contents, Fault, look_into
from denseclip_viz.datasets.dataset import Dataset, Item
from denseclip_viz.datasets.example import CLASSES
from denseclip_viz.datasets.layouts import Layout, layout_named
from denseclip_viz.datasets.name_lists import Names, choose, parse, read_lines
from denseclip_viz.errors import DatasetError, DenseclipVizError, ImageError
from denseclip_viz.images import read as read_image
from denseclip_viz.progress import bar
from denseclip_viz.validation import check_path, many

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 10


def read(
    name: str | Layout,
    folder: str | os.PathLike[str],
    split: str | None = None,
    *,
    names: str | os.PathLike[str] | Sequence[str] | None = None,
) -> Dataset:
    """Find the images and labels of a data set in a local folder; each is read when its turn comes.

    Args:
        name: A layout: see `layouts()`.
        folder: That which has what `layouts()` lists in it.
        split: Which images: "val" by default where a data set has splits. A list of one's own beside the others, such
            as `ImageSets/Segmentation/mine.txt`, is the split "mine".
        names: What classes are called in prompts: a published list ("maskclip", "sclip", "proxyclip"), a text file, a
            class a line with its synonyms parted by commas, or such lines. By default plain names, one a class.

    Returns:
        A data set: sized, indexed, cut by slices, with `classes`, `names`, `background`.

    Raises:
        DatasetError: no such layout, or images or masks that are missing: the first ten are listed.
        PromptError: a list of names that does not fit.

    Example:
        >>> import denseclip_viz as dcv, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     dataset = dcv.datasets.read("folder", dcv.toyworld.export(f"{place}/toy", 2, size=64))
        >>> dataset.name, len(dataset), dataset.classes[:2]
        ('folder', 2, ('sky', 'night sky'))
    """
    layout, root, split = _asked(name, folder, split)
    inside, classes, called = _looked(layout, root, split)
    if inside.faults:
        raise _refusal(inside.faults, layout, root, split)
    if names is not None:
        called = choose(names, layout.names, layout.background, classes)
    return Dataset(layout.name, split, classes, called, 0 if layout.background else None, tuple(inside.items))


def check(
    name: str | Layout, folder: str | os.PathLike[str], split: str | None = None, *, progress: bool = True
) -> pd.DataFrame:
    """List, file by file, what is missing or does not match in a data set; every image and mask is opened.

    Args:
        name: As for `read`.
        folder: As for `read`.
        split: As for `read`.
        progress: Whether to show a bar, where somebody can see it.

    Returns:
        A row a fault: the file, as a path below the folder, what is wrong, what to do. No rows: all is well.

    Raises:
        DatasetError: no such layout.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.datasets.check("voc21", "nowhere")[["file", "fault"]].values.tolist()
        [['nowhere', 'is no folder']]
    """
    import pandas as pd

    layout, root, split = _asked(name, folder, split)
    (items, faults), _, _ = _looked(layout, root, split)
    with bar("images", wanted=progress, total=len(items)) as advance:
        for done, item in enumerate(items, 1):
            faults += _opened(item)
            advance(done, len(items))
    table: pd.DataFrame = pd.DataFrame(
        [(str(_below(file, root)), *rest) for file, *rest in faults], columns=list(Fault._fields)
    )
    return table


def _asked(name: str | Layout, folder: str | os.PathLike[str], split: str | None) -> tuple[Layout, Path, str]:
    layout = layout_named(name)
    return layout, check_path(folder, "folder").expanduser(), next(iter(layout.splits), "") if split is None else split


def _looked(layout: Layout, root: Path, split: str) -> tuple[Contents, tuple[str, ...], Names]:
    """Look into a folder; one that may not be looked into is a fault."""
    try:
        return _look(layout, root, split)
    except OSError as error:
        why = f"cannot be looked into ({error.strerror or type(error).__name__})"
        return Contents([], [Fault(Path(error.filename or root), why, "Check its permissions.")]), (), ()


def _look(layout: Layout, root: Path, split: str) -> tuple[Contents, tuple[str, ...], Names]:
    """Find what is there, with the classes and what they are called where no list is asked for."""
    classes = layout.classes
    if layout.annotations:
        inside, classes = instances(layout, root, split)
    elif not classes:
        try:
            called = parse(read_lines(root / CLASSES), str(root / CLASSES))
        except DenseclipVizError as error:
            inside = look_into(layout, root, split, ("",))
            wrong = [Fault(root / CLASSES, error.got.removeprefix(f"{root / CLASSES} "), error.fix)]
            return Contents([], inside.faults or wrong), (), ()
        classes = tuple(each[0] for each in called)
        return look_into(layout, root, split, classes), classes, called
    else:
        inside = look_into(layout, root, split, classes)
    return inside, classes, tuple((each,) for each in classes)


def _refusal(faults: Sequence[Fault], layout: Layout, root: Path, split: str) -> DatasetError:
    listed = "; ".join(f"{_below(fault.file, root)} {fault.fault}" for fault in faults[:_SHOWN])
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    got = f"{layout.name} in {root} has {many(len(faults), 'fault')}: {listed}{more}"
    fixes = dict.fromkeys(fault.fix for fault in faults[:_SHOWN])
    return DatasetError(got, expected=layout.places(split), fix=" ".join(fixes))


def _below(file: Path, root: Path) -> Path:
    return file.relative_to(root) if file != root and file.is_relative_to(root) else file


def _opened(item: Item) -> list[Fault]:
    """Open an image and its labels, and compare their sizes."""
    faults, size, labels = [], None, None
    try:
        size = read_image(item.image).size[::-1]
    except ImageError as error:
        faults.append(Fault(item.image, error.got.removeprefix(f"{item.image} "), error.fix))
    try:
        labels = item.labels()
    except ImageError as error:
        faults.append(Fault(item.truth, error.got.removeprefix(f"{item.truth} "), error.fix))
    if size is None or labels is None or labels.shape == size:
        return faults
    turned = ""
    with Image.open(item.image) as stored:
        if stored.size[::-1] == labels.shape:
            turned = ", which its EXIF tag turns"
    height, width = labels.shape
    got = f"is {height} x {width} pixels, its image {item.image.name} is {size[0]} x {size[1]}{turned}"
    return [*faults, Fault(item.truth, got, "Take both from one source.")]
