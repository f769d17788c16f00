"""The main figure: image, dense map, contributions, attention and gap, one row for each prompt."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.geometry import Placement
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.scales import Scale
from denseclip_viz.plot.sheet import MARGIN, SMALL, TITLE, Lattice, Sheet

QUESTIONS = {
    "dense": "where does the text live?",
    "contribution": "what made the score?",
    "attention": "where did the pooling look?",
    "gap": "+ overlooked   − used more",
}
DRAWN = [*QUESTIONS, "score", "image"]
CAPTION = "× strongest dense cell   ○ strongest contribution"
FADED = "   faded: not seen by the model"
SIDE = 1.62  # inches: of a square panel
NARROWEST = 1.5  # inches: of a column
HEAD, ROW_HEAD = 0.9, 0.29  # inches: titles with their bars, and the line above each row


def compare(
    both: xr.Dataset,
    *,
    prompts: str | Sequence[str] | None = None,
    template: str | None = None,
    figure: Figure | None = None,
    interpolation: panels.Interpolation = "bilinear",
) -> Figure:
    """Draw global against dense: image | dense | contribution | attention | gap, one row for each prompt.

    Each column has one colour scale for all rows, shown above it: dense and contribution in cosine units,
    attention as weight per cell, gap in standard deviations. The highest dense cosine of the prompts known to
    be absent stands on the dense bar. Rows are headed by prompt and global score.

    Args:
        both: What `Model.compare` returns.
        prompts: Which prompts to show, in this order; all by default.
        template: Which template to show; the first by default, never a mean.
        figure: An empty figure to draw into; its size is set. A new one by default, unknown to pyplot.
        interpolation: "bilinear", or "nearest" to see the cells.

    Returns:
        The figure.

    Raises:
        PromptError: A prompt or template that is not in the result.
        LayerError: Not a comparison.
        ImageError: Another interpolation.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> trace = model.trace(dcv.toyworld.scene("a taxi on a road", 96))
        >>> figure = compare(model.compare(trace, ["a taxi", "a road"]))
        >>> [text.get_text() for text in figure.texts if text.get_text() in QUESTIONS]
        ['dense', 'contribution', 'attention', 'gap']
    """
    select.require(both, DRAWN, made_by="model.compare(trace, prompts)")
    select.require_one_path(both)
    one, which = select.pick_template(both, template)
    shown = select.pick_prompts(one, prompts)
    names = [str(name) for name in shown["prompt"].to_numpy()]
    sheet = Sheet(both.attrs, [*names, *map(str, one["prompt"].to_numpy())], also=which, figure=figure)
    where = panels.placement(both)
    panel, top = panels.panel_size(where, side=SIDE), sheet.top + HEAD
    lattice = Lattice(panel=panel, columns=5, rows=len(names), top=top, least=NARROWEST, row_head=ROW_HEAD)
    sheet.resize(lattice.width, lattice.height(lines=2))
    baseline = select.absent_baseline(one["dense"])
    also = {} if baseline is None else {"dense": [baseline]}
    each = {name: scales.of_view(name, shown[name], also=also.get(name, ())) for name in QUESTIONS}
    _draw_answer(sheet, lattice, one)
    for column, (name, scale) in enumerate(each.items(), start=1):
        _draw_head(sheet, lattice, column, name, scale, baseline if name == "dense" else None)
    for row in range(len(names)):
        _draw_row(sheet, lattice, row, shown.isel(prompt=row), where, each, interpolation)
    sheet.footer(lattice.bottom, CAPTION + FADED * where.is_cropped)
    return sheet.figure


def _draw_answer(sheet: Sheet, lattice: Lattice, one: xr.Dataset) -> None:
    """Head the image with the prompt that the pooled embedding is closest to, of all there are."""
    best = one.isel(prompt=int(one["score"].argmax("prompt")))
    left, top = lattice.x(0), lattice.top - HEAD
    sheet.write(left, top, "image", size=TITLE, weight="bold")
    sheet.note(left, top + 0.21, "CLIP’s one answer:")
    answer = sheet.scored(str(best["prompt"].item()), float(best["score"]), width=lattice.slot, size=SMALL + 1)
    sheet.write(left, top + 0.36, answer, size=SMALL + 1)


def _draw_head(sheet: Sheet, lattice: Lattice, column: int, name: str, scale: Scale, baseline: float | None) -> None:
    left, top = lattice.x(column), lattice.top - HEAD
    sheet.write(left, top, name, size=TITLE, weight="bold")
    sheet.note(left + lattice.slot, top + 0.045, scale.unit, align="right")
    sheet.note(left, top + 0.21, QUESTIONS[name])
    scales.draw_bar(sheet.place(left, top + 0.53, lattice.slot, 0.09), scale, baseline=baseline)


def _draw_row(
    sheet: Sheet,
    lattice: Lattice,
    row: int,
    one: xr.Dataset,
    where: Placement,
    each: Mapping[str, Scale],
    interpolation: panels.Interpolation,
) -> None:
    top, note = lattice.y(row), _note(one)
    sheet.rule(top)
    room = sheet.width - 2 * MARGIN - sheet.width_of(note, size=SMALL) - 0.3
    heading = sheet.scored(str(one["prompt"].item()), float(one["score"]), width=room, size=TITLE)
    sheet.write(MARGIN, top + 0.06, heading, size=TITLE)
    sheet.note(sheet.width - MARGIN, top + 0.09, note, align="right")
    first, *others = (lattice.panel_at(sheet, row, column) for column in range(lattice.columns))
    panels.draw_image(first, one["image"], where)
    panels.draw_peak(first, one["dense"], marker="x")
    panels.draw_peak(first, one["contribution"], marker="o")
    grey = panels.reduced(one["image"])
    for ax, (name, scale) in zip(others, each.items(), strict=True):
        panels.draw_map(ax, one[name], where, scale, image=grey, interpolation=interpolation)


def _note(one: xr.Dataset) -> str:
    """Say the agreement numbers of a row, as far as the result has them."""
    parts = ["absent from the image"] if "absent" in one.coords and bool(one["absent"]) else []
    if "spearman" in one and np.isfinite(float(one["spearman"])):
        parts.append(f"Spearman {float(one['spearman']):.2f}".replace("-", "−"))
    if "same_peak" in one:
        parts.append("same peak" if bool(one["same_peak"]) else "other peak")
    if "attention_in_top_decile" in one:
        parts.append(f"{float(one['attention_in_top_decile']):.0%} of attention on the dense top tenth")
    return " · ".join(parts)
