"""A result as stacks of maps: each has one grid, one unit, one scale, and belongs to one view and one layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz.canvas.quantize import packed
from denseclip_viz.canvas.state import OUTPUT
from denseclip_viz.geometry import Placement
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.scales import (
    ATTENTION,
    CONTRIBUTION,
    GAP,
    SEQUENTIAL,
    Scale,
    by_layer,
    diverging,
    sequential,
)
from denseclip_viz.plot.select import absent_baseline

TEXT = ("template", "prompt")


@dataclass(frozen=True)
class Stack:
    """Maps that are read alike.

    Attributes:
        part: What it can be left out by: `"gap"`, `"heads"`, `"layers"`, …
        view: Which view shows it.
        layer: Which layer was read.
        axes: `("template", "prompt")`, `("head",)` or none.
        values: `(*axes, y, x)`; of several templates their mean comes last.
        where: Where the grid lies in the image.
        scale: Of all its maps.
        baseline: For each template the highest value of an absent prompt; empty if there is none.
    """

    part: str
    view: str
    layer: str
    axes: tuple[str, ...]
    values: np.ndarray
    where: Placement
    scale: Scale
    baseline: tuple[float, ...] = ()

    def described(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Describe it for the browser, and pack its maps; `name` is that of the buffer."""
        numbers = packed(self.values)
        scale = {"low": self.scale.low, "high": self.scale.high, "unit": self.scale.unit, "colours": self.scale.colours}
        where = self.where._replace(grid=self.values.shape[-2:]).to_dict()  # a gradient's grid may be finer
        unpack = {"first": numbers.first, "perUnit": numbers.per_unit, "decimals": numbers.decimals}
        is_diverging = self.scale.colours in (CONTRIBUTION, GAP)
        kind = {"diverging": is_diverging, "baseline": list(self.baseline), "axes": list(self.axes)}
        names = {"view": self.view, "layer": self.layer, "buffer": name}
        return {**names, **kind, **scale, **unpack, "sizes": list(self.values.shape[:-2]), "grid": where}, numbers.bytes


def with_axes(result: xr.Dataset) -> xr.Dataset:
    """Give back the axes template and prompt where one of each was picked."""
    for axis in TEXT:
        if axis in result.coords and axis not in result.dims:
            result = result.expand_dims(axis)
    return result


def stacks(result: xr.Dataset) -> Iterator[Stack]:
    """Read the maps of a comparison or of similarities.

    Args:
        result: With `dense` (template, prompt, y, x), and any of `contribution`, `gap`, `attention`,
            `attention_heads` and the variables of layers.

    Returns:
        The stacks, that of the dense map first.
    """
    where = placement(result)
    yield from _dense(result, where)
    for name, colours, unit in (("contribution", CONTRIBUTION, "cosine"), ("gap", GAP, "std. dev.")):
        if name in result:
            scale = diverging(result[name], unit=unit, colours=colours)
            yield Stack(name, name, OUTPUT, TEXT, _text_maps(result[name]), where, scale)
    yield from _attention(result, where)
    yield from _gradients(result)


def _dense(result: xr.Dataset, where: Placement) -> Iterator[Stack]:
    """The dense maps of the output and of layers that are read in text space; one scale for all cosines."""
    every = [result[name] for name in ("dense", "layer_dense") if name in result]
    scale = sequential(np.concatenate([np.ravel(maps) for maps in every]), unit="cosine", colours=SEQUENTIAL)
    dense = result["dense"]
    yield Stack("dense", "dense", OUTPUT, TEXT, _text_maps(dense), where, scale, _baseline(dense))
    if "layer_dense" in result:
        for i, name in enumerate(result["layer"].to_numpy()):
            maps, there = result["layer_dense"].isel(layer=i), placement(result, layer=i)
            yield Stack("layers", "dense", str(name), TEXT, _text_maps(maps), there, scale, _baseline(maps))


def _attention(result: xr.Dataset, where: Placement) -> Iterator[Stack]:
    if "attention" in result:
        maps = result["attention"].transpose("y", "x").to_numpy()
        scale = sequential(maps, unit="weight", colours=ATTENTION, also=[0.0])
        yield Stack("attention", "attention", OUTPUT, (), maps, where, scale)
    if "attention_heads" in result:
        maps = result["attention_heads"].transpose("head", "y", "x").to_numpy()
        scale = sequential(maps, unit="weight", colours=ATTENTION, also=[0.0])
        yield Stack("heads", "attention", OUTPUT, ("head",), maps, where, scale)


def _gradients(result: xr.Dataset) -> Iterator[Stack]:
    """Layers read by gradients; cells of different sizes carry different shares, so each has its own scale."""
    for variable, view in (("layer_dense_gradient", "dense"), ("layer_global_gradient", "contribution")):
        if variable not in result:
            continue
        scales = by_layer(result[variable], result["layer_cells"], unit="cosine")
        for i, name in enumerate(result["layer"].to_numpy()):
            maps = _text_maps(result[variable].isel(layer=i).rename(fine_y="y", fine_x="x"))
            own = _own_cells(maps, int(result["layer_cells"][i]))
            yield Stack("layers", view, str(name), TEXT, own, placement(result, layer=i), scales[i])


def _own_cells(maps: np.ndarray, cells: int) -> np.ndarray:
    """Undo the repetition of a coarse layer's cells up to the finest grid."""
    rows, columns = maps.shape[-2:]
    times = round((rows * columns / cells) ** 0.5)
    coarse = maps[..., ::times, ::times]
    same = np.array_equal(coarse.repeat(times, -2).repeat(times, -1), maps)
    return coarse if same else maps


def _text_maps(maps: xr.DataArray) -> np.ndarray:
    """`(template, prompt, y, x)`, and the mean over templates after them if there are several."""
    values: np.ndarray = maps.transpose(*TEXT, "y", "x").to_numpy()
    return values if len(values) == 1 else np.concatenate([values, values.mean(0, keepdims=True, dtype=np.float64)])


def _baseline(maps: xr.DataArray) -> tuple[float, ...]:
    """The highest value of a prompt that is known to be absent, for each template and for their mean."""
    each = [absent_baseline(maps.isel(template=i)) for i in range(maps.sizes["template"])]
    if len(each) > 1:
        each.append(absent_baseline(maps.mean("template")))
    return tuple(value for value in each if value is not None)
