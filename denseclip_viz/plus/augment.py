"""Crops to learn from: scaled, cut, mirrored, recoloured by chance, which seed, step and place decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.preparation import caution_of
from denseclip_viz.datasets.example import Example, examples
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.geometry import Preprocess
from denseclip_viz.images import ImageLike, describe, read_remarked
from denseclip_viz.measure.segmentation import truth_of
from denseclip_viz.plus.pseudo_labels import IGNORED, OPEN
from denseclip_viz.plus.schedules import Schedule
from denseclip_viz.toyworld.rng import Rng, between, chance, stream

Labels = NDArray[np.integer[Any]]
_ORDER, _CHANCE = 0, 1


class Crop(NamedTuple):
    """What one place of a batch learns from.

    Attributes:
        pixels: `(3, H, W)` float32, the tower's input; 0 beyond the image.
        target: `(Y, X)` int64, the class of every label, or `IGNORED` or `OPEN`.
        unread: Images that could not be read on the way to it, with their errors.
        caution: What is to be said of an image that the teacher is not made for.
    """

    pixels: Tensor
    target: Tensor
    unread: tuple[tuple[ImageLike, ImageError], ...] = ()
    caution: str = ""


@dataclass(frozen=True)
class Crops:
    """Crops of a data set, each decided by the seed, the step and its place in the batch alone.

    Attributes:
        dataset: Images; their labels are read where the schedule says so, and nowhere else.
        schedule: How crops are made.
        preprocess: The tower's mean and std.
        places: What each of the data set's classes is to the student: a class, `OPEN` or `IGNORED`.
        seed: The seed.
        provenance: The teacher's.
    """

    dataset: Sequence[Any]
    schedule: Schedule
    preprocess: Preprocess
    places: tuple[int, ...]
    seed: int
    provenance: Mapping[str, str | int] = field(default_factory=dict)

    def at(self, where: tuple[int, int]) -> Crop:
        """Make the crop of a step and a place; where an image cannot be read, of the next one that can.

        Raises:
            ImageError: None can.
        """
        step, place = where
        first, unread = self._image_of(step * self.schedule.batch + place), []
        for more in range(len(self.dataset)):
            at = (first + more) % len(self.dataset)
            example = example_at(self.dataset, at)
            image = example.image
            try:
                upright = read_remarked(image)[0]
                labels = self._labels(example, upright.height, upright.width)
            except ImageError as error:
                unread.append((image, error))
                continue
            crop = augmented(upright, labels, self.schedule, self.preprocess, stream(self.seed, _CHANCE, step, place))
            return crop._replace(unread=tuple(unread), caution=caution_of(image, upright, self.provenance))
        got, expected = f"none of {len(self.dataset)} images can be read", "images to learn from"
        raise ImageError(got, expected=expected, fix=f"The first says: {unread[0][1] if unread else 'nothing'}")

    def _image_of(self, number: int) -> int:
        """Say which image comes at a number: every image once, then every image once more, in another order."""
        pass_, at = divmod(number, len(self.dataset))
        return int(_order(self.seed, pass_, len(self.dataset))[at])

    def _labels(self, example: Example, height: int, width: int) -> Labels:
        if self.schedule.labels == "none":
            return np.full((height, width), OPEN, np.int16)
        try:
            labels = truth_of(example, (height, width), len(self.places))
        except (ImageError, PromptError) as error:
            got = f"{describe(example.image)}: {error.got}"
            raise type(error)(got, expected=error.expected, fix=error.fix) from error
        return np.array([*self.places, IGNORED], np.int16)[np.where(labels < 0, len(self.places), labels)]


@lru_cache(maxsize=4)
def _order(seed: int, pass_: int, count: int) -> NDArray[np.intp]:
    return np.argsort(stream(seed, _ORDER, pass_).random(count), kind="stable")


def example_at(dataset: Sequence[Any], at: int) -> Example:
    """Give an example of a data set; what is true of it is read when it is asked for.

    Example:
        >>> example_at(["street.jpg"], 0).image
        'street.jpg'
    """
    return next(examples([dataset[at]]))


def augmented(image: Image.Image, labels: Labels, schedule: Schedule, preprocess: Preprocess, rng: Rng) -> Crop:
    """Scale, cut, mirror and recolour an image and its labels `(row, column)`, alike and by the same chance.

    Beyond the image pixels are 0, the mean colour, and labels are ignored.

    Source: mmseg's `Resize`, `RandomCrop`, `RandomFlip`, `PhotoMetricDistortion` and `Pad`, made by torchvision.

    Example:
        >>> schedule = Schedule(steps=1, crop=(32, 64), short=48, ratio=(1, 1))
        >>> clip = Preprocess((32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> crop = augmented(Image.new("RGB", (48, 48)), np.ones((48, 48), int), schedule, clip, stream(0))
        >>> crop.pixels.shape, (crop.target == IGNORED).float().mean().item()
        (torch.Size([3, 32, 64]), 0.25)
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as T

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    target = torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int16))[None]
    size = _scaled(pixels.shape[-2:], schedule, between(rng, *schedule.ratio))
    if size != list(pixels.shape[-2:]):
        pixels = T.resize(pixels, size, antialias=True)
        target = T.resize(target, size, interpolation=InterpolationMode.NEAREST_EXACT)
    height, width = (min(side, crop) for side, crop in zip(size, schedule.crop, strict=True))
    top, left = (int(between(rng, 0, side - n + 1)) for side, n in zip(size, (height, width), strict=True))
    pixels, target = (each[:, top : top + height, left : left + width] for each in (pixels, target))
    if chance(rng, 0.5):
        pixels, target = pixels.flip(-1), target.flip(-1)
    if schedule.photometric:
        pixels = recoloured(pixels, rng)
    normal = T.normalize(pixels.to(torch.float32) / 255, list(preprocess.mean), list(preprocess.std))
    edge = (0, schedule.crop[1] - width, 0, schedule.crop[0] - height)
    middle = slice(schedule.grid // 2, None, schedule.grid)
    target = F.pad(target, edge, value=IGNORED)[0, middle, middle]
    return Crop(F.pad(normal, edge), target.to(torch.int64))


def _scaled(size: Sequence[int], schedule: Schedule, ratio: float) -> list[int]:
    """Bring the short side to its pixels times a ratio, where the long one then is not too long."""
    factor = ratio * min(schedule.short / min(size), schedule.long / max(size))
    return [max(1, int(side * factor + 0.5)) for side in size]


def recoloured(pixels: Tensor, rng: Rng) -> Tensor:
    """Change brightness, contrast, saturation and hue of `(3, H, W)` uint8, each in half of the cases.

    Source: mmseg's `PhotoMetricDistortion`, with torchvision's factor in place of its shift of brightness.

    Example:
        >>> grey = torch.full((3, 4, 4), 128, dtype=torch.uint8)
        >>> recoloured(grey, stream(3)).shape
        torch.Size([3, 4, 4])
    """
    from torchvision.transforms.v2 import functional as T

    others = [(T.adjust_saturation, 0.5, 1.5), (T.adjust_hue, -0.05, 0.05)]
    contrast = (T.adjust_contrast, 0.5, 1.5)
    ordered = [contrast, *others] if chance(rng, 0.5) else [*others, contrast]
    for change, low, high in [(T.adjust_brightness, 0.875, 1.125), *ordered]:
        if chance(rng, 0.5):
            pixels = change(pixels, between(rng, low, high))
    return pixels
