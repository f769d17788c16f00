"""TIFF means its numbers in many ways: each is read as what it means, or refused by name; nothing is guessed."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiffs import (
    ASSOCIATED,
    CMYK,
    GRAY,
    GRAY_INVERTED,
    LAB,
    PALETTE,
    RGB,
    UNASSOCIATED,
    YCBCR,
    cielab,
    gray,
    inks,
    luma_chroma,
    over_white,
    tiff,
)

from denseclip_viz.errors import ImageError
from denseclip_viz.images import from_bytes, read
from denseclip_viz.images.tiff_tags import REFUSED

FULL = [(530, 3, [1, 1])]


def whole(rng, size, samples, bits=8):
    """Numbers of so many bits, both ends among them."""
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    values = rng.integers(0, 2**bits, (*size, samples), dtype=np.uint64).astype(kind)
    values.flat[0], values.flat[-1] = 2**bits - 1, 0
    return values


def gray_page(bits, kind=GRAY, **options):
    def make(rng, size, **more):
        values = whole(rng, size, 1, bits)
        return tiff(values, kind, bits=bits, **options, **more), gray(values, bits, inverted=kind == GRAY_INVERTED)

    return make


def colour_page(bits, extra=None, planar=1):
    def make(rng, size, **more):
        most = 2**bits - 1
        values = whole(rng, size, 3 if extra is None else 4, bits)
        alpha = values[..., 3:] / most
        if extra == ASSOCIATED:
            values[..., :3] = values[..., :3] * alpha
        tags = [] if extra is None else [(338, 3, [extra])]
        colours = values[..., :3] / most * 255
        wanted = over_white(colours, alpha, associated=extra == ASSOCIATED) if extra else colours
        return tiff(values, RGB, bits=bits, planar=planar, tags=tags, **more), wanted

    return make


def gray_alpha_page(rng, size, **more):
    values = whole(rng, size, 2)
    alpha = values[..., 1:] / 255
    return tiff(values, tags=[(338, 3, [UNASSOCIATED])], **more), over_white(gray(values, 8), alpha, associated=False)


def premultiplied_gray_page(rng, size, **more):
    values = whole(rng, size, 2)
    alpha = values[..., 1:] / 255
    values[..., :1] = values[..., :1] * alpha
    return tiff(values, tags=[(338, 3, [ASSOCIATED])], **more), over_white(gray(values, 8), alpha, associated=True)


def palette_page(bits):
    def make(rng, size, **more):
        values, colours = whole(rng, size, 1, bits), rng.integers(300, 65536, (3, 2**bits))
        page = tiff(values, PALETTE, bits=bits, tags=[(320, 3, colours)], **more)
        return page, np.moveaxis(colours[:, values[..., 0]], 0, -1) / 257

    return make


def ink_page(rng, size, **more):
    values = whole(rng, size, 4)
    return tiff(values, CMYK, **more), inks(values)


def jpeg_colour_page(rng, size, **more):
    values = whole(rng, size, 3)
    return tiff(values, YCBCR, tags=FULL, **more), luma_chroma(values)


def lab_page(rng, size, **more):
    values = whole(rng, size, 3)
    values[..., 1:] = values[..., 1:] // 16 - 8  # colours that a screen can show
    return tiff(values, LAB, **more), cielab(values)


def float_page(rng, size, deflate=False, big=False):
    values = rng.random((*size, 1)).astype(np.float32)
    return tiff(values, bits=32, tags=[(339, 3, [3])], deflate=deflate, big=big and not deflate), 255 * np.repeat(
        values, 3, axis=2
    )


READ = {
    **{f"gray of {bits} bits": gray_page(bits) for bits in (1, 2, 4, 8, 16)},
    **{f"gray of {bits} bits, zero is white": gray_page(bits, GRAY_INVERTED) for bits in (1, 2, 4, 8)},
    "gray of 12 bits": gray_page(12, big=False),
    "gray of 16 bits, zero is white": gray_page(16, GRAY_INVERTED, big=False),
    "gray of floats": float_page,
    **{f"RGB of {bits} bits": colour_page(bits) for bits in (8, 16)},
    "RGB in planes": colour_page(8, planar=2),
    **{f"RGB and a channel of no meaning, {bits} bits": colour_page(bits, extra=0) for bits in (8, 16)},
    **{f"RGB times alpha, {bits} bits": colour_page(bits, ASSOCIATED) for bits in (8, 16)},
    **{f"RGB and alpha, {bits} bits": colour_page(bits, UNASSOCIATED) for bits in (8, 16)},
    "gray and alpha": gray_alpha_page,
    "gray times alpha": premultiplied_gray_page,
    **{f"palette of {bits} bits": palette_page(bits) for bits in (1, 2, 4, 8)},
    "CMYK": ink_page,
    "YCbCr": jpeg_colour_page,
    "Lab": lab_page,
}


@pytest.mark.parametrize("name", READ)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_a_page_is_read_as_what_it_means(name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    more = {"deflate": data.draw(st.booleans())}
    if name not in ("gray of 12 bits", "gray of 16 bits, zero is white"):
        more["big"] = data.draw(st.booleans())
    content, wanted = READ[name](rng, size, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # transparent in places: said, and drawn over white here too
        values = np.asarray(read(from_bytes(content, name="cat.tif")))
    # one step of rounding; of 16 bits Pillow keeps the upper eight; Lab goes through a colour engine
    assert np.abs(values - wanted).max() <= (10 if name == "Lab" else 3)


def values_of(samples, bits=8):
    return whole(np.random.default_rng(1), (5, 7), samples, bits)


SUSPECT = {
    "a preview": tiff(values_of(3), RGB, tags=[(254, 4, [1])]),
    "a mask": tiff(values_of(1, 1), bits=1, tags=[(254, 4, [4])]),
    "no photometric": tiff(values_of(1), drop=[262]),
    "signed bytes": tiff(values_of(1), tags=[(339, 3, [2])]),
    "signed, of 16 bits": tiff(values_of(1, 15), bits=16, tags=[(339, 3, [2])]),
    "32 bits": tiff(values_of(1, 16).astype(np.uint32), bits=32),
    "signed, of 32 bits": tiff(values_of(1, 16).astype(np.uint32), bits=32, tags=[(339, 3, [2])]),
    "floats, zero is white": tiff(values_of(1) / np.float32(255), GRAY_INVERTED, bits=32, tags=[(339, 3, [3])]),
    "turned floats": tiff(values_of(1) / np.float32(255), bits=32, big=True, deflate=True, tags=[(339, 3, [3])]),
    "floats of 0..255": tiff(values_of(1) / np.float32(255), bits=32, tags=[(339, 3, [3]), (341, 11, [255])]),
    "12 bits in 16": tiff(values_of(1, 12), bits=16, tags=[(281, 3, [4095])]),
    "10 bits in 16, of a type": tiff(values_of(3, 10), RGB, bits=16, tags=[(341, 3, [1023] * 3)]),
    "16 bits in planes": tiff(values_of(3, 16), RGB, bits=16, planar=2),
    "mirrored bits in planes": tiff(values_of(3), RGB, planar=2, fill=2),
    "Lab in planes": tiff(values_of(3), LAB, planar=2),
    "gray and alpha in planes": tiff(values_of(2), planar=2, deflate=True, tags=[(338, 3, [2])]),
    "inks of 16 bits in planes": tiff(values_of(4, 16), CMYK, bits=16, planar=2),
    "a nameless channel": tiff(values_of(4), RGB),
    "a palette of bytes": tiff(values_of(1, 4), PALETTE, bits=4, tags=[(320, 3, range(48))]),
    "other inks": tiff(values_of(4), CMYK, tags=[(332, 3, [2])]),
    "dots of 20 to 235": tiff(values_of(4), CMYK, tags=[(336, 3, [20, 235])]),
    "the matrix of television": tiff(
        values_of(3), YCBCR, tags=[*FULL, (529, 5, [2126, 10000, 7152, 10000, 722, 10000])]
    ),
    "the range of television": tiff(
        values_of(3), YCBCR, tags=[*FULL, (532, 5, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])]
    ),
    "half the colours": tiff(values_of(3), YCBCR, tags=[(530, 3, [2, 1])]),
}


@pytest.mark.parametrize("name", SUSPECT)
def test_a_page_that_may_mean_something_else_is_refused_and_says_why(tmp_path, name):
    (tmp_path / "cat.tif").write_bytes(SUSPECT[name])
    with pytest.raises(ImageError) as caught:
        read(tmp_path / "cat.tif")
    assert any(f"cat.tif {what}. Expected" in str(caught.value) for what in REFUSED), str(caught.value)
    with Image.open(tmp_path / "cat.tif") as opened, pytest.raises(ImageError, match="image 5 x 7"):
        read(opened)


def test_every_reason_to_refuse_a_page_has_its_example(tmp_path):
    reasons = set()
    for content in SUSPECT.values():
        (tmp_path / "cat.tif").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "cat.tif")
        reasons |= {what for what in REFUSED if what in str(caught.value)}
    assert reasons == set(REFUSED)


@pytest.mark.parametrize("largest", [[(281, 3, [60_000])], [(341, 3, [65_535])]])
def test_a_page_whose_range_is_its_bits_is_read(tmp_path, largest):
    values = values_of(1, 16)
    (tmp_path / "cat.tif").write_bytes(tiff(values, bits=16, tags=largest))
    np.testing.assert_allclose(np.asarray(read(tmp_path / "cat.tif")), gray(values, 16), atol=0.51)
