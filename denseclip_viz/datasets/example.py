"""Examples, and how any data set gives them: images with what is true of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from denseclip_viz import arguments

Masks = Mapping[str, NDArray[np.bool_]]
CLASSES = "classes.txt"
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


def classes_named(prompts: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Find which class each prompt names: with an article or without, small letters or large.

    Example:
        >>> classes_named(["A Taxi", "a cab"], ["bus", "taxi"])
        {'A Taxi': 1}
    """
    names = [bare(name) for name in classes]
    return {prompt: names.index(bare(prompt)) for prompt in prompts if bare(prompt) in names}


def bare(text: str) -> str:
    """Take the article away, make letters small, and write those with accents in one of their two forms.

    Example:
        >>> bare(" The Taxi")
        'taxi'
    """
    return normalize("NFC", _ARTICLE.sub("", text.strip()).casefold())
