"""Single panels: where the grid lies on the image, the image itself, a map over it, the peaks of maps."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from PIL import Image

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Box, Geometry, Placement
from denseclip_viz.plot.raster import Bytes, Floats, dimmed, softened
from denseclip_viz.plot.scales import OPACITY, Scale
from denseclip_viz.plot.select import one_of
from denseclip_viz.plot.sheet import INK

Interpolation = Literal["bilinear", "nearest"]

PANEL_PIXELS = 640  # more of an image than a panel can show only makes files large


def placement(data: xr.Dataset | xr.DataArray, *, shift: tuple[float, float] | None = None) -> Placement:
    """Read from a result where its grid lies.

    Args:
        data: A result with `attrs["geometry"]`, or with coordinates y and x of at least two cells each.
        shift: Another shift than the geometry's: that of an inner layer.

    Returns:
        The placement.

    Raises:
        GeometryError: The result says neither.

    Example:
        >>> centres = {"y": [4.5, 14.5], "x": [4.5, 14.5]}
        >>> maps = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords=centres)
        >>> placement(maps).image, placement(maps).extent
        ((20, 20), (-0.5, 19.5, 19.5, -0.5))
    """
    if "geometry" in data.attrs:
        return Geometry.from_json(str(data.attrs["geometry"])).placement(shift=shift)
    if min(data.sizes.get("y", 0), data.sizes.get("x", 0)) < 2 or not {"y", "x"} <= set(data.coords):
        raise GeometryError(
            f"A result with sizes {dict(data.sizes)} does not say where its cells lie",
            expected='attrs["geometry"], or coordinates y and x of two cells or more',
            fix="Keep attrs when you compute with maps: xarray.set_options(keep_attrs=True).",
        )
    return Placement.from_centres(data["y"].to_numpy(), data["x"].to_numpy())


def layer_placement(data: xr.Dataset, layer: int) -> Placement:
    """Read where the grid of an inner layer lies: where its own cells see, which `layer_shift` says."""
    if "layer_shift" not in data:
        return placement(data)
    down, right = data["layer_shift"].isel(layer=layer).to_numpy().tolist()
    return placement(data, shift=(down, right))


def reduced(image: npt.ArrayLike) -> Bytes:
    """Bring an image down to what a panel can show; smaller ones stay as they are."""
    small = Image.fromarray(np.asarray(image, dtype=np.uint8))
    small.thumbnail((PANEL_PIXELS, PANEL_PIXELS))
    return np.asarray(small)


def visible_mask(shape: tuple[int, ...], where: Placement) -> npt.NDArray[np.bool_]:
    """Say which pixels of an image drawn with some rows and columns the model saw: bool (row, column)."""
    return np.logical_and.outer(*where.is_visible(*shape[:2]))


def fade_unseen(pixels: Bytes, where: Placement) -> Bytes:
    """Fade what the model did not see."""
    result: Bytes = np.where(visible_mask(pixels.shape, where)[..., None], pixels, dimmed(pixels))
    return result


def draw_image(ax: Axes, image: npt.ArrayLike, where: Placement, *, tone: Literal["colour", "grey"] = "colour") -> None:
    """Draw an image over its original extent, faded and outlined where the model did not see all of it."""
    pixels = reduced(image)
    pixels = fade_unseen(softened(pixels) if tone == "grey" else pixels, where)
    height, width = where.image
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(pixels, extent=extent, origin="upper", aspect="equal", interpolation="antialiased")
    if where.is_cropped:
        top, left, bottom, right = where.visible
        for colour, line in (("white", 1.8), (INK, 0.8)):
            box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top)
            box.set(fill=False, edgecolor=colour, linewidth=line, gid="visible", zorder=3)
            ax.add_patch(box)


def draw_map(
    ax: Axes,
    values: npt.ArrayLike,
    where: Placement,
    scale: Scale,
    *,
    image: npt.ArrayLike | None = None,
    interpolation: Interpolation = "bilinear",
    opacity: float = OPACITY,
) -> AxesImage:
    """Draw a map where its grid lies in the original image, over the softened image if there is one.

    Args:
        ax: Where to draw; its limits become the image's.
        values: (y, x); NaN stays uncoloured.
        where: The placement of the grid.
        scale: The colour scale, shared with whatever it is compared with.
        image: uint8 (row, column, rgb).
        interpolation: Between cells; "nearest" shows the cells as they are.
        opacity: Of the map over the image; without an image it is opaque.

    Returns:
        The image of the map.

    Raises:
        ImageError: Another interpolation.
    """
    one_of(interpolation, ("bilinear", "nearest"), name="interpolation")
    if image is not None:
        draw_image(ax, image, where, tone="grey")
    cells, extent = _extended(np.asarray(values, dtype=float), where)
    drawn = ax.imshow(
        np.ma.masked_invalid(cells),
        extent=extent,
        origin="upper",
        aspect="equal",
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        alpha=1.0 if image is None else opacity,
        interpolation=interpolation,
    )
    ax.set(xlim=(-0.5, where.image[1] - 0.5), ylim=(where.image[0] - 0.5, -0.5))
    if extent != where.extent:  # cells that see beside their middle also reach beyond what was seen
        top, left, bottom, right = (edge - 0.5 for edge in where.visible)
        drawn.set_clip_path(Rectangle((left, top), right - left, bottom - top, transform=ax.transData))
    return drawn


def _extended(values: Floats, where: Placement) -> tuple[Floats, Box]:
    """The cells and their extent, with edge cells repeated where the model saw more of the image than they cover."""
    (left, right, bottom, top), (rows, columns) = where.extent, values.shape
    above, before, below, behind = (edge - 0.5 for edge in where.visible)
    height, width = (bottom - top) / rows, (right - left) / columns
    over = _whole((top - above) / height), _whole((below - bottom) / height)
    beside = _whole((left - before) / width), _whole((behind - right) / width)
    extent = (left - width * beside[0], right + width * beside[1], bottom + height * over[1], top - height * over[0])
    return np.pad(values, (over, beside), mode="edge"), extent


def _whole(cells: float) -> int:
    """How many cells fill a strip, none where it is only rounding."""
    return max(0, math.ceil(cells - 1e-3))


def draw_peak(ax: Axes, values: xr.DataArray, *, marker: Literal["x", "o"]) -> None:
    """Mark the strongest cell of a map (y, x) at its centre, legible on light and dark."""
    if not bool(np.isfinite(values).any()):
        return
    row, column = np.unravel_index(int(np.nanargmax(values.to_numpy())), values.shape)
    at = ([float(values["x"][column])], [float(values["y"][row])])
    for colour, line in (("white", 3.2), (INK, 1.4)):
        mark = ax.plot(*at, marker=marker, markersize=7, linestyle="none", color=colour, fillstyle="none")[0]
        mark.set(markeredgewidth=line, gid=f"peak {marker}", clip_on=False, zorder=4)


def panel_size(where: Placement, *, side: float) -> tuple[float, float]:
    """Give a panel the image's ratio and about the area of a square of a side, in inches (width, height).

    Example:
        >>> panel_size(Placement((100, 100), (1, 1), (0, 0, 100, 100), (0, 0, 100, 100)), side=2)
        (2.0, 2.0)
    """
    ratio = where.image[1] / where.image[0]
    width, height = side * ratio**0.5, side / ratio**0.5
    shrink = min(1.0, 1.5 * side / width, 1.6 * side / height)
    return width * shrink, height * shrink
