"""Arrays to coloured arrays to bytes, without a figure: what overlays, widget and page draw with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from denseclip_viz.errors import ImageError

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]

COLOURS = 256  # entries of a colour table, as many as matplotlib has
PAPER = 255.0
UNSEEN = 170  # the grey of a cell without a value, where no image lies beneath
DIMMED = 0.62  # how far the part that the model did not see fades into the paper
SOFT_LOW, SOFT_HIGH = (
    25.0,
    250.0,
)  # the greys that a softened image keeps: detail stays, colour is the map's


def _values(map: npt.ArrayLike, name: str) -> Floats:
    values = np.asarray(map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ImageError(
            f"The {name} has shape {values.shape}",
            expected="two axes (y, x), each at least 1 long",
            fix="Pick one template and one prompt first, for example with maps.isel(template=0, prompt=0).",
        )
    return values


def _pixels(image: npt.ArrayLike) -> Bytes:
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise ImageError(
            f"The image is {pixels.dtype} with shape {pixels.shape}",
            expected="uint8 with axes (row, column, rgb)",
            fix="Read it with denseclip_viz.images.read and take numpy.asarray of it.",
        )
    return pixels


def _scaled(values: Floats, low: float, high: float) -> Floats:
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ImageError(
            f"The colour scale goes from {low} to {high}",
            expected="two finite numbers, low below high",
            fix="Take the limits from all maps that are to be compared, and widen them if they are equal.",
        )
    scaled: Floats = np.clip((values - low) / (high - low), 0.0, 1.0)
    return scaled


def colourise(map: npt.ArrayLike, *, low: float, high: float, colours: str = "viridis") -> Bytes:
    """Colour a map on a stated scale.

    Args:
        map: Values (y, x); NaN where nothing was seen.
        low: The value of the lowest colour, in the map's units; values below it get that colour too.
        high: The value of the highest colour.
        colours: Name of a matplotlib colour map.

    Returns:
        uint8 (y, x, rgb); NaN is a neutral grey and never a colour of the map.

    Raises:
        ImageError: The map has not two axes, or the scale is empty.

    Example:
        >>> colourise([[0.0, 1.0]], low=0, high=1, colours="gray").tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    import matplotlib

    values = _values(map, "map")
    scaled = _scaled(values, low, high)
    coloured = matplotlib.colormaps[colours](np.nan_to_num(scaled), bytes=True)[..., :3]
    result: Bytes = np.where(np.isnan(values)[..., None], np.uint8(UNSEEN), coloured)
    return result


def softened(image: npt.ArrayLike) -> Bytes:
    """Turn an image into light greys, so that the colours on it are the map's and its edges stay sharp.

    Args:
        image: uint8 (row, column, rgb).

    Returns:
        uint8 (row, column, rgb), grey. Luma after Rec. ITU-R BT.601.

    Raises:
        ImageError: Not uint8 or not (row, column, rgb).

    Example:
        >>> softened(np.full((1, 1, 3), 255, np.uint8)).tolist()
        [[[250, 250, 250]]]
    """
    luma = _pixels(image) @ np.array([0.299, 0.587, 0.114])
    grey = SOFT_LOW + luma / 255.0 * (SOFT_HIGH - SOFT_LOW)
    return np.repeat(np.round(grey)[..., None], 3, axis=2).astype(np.uint8)


def dimmed(image: npt.ArrayLike) -> Bytes:
    """Fade an image into the paper: how the part that the model did not see is shown.

    Args:
        image: uint8 (row, column, rgb).

    Returns:
        uint8 (row, column, rgb).

    Raises:
        ImageError: Not uint8 or not (row, column, rgb).

    Example:
        >>> dimmed(np.zeros((1, 1, 3), np.uint8)).tolist()
        [[[158, 158, 158]]]
    """
    pixels = _pixels(image)
    return np.round(pixels * (1 - DIMMED) + PAPER * DIMMED).astype(np.uint8)


def overlay(
    image: npt.ArrayLike,
    map: npt.ArrayLike,
    *,
    low: float,
    high: float,
    opacity: float = 0.7,
    colours: str = "viridis",
) -> Bytes:
    """Lay a map over an image of the same size.

    Args:
        image: uint8 (row, column, rgb).
        map: Values (row, column); NaN where the model saw nothing.
        low: The value of the lowest colour, in the map's units.
        high: The value of the highest colour.
        opacity: 0 shows the softened image, 1 only the colours.
        colours: Name of a matplotlib colour map.

    Returns:
        uint8 (row, column, rgb); where the map is NaN the image shows, dimmed and uncoloured by the map.

    Raises:
        ImageError: The sizes differ, the opacity is not in [0, 1], or the scale is empty.

    Example:
        >>> grey = np.full((1, 2, 3), 128, np.uint8)
        >>> overlay(grey, [[0.0, 1.0]], low=0, high=1, opacity=1, colours="gray")[0, :, 0].tolist()
        [0, 255]
    """
    pixels, values = _pixels(image), _values(map, "map")
    if pixels.shape[:2] != values.shape:
        raise ImageError(
            f"The image has {pixels.shape[:2]} rows and columns and the map {values.shape}",
            expected="one value for each pixel",
            fix="Resample the map to the image first; a map is never stretched silently.",
        )
    if not 0.0 <= opacity <= 1.0:
        raise ImageError(f"The opacity is {opacity}", expected="a number from 0 to 1", fix="Leave it out for 0.7.")
    coloured = colourise(values, low=low, high=high, colours=colours)
    mixed = np.round((1 - opacity) * softened(pixels) + opacity * coloured).astype(np.uint8)
    result: Bytes = np.where(np.isnan(values)[..., None], dimmed(pixels), mixed)
    return result


def colour_tables(names: Sequence[str]) -> bytes:
    """Give colour maps as 256 x (red, green, blue) bytes each, one after the other: matplotlib's own.

    Args:
        names: Of matplotlib's colour maps.

    Returns:
        The bytes; none for no names.

    Example:
        >>> list(colour_tables(["gray"])[:6])
        [0, 0, 0, 1, 1, 1]
    """
    import matplotlib

    ramp = np.arange(COLOURS)
    return b"".join(matplotlib.colormaps[name](ramp, bytes=True)[:, :3].tobytes() for name in names)


def jpeg(array: npt.ArrayLike, *, quality: int, subsampling: int | None = None) -> bytes:
    r"""Encode pixels as a JPEG file.

    Args:
        array: uint8 (row, column, rgb).
        quality: Of the file, up to 95.
        subsampling: 0 keeps the colours as sharp as the greys; the encoder's own choice by default.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: Another type or shape.

    Example:
        >>> jpeg(np.zeros((2, 3, 3), np.uint8), quality=90)[:2]
        b'\xff\xd8'
    """
    from PIL import Image

    buffer, more = io.BytesIO(), {} if subsampling is None else {"subsampling": subsampling}
    Image.fromarray(np.ascontiguousarray(_pixels(array))).save(buffer, format="JPEG", quality=quality, **more)
    return buffer.getvalue()


def png(array: npt.ArrayLike) -> bytes:
    r"""Encode pixels as a PNG file.

    Args:
        array: uint8 (row, column, rgb), or (row, column) for grey.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: Another type or shape.

    Example:
        >>> png(np.zeros((2, 3, 3), np.uint8))[:4]
        b'\x89PNG'
    """
    from PIL import Image

    pixels = np.asarray(array)
    if pixels.ndim == 2 and pixels.dtype == np.uint8 and pixels.size:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_pixels(pixels))).save(buffer, format="PNG")
    return buffer.getvalue()
