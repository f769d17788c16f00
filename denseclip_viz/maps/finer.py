"""Traces with dense features on a finer grid: all that takes a trace then draws and judges finer maps.

    guided     F(x) = a(x) · I(x) + b(x),   a, b: how features follow colours around a cell, the image I as guide
    shifted    a pass of the input moved by each fraction of a cell; their cells interleave exactly
    upsampled  what an upsampler of somebody's own makes of the features and the image

Bilinear maps need none of them: that is how a grid is drawn. On 200 unseen scenes of the bundled world a guided filter
adds 0.11 to the 0.55 mIoU of bundled-resnet, whose cells are 32 pixels; on 50, nothing certain where they are 12, and
shifts alone nothing at all (`benchmarks/finer.py`).
Sources: He, Sun, Tang, Guided image filtering (ECCV 2010), and its fast form (He, Sun, arXiv 1505.00996), where a and b
are fitted on the coarse grid; Long, Shelhamer, Darrell (arXiv 1411.4038), shift and stitch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.forward import ForwardOptions, decompose_checked
from denseclip_viz.clip.paths import choose_path
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_whole, short

Upsampler = Callable[[Tensor, Tensor], Tensor]
"""From an input `(1, 3, H, W)` as the tower takes it, and features `(1, D, y, x)`, to features `(1, D, Y, X)`."""


class HasTower(Protocol):
    """A model."""

    @property
    def tower(self) -> Tower:
        """Its image tower."""


@guarded
def guided(trace: Trace, *, factor: int = 4, radius: int = 1, epsilon: float = 0.01) -> Trace:
    """Let dense features follow the edges of the image: a guided filter, on a grid finer by a factor.

    Args:
        trace: A trace of one window, with its pixels.
        factor: Fine cells along the side of a cell, which they divide.
        radius: Cells around each that a fit looks at.
        epsilon: What is added to the variance of colours, those of the tower's input: the larger, the smoother.

    Returns:
        The trace with `dense` (y · factor, x · factor, D), and without parts of the coarse grid.

    Raises:
        LayerError: a trace of tiles, or one that kept no pixels.
        GeometryError: a factor, radius or epsilon that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> trace = dcv.load().trace(dcv.toyworld.scene("a red car on grass", size=128))
        >>> trace.dense.shape, dcv.maps.guided(trace).dense.shape
        (torch.Size([8, 8, 128]), torch.Size([32, 32, 128]))
    """
    if not is_whole(radius, 1) or not is_number(epsilon, 0, 1e6) or not epsilon:
        got, expected = f"radius={radius!r}, epsilon={epsilon!r}", "a whole number of cells from 1, a number above 0"
        raise GeometryError(got, expected=expected, fix="Leave them out.")
    guide = _pixels(trace)[None].to(trace.dense.dtype)
    cell = _fine_cell(trace, (factor, factor))
    height, width = (cells * side for cells, side in zip(trace.geometry.grid, trace.geometry.cell, strict=True))
    fine = F.avg_pool2d(guide[..., :height, :width], cell)

    def filtered(maps: Tensor) -> Tensor:
        return guided_filter(F.avg_pool2d(fine, factor), fine, maps, radius=radius, epsilon=epsilon)

    how = f"guided, {factor} x {factor}, radius {radius}, epsilon {epsilon:g}"
    return _on_grid(trace, _along(trace, filtered), cell, how)


def guided_filter(coarse: Tensor, fine: Tensor, maps: Tensor, *, radius: int, epsilon: float) -> Tensor:
    """Draw maps as a guide's colours say: `(1, C, y, x)` to `(1, C, Y, X)`.

    Around every cell each map is fitted as a · colour + b, with ridge `epsilon` on a; what the fits of all windows say
    of a cell is averaged, and drawn bilinearly on the fine grid, whose own colours are then put in.

    Args:
        coarse: `(1, 3, y, x)`, the guide on the maps' grid.
        fine: `(1, 3, Y, X)`, the guide.
        maps: What to draw.
        radius: Cells from the middle of a window to its edge; beyond the grid there are none.
        epsilon: The ridge.

    Example:
        >>> flat = torch.ones(1, 3, 2, 2)
        >>> guided_filter(flat, torch.ones(1, 3, 4, 4), torch.full((1, 1, 2, 2), 5.0), radius=1, epsilon=0.1).unique()
        tensor([5.])
    """

    def around(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)

    colours, middle = around(coarse), around(maps)
    squares = around((coarse[:, :, None] * coarse[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    spread = (squares - colours[:, :, None] * colours[:, None]).movedim((1, 2), (-2, -1))
    products = around((coarse[:, :, None] * maps[:, None]).flatten(1, 2)).unflatten(1, (3, -1))
    together = (products - colours[:, :, None] * middle[:, None]).movedim((1, 2), (-2, -1))
    slopes = torch.linalg.solve(spread + epsilon * torch.eye(3).to(spread), together).movedim((-2, -1), (1, 2))
    offsets = middle - (slopes * colours[:, :, None]).sum(1)
    fitted = around(torch.cat([slopes.flatten(1, 2), offsets], dim=1))
    fitted = F.interpolate(fitted, fine.shape[-2:], mode="bilinear", align_corners=False)
    *drawn, offset = fitted.chunk(4, dim=1)
    return torch.stack([slope * fine[:, i : i + 1] for i, slope in enumerate(drawn)]).sum(0) + offset


@guarded
def shifted(model: HasTower, trace: Trace, *, factor: int = 2) -> Trace:
    """Look at the image again, moved by each fraction of a cell, and interleave what was seen: exact, not smoothed.

    The input is moved up to half a cell; its edge is repeated where it leaves. That is one pass of
    `factor ** 2` inputs.

    Args:
        model: The model of the trace.
        trace: A trace of one window, with its pixels, along paths that `model.paths` names.
        factor: Fine cells along the side of a cell.

    Returns:
        The trace with `dense` (y · factor, x · factor, D), and without parts of the coarse grid.

    Raises:
        LayerError: a trace of tiles, or one that kept no pixels.
        GeometryError: a factor whose fractions are no whole pixels.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a red car on grass", size=128))
        >>> dcv.maps.shifted(model, trace).dense.shape
        torch.Size([16, 16, 128])
    """
    pixels, cell = _pixels(trace), _fine_cell(trace, (factor, factor))
    if any(side * (factor - 1) % 2 for side in cell):
        got, expected = f"factor={factor} of cells of {trace.geometry.cell} pixels", "shifts by whole pixels"
        raise GeometryError(got, expected=expected, fix="Try factor=2.")
    moves = [(i, j) for i in range(factor) for j in range(factor)]
    ends = [side * (factor - 1) // 2 for side in cell]
    padded = F.pad(pixels[None], (ends[1], ends[1], ends[0], ends[0]), mode="replicate")[0]
    height, width = trace.geometry.input
    inputs = [padded[:, i * cell[0] : i * cell[0] + height, j * cell[1] : j * cell[1] + width] for i, j in moves]
    paths = tuple(map(choose_path, trace.paths))
    path = paths if trace.has_path_axis else paths[0]
    options = ForwardOptions(path=path, parts=frozenset(["global", "dense"]))
    dense = decompose_checked(model.tower, torch.stack(inputs), options).dense
    assert dense is not None
    tiled = dense.unflatten(0, (factor, factor)).movedim((0, 1), (-3, -2))  # (…, y, x, i, j, D)
    stitched = tiled.movedim(-3, -4).flatten(-5, -4).flatten(-3, -2)
    return _on_grid(trace, stitched, cell, f"shifted, {factor} x {factor}")


@guarded
def upsampled(trace: Trace, upsampler: Upsampler, *, name: str = "") -> Trace:
    """Bring dense features to a finer grid by an upsampler of your own, such as AnyUp, JAFAR or LoftUp.

    Args:
        trace: A trace of one window, with its pixels.
        upsampler: Takes the tower's input `(1, 3, H, W)` and features `(1, D, y, x)`, on the CPU, and gives features
            `(1, D, Y, X)` of the same image, whole cells of the grid parted alike.
        name: What it is called in `provenance`; by default its own name.

    Returns:
        The trace with `dense` (Y, X, D), and without parts of the coarse grid.

    Raises:
        LayerError: a trace of tiles, or one that kept no pixels; or an upsampler that gives something else.
        GeometryError: a grid that does not part cells into whole pixels.

    Example:
        >>> import torch
        >>> import denseclip_viz as dcv
        >>> trace = dcv.load().trace(dcv.toyworld.scene("a red car on grass", size=128))
        >>> finer = torch.nn.Upsample(scale_factor=4)
        >>> dcv.maps.upsampled(trace, lambda image, dense: finer(dense)).dense.shape
        torch.Size([32, 32, 128])
    """
    if not callable(upsampler):
        got, fix = f"upsampler={short(upsampler)}", "Write lambda image, dense: yours(image, dense)."
        raise LayerError(got, expected="a function of the input and of features", fix=fix)
    image = _pixels(trace)[None]
    grids = []

    def called(maps: Tensor) -> Tensor:
        fine: Any = upsampler(image, maps)
        good = isinstance(fine, Tensor) and fine.ndim == 4 and fine.shape[:2] == maps.shape[:2]
        if not good or not bool(fine.isfinite().all()):
            got = f"features {tuple(getattr(fine, 'shape', ()))} of an upsampler ({type(fine).__name__})"
            expected = f"a tensor of finite numbers (1, {maps.shape[1]}, Y, X)"
            raise LayerError(got, expected=expected, fix="Wrap it: lambda image, dense: yours(image, dense).")
        grids.append(fine.shape[-2:])
        alike: Tensor = fine.to(maps)
        return alike

    fine = _along(trace, called)
    factors = [new // old for new, old in zip(grids[0], trace.geometry.grid, strict=True)]
    whole = tuple(old * by for old, by in zip(trace.geometry.grid, factors, strict=True)) == tuple(grids[0])
    if not whole or min(factors) < 1:
        got = f"an upsampler's grid {tuple(grids[0])} of {trace.geometry.grid}"
        raise GeometryError(got, expected="whole multiples", fix="Ask it for another output size.")
    cell = _fine_cell(trace, (factors[0], factors[1]))
    return _on_grid(trace, fine, cell, name or getattr(upsampler, "__name__", type(upsampler).__name__))


def _pixels(trace: Trace) -> Tensor:
    if not isinstance(trace, Trace):
        got, fix = f"a finer grid of a {type(trace).__name__}", "Pass what model.trace returns; maps come after."
        raise LayerError(got, expected="a trace", fix=fix)
    if trace.pixels is None:
        got, fix = f"a finer grid of {trace.name} in tiles", "Take geometry='whole'."
        raise LayerError(got, expected="a single window, seen whole by one pass", fix=fix)
    return trace.pixels


def _fine_cell(trace: Trace, factors: tuple[int, int]) -> tuple[int, int]:
    cell = trace.geometry.cell
    if not all(is_whole(factor, 1) and side % factor == 0 for factor, side in zip(factors, cell, strict=True)):
        got, expected = f"{factors[0]} x {factors[1]} parts of a cell of {cell} pixels", "whole pixels"
        raise GeometryError(got, expected=expected, fix="Choose a factor that divides the cell.")
    return cell[0] // factors[0], cell[1] // factors[1]


def _along(trace: Trace, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change features `(1, D, y, x)` of every path, each by itself."""
    every = trace.dense if trace.has_path_axis else trace.dense[None]
    fine = torch.stack([change(dense.movedim(-1, 0)[None])[0].movedim(0, -1) for dense in every])
    return fine if trace.has_path_axis else fine[0]


def _on_grid(trace: Trace, dense: Tensor, cell: tuple[int, int], how: str) -> Trace:
    geometry = replace(trace.geometry, cell=cell)
    if geometry.grid != tuple(dense.shape[-3:-1]):
        got = f"a grid {tuple(dense.shape[-3:-1])} of cells of {cell} pixels in an input of {geometry.input}"
        raise GeometryError(got, expected=f"{geometry.grid}", fix="Take geometry='whole', which pads to whole cells.")
    return trace.on_grid(dense, geometry, how)
