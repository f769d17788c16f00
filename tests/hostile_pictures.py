"""Pictures that people (and worse) hand in: tables of `name: (value, the error that is due, or None)`."""

from __future__ import annotations

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import torch
from PIL import ExifTags, Image

from denseclip_viz.errors import PictureError

NOISE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
NAN = float("nan")


def encoded(picture=PICTURE, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
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
    return encoded(PICTURE.convert(mode), kind, save_all=True, append_images=[PICTURE.rotate(90).convert(mode)])


TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6

# (ending, bytes) as a file of that name; the error that is due
FILES = {
    "an empty file": (("png", b""), PictureError),
    "a text file": (("jpg", b"not a picture"), PictureError),
    "a page of the web": (("jpg", b"<!DOCTYPE html><html><body>404</body></html>"), PictureError),
    "an SVG": (("svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'), PictureError),
    "a PDF": (("pdf", b"%PDF-1.7\n%%EOF"), PictureError),
    "40 000 x 40 000": (("png", huge_png()), PictureError),
    "a PNG of no pixels": (("png", huge_png(0)), PictureError),
    "only the signature": (("png", b"\x89PNG\r\n\x1a\n"), PictureError),
    "half a PNG": (("png", encoded()[:1500]), PictureError),
    "half a JPEG": (("jpg", encoded(kind="JPEG")[:600]), PictureError),
    "half a WebP": (("webp", encoded(kind="WEBP")[:200]), PictureError),
    "half a TIFF": (("tiff", encoded(kind="TIFF")[:900]), PictureError),
    "half a GIF": (("gif", encoded(PICTURE.convert("P"), "GIF")[:700]), PictureError),
    "a BMP that lies about its size": (("bmp", encoded(kind="BMP")[:300]), PictureError),
    "an animated GIF": (("gif", pages("GIF", "P")), PictureError),
    "an animated WebP": (("webp", pages("WEBP")), PictureError),
    "an animated PNG": (("png", pages("PNG")), PictureError),
    "a TIFF of two pages": (("tiff", pages("TIFF")), PictureError),
    "a JPEG named .png": (("png", encoded(kind="JPEG")), None),
    "bytes behind the end": (("png", encoded() + b"junk" * 9), None),
    "CMYK": (("jpg", encoded(PICTURE.convert("CMYK"), "JPEG")), None),
    "palette": (("png", encoded(PICTURE.convert("P"))), None),
    "palette with a hole": (("png", encoded(PICTURE.convert("P"), transparency=3)), None),
    "transparent": (("png", encoded(Image.new("RGBA", (9, 7), (9, 9, 9, 99)))), None),
    "16 bits": (("png", encoded(Image.fromarray((NOISE[..., 0].astype(np.uint16) << 8) + 9))), None),
    "one bit": (("png", encoded(PICTURE.convert("1"))), None),
    "gray": (("jpg", encoded(PICTURE.convert("L"), "JPEG")), None),
    "one pixel": (("png", encoded(Image.new("RGB", (1, 1)))), None),
    "1 x 3000": (("png", encoded(Image.new("RGB", (3000, 1), "red"))), None),
    "3000 x 1": (("png", encoded(Image.new("RGB", (1, 3000), "red"))), None),
    "turned by its EXIF": (("jpg", encoded(kind="JPEG", exif=TURNED)), None),
    "no EXIF but junk": (("jpg", encoded(kind="JPEG", exif=b"Exif\0\0junk")), None),
}  # fmt: skip

PICTURES = {
    "nothing": (None, PictureError),
    "a number": (5, PictureError),
    "bytes": (encoded(), PictureError),
    "an open file": (io.BytesIO(encoded()), PictureError),
    "a list of numbers": (NOISE.tolist(), PictureError),
    "a tensor": (torch.zeros(3, 8, 8), PictureError),
    "an empty name": ("", PictureError),
    "a name with a null": ("a\0b.png", PictureError),
    "half of a surrogate": ("\udcff.png", PictureError),
    "a name too long": ("n" * 5000 + ".png", PictureError),
    "a file that is missing": ("missing.png", PictureError),
    "a URL": ("https://example.org/cat.jpg", PictureError),
    "data in a URL": ("data:image/png;base64,AAAA", PictureError),
    "a folder": (".", PictureError),
    "a device": ("/dev/null", PictureError),
    "channels first": (np.zeros((3, 8, 9), np.uint8), PictureError),
    "a batch": (np.zeros((2, 8, 8, 3), np.uint8), PictureError),
    "two channels": (np.zeros((8, 8, 2), np.uint8), PictureError),
    "a row": (np.zeros(8, np.uint8), PictureError),
    "a scalar": (np.array(3), PictureError),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), PictureError),
    "40 000 x 40 000 in memory": (np.broadcast_to(np.uint8(0), (40_000, 40_000, 3)), PictureError),
    "floats of 0..255": (NOISE.astype(float), PictureError),
    "below zero": (-NOISE.astype(float) / 255, PictureError),
    "NaN": (np.full((8, 8, 3), NAN), PictureError),
    "infinity": (np.full((8, 8), np.inf), PictureError),
    "16-bit array": (NOISE.astype(np.uint16) * 257, PictureError),
    "below zero in whole numbers": (NOISE.astype(np.int16) - 9, PictureError),
    "booleans": (NOISE > 99, PictureError),
    "complex": (NOISE.astype(complex), PictureError),
    "texts": (np.array([["a", "b"]]), PictureError),
    "objects": (NOISE.astype(object), PictureError),
    "dates": (NOISE[..., 0].astype("datetime64[s]"), PictureError),
    "a class with nothing in its picture": (SimpleNamespace(picture=None), PictureError),
    "a class with a loop": (SimpleNamespace(picture=SimpleNamespace(picture=PICTURE)), PictureError),
    "a class with a picture": (SimpleNamespace(picture=PICTURE), None),
    "a PIL image": (PICTURE, None),
    "a strange mode": (PICTURE.convert("HSV"), None),
    "lab": (PICTURE.convert("LAB"), None),
    "32 bits": (Image.new("I", (9, 7), 70_000), PictureError),
    "floats of PIL": (Image.new("F", (9, 7), 0.5), None),
    "float NaN of PIL": (Image.new("F", (9, 7), NAN), PictureError),
    "floats 0..1": (NOISE / 255, None),
    "half floats": ((NOISE / 255).astype(np.float16), None),
    "gray array": (NOISE[..., 0], None),
    "upside down": (NOISE[::-1, ::-1], None),
    "big endian": (NOISE.astype(">i4"), None),
    "one pixel in memory": (np.zeros((1, 1, 3), np.uint8), None),
    "black": (np.zeros((50, 40, 3), np.uint8), None),
    "white": (np.ones((50, 40)), None),
}
