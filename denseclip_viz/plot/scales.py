"""Colour scales that panels share, and the bars that show them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from denseclip_viz.errors import ImageError
from denseclip_viz.plot.raster import BEHIND, Colour
from denseclip_viz.plot.sheet import GREY, INK, TINY
from denseclip_viz.plot.text import number, plain
from denseclip_viz.validation import is_number

# Perceptually uniform, or diverging and safe for colour-blind eyes (ColorBrewer).
SEQUENTIAL, ATTENTION, CONTRIBUTION, GAP = "viridis", "magma", "RdBu_r", "PuOr_r"
VIEWS = {  # unit and colours
    "dense": ("cosine", SEQUENTIAL),
    "contribution": ("cosine", CONTRIBUTION),
    "attention": ("weight", ATTENTION),
    "gap": ("cosine", GAP),
}
Limits = Sequence[float] | Mapping[str, Sequence[float]] | None
GRADIENTS = "gradient × activation"  # the unit of layers that are read so: their sum is in cosines, no cell is one
NOTHING = 0.03  # of the strongest layer: what is weaker looks empty
OPACITY = 0.64  # of a map over an image
# Okabe and Ito's seven, then thirteen chosen one by one to lie farthest from those before, in OKLab, for
# ordinary eyes and for simulated protanopia, deuteranopia and tritanopia (Machado et al. 2009).
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442",
    "#5a0f00", "#0f1e78", "#78ffff", "#784b4b", "#0000e1", "#00e1a5", "#a569ff",
    "#691ea5", "#5a2d4b", "#b42d87", "#b40f00", "#a5ffb4", "#a5d2ff",
)  # fmt: skip


def label_colour(index: int) -> Colour:
    """Give the colour of a label: distinct for twenty, then the same again, lighter and darker by turns."""
    base = np.array(to_rgb(PALETTE[index % len(PALETTE)]))
    turn = index // len(PALETTE)
    towards, share = (1.0 if turn % 2 else 0.0), min(0.75, 0.4 * ((turn + 1) // 2))
    red, green, blue = (base * (1 - share) + towards * share).tolist()
    return red, green, blue


@dataclass(frozen=True)
class Scale:
    """A colour scale that several panels share; ImageError if it has no width.

    `cut` says of each end whether values lie beyond it: they have its colour, and the scale says so.
    """

    low: float
    high: float
    colours: str
    unit: str
    cut: tuple[bool, bool] = (False, False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            got, expected = f"A colour scale from {self.low} to {self.high}", "two finite numbers, low below high"
            raise ImageError(got, expected=expected, fix="Leave the limits out to take them from the map.")

    @property
    def is_diverging(self) -> bool:
        """Whether it is centred at 0."""
        return self.colours in (CONTRIBUTION, GAP)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Its two ends and its middle, and how they are written: plainly while that is short, else by powers of ten."""
        told_apart = self.high if self.is_diverging else (self.high - self.low) / 3
        decimals = max(0, 1 - math.floor(math.log10(told_apart)))
        values = (self.low, (self.low + self.high) / 2, self.high)
        signs = ("≤ " * self.cut[0], "", "≥ " * self.cut[1])
        return [(value, sign + _written(value, decimals)) for value, sign in zip(values, signs, strict=True)]

    @property
    def span(self) -> str:
        """Its two ends in one line, such as "0.1 to 0.4" or "±0.02"."""
        (_, low), _, (_, high) = self.ticks
        return f"±{high}" if self.is_diverging else f"{low} to {high}"

    def of_differences(self) -> "Scale":
        """Return the scale of what two values on this one differ by: all of them lie on it."""
        return Scale(self.low - self.high, self.high - self.low, CONTRIBUTION, self.unit)

    def to_dict(self) -> dict[str, Any]:
        """Return what the browser draws by."""
        look = {"colours": self.colours, "unit": self.unit, "diverging": self.is_diverging}
        return {"low": self.low, "high": self.high, **look, "ticks": [text for _, text in self.ticks]}


def sequential(values: npt.ArrayLike, *, unit: str, colours: str = SEQUENTIAL, also: Sequence[float] = ()) -> Scale:
    """Make the scale from the lowest to the highest value; numbers in `also` lie on it too."""
    finite = np.concatenate([np.ravel(values), np.asarray(also, dtype=float)])
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if not low < high:  # one value: a scale of some width around it, so that it has a colour
        low, high = low - max(abs(low), 1e-6) * 0.05, high + max(abs(high), 1e-6) * 0.05
    return Scale(low, high, colours, unit)


def diverging(values: npt.ArrayLike, *, unit: str, colours: str = CONTRIBUTION, least: float = 0.0) -> Scale:
    """Make the scale that is centred at 0 and reaches the strongest value on both sides, and at least so far."""
    strengths = np.abs(np.ravel(values))
    reach = max(float(strengths[np.isfinite(strengths)].max(initial=0.0)), least) or 1.0
    return Scale(-reach, reach, colours, unit)


