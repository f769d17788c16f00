"""A result as stacks of maps: each has one grid, one unit, one scale, and belongs to one view and one layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz.canvas.encoding import quantize
from denseclip_viz.canvas.state import MEAN, OUTPUT, PICKED_BY
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.comparison import own_cells
from denseclip_viz.plot import scales
from denseclip_viz.plot.attribution_maps import scale_of
from denseclip_viz.plot.compare import QUESTIONS
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.scales import Scale
from denseclip_viz.plot.select import absent_part

TEXT = ("template", "prompt")
OF_NO_TEXT = ("attention", "attention_heads", "image", "layer_cells", "layer_shift")
GRADIENT_VIEWS = {  # variable, and what its maps are
    "dense": ("layer_dense_gradient", "what made the mean dense cosine?"),
    "contribution": ("layer_global_gradient", "what made the score?"),
}
Key = tuple[str, ...]
"""What maps on one scale have in common: view, layer, unit, axes, and the method of an attribution."""


@dataclass(frozen=True)
class Stack:
    """Maps `(*axes, y, x)` that are read alike, on one scale; of several templates their mean comes last.

    Those of several paths follow each other: templates of the first, with their mean, then of the second, …

    It can be left out by its `part`: "gap", "heads", "layers", …. Axes are `("template", "prompt")`, `("head",)` or
    none. The title says what they are. The baseline is for each template the highest value of an absent prompt, path
    after path; empty if there is none.
    """

    part: str
    view: str
    layer: str
    axes: tuple[str, ...]
    values: np.ndarray
    where: Placement
    scale: Scale
    title: str
    baseline: tuple[float, ...] = ()
    method: str = ""

    @property
    def key(self) -> Key:
        """Name what it shares its scale with, in other results."""
        return self.view, self.layer, self.scale.unit, *self.axes, *filter(None, [self.method])

    def pack(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Describe it for the browser, and pack its maps into the buffer of a name."""
        numbers, shape = quantize(self.values), self.values.shape
        names = {"view": self.view, "layer": self.layer, "title": self.title, "buffer": name}
        lists = {"axes": list(self.axes), "sizes": list(shape[:-2]), "baseline": list(self.baseline)}
        where = self.where._replace(grid=(shape[-2], shape[-1]))  # a gradient's cells may be finer, or coarser
        return {**names, **lists, **drawn_by(self.scale), **numbers.to_dict(), "grid": where.to_dict()}, numbers.bytes


def drawn_by(scale: Scale) -> dict[str, Any]:
    """Return what the browser draws maps on a scale by, and their differences."""
    return {**scale.to_dict(), "difference": scale.of_differences().to_dict()}


