"""One map over its image, on any axes."""

from dataclasses import replace
from typing import Literal

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.clip.summary import is_random
from denseclip_viz.errors import PromptError
from denseclip_viz.images import ImageLike
from denseclip_viz.plot import panels, scales, select
from denseclip_viz.plot.sheet import ALARM, DPI, GREY, POINTS, RANDOM, SMALL, TINY, NotebookFigure
from denseclip_viz.plot.text import LITERAL, plain

KINDS = {"sequential": "dense", "diverging": "contribution", "attention": "attention"}  # the view that is drawn so


def map(
    values: xr.DataArray,
    *,
    image: ImageLike | None = None,
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
    kind: Literal["sequential", "diverging", "attention"] = "sequential",
    unit: str | None = None,
    interpolation: panels.Interpolation = "bilinear",
    opacity: float = scales.OPACITY,
) -> Axes:
    """Draw one map over its image, with the bar of its colour scale and its unit below.

    Args:
        values: One map (y, x) of a result, with its coordinates or attrs.
        image: The image that was traced, as for `trace`, or the trace; nothing beneath by default.
        ax: Where to draw; new axes by default, with the prompt above, whose figure shows in a notebook as `ax.figure`.
        limits: Lowest and highest value of the scale; give the same ones to maps that are compared.
        kind: "diverging" centres the scale at 0; "attention" has its own colours, from 0 on.
        unit: What the values are in, below the bar or, without room there, behind its middle: "cosine" by default,
            "weight" of attention.
        interpolation: "bilinear", or "nearest" to see the cells.
        opacity: Of the map over the image.

    Returns:
        The axes.

    Raises:
        PromptError: More axes than y and x.
        GeometryError: The map does not say where its cells lie.
        ImageError: Limits without width, or another kind or interpolation.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> maps = model.similarity(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi"])
        >>> map(maps.isel(template=0, prompt=0), limits=(0, 1)).images[0].get_clim()
        (0.0, 1.0)
    """
    if not isinstance(values, xr.DataArray):
        got, fix = f"A {type(values).__name__}", "Pass both.attention, say: a result knows where its cells lie."
        raise PromptError(got, expected="a map of a result, xarray.DataArray (y, x)", fix=fix)
    if set(values.dims) != {"y", "x"}:
        got, expected = f"The map has axes {', '.join(str(axis) for axis in values.dims)}", "one map with axes y, x"
        raise PromptError(got, expected=expected, fix="Pick one, for example with maps.isel(template=0, prompt=0).")
    select.one_of(kind, tuple(KINDS), name="kind")
    if ax is None:
        ax = NotebookFigure(dpi=DPI, facecolor="white", layout="constrained").add_subplot()
        prompt = str(values.coords["prompt"].item()) if "prompt" in values.coords else ""
        ax.set_title(prompt, size=SMALL + 2, **LITERAL)
    values = values.transpose("y", "x")
    scale = scales.of_view(KINDS[kind], values)
    scale = scales.limited(replace(scale, unit=scale.unit if unit is None else unit), limits)
    where = panels.placement(values)
    panels.draw_map(ax, values, where, scale, image=image, interpolation=interpolation, opacity=opacity)
    ax.set_axis_off()
    bar = ax.inset_axes((0.0, -0.06, 1.0, 0.03))
    bar.set_axis_off()
    scales.draw_bar(bar, scale, opacity=1.0 if image is None else opacity)
    if _has_room(ax):
        bar.text(0.5, -2.0, scale.unit, transform=bar.transAxes, ha="center", va="top", **plain(TINY, GREY))
    else:  # beside the middle of the scale
        bar.texts[1].set_text(f"{bar.texts[1].get_text()} {scale.unit}")
    if values.attrs.get("caution"):
        note = {"size": TINY, "color": ALARM, "wrap": True, **LITERAL}
        ax.text(0.0, -0.21, values.attrs["caution"], transform=ax.transAxes, va="top", **note)
    if is_random(values.attrs):
        box = {"facecolor": ALARM, "edgecolor": "none", "pad": 2.0}
        note = {"size": SMALL, "color": "white", "weight": "bold", "bbox": box, **LITERAL}
        ax.text(0.02, 0.98, RANDOM, transform=ax.transAxes, va="top", **note)
    return ax


def _has_room(ax: Axes) -> bool:
    """Tell whether a line for the unit fits below the numbers of the bar; a layout engine makes the room itself."""
    figure = ax.figure
    if not isinstance(figure, Figure) or figure.get_layout_engine() is not None:
        return True
    ax.apply_aspect()
    place, tall = ax.get_position(), figure.get_figheight()
    return bool(place.y0 * tall > 0.12 * place.height * tall + TINY / POINTS)
