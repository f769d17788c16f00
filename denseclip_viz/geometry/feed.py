"""From a picture to the model's input, bit for bit as open_clip does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.cells import Geometry
from denseclip_viz.geometry.checks import Size
from denseclip_viz.geometry.ways import Preprocess

if TYPE_CHECKING:
    from PIL import Image

_MAX_RESIZED = 64_000_000  # pixels; of a larger resized picture only the part that is needed is made


def pixels(picture: Image.Image, geometry: Geometry, preprocess: Preprocess) -> NDArray[np.float32]:
    """The normalised model input (channel, row, column) of an RGB picture.

    Native: bit for bit open_clip's `image_transform` (transform.py), with its fill where padded. Whole and
    tiles: padding is 0 after normalising, as in the official MaskCLIP code. GeometryError if the picture is
    of another size or not RGB.

    Example:
        >>> from PIL import Image
        >>> from denseclip_viz.geometry import Native
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> geometry = Native().plan((4, 8), preprocess=clip, cell=(1, 1))
        >>> pixels(Image.new("RGB", (8, 4), "white"), geometry, clip)[0]
        array([[1., 1.],
               [1., 1.]], dtype=float32)
    """
    if picture.mode != "RGB" or (picture.height, picture.width) != geometry.picture:
        came = f"A picture of {(picture.height, picture.width)} px, mode {picture.mode}"
        expected = f"{geometry.picture} px, RGB, as the geometry was planned for"
        raise GeometryError(came, expected=expected, fix="Read it with pictures.read, then plan again.")
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (preprocess.mean, preprocess.std))
    out = np.zeros((3, *geometry.input), dtype=np.float32)
    if geometry.mode == "native":
        out[:] = (np.float32(preprocess.fill_color) / np.float32(255) - mean) / std
    (top, bottom), (left, right) = _shown(geometry, 0), _shown(geometry, 1)
    part = _resized_part(picture, geometry, (left, top, right, bottom), _resample(geometry, preprocess))
    y, x = top - geometry.offset[0], left - geometry.offset[1]
    inside = out[:, y : y + bottom - top, x : x + right - left]
    inside[:] = part.transpose(2, 0, 1)
    inside /= np.float32(255)  # in this order and precision, as torchvision
    inside -= mean
    inside /= std
    return out


def _shown(geometry: Geometry, axis: int) -> Size:
    """From where to where the input shows the resized picture."""
    start = geometry.offset[axis]
    return max(start, 0), min(start + geometry.input[axis], geometry.resized[axis])


def _resample(geometry: Geometry, preprocess: Preprocess) -> Image.Resampling:
    from PIL import Image

    # open_clip forgets the interpolation where it crops to an input that is not square
    oblong = preprocess.resize_mode == "shortest" and preprocess.size[0] != preprocess.size[1]
    bilinear = preprocess.interpolation == "bilinear" and not (geometry.mode == "native" and oblong)
    return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC


def _resized_part(
    picture: Image.Image, geometry: Geometry, box: tuple[int, int, int, int], resample: Image.Resampling
) -> NDArray[np.uint8]:
    """The box (left, top, right, bottom) of the resized picture."""
    (height, width), (left, top, right, bottom) = geometry.resized, box
    if height * width <= _MAX_RESIZED:
        whole = picture if picture.size == (width, height) else picture.resize((width, height), resample)
        return np.asarray(whole.crop(box))
    x, y = picture.width / width, picture.height / height
    source = (left * x, top * y, right * x, bottom * y)
    return np.asarray(picture.resize((right - left, bottom - top), resample, box=source))
