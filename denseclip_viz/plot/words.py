"""Which words carry a prompt's map: a bar under each word, and its map."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.maps.regions import require
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.sheet import BOLD, INK, LINE, MARGIN, SMALL, TINY, TITLE, Sheet
from denseclip_viz.plot.text import isolated, number, plain

SIDE, LEAST, GAP, BARS, BAR = 1.1, 0.98, 0.1, 0.72, 1.5  # inches: a panel, a column, between, bars, the scale's bar
RAISES, LOWERS = "#b2182b", "#2166ac"  # as the ends of the diverging scale
HEAD, LABEL = 0.55, 0.26  # inches: title and the heads' first line; the line above each kind
NOTE = "Red raises the cosine, blue lowers it. Gradient bars: at the map’s peak. Each answer has its own scale."


@dataclass(frozen=True)
class _Kind:
    """One of the two answers: its bars, its maps, the map in the first column and what that is."""

    title: str
    bars: xr.DataArray
    maps: xr.DataArray
    first: xr.DataArray
    first_scale: scales.Scale
    first_name: str


def words(
    attribution: xr.Dataset,
    *,
    template: str | None = None,
    interpolation: panels.Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw which words carry a prompt's map: what the peak loses without each, and what gradients give it.

    Args:
        attribution: What `word_attribution` returns.
        template: One of its templates; the first by default.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: words across, and for each of the answers their bars and maps on one scale.

    Raises:
        LayerError: another result.
        PromptError: a template that it does not hold.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a red taxi on a road", 128)
        >>> attribution = dcv.measure.word_attribution(dcv.load(), scene, "a red taxi", gradient=False)
        >>> dcv.plot.words(attribution).axes != []
        True
    """
    made_by = "word_attribution(model, image, prompt)"
    attribution = require(attribution, ["dense", "change", "peak_change", "image"], made_by=made_by)
    one, written = select.pick_template(attribution, template)
    kinds, where = _kinds(one), panels.placement(one)
    names = [str(name) for name in one["word"].to_numpy()]
    on = Sheet(one.attrs, [*names, str(one.attrs.get("prompt", "")), written], figure=figure)
    panel = panels.panel_size(where, side=SIDE)
    slot = max(panel[0], LEAST)
    heads = [on.fit(name, width=slot / BOLD, size=SMALL + 1, lines=2) for name in names]
    top = on.top + HEAD + LINE * max(map(len, heads))
    block = LABEL + BARS + panel[1] + 0.12
    width = max(2 * MARGIN + (len(names) + 1) * (slot + GAP), 6.4)
    on.resize(width, top + block * len(kinds) + 3 * LINE + MARGIN / 2)
    _title(on, one, written)
    lefts = [MARGIN + column * (slot + GAP) for column in range(len(names) + 1)]
    for left, head in zip(lefts[1:], heads, strict=True):
        for i, line in enumerate(reversed(head)):
            at = top - (i + 1) * LINE
            on.write(left + slot / 2, at, isolated(line), size=SMALL + 1, weight="bold", align="center")
    image = panels.reduced(one["image"].to_numpy())
    look: dict[str, Any] = {"where": where, "image": image, "interpolation": interpolation}
    for row, kind in enumerate(kinds):
        _block(on, kind, lefts, top + row * block, (slot, panel[1]), look)
    on.footer(top + block * len(kinds) + LINE, NOTE)
    return on.figure


def _kinds(one: xr.Dataset) -> list[_Kind]:
    whole = one["dense"]
    title, scale = "left out: what the highest cosine loses without the word", scales.of_view("dense", whole)
    kinds = [_Kind(title, one["peak_change"], one["change"], whole, scale, "whole prompt")]
    if "gradient" in one:
        rest = one["gradient_rest"]
        scale = scales.diverging(np.concatenate([np.ravel(one["gradient"]), np.ravel(rest)]), unit="cosine")
        title = "gradient × embedding: how the cosine changes as the word grows"
        kinds.append(_Kind(title, one["gradient_peak"], one["gradient"], rest, scale, "all other tokens"))
    return kinds


def _title(on: Sheet, one: xr.Dataset, written: str) -> None:
    room = on.width - 2 * MARGIN
    prompt = on.fit(str(one.attrs.get("prompt", "")), width=room / BOLD, size=TITLE)[0]
    on.title(isolated(prompt))
    what = f"which words carry the map · {written}" if written else "which words carry the map"
    line = on.fit(what, width=room, size=SMALL)[0]
    on.note(MARGIN, on.top + 0.23, line)


def _block(
    on: Sheet, kind: _Kind, lefts: list[float], top: float, size: tuple[float, float], look: dict[str, Any]
) -> None:
    """Draw one answer: its title with the scale, a bar under each word, and the maps."""
    slot, height = size
    scale = kind.first_scale if kind.first_scale.is_diverging else scales.diverging(kind.maps, unit="cosine")
    if scale is not kind.first_scale:
        scales.draw_bar(on.place(lefts[0], top + LABEL + 0.18, slot, 0.07), kind.first_scale)
    on.write(MARGIN, top + 0.06, kind.title, size=SMALL, colour=INK)
    reach = float(np.nanmax(np.abs(kind.bars), initial=0.0)) or 1.0
    for left, value in zip(lefts[1:], kind.bars.to_numpy(), strict=True):
        _bar(on.place(left, top + LABEL, slot, BARS), float(value), reach)
    scales.draw_bar(on.place(on.width - MARGIN - BAR, top + 0.07, BAR, 0.07), scale)
    on.note(lefts[0], top + LABEL + BARS - 0.16, kind.first_name)
    for left, values in zip(lefts, [kind.first, *kind.maps.transpose("word", ...)], strict=True):
        ax = on.place(left, top + LABEL + BARS, slot, height)
        ax.set_anchor("N")
        panels.draw_map(ax, values.to_numpy(), scale=kind.first_scale if values is kind.first else scale, **look)


def _bar(ax: Axes, value: float, reach: float) -> None:
    ax.set(xlim=(-1, 1), ylim=(-1.75 * reach, 1.75 * reach))
    ax.axhline(0, color=INK, linewidth=0.6, zorder=1)
    ax.bar([0], [value], width=0.7, color=RAISES if value > 0 else LOWERS, gid="word bar", zorder=2)
    side = "bottom" if value >= 0 else "top"
    decimals = max(2, 1 - math.floor(math.log10(reach)))
    written = number(value, decimals) if round(value, decimals) else "0"
    ax.text(0, value + (0.08 if value >= 0 else -0.08) * reach, written, ha="center", va=side, **plain(TINY, INK))
