"""Images that people (and worse) hand in: tables of `name: (value, the error that is due, or None)`."""

from __future__ import annotations

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import torch
from PIL import ExifTags, Image

from denseclip_viz.errors import ImageError

NOISE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
IMAGE = Image.fromarray(NOISE)
NAN = float("nan")


def encoded(image=IMAGE, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png(side=40_000):
    """The header and first row of a PNG that would be 1.6 billion pixels: 60 bytes that ask for gigabytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def pages(kind, mode="RGB"):
    return encoded(IMAGE.convert(mode), kind, save_all=True, append_images=[IMAGE.rotate(90).convert(mode)])


TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6

# (ending, bytes) as a file of that name; the error that is due
FILES = {
    "an empty file": (("png", b""), ImageError),
    "a text file": (("jpg", b"not an image"), ImageError),
    "a page of the web": (("jpg", b"<!DOCTYPE html><html><body>404</body></html>"), ImageError),
    "an SVG": (("svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'), ImageError),
    "a PDF": (("pdf", b"%PDF-1.7\n%%EOF"), ImageError),
    "40 000 x 40 000": (("png", huge_png()), ImageError),
    "a PNG of no pixels": (("png", huge_png(0)), ImageError),
    "only the signature": (("png", b"\x89PNG\r\n\x1a\n"), ImageError),
    "half a PNG": (("png", encoded()[:1500]), ImageError),
    "half a JPEG": (("jpg", encoded(kind="JPEG")[:600]), ImageError),
    "half a WebP": (("webp", encoded(kind="WEBP")[:200]), ImageError),
    "half a TIFF": (("tiff", encoded(kind="TIFF")[:900]), ImageError),
    "half a GIF": (("gif", encoded(IMAGE.convert("P"), "GIF")[:700]), ImageError),
    "a BMP that lies about its size": (("bmp", encoded(kind="BMP")[:300]), ImageError),
    "an animated GIF": (("gif", pages("GIF", "P")), ImageError),
    "an animated WebP": (("webp", pages("WEBP")), ImageError),
    "an animated PNG": (("png", pages("PNG")), ImageError),
    "a TIFF of two pages": (("tiff", pages("TIFF")), ImageError),
    "a JPEG named .png": (("png", encoded(kind="JPEG")), None),
    "bytes behind the end": (("png", encoded() + b"junk" * 9), None),
    "CMYK": (("jpg", encoded(IMAGE.convert("CMYK"), "JPEG")), None),
    "palette": (("png", encoded(IMAGE.convert("P"))), None),
    "palette with a hole": (("png", encoded(IMAGE.convert("P"), transparency=3)), None),
    "transparent": (("png", encoded(Image.new("RGBA", (9, 7), (9, 9, 9, 99)))), None),
    "16 bits": (("png", encoded(Image.fromarray((NOISE[..., 0].astype(np.uint16) << 8) + 9))), None),
    "one bit": (("png", encoded(IMAGE.convert("1"))), None),
    "gray": (("jpg", encoded(IMAGE.convert("L"), "JPEG")), None),
    "one pixel": (("png", encoded(Image.new("RGB", (1, 1)))), None),
    "1 x 3000": (("png", encoded(Image.new("RGB", (3000, 1), "red"))), None),
    "3000 x 1": (("png", encoded(Image.new("RGB", (1, 3000), "red"))), None),
    "turned by its EXIF": (("jpg", encoded(kind="JPEG", exif=TURNED)), None),
    "no EXIF but junk": (("jpg", encoded(kind="JPEG", exif=b"Exif\0\0junk")), None),
}  # fmt: skip

IMAGES = {
    "nothing": (None, ImageError),
    "a number": (5, ImageError),
    "bytes": (encoded(), ImageError),
    "an open file": (io.BytesIO(encoded()), ImageError),
    "a list of numbers": (NOISE.tolist(), ImageError),
    "a tensor": (torch.zeros(3, 8, 8), ImageError),
    "an empty name": ("", ImageError),
    "a name with a null": ("a\0b.png", ImageError),
    "half of a surrogate": ("\udcff.png", ImageError),
    "a name too long": ("n" * 5000 + ".png", ImageError),
    "a file that is missing": ("missing.png", ImageError),
    "a URL": ("https://example.org/cat.jpg", ImageError),
    "data in a URL": ("data:image/png;base64,AAAA", ImageError),
    "a folder": (".", ImageError),
    "a device": ("/dev/null", ImageError),
    "channels first": (np.zeros((3, 8, 9), np.uint8), ImageError),
    "a batch": (np.zeros((2, 8, 8, 3), np.uint8), ImageError),
    "two channels": (np.zeros((8, 8, 2), np.uint8), ImageError),
    "a row": (np.zeros(8, np.uint8), ImageError),
    "a scalar": (np.array(3), ImageError),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), ImageError),
    "40 000 x 40 000 in memory": (np.broadcast_to(np.uint8(0), (40_000, 40_000, 3)), ImageError),
    "floats of 0..255": (NOISE.astype(float), ImageError),
    "below zero": (-NOISE.astype(float) / 255, ImageError),
    "NaN": (np.full((8, 8, 3), NAN), ImageError),
    "infinity": (np.full((8, 8), np.inf), ImageError),
    "16-bit array": (NOISE.astype(np.uint16) * 257, ImageError),
    "below zero in whole numbers": (NOISE.astype(np.int16) - 9, ImageError),
    "booleans": (NOISE > 99, ImageError),
    "complex": (NOISE.astype(complex), ImageError),
    "texts": (np.array([["a", "b"]]), ImageError),
    "objects": (NOISE.astype(object), ImageError),
    "dates": (NOISE[..., 0].astype("datetime64[s]"), ImageError),
    "a class with nothing in its image": (SimpleNamespace(image=None), ImageError),
    "a class with a loop": (SimpleNamespace(image=SimpleNamespace(image=IMAGE)), ImageError),
    "a class with an image": (SimpleNamespace(image=IMAGE), None),
    "a PIL image": (IMAGE, None),
    "a strange mode": (IMAGE.convert("HSV"), None),
    "lab": (IMAGE.convert("LAB"), None),
    "32 bits": (Image.new("I", (9, 7), 70_000), ImageError),
    "floats of PIL": (Image.new("F", (9, 7), 0.5), None),
    "float NaN of PIL": (Image.new("F", (9, 7), NAN), ImageError),
    "floats 0..1": (NOISE / 255, None),
    "half floats": ((NOISE / 255).astype(np.float16), None),
    "gray array": (NOISE[..., 0], None),
    "upside down": (NOISE[::-1, ::-1], None),
    "big endian": (NOISE.astype(">i4"), None),
    "one pixel in memory": (np.zeros((1, 1, 3), np.uint8), None),
    "black": (np.zeros((50, 40, 3), np.uint8), None),
    "white": (np.ones((50, 40)), None),
}
