"""Images and their masks, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from operator import length_hint
from typing import Any

from denseclip_viz import arguments
from denseclip_viz.datasets.corrupted import CorruptedImages
from denseclip_viz.datasets.dataset import Dataset
from denseclip_viz.datasets.example import Example, Masks, examples
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.validation import short

EachMasks = Iterable[Masks] | Callable[[Any], Masks]
_OVER: Any = object()


@dataclass(frozen=True)
class Paired:
    """Images with their masks beside them, each pair made when its turn comes.

    Attributes:
        images: Images of any kind.
        masks: `{prompt: (row, column) bool}` of each in their order, or a function of the image; None without any,
            and for a `Dataset`, which has its own.
    """

    images: Iterable[Any]
    masks: EachMasks | None

    @property
    def judged(self) -> bool:
        """Say whether there are masks: those given, or a data set's own."""
        return self.masks is not None or isinstance(self.images, Dataset | CorruptedImages)

    def __length_hint__(self) -> int:
        return length_hint(self.images)

    def __iter__(self) -> Iterator[Example]:
        images, masks = arguments.require_several(self.images), self.masks
        if isinstance(masks, Mapping):
            got, fix = "One dict of masks for several images", "Pass a list of dicts, or a function of the image."
            raise PromptError(got, expected="a dict of masks for each image", fix=fix)
        if masks is None and self.judged:
            yield from examples(images)
            return
        if masks is None or callable(masks):
            yield from (Example("", image, masks and _outcome(masks, image)) for image in images)
            return
        if isinstance(masks, str) or not isinstance(masks, Iterable):
            got, fix = f"masks={short(masks)}", 'Pass [{"grass": mask}, …], boolean, of each image\'s size.'
            raise PromptError(got, expected="a dict of masks for each image, or a function of the image", fix=fix)
        rest, count = chain(masks, repeat(_OVER)), 0
        for count, (image, each) in enumerate(zip(images, rest), 1):  # noqa: B905
            if each is _OVER:
                raise _unequal(f"More images than masks (masks end after {count - 1})")
            yield Example("", image, each)
        if next(rest) is not _OVER:
            raise _unequal(f"More masks than images (images end after {count})")


def _outcome(masks: Callable[[Any], Masks], image: Any) -> Masks | Callable[[], Masks]:
    """Call a function of the user's here, in its turn and in his thread; keep its error for whoever asks for masks."""
    try:
        return masks(image)
    except ImageError as error:
        failed = error

    def refuse() -> Masks:
        raise failed

    return refuse


def _unequal(got: str) -> PromptError:
    return PromptError(got, expected="a dict of masks for each image, in their order", fix="Pass {} for none.")
