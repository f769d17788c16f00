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
from denseclip_viz.plot.fonts import base_families, lettering
from denseclip_viz.plot.scales import PALETTE, Scale, draw_bar
from denseclip_viz.plot.sheet import (
    BODY,
    FAINT,
    GREY,
    INK,
    LINE,
    LITERAL,
    MARGIN,
    SMALL,
    STAMP,
    TINY,
    TITLE,
    Sheet,
    footer,
    is_random,
    new_sheet,
    place,
    provenance,
    stamp,
    write,
)
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
    top = MARGIN + STAMP * is_random(found["model"]) + 0.95
    height = (heights[-1] + 1) * ROW
    on = new_sheet(
        MARGIN + ROOM + len(PARTS) * (COLUMN + GAP) + MARGIN,
        top + height + 0.3 + 2 * LINE + MARGIN,
        lettering([provenance(found["model"])]),
        figure=figure,
    )
    above = MARGIN + stamp(on, found["model"])
    write(on, MARGIN, above, f"mIoU on {found['scenes']} scenes never seen", size=TITLE, weight="bold")
    said = f"all {len(CLASSES)} classes compete for every pixel, unless it says otherwise"
    write(on, MARGIN, above + 0.23, said, size=SMALL, colour=GREY)
    for method, at in zip(rows, heights, strict=True):
        _method(on, found, method, top + at * ROW)
    for column, part in enumerate(PARTS):
        left = MARGIN + ROOM + column * (COLUMN + GAP)
        write(on, left, top - 0.4, part, size=BODY, weight="bold")
        _bars(place(on, left, top, COLUMN, height), found, rows, heights, part)
    note = "Dashed: the grid’s ceiling, the true masks averaged over its cells: the best that this grid can say."
    footer(on, top + height + 0.3, [note, provenance(found["model"])])
    return on.figure


def _blocks(found: Found) -> list[list[str]]:
    """The value path with its variants, other ways, and what was measured on fewer scenes."""
    scenes = {method: scores["scenes"] for method, scores in found["mIoU"].items() if method != CEILING}
    blocks: list[list[str]] = [[], [], []]
    for method, count in scenes.items():
        blocks[2 if count < found["scenes"] else not method.startswith(VALUE)].append(method)
    return [methods for methods in blocks if methods]


def _method(on: Sheet, found: Found, method: str, top: float) -> None:
    scenes = found["mIoU"][method]["scenes"]
    few = f"first {scenes} scenes" if scenes < found["scenes"] else ""
    name = method.removesuffix(", first scenes") if few else method
    write(on, MARGIN, top + 0.07, name, size=SMALL + 0.5, weight="bold" if method == VALUE else "normal")
    write(on, MARGIN + ROOM - 0.1, top + 0.08, few, size=TINY, colour=GREY, align="right")


def _bars(ax: Axes, found: Found, rows: Sequence[str], heights: Sequence[float], part: str) -> None:
    """Draw one column of bars, from 0 to 1, with the ceiling."""
    ceiling = found["mIoU"][CEILING][part]
    ax.set(xlim=(0, 1), ylim=(heights[-1] + 1, 0))
    text = _letters(TINY)
    for tick in (0.0, 0.5, 1.0):
        ax.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
        ax.text(tick, heights[-1] + 1.15, f"{tick:g}", ha="center", va="top", color=GREY, **text)
    for method, at in zip(rows, heights, strict=True):
        score = found["mIoU"][method][part]
        colour = OWN if method == VALUE else VARIANT if method.startswith(VALUE) else OTHER
        ax.barh(at + 0.5, score or 0.0, height=0.68, color=colour, gid=f"{method}/{part}", zorder=2)
        _number(ax, score, at + 0.5, ceiling, "white" if colour == OWN else INK)
    if ceiling is not None:
        ax.axvline(ceiling, color=INK, linewidth=1.0, linestyle=(0, (3, 2)), gid=f"{CEILING}/{part}", zorder=3)
        ax.text(ceiling, -0.15, f"ceiling {ceiling:.2f}", ha="center", va="bottom", color=INK, **text)


def _number(ax: Axes, score: float | None, at: float, ceiling: float | None, inside: str) -> None:
    """Write a bar's number behind it, or into it where it would lie on the ceiling's line."""
    end, said = (0.0, "–") if score is None else (score, f"{score:.2f}")
    crossed = ceiling is not None and end - 0.01 < ceiling < end + 0.17
    where = {"x": end - 0.02, "ha": "right", "color": inside} if crossed else {"x": end + 0.02, "ha": "left"}
    text = {"y": at, "s": said, "va": "center", "zorder": 4, **_letters(TINY)}
    label = ax.text(**{"color": INK, **text, **where})
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
    top = MARGIN + STAMP * is_random(found["model"]) + 0.62
    places, bottom = _packed(top)
    width = MARGIN + max(spot.left + NAMES + spot.side for spot in places)
    on = new_sheet(width, bottom + 2 * LINE + MARGIN / 2, lettering([provenance(found["model"])]), figure=figure)
    above = MARGIN + stamp(on, found["model"])
    write(on, MARGIN, above, "which sibling is taken for which", size=TITLE, weight="bold")
    said = f"main thing of {found['naming']['scenes']} scenes never seen, named from the global embedding"
    write(on, MARGIN, above + 0.23, f"{said} · rows: true · columns: given", size=SMALL, colour=GREY)
    write(on, on.width - MARGIN, above + 0.02, SHARE.unit, size=SMALL, colour=GREY, align="right")
    draw_bar(place(on, on.width - MARGIN - 1.9, above + 0.2, 1.9, 0.09), SHARE, opacity=1.0)
    matrix = np.array(found["naming"]["matrix"])
    for spot in places:
        _family(on, spot, block(matrix, FAMILIES[spot.family]), share_right(matrix, FAMILIES[spot.family]))
    note = "Numbers are scenes. Only siblings compete; a grey row is a kind that was no scene’s main thing."
    footer(on, bottom, [note, provenance(found["model"])])
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
    write(on, spot.left, spot.top + 0.14, spot.family, size=SMALL + 0.5, weight="bold")
    if counts.any():
        write(on, left + spot.side, spot.top + 0.15, f"{right:.0%} right", size=SMALL, colour=GREY, align="right")
    for k, kind in enumerate(kinds):
        middle = (k + 0.5) * CELL
        write(on, left - 0.07, top + middle - 0.04, kind, size=SMALL, align="right")
        turned = write(on, left + middle + 0.03, top + spot.side - 0.02, kind, size=SMALL, align="right")
        turned.set(rotation=45, rotation_mode="anchor", verticalalignment="top")
    _cells(place(on, left, top, spot.side, spot.side), counts, spot.family)


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
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, **_letters(SMALL))


def _letters(size: float) -> dict[str, Any]:
    return {"size": size, "family": list(base_families()), **LITERAL}


def _light(colour: Sequence[float]) -> bool:
    """Whether dark letters are better read on a colour than white ones."""
    red, green, blue = colour[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
