"""Single panels: the image, a map over it where its grid lies, the peaks of maps."""

import math
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from denseclip_viz.errors import GeometryError, ImageError
from denseclip_viz.geometry import Box, Geometry, Placement
from denseclip_viz.images import ImageLike, read, unwrapped
from denseclip_viz.maps.regions import in_order, peak_place, whole_geometry
from denseclip_viz.plot.raster import Bytes, Floats, fade_unseen, softened
from denseclip_viz.plot.scales import OPACITY, Scale
from denseclip_viz.plot.select import one_of
from denseclip_viz.plot.sheet import INK
from denseclip_viz.validation import is_number, short

Interpolation = Literal["bilinear", "nearest"]

PANEL_PIXELS = 640  # more of an image than a panel can show only makes files large


def placement(data: xr.Dataset | xr.DataArray, *, layer: int | None = None) -> Placement:
    """Read where the grid of a result lies, or that of one of its inner layers, which may see beside it.

    By `attrs["geometry"]`, or by coordinates y and x of at least two cells each; GeometryError if it has neither, or
    if it is cut.
    """
    if "geometry" in data.attrs:
        inner = isinstance(data, xr.Dataset) and layer is not None and "layer_shift" in data
        shift = tuple(data["layer_shift"].isel(layer=layer).to_numpy().tolist()) if inner else None
        return whole_geometry(data).placement(shift=shift)
    if min(data.sizes.get("y", 0), data.sizes.get("x", 0)) < 2 or not {"y", "x"} <= set(data.coords):
        raise GeometryError(
            f"A result with sizes {dict(data.sizes)} does not say where its cells lie",
            expected='attrs["geometry"], or coordinates y and x of two cells or more',
            fix="Keep attrs when you compute with maps: xarray.set_options(keep_attrs=True).",
        )
    return Placement.from_centres(data["y"].to_numpy(), data["x"].to_numpy())


def placement_of_pixels(labels: xr.Dataset) -> Placement:
    """Read what was seen of the image of a segmentation, whose values are of pixels, whatever grid they came from."""
    if "geometry" not in labels.attrs:
        fix = "Keep attrs when you compute with it: xarray.set_options(keep_attrs=True)."
        raise GeometryError("Labels that do not say what was seen", expected='attrs["geometry"]', fix=fix)
    return Geometry.from_json(str(labels.attrs["geometry"])).placement_of_pixels()


def reduced(image: ImageLike | xr.DataArray) -> Bytes:
    """Read an image as `trace` does, and bring it down to what a panel can show; smaller ones stay as they are."""
    source = unwrapped(image)
    if isinstance(source, xr.DataArray):  # of a result, whose axes may stand in any order
        source = in_order(source).to_numpy()
    small = read(cast(ImageLike, source))
    small.thumbnail((PANEL_PIXELS, PANEL_PIXELS))
    return np.asarray(small)


def over_image(where: Placement) -> dict[str, Any]:
    """Return options of `imshow` that lay pixels of any number over the whole image."""
    height, width = where.image
    return {"extent": (-0.5, width - 0.5, height - 0.5, -0.5), "origin": "upper", "aspect": "equal"}


def draw_image(
    ax: Axes, image: ImageLike | xr.DataArray, where: Placement, *, tone: Literal["colour", "grey"] = "colour"
) -> None:
    """Draw an image over its original extent, faded and outlined where the model did not see all of it."""
    pixels = _of_this_shape(reduced(image), where)
    pixels = fade_unseen(softened(pixels) if tone == "grey" else pixels, where)
    ax.imshow(pixels, interpolation="antialiased", **over_image(where))
    if where.is_cropped:
        for colour, line in (("white", 1.8), (INK, 0.8)):
            box = _visible_box(where)
            box.set(fill=False, edgecolor=colour, linewidth=line, gid="visible", zorder=3)
            box.set_clip_on(False)  # an edge that lies on the image's own would be cut off, or halved
            ax.add_patch(box)


