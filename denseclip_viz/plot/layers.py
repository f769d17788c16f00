"""Maps layer by layer, with the reading that made them, and curves of score and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import LayerError
from denseclip_viz.geometry import Placement
from denseclip_viz.plot.fonts import lettering
from denseclip_viz.plot.panels import (
    Interpolation,
    draw_map,
    layer_placement,
    panel_size,
    placement,
    reduced,
)
from denseclip_viz.plot.scales import PALETTE, Scale, by_layer, draw_bar, sequential
from denseclip_viz.plot.select import pick_prompts, pick_template
from denseclip_viz.plot.sheet import (
    FAINT,
    GREY,
    INK,
    LINE,
    MARGIN,
    POINTS,
    SMALL,
    STAMP,
    TINY,
    TITLE,
    Lattice,
    Sheet,
    footer,
    is_random,
    new_sheet,
    number,
    place,
    provenance,
    scored,
    stamp,
    write,
)
from denseclip_viz.plot.text import fit, width_of

SIDE, BAR, NARROWEST = 1.2, 1.9, 0.74  # inches: of a square panel, of a bar, of a column
HEAD, ROW_HEAD = 0.45, 0.25  # inches: above everything, above a row
STRIP, STRIP_HEAD = 0.5, 0.34  # inches: a curve over the layers, and what stands above it
CURVES = {
    "layer_score": "score of each layer’s global vector",
    "layer_agreement": "agreement: cosine of a layer’s global vector with its mean dense feature",
}
BLOCKS = {
    "layer_dense": "dense",
    "layer_global_gradient": "global score",
    "layer_dense_gradient": "dense score",
}


@dataclass(frozen=True)
class Block:
    """Maps (layer, prompt, y, x) that are read alike, with one scale for all layers or one for each."""

    title: str
    maps: xr.DataArray
    scales: Sequence[Scale]

    @property
    def head(self) -> float:
        """Height above the first row, in inches: bars stand in the title's line or above each layer."""
        return 0.52 if len(self.scales) == 1 else 0.74


def layers(
    both: xr.Dataset,
    *,
    prompt: str | None = None,
    template: str | None = None,
    interpolation: Interpolation = "bilinear",
    figure: Figure | None = None,
) -> Figure:
    """Draw the maps of every layer, one row for each prompt, and say which reading they are.

    Cosine readings share one scale over all layers. Gradient readings have one for each layer, shown above
    it, since cells of different sizes carry different shares; a layer whose sum is far below the
    strongest looks empty. Scores and agreement run below as curves where
    there are any.

    Args:
        both: What `Model.compare(..., layers=...)` returns.
        prompt: The one prompt to show; all by default.
        template: Which template; the first by default, never a mean.
        interpolation: "bilinear", or "nearest" to see the cells.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Raises:
        LayerError: The comparison was made without layers.
        PromptError: A prompt or template that is not in the result.

    Example:
        >>> layers(xr.Dataset())
        Traceback (most recent call last):
        denseclip_viz.errors.LayerError: The comparison holds no layers. Expected ...
    """
    _check(both)
    one, which = pick_template(both, template)
    shown = pick_prompts(one, prompt)
    made = " · ".join(filter(None, [provenance(both.attrs), which]))
    letters = lettering([*map(str, shown["prompt"].to_numpy()), made])
    where, blocks = placement(both), _blocks(shown)
    curves = [name for name in CURVES if name in shown]
    lattices = _lattices(blocks, where, MARGIN + STAMP * is_random(both.attrs) + HEAD)
    end = lattices[-1].bottom + len(curves) * (STRIP + STRIP_HEAD)
    width = max(lattices[-1].width + 0.4 * bool(curves), 5.5)
    on = new_sheet(width, end + LINE + MARGIN, letters, figure=figure)
    _draw_title(on, both)
    for block, lattice in zip(blocks, lattices, strict=True):
        _draw_block(on, lattice, block, shown, where, interpolation)
    for i, name in enumerate(curves):
        _draw_curve(on, lattices[-1], shown, name, lattices[-1].bottom + i * (STRIP + STRIP_HEAD))
    footer(on, end + 0.08, [made])
    return on.figure


def _check(both: xr.Dataset) -> None:
    if not any(name in both for name in BLOCKS):
        raise LayerError(
            "The comparison holds no layers",
            expected="layer_dense, or layer_global_gradient and layer_dense_gradient",
            fix='Ask for them: model.compare(trace, prompts, layers="all").',
        )


def _blocks(shown: xr.Dataset) -> list[Block]:
    blocks = []
    for name, title in BLOCKS.items():
        if name not in shown:
            continue
        maps = shown[name]
        if name == "layer_dense":
            scales = [sequential(maps, unit="cosine")]
        else:
            scales = by_layer(maps, shown["layer_cells"], unit="cosine")
        blocks.append(Block(title, maps, scales))
    return blocks


