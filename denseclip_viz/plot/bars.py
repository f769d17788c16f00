"""The report as figures: mIoU by method, and which sibling is taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.measure.baselines import CEILING, VALUE
from denseclip_viz.measure.confusable import block, share_right
from denseclip_viz.measure.segmentation import PARTS, Counts
from denseclip_viz.plot.scales import PALETTE, Scale, draw_bar
from denseclip_viz.plot.sheet import BODY, FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet
from denseclip_viz.plot.text import plain
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES

Found = Mapping[str, Any]
ROW, ROOM, COLUMN, GAP = 0.23, 2.75, 1.85, 0.3  # inches: a bar with its space, the names, a column, between columns
OWN, VARIANT, OTHER = PALETTE[0], "#8fbcdb", "#a9a9a9"  # the value path, its variants, other ways
CELL, NAMES, TURNED, BLOCK_HEAD = 0.29, 1.0, 0.66, 0.4  # inches: a count, names at the left, below, and the title
LARGEST = 10.2  # inches: width of the sheet of siblings
SHARE = Scale(0.0, 1.0, "magma_r", "share of a row’s scenes")
UNSEEN = "#ededed"


def bars(found: Found, *, figure: Figure | None = None) -> Figure:
    """Draw mIoU by method, for all classes, things and stuff, with the grid's ceiling marked.

    Args:
        found: What `report` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: one bar for each method and part, with its number; methods that were measured on fewer scenes say
        on how many.
    """
    blocks = _blocks(found)
    rows = [method for methods in blocks for method in methods]
    heights = [k + 0.5 * b for k, b in enumerate(b for b, methods in enumerate(blocks) for _ in methods)]
    on = Sheet(found["model"], figure=figure)
    top = on.top + 0.95
    height = (heights[-1] + 1) * ROW
    on.resize(MARGIN + ROOM + len(PARTS) * (COLUMN + GAP) + MARGIN, top + height + 0.3 + 2 * LINE + MARGIN)
    on.title(f"mIoU on {found['scenes']} scenes never seen")
    said = f"all {len(CLASSES)} classes compete for every pixel, unless it says otherwise"
    on.note(MARGIN, on.top + 0.23, said)
    for method, at in zip(rows, heights, strict=True):
        _method(on, found, method, top + at * ROW)
    for column, part in enumerate(PARTS):
        left = MARGIN + ROOM + column * (COLUMN + GAP)
        on.write(left, top - 0.4, part, size=BODY, weight="bold")
        _bars(on.place(left, top, COLUMN, height), found, rows, heights, part)
    note = "Dashed: the grid’s ceiling, the true masks averaged over its cells: the best that this grid can say."
    on.footer(top + height + 0.3, note)
    return on.figure


def _blocks(found: Found) -> list[list[str]]:
    """List the value path with its variants, other ways, and what was measured on fewer scenes."""
    scenes = {method: scores["scenes"] for method, scores in found["mIoU"].items() if method != CEILING}
    blocks: list[list[str]] = [[], [], []]
    for method, count in scenes.items():
        blocks[2 if count < found["scenes"] else not method.startswith(VALUE)].append(method)
    return [methods for methods in blocks if methods]


def _method(on: Sheet, found: Found, method: str, top: float) -> None:
    scenes = found["mIoU"][method]["scenes"]
    few = f"first {scenes} scenes" if scenes < found["scenes"] else ""
    name = method.removesuffix(", first scenes") if few else method
    on.write(MARGIN, top + 0.07, name, size=SMALL + 0.5, weight="bold" if method == VALUE else "normal")
    on.write(MARGIN + ROOM - 0.1, top + 0.08, few, size=TINY, colour=GREY, align="right")


def _bars(ax: Axes, found: Found, rows: Sequence[str], heights: Sequence[float], part: str) -> None:
    """Draw one column of bars, from 0 to 1, with the ceiling."""
    ceiling = found["mIoU"][CEILING][part]
    ax.set(xlim=(0, 1), ylim=(heights[-1] + 1, 0))
    for tick in (0.0, 0.5, 1.0):
        ax.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
        ax.text(tick, heights[-1] + 1.15, f"{tick:g}", ha="center", va="top", **plain(TINY, GREY))
    for method, at in zip(rows, heights, strict=True):
        score = found["mIoU"][method][part]
        colour = OWN if method == VALUE else VARIANT if method.startswith(VALUE) else OTHER
        ax.barh(at + 0.5, score or 0.0, height=0.68, color=colour, gid=f"{method}/{part}", zorder=2)
        _number(ax, score, at + 0.5, ceiling, "white" if colour == OWN else INK)
    if ceiling is not None:
        ax.axvline(ceiling, color=INK, linewidth=1.0, linestyle=(0, (3, 2)), gid=f"{CEILING}/{part}", zorder=3)
        ax.text(ceiling, -0.15, f"ceiling {ceiling:.2f}", ha="center", va="bottom", **plain(TINY, INK))


def _number(ax: Axes, score: float | None, at: float, ceiling: float | None, inside: str) -> None:
    """Write a bar's number behind it, or into it where it would lie on the ceiling's line."""
    end, said = (0.0, "–") if score is None else (score, f"{score:.2f}")
    crossed = ceiling is not None and end - 0.01 < ceiling < end + 0.17
    where = {"x": end - 0.02, "ha": "right", "color": inside} if crossed else {"x": end + 0.02, "ha": "left"}
    text = {"y": at, "s": said, "va": "center", "zorder": 4, **plain(TINY, INK)}
    label = ax.text(**{**text, **where})
    if not crossed:  # the line at 0.5 does not run through digits
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})


@dataclass(frozen=True)
class _Place:
    """Where the matrix of a family lies, in inches: its top left corner, names and title included."""

    family: str
    left: float
    top: float

    @property
    def side(self) -> float:
        return CELL * len(FAMILIES[self.family])


def confusions(found: Found, *, figure: Figure | None = None) -> Figure:
    """Draw which sibling is taken for which, a matrix for each family.

    The main thing of a scene is named from the global embedding, with only its siblings to choose from. Rows are what
    is there, columns what it was taken for; a cell holds the number of scenes, and its colour the share of its row.

    Args:
        found: What `report` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.
    """
    on = Sheet(found["model"], figure=figure)
    top = on.top + 0.62
    places, bottom = _packed(top)
    width = MARGIN + max(spot.left + NAMES + spot.side for spot in places)
    on.resize(width, bottom + 2 * LINE + MARGIN / 2)
    on.title("which sibling is taken for which")
    said = f"main thing of {found['naming']['scenes']} scenes never seen, named from the global embedding"
    on.note(MARGIN, on.top + 0.23, f"{said} · rows: true · columns: given")
    on.note(on.width - MARGIN, on.top + 0.02, SHARE.unit, align="right")
    draw_bar(on.place(on.width - MARGIN - 1.9, on.top + 0.2, 1.9, 0.09), SHARE, opacity=1.0)
    matrix = np.array(found["naming"]["matrix"])
    for spot in places:
        _family(on, spot, block(matrix, FAMILIES[spot.family]), share_right(matrix, FAMILIES[spot.family]))
    note = "Numbers are scenes. Only siblings compete; a grey row is a kind that was no scene’s main thing."
    on.footer(bottom, note)
    return on.figure


def _packed(top: float) -> tuple[list[_Place], float]:
    """Lay families in lines, in their order, and say where the last one ends."""
    places: list[_Place] = []
    left, tallest = MARGIN, 0.0
    for family, kinds in FAMILIES.items():
        wide = NAMES + CELL * len(kinds)
        if places and left + wide > LARGEST - MARGIN:
            left, top, tallest = MARGIN, top + BLOCK_HEAD + tallest + TURNED, 0.0
        places.append(_Place(family, left, top))
        left, tallest = left + wide + GAP, max(tallest, CELL * len(kinds))
    return places, top + BLOCK_HEAD + tallest + TURNED


def _family(on: Sheet, spot: _Place, counts: Counts, right: float) -> None:
    kinds = FAMILIES[spot.family]
    left, top = spot.left + NAMES, spot.top + BLOCK_HEAD
    on.write(spot.left, spot.top + 0.14, spot.family, size=SMALL + 0.5, weight="bold")
    if counts.any():
        on.note(left + spot.side, spot.top + 0.15, f"{right:.0%} right", align="right")
    for k, kind in enumerate(kinds):
        middle = (k + 0.5) * CELL
        on.write(left - 0.07, top + middle - 0.04, kind, size=SMALL, align="right")
        turned = on.write(left + middle + 0.03, top + spot.side - 0.02, kind, size=SMALL, align="right")
        turned.set(rotation=45, rotation_mode="anchor", verticalalignment="top")
    _cells(on.place(left, top, spot.side, spot.side), counts, spot.family)


def _cells(ax: Axes, counts: Counts, family: str) -> None:
    shares = counts / np.where(counts.sum(1, keepdims=True), counts.sum(1, keepdims=True), np.nan)
    seen = np.ma.masked_invalid(shares)
    colours = matplotlib.colormaps[SHARE.colours].with_extremes(bad=UNSEEN)
    ax.imshow(seen, cmap=colours, vmin=SHARE.low, vmax=SHARE.high, aspect="auto", gid=family)
    for line in range(len(counts) + 1):  # white between cells
        ax.axhline(line - 0.5, color="white", linewidth=1.2)
        ax.axvline(line - 0.5, color="white", linewidth=1.2)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = INK if _light(colours(float(shares[row, column]))) else "white"
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", **plain(SMALL, ink))


def _light(colour: Sequence[float]) -> bool:
    """Whether dark letters are better read on a colour than white ones."""
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
