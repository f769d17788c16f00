"""Whether each prompt's map stays on its own thing: leakage to the sibling, and shares in mosaics, by method."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.maps.regions import require
from denseclip_viz.measure.bootstrap import Draws
from denseclip_viz.measure.leakage import CONDITIONS, WORDINGS
from denseclip_viz.measure.leakage_table import mean_with_interval
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import FAINT, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet
from denseclip_viz.plot.text import isolated, number, plain
from denseclip_viz.validation import many

ROW, GAP, HEAD, FOOT = 0.62, 0.14, 1.02, 0.5  # inches: a method, between methods, above them, below
NAMES, LEAKS, PANEL, ROOM, NUMBERS = 1.75, 2.3, 1.35, 0.42, 0.5  # inches: widths
ALONE, TOGETHER, EMPTY = "#8a8a8a", PALETTE[3], PALETTE[4]
EACH, JOINT = PALETTE[0], PALETTE[1]
LOOKS: dict[str, dict[str, Any]] = {
    "together": {"marker": "o", "markersize": 5, "color": TOGETHER},
    "alone": {"marker": "o", "markersize": 5, "color": ALONE, "markerfacecolor": "white"},
    "empty place": {"marker": "D", "markersize": 4, "color": EMPTY, "markerfacecolor": "white"},
}
SIZES = (0.9, 1.6, 2.3)  # widths of the lines of small, middle and large things
APART, APART_BELOW = 0.18, 0.08  # between two numbers: of a panel, and in inches beside each other below it
CHANCE = 0.5, 0.25  # of leakage, of a quadrant


def copresence(result: xr.Dataset, *, interval: float = 0.95, figure: Figure | None = None) -> Figure:
    """Draw what `measure.copresence` returns: a row for each method, the one that leaks least first.

    Args:
        result: What it returns.
        interval: Width of the bootstrap intervals over scenes and mosaics.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure. At the left how much each map leaks to the sibling: with both in the image, with each alone in an
        image of its own, and over to an empty place. In the middle the same with both, against the distance, a line
        for each size. At the right the share of a mosaic's map in the right quadrant, against how many are named.

    Raises:
        LayerError: something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, options = dcv.load("bundled-vit"), {"scenes": 2, "mosaics": 2, "progress": False}
        >>> result = dcv.measure.copresence(model, methods=["value"], pairs=[("taxi", "limousine")], **options)
        >>> dcv.plot.copresence(result).axes != []
        True
    """
    result = require(result, ["leakage", "share"], made_by="measure.copresence(model)")
    draws = Draws(interval, 2000, 0)
    leakage = result["leakage"].mean("prompt")
    both = leakage.sel(condition=CONDITIONS[1]).mean("scene") if result.sizes["scene"] else -result["share"].mean()
    order = np.argsort(np.broadcast_to(both.values, result.sizes["candidate"]), kind="stable")
    names = [str(name) for name in result["candidate"].values[order]]
    on = Sheet({**result.attrs, "path": ""}, names, figure=figure)
    top, height = on.top + HEAD, len(names) * (ROW + GAP)
    lefts = np.cumsum([MARGIN + NAMES, LEAKS + NUMBERS + ROOM, PANEL + ROOM])
    on.resize(float(lefts[-1]) + PANEL + NUMBERS + MARGIN, top + height + FOOT + 3 * LINE + MARGIN / 2)
    on.title("does each prompt's map stay on its own thing?")
    on.note(MARGIN, on.top + 0.22, _counted(result))
    _heads(on, lefts.tolist(), top)
    for row, (at, name) in enumerate(zip(order, names, strict=True)):
        y, last = top + row * (ROW + GAP), row == len(names) - 1
        on.write(
            MARGIN, y + ROW / 2 - 0.05, isolated(on.fit(name, width=NAMES - 0.1, size=SMALL + 0.5)[0]), size=SMALL + 0.5
        )
        _leaks(on.place(lefts[0], y, LEAKS, ROW), leakage.isel(candidate=at), draws, last=last)
        beside = on.place(lefts[1], y, PANEL, ROW)
        _distances(beside, leakage.isel(candidate=at), result)
        if last:
            _name_distances(on, beside, result)
        _quadrants(on.place(lefts[2], y, PANEL, ROW), result["share"].isel(candidate=at), draws, last=last)
    on.footer(top + height + FOOT, *_notes(interval if max(result.sizes["scene"], result.sizes["mosaic"]) > 1 else 0))
    return on.figure


def _counted(result: xr.Dataset) -> str:
    stopped = ", interrupted there" if result.attrs.get("stopped") else ""
    return f"{many(result.sizes['scene'], 'pair')}, {many(result.sizes['mosaic'], 'mosaic')}{stopped}"


def _notes(interval: float) -> list[str]:
    return [
        "Leakage: the map's rise on the sibling as a share of that and the rise on its own thing. "
        + (f"Lines: {interval:.0%} intervals by bootstrap." if interval else "Of one image no interval is known."),
        "Dashes: chance. Dots at the right: the most that one map can give each of n things, 1/n. The share is of what "
        "stands above a map's own mean.",
    ]


def _heads(on: Sheet, lefts: list[float], top: float) -> None:
    """Name the columns, and say by colour what is drawn in them."""
    heads = ("leakage to the sibling", "… against their distance", "share in the right quadrant")
    below = (
        (("●", "both in the image", TOGETHER), ("○", "each alone", ALONE), ("◇", "empty place", EMPTY)),
        (("", "thicker: larger things", GREY),),
        (("●", "one prompt each", EACH), ("●", "one joint text", JOINT)),
    )
    for left, head, entries in zip(lefts, heads, below, strict=True):
        on.write(left, top - 0.5, head, size=SMALL + 0.5, weight="bold")
        at = left
        for mark, text, colour in entries:
            on.write(at, top - 0.27, mark, size=TINY, colour=colour)
            at += 0.12 * bool(mark)
            on.write(at, top - 0.27, text, size=TINY, colour=GREY)
            at += on.width_of(text, size=TINY) + 0.14


def _leaks(ax: Axes, leakage: xr.DataArray, draws: Draws, *, last: bool) -> None:
    """Draw the three conditions of one method, each on a line of its own, and write the middle one's number."""
    ax.set(xlim=(0, 1), ylim=(3, 0))
    _guides(ax, (0.0, 0.5, 1.0), 3.0, last=last)
    if not leakage.sizes["scene"]:
        return
    middle, low, high = _means(leakage.values, draws)
    for row, (condition, look) in enumerate(LOOKS.items()):
        at, y = CONDITIONS.index(condition), [row + 0.5]
        ends: Any = {"linewidth": 1.6, "solid_capstyle": "butt", "gid": f"{condition} interval"}
        ax.plot([low[at], high[at]], y * 2, color=look["color"], **ends)
        ax.plot([middle[at]], y, **look, linestyle="none", gid=condition, zorder=3, clip_on=False)
    ax.text(1.04, 0.5, number(float(middle[1]), 2), ha="left", va="center", **plain(SMALL, TOGETHER))


