"""Confusion matrices, several on one sheet: which class is taken for which."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.plot.bars import ink_on
from denseclip_viz.plot.scales import Scale, draw_bar
from denseclip_viz.plot.sheet import LINE, MARGIN, SMALL, Sheet
from denseclip_viz.plot.text import plain

CELL, NAMES, TURNED, HEAD, GAP = 0.29, 1.0, 0.66, 0.4, 0.3  # inches: a count, names at the left, below, title, between
LARGEST = 10.2  # inches: width of the sheet
NOTHING = "#ededed"
Matrix = tuple[Sequence[str], npt.NDArray[np.int64]]


def confusion(
    matrices: Mapping[str, Matrix],
    *,
    title: str,
    subtitle: str,
    unit: str,
    note: str,
    attrs: Mapping[str, Any],
    figure: Figure | None = None,
) -> Figure:
    """Draw which class is taken for which, a matrix for each group of classes.

    Rows are what is there, columns what it was taken for; a cell holds the number of images, and its colour the share
    of its row.

    Args:
        matrices: `{group: (classes, counts)}`, counts `(true, given)`.
        title: What the figure is.
        subtitle: A line below.
        unit: What a colour means.
        note: A line at the foot.
        attrs: Where the numbers come from.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> counts = np.array([[3, 1], [0, 2]])
        >>> texts = {"title": "trees", "subtitle": "", "unit": "share", "note": ""}
        >>> drawn = dcv.plot.confusion({"tree": (["oak", "pine"], counts)}, **texts, attrs={})
        >>> [text.get_text() for text in drawn.axes[-1].texts]
        ['3', '1', '2']
    """
    on, scale = Sheet(attrs, figure=figure), Scale(0.0, 1.0, "magma_r", unit)
    places, bottom = _packed(matrices, on.top + 0.62)
    width = MARGIN + max(left + NAMES + CELL * len(matrices[group][0]) for group, (left, _) in places.items())
    on.resize(width, bottom + 2 * LINE + MARGIN / 2)
    on.title(title)
    on.note(MARGIN, on.top + 0.23, f"{subtitle} · rows: true · columns: given")
    on.note(on.width - MARGIN, on.top + 0.02, unit, align="right")
    draw_bar(on.place(on.width - MARGIN - 1.9, on.top + 0.2, 1.9, 0.09), scale, opacity=1.0)
    for group, (left, top) in places.items():
        _matrix(on, group, matrices[group], left, top, scale)
    on.footer(bottom, note)
    return on.figure


def _packed(matrices: Mapping[str, Matrix], top: float) -> tuple[dict[str, tuple[float, float]], float]:
    """Put groups in lines, in their order: their top left corners in inches, and where the last line ends."""
    places: dict[str, tuple[float, float]] = {}
    left, tallest = MARGIN, 0.0
    for group, (names, _) in matrices.items():
        wide = NAMES + CELL * len(names)
        if places and left + wide > LARGEST - MARGIN:
            left, top, tallest = MARGIN, top + HEAD + tallest + TURNED, 0.0
        places[group] = left, top
        left, tallest = left + wide + GAP, max(tallest, CELL * len(names))
    return places, top + HEAD + tallest + TURNED


def _matrix(on: Sheet, group: str, matrix: Matrix, left: float, top: float, scale: Scale) -> None:
    names, counts = matrix
    on.write(left, top + 0.14, group, size=SMALL + 0.5, weight="bold")
    side, first, head = CELL * len(names), left + NAMES, top + HEAD
    if counts.any():
        right = round(float(np.trace(counts) / counts.sum()), 4)
        on.note(first + side, top + 0.15, f"{right:.0%} right", align="right")
    for k, name in enumerate(names):
        middle = (k + 0.5) * CELL
        on.write(first - 0.07, head + middle - 0.04, name, size=SMALL, align="right")
        turned = on.write(first + middle + 0.03, head + side - 0.02, name, size=SMALL, align="right")
        turned.set(rotation=45, rotation_mode="anchor", verticalalignment="top")
    _cells(on.place(first, head, side, side), counts, scale, group)


def _cells(ax: Axes, counts: npt.NDArray[np.int64], scale: Scale, group: str) -> None:
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.where(totals, totals, np.nan)
    colours = matplotlib.colormaps[scale.colours].with_extremes(bad=NOTHING)
    known = np.ma.masked_invalid(shares)
    ax.imshow(known, cmap=colours, vmin=scale.low, vmax=scale.high, aspect="auto", gid=group)
    for line in range(len(counts) + 1):  # white between cells
        ax.axhline(line - 0.5, color="white", linewidth=1.2)
        ax.axvline(line - 0.5, color="white", linewidth=1.2)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = ink_on(colours(float(shares[row, column])))
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", **plain(SMALL, ink))
