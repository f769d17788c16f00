"""A data set whose images are corrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from denseclip_viz.datasets.corruptions import checked, corrupt
from denseclip_viz.datasets.dataset import Dataset
from denseclip_viz.datasets.example import Example, changed, examples
from denseclip_viz.errors import ImageError
from denseclip_viz.images import read
from denseclip_viz.toyworld import Scenes


@dataclass(frozen=True, eq=False)
class CorruptedImages(Sequence[Example]):
    """A data set whose images are corrupted when their turn comes; what is true of them stays as it is.

    Attributes:
        dataset: Whose images.
        corruption: Which of `corruptions()`.
        level: 1 to 5.
    """

    dataset: Dataset | Scenes
    corruption: str
    level: int

    @property
    def name(self) -> str:
        """Name the data set: what is chosen by it, as by presets, stays as it is."""
        return self.dataset.name

    @property
    def split(self) -> str:
        """Say which images these are, and what was done to them."""
        return f"{self.dataset.split}, {self.corruption} {self.level}".removeprefix(", ")

    @property
    def classes(self) -> tuple[str, ...]:
        """List the classes."""
        return self.dataset.classes

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Say what each class is called in prompts."""
        return self.dataset.names

    @property
    def background(self) -> int | None:
        """Give the place of the class that is all the rest."""
        return self.dataset.background

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return replace(self, dataset=self.dataset[item])
        return list(self._changed(self.dataset[item : item + 1 or None]))[0]

    def __iter__(self) -> Iterator[Example]:
        return self._changed(self.dataset)

    def _changed(self, dataset: Dataset | Scenes) -> Iterator[Example]:
        return map(self._change, examples(dataset))

    def _change(self, example: Example) -> Example:
        try:
            pixels = np.asarray(read(example.image))
        except ImageError:
            return example  # whoever reads it is told so, and leaves it out by its name
        whose = example.name.encode() or pixels.tobytes()
        seed = sha256(f"{self.corruption} {self.level} ".encode() + whose).digest()
        return changed(example, image=corrupt(pixels, self.corruption, self.level, list(seed)))


def corrupted(dataset: Dataset | Scenes, corruption: str, level: int) -> CorruptedImages:
    """Corrupt the images of a data set, upright and before anything else is done to them.

    Chance is seeded by an image's name, or by its pixels where it has none: any part of a data set, in any order,
    gives the same images.

    Args:
        dataset: From `read`, or of the bundled world.
        corruption: One of `corruptions()`.
        level: 1, which is mild, to 5.

    Returns:
        A data set of the same labels.

    Raises:
        DatasetError: no such corruption or level.

    Example:
        >>> import denseclip_viz as dcv
        >>> noisy = dcv.datasets.corrupted(dcv.toyworld.dataset(3, "test", size=64), "shot_noise", 3)
        >>> noisy.name, noisy.split, noisy[2].image.shape
        ('toyworld', 'test, shot_noise 3', (64, 64, 3))
    """
    checked(corruption, level)
    return CorruptedImages(dataset, corruption, level)