def _distances(ax: Axes, leakage: xr.DataArray, result: xr.Dataset) -> None:
    """Draw the mean leakage with both in the image against their distance, a line for each size."""
    together = leakage.sel(condition="together").values
    far, sizes = np.unique(result["distance"].values), np.unique(result["size"].values)
    ax.set(xlim=(-0.3, max(len(far) - 0.7, 0.3)), ylim=(0, 1))
    ax.axhline(CHANCE[0], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    _box(ax)
    for rank, size in enumerate(sizes):
        cells = [together[(result["size"].values == size) & (result["distance"].values == one)] for one in far]
        means = [cell.mean() if len(cell) else np.nan for cell in cells]
        wide = SIZES[round(rank * (len(SIZES) - 1) / max(len(sizes) - 1, 1))]
        look: Any = {"color": TOGETHER, "linewidth": wide, "marker": "o", "markersize": 1.5 + wide, "clip_on": False}
        ax.plot(range(len(far)), means, gid=f"size {size:g}", **look)


def _name_distances(on: Sheet, ax: Axes, result: xr.Dataset) -> None:
    """Write the distances below, of many only as many as fit, evenly."""
    texts = [f"{one:.3g}" for one in np.unique(result["distance"].values)]
    left, right = ax.get_xlim()
    wide = max((on.width_of(text, size=TINY) for text in texts), default=0.0) + APART_BELOW
    for at in range(0, len(texts), math.ceil(wide * (right - left) / PANEL)):
        ax.text(at, -0.08, texts[at], ha="center", va="top", **plain(TINY, GREY))
    _name_below(ax, "share of the side between them")


def _quadrants(ax: Axes, share: xr.DataArray, draws: Draws, *, last: bool) -> None:
    """Draw the share in the right quadrant against how many things are named, by wording."""
    share = share.dropna("named", how="all")
    named = share["named"].values
    ax.set(xlim=(0.7, max(len(named), 1) + 0.3), ylim=(0, 1))
    ax.axhline(CHANCE[1], color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    _box(ax)
    ax.plot(
        named, 1 / named, color=GREY, linestyle="none", marker=".", markersize=3.5, gid="most", zorder=1, clip_on=False
    )
    ends = []
    for wording, colour in zip(WORDINGS, (EACH, JOINT), strict=True):
        if len(values := share.sel(wording=wording).values):
            middle, low, high = _means(values, draws)
            ax.fill_between(named, low, high, color=colour, alpha=0.25, linewidth=0)
            ax.plot(
                named,
                middle,
                color=colour,
                linewidth=1.6,
                marker="o",
                markersize=3,
                gid=wording,
                zorder=3,
                clip_on=False,
            )
            ends.append((float(middle[-1]), colour))
    below = -1.0
    for value, colour in sorted(ends):
        below = max(value, below + APART)
        ax.text(
            named[-1] + 0.35,
            below,
            number(value, 2),
            ha="left",
            va="center",
            **plain(SMALL, INK if colour == JOINT else colour),
        )
    if last:
        for one in named:
            ax.text(one, -0.08, f"{one:g}", ha="center", va="top", **plain(TINY, GREY))
        _name_below(ax, "things that are named")


def _means(values: Floats, draws: Draws) -> Sequence[Floats]:
    """Average over images, with an interval where there are several."""
    return mean_with_interval(values, draws) if len(values) > 1 else [values[0]] * 3


def _guides(ax: Axes, values: tuple[float, ...], end: float, *, last: bool) -> None:
    for value in values:
        chance: Any = {"color": GREY, "linestyle": (0, (4, 3))} if value == CHANCE[0] else {"color": FAINT}
        ax.axvline(value, linewidth=0.7, zorder=0, **chance)
        if last:
            ax.text(value, end + 0.2, f"{value:g}", ha="center", va="top", **plain(TINY, GREY))


def _name_below(ax: Axes, name: str) -> None:
    ax.text(0.5, -0.34, name, transform=ax.transAxes, ha="center", va="top", **plain(TINY, GREY))


def _box(ax: Axes) -> None:
    """Draw the ends of the scale, 0 and 1, and nothing around it."""
    for value in (0, 1):
        ax.axhline(value, color=FAINT, linewidth=0.6, zorder=0)
        ax.text(ax.get_xlim()[0], value, f"{value} ", ha="right", va="center", **plain(TINY, GREY))