def _of_this_shape(pixels: Bytes, where: Placement) -> Bytes:
    """Refuse, by an ImageError, an image that would be stretched beneath maps of one of another shape."""
    (height, width), scale = pixels.shape[:2], max(pixels.shape[:2]) / max(where.image)
    if max(abs(height - scale * where.image[0]), abs(width - scale * where.image[1])) > 1:  # a pixel by rounding
        got = f"An image of {height} x {width} pixels beneath maps of one of {where.image[0]} x {where.image[1]}"
        raise ImageError(got, expected="the image that was traced, all of it", fix="Pass that one, or trace.image.")
    return pixels


def draw_map(
    ax: Axes,
    values: npt.ArrayLike,
    where: Placement,
    scale: Scale,
    *,
    image: ImageLike | xr.DataArray | None = None,
    interpolation: Interpolation = "bilinear",
    opacity: float = OPACITY,
) -> AxesImage:
    """Draw a map (y, x) where its grid lies, over the softened image if there is one; NaN stays uncoloured.

    The limits of the axes become the image's. "nearest" shows the cells as they are; ImageError for another
    interpolation. Without an image the map is opaque.
    """
    one_of(interpolation, ("bilinear", "nearest"), name="interpolation")
    if not is_number(opacity, 0, 1):
        raise ImageError(f"opacity={short(opacity)}", expected="a number from 0 to 1", fix="Try opacity=0.64.")
    if image is not None:
        draw_image(ax, image, where, tone="grey")
    cells, extent = _extended(np.asarray(values, dtype=float), where)
    drawn = ax.imshow(
        np.ma.masked_invalid(cells),
        cmap=scale.colours,
        vmin=scale.low,
        vmax=scale.high,
        alpha=1.0 if image is None else opacity,
        interpolation=interpolation,
        **over_image(where) | {"extent": extent},
    )
    ax.set(xlim=(-0.5, where.image[1] - 0.5), ylim=(where.image[0] - 0.5, -0.5))
    if extent != where.extent:  # cells that see beside their middle also reach beyond what was seen
        box = _visible_box(where)
        box.set_transform(ax.transData)
        drawn.set_clip_path(box)
    return drawn


def _visible_box(where: Placement) -> Rectangle:
    top, left, bottom, right = (edge - 0.5 for edge in where.visible)
    return Rectangle((left, top), right - left, bottom - top)


def _extended(values: Floats, where: Placement) -> tuple[Floats, Box]:
    """Repeat edge cells where the model saw more of the image than they cover; the cells and their extent."""
    (left, right, bottom, top), (rows, columns) = where.extent, values.shape
    above, before, below, behind = (edge - 0.5 for edge in where.visible)
    height, width = (bottom - top) / rows, (right - left) / columns
    strips = (top - above) / height, (below - bottom) / height, (left - before) / width, (behind - right) / width
    fill = [max(0, math.ceil(strip - 1e-3)) for strip in strips]  # cells; none where a strip is only rounding
    over, beside = (fill[0], fill[1]), (fill[2], fill[3])
    extent = (left - width * beside[0], right + width * beside[1], bottom + height * over[1], top - height * over[0])
    return np.pad(values, (over, beside), mode="edge"), extent


def draw_peak(ax: Axes, values: xr.DataArray, where: Placement, *, marker: Literal["x", "o"]) -> None:
    """Mark the peak of a map (y, x) at the middle of what was seen of its cell, legible on light and dark."""
    if not bool(np.isfinite(values).any()):
        return
    y, x = peak_place(values, where)
    at = [x], [y]
    for colour, line in (("white", 3.2), (INK, 1.4)):
        mark = ax.plot(*at, marker=marker, markersize=7, linestyle="none", color=colour, fillstyle="none")[0]
        mark.set(markeredgewidth=line, gid=f"peak {marker}", clip_on=False, zorder=4)


def panel_size(where: Placement, *, side: float) -> tuple[float, float]:
    """Give a panel the image's ratio and about the area of a square of a side, in inches (width, height)."""
    ratio = where.image[1] / where.image[0]
    width, height = side * ratio**0.5, side / ratio**0.5
    shrink = min(1.0, 1.5 * side / width, 1.6 * side / height)
    return width * shrink, height * shrink
