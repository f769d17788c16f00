"""A folder of index masks beside images, classes named in a text file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.example import CLASSES, Example, bare, classes_named
from denseclip_viz.datasets.index_masks import read_labels
from denseclip_viz.datasets.layouts import Ids, MaskFiles, layout_named
from denseclip_viz.datasets.name_lists import read_lines
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.prompts import Prompts


@dataclass(frozen=True)
class MaskFolder:
    """Images with masks as indexed PNG files, named as they are; line i of `classes.txt`, from 0, names i; 255 none.

    It is a data set, and called with the path of an image it gives `{prompt: (row, column) bool}`.

    Attributes:
        folder: Where the masks are.
        images: The images' paths.
        classes: Their names, bare and small.
        indices: Which class each judged prompt names.
        suffix: How images end; `""` for any.
        masks: How masks are called and what their ids mean; of each image, the first that is there counts.
    """

    folder: Path
    images: tuple[Path, ...]
    classes: tuple[str, ...]
    indices: dict[str, int]
    suffix: str = ""
    masks: tuple[MaskFiles, ...] = (MaskFiles(""),)

    @classmethod
    def of(cls, folder: Path, images: Sequence[Path], prompts: Prompts, layout: str = "folder") -> MaskFolder:
        """Find the masks of images and the classes of prompts, before any work.

        A prompt names a class by its name, with an article or without, small letters or large. Prompts that name
        none are not judged; absent ones are the baseline.

        Args:
            folder: Of masks, as `denseclip-viz toyworld export` writes it.
            images: Paths.
            prompts: What will be asked for.
            layout: Of the data set whose masks these are, such as "voc21", which says what classes there are; see
                `layouts`.

        Returns:
            The data set.

        Raises:
            ImageError: no such folder, no `classes.txt` in it or beside it, or an image without a mask.
            PromptError: no prompt names a class.
            DatasetError: no such layout.

        Example:
            >>> import denseclip_viz as dcv
            >>> from pathlib import Path
            >>> dcv.datasets.MaskFolder.of(Path("nowhere"), [], dcv.Prompts(["a taxi"]))
            Traceback (most recent call last):
            denseclip_viz.errors.ImageError: nowhere is no folder. Expected a folder of masks with classes.txt. ...
        """
        kind = layout_named(layout)
        names, source = (list(kind.classes), kind.title) if kind.classes else (_names(folder), CLASSES)
        indices = classes_named(prompts.named(absent=False), names)
        if not indices:
            got = f"None of the prompts {', '.join(map(repr, prompts.prompts[:6]))} is a class of these masks"
            expected = f"some of {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
            raise PromptError(got, expected=expected, fix=f"Name them as {source} does, with an article or without.")
        twice = next((prompt for prompt in indices if names.count(bare(prompt)) > 1), None)
        if twice is not None:
            got, fix = f"{source} has two classes that {twice!r} names", "Give each class a name of its own."
            raise PromptError(got, expected="each name once", fix=fix)
        masks = cls(folder, tuple(images), tuple(names), indices, kind.suffix, kind.masks)
        masks._check()
        return masks

    def file(self, image: Path) -> Path:
        """Say where the mask of an image is."""
        return self._files(image)[0][0]

    def _files(self, image: Path) -> list[tuple[Path, Ids]]:
        """List where the mask of an image may be, those that are there first."""
        end = len(self.suffix) if image.name.lower().endswith(self.suffix.lower()) else 0  # .JPG, as it is found too
        stem = image.name[: len(image.name) - end] if self.suffix else image.stem
        files = [(self.folder / f"{stem}{masks.suffix}", masks.ids) for masks in self.masks]
        return sorted(files, key=lambda pair: not pair[0].is_file())

    def labels(self, image: Path) -> NDArray[np.int16]:
        """Read the class of every pixel of an image; negative ones are ignored."""
        file, ids = self._files(image)[0]
        return read_labels(file, ids or tuple(range(len(self.classes))))

    def _check(self) -> None:
        owners: dict[str, Path] = {}
        for image in self.images:
            file, other = self.file(image), owners.setdefault(image.stem, image)
            if other != image:
                got, fix = f"{other} and {image} both have the mask {file}", "Rename one of them."
                raise ImageError(got, expected="a mask for each image", fix=fix)
            if not file.is_file():
                got, fix = f"{image} has no mask {file}", "Name each mask as its image is named."
                raise ImageError(got, expected="a .png of class indices for every image", fix=fix)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Example]:
        return (Example("", image, labels=partial(self.labels, image), classes=self.classes) for image in self.images)

    def __call__(self, image: Path) -> dict[str, NDArray[np.bool_]]:
        """Read the masks of one image."""
        indices = self.labels(image)
        return {prompt: indices == index for prompt, index in self.indices.items()}


def _names(folder: Path) -> list[str]:
    for place in (folder / CLASSES, folder.parent / CLASSES):
        if place.is_file():
            return [bare(line) for line in read_lines(place)]
    what = f"{folder} has no {CLASSES}, nor has the folder it is in" if folder.is_dir() else f"{folder} is no folder"
    expected, fix = f"a folder of masks with {CLASSES}", "Run denseclip-viz toyworld export for an example."
    raise ImageError(what, expected=expected, fix=fix)
