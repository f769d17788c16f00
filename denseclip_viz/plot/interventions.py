"""What interventions did to each prompt's score, beside what direct effects said that they would do."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.maps.regions import require
from denseclip_viz.plot import select
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import FAINT, GREY, INK, MARGIN, SMALL, TINY, Lattice, Sheet
from denseclip_viz.plot.text import isolated, number, plain
from denseclip_viz.validation import many

SIDE, NAMES, BARS, NUMBERS = 2.1, 1.9, 2.4, 0.55  # inches: of the square, of names, of bars, of their numbers
GAP, HEAD, ROW_HEAD = 0.75, 0.62, 0.3  # inches: between the two, above everything, above a row
MOST = 9  # bars of a prompt
KINDS = {"attention": PALETTE[0], "mlp": PALETTE[1], "": PALETTE[2]}
LISTED = {PALETTE[0]: "Blue: attention.", PALETTE[1]: "Orange: MLP.", PALETTE[2]: "Green: others."}
HOWS = {"zero": "set to zero", "mean": "set to the mean", "swap": "taken from another image"}


def interventions(result: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw what `attribution.intervene` returns: a row for each prompt, in the first template.

    Args:
        result: What it returns; `result.sel(template=[…])` picks another template.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure. At the left, where something was predicted, each change of the score against the prediction: on the
        diagonal the two agree. At the right the largest changes as bars, on one scale for all prompts, with the
        predicted ones as marks.

    Raises:
        LayerError: something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a taxi", size=64)
        >>> heads = dcv.attribution.intervene(dcv.load(), scene, ["a taxi"], "pool.attention", head="each")
        >>> len(dcv.plot.interventions(heads).axes)
        2
    """
    needed = ["after", "change", "predicted", "score"]
    result = require(result, needed, made_by="attribution.intervene(model, image, prompts, at)")
    prompts, which = select.names_along(result), select.pick_template(result, None)[1]
    on = Sheet(result.attrs, [*prompts, which], also=which, figure=figure)
    predicts, left = bool(np.isfinite(result["predicted"]).any()), 0.5
    shape: Any = {"columns": 1, "rows": len(prompts), "row_head": ROW_HEAD, "gap": (0.2, 0.5)}
    lattice = Lattice(panel=(SIDE, SIDE), top=on.top + HEAD, left=left, **shape)
    bars = left + (SIDE + GAP) * predicts + NAMES
    on.resize(bars + BARS + NUMBERS + MARGIN, lattice.height(lines=2))
    on.title("what was predicted, and what happened" if predicts else "what happened")
    count, how = result.sizes["intervention"], HOWS[str(result.attrs["replace"])]
    shown_of = f"; bars: the {MOST} largest" if count > MOST else ""
    what = f"change of the score by each of {many(count, 'intervention')}: one place {how}{shown_of}"
    on.note(MARGIN, on.top + 0.22, what)
    ends = _ends(result.isel(template=0))
    for row, prompt in enumerate(prompts):
        one, top = result.isel(prompt=row, template=0), lattice.y(row)
        shown = on.scored(prompt, float(one["score"]), width=on.width - 2 * MARGIN, size=SMALL + 1)
        on.write(MARGIN, top, shown, size=SMALL + 1, weight="bold")
        if predicts:
            _scatter(on.place(left, top + ROW_HEAD, SIDE, SIDE), one, row, ends)
        _bars(on, on.place(bars, top + ROW_HEAD, BARS, SIDE), one, row, ends)
    drawn = set(_colours(result))
    listed = [words for colour, words in LISTED.items() if colour in drawn]
    diamonds = ["Diamonds: predicted, which is minus the direct effect."] * predicts
    on.footer(lattice.bottom, " ".join(listed + diamonds))
    return on.figure


def _ends(result: xr.Dataset) -> tuple[float, float]:
    """Give the ends of the one scale that all prompts' bars are on."""
    numbers = np.concatenate([result["change"].values.ravel(), result["predicted"].values.ravel(), [0.0]])
    known = numbers[np.isfinite(numbers)]
    return float(known.min()), float(known.max())


def _colours(one: xr.Dataset) -> list[str]:
    ends = [str(name).rpartition(".")[2] for name in one["at"].values]
    return [KINDS.get(end, KINDS[""]) for end in ends]


def _scatter(ax: Axes, one: xr.Dataset, row: int, ends: tuple[float, float]) -> None:
    """Draw change against prediction, both on one scale for all prompts, with the diagonal on which they agree."""
    predicted, change = one["predicted"].values, one["change"].values
    known = np.isfinite(predicted)
    reach = 1.12 * max(abs(ends[0]), abs(ends[1]), 1e-9)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
    ax.axvline(0, color=FAINT, linewidth=0.7, zorder=0)
    ax.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), gid="agree", zorder=1)
    colours = np.array(_colours(one))
    for colour in KINDS.values():
        here = known & (colours == colour)
        look: Any = {"marker": "o", "markersize": 4, "linestyle": "none", "alpha": 0.8}
        ax.plot(predicted[here], change[here], color=colour, gid=f"points {row}", zorder=2, **look)
    for end, align in ((-reach, "left"), (reach, "right")):
        ax.text(end, -reach * 1.03, number(end, 3), ha=align, va="top", **plain(TINY, GREY))
        side = "bottom" if end < 0 else "top"
        ax.text(-reach * 1.03, end, number(end, 3), ha="right", va=side, **plain(TINY, GREY))
    ax.text(0, -reach * 1.03, "predicted", ha="center", va="top", **plain(TINY, INK))
    ax.text(-reach * 1.03, 0, "happened", ha="right", va="center", rotation=90, **plain(TINY, INK))


def _bars(on: Sheet, ax: Axes, one: xr.Dataset, row: int, ends: tuple[float, float]) -> None:
    """Draw the largest changes, the largest first, with their predictions."""
    change, predicted, colours = one["change"].values, one["predicted"].values, _colours(one)
    order = np.argsort(-np.abs(change), kind="stable")[:MOST]
    low, high = ends
    room = max(0.03 * (high - low), 1e-9)
    ax.set(xlim=(low - room, high + room), ylim=(MOST, 0))
    ax.axvline(0, color=GREY, linewidth=0.7)
    for at, place in enumerate(order):
        ax.barh(at + 0.5, change[place], height=0.62, color=colours[place], gid=f"happened {row}")
        if np.isfinite(predicted[place]):
            look: Any = {"marker": "D", "markersize": 4, "color": INK, "markerfacecolor": "white"}
            ax.plot([predicted[place]], [at + 0.5], gid=f"predicted {row}", zorder=3, **look)
        name = isolated(on.fit(str(one["intervention"].values[place]), width=NAMES - 0.15, size=SMALL)[0])
        beside: Any = {"va": "center", "transform": ax.get_yaxis_transform()}
        ax.text(-0.04, at + 0.5, name, ha="right", **beside, **plain(SMALL, INK))
        ax.text(1.04, at + 0.5, number(float(change[place]), 3), ha="left", **beside, **plain(SMALL, INK))
