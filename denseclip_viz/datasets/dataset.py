"""A data set in memory: where its images are, how their labels are read, what its classes are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.example import Example
from denseclip_viz.validation import many


class Item(NamedTuple):
    """An image that has labels.

    Attributes:
        name: Its name in results: the path below the data set's images, without its ending.
        image: Where it is.
        truth: Where its labels are.
        labels: Reads `(row, column)` places in the classes; negative ones are ignored.
    """

    name: str
    image: Path
    truth: Path
    labels: Callable[[], NDArray[np.integer]]


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Example]):
    """Images whose every pixel has a class or is ignored; each is read when it is asked for.

    It can be counted, gone through, indexed and cut: `dataset[:100]` is a data set too.

    Attributes:
        name: The layout's.
        split: Which images of it.
        classes: What places in `Example.labels` mean, each name once.
        names: What each class is called in prompts: several are synonyms, of which the highest counts. A name may
            stand for two classes: SCLIP's list has "bed" as a class of COCO-Object and in its background.
        background: The place of the class that is all the rest; None without one.
        items: The images.

    Example:
        >>> import denseclip_viz as dcv, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     dataset = dcv.datasets.read("folder", dcv.toyworld.export(f"{place}/toy", 3, size=64))
        ...     dataset[:2], dataset[1].labels.shape, dataset.background
        (<folder: 2 images, 52 classes>, (64, 64), None)
    """

    name: str
    split: str
    classes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    background: int | None
    items: tuple[Item, ...]

    def __repr__(self) -> str:
        named = " ".join(filter(None, (self.name, self.split)))
        return f"<{named}: {many(len(self), 'image')}, {len(self.classes)} class{'es' * (len(self.classes) != 1)}>"

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, item: int) -> Example: ...

    @overload
    def __getitem__(self, item: slice) -> Dataset: ...

    def __getitem__(self, item: int | slice) -> Example | Dataset:
        if isinstance(item, slice):
            return replace(self, items=self.items[item])
        one = self.items[item]
        return Example(one.name, one.image, labels=one.labels, classes=self.classes)

    def __iter__(self) -> Iterator[Example]:
        return (self[at] for at in range(len(self)))
