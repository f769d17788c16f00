"""What is given to a path from outside: another model's features of the image, or attention; of one image only."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.errors import LayerError

Item = TypeVar("Item")


def of_one_image(
    images: Iterable[Item], paths: Sequence[DensePath], is_tiled: Callable[[Item], bool]
) -> Iterator[Item]:
    """Hand images on; along a path that attends by what was given, refuse a second one, and tiles.

    Raises:
        LayerError: There is one.

    Example:
        >>> list(of_one_image([1, 2], [DensePath("value")], lambda image: False))
        [1, 2]
    """
    name = next((path.name for path in paths if path.of_given), None)
    for number, image in enumerate(images):
        if name and (number or is_tiled(image)):
            got = f"path {name!r} for {'tiles' if is_tiled(image) else 'several images'}"
            expected, fix = "one image in one window", "Trace each image with what was made of it, geometry='whole'."
            raise LayerError(got, expected=f"{expected}: what is given to a path is of that one", fix=fix)
        yield image


def features_on(given: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring features `(y, x, C)` that were given to the grid, bilinearly: `(1, position, C)`.

    Raises:
        LayerError: Another shape, other proportions, or numbers that are none.
    """
    good = given.ndim == 3 and given.is_floating_point() and bool(given.isfinite().all()) and min(given.shape) > 0
    if not good or abs(given.shape[0] * grid[1] / given.shape[1] - grid[0]) > 1:
        expected = f"finite features (y, x, C) of the whole input, in its proportions: {grid[0]} x {grid[1]} positions"
        fix = "Take them of trace.pixels of this image, which is what the tower sees."
        raise LayerError(f"given features {tuple(given.shape)} {given.dtype}", expected=expected, fix=fix)
    maps = given.permute(2, 0, 1)[None]
    if tuple(given.shape[:2]) != grid:
        maps = F.interpolate(maps, grid, mode="bilinear", align_corners=False)
    return maps.flatten(2).transpose(1, 2)


def attention_on(given: Tensor, grid: tuple[int, int], heads: int) -> Tensor:
    """Lay attention `(y, x, y, x)` that was given out, `(1, 1 or head, position, position)`.

    Raises:
        LayerError: Another shape, or rows that are no shares.
    """
    shapes = [(*grid, *grid), (heads, *grid, *grid)]
    shares = given.sum((-2, -1)) if given.ndim >= 4 and given.is_floating_point() else torch.zeros(1)
    if tuple(given.shape) not in shapes or bool((given < 0).any()) or not bool(((shares - 1).abs() < 1e-3).all()):
        expected = f"shares from 0 that sum to 1 over the last two axes, {shapes[0]} or {shapes[1]}"
        fix = "Make them with torch.softmax over the positions of trace.geometry.grid."
        raise LayerError(f"given attention {tuple(given.shape)} {given.dtype}", expected=expected, fix=fix)
    positions = grid[0] * grid[1]
    return given.reshape(1, -1, positions, positions)
