"""Maps in a part of the image: what a box or a lasso on the canvas measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.geometry import Geometry, Placement
from denseclip_viz.validation import one_of, short

Floats = npt.NDArray[np.floating[Any]]
Result = TypeVar("Result", xr.Dataset, xr.DataArray)
_AXES = (  # of maps, of what is measured of images, and of text: where several stand together, in this order
    *("image", "scene", "mosaic", "path", "candidate", "layer", "template", "condition", "wording", "named"),
    *("class", "true", "given", "prompt", "word", "term", "part", "on"),
)
_PLACE = ("y", "x", "fine_y", "fine_x", "row", "column", "image_row", "image_column", "rgb")
LEAST_SHARE = 1e-9  # of a cell that counts as touched; below it is rounding


@guarded
def region_means(
    result: xr.Dataset | xr.DataArray, outline: Sequence[Sequence[float]], *, of: str = "dense"
) -> xr.Dataset:
    """Measure maps in a part of the image.

    Each cell counts by the area of its part that lies in the outline and that the model saw; cells without a value
    (NaN) do not. Of an outline that crosses itself loops of either direction count, and no part twice; within one
    cell loops of opposite directions take from each other.

    Args:
        result: Maps (…, y, x), or a result of `Model.compare` that has them.
        outline: Corners [y, x] in pixels of the image, edges at whole numbers; the last is joined to the first.
        of: Which of a result's maps.

    Returns:
        `mean`, `min` and `max` over the axes that are left, in the maps' unit, NaN where no cell counts; `cells`, how
        many do; and `weight` (y, x), the area of each in pixels.

    Raises:
        GeometryError: No outline of three corners or more, or maps that do not say where their cells lie.
        LayerError: No maps, or a result that has none of this name.

    Example:
        >>> import denseclip_viz as dcv
        >>> maps = dcv.load().similarity(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> upper = dcv.maps.region_means(maps, [[0, 0], [0, 96], [48, 96], [48, 0]])
        >>> int(upper.cells), upper["mean"].dims
        (32, ('template', 'prompt'))
    """
    maps = require_maps(_of_result(result, of) if isinstance(result, xr.Dataset) else result)
    weight = cell_weights(_checked(outline), placement_of(result))
    weighed = xr.DataArray(weight, dims=("y", "x"), coords={name: maps[name] for name in ("y", "x")})
    counted = maps.where(weighed > 0)
    data = {
        "mean": counted.weighted(weighed).mean(("y", "x")),
        "min": counted.min(("y", "x")),
        "max": counted.max(("y", "x")),
    }
    cells = int(counted.notnull().any([axis for axis in maps.dims if axis not in ("y", "x")]).sum())
    return xr.Dataset({**data, "cells": cells, "weight": weighed}, attrs=result.attrs)


def in_order(result: Result) -> Result:
    """Give axes the order of all results, whatever order somebody gave them: they go by their names.

    Example:
        >>> in_order(xr.DataArray(np.zeros((3, 2, 4)), dims=("x", "y", "prompt"))).dims
        ('prompt', 'y', 'x')
    """
    ordered: Result = result.transpose(..., *_AXES, *_PLACE, missing_dims="ignore")
    return ordered


def require_maps(value: object) -> xr.DataArray:
    """Give maps (…, y, x) with their axes in this order, and refuse what is none.

    Raises:
        LayerError: it is not.

    Example:
        >>> require_maps(xr.DataArray([0.5], dims="prompt"))
        Traceback (most recent call last):
        denseclip_viz.errors.LayerError: A DataArray (prompt 1). Expected maps (…, y, x). Pass what model.similarity ...
    """
    if isinstance(value, xr.DataArray) and {"y", "x"} <= set(value.dims) and value.size:
        return in_order(value)
    sizes = value.sizes.items() if isinstance(value, xr.DataArray) else ()
    axes = f" ({', '.join(f'{axis} {count}' for axis, count in sizes)})" if sizes else ""
    fix = "Pass what model.similarity returns, or the dense of what model.compare does."
    if isinstance(value, xr.Dataset) and "dense" in value:
        fix = "Pass its maps, result.dense; plot.compare draws all of it."
    raise LayerError(f"A {type(value).__name__}{axes}", expected="maps (…, y, x)", fix=fix)


def require(result: object, names: Sequence[str], *, made_by: str) -> xr.Dataset:
    """Give a result, its axes in order; LayerError for one that lacks the variables that are needed of it."""
    held = result if isinstance(result, xr.Dataset) else xr.Dataset()
    if missing := [name for name in names if name not in held]:
        fix = "Pass it whole; figures pick prompts and templates by their arguments."
        got, expected = f"A {type(result).__name__} without {', '.join(missing)}", f"what {made_by} returns"
        raise LayerError(got, expected=expected, fix=fix)
    return in_order(held)


def _of_result(result: xr.Dataset, of: str) -> xr.DataArray:
    drawn = [str(name) for name, each in result.data_vars.items() if {"y", "x"} <= set(each.dims)]
    if not drawn:
        got, fix = "A result without maps", "Pass what model.compare returns, and one of its maps as of=."
        raise LayerError(got, expected="maps (…, y, x)", fix=fix)
    one_of(of, drawn, "of", error=LayerError)
    return result[of]


def cell_weights(outline: Sequence[Sequence[float]], where: Placement) -> Floats:
    """Give the area (y, x) of each cell's part in an outline, in pixels; region.js does it by the same sum.

    The area left of x and inside an outline is the sum over its sides of ∫ min(side, x) dy, by Green's theorem; a
    cell is what lies left of its right edge and not of its left one.
    """
    rows, columns = (_edges(where, axis) for axis in (0, 1))
    areas = np.zeros(where.grid)
    for (y0, x0), (y1, x1) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if y0 == y1:
            continue
        ends = np.clip(rows, min(y0, y1), max(y0, y1))
        at = x0 + (ends - y0) * (x1 - x0) / (y1 - y0)
        areas += np.sign(y1 - y0) * np.diff(ends)[:, None] * np.diff(_mean_below(at, columns), axis=1)
    whole = np.outer(np.diff(rows), np.diff(columns))
    covered = np.minimum(np.abs(areas), whole)
    return np.where(covered > LEAST_SHARE * whole, covered, 0.0)


def _mean_below(at: Floats, edges: Floats) -> Floats:
    """Average min(place, edge) over each piece (row) of a side, for each edge (column)."""
    left, right = np.minimum(at[:-1], at[1:])[:, None], np.maximum(at[:-1], at[1:])[:, None]
    upright = right - left < 1e-12
    share = np.clip((edges - left) / np.where(upright, 1.0, right - left), 0.0, 1.0)
    slanted = share * (left + np.minimum(right, edges)) / 2 + (1 - share) * edges
    return np.asarray(np.where(upright, np.minimum(left, edges), slanted))


def _edges(where: Placement, axis: int) -> Floats:
    """Edges of cells along an axis, as far as the model saw them."""
    edges = np.linspace(where.box[axis], where.box[axis + 2], where.grid[axis] + 1)
    return np.clip(edges, where.visible[axis], where.visible[axis + 2])


def _checked(outline: Sequence[Sequence[float]]) -> list[list[float]]:
    try:
        corners = np.asarray(outline, dtype=np.float64)
    except (TypeError, ValueError):  # texts, or corners of more and fewer numbers
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        got, fix = f"outline={short(outline)}", "For a box pass its four corners, one after the other."
        raise GeometryError(got, expected="three corners [y, x] or more, in pixels", fix=fix)
    listed: list[list[float]] = corners.tolist()
    return listed


def placement_of(result: xr.Dataset | xr.DataArray) -> Placement:
    """Read where the cells of maps lie; GeometryError if they do not say, or are not those that they speak of."""
    if "geometry" not in result.attrs:
        got, fix = (
            "Maps that do not say where their cells lie",
            "Pass the result itself, or xarray.set_options(keep_attrs=True).",
        )
        raise GeometryError(got, expected='attrs["geometry"]', fix=fix)
    return whole_geometry(result).placement()


def whole_geometry(result: xr.Dataset | xr.DataArray) -> Geometry:
    """Read the geometry of maps (…, y, x) that are whole: it would lay cut or turned ones over the whole image.

    Raises:
        GeometryError: Rows or columns are missing, or in another order.

    Example:
        >>> import denseclip_viz as dcv
        >>> maps = dcv.load().similarity(dcv.toyworld.scene("a taxi", size=64), "a taxi")
        >>> whole_geometry(maps.isel(x=slice(0, 4)))
        Traceback (most recent call last):
        denseclip_viz.errors.GeometryError: Maps whose x is not that of the image's 8 x 8 cells. Expected maps as ...
    """
    geometry = Geometry.from_json(str(result.attrs["geometry"]))
    for axis, due in (("y", geometry.y), ("x", geometry.x)):
        given = result[axis].to_numpy() if axis in result.coords else due
        if given.shape != due.shape or not np.allclose(given, due, atol=0.01):
            got = f"Maps whose {axis} is not that of the image's {geometry.grid[0]} x {geometry.grid[1]} cells"
            fix = "Pass them whole; of an area, region_means gives means, and axes.set_xlim cuts a figure."
            raise GeometryError(got, expected="maps as the model gave them, neither cut nor turned", fix=fix)
    return geometry


def visible_part(maps: xr.DataArray) -> xr.DataArray:
    """Leave cells of nothing but padding out (NaN) of maps (…, y, x), as far as these say where they lie."""
    if "geometry" not in maps.attrs or not {"y", "x"} <= set(maps.dims):
        return maps
    in_sight = Geometry.from_json(str(maps.attrs["geometry"])).in_sight
    if in_sight.all() or in_sight.shape != (maps.sizes["y"], maps.sizes["x"]):
        return maps
    visible: xr.DataArray = maps.where(xr.DataArray(in_sight, dims=("y", "x")))
    return visible


def peak_place(values: xr.DataArray, where: Placement) -> tuple[float, float]:
    """Find the middle of what was seen of the highest cell of a map (y, x), where the first pixel's centre is 0."""
    visible = np.where(where.in_sight, values.to_numpy(), np.nan)
    row, column = divmod(int(np.nanargmax(visible)), values.shape[1])
    if middle := where.middle_of((row, column)):
        return middle[0] - 0.5, middle[1] - 0.5
    return float(values["y"][row]), float(values["x"][column])
