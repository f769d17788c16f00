"""Images and labels as the files that the browser decodes."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.images import display
from denseclip_viz.plot.raster import Bytes, jpeg, png

LONGEST = 1024  # pixels of an image's long side; more only makes pages large
QUALITY = 92  # of a JPEG; below it the blocks are seen beneath a map


def image_file(image: npt.ArrayLike) -> tuple[str, bytes]:
    """Encode an image, uint8 (row, column, rgb), as the smaller of PNG and JPEG; its kind and the bytes.

    Shrunk if its long side has more than 1024 pixels.

    Example:
        >>> image_file(np.zeros((2, 3, 3), np.uint8))[0]
        'image/png'
    """
    pixels = display(Image.fromarray(np.asarray(image, dtype=np.uint8)), longest=LONGEST)
    exact, lossy = png(pixels), jpeg(pixels, quality=QUALITY, subsampling=0)
    return ("image/png", exact) if len(exact) <= len(lossy) else ("image/jpeg", lossy)


def label_file(labels: npt.NDArray[np.integer], probability: npt.ArrayLike) -> tuple[tuple[int, int], bytes]:
    """Write labels and probabilities as the colours of a PNG: red and green hold label + 1, blue the probability.

    Both are (row, column): -1 where there is no label, NaN where nothing was seen. Of more than 1024 pixels a side only
    some are sent: how many, and the bytes, are returned.

    Example:
        >>> label_file(np.array([[-1, 300]]), [[np.nan, 1.0]])[0]
        (1, 2)
    """
    step = -(-max(labels.shape) // LONGEST)
    some = slice(step // 2, None, step)
    numbers = labels[some, some].astype(np.int64) + 1
    shares = np.nan_to_num(np.asarray(probability, dtype=np.float64)[some, some])
    colours: Bytes = np.stack([numbers >> 8, numbers & 255, np.rint(shares * 255)], axis=-1).astype(np.uint8)
    return (colours.shape[0], colours.shape[1]), png(colours)


def read_labels(file: Image.Image) -> npt.NDArray[np.integer]:
    """Read the labels (row, column) that `label_file` wrote."""
    colours = np.asarray(file).astype(np.int64)
    return np.asarray(colours[..., 0] * 256 + colours[..., 1] - 1)
