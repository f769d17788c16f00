"""Which template sees best: means over pictures with their intervals, and what is only noise."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.errors import LayerError
from denseclip_viz.measure.ranking import Ranking
from denseclip_viz.view.characters import isolated
from denseclip_viz.view.figures.scales import PALETTE
from denseclip_viz.view.figures.sheet import (
    FAINT,
    GREY,
    INK,
    LINE,
    LITERAL,
    MARGIN,
    POINTS,
    SMALL,
    STAMP,
    TINY,
    TITLE,
    Sheet,
    footer,
    is_random,
    new_sheet,
    number,
    place,
    provenance,
    stamp,
    write,
)
from denseclip_viz.view.figures.typesetting import fit
from denseclip_viz.view.fonts import base_families, lettering

ROW, NAMES, AXIS, NUMBERS = 0.22, 3.0, 3.2, 2.35  # inches: of a row, of names, of the dots, of the numbers
HEAD, FOOT = 0.74, 0.36  # inches: above and below the rows
BOLD = 1.2  # bold letters are wider than those that are measured
TIED, BEHIND = PALETTE[0], "#8a8a8a"  # within noise of the best; behind by more than noise


def template_ranking(ranking: Ranking, *, figure: Figure | None = None) -> Figure:
    """Draw a ranking: one row for each template, best first, with intervals, beside the ensemble of all.

    Args:
        ranking: What `rank_templates` or `rank_wordings` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: dots are means over pictures, lines their bootstrap intervals; those within noise of the best are
        blue. At the right the paired difference to the best with its interval.

    Raises:
        LayerError: something else.
    """
    if not isinstance(ranking, Ranking):
        came, fix = f"A {type(ranking).__name__}", "Pass the ranking itself, not its table."
        raise LayerError(came, expected="what rank_templates or rank_wordings returns", fix=fix)
    names = [str(name) for name in ranking.table[ranking.noun]]
    attrs = ranking.scores.attrs
    letters = lettering([*names, provenance(attrs)])
    above = MARGIN + STAMP * is_random(attrs)
    top, height = above + HEAD, ROW * len(names)
    width = MARGIN + NAMES + AXIS + NUMBERS + MARGIN
    on = new_sheet(width, top + height + FOOT + 3 * LINE + MARGIN / 2, letters, figure=figure)
    stamp(on, attrs)
    pictures = ranking.scores.sizes["picture"]
    stopped = ", interrupted there" if ranking.stopped else ""
    write(on, MARGIN, above, f"which {ranking.noun} sees best", size=TITLE, weight="bold")
    write(on, MARGIN, above + 0.22, f"{_plain(ranking.score)} on {pictures} pictures{stopped}", size=SMALL, colour=GREY)
    _names(on, ranking, names, top)
    _dots(place(on, MARGIN + NAMES, top, AXIS, height), ranking)
    _numbers(on, ranking, top)
    footer(on, top + height + FOOT, [*_notes(ranking), provenance(attrs)])
    return on.figure


def _plain(score: str) -> str:
    return score.replace("_", " ").replace("iou", "IoU")


def _notes(ranking: Ranking) -> list[str]:
    ties = len(ranking.within_noise) - 1
    told = f"{ties} more cannot be told from it (blue)" if ties else "none other is within noise of it"
    wide = f"{ranking.interval:.0%} interval by bootstrap over pictures"
    return [f"Dots: means. Lines: {wide}.", f"The best was chosen on these pictures; {told}."]


def _names(on: Sheet, ranking: Ranking, names: list[str], top: float) -> None:
    for row, (name, tied) in enumerate(zip(names, ranking.table["within_noise"], strict=True)):
        text = fit(name, on.letters, width=(NAMES - 0.2) * POINTS / (1 if row else BOLD), size=SMALL + 0.5)[0]
        at = top + row * ROW + 0.07
        written = write(on, MARGIN, at, isolated(text), size=SMALL + 0.5, colour=INK if tied else GREY)
        written.set_fontweight("normal" if row else "bold")


def _dots(ax: Axes, ranking: Ranking) -> None:
    table, ensemble = ranking.table, float(ranking.scores["ensemble"].mean())
    low, high = (float(f([f(table[end]), ensemble])) for f, end in ((np.min, "low"), (np.max, "high")))
    room = 0.06 * max(high - low, 1e-6)
    ax.set(xlim=(low - room, high + room), ylim=(len(table), 0))
    _ticks(ax, low, high, len(table))
    ax.axvline(ensemble, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), gid="ensemble", zorder=1)
    share = (ensemble - low + room) / (high - low + 2 * room)
    align = "left" if share < 0.3 else "right" if share > 0.7 else "center"
    _say(ax, ensemble, -0.3, f"ensemble of all {number(ensemble, 3)}", align, "bottom", INK)
    rows = zip(table["score"], table["low"], table["high"], table["within_noise"], strict=True)
    for row, (score, lower, upper, tied) in enumerate(rows):
        colour = TIED if tied else BEHIND
        ax.plot([lower, upper], [row + 0.5] * 2, color=colour, linewidth=1.6, solid_capstyle="butt", gid="interval")
        ax.plot([score], [row + 0.5], marker="o", markersize=5, color=colour, linestyle="none", gid="mean", zorder=3)


def _ticks(ax: Axes, low: float, high: float, rows: int) -> None:
    for value, align in ((low, "left"), ((low + high) / 2, "center"), (high, "right")):
        ax.axvline(value, color=FAINT, linewidth=0.6, zorder=0)
        _say(ax, value, rows + 0.2, number(value, 3), align, "top", GREY)


def _say(ax: Axes, x: float, y: float, text: str, align: str, side: str, colour: str) -> None:
    families = list(base_families())
    ax.text(x, y, text, ha=align, va=side, size=TINY, color=colour, family=families, weight="normal", **LITERAL)


def _numbers(on: Sheet, ranking: Ranking, top: float) -> None:
    left = MARGIN + NAMES + AXIS + 0.55
    write(on, left, top - 0.2, "mean", size=TINY, colour=GREY, align="right")
    write(on, left + 0.15, top - 0.2, "difference to the best", size=TINY, colour=GREY)
    columns = ("score", "to_best", "to_best_low", "to_best_high")
    rows = ranking.table[list(columns)].to_numpy(dtype=float)
    for row, ((score, apart, low, high), tied) in enumerate(zip(rows, ranking.table["within_noise"], strict=True)):
        at = top + row * ROW + 0.07
        write(on, left, at, number(score, 3), size=SMALL, align="right")
        if row:
            text = f"{number(apart, 3)}   ({number(low, 3)} … {number(high, 3)})"
            write(on, left + 0.15, at, text, size=SMALL, colour=INK if tied else GREY)
