"""Index masks: PNG files whose pixels are ids, brought to places in the classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.layouts import IGNORED, Ids
from denseclip_viz.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

_NO_CLASS = -2
_PIXELS = ("P", "L", "I;16", "I")


def read_labels(file: Path, ids: Ids, advice: str = "Export the masks again.") -> NDArray[np.int16]:
    """Read the class of every pixel; a palette is for people and is not looked at.

    Args:
        file: A PNG with a palette or in grey.
        ids: What each id means.
        advice: What to do with one that is of another kind.

    Returns:
        `(row, column)`, places in the classes; -1 is ignored.

    Raises:
        ImageError: it cannot be read, is in colour, or has an id that means nothing here.

    Example:
        >>> read_labels(Path("nowhere.png"), (0, 1))
        Traceback (most recent call last):
        denseclip_viz.errors.ImageError: nowhere.png cannot be read (FileNotFoundError). Expected ...
    """
    raw, table = _pixels(file, advice), np.full(max(len(ids), 256) + 1, _NO_CLASS, dtype=np.int16)
    table[255] = IGNORED
    table[: len(ids)] = [_NO_CLASS if place is None else max(place, IGNORED) for place in ids]
    labels = table[np.minimum(raw, len(table) - 1)]  # the last is of none that fits
    if (labels == _NO_CLASS).any():
        wrong = np.unique(raw[labels == _NO_CLASS])
        listed = f"{', '.join(map(str, wrong[:6]))}{', …' if len(wrong) > 6 else ''}"
        got = f"{file} has the id{'s' * (len(wrong) > 1)} {listed}, which {'are' if len(wrong) > 1 else 'is'} no class"
        known = [raw for raw, place in enumerate(ids) if place is not None]
        expected = f"ids from {known[0]} to {known[-1]}" if known else "ids of classes"
        raise ImageError(got, expected=expected, fix=advice)
    return labels


def _pixels(file: Path, advice: str) -> NDArray[np.intp]:
    from PIL import Image

    from denseclip_viz.images.decoding import BROKEN

    try:
        with Image.open(file) as opened:
            if bits := _few_bits(opened):
                got, advice = f"{file} is an image in grey of {bits} bits", "Save it in 8 bits, or with a palette."
            elif opened.mode in _PIXELS:
                return np.asarray(opened).astype(np.intp)
            else:
                got = f"{file} is an image in mode {opened.mode}"
    except (*BROKEN, Image.DecompressionBombError) as error:
        got = f"{file} cannot be read ({type(error).__name__})"
    raise ImageError(got, expected="a PNG of class indices, with a palette or grey of 8 or 16 bits", fix=advice)


def _few_bits(opened: Image.Image) -> str:
    """Say of how many bits grey is that Pillow would spread over 0..255: ids, or shades, and nobody knows which."""
    tile = getattr(opened, "tile", None)
    kind = tile[0][3] if tile else ""
    grey = re.fullmatch(r"L;([24])\w*", str(kind[0] if isinstance(kind, tuple) else kind))
    return grey[1] if grey else ""
