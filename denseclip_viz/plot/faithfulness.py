"""Which map to believe: methods in rows, a column for every test, each with its interval and its better side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.maps.regions import require
from denseclip_viz.measure.map_checks import OF_FILLS
from denseclip_viz.measure.map_faithfulness import CHECKED
from denseclip_viz.measure.perturbation import Bools
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet
from denseclip_viz.plot.text import isolated, number, plain
from denseclip_viz.validation import many

if TYPE_CHECKING:
    import xarray as xr

ROW, NAMES, COLUMN, GAP = 0.23, 1.6, 1.4, 0.14  # inches: a row, the names, a column, between columns
HEAD, BETWEEN = 0.80, 0.20  # inches: above the rows of a band, below them
BAND = 7  # columns beside each other
BEST, BEHIND = PALETTE[0], "#8a8a8a"


def faithfulness(result: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw what ways to a map are worth: a row for each, a column for each test, every column on a scale of its own.

    Args:
        result: What `measure.faithfulness` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: means over images with their intervals. An arrow at each column's head points to the better side;
        the best mean is blue, and so are those whose intervals reach its own; placebos are hollow. Columns that the
        images could not have are left out and named below.

    Raises:
        LayerError: something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(2, "test", size=64)
        >>> held = dcv.measure.faithfulness(dcv.load(), scenes, ["value", "centre"], steps=2, geometry="whole")
        >>> dcv.plot.faithfulness(held).axes != []
        True
    """
    result = require(result, CHECKED, made_by="measure.faithfulness")
    shown = result.isel(column=np.flatnonzero(np.isfinite(result["mean"].values).any(0)))
    placebo = shown["placebo"].values
    names, bands = [str(name) for name in shown.candidate.values], range(0, shown.sizes["column"], BAND)
    on = Sheet(result.attrs, names, figure=figure)
    across, rows = min(BAND, shown.sizes["column"]), ROW * len(names)
    each = HEAD + rows + BETWEEN
    top = on.top + 0.5
    on.resize(MARGIN + NAMES + across * (COLUMN + GAP) + MARGIN, top + len(bands) * each + 3 * LINE + MARGIN / 2)
    on.title("which map to believe")
    stopped = ", interrupted there" if result.attrs.get("stopped") else ""
    count = many(result.sizes["image"], "image")
    on.note(MARGIN, on.top + 0.22, f"{count}{stopped}; each column on a scale of its own")
    for band, begin in enumerate(bands):
        start = top + band * each + HEAD
        for row, name in enumerate(names):
            label = on.fit(name, width=NAMES - 0.15, size=SMALL + 0.5)[0]
            colour = GREY if placebo[row] else INK
            on.write(MARGIN, start + row * ROW + 0.07, isolated(label), size=SMALL + 0.5, colour=colour)
        beside = shown.isel(column=slice(begin, begin + BAND))
        _questions(on, beside["asks"].values.tolist(), start)
        for at in range(beside.sizes["column"]):
            left = MARGIN + NAMES + at * (COLUMN + GAP)
            _head(on, left, start, beside.isel(column=at))
            _column(on.place(left, start, COLUMN, rows), beside.isel(column=at))
    on.footer(top + len(bands) * each, *_notes(result))
    return on.figure


def _notes(result: xr.Dataset) -> list[str]:
    wide = f"{float(result.attrs.get('interval', 0.95)):.0%} intervals by bootstrap over images"
    if not bool(np.isfinite(result["low"]).any()):
        return ["Dots: one image, so no intervals and no best. Arrows point to the better side. Hollow: placebos."]
    first = f"Dots: means. Lines: {wide}. Arrows point to the better side."
    missing = [str(name) for name in np.atleast_1d(result.attrs.get("not_computed", [])) if str(name)]
    second = "Blue: the best mean, and those whose intervals reach its own. Hollow: placebos, which see nothing."
    second += " In brackets: what pixels are replaced by."
    return [f"{first} {second}", f"Not to be had of these images: {', '.join(missing)}." if missing else ""]


