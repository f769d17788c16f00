"""The main figure: image, dense map, contributions, attention and gap, one row for each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.geometry import Placement
from denseclip_viz.plot.fonts import lettering
from denseclip_viz.plot.panels import (
    Interpolation,
    draw_image,
    draw_map,
    draw_peak,
    panel_size,
    placement,
    reduced,
)
from denseclip_viz.plot.scales import ATTENTION, GAP, Scale, diverging, draw_bar, sequential
from denseclip_viz.plot.select import absent_baseline, pick_prompts, pick_template, require
from denseclip_viz.plot.sheet import (
    GREY,
    MARGIN,
    POINTS,
    SMALL,
    STAMP,
    TITLE,
    Lattice,
    Sheet,
    footer,
    is_random,
    new_sheet,
    place,
    provenance,
    rule,
    scored,
    stamp,
    write,
)
from denseclip_viz.plot.text import width_of

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
    interpolation: Interpolation = "bilinear",
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
        >>> import numpy as np, xarray as xr
        >>> maps, axes = np.zeros((1, 1, 2, 2)), ("template", "prompt", "y", "x")
        >>> both = xr.Dataset(
        ...     {name: (axes, maps) for name in ("dense", "contribution", "gap")}
        ...     | {"attention": (("y", "x"), maps[0, 0]), "score": (axes[:2], [[0.25]])}
        ...     | {"image": (("row", "column", "rgb"), np.zeros((20, 20, 3), np.uint8))},
        ...     coords={"template": ["{}"], "prompt": ["grass"], "y": [4.5, 14.5], "x": [4.5, 14.5]},
        ... )
        >>> "grass · 0.250" in [text.get_text() for text in compare(both).texts]
        True
    """
    require(both, DRAWN, made_by="model.compare(trace, prompts)")
    one, which = pick_template(both, template)
    shown = pick_prompts(one, prompts)
    names = [str(name) for name in shown["prompt"].to_numpy()]
    made = " · ".join(filter(None, [provenance(both.attrs), which]))
    letters = lettering([*names, *map(str, one["prompt"].to_numpy()), made])
    where = placement(both)
    top = MARGIN + STAMP * is_random(both.attrs) + HEAD
    panel = panel_size(where, side=SIDE)
    lattice = Lattice(panel=panel, columns=5, rows=len(names), top=top, least=NARROWEST, row_head=ROW_HEAD)
    on = new_sheet(lattice.width, lattice.height(lines=2), letters, figure=figure)
    baseline = absent_baseline(one["dense"])
    scales = _scales(shown, baseline)
    stamp(on, both.attrs)
    _draw_answer(on, lattice, one)
    for column, (name, scale) in enumerate(scales.items(), start=1):
        _draw_head(on, lattice, column, name, scale, baseline if name == "dense" else None)
    for row in range(len(names)):
        _draw_row(on, lattice, row, shown.isel(prompt=row), where, scales, interpolation)
    footer(on, lattice.bottom, [CAPTION + FADED * where.is_cropped, made])
    return on.figure


def _scales(shown: xr.Dataset, baseline: float | None) -> dict[str, Scale]:
    also = [] if baseline is None else [baseline]
    return {
        "dense": sequential(shown["dense"], unit="cosine", also=also),
        "contribution": diverging(shown["contribution"], unit="cosine"),
        "attention": sequential(shown["attention"], unit="weight", colours=ATTENTION, also=[0.0]),
        "gap": diverging(shown["gap"], unit="std. dev.", colours=GAP),
    }


def _draw_answer(on: Sheet, lattice: Lattice, one: xr.Dataset) -> None:
    """Head the image with the prompt that the pooled embedding is closest to, of all there are."""
    best = one.isel(prompt=int(one["score"].argmax("prompt")))
    left, top = lattice.x(0), lattice.top - HEAD
    write(on, left, top, "image", size=TITLE, weight="bold")
    write(on, left, top + 0.21, "CLIP’s one answer:", size=SMALL, colour=GREY)
    text = scored(str(best["prompt"].item()), float(best["score"]), on.letters, width=lattice.slot, size=SMALL + 1)
    write(on, left, top + 0.36, text, size=SMALL + 1)


def _draw_head(on: Sheet, lattice: Lattice, column: int, name: str, scale: Scale, baseline: float | None) -> None:
    left, top = lattice.x(column), lattice.top - HEAD
    write(on, left, top, name, size=TITLE, weight="bold")
    write(on, left + lattice.slot, top + 0.045, scale.unit, size=SMALL, colour=GREY, align="right")
    write(on, left, top + 0.21, QUESTIONS[name], size=SMALL, colour=GREY)
    draw_bar(place(on, left, top + 0.53, lattice.slot, 0.09), scale, baseline=baseline)


def _draw_row(
    on: Sheet,
    lattice: Lattice,
    row: int,
    one: xr.Dataset,
    where: Placement,
    scales: Mapping[str, Scale],
    interpolation: Interpolation,
) -> None:
    top = lattice.y(row)
    rule(on, top)
    note = _note(one)
    room = on.width - 2 * MARGIN - width_of(note, on.letters, size=SMALL) / POINTS - 0.3
    heading = scored(str(one["prompt"].item()), float(one["score"]), on.letters, width=room, size=TITLE)
    write(on, MARGIN, top + 0.06, heading, size=TITLE)
    write(on, on.width - MARGIN, top + 0.09, note, size=SMALL, colour=GREY, align="right")
    panels = [lattice.panel_at(on, row, column) for column in range(lattice.columns)]
    draw_image(panels[0], one["image"], where)
    draw_peak(panels[0], one["dense"], marker="x")
    draw_peak(panels[0], one["contribution"], marker="o")
    grey = reduced(one["image"])
    for ax, (name, scale) in zip(panels[1:], scales.items(), strict=True):
        draw_map(ax, one[name], where, scale, image=grey, interpolation=interpolation)


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
