"""Which words carry a prompt's map: a bar under each word, and its map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.plot.characters import isolated
from denseclip_viz.plot.fonts import base_families, lettering
from denseclip_viz.plot.panels import Interpolation, draw_map, panel_size, placement, reduced
from denseclip_viz.plot.scales import CONTRIBUTION, Scale, diverging, draw_bar, sequential
from denseclip_viz.plot.select import pick_template, require
from denseclip_viz.plot.sheet import (
    GREY,
    INK,
    LINE,
    LITERAL,
    MARGIN,
    POINTS,
    SMALL,
    STAMP,
    TINY,
    TITLE,
    Sheet,
    footer,
    is_random,
    new_sheet,
    number,
    place,
    provenance,
    stamp,
    write,
)
from denseclip_viz.plot.text import fit

SIDE, LEAST, GAP, BARS, BAR = 1.1, 0.98, 0.1, 0.72, 1.5  # inches: a panel, a column, between, bars, the scale's bar
BOLD = 1.2  # bold letters are wider than those that are measured
RAISES, LOWERS = "#b2182b", "#2166ac"  # as the ends of the diverging scale
HEAD, LABEL = 0.55, 0.26  # inches: title and the heads' first line; the line above each kind


@dataclass(frozen=True)
class _Kind:
    """One of the two answers: its bars, its maps, the map in the first column and what that is."""

    title: str
    bars: xr.DataArray
    maps: xr.DataArray
    first: xr.DataArray
    first_scale: Scale
    first_name: str


def words(
    attribution: xr.Dataset,
    *,
    template: str | None = None,
    interpolation: Interpolation = "bilinear",
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
    """
    made_by = "word_attribution(model, image, prompt)"
    require(attribution, ["similarity", "change", "peak_change", "image"], made_by=made_by)
    one, said = pick_template(attribution, template)
    kinds, where = _kinds(one), placement(one)
    names = [str(name) for name in one["word"].to_numpy()]
    letters = lettering([*names, str(one.attrs.get("prompt", "")), said, provenance(one.attrs)])
    panel = panel_size(where, side=SIDE)
    slot = max(panel[0], LEAST)
    heads = [fit(name, letters, width=slot * POINTS / BOLD, size=SMALL + 1, lines=2) for name in names]
    above = MARGIN + STAMP * is_random(one.attrs)
    top = above + HEAD + LINE * max(map(len, heads))
    block = LABEL + BARS + panel[1] + 0.12
    width = max(2 * MARGIN + (len(names) + 1) * (slot + GAP), 6.4)
    on = new_sheet(width, top + block * len(kinds) + 3 * LINE + MARGIN / 2, letters, figure=figure)
    stamp(on, one.attrs)
    _title(on, above, one, said)
    lefts = [MARGIN + column * (slot + GAP) for column in range(len(names) + 1)]
    for left, head in zip(lefts[1:], heads, strict=True):
        for i, line in enumerate(reversed(head)):
            at = top - (i + 1) * LINE
            write(on, left + slot / 2, at, isolated(line), size=SMALL + 1, weight="bold", align="center")
    image = reduced(one["image"].to_numpy())
    shape: dict[str, Any] = {"where": where, "image": image, "interpolation": interpolation}
    for row, kind in enumerate(kinds):
        _block(on, kind, lefts, top + row * block, (slot, panel), shape)
    notes = [_NOTE, provenance(one.attrs)]
    footer(on, top + block * len(kinds) + LINE, notes)
    return on.figure


_NOTE = (
    "Red raises the cosine, blue lowers it. Gradient bars: at the map’s highest cell. Each answer has its own scale."
)


def _kinds(one: xr.Dataset) -> list[_Kind]:
    whole = one["similarity"]
    kinds = [
        _Kind(
            "left out: what the highest cosine loses without the word",
            one["peak_change"],
            one["change"],
            whole,
            sequential(whole, unit="cosine"),
            "whole prompt",
        )
    ]
    if "gradient" in one:
        rest = one["gradient_rest"]
        scale = diverging(np.concatenate([np.ravel(one["gradient"]), np.ravel(rest)]), unit="cosine")
        title = "gradient × embedding: how the cosine changes as the word grows"
        kinds.append(_Kind(title, one["gradient_peak"], one["gradient"], rest, scale, "all other tokens"))
    return kinds


def _title(on: Sheet, above: float, one: xr.Dataset, said: str) -> None:
    room = (on.width - 2 * MARGIN) * POINTS
    prompt = fit(str(one.attrs.get("prompt", "")), on.letters, width=room / BOLD, size=TITLE)[0]
    write(on, MARGIN, above, isolated(prompt), size=TITLE, weight="bold")
    what = f"which words carry the map · {said}" if said else "which words carry the map"
    line = fit(what, on.letters, width=room, size=SMALL)[0]
    write(on, MARGIN, above + 0.23, line, size=SMALL, colour=GREY)


def _block(
    on: Sheet,
    kind: _Kind,
    lefts: list[float],
    top: float,
    size: tuple[float, tuple[float, float]],
    shape: dict[str, Any],
) -> None:
    """One answer: its title with the scale, a bar under each word, and the maps."""
    slot, panel = size
    alike = kind.first_scale.colours == CONTRIBUTION
    scale = kind.first_scale if alike else diverging(kind.maps, unit="cosine")
    if not alike:
        draw_bar(place(on, lefts[0], top + LABEL + 0.18, slot, 0.07), kind.first_scale)
    write(on, MARGIN, top + 0.06, kind.title, size=SMALL, colour=INK)
    reach = float(np.nanmax(np.abs(kind.bars), initial=0.0)) or 1.0
    for left, value in zip(lefts[1:], kind.bars.to_numpy(), strict=True):
        _bar(place(on, left, top + LABEL, slot, BARS), float(value), reach)
    draw_bar(place(on, on.width - MARGIN - BAR, top + 0.07, BAR, 0.07), scale)
    write(on, lefts[0], top + LABEL + BARS - 0.16, kind.first_name, size=SMALL, colour=GREY)
    for left, values, its in zip(
        lefts,
        [kind.first, *(kind.maps.isel(word=at) for at in range(kind.maps.sizes["word"]))],
        [kind.first_scale, *[scale] * kind.maps.sizes["word"]],
        strict=True,
    ):
        ax = place(on, left, top + LABEL + BARS, slot, panel[1])
        ax.set_anchor("N")
        draw_map(ax, values.to_numpy(), scale=its, **shape)


def _bar(ax: Axes, value: float, reach: float) -> None:
    ax.set(xlim=(-1, 1), ylim=(-1.75 * reach, 1.75 * reach))
    ax.axhline(0, color=INK, linewidth=0.6, zorder=1)
    ax.bar([0], [value], width=0.7, color=RAISES if value > 0 else LOWERS, gid="word bar", zorder=2)
    text: dict[str, Any] = {"size": TINY, "color": INK, "weight": "normal", "family": list(base_families()), **LITERAL}
    side = "bottom" if value >= 0 else "top"
    decimals = max(2, 1 - math.floor(math.log10(reach)))
    said = number(value, decimals) if round(value, decimals) else "0"
    ax.text(0, value + (0.08 if value >= 0 else -0.08) * reach, said, ha="center", va=side, **text)
