"""How an image is fitted to the model's input: the model's own crop, the whole image, or tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry.cells import SIDES, Geometry
from denseclip_viz.geometry.placement import between
from denseclip_viz.validation import Size, is_number, is_on, is_whole, one_of, pair

if TYPE_CHECKING:
    from PIL import Image


OPENCV = "bilinear-opencv"


@dataclass(frozen=True)
class Preprocess:
    """What a model expects of its images, as in open_clip's `PreprocessCfg`; GeometryError if it cannot be.

    "bilinear-opencv" is bilinear from four pixels also where an image shrinks, as OpenCV and with it mmseg resize; of
    Pillow's filters, "bilinear" and "bicubic", each then reads all pixels that it covers.

    With `before_crop` the image is squashed to that size, or its shortest side brought to it, and the middle cropped to
    `size` as transformers' image processors do it.
    """

    size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0
    before_crop: Size | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", pair(self.size, "model input size"))
        one_of(self.interpolation, ("bicubic", "bilinear", OPENCV, "random"), "interpolation")
        one_of(self.resize_mode, ("shortest", "longest", "squash"), "resize_mode")
        if np.shape(self.mean) != (3,) or np.shape(self.std) != (3,) or min(self.std) <= 0:
            got, expected = f"mean={self.mean!r}, std={self.std!r}", "three numbers each, std above 0"
            raise GeometryError(got, expected=expected, fix="Give one for each of red, green, blue.")
        if self.before_crop is not None:
            before = pair(self.before_crop, "size before the crop")
            if self.resize_mode == "longest" or before[0] < self.size[0] or before[1] < self.size[1]:
                got = f"A crop of {self.size} px from {before} px, resize_mode {self.resize_mode!r}"
                expected = "a crop inside it, 'squash' or 'shortest'"
                raise GeometryError(got, expected=expected, fix="Give the larger size first.")


@dataclass(frozen=True)
class Native:
    """The model's own resize and centre crop, as open_clip's `image_transform` (transform.py) at inference.

    Example:
        >>> clip = Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> Native().plan((448, 600), preprocess=clip, cell=(16, 16)).visible
        (0.0, 76.0, 448.0, 524.0)
    """

    def plan(self, image: Size, *, preprocess: Preprocess, cell: Size) -> Geometry:
        """Plan how an image of this size is fitted."""
        image, size = pair(image, "image"), preprocess.size
        resized = _native_resized(image, preprocess)
        offset = (_centred(resized[0], size[0]), _centred(resized[1], size[1]))
        if preprocess.before_crop is not None:  # transformers rounds down
            offset = ((resized[0] - size[0]) // 2, (resized[1] - size[1]) // 2)
        return Geometry("native", image, resized, offset, size, pair(cell, "cell"))


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The whole image, its ratio kept, the short or long side at N px (default: the model's short side).

    With both, neither is exceeded, as in mmseg's (2048, 512). Padded below and right to whole cells, never
    cropped; with `pad="even"` only by the one pixel that ResNets' first convolution adds to an odd side, and a
    rest that fills no cell is none. `stretch` draws the map as the official MaskCLIP code does. GeometryError outside
    32..2048.

    Example:
        >>> import denseclip_viz as dcv
        >>> from denseclip_viz.geometry import Preprocess
        >>> clip = Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> dcv.Whole(short=512).plan((375, 500), preprocess=clip, cell=(32, 32)).grid
        (16, 22)
    """

    short: int | None = None
    long: int | None = None
    stretch: bool = False
    pad: str = "cells"

    def __post_init__(self) -> None:
        _check_sides(self.short, self.long)
        object.__setattr__(self, "stretch", is_on(self.stretch, "stretch"))
        one_of(self.pad, ("cells", "even"), "pad")

    def plan(self, image: Size, *, preprocess: Preprocess, cell: Size) -> Geometry:
        """Plan how an image of this size is fitted."""
        image, cell = pair(image, "image"), pair(cell, "cell")
        short = min(preprocess.size) if self.short is None and self.long is None else self.short
        resized = _scaled(image, _scale(image, short, self.long))
        padded = _to_cells(resized, cell if self.pad == "cells" else (2, 2))
        return Geometry("whole", image, resized, (0, 0), padded, cell, stretch=self.stretch)


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Overlapping windows of the model's own size over the image at its own size, or resized as `Whole`.

    Without `short` and `long` an image smaller than one window grows to it. The last windows are flush with
    the padded end, so every cell is covered. GeometryError for a window that is not whole cells, an overlap
    outside 0..0.9, or sides outside 32..2048.

    `apart` is for numbers as papers report them, as mmseg's slide inference: nothing is padded, windows stand at any
    pixel, each keeps its own cells, and the mean of overlapping windows is taken where pixels are named, alike for all.
    Such maps can be segmented and measured, not drawn on one grid. A side shorter than a window has windows of whole
    cells.

    Example:
        >>> import denseclip_viz as dcv
        >>> from denseclip_viz.geometry import Preprocess
        >>> clip = Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> dcv.Tiles().plan((224, 400), preprocess=clip, cell=(32, 32)).windows
        ((0, 0), (0, 128), (0, 192))
    """

    window: int | Size | None = None
    overlap: float = 0.5
    short: int | None = None
    long: int | None = None
    apart: bool = False

    def __post_init__(self) -> None:
        _check_sides(self.short, self.long)
        object.__setattr__(self, "apart", is_on(self.apart, "apart"))
        if not is_number(self.overlap, 0, 0.9):
            got, fix = f"overlap={self.overlap!r}", "Half a window, 0.5, is usual."
            raise GeometryError(got, expected="a share from 0 to 0.9", fix=fix)

    def plan(self, image: Size, *, preprocess: Preprocess, cell: Size) -> Geometry:
        """Plan how an image of this size is fitted."""
        image, cell = pair(image, "image"), pair(cell, "cell")
        window = _window(self.window, preprocess.size, cell)
        scale = max(1.0, window[0] / image[0], window[1] / image[1])
        if self.short is not None or self.long is not None:
            scale = _scale(image, self.short, self.long)
        resized = _scaled(image, scale)
        if self.apart:
            return self._apart(image, resized, cell, window)
        padded = _to_cells((max(resized[0], window[0]), max(resized[1], window[1])), cell)
        # checked before the windows are counted out: there could be millions
        plain = Geometry("tiles", image, resized, (0, 0), padded, cell)
        tops, lefts = (_starts(padded[i], window[i], cell[i], self.overlap) for i in (0, 1))
        return replace(plain, windows=tuple(product(tops, lefts)), window=window)

    def _apart(self, image: Size, resized: Size, cell: Size, window: Size) -> Geometry:
        sides = [min(window[i], resized[i] // cell[i] * cell[i]) for i in (0, 1)]
        tops, lefts = (_starts(resized[i], sides[i], 1, self.overlap) if sides[i] else [] for i in (0, 1))
        corners = tuple(product(tops, lefts))
        return Geometry("tiles", image, resized, (0, 0), resized, cell, corners, (sides[0], sides[1]), apart=True)


Fit = Native | Whole | Tiles


def fit_from(geometry: str | Fit) -> Fit:
    """Make a fit of its name, "native", "whole" or "tiles"; raise GeometryError for any other."""
    if isinstance(geometry, (Native, Whole, Tiles)):
        return geometry
    fits: dict[str, Fit] = {"native": Native(), "whole": Whole(), "tiles": Tiles()}
    one_of(geometry, tuple(fits), "geometry")
    return fits[geometry]


def _native_resized(image: Size, preprocess: Preprocess) -> Size:
    """Compute what torchvision's Resize or open_clip's ResizeKeepRatio resizes to, but at least 1 px."""
    (height, width), size = image, preprocess.before_crop or preprocess.size
    if preprocess.resize_mode == "squash":
        return size
    if preprocess.resize_mode == "shortest" and size[0] == size[1]:
        long = int(size[0] * max(image) / min(image))
        return (long, size[0]) if width <= height else (size[0], long)
    pick = max if preprocess.resize_mode == "longest" else min
    ratio = pick(height / size[0], width / size[1])
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _centred(resized: int, size: int) -> int:
    """Find where the input starts in the resized image, rounded as torchvision's center_crop does."""
    return -((size - resized) // 2) if size > resized else int(round((resized - size) / 2))


def _check_sides(short: int | None, long: int | None) -> None:
    for name, side in (("short", short), ("long", long)):
        if side is not None and not (is_whole(side) and SIDES[0] <= side <= SIDES[1]):
            expected = f"a whole number of pixels from {SIDES[0]} to {SIDES[1]}"
            raise GeometryError(f"{name}={side!r}", expected=expected, fix=f"Pass for example {name}=512.")


def _scale(image: Size, short: int | None, long: int | None) -> float:
    wanted = ((short, min(image)), (long, max(image)))
    return min(side / now for side, now in wanted if side is not None)


def _scaled(image: Size, scale: float) -> Size:
    return max(1, int(image[0] * scale + 0.5)), max(1, int(image[1] * scale + 0.5))


def _to_cells(size: Size, cell: Size) -> Size:
    return -(-size[0] // cell[0]) * cell[0], -(-size[1] // cell[1]) * cell[1]


def _window(wanted: int | Size | None, native: Size, cell: Size) -> Size:
    if wanted is None:
        window = (native[0] // cell[0] * cell[0], native[1] // cell[1] * cell[1])
    else:
        window = pair((wanted, wanted) if is_whole(wanted) else wanted, "window")
    if min(window) < 1 or window[0] % cell[0] or window[1] % cell[1]:
        got, expected = f"A window of {window} px", f"a multiple of the cell {cell}"
        raise GeometryError(got, expected=expected, fix="Leave window out, or round it to whole cells.")
    return window


def _starts(length: int, window: int, cell: int, overlap: float) -> list[int]:
    stride = max(1, round(window * (1 - overlap) / cell)) * cell
    return [*range(0, length - window, stride), length - window]


_MAX_RESIZED = 64_000_000  # pixels; of a larger resized image only the part that is needed is made


def pixels(image: Image.Image, geometry: Geometry, preprocess: Preprocess) -> NDArray[np.float32]:
    """Make the normalised model input (channel, row, column) of an RGB image.

    Native: bit for bit open_clip's `image_transform` (transform.py), with its fill where padded. Whole and
    tiles: padding is 0 after normalising, as in the official MaskCLIP code. GeometryError if the image is
    of another size or not RGB.
    """
    if image.mode != "RGB" or (image.height, image.width) != geometry.image:
        got = f"An image of {(image.height, image.width)} px, mode {image.mode}"
        expected = f"{geometry.image} px, RGB, as the geometry was planned for"
        raise GeometryError(got, expected=expected, fix="Read it with images.read, then plan again.")
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (preprocess.mean, preprocess.std))
    out = np.zeros((3, *geometry.input), dtype=np.float32)
    if geometry.mode == "native":
        out[:] = (np.float32(preprocess.fill_color) / np.float32(255) - mean) / std
    (top, bottom), (left, right) = _shown(geometry, 0), _shown(geometry, 1)
    box = (left, top, right, bottom)
    if preprocess.interpolation == OPENCV:
        part = _four_pixels(np.asarray(image), geometry.resized)[top:bottom, left:right]
    else:
        part = _resized_part(image, geometry, box, _resample(geometry, preprocess))
    y, x = top - geometry.offset[0], left - geometry.offset[1]
    inside = out[:, y : y + bottom - top, x : x + right - left]
    inside[:] = part.transpose(2, 0, 1)
    inside /= np.float32(255)  # in this order and precision, as torchvision
    inside -= mean
    inside /= std
    return out


def _shown(geometry: Geometry, axis: int) -> Size:
    """Find from where to where the input shows the resized image."""
    start = geometry.offset[axis]
    return max(start, 0), min(start + geometry.input[axis], geometry.resized[axis])


def _resample(geometry: Geometry, preprocess: Preprocess) -> Image.Resampling:
    from PIL import Image

    # open_clip forgets the interpolation where it crops to an input that is not square
    oblong = preprocess.resize_mode == "shortest" and preprocess.size[0] != preprocess.size[1]
    bilinear = preprocess.interpolation == "bilinear" and not (geometry.mode == "native" and oblong)
    return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC


def _four_pixels(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize (row, column, rgb) from the four pixels around each place, rounded: what OpenCV does to one grey level."""
    rows, columns = ((np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, image.shape, strict=False))
    tall = between(image.reshape(len(image), -1).astype(np.float64), rows).reshape(size[0], -1, 3)
    wide = between(tall.swapaxes(0, 1).reshape(tall.shape[1], -1), columns).reshape(size[1], size[0], 3)
    resized: NDArray[np.uint8] = np.floor(wide + (0.5 + 1e-9)).astype(np.uint8).swapaxes(0, 1)  # halves go up
    return resized


def _resized_part(
    image: Image.Image, geometry: Geometry, box: tuple[int, int, int, int], resample: Image.Resampling
) -> NDArray[np.uint8]:
    """Place the box (left, top, right, bottom) of the resized image."""
    (height, width), (left, top, right, bottom) = geometry.resized, box
    if height * width <= _MAX_RESIZED:
        whole = image if image.size == (width, height) else image.resize((width, height), resample)
        return np.asarray(whole.crop(box))
    x, y = image.width / width, image.height / height
    source = (left * x, top * y, right * x, bottom * y)
    return np.asarray(image.resize((right - left, bottom - top), resample, box=source))
