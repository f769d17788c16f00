"""What is given to a path from outside, of one image only: another model's features, regions, or attention.

    y = O(A V),   A of what was given: in every tower, since values of positions are all that it takes

Sources: ProxyCLIP (arXiv 2408.04883), whose mean is over the image here and not over the batch; TextRegion
(2505.23769): its mean key and a mask as attention are an even look at the region.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.path_attention import centred, cosines
from denseclip_viz.errors import LayerError

Item = TypeVar("Item")
_ABOVE = 1.2
_DUE = {
    "features": "another model's features (y, x, C)",
    "spectral": "another model's keys (y, x, C), as many channels for each head",
    "regions": "masks (region, y, x)",
    "attention": "attention (y, x, y, x)",
}
_LIKER = 0.07  # TextRegion: how much more a patch has to be like its regions than like the others


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


def given_attention(path: DensePath, kind: str, grid: tuple[int, int], values: Tensor) -> Tensor:
    """Make the attention of a kind of what was given to a path: `(1, 1 or head, position, position)`.

    Args:
        path: The path.
        kind: The kind.
        grid: Rows and columns of positions.
        values: What positions will look at, `(1, head, position, channel)`.

    Raises:
        LayerError: Nothing was given, or nothing that fits.
    """
    if kind == "features":
        return centred(cosines(features_of(path, grid)), _ABOVE)[:, None]
    if kind == "attention":
        return attention_on(_given(path), grid, values.shape[1])
    some = kind == "regions-without-global"
    return regions_on(_given(path), grid, values[0].transpose(0, 1).flatten(1) if some else None)


def given_mix(path: DensePath, values: Tensor, grid: tuple[int, int], heads: int) -> Tensor:
    """Mix the values of positions, heads merged, by all that was given: `(image, position, C)`."""
    parts = values.unflatten(-1, (heads, -1)).transpose(1, 2)
    weights = sum(term.weight * given_attention(path, term.kind, grid, parts) for term in path.terms)
    assert isinstance(weights, Tensor)
    mixed: Tensor = weights.to(values) @ parts
    return mixed.transpose(1, 2).flatten(2)


def features_of(path: DensePath, grid: tuple[int, int]) -> Tensor:
    """Bring features that were given to a path to the grid: `(1, position, C)`.

    Raises:
        LayerError: Nothing was given, or nothing that fits.
    """
    return features_on(_given(path), grid)


def _given(path: DensePath) -> Tensor:
    if path.given is None:
        due = [what for kind, what in _DUE.items() if any(term.kind.startswith(kind) for term in path.terms)]
        got, expected = f"path {path.name!r} without what it attends by", " and ".join(due)
        fix = f"Pass path=PATHS[{path.name!r}].with_given(…), of clip.paths."
        raise LayerError(got, expected=f"{expected}, of the image", fix=fix)
    return path.given


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


def regions_on(given: Tensor, grid: tuple[int, int], values: Tensor | None = None) -> Tensor:
    """Let every position look evenly at its own region, `(1, 1, position, position)`, of masks `(region, y, x)`.

    A region counts a position by the share of it that it covers. A position of several regions looks at each by its
    share; one of none, or of none where anything is left, looks at itself.

    Args:
        given: The masks.
        grid: Rows and columns of positions.
        values: `(position, C)`, where nobody is to look at global ones: those hardly more like the regions that they
            lie in than like the others (TextRegion). One that lies in all is none.

    Raises:
        LayerError: Another shape, other proportions, or numbers beside 0 to 1.

    Example:
        >>> regions_on(torch.tensor([[[True, True, False]]]), (1, 3))[0, 0]
        tensor([[0.5000, 0.5000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    good = given.ndim == 3 and min(given.shape) > 0 and bool(((given >= 0) & (given <= 1)).all())
    if not good or abs(given.shape[1] * grid[1] / given.shape[2] - grid[0]) > 1:
        expected = f"masks (region, y, x) from 0 to 1 in the proportions of the input: {grid[0]} x {grid[1]} positions"
        fix = "Make them of trace.pixels of this image, which is what the tower sees."
        raise LayerError(f"given regions {tuple(given.shape)} {given.dtype}", expected=expected, fix=fix)
    shares = torch.stack([F.interpolate(mask[None, None].double(), grid, mode="area").flatten() for mask in given])
    counted = shares if values is None else shares.masked_fill(global_ones(shares > 0, values.detach()), 0)
    even = counted / counted.sum(1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)
    looks = shares.T @ even
    looks = torch.where(looks.sum(1, keepdim=True) > 0, looks, torch.eye(len(looks)).to(looks))
    return (looks / looks.sum(1, keepdim=True))[None, None]


def global_ones(inside: Tensor, values: Tensor) -> Tensor:
    """Find positions hardly more like the regions that they lie in than like the others: `(position,)`.

    Args:
        inside: `(region, position)`, which positions lie in which region.
        values: `(position, C)`, which are compared.

    Example:
        >>> inside = torch.tensor([[True, True, False], [False, False, True]])
        >>> global_ones(inside, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
        tensor([False,  True, False])
    """
    inside = inside[inside.any(1)].to("cpu", torch.float64)
    unit = F.normalize(values.to("cpu", torch.float64), dim=-1)
    alike = inside @ unit / inside.sum(1, keepdim=True) @ unit.T  # (region, position), the mean over a region
    within, beyond = ((alike * where).sum(0) / where.sum(0).clamp_min(1) for where in (inside, 1 - inside))
    return (within - beyond < _LIKER) & (inside < 1).any(0)
