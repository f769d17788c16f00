"""Maps layer by layer, with the reading that made them, and curves of score and agreement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.errors import LayerError
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.comparison import own_cells
from denseclip_viz.maps.regions import in_order
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.panels import Interpolation
from denseclip_viz.plot.scales import PALETTE, Scale
from denseclip_viz.plot.sheet import FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Lattice, Sheet
from denseclip_viz.plot.text import number

SIDE, BAR, NARROWEST = 1.2, 1.9, 0.74  # inches: of a square panel, of a bar, of a column
HEAD, ROW_HEAD = 0.45, 0.25  # inches: above everything, above a row
STRIP, STRIP_HEAD = 0.5, 0.34  # inches: a curve over the layers, and what stands above it
CURVES = {
    "layer_score": "score of each layer’s global vector",
    "layer_agreement": "agreement: cosine of a layer’s global vector with its mean dense feature",
}
GLOBAL, DENSE = "global score", "dense score"
BLOCKS = {"layer_dense": "dense", "layer_global_gradient": GLOBAL, "layer_dense_gradient": DENSE}


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
    strongest looks empty, and how high it reaches stands at its name. Scores and agreement run below as curves where
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
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96), layers="all")
        >>> both = model.compare(trace, ["a taxi"], layers="all")
        >>> [text.get_text() for text in dcv.plot.layers(both).texts][0]
        'layers'
    """
    if not isinstance(both, xr.Dataset) or not any(name in both for name in BLOCKS):
        got = f"A {type(both).__name__} without layers"
        fix = 'Ask for them: model.compare(trace, prompts, layers="all").'
        raise LayerError(got, expected="layer_dense, or layer_global_gradient and layer_dense_gradient", fix=fix)
    one, which = select.pick_template(in_order(both), template)
    shown = select.pick_prompts(one, prompt)
    sheet = Sheet(both.attrs, map(str, shown["prompt"].to_numpy()), also=which, figure=figure)
    blocks, curves = _blocks(shown), [name for name in CURVES if name in shown]
    lattices = _lattices(blocks, panels.placement(both), sheet.top + HEAD)
    end = lattices[-1].bottom + len(curves) * (STRIP + STRIP_HEAD)
    sheet.resize(max(lattices[-1].width + 0.4 * bool(curves), 5.5), end + LINE + MARGIN)
    sheet.title("layers")
    reading = str(both.attrs.get("layer_readout", ""))
    sheet.note(MARGIN, sheet.top + 0.21, sheet.fit(reading, width=sheet.width - 2 * MARGIN, size=SMALL)[0])
    for block, lattice in zip(blocks, lattices, strict=True):
        _draw_block(sheet, lattice, block, shown, interpolation)
    for i, name in enumerate(curves):
        _draw_curve(sheet, lattices[-1], shown, name, lattices[-1].bottom + i * (STRIP + STRIP_HEAD))
    sheet.footer(end + 0.08)
    return sheet.figure


def _blocks(shown: xr.Dataset) -> list[Block]:
    blocks = []
    for name in [name for name in BLOCKS if name in shown]:
        maps, cosines = shown[name], name == "layer_dense"
        each = [scales.of_view("dense", maps)] if cosines else scales.by_layer(maps, shown["layer_cells"])
        blocks.append(Block(BLOCKS[name], maps, each))
    return blocks


def _lattices(blocks: Sequence[Block], where: Placement, top: float) -> list[Lattice]:
    lattices: list[Lattice] = []
    for block in blocks:
        count = block.maps.sizes["layer"]
        lattice = Lattice(
            panel=panels.panel_size(where, side=float(np.clip(10.5 / count, 0.75, SIDE))),
            columns=count,
            rows=block.maps.sizes["prompt"],
            top=(lattices[-1].bottom + 0.1 if lattices else top) + block.head,
            least=NARROWEST if len(block.scales) == 1 else 1.0,
            row_head=ROW_HEAD,
            gap=(0.1, 0.08),
        )
        lattices.append(lattice)
    return lattices


