"""Images of every kind by chance: modes, formats, sizes and depths, bytes broken or cut, arrays of any type."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

MODES = (
    "1",
    "L",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "LA",
    "La",
    "RGBa",
    "RGBX",
    "I",
    "I;16",
    "F",
)
KINDS = (
    "PNG",
    "JPEG",
    "GIF",
    "WEBP",
    "TIFF",
    "BMP",
    "PPM",
    "TGA",
    "ICO",
    "JPEG2000",
    "PCX",
    "SGI",
    "DDS",
    "MPO",
    "EPS",
)
TYPES = ("u1", "i1", "i2", ">u2", "i4", "u8", "f2", "f4", "f8", "?", "c8", "O", "U2", "M8[s]")


def size_of(rng):
    side = (1, 2, 3, 7, 16, 33, 64)
    return int(rng.choice(side)), int(rng.choice(side))


def picture(rng):
    """A PIL image of any mode."""
    mode, size = str(rng.choice(MODES)), size_of(rng)
    if mode in ("I", "I;16", "F"):
        most = float(rng.choice([1, 255, 4095, 65535, 1e6]))
        values = rng.random(size) * most - float(rng.choice([0, 0, 0, 3]))
        values = np.where(rng.random(size) < 0.01 * (mode == "F"), np.nan, values)
        return Image.fromarray(values.astype({"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]))
    rgba = Image.fromarray(rng.integers(0, 256, (*size, 4), dtype=np.uint8))
    rgb = rgba.convert("RGB")
    chain = {"La": ["LA", "La"], "PA": ["P", "PA"], "LAB": [], "LA": ["LA"], "RGBa": ["RGBA", "RGBa"]}.get(mode, [mode])
    image = rgba if mode in ("RGBA", "RGBa", "LA", "La") else rgb
    if mode == "LAB":
        return Image.frombytes("LAB", rgb.size, rgb.tobytes())
    for step in chain:
        image = image.convert(step)
    return image


def content(rng):
    """The bytes of a file: whole, or truncated, or with some that are others."""
    image, kind, buffer = picture(rng), str(rng.choice(KINDS)), io.BytesIO()
    options = {"transparency": int(rng.integers(0, 255))} if kind in ("PNG", "GIF") and rng.random() < 0.2 else {}
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError, TypeError, SystemError):
        Image.fromarray(rng.integers(0, 256, (*size_of(rng), 3), dtype=np.uint8)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    if rng.random() < 0.4:
        for at in rng.integers(0, len(data), int(rng.integers(1, 8))):
            data[at] = int(rng.integers(0, 256))
    return bytes(data[: int(rng.integers(0, len(data) + 1))]) if rng.random() < 0.3 else bytes(data)


def array(rng):
    """An array of any type, shape and range, some masked, some with NaN."""
    shape = tuple(int(n) for n in rng.choice([0, 1, 2, 3, 4, 5, 9], int(rng.integers(0, 5))))
    shape = shape if rng.random() < 0.4 else (*size_of(rng), int(rng.choice([1, 3, 4])))
    values = rng.random(shape) * float(rng.choice([1, 1, 1, 255, 1e9])) - float(rng.choice([0, 0, 0, 1]))
    values = np.where(rng.random(shape) < 0.001, np.nan, values)
    with np.errstate(all="ignore"):
        made = np.nan_to_num(values).astype(str(rng.choice(TYPES))) if rng.random() < 0.5 else values
    return np.ma.array(made, mask=rng.random(shape) < 0.1) if rng.random() < 0.05 else made


def hostile(seed, folder: Path):
    """One image of the given number: a file, a PIL image or an array."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["file", "file", "picture", "array"])
    if kind != "file":
        return picture(rng) if kind == "picture" else array(rng)
    path = folder / f"{seed}.{rng.choice(['png', 'jpg', 'tif'])}"
    path.write_bytes(content(rng))
    return path
