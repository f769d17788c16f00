"""What is done to an image to see whether a map is right: pixels are replaced in the order of the map.

All are pure functions of arrays, so that each can be held against a slow loop.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from denseclip_viz.geometry import Geometry, Preprocess
from denseclip_viz.geometry.placement import between
from denseclip_viz.measure.map_scores import Floats

FILLS = ("grey", "mean", "blur", "noise")
ORDERS = ("deletion", "insertion")
_BLUR = 1 / 16  # standard deviation, of the shorter side: colours are left, and no shape
Bools = NDArray[np.bool_]


def visible_pixels(geometry: Geometry) -> Bools:
    """Mark the pixels of the tower's input `(row, column)` that are of the image, and no padding.

    Example:
        >>> grid = Geometry("whole", image=(2, 3), resized=(2, 3), offset=(0, 0), input=(2, 4), cell=(2, 2))
        >>> visible_pixels(grid)[0].tolist()
        [True, True, True, False]
    """
    sizes = zip(geometry.input, geometry.offset, geometry.resized, strict=True)
    rows, columns = ((np.arange(size) + start >= 0) & (np.arange(size) + start < end) for size, start, end in sizes)
    return np.asarray(np.logical_and.outer(rows, columns))


def on_input(maps: Floats, geometry: Geometry) -> Floats:
    """Draw maps `(…, y, x)` at the size of the tower's input, bilinear between the middles of cells, edges held."""
    sides = zip(geometry.grid, geometry.input, geometry.cell, geometry.shift, strict=True)
    y, x = (between(np.eye(n), (np.arange(size) + 0.5 - shift) / cell - 0.5) for n, size, cell, shift in sides)
    drawn: Floats = y @ maps @ x.T
    return drawn


def pixel_ranks(drawn: Floats, visible: Bools, seed: int) -> NDArray[np.int64]:
    """Rank pixels from the highest of each map down, `(…, row, column)`; those of padding come after all others.

    Equal pixels come in an order by chance, the same for all maps: a map that is zero in most places would else go on
    from the top of the image, and be judged by what is there.

    Example:
        >>> pixel_ranks(np.array([[0.0, 2.0, 1.0]]), np.array([[True, True, False]]), 0).tolist()
        [[1, 0, 2]]
    """
    shuffled = np.random.default_rng(seed).permutation(visible.size)
    heights = np.where(visible, drawn, -np.inf).reshape(*drawn.shape[:-2], -1)[..., shuffled]
    order = shuffled[np.argsort(-heights, axis=-1, kind="stable")]
    ranks = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(visible.size), order.shape), -1)
    return ranks.reshape(drawn.shape)


def replacement(kind: str, pixels: Tensor, visible: Bools, preprocess: Preprocess, seed: int) -> Tensor:
    """Make what pixels are replaced by, `(3, H, W)`, prepared as the tower's input is.

    - grey: the middle of the range, 0.5 in each channel,
    - mean: the mean colour of this image,
    - blur: this image under a Gaussian of a sixteenth of its shorter side,
    - noise: each channel of each pixel uniform between 0 and 1.
    """
    facts = (preprocess.mean, preprocess.std)
    mean, std = (torch.tensor(values, dtype=pixels.dtype)[:, None, None] for values in facts)
    if kind == "mean":
        return pixels[:, torch.from_numpy(visible)].mean(-1)[:, None, None].expand_as(pixels)
    if kind == "blur":
        sigma = _BLUR * min(pixels.shape[-2:])
        reach = min(round(3 * sigma), (min(pixels.shape[-2:]) - 1) // 2)
        blurred: Tensor = gaussian_blur(pixels, 2 * reach + 1, sigma)
        return blurred
    if kind == "noise":
        colours = np.random.default_rng(seed).random(tuple(pixels.shape))
        return (torch.from_numpy(colours).to(pixels.dtype) - mean) / std
    return ((0.5 - mean) / std).expand_as(pixels)


def perturbed(
    pixels: Tensor, fill: Tensor, ranks: NDArray[np.int64], counts: Sequence[int], batch_size: int
) -> Iterator[Tensor]:
    """Give the inputs of all curves in batches `(image, 3, H, W)`: by map, then deletion and insertion, then count.

    Deletion replaces the `count` first pixels of a map's order, insertion all but these.

    Example:
        >>> image, fill, ranks = torch.ones(3, 1, 4), torch.zeros(3, 1, 4), np.array([[[2, 0, 1, 3]]])
        >>> (batch,) = perturbed(image, fill, ranks, [1], 8)
        >>> batch[:, 0, 0].tolist()
        [[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]]
    """
    flat = torch.from_numpy(ranks)

    def inputs() -> Iterator[Tensor]:
        for each in flat:
            for there, first in ((pixels, fill), (fill, pixels)):
                yield from (torch.where(each < count, first, there) for count in counts)

    waiting = inputs()
    while batch := list(islice(waiting, batch_size)):
        yield torch.stack(batch)


def area_under(curve: Floats, fractions: Floats) -> Floats:
    """Average a curve over the fractions on its last axis, straight between them: the area by the width.

    Example:
        >>> float(area_under(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 1.0])))
        0.25
    """
    middles, widths = (curve[..., 1:] + curve[..., :-1]) / 2, np.diff(fractions)
    area: Floats = (middles * widths).sum(-1) / widths.sum()
    return area