def _draw_block(sheet: Sheet, lattice: Lattice, block: Block, shown: xr.Dataset, interpolation: Interpolation) -> None:
    top, alike = lattice.top - block.head, len(block.scales) == 1
    sheet.write(MARGIN, top, block.title, size=SMALL + 1, weight="bold")
    beside = sheet.width_of(block.title, size=SMALL + 1) * 1.15 + 0.1  # bold is wider
    sheet.note(MARGIN + beside, top + 0.012, block.scales[0].unit)
    if alike:
        scales.draw_bar(sheet.place(sheet.width - MARGIN - BAR, top, BAR, 0.08), block.scales[0])
    image = panels.reduced(shown["image"])
    for column, name in enumerate(shown["layer"].to_numpy()):
        scale = block.scales[0 if alike else column]
        highest = float(np.nanmax(np.abs(block.maps.isel(layer=column))))
        sheet.write(lattice.x(column), top + 0.29, str(name), size=SMALL)
        if not alike and highest <= 0.99 * scale.high:
            room = lattice.slot - sheet.width_of(str(name), size=SMALL)
            _draw_highest(sheet, lattice.x(column) + lattice.slot, top + 0.295, highest, room)
        if not alike:
            scales.draw_bar(sheet.place(lattice.x(column), top + 0.45, lattice.slot, 0.06), scale)
        where = panels.placement(shown, layer=column)
        for row in range(lattice.rows):
            values, ax = block.maps.isel(layer=column, prompt=row).to_numpy(), lattice.panel_at(sheet, row, column)
            values = own_cells(values, int(shown["layer_cells"][column])) if "layer_cells" in shown else values
            panels.draw_map(ax, values, where, scale, image=image, interpolation=interpolation)
    for row in range(lattice.rows):
        one = shown.isel(prompt=row)
        # the two scores that gradients are taken of: of the pooled vector, and the mean over the positions
        score = float(one["dense"].mean() if block.title == DENSE else one["score"])
        _draw_row_head(sheet, lattice.y(row) + 0.07, one, score, row if lattice.rows > 1 else None)


def _draw_highest(sheet: Sheet, right: float, top: float, highest: float, room: float) -> None:
    """Write how high a layer reaches that stays far below its scale, above the end of its bar."""
    reach = f"±{number(highest, 4)}"
    text = next(
        (text for text in (f"highest {reach}", f"≤ {reach}") if sheet.width_of(text, size=TINY) + 0.06 < room), reach
    )
    sheet.write(right, top, text, size=TINY, colour=GREY, align="right")


def _draw_row_head(sheet: Sheet, top: float, one: xr.Dataset, score: float, row: int | None) -> None:
    """Write prompt and score, behind a dot in the colour of the prompt's curve if there are several."""
    left = MARGIN
    if row is not None and "layer_score" in one:
        sheet.write(left, top, "●", size=SMALL, colour=PALETTE[row % len(PALETTE)])
        left += 0.14
    width = sheet.width - left - MARGIN
    heading = sheet.scored(select.names_along(one)[0], score, width=width, size=SMALL + 1)
    sheet.write(left, top, heading, size=SMALL + 1)


def _draw_curve(sheet: Sheet, lattice: Lattice, shown: xr.Dataset, name: str, top: float) -> None:
    """Draw a number per layer in its layer's column; prompts have the colour of the dot at their row."""
    sheet.note(MARGIN, top + 0.08, CURVES[name])
    left, above = lattice.x(0), top + STRIP_HEAD - 0.06
    width = lattice.width - left - MARGIN
    ax = sheet.place(left, above, width, STRIP)
    at = [lattice.x(column) - left + lattice.panel[0] / 2 for column in range(lattice.columns)]
    values = np.atleast_2d(shown[name].transpose(..., "layer").to_numpy())
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.08 * (high - low) or 1.0
    ax.set(xlim=(0, width), ylim=(low - room, high + room))
    for level in dict.fromkeys((low, high)):
        ax.plot([0, width], [level, level], color=FAINT, linewidth=0.6)
        share = (level - low + room) / (high - low + 2 * room)
        y = above + STRIP * (1 - share) - 0.035
        sheet.write(left + width + 0.05, y, number(level, 3), size=TINY, colour=GREY)
    for row, line in enumerate(values):
        colour = INK if len(values) == 1 else PALETTE[row % len(PALETTE)]
        ax.plot(at, line, color=colour, linewidth=1.3, marker="o", markersize=3, clip_on=False, gid=name)
