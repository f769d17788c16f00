"""Bars of scores between 0 and 1, in columns, with a limit to measure them by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from denseclip_viz.plot.sheet import BODY, FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet
from denseclip_viz.plot.text import plain

ROW, ROOM, COLUMN, GAP = 0.23, 2.75, 1.85, 0.3  # inches: a bar with its space, the names, a column, between columns


@dataclass(frozen=True)
class Bar:
    """A row of bars: what is scored, and how its row looks.

    Attributes:
        name: What is scored.
        scores: `{column: score}`; None where there is none.
        colour: Of its bars.
        label: What stands at the row; the name by default.
        note: What stands small beside it.
        bold: Whether it stands out.
    """

    name: str
    scores: Mapping[str, float | None]
    colour: str = INK
    label: str = ""
    note: str = ""
    bold: bool = False


def bars(
    blocks: Sequence[Sequence[Bar]],
    limit: Bar,
    *,
    title: str,
    subtitle: str,
    note: str,
    attrs: Mapping[str, Any],
    figure: Figure | None = None,
) -> Figure:
    """Draw scores as bars, a column for each of their parts, with what limits them marked.

    Args:
        blocks: Rows of bars, with space between blocks.
        limit: A dashed line in each column; it names the columns.
        title: What the figure is.
        subtitle: A line below.
        note: A line at the foot.
        attrs: Where the numbers come from.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: one bar for each row and column, with its number.

    Example:
        >>> import denseclip_viz as dcv
        >>> rows = [[dcv.plot.Bar("plain", {"all": 0.4}), dcv.plot.Bar("smoothed", {"all": 0.5})]]
        >>> ceiling = dcv.plot.Bar("ceiling", {"all": 0.8})
        >>> drawn = dcv.plot.bars(rows, ceiling, title="mIoU", subtitle="", note="", attrs={})
        >>> [float(bar.get_width()) for bar in drawn.axes[0].patches]
        [0.4, 0.5]
    """
    tops = [(k + 0.5 * b, bar) for k, (b, bar) in enumerate((b, bar) for b, rows in enumerate(blocks) for bar in rows)]
    on = Sheet(attrs, figure=figure)
    top, height = on.top + 0.95, (tops[-1][0] + 1) * ROW
    on.resize(MARGIN + ROOM + len(limit.scores) * (COLUMN + GAP) + MARGIN, top + height + 0.3 + 2 * LINE + MARGIN)
    on.title(title)
    on.note(MARGIN, on.top + 0.23, subtitle)
    for at, bar in tops:
        label, weight = bar.label or bar.name, "bold" if bar.bold else "normal"
        on.write(MARGIN, top + at * ROW + 0.07, label, size=SMALL + 0.5, weight=weight)  # type: ignore[arg-type]
        on.write(MARGIN + ROOM - 0.1, top + at * ROW + 0.08, bar.note, size=TINY, colour=GREY, align="right")
    for place, column in enumerate(limit.scores):
        left = MARGIN + ROOM + place * (COLUMN + GAP)
        on.write(left, top - 0.4, column, size=BODY, weight="bold")
        _column(on.place(left, top, COLUMN, height), tops, limit, column)
    on.footer(top + height + 0.3, note)
    return on.figure


def _column(ax: Axes, tops: Sequence[tuple[float, Bar]], limit: Bar, column: str) -> None:
    """Draw one column of bars, from 0 to 1, with its limit."""
    end, most = tops[-1][0] + 1, limit.scores[column]
    ax.set(xlim=(0, 1), ylim=(end, 0))
    for tick in (0.0, 0.5, 1.0):
        ax.axvline(tick, color=FAINT, linewidth=0.6, zorder=0)
        ax.text(tick, end + 0.15, f"{tick:g}", ha="center", va="top", **plain(TINY, GREY))
    for at, bar in tops:
        score = bar.scores[column]
        ax.barh(at + 0.5, score or 0.0, height=0.68, color=bar.colour, gid=f"{bar.name}/{column}", zorder=2)
        _number(ax, score, at + 0.5, most, ink_on(to_rgb(bar.colour)))
    if most is not None:
        ax.axvline(
            most, color=limit.colour, linewidth=1.0, linestyle=(0, (3, 2)), gid=f"{limit.name}/{column}", zorder=3
        )
        label = f"{limit.label or limit.name} {most:.2f}"
        ax.text(most, -0.15, label, ha="center", va="bottom", **plain(TINY, limit.colour))


def _number(ax: Axes, score: float | None, at: float, limit: float | None, inside: str) -> None:
    """Write a bar's number behind it, or into it where it would lie on the limit's line."""
    end, number = (0.0, "–") if score is None else (score, f"{score:.2f}")
    crossed = limit is not None and end - 0.01 < limit < end + 0.17
    x, align, colour = (end - 0.02, "right", inside) if crossed else (end + 0.02, "left", INK)
    label = ax.text(x, at, number, ha=align, va="center", zorder=4, **plain(TINY, colour))
    if not crossed:  # the line at 0.5 does not run through digits
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})


def ink_on(colour: Sequence[float]) -> str:
    """Choose dark letters or white ones, whichever is better read on a colour.

    Example:
        >>> ink_on((1.0, 0.9, 0.4)), ink_on((0.0, 0.2, 0.4))
        ('#1f1f1f', 'white')
    """
    red, green, blue = colour[:3]
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
