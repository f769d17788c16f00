"""Examples, and how any data set gives them: images with what is true of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from denseclip_viz import arguments

Masks = Mapping[str, NDArray[np.bool_]]
Truth = TypeVar("Truth")
CLASSES = "classes.txt"
_ARTICLE = re.compile(r"^(a|an|the)\s+", re.IGNORECASE)


class Late(Generic[Truth]):
    """A field that is given as it is, or as a function, which is called once, when it is first asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, one: None, owner: type) -> None: ...

    @overload
    def __get__(self, one: object, owner: type) -> Truth | None: ...

    def __get__(self, one: object, owner: type) -> Truth | None:
        if one is None:
            return None  # what a field is by default
        value: Any = vars(one)[self._name]
        truth: Truth | None = value() if callable(value) else value
        vars(one)[self._name] = truth
        return truth

    def __set__(self, one: object, value: Any) -> None:
        vars(one)[self._name] = value


@dataclass(frozen=True, eq=False)
class Example:
    """An image with what is true of it: masks by prompt, or the class of every pixel.

    A data set is anything that can be gone through and gives these, and has `classes` where it gives labels.

    Attributes:
        name: Its name in results; the image's own when empty.
        image: Anything that `Model.trace` takes.
        masks: `{prompt: (row, column) bool}`, of the upright image; or a function that reads them, as for labels.
        labels: `(row, column)`, places in `classes`; negative ones are no class. Or a function without arguments that
            reads them, in a thread where images are read in one: where it raises an `ImageError`, the image is left
            out as one that cannot be read.
        classes: The data set's; filled in where it is gone through.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> image, labels = np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 1]])
        >>> example = dcv.datasets.Example("tiny", image, labels=labels, classes=("sky", "grass"))
        >>> example.masks_of(["the grass"])["the grass"].tolist()
        [[False, True], [True, True]]
    """

    name: str
    image: Any
    masks: Late[Masks] = Late()
    labels: Late[NDArray[np.integer[Any]]] = Late()
    classes: tuple[str, ...] = ()

    def masks_of(self, prompts: Iterable[str]) -> Masks | None:
        """Give the masks that are there, else those of the classes that prompts name, with an article or without."""
        if self.labels is None or self.masks is not None:
            return self.masks
        return {prompt: self.labels == at for prompt, at in classes_named(prompts, self.classes).items()}

    def read(self) -> None:
        """Read what is true of it, where that is not read yet.

        Raises:
            ImageError: it cannot be read.
        """
        _ = self.masks, self.labels


def changed(example: Example, **fields: Any) -> Example:
    """Give an example another image or other classes; what is not read yet is not read for it.

    Example:
        >>> changed(Example("tiny", "tiny.png", labels=lambda: 1 / 0), classes=("sky",)).classes
        ('sky',)
    """
    other = copy(example)
    vars(other).update(fields)
    return other


def examples(dataset: Iterable[Any]) -> Iterator[Example]:
    """Go through a data set: examples, pairs of an image and its masks, scenes of the bundled world, or bare images.

    It has `classes` if its labels need them. Each example is made when its turn comes, and its masks and labels are
    read when they are asked for.

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
            yield changed(item, classes=item.classes or classes)
        elif isinstance(item, tuple) and len(item) == 2:
            yield Example("", *item, classes=classes)
        elif callable(getattr(item, "labels", None)):
            yield Example("", item, labels=item.labels, classes=classes or tuple(item.classes))
        else:
            yield Example("", item)


def classes_of(dataset: Iterable[Any]) -> tuple[str, ...]:
    """Give a data set's classes; those of a list where all examples name the same, else none.

    Example:
        >>> sky = Example("", "sky.png", classes=("sky", "grass"))
        >>> classes_of([sky, sky]), classes_of([sky, Example("", "sea.png", classes=("sea",))])
        (('sky', 'grass'), ())
    """
    named = classes_named_in(dataset)
    return tuple(getattr(dataset, "classes", ())) or (named[0] if len(named) == 1 else ())


def classes_named_in(dataset: Iterable[Any]) -> list[tuple[str, ...]]:
    """List which classes the examples of a list name, each once, in their order; a longer look would read images.

    Example:
        >>> classes_named_in([Example("", "sky.png", classes=("sky",)), ("sea.png", {})])
        [('sky',), ()]
    """
    listed = dataset if isinstance(dataset, list | tuple) else ()
    return list(dict.fromkeys(tuple(getattr(item, "classes", ()) or ()) for item in listed))


def image_of(item: Any) -> Any:
    """Give the image of what a data set gives, without a look at what is true of it.

    Example:
        >>> image_of(("street.png", {})), image_of(Example("", "street.png", masks=lambda: 1 / 0))
        ('street.png', 'street.png')
    """
    if isinstance(item, Example):
        return item.image
    return item[0] if isinstance(item, tuple) and len(item) == 2 else item


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
