"""What each switch of a dense path is worth, rung by rung: mIoU, its gain, the change of maps, and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.errors import LayerError
from denseclip_viz.maps.regions import require
from denseclip_viz.plot import select
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import BODY, GREY, INK, LINE, MARGIN, SMALL, TINY, Sheet, in_common
from denseclip_viz.plot.template_ranking import short, value_axis
from denseclip_viz.plot.text import isolated, number

ROW, MORE = 0.34, 0.13  # inches: of a row of one tower, of each tower more
NAMES, AXIS, NUMBERS, GAP = 2.35, 1.55, 1.45, 0.25  # inches: of names, of an axis, its numbers, between columns
HEAD, FOOT = 0.66, 0.4  # inches: above and below the rows
FILLED = "filled: more than noise, as the interval does not hold 0; hollow: it may be noise"


@dataclass(frozen=True)
class Column:
    """What a column shows: the variable, its title, what it is, and how its numbers are written."""

    variable: str
    title: str
    note: str
    write: Callable[[float], str] = short


COLUMNS = (
    Column("miou", "mIoU", "of all images together"),
    Column("gain", "Δ mIoU", "less the rung before", lambda value: "+" * bool(value > 0) + short(value)),
    Column("change", "Δ map", "1 − cosine with the rung before"),
    Column("cost", "time", "plain passes: median, range", lambda value: number(value, 2)),
)


def ladder(climbed: xr.Dataset | Sequence[xr.Dataset], *, figure: Figure | None = None) -> Figure:
    """Draw a ladder, the value path at the top: mIoU, its gain, the change of maps, time; one tower or several.

    Args:
        climbed: What `measure.ladder` returns, or a list of them, one for each tower.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: a row for each rung, a dot with its bootstrap interval in each column that was measured. A gain
        whose interval holds 0 is hollow. Towers have a colour each; where one has no such switch there is no dot.

    Raises:
        LayerError: Something else, or towers whose rungs are in different orders.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(3, "test", size=64)
        >>> paths = ["value", "vanilla"]
        >>> climbed = dcv.measure.ladder(dcv.load(), scenes, ["sky", "grass"], paths, time=0, progress=False)
        >>> [text.get_text() for text in dcv.plot.ladder(climbed).texts if text.get_text() in ("mIoU", "Δ map", "time")]
        ['mIoU', 'Δ map']
    """
    several = select.listed(climbed)
    for one in several:
        require(one, ["change", "image_change"], made_by="measure.ladder")
    rungs = merged([list(map(str, one["rung"].values)) for one in several])
    columns = [column for column in COLUMNS if any(column.variable in one for one in several)]
    shared = {key: value for key, value in in_common([one.attrs for one in several]).items() if key != "path"}
    others = [str(text) for one in several for text in (*one["changed"].values, one.attrs.get("model", ""))]
    on = Sheet(shared, [*rungs, *others], figure=figure)
    row = ROW + MORE * (len(several) - 1)
    legend = LINE * len(several) if len(several) > 1 else 0.0
    top, height = on.top + HEAD + legend + 0.3, row * len(rungs)
    lefts = [MARGIN + NAMES + at * (AXIS + NUMBERS * (len(several) == 1) + GAP) for at in range(len(columns) + 1)]
    ends = [left + on.width_of(column.note, size=SMALL) for column, left in zip(columns, lefts, strict=False)]
    width = max(lefts[-1] - GAP, 5.6, *ends) + MARGIN
    notes = [on.fit(note, width=width - 2 * MARGIN, size=TINY, lines=3) for note in _notes(several, columns)]
    on.resize(width, top + height + FOOT + (sum(map(len, notes)) + 1) * LINE)
    on.title("what each switch of a dense path is worth")
    _towers(on, several)
    _names(on, several, rungs, top, row)
    for column, left in zip(columns, lefts, strict=False):
        on.write(left, top - 0.42, column.title, size=BODY, weight="bold")
        on.note(left, top - 0.24, column.note)
        _draw(on, on.place(left, top, AXIS, height), column, several, rungs, (left, top, row))
    on.footer(top + height + FOOT, *chain.from_iterable(notes))
    return on.figure


def merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """Put the rungs of towers into one order that keeps each tower's own: one may lack what another switches.

    Raises:
        LayerError: There is none.

    Example:
        >>> merged([["value", "k·k"], ["value", "no MLP", "k·k", "+ Gaussian"]])
        ['value', 'no MLP', 'k·k', '+ Gaussian']
    """
    rungs: list[str] = []
    while orders := [rest for rest in orders if rest]:
        later = {name for rest in orders for name in rest[1:]}
        lowest = next((rest[0] for rest in orders if rest[0] not in later), None)
        if lowest is None:
            got = f"ladders that climb {' and '.join(sorted({repr(rest[0]) for rest in orders}))} in different orders"
            fix = "Climb all with the same paths=[…], or draw each by itself."
            raise LayerError(got, expected="rungs in one order", fix=fix)
        rungs.append(lowest)
        orders = [rest[rest[0] == lowest :] for rest in orders]
    return rungs


def _towers(on: Sheet, several: Sequence[xr.Dataset]) -> None:
    """Say on how many images, and of several towers which colour each has."""
    for at, one in enumerate(several):
        stopped = ", interrupted there" if one.attrs.get("stopped") else ""
        text = f"{one.sizes['image']} images{stopped}"
        if len(several) > 1:
            name = f"{one.attrs.get('model', f'tower {at + 1}')} · {text}"
            on.write(MARGIN, on.top + 0.22 + at * LINE, "●", size=SMALL, colour=_colour(at))
            on.write(MARGIN + 0.13, on.top + 0.22 + at * LINE, isolated(name), size=SMALL)
        else:
            on.note(MARGIN, on.top + 0.22, text)


def _names(on: Sheet, several: Sequence[xr.Dataset], rungs: Sequence[str], top: float, row: float) -> None:
    """Name the rungs, and below each what it switches, in the first tower that has it."""
    for at, rung in enumerate(rungs):
        y = top + at * row
        on.rule(y)
        on.write(MARGIN, y + 0.06, isolated(on.fit(rung, width=NAMES - 0.2, size=BODY)[0]))
        switched = next(str(one["changed"].sel(rung=rung).item()) for one in several if rung in one["rung"].values)
        shown = on.fit(switched, width=NAMES - 0.2, size=TINY)[0] if switched else ""
        on.write(MARGIN, y + 0.2, shown, size=TINY, colour=GREY)


def _draw(
    on: Sheet,
    ax: Axes,
    column: Column,
    several: Sequence[xr.Dataset],
    rungs: Sequence[str],
    corner: tuple[float, float, float],
) -> None:
    """Draw a column: dots with their lines, and of one tower their numbers."""
    left, top, row = corner
    each = [_values(one, column.variable, rungs) for one in several]
    finite = np.concatenate([values[np.isfinite(values)] for values in each])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    signed = column.variable == "gain"
    value_axis(ax, min(low, 0.0) if signed else low, max(high, 0.0) if signed else high, len(rungs))
    if signed:
        ax.axvline(0, color=INK, linewidth=0.8, gid="no gain", zorder=1)
    for tower, values in enumerate(each):
        shift = 0.5 if len(each) == 1 else 0.25 + 0.5 * tower / (len(each) - 1)
        for at in np.flatnonzero(np.isfinite(values[0])):
            middle, *ends = values[:, at]
            line = ax.plot(
                ends, [at + shift] * 2, linewidth=1.6, color=_colour(tower), gid=f"{column.variable} interval"
            )
            line[0].set_solid_capstyle("butt")
            filled = not signed or not ends[0] <= 0 <= ends[1]
            dot = ax.plot([middle], [at + shift], marker="o", markersize=4.6, linestyle="none", gid=column.variable)[0]
            dot.set(color=_colour(tower), markerfacecolor=_colour(tower) if filled else "white", zorder=3)
    if len(each) == 1:
        for place, (middle, low, high) in enumerate(each[0].T):
            interval = f"   ({column.write(low)} … {column.write(high)})"
            text = column.write(middle) + interval if np.isfinite(middle) else "–"
            on.write(left + AXIS + 0.1, top + place * row + 0.12, text, size=SMALL)


def _values(one: xr.Dataset, variable: str, rungs: Sequence[str]) -> np.ndarray:
    """Take the middle, the low end and the high end of every rung, `(3, rung)`; NaN where a tower has none."""
    if variable not in one:
        return np.full((3, len(rungs)), np.nan)
    if variable == "cost":
        parts = [one["cost"].median("turn"), one["cost"].min("turn"), one["cost"].max("turn")]
    else:
        parts = [one[f"{variable}{end}"] for end in ("", "_low", "_high")]
    return np.stack([part.reindex(rung=list(rungs)).values for part in parts])


def _colour(tower: int) -> str:
    return PALETTE[tower % len(PALETTE)]


def _notes(several: Sequence[xr.Dataset], columns: Sequence[Column]) -> list[str]:
    wide = f"{several[0].attrs.get('interval', 0.95):.0%} intervals by bootstrap over images, paired between rungs"
    notes = [f"Each rung keeps what those above it switched. Dots: means. Lines: {wide}."]
    notes += [f"Δ mIoU, {FILLED}."] if any(column.variable == "gain" for column in columns) else []
    lacking = {str(one.attrs.get("model", "")): one.attrs.get("not_offered", []) for one in several}
    names = [f"{model or 'This tower'} has no switch for: {', '.join(n)}." for model, n in lacking.items() if len(n)]
    return [*notes, *names]