def maps_by_state(stacks: Sequence[Stack], choices: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """List which maps a state shows: stack and first map, by layer, view and the choice that it is picked by.

    That is the path of dense maps, the head of attention, the method of attributions. Segments are drawn from dense
    maps that are cosines, masks where absent prompts give these a cut. The first view of a layer is what a view that
    it lacks gives way to.
    """
    table: dict[str, dict[str, list[list[int]]]] = {}
    for layer, view in dict.fromkeys((stack.layer, stack.view) for stack in stacks):
        own = [i for i, stack in enumerate(stacks) if (stack.layer, stack.view) == (layer, view)]
        names = choices.get(PICKED_BY.get(view, ""), [""])
        if view == "attention":
            entries = [_of_head(stacks, own, at, names) for at in range(len(names))]
        elif view == "attribution":
            entries = [[number, 0] for number in own]
        else:
            maps = stacks[own[0]].values[..., 0, 0].size
            apart = maps // len(names) if layer == OUTPUT else 0  # inner layers are read along one path
            entries = [[own[0], at * apart] for at in range(len(names))]
        table.setdefault(layer, {})[view] = entries
        if view == "dense" and not stacks[own[0]].scale.is_diverging:
            drawn = ("segments", "masks") if stacks[own[0]].baseline else ("segments",)
            table[layer] |= dict.fromkeys(drawn, entries)
    return table or {OUTPUT: {view: [] for view in choices["view"]}}


def _of_head(stacks: Sequence[Stack], own: Sequence[int], at: int, heads: Sequence[Any]) -> list[int]:
    """Find the map of a head, or that of their mean."""
    fitting = [i for i in own if (stacks[i].axes == ("head",)) == (heads[at] != MEAN)]
    return [(fitting or own)[0], at - (MEAN in heads) if fitting and heads[at] != MEAN else 0]


def with_axes(result: xr.Dataset) -> xr.Dataset:
    """Give back the axes template and prompt where one of each was picked."""
    of_no_text = {name: result[name].variable for name in OF_NO_TEXT if name in result}
    for axis in TEXT:
        if axis in result.coords and axis not in result.dims:
            result = result.expand_dims(axis).assign(of_no_text)
    return result


def stacks_of(result: xr.Dataset) -> Iterator[Stack]:
    """Read the maps of a comparison or of similarities, that of the dense map first.

    Args:
        result: With `dense` (template, prompt, y, x), behind an axis `path` or without, `attribution` behind an axis
            `candidate`, or both, and any of `contribution`, `gap`, `attention`, `attention_heads` and the variables of
            layers.
    """
    where = placement(result)
    yield from _dense(result, where) if "dense" in result else ()
    for name in ("contribution", "gap"):
        if name in result:
            maps, scale = text_values(result[name]), scales.of_view(name, result[name])
            yield Stack(name, name, OUTPUT, TEXT, maps, where, scale, QUESTIONS[name])
    for name, part, axes in (("attention", "attention", ()), ("attention_heads", "heads", ("head",))):
        if name in result:
            maps = result[name].transpose(*axes, "y", "x").to_numpy()
            scale = scales.of_view("attention", maps)
            yield Stack(part, "attention", OUTPUT, axes, maps, where, scale, QUESTIONS["attention"])
    for at in range(result.sizes["candidate"] if "attribution" in result else 0):
        maps, name = result["attribution"].isel(candidate=at), str(result["candidate"][at].item())
        question, values = f"{name}: {QUESTIONS['contribution']}", text_values(maps)
        yield Stack(
            "attribution", "attribution", OUTPUT, TEXT, values, where, scale_of(maps), question, _baseline(maps), name
        )
    if "difference" in result:
        maps = text_values(result["difference"])
        scale = scales.diverging(maps, unit="cosine")
        title = str(result["difference"].attrs.get("long_name", "difference"))
        yield Stack("difference", "difference", OUTPUT, TEXT, maps, where, scale, title)
    yield from _gradients(result)


def _dense(result: xr.Dataset, where: Placement) -> Iterator[Stack]:
    """Stack the dense maps of the output and of layers that are read in text space; one scale for all cosines."""
    cosines = [np.ravel(result[name]) for name in ("dense", "layer_dense") if name in result]
    scale = scales.of_view("dense", np.concatenate(cosines))
    dense = result["dense"]
    question = QUESTIONS["dense"]
    each = [dense.isel(path=at) for at in range(dense.sizes["path"])] if "path" in dense.dims else [dense]
    maps = np.concatenate([text_values(one) for one in each])
    baseline = tuple(value for one in each for value in _baseline(one))
    yield Stack("dense", "dense", OUTPUT, TEXT, maps, where, scale, question, baseline)
    if "layer_dense" in result:
        for i, name in enumerate(result["layer"].to_numpy()):
            own, where = result["layer_dense"].isel(layer=i), placement(result, layer=i)
            yield Stack("layers", "dense", str(name), TEXT, text_values(own), where, scale, question, _baseline(own))


def _gradients(result: xr.Dataset) -> Iterator[Stack]:
    """Stack layers read by gradients; cells of different sizes carry different shares, so each has its own scale."""
    for view, (variable, title) in GRADIENT_VIEWS.items():
        if variable not in result:
            continue
        each = scales.by_layer(result[variable], result["layer_cells"])
        for i, name in enumerate(result["layer"].to_numpy()):
            maps = text_values(result[variable].isel(layer=i).rename(fine_y="y", fine_x="x"))
            own = own_cells(maps, int(result["layer_cells"][i]))
            yield Stack("layers", view, str(name), TEXT, own, placement(result, layer=i), each[i], title)


def text_values(maps: xr.DataArray) -> np.ndarray:
    """Return `(template, prompt, y, x)`, as far as there, and the mean over templates last if there are several."""
    values: np.ndarray = maps.transpose(*TEXT, "y", "x", missing_dims="ignore").to_numpy()
    return values if len(values) == 1 else np.concatenate([values, values.mean(0, keepdims=True, dtype=np.float64)])


def _baseline(maps: xr.DataArray) -> tuple[float, ...]:
    """Take the highest value of a prompt that is known to be absent, for each template and for their mean."""
    away = absent_part(maps)
    return () if away is None else tuple(np.nanmax(text_values(away), axis=(1, 2, 3)).tolist())
