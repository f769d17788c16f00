"""Numbers, images and labels as the bytes that the browser reads."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.images import display
from denseclip_viz.plot.raster import Bytes, jpeg, png

LEVELS = 2**16 - 2  # the highest number; the one above it stands for NaN
NOTHING = 2**16 - 1
LEAST, MOST = 3, 7  # decimals that are printed
FINEST = 99_999  # steps to a printed decimal; more are never seen
LONGEST = 1024  # pixels of an image's long side; more only makes pages large
QUALITY = 92  # of a JPEG; below it the blocks are seen beneath a map


class Quantized(NamedTuple):
    """Values as whole numbers: value = (first + number) / per_unit.

    Attributes:
        first: The number that stands for 0 in between.
        per_unit: Steps in 1.0.
        decimals: How many decimals are printed.
        bytes: uint16, little-endian, in the order of the values; 65535 is NaN.
    """

    first: int
    per_unit: int
    decimals: int
    bytes: bytes

    def values(self) -> npt.NDArray[np.float64]:
        """Unpack, flat."""
        numbers = np.frombuffer(self.bytes, "<u2").astype(np.float64)
        return np.where(numbers == NOTHING, np.nan, (self.first + numbers) / self.per_unit)

    def to_dict(self) -> dict[str, Any]:
        """Tell the browser how to unpack the bytes."""
        return {"first": self.first, "perUnit": self.per_unit, "decimals": self.decimals, "nothing": NOTHING}


def quantize(values: npt.ArrayLike) -> Quantized:
    """Pack values of any shape so that they print as the true ones do; NaN stays NaN.

    A step is an odd fraction of the last printed decimal. Then what rounds to one step rounds to one printed number
    too: no value changes its printed decimals by being packed. Three decimals are printed of values of 0.1 and above,
    one more for each power of ten below.

    Example:
        >>> [f"{value:.3f}" for value in quantize([0.24949, 0.2495001, -0.1]).values()]
        ['0.249', '0.250', '-0.100']
    """
    flat = np.ravel(np.asarray(values, dtype=np.float64))
    finite = flat[np.isfinite(flat)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    decimals = printed_decimals(max(abs(low), abs(high)))
    while (odd := _odd(high - low, decimals)) < 1 and decimals > 0:
        decimals -= 1
    per_unit = max(odd, 1) * 10**decimals
    first = round(low * per_unit)
    numbers = np.where(np.isfinite(flat), np.rint(flat * per_unit) - first, NOTHING)
    return Quantized(first, per_unit, decimals, np.clip(numbers, 0, NOTHING).astype("<u2").tobytes())


def printed_decimals(reach: float) -> int:
    """Count the decimals that show three digits of a value."""
    return LEAST if reach <= 0 else min(MOST, max(LEAST, LEAST - 1 - math.floor(math.log10(reach))))


def _odd(width: float, decimals: int) -> int:
    """Find the largest odd number of steps to a decimal with which a width fits; negative if none does."""
    steps = int((LEVELS - 2) / (width * 10**decimals)) if width * 10**decimals * FINEST > LEVELS - 2 else FINEST
    return steps if steps % 2 else steps - 1


def image_file(image: npt.ArrayLike) -> tuple[str, bytes]:
    """Encode an image, uint8 (row, column, rgb), as the smaller of PNG and JPEG; its kind and the bytes.

    Shrunk if its long side has more than 1024 pixels.
    """
    pixels = display(Image.fromarray(np.asarray(image, dtype=np.uint8)), longest=LONGEST)
    exact, lossy = png(pixels), jpeg(pixels, quality=QUALITY, subsampling=0)
    return ("image/png", exact) if len(exact) <= len(lossy) else ("image/jpeg", lossy)


def label_file(labels: npt.NDArray[np.integer], probability: npt.ArrayLike) -> tuple[tuple[int, int], bytes]:
    """Write labels and probabilities as the colours of a PNG: red and green hold label + 1, blue the probability.

    Both are (row, column): -1 where there is no label, NaN where nothing was seen. Of more than 1024 pixels a side only
    some are sent: how many, and the bytes, are returned.
    """
    step = -(-max(labels.shape) // LONGEST)
    some = slice(step // 2, None, step)
    numbers = labels[some, some].astype(np.int64) + 1
    shares = np.nan_to_num(np.asarray(probability, dtype=np.float64)[some, some])
    colours: Bytes = np.stack([numbers >> 8, numbers & 255, np.rint(shares * 255)], axis=-1).astype(np.uint8)
    return (colours.shape[0], colours.shape[1]), png(colours)


def mask_files(masks: npt.NDArray[np.bool_]) -> list[bytes]:
    """Write masks (label, row, column) as colours of PNGs, 24 to a file: a bit each, those of red first.

    Of more than 1024 pixels a side those are sent that `label_file` sends.
    """
    step = -(-max(masks.shape[1:]) // LONGEST)
    some = slice(step // 2, None, step)
    bits = np.packbits(masks[:, some, some], axis=0, bitorder="little")  # (byte, row, column)
    full = np.concatenate([bits, np.zeros((-len(bits) % 3, *bits.shape[1:]), np.uint8)])
    return [png(np.moveaxis(full[at : at + 3], 0, -1)) for at in range(0, len(full), 3)]


def read_masks(files: Sequence[Image.Image]) -> npt.NDArray[np.bool_]:
    """Read the masks (label, row, column) that `mask_files` wrote, with empty ones up to a multiple of 24."""
    bits = np.concatenate([np.moveaxis(np.asarray(file), -1, 0) for file in files])
    return np.unpackbits(bits, axis=0, bitorder="little").astype(bool)


def read_labels(file: Image.Image) -> npt.NDArray[np.integer]:
    """Read the labels (row, column) that `label_file` wrote."""
    colours = np.asarray(file).astype(np.int64)
    return np.asarray(colours[..., 0] * 256 + colours[..., 1] - 1)
