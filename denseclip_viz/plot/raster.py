"""Arrays to coloured arrays to bytes, without a figure: what figures, stills, thumbnails and pages draw with.

Images and pixels are uint8 (row, column, rgb); an ImageError refuses all others.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.geometry import Placement

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]  # red, green and blue in 0..1

COLOURS = 256  # entries of a colour table, as many as matplotlib has
PAPER = 255
UNSEEN = 170  # the grey of a cell without a value, where no image lies beneath
DIMMED = 0.62  # how far the part that the model did not see fades into the paper
SOFT_LOW, SOFT_HIGH = 25, 250  # the greys that a softened image keeps: detail stays, colour is the map's
BEHIND = "#b4b4b4"  # the middle grey of a softened image: a bar on it looks as the map on the image does
LABEL_OPACITY, LABEL_EDGE = 0.62, 0.75  # of the colours of labels, and of the white line between two
# What the canvas draws by, so that it looks as the figures do.
LOOK = {"faded": DIMMED, "paper": PAPER, "behind": int(BEHIND[1:3], 16), "dark": SOFT_LOW, "light": SOFT_HIGH}


def colourise(map: npt.ArrayLike, *, low: float, high: float, colours: str = "viridis") -> Bytes:
    """Colour a map (y, x) on a stated scale, in the map's units; NaN becomes a grey that is no colour of the map.

    Values beyond the scale get its end colours. `colours` is the name of a matplotlib colour map. ImageError if the map
    has not two axes, or the scale is empty.
    """
    values = _values(map)
    scaled = _scaled(values, low, high)
    coloured = matplotlib.colormaps[colours](np.nan_to_num(scaled), bytes=True)[..., :3]
    result: Bytes = np.where(np.isnan(values)[..., None], np.uint8(UNSEEN), coloured)
    return result


def softened(image: npt.ArrayLike) -> Bytes:
    """Turn an image into light greys, so that the colours on it are the map's and its edges stay sharp.

    Luma after Rec. ITU-R BT.601.

    Example:
        >>> softened(np.full((1, 1, 3), 255, np.uint8)).tolist()
        [[[250, 250, 250]]]
    """
    luma = _pixels(image) @ np.array([0.299, 0.587, 0.114])
    grey = SOFT_LOW + luma / 255.0 * (SOFT_HIGH - SOFT_LOW)
    return np.repeat(np.round(grey)[..., None], 3, axis=2).astype(np.uint8)


def dimmed(image: npt.ArrayLike) -> Bytes:
    """Fade an image into the paper: how the part that the model did not see is shown.

    Example:
        >>> dimmed(np.zeros((1, 1, 3), np.uint8)).tolist()
        [[[158, 158, 158]]]
    """
    return np.round(_pixels(image) * (1 - DIMMED) + PAPER * DIMMED).astype(np.uint8)


def fade_unseen(image: npt.ArrayLike, where: Placement) -> Bytes:
    """Fade what the model did not see of an image, whatever number of pixels it is drawn with."""
    pixels = _pixels(image)
    result: Bytes = np.where(where.mask(*pixels.shape[:2])[..., None], pixels, dimmed(pixels))
    return result


def overlay(
    image: npt.ArrayLike, map: npt.ArrayLike, *, low: float, high: float, opacity: float = 0.7, colours: str = "viridis"
) -> Bytes:
    """Lay a map (row, column) over an image of the same size, on a scale as for `colourise`.

    Opacity 0 shows the softened image, 1 only the colours. Where the map is NaN the image shows, dimmed. ImageError if
    the sizes differ, the opacity is not in [0, 1], or the scale is empty.
    """
    pixels, values = _pixels(image), _values(map)
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


def paint_labels(labels: npt.NDArray[np.integer], image: npt.ArrayLike, colours: Sequence[Colour]) -> Bytes:
    """Colour what has a label over the softened image, leave what has none (-1), line between neighbours.

    The labels (row, column) are indices of colours; the image may have any size, and gets that of the labels.

    Example:
        >>> paint_labels(np.array([[0, 0], [-1, -1]]), np.zeros((2, 2, 3), np.uint8), [(1.0, 0.0, 0.0)])[:, 0].tolist()
        [[168, 10, 10], [191, 191, 191]]
    """
    under = Image.fromarray(np.asarray(image, dtype=np.uint8))
    pixels = np.asarray(under.resize(labels.shape[::-1], Image.Resampling.LANCZOS))
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    mixed = LABEL_OPACITY * np.array(colours)[np.maximum(labels, 0)] * 255 + (1 - LABEL_OPACITY) * softened(pixels)
    result = np.where((labels >= 0)[..., None], mixed, pixels)
    result[edge] = (1 - LABEL_EDGE) * result[edge] + LABEL_EDGE * 255
    return np.round(result).astype(np.uint8)


def colour_tables(names: Sequence[str]) -> bytes:
    """Give matplotlib's colour maps of some names as 256 x (red, green, blue) bytes each, one after the other."""
    ramp = np.arange(COLOURS)
    return b"".join(matplotlib.colormaps[name](ramp, bytes=True)[:, :3].tobytes() for name in names)


def jpeg(array: npt.ArrayLike, *, quality: int, subsampling: int | None = None) -> bytes:
    """Encode pixels, uint8 (row, column, rgb), as a JPEG file; `subsampling=0` keeps colours as sharp as greys."""
    return _file(array, "JPEG", quality=quality, **({} if subsampling is None else {"subsampling": subsampling}))


def png(array: npt.ArrayLike) -> bytes:
    """Encode pixels, uint8 (row, column, rgb), as a PNG file."""
    return _file(array, "PNG")


def _file(array: npt.ArrayLike, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_pixels(array))).save(buffer, format=kind, **options)
    return buffer.getvalue()


def _values(map: npt.ArrayLike) -> Floats:
    values = np.asarray(map, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        fix = "Pick one template and one prompt first, for example with maps.isel(template=0, prompt=0)."
        raise ImageError(f"The map has shape {values.shape}", expected="two axes (y, x), each at least 1 long", fix=fix)
    return values


def _pixels(image: npt.ArrayLike) -> Bytes:
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        fix = "Read it with denseclip_viz.images.read and take numpy.asarray of it."
        got, expected = f"The image is {pixels.dtype} with shape {pixels.shape}", "uint8 with axes (row, column, rgb)"
        raise ImageError(got, expected=expected, fix=fix)
    return pixels


def _scaled(values: Floats, low: float, high: float) -> Floats:
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        fix = "Take the limits from all maps that are to be compared, and widen them if they are equal."
        got, expected = f"The colour scale goes from {low} to {high}", "two finite numbers, low below high"
        raise ImageError(got, expected=expected, fix=fix)
    scaled: Floats = np.clip((values - low) / (high - low), 0.0, 1.0)
    return scaled
