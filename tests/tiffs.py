"""TIFF files written byte by byte, of kinds that no library writes, and the picture that each of them means."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

GRAY_INVERTED, GRAY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
ASSOCIATED, UNASSOCIATED = 1, 2
_CODES = {3: "H", 4: "I", 5: "II", 11: "f"}


def tiff(samples, photometric=GRAY, *, bits=8, big=False, planar=1, fill=1, deflate=False, tags=(), drop=()):
    """Write one page of samples (row, column, sample).

    `tags` are more of (number, type, values), `drop` are numbers of those to leave out.
    """
    height, width, count = samples.shape
    order = ">" if big else "<"
    planes = np.moveaxis(samples, 2, 0)[..., None] if planar == 2 else samples[None]
    strips = [_packed(plane, bits, order) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips] if fill == 2 else strips
    compression = 8 if deflate else 1
    entries = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [compression]),
        262: (3, [photometric]), 266: (3, [fill]), 273: (4, [0] * len(strips)), 277: (3, [count]), 278: (4, [height]),
        279: (4, [len(strip) for strip in strips]), 284: (3, [planar]),
    }  # fmt: skip
    entries |= {number: (kind, list(np.ravel(values))) for number, kind, values in tags}
    entries = {number: entries[number] for number in sorted(entries) if number not in drop}
    start = 8 + 2 + 12 * len(entries) + 4
    if 273 in entries:  # what a directory keeps outside of itself has one length, whatever the offsets are
        ends = itertools.accumulate(map(len, strips), initial=start + len(_directory(entries, order, start)[1]))
        entries[273] = (4, list(ends)[:-1])
    directory, outside = _directory(entries, order, start)
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", 8)
    return head + directory + outside + b"".join(strips)


def _directory(entries, order, start):
    """Encode the entries, and what does not fit into one of them, which stands from `start` on."""
    directory, outside = struct.pack(order + "H", len(entries)), b""
    for number, (kind, values) in entries.items():
        content = struct.pack(order + _CODES[kind][0] * len(values), *values)
        if len(content) > 4:
            place = struct.pack(order + "I", start + len(outside))
            content, outside = place, outside + content
        directory += struct.pack(order + "HHI", number, kind, len(values) // len(_CODES[kind])) + content.ljust(
            4, b"\0"
        )
    return directory + bytes(4), outside


def _packed(samples, bits, order):
    rows = samples.reshape(len(samples), -1)
    if bits in (8, 16, 32):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    each = (rows[..., None].astype(int) >> np.arange(bits)[::-1]) & 1
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


# What the samples mean, as RGB in 0..255, said in formulas and not by a library.


def gray(samples, bits, *, inverted=False):
    share = samples[..., :1].astype(float) / (2**bits - 1)
    return 255 * np.repeat(1 - share if inverted else share, 3, axis=2)


def over_white(colours, alpha, *, associated):
    """Draw over white: colours 0..255 that are multiplied by their alpha 0..1 already, or not yet."""
    return (colours if associated else colours * alpha) + 255 * (1 - alpha)


def inks(samples):
    cyan_magenta_yellow, black = samples[..., :3].astype(float), samples[..., 3:4].astype(float)
    return (255 - cyan_magenta_yellow) * (255 - black) / 255


def luma_chroma(samples):
    luma, blue, red = np.moveaxis(samples.astype(float), 2, 0)
    blue, red = blue - 128, red - 128
    return np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1).clip(0, 255)


def cielab(samples):
    """L* in 0..255 for 0..100, a* and b* as signed bytes, white point D50; to sRGB."""
    light = samples[..., 0].astype(float) / 2.55
    a, b = (samples[..., i].astype(np.uint8).view(np.int8).astype(float) for i in (1, 2))
    y = (light + 16) / 116
    steps = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(steps > 6 / 29, steps**3, 3 * (6 / 29) ** 2 * (steps - 4 / 29)) * (0.9642, 1.0, 0.8249)
    matrix = [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    linear = (xyz @ np.array(matrix).T).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
