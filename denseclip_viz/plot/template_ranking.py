"""Which template sees best: means over images with their intervals, and what is only noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from denseclip_viz.errors import LayerError
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import BOLD, FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet
from denseclip_viz.plot.text import isolated, number, plain

if TYPE_CHECKING:
    from denseclip_viz.measure.rank import Ranking

ROW, NAMES = 0.22, 3.0  # inches: of a row, of names
AXIS, MEAN, APART, NUMBERS = 2.0, 0.8, 2.0, 1.85  # inches: of the means, their numbers, the differences, their numbers
HEAD, AGAIN, FOOT = 0.74, 0.16, 0.36  # inches: above the rows, more if scales are said there too, below
LONG, GUIDE = 30, 5  # rows from which scales are said above too; rows from one guide to the next
ROUND = MaxNLocator(3, steps=[1, 2, 5, 10])  # values that an axis says
TIED, BEHIND = PALETTE[0], "#8a8a8a"  # within noise of the best; behind by more than noise


def template_ranking(ranking: Ranking, *, figure: Figure | None = None) -> Figure:
    """Draw a ranking: one row for each template, best first, with intervals, beside the ensemble of all.

    Args:
        ranking: What `rank_templates` or `rank_synonyms` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: at the left means over images with their bootstrap intervals, in the middle how far each is
        behind the best, images paired, with its interval; those that may be the best one are blue.

    Raises:
        LayerError: something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = [dcv.toyworld.scene("a taxi on a road", 128)] * 2
        >>> names = ["a cab", "a pirate"]
        >>> ranking = dcv.measure.rank_synonyms(dcv.load(), scenes, names, absent=["a whale"], progress=False)
        >>> dcv.plot.template_ranking(ranking).axes != []
        True
    """
    from denseclip_viz.measure.rank import Ranking

    if not isinstance(ranking, Ranking):
        got, fix = f"A {type(ranking).__name__}", "Pass the ranking itself, not its table."
        raise LayerError(got, expected="what rank_templates or rank_synonyms returns", fix=fix)
    names = [str(name) for name in ranking.table[ranking.noun]]
    on = Sheet(ranking.scores.attrs, names, figure=figure)
    top, height = on.top + HEAD + AGAIN * (len(names) >= LONG), ROW * len(names)
    width = MARGIN + NAMES + AXIS + MEAN + APART + NUMBERS + MARGIN
    on.resize(width, top + height + FOOT + 3 * LINE + MARGIN / 2)
    images = ranking.scores.sizes["image"]
    stopped = ", interrupted there" if ranking.stopped else ""
    score = ranking.score.replace("_", " ").replace("iou", "IoU")
    on.title(f"which {ranking.noun} sees best")
    on.note(MARGIN, on.top + 0.22, f"{score} on {images} images{stopped}")
    _guides(on.place(MARGIN, top, width - 2 * MARGIN, height), len(names))
    _means(on.place(MARGIN + NAMES, top, AXIS, height), ranking)
    _apart(on.place(MARGIN + NAMES + AXIS + MEAN, top, APART, height), ranking)
    _rows(on, ranking, top)
    on.footer(top + height + FOOT, *_notes(ranking))
    return on.figure


def _notes(ranking: Ranking) -> list[str]:
    ties = len(ranking.within_noise) - 1
    others = f"{ties} more may be the best one (blue)" if ties else "no other may be the best one"
    wide = f"{ranking.interval:.0%} intervals by bootstrap over images"
    first = f"Dots: means, and differences within each image. Lines: {wide}."
    return [first, f"Which one is the best was chosen on these images, and the intervals allow for it; {others}."]


def _guides(ax: Axes, rows: int) -> None:
    """Draw a line under every fifth row: from a name to its dots it is far."""
    ax.set(xlim=(0, 1), ylim=(rows, 0))
    for row in range(GUIDE, rows, GUIDE):
        ax.axhline(row, color=FAINT, linewidth=0.6, zorder=0, gid="guide")


def _means(ax: Axes, ranking: Ranking) -> None:
    table, ensemble = ranking.table, float(ranking.scores["ensemble"].mean())
    low, high = (float(f([f(table[end]), ensemble])) for f, end in ((np.min, "low"), (np.max, "high")))
    left, right = value_axis(ax, low, high, len(table))
    ax.axvline(ensemble, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), gid="ensemble", zorder=1)
    share = (ensemble - left) / (right - left)
    align = "left" if share < 0.3 else "right" if share > 0.7 else "center"
    above = -0.3 - AGAIN / ROW * (len(table) >= LONG)
    _say(ax, ensemble, above, f"ensemble of all {number(ensemble, 3)}", align, "bottom", INK)
    _dots(ax, ranking, ("score", "low", "high"), ("mean", "interval"))


def _apart(ax: Axes, ranking: Ranking) -> None:
    low = float(ranking.table["to_best_low"].min())
    value_axis(ax, min(low, -1e-6), 0.0, len(ranking.table))
    _dots(ax, ranking, ("to_best", "to_best_low", "to_best_high"), ("difference", "difference interval"))


def _dots(ax: Axes, ranking: Ranking, columns: tuple[str, str, str], kinds: tuple[str, str]) -> None:
    rows = ranking.table[list(columns)].to_numpy(dtype=float)
    for row, ((middle, low, high), tied) in enumerate(zip(rows, ranking.table["within_noise"], strict=True)):
        colour, at = TIED if tied else BEHIND, row + 0.5
        ax.plot([low, high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt", gid=kinds[1])
        ax.plot([middle], [at], marker="o", markersize=5, color=colour, linestyle="none", gid=kinds[0], zorder=3)


def value_axis(ax: Axes, low: float, high: float, rows: int) -> tuple[float, float]:
    """Set the limits and say a few round values, below the rows and above many; returns the limits."""
    room = 0.06 * max(high - low, 0.01)
    left, right = low - room, high + room
    ax.set(xlim=(left, right), ylim=(rows, 0))
    ticks = [float(value) for value in ROUND.tick_values(left, right) if left <= value <= right]
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-6))
    for value in ticks:
        ax.axvline(value, color=FAINT, linewidth=0.6, zorder=0)
        _say(ax, value, rows + 0.2, number(value, decimals), "center", "top", GREY)
        if rows >= LONG:
            _say(ax, value, -0.3, number(value, decimals), "center", "bottom", GREY)
    return left, right


def _say(ax: Axes, x: float, y: float, text: str, align: str, side: str, colour: str) -> None:
    ax.text(x, y, text, ha=align, va=side, **plain(TINY, colour))


def _rows(on: Sheet, ranking: Ranking, top: float) -> None:
    """Write names and numbers, the best in bold and what is behind by more than noise in grey."""
    left, above = MARGIN + NAMES + AXIS, top - 0.2 - AGAIN * (len(ranking.table) >= LONG)
    right = left + MEAN + APART + 0.1
    on.write(left + 0.55, above, "mean", size=TINY, colour=GREY, align="right")
    on.write(left + MEAN, above, "behind the best", size=TINY, colour=GREY)
    columns = [ranking.noun, "within_noise", "score", "to_best", "to_best_low", "to_best_high"]
    for row, (name, tied, score, apart, low, high) in enumerate(ranking.table[columns].itertuples(index=False)):
        at, colour = top + row * ROW + 0.07, INK if tied else GREY
        text = on.fit(str(name), width=(NAMES - 0.2) / (1 if row else BOLD), size=SMALL + 0.5)[0]
        on.write(MARGIN, at, isolated(text), size=SMALL + 0.5, colour=colour, weight="normal" if row else "bold")
        on.write(left + 0.55, at, number(score, 3), size=SMALL, align="right")
        on.write(right, at, f"{short(apart)}   ({short(low)} … {short(high)})", size=SMALL, colour=colour)


def short(value: float) -> str:
    """Write three decimals, and more where they would hide on which side of 0 it is.

    Example:
        >>> short(0.25), short(-0.0002), short(0.00001)
        ('0.250', '−0.0002', '>0')
    """
    decimals = 3 if value == 0 or abs(value) >= 0.0005 else 4
    return number(value, decimals) if value == 0 or abs(value) >= 0.00005 else "<0" if value < 0 else ">0"