def of_view(view: str, values: npt.ArrayLike, *, also: Sequence[float] = ()) -> Scale:
    """Make the scale that a view has in figures and on the canvas; that of attention begins at 0."""
    unit, colours = VIEWS[view]
    if colours in (CONTRIBUTION, GAP):
        return diverging(values, unit=unit, colours=colours)
    return sequential(values, unit=unit, colours=colours, also=[*also, 0.0] if view == "attention" else also)


def covering(scales: Sequence[Scale]) -> Scale:
    """Make the one scale that covers several of the same unit and colours."""
    return replace(scales[0], low=min(scale.low for scale in scales), high=max(scale.high for scale in scales))


def limited(scale: Scale, limits: Sequence[float] | None) -> Scale:
    """Put limits that somebody chose in the place of a scale's own; ImageError if they are not such limits."""
    if limits is None:
        return scale
    pair = limits if isinstance(limits, tuple | list) and len(limits) == 2 and all(map(is_number, limits)) else None
    if pair is None or (scale.is_diverging and pair[0] != -pair[1]):
        expected = "two numbers, −x and x: zero is the middle of these colours" if pair else "two numbers (low, high)"
        raise ImageError(f"limits={limits!r}", expected=expected, fix="For example limits=(-0.1, 0.1).")
    low, high = map(float, pair)
    return replace(scale, low=low, high=high, cut=(scale.low < low, scale.high > high))


def limits_by_view(limits: Limits) -> Mapping[str, Sequence[float]]:
    """Read limits as they are given: of each view by its name, or a pair for the dense map; ImageError otherwise."""
    by_view: Mapping[str, Any] = limits if isinstance(limits, Mapping) else {} if limits is None else {"dense": limits}
    for name in by_view:
        if name not in VIEWS:
            expected = f"limits of {', '.join(VIEWS)}"
            raise ImageError(f"limits of {name!r}", expected=expected, fix='For example {"dense": (0, 0.4)}.')
    return by_view


def by_layer(maps: xr.DataArray, cells: xr.DataArray) -> list[Scale]:
    """Make a centred scale of gradients for each layer, since cells of different sizes carry different shares.

    A layer that says next to nothing looks empty: the last dense gradient of an attention pool is rounding noise, since
    a cosine does not ask for length, and on a scale of its own the noise would look like an answer. `maps` are
    (layer, …), `cells` (layer,) how many cells a layer has.
    """
    least = (NOTHING * float(np.abs(maps * cells).max()) / cells.to_numpy()).tolist()
    each = (maps.isel(layer=i) for i in range(maps.sizes["layer"]))
    return [diverging(one, unit=GRADIENTS, least=low) for one, low in zip(each, least, strict=True)]


def draw_bar(ax: Axes, scale: Scale, *, opacity: float = OPACITY, baseline: float | None = None) -> None:
    """Draw the bar of a scale on bare axes: its ends, its middle, and the baseline of absent prompts if there is one.

    Of the opacity that the maps have, so that the bar has their colours.
    """
    ax.add_patch(Rectangle((scale.low, 0), scale.high - scale.low, 1, facecolor=BEHIND, edgecolor="none"))
    ramp = np.linspace(scale.low, scale.high, 256)[None, :]
    look: dict[str, Any] = {"cmap": scale.colours, "vmin": scale.low, "vmax": scale.high, "alpha": opacity}
    extent = (scale.low, scale.high, 0, 1)
    ax.imshow(ramp, extent=extent, origin="lower", aspect="auto", interpolation="nearest", zorder=2, **look)
    ax.set(xlim=(scale.low, scale.high), ylim=(0, 1))
    for (value, text), align in zip(scale.ticks, ("left", "center", "right"), strict=True):
        ax.text(value, -0.4, text, ha=align, va="top", **plain(TINY, GREY))
    if baseline is not None:
        within = min(max(baseline, scale.low), scale.high)
        ax.plot([within] * 2, [-0.3, 1.3], color=INK, linewidth=1.3, clip_on=False, gid="baseline", zorder=5)
        share = (within - scale.low) / (scale.high - scale.low)
        align = "left" if share < 0.15 else "right" if share > 0.85 else "center"
        ax.text(
            within,
            1.45,
            "absent" if within == baseline else f"absent {number(baseline, 3)}",
            ha=align,
            va="bottom",
            **plain(TINY, INK),
        )


def _written(value: float, decimals: int) -> str:
    if round(value, decimals) == 0:
        return "0"
    if decimals <= 4:
        return number(value, decimals)
    digits, power = f"{value:.1e}".split("e")
    return f"{digits}e{int(power)}".replace("-", "−")