def _lattices(blocks: Sequence[Block], where: Placement, top: float) -> list[Lattice]:
    lattices: list[Lattice] = []
    for block in blocks:
        count = block.maps.sizes["layer"]
        top = (lattices[-1].bottom + 0.1 if lattices else top) + block.head
        lattices.append(
            Lattice(
                panel=panel_size(where, side=float(np.clip(10.5 / count, 0.75, SIDE))),
                columns=count,
                rows=block.maps.sizes["prompt"],
                top=top,
                least=NARROWEST if len(block.scales) == 1 else 1.0,
                row_head=ROW_HEAD,
                gap=(0.1, 0.08),
            )
        )
    return lattices


def _draw_title(on: Sheet, both: xr.Dataset) -> None:
    top = MARGIN + stamp(on, both.attrs)
    write(on, MARGIN, top, "layers", size=TITLE, weight="bold")
    reading = fit(
        str(both.attrs.get("layer_readout", "")),
        on.letters,
        width=(on.width - 2 * MARGIN) * POINTS,
        size=SMALL,
    )
    write(on, MARGIN, top + 0.21, reading[0], size=SMALL, colour=GREY)


def _draw_block(
    on: Sheet,
    lattice: Lattice,
    block: Block,
    shown: xr.Dataset,
    where: Placement,
    interpolation: Interpolation,
) -> None:
    top = lattice.top - block.head
    write(on, MARGIN, top, block.title, size=SMALL + 1, weight="bold")
    beside = width_of(block.title, on.letters, size=SMALL + 1) / POINTS * 1.15 + 0.1  # bold is wider
    write(on, MARGIN + beside, top + 0.012, block.scales[0].unit, size=SMALL, colour=GREY)
    if len(block.scales) == 1:
        draw_bar(place(on, on.width - MARGIN - BAR, top, BAR, 0.08), block.scales[0])
    image = reduced(shown["image"])
    for column, name in enumerate(shown["layer"].to_numpy()):
        scale = block.scales[column % len(block.scales)]
        write(on, lattice.x(column), top + 0.29, str(name), size=SMALL)
        if len(block.scales) > 1:
            draw_bar(place(on, lattice.x(column), top + 0.45, lattice.slot, 0.06), scale)
        there = layer_placement(shown, column)
        for row in range(lattice.rows):
            values = block.maps.isel(layer=column, prompt=row)
            ax = lattice.panel_at(on, row, column)
            draw_map(ax, values, there, scale, image=image, interpolation=interpolation)
    for row in range(lattice.rows):
        _draw_row_head(on, lattice.y(row) + 0.07, shown.isel(prompt=row), row if lattice.rows > 1 else None)


def _draw_row_head(on: Sheet, top: float, one: xr.Dataset, row: int | None) -> None:
    """Write prompt and score, behind a dot in the colour of the prompt's curve if there are several."""
    left = MARGIN
    if row is not None and "layer_score" in one:
        write(on, left, top, "●", size=SMALL, colour=_colour(row))
        left += 0.14
    width = on.width - left - MARGIN
    text = scored(str(one["prompt"].item()), float(one["score"]), on.letters, width=width, size=SMALL + 1)
    write(on, left, top, text, size=SMALL + 1)


def _colour(row: int) -> str:
    return PALETTE[row % len(PALETTE)]


def _draw_curve(on: Sheet, lattice: Lattice, shown: xr.Dataset, name: str, top: float) -> None:
    """Draw a number per layer in its layer's column; prompts have the colour of the dot at their row."""
    write(on, MARGIN, top + 0.08, CURVES[name], size=SMALL, colour=GREY)
    width = lattice.width - lattice.x(0) - MARGIN
    ax = place(on, lattice.x(0), top + STRIP_HEAD - 0.06, width, STRIP)
    at = [lattice.x(column) - lattice.x(0) + lattice.panel[0] / 2 for column in range(lattice.columns)]
    values = np.atleast_2d(shown[name].transpose(..., "layer").to_numpy())
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.08 * (high - low) or 1.0
    ax.set(xlim=(0, width), ylim=(low - room, high + room))
    for level in dict.fromkeys((low, high)):
        ax.plot([0, width], [level, level], color=FAINT, linewidth=0.6)
        share = (level - low + room) / (high - low + 2 * room)
        y = top + STRIP_HEAD - 0.06 + STRIP * (1 - share) - 0.035
        write(on, lattice.x(0) + width + 0.05, y, number(level, 3), size=TINY, colour=GREY)
    for row, line in enumerate(values):
        colour = INK if len(values) == 1 else _colour(row)
        ax.plot(at, line, color=colour, linewidth=1.3, marker="o", markersize=3, clip_on=False, gid=name)
