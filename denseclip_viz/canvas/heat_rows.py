"""The rows beside a map as a heat map, for images that are drawn without a browser: the same as heat.js reads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from denseclip_viz.canvas.encoding import Quantized
from denseclip_viz.canvas.payload import Payload
from denseclip_viz.canvas.state import RULES, rows_as
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import cell_weights

Floats = npt.NDArray[np.floating[Any]]


class HeatRows(NamedTuple):
    """What is listed of a heat map.

    Attributes:
        names: Of the prompts that the filter leaves, in their order.
        titles: Of the columns: places, or the templates' numbers.
        values: (name, title), NaN where nothing was seen.
        marked: The column whose numbers stand beside it, and that it is sorted by.
        total: How many prompts there are.
        decimals: How many are printed of a value.
    """

    names: list[str]
    titles: list[str]
    values: Floats
    marked: int
    total: int
    decimals: int


def heat_rows(shown: Payload, state: Mapping[str, Any]) -> HeatRows | None:
    """Read the heat map of a state; nothing where its rows are bars, as where a map is of no text."""
    prompts, templates = (shown.choices[name] for name in ("prompt", "template"))
    axis, (stack, at) = rows_as(state, len(prompts)), shown.select(state)
    if axis == "bars" or len(stack["axes"]) != 2 or shown.hovers(state):
        return None
    template = templates.index(state["template"])
    first = at - template * len(prompts) - prompts.index(state["prompt"])
    maps, where = stack_maps(shown, stack)
    away = np.abs if state["view"] in RULES["view"]["both_sides"] else np.asarray
    spot = _here(state, shown, away(maps[at]), where)
    if axis == "templates":
        values = _means(maps[first : first + len(templates) * len(prompts)], spot).reshape(len(templates), -1).T
        numbers = [str(number + 1) for number in range(len(templates))]
        return _listed(HeatRows(prompts, numbers, values, template, len(prompts), stack["decimals"]), state)
    own = maps[first + template * len(prompts) :][: len(prompts)]
    places = {"here": spot, "pin": _pin(state, shown, where), "region": _region(state, where), "image": _visible(where)}
    columns = {title: _means(own, weights) for title, weights in places.items() if weights is not None}
    peaks = _in_sight(away(own), where).reshape(len(own), -1).argmax(1)
    columns["peak"] = own.reshape(len(own), -1)[np.arange(len(own)), peaks]
    values = np.stack(list(columns.values()), axis=1)
    return _listed(HeatRows(prompts, list(columns), values, 0, len(prompts), stack["decimals"]), state)


def stack_maps(shown: Payload, stack: Mapping[str, Any]) -> tuple[Floats, Placement]:
    """Unpack the maps (map, y, x) of a stack, and give where their cells lie."""
    where = shown.place(stack["grid"])
    numbers = Quantized(stack["first"], stack["perUnit"], stack["decimals"], shown.buffers[stack["buffer"]])
    return numbers.values().reshape(-1, *where.grid), where


def _listed(rows: HeatRows, state: Mapping[str, Any]) -> HeatRows:
    """Sort and filter them as the page does."""
    sizes, letters = np.nan_to_num(rows.values[:, rows.marked], nan=-np.inf), _plainly(state["filter"].strip())
    order = np.argsort(-sizes, kind="stable") if state["order"] == "value" else np.arange(len(sizes))
    some = [at for at in order.tolist() if letters in _plainly(rows.names[at])]
    return rows._replace(names=[rows.names[at] for at in some], values=rows.values[some])


def _plainly(text: str) -> str:
    return normalize("NFC", text).lower()


def _here(state: Mapping[str, Any], shown: Payload, drawn: Floats, where: Placement) -> Floats:
    """Weigh the cells that are read while nobody points: the region, else the pin, else the peak of what is shown."""
    weights = _region(state, where)
    if weights is None:
        weights = _pin(state, shown, where)
    if weights is not None:
        return weights
    return _one(where, np.unravel_index(int(_in_sight(drawn, where).argmax()), where.grid))


def _region(state: Mapping[str, Any], where: Placement) -> Floats | None:
    return None if state["region"] is None else cell_weights(state["region"], where)


def _visible(where: Placement) -> Floats:
    top, left, bottom, right = where.visible
    return cell_weights([(top, left), (top, right), (bottom, right), (bottom, left)], where)


def _in_sight(maps: Floats, where: Placement) -> Floats:
    return np.where((_visible(where) > 0) & ~np.isnan(maps), maps, -np.inf)


def _pin(state: Mapping[str, Any], shown: Payload, where: Placement) -> Floats | None:
    """Weigh the cell that holds the middle of the pinned one, of a grid that may be another."""
    middle = None if state["pinned"] is None else shown.place().middle_of(state["pinned"])
    return None if middle is None else _one(where, where.cell_at(middle))


def _one(where: Placement, cell: Sequence[Any]) -> Floats:
    weights = np.zeros(where.grid)
    weights[tuple(cell)] = 1.0
    return weights


def _means(maps: Floats, weights: Floats) -> Floats:
    """Average maps (map, y, x) over cells by their weights; NaN where none has a value."""
    known = np.where(np.isnan(maps), 0.0, weights)
    total = known.sum((1, 2))
    sums = (np.nan_to_num(maps) * known).sum((1, 2))
    return np.asarray(np.divide(sums, total, out=np.full(len(maps), np.nan), where=total > 0))
