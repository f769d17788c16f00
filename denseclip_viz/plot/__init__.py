"""Figures that are kept: each function returns what it drew, and pyplot never hears of it.

`compare`, `grid`, `layers`, `heads`, `segments`, `template_ranking`, `disagreement` and `words` make whole figures;
`map` draws one panel on any axes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from denseclip_viz.errors import PromptError
from denseclip_viz.files import FIGURES, atomic_write
from denseclip_viz.plot.compare import compare
from denseclip_viz.plot.disagreement import disagreement
from denseclip_viz.plot.grid import grid
from denseclip_viz.plot.heads import heads
from denseclip_viz.plot.layers import layers
from denseclip_viz.plot.panels import Interpolation, draw_map, placement
from denseclip_viz.plot.ranking import template_ranking
from denseclip_viz.plot.scales import OPACITY, Scale, diverging, draw_bar, sequential
from denseclip_viz.plot.segments import segments
from denseclip_viz.plot.select import one_of
from denseclip_viz.plot.sheet import ALARM, DPI, LITERAL, RANDOM, SMALL, NotebookFigure, is_random
from denseclip_viz.plot.words import words

__all__ = [
    "compare",
    "disagreement",
    "grid",
    "heads",
    "layers",
    "map",
    "save",
    "segments",
    "template_ranking",
    "words",
]

SAVED_DPI = 200  # of pixels in a saved figure; paper needs more than a screen


def map(
    values: xr.DataArray,
    *,
    image: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    limits: tuple[float, float] | None = None,
    kind: Literal["sequential", "diverging"] = "sequential",
    unit: str = "cosine",
    interpolation: Interpolation = "bilinear",
    opacity: float = OPACITY,
) -> Axes:
    """Draw one map over its image, with the bar of its colour scale below.

    Args:
        values: One map (y, x) of a result, with its coordinates or attrs.
        image: The whole image, uint8 (row, column, rgb); nothing beneath by default.
        ax: Where to draw; new axes by default, whose figure shows in a notebook as `ax.figure`.
        limits: Lowest and highest value of the scale; give the same ones to maps that are compared.
        kind: "diverging" centres the scale at 0.
        unit: What the values are in, written beside the bar.
        interpolation: "bilinear", or "nearest" to see the cells.
        opacity: Of the map over the image.

    Returns:
        The axes.

    Raises:
        PromptError: More axes than y and x.
        GeometryError: The map does not say where its cells lie.
        ImageError: Limits without width, or another kind or interpolation.

    Example:
        >>> import numpy as np
        >>> one = xr.DataArray(np.eye(2), dims=("y", "x"), coords={"y": [4.5, 14.5], "x": [4.5, 14.5]})
        >>> map(one, limits=(0, 1)).images[0].get_clim()
        (0.0, 1.0)
    """
    if set(values.dims) != {"y", "x"}:
        raise PromptError(
            f"The map has axes {', '.join(str(axis) for axis in values.dims)}",
            expected="one map with axes y, x",
            fix="Pick one, for example with maps.isel(template=0, prompt=0).",
        )
    if ax is None:
        ax = NotebookFigure(dpi=DPI, facecolor="white", layout="constrained").add_subplot()
    one_of(kind, ("sequential", "diverging"), name="kind")
    values = values.transpose("y", "x")
    scale = diverging(values, unit=unit) if kind == "diverging" else sequential(values, unit=unit)
    if limits is not None:
        scale = Scale(float(limits[0]), float(limits[1]), scale.colours, unit)
    draw_map(ax, values, placement(values), scale, image=image, interpolation=interpolation, opacity=opacity)
    ax.set_axis_off()
    bar = ax.inset_axes((0.0, -0.06, 1.0, 0.03))
    bar.set_axis_off()
    draw_bar(bar, scale, opacity=OPACITY if image is None else opacity)
    if is_random(values.attrs):
        box = {"facecolor": ALARM, "edgecolor": "none", "pad": 2.0}
        note = {"size": SMALL, "color": "white", "weight": "bold", "bbox": box, **LITERAL}
        ax.text(0.02, 0.98, RANDOM, transform=ax.transAxes, va="top", **note)
    return ax


def save(figure: Figure, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a figure as png, svg or pdf, by the ending; whole or not at all.

    Args:
        figure: What a function of this module returned, or any matplotlib figure.
        path: Where to; its folder must be there.
        force: Replace a file that is there.

    Returns:
        The path.

    Raises:
        OutputError: Another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> save(Figure(), "figure.xyz")
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: figure.xyz ends in '.xyz'. Expected one of .png, .svg, .pdf. ...
    """
    with atomic_write(path, FIGURES, force=force) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower(), dpi=SAVED_DPI)
    return Path(path)