def _questions(on: Sheet, asked: Sequence[str], top: float) -> None:
    """Ask each question once, above the columns that answer it; above a single one it may need two lines."""
    left = MARGIN + NAMES
    for question, columns in groupby(asked):
        width = len(list(columns)) * (COLUMN + GAP)
        lines = on.fit(question, width=width - GAP / 2, size=SMALL, lines=2)
        for above, line in enumerate(reversed(lines)):
            on.write(left, top - 0.68 - above * LINE * 0.9, line, size=SMALL, colour=GREY)
        left += width


def _head(on: Sheet, left: float, top: float, column: xr.Dataset) -> None:
    """Name a column, and point to its better side."""
    arrow = "→" if str(column["better"].values) == "higher" else "←"
    test, _, fill = str(column["column"].values).rpartition("_")
    name = f"{test} ({fill})" if test in OF_FILLS else str(column["column"].values)
    name = name.replace("_", " ").replace("top1", "top-1")
    on.write(left, top - 0.42, f"{on.fit(name, width=COLUMN - 0.2, size=SMALL)[0]} {arrow}", size=SMALL, weight="bold")


def _column(ax: Axes, column: xr.Dataset) -> None:
    """Draw one test: a dot and a line for each method; ends of the scale are numbered."""
    mean, low, high, placebo = (column[name].values for name in ("mean", "low", "high", "placebo"))
    ends = np.concatenate([mean, low, high])
    least, most = float(np.nanmin(ends)), float(np.nanmax(ends))
    room = 0.08 * max(most - least, 1e-9)
    ax.set(xlim=(least - room, most + room), ylim=(len(mean), 0))
    for value, align in ((least, "left"), (most, "right")) if most > least else ((least, "center"),):
        ax.axvline(value, color=FAINT, linewidth=0.6, zorder=0)
        ax.text(value, -0.25, number(value, _decimals(least, most)), ha=align, va="bottom", **plain(TINY, GREY))
    good, name = _as_good(column), str(column["column"].values)
    for row, numbers in enumerate(zip(mean, low, high, strict=True)):
        ax.axhline(row + 0.5, color=FAINT, linewidth=0.4, zorder=0)
        if np.isfinite(numbers[0]):
            _dot(ax, row + 0.5, numbers, BEST if good[row] else BEHIND, name, hollow=bool(placebo[row]))
        else:
            ax.text((least + most) / 2, row + 0.5, "–", ha="center", va="center", **plain(TINY, GREY))


def _as_good(column: xr.Dataset) -> Bools:
    """Mark the best method, and those whose intervals reach its own; a placebo is neither."""
    sign = 1 if str(column["better"].values) == "higher" else -1
    near, far = ("low", "high") if sign > 0 else ("high", "low")
    mean = np.where(column["placebo"].values, np.nan, sign * column["mean"].values)
    alike = not np.nanmax(mean, initial=-np.inf) > np.nanmin(mean, initial=np.inf)
    if alike or not np.isfinite(column["low"]).any():  # none, all alike, or of one image: nothing is best
        return np.zeros(len(mean), dtype=bool)
    best = int(np.nanargmax(mean))
    reach = sign * column[near].values[best]
    good = np.isfinite(mean) & (sign * column[far].values >= reach)
    good[best] = True
    return np.asarray(good)


def _dot(ax: Axes, at: float, numbers: tuple[float, float, float], colour: str, name: str, *, hollow: bool) -> None:
    middle, down, up = numbers
    if np.isfinite(down):
        ax.plot([down, up], [at, at], color=colour, linewidth=1.5, solid_capstyle="butt", gid=f"{name} interval")
    style: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linestyle": "none", "zorder": 3}
    ax.plot([middle], [at], color=colour, markerfacecolor="white" if hollow else colour, gid=name, **style)


def _decimals(least: float, most: float) -> int:
    """Choose so many decimals that the two ends of a scale differ."""
    return int(np.clip(np.ceil(1 - np.log10(max(most - least, 1e-4))), 2, 4))
