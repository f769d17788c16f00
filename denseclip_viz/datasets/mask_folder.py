"""A folder of index masks beside images, classes named in a text file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.example import Example, bare, classes_named
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.prompts import Prompts

CLASSES = "classes.txt"


@dataclass(frozen=True)
class MaskFolder:
    """Images with masks as indexed PNG files, named as they are; line i of `classes.txt`, from 0, names i.

    It is a data set, and called with the path of an image it gives `{prompt: (row, column) bool}`.

    Attributes:
        folder: Where the masks are.
        images: The images' paths.
        classes: Their names, bare and small.
        indices: Which class each judged prompt names.
    """

    folder: Path
    images: tuple[Path, ...]
    classes: tuple[str, ...]
    indices: dict[str, int]

    @classmethod
    def of(cls, folder: Path, images: Sequence[Path], prompts: Prompts) -> MaskFolder:
        """Find the masks of images and the classes of prompts, before any work.

        A prompt names a class by its name, with an article or without, small letters or large. Prompts that name
        none are not judged; absent ones are the baseline.

        Args:
            folder: Of masks, as `denseclip-viz toyworld export` writes it.
            images: Paths.
            prompts: What will be asked for.

        Returns:
            The data set.

        Raises:
            ImageError: no such folder, no `classes.txt` in it or beside it, or an image without a mask.
            PromptError: no prompt names a class.

        Example:
            >>> MaskFolder.of(Path("nowhere"), [], Prompts(["a taxi"]))
            Traceback (most recent call last):
            denseclip_viz.errors.ImageError: nowhere is no folder. Expected a folder of masks with classes.txt. ...
        """
        names = _names(folder)
        indices = classes_named(prompts.named(absent=False), names)
        if not indices:
            got = f"None of the prompts {', '.join(map(repr, prompts.prompts[:6]))} is a class of these masks"
            expected = f"some of {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
            raise PromptError(got, expected=expected, fix=f"Name them as {CLASSES} does, with an article or without.")
        twice = next((prompt for prompt in indices if names.count(bare(prompt)) > 1), None)
        if twice is not None:
            got, fix = f"{CLASSES} has two classes that {twice!r} names", "Give each class a name of its own."
            raise PromptError(got, expected="each name once", fix=fix)
        masks = cls(folder, tuple(images), tuple(names), indices)
        masks._check()
        return masks

    def file(self, image: Path) -> Path:
        """Say where the mask of an image is."""
        return self.folder / f"{image.stem}.png"

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
        return (Example("", image, labels=_read(self.file(image)), classes=self.classes) for image in self.images)

    def __call__(self, image: Path) -> dict[str, NDArray[np.bool_]]:
        """Read the masks of one image."""
        indices = _read(self.file(image))
        return {prompt: indices == index for prompt, index in self.indices.items()}


def _names(folder: Path) -> list[str]:
    for place in (folder / CLASSES, folder.parent / CLASSES):
        if place.is_file():
            return _lines(place)
    what = f"{folder} has no {CLASSES}, nor has the folder it is in" if folder.is_dir() else f"{folder} is no folder"
    expected, fix = f"a folder of masks with {CLASSES}", "Run denseclip-viz toyworld export for an example."
    raise ImageError(what, expected=expected, fix=fix)


def _lines(file: Path) -> list[str]:
    try:
        return [bare(line) for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except OSError as error:
        why = error.strerror or type(error).__name__
    got = f"{file} cannot be read ({why})"
    raise ImageError(got, expected="a text file in UTF-8, a class a line", fix="Save it again as UTF-8.")


def _read(file: Path) -> NDArray[np.integer]:
    """Read class indices; a palette is for people and is not looked at."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            if opened.mode in ("P", "L", "I;16", "I"):
                return np.asarray(opened).astype(np.int64)
            got = f"{file} is an image in mode {opened.mode}"
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        got = f"{file} cannot be read ({type(error).__name__})"
    raise ImageError(got, expected="a PNG of class indices, with a palette or grey", fix="Export the masks again.")
