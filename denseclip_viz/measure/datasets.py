"""Data sets: images with what is true of them, from a folder, the bundled world, or anything that gives both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from operator import length_hint
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from denseclip_viz import arguments
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.measure.map_scores import Masks
from denseclip_viz.prompts import Prompts

EachMasks = Iterable[Masks] | Callable[[Any], Masks]
CLASSES = "classes.txt"
_OVER: Any = object()
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Example:
    """An image with what is true of it: masks by prompt, or the class of every pixel.

    A data set is anything that can be gone through and gives these, and has `classes` where it gives labels.

    Attributes:
        name: Its name in results; the image's own when empty.
        image: Anything that `Model.trace` takes.
        masks: `{prompt: (row, column) bool}`, of the upright image.
        labels: `(row, column)`, places in `classes`; negative ones are no class.
        classes: The data set's; filled in where it is gone through.

    Example:
        >>> image, labels = np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 1]])
        >>> example = Example("tiny", image, labels=labels, classes=("sky", "grass"))
        >>> example.masks_of(["the grass"])["the grass"].tolist()
        [[False, True], [True, True]]
    """

    name: str
    image: Any
    masks: Masks | None = None
    labels: NDArray[np.integer[Any]] | None = None
    classes: tuple[str, ...] = ()

    def masks_of(self, prompts: Iterable[str]) -> Masks | None:
        """Give the masks that are there, else those of the classes that prompts name, with an article or without."""
        if self.labels is None or self.masks is not None:
            return self.masks
        return {prompt: self.labels == at for prompt, at in classes_named(prompts, self.classes).items()}


def examples(dataset: Iterable[Any]) -> Iterator[Example]:
    """Go through a data set: examples, pairs of an image and its masks, scenes of the bundled world, or bare images.

    It has `classes` if its labels need them. Each example is made when its turn comes.

    Raises:
        ImageError: one image where several are due.

    Example:
        >>> import denseclip_viz as dcv
        >>> [example.labels.shape for example in examples(dcv.toyworld.dataset(2, size=64))]
        [(64, 64), (64, 64)]
    """
    classes = tuple(getattr(dataset, "classes", ()))
    for item in arguments.require_several(dataset):
        if isinstance(item, Example):
            yield replace(item, classes=item.classes or classes)
        elif isinstance(item, tuple) and len(item) == 2:
            yield Example("", *item, classes=classes)
        elif callable(getattr(item, "labels", None)):
            yield Example("", item, labels=item.labels(), classes=classes or tuple(item.classes))
        else:
            yield Example("", item)


@dataclass(frozen=True)
class Paired:
    """Images with their masks beside them, each pair made when its turn comes.

    Attributes:
        images: Images of any kind.
        masks: `{prompt: (row, column) bool}` of each in their order, or a function of the image; None without any.
    """

    images: Iterable[Any]
    masks: EachMasks | None

    def __length_hint__(self) -> int:
        return length_hint(self.images)

    def __iter__(self) -> Iterator[Example]:
        images, masks = arguments.require_several(self.images), self.masks
        if isinstance(masks, Mapping):
            got, fix = "One dict of masks for several images", "Pass a list of dicts, or a function of the image."
            raise PromptError(got, expected="a dict of masks for each image", fix=fix)
        if masks is None or callable(masks):
            yield from (Example("", image, masks and masks(image)) for image in images)
            return
        rest, count = chain(masks, repeat(_OVER)), 0
        for count, (image, each) in enumerate(zip(images, rest), 1):  # noqa: B905
            if each is _OVER:
                raise _unequal(f"More images than masks (masks end after {count - 1})")
            yield Example("", image, each)
        if next(rest) is not _OVER:
            raise _unequal(f"More masks than images (images end after {count})")


def _unequal(got: str) -> PromptError:
    return PromptError(got, expected="a dict of masks for each image, in their order", fix="Pass {} for none.")


def classes_named(prompts: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Find which class each prompt names: with an article or without, small letters or large.

    Example:
        >>> classes_named(["A Taxi", "a cab"], ["bus", "taxi"])
        {'A Taxi': 1}
    """
    names = [_bare(name) for name in classes]
    return {prompt: names.index(_bare(prompt)) for prompt in prompts if _bare(prompt) in names}


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
        twice = next((prompt for prompt in indices if names.count(_bare(prompt)) > 1), None)
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
        return [_bare(line) for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except OSError as error:
        why = error.strerror or type(error).__name__
    got = f"{file} cannot be read ({why})"
    raise ImageError(got, expected="a text file in UTF-8, a class a line", fix="Save it again as UTF-8.")


def _bare(text: str) -> str:
    """Take the article away, make letters small, and write those with accents in one of their two forms."""
    return normalize("NFC", _ARTICLE.sub("", text.strip()).casefold())


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
