"""Which files are opened at all, and the transparent colours of PNG: by the bits that the file has."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.images import from_bytes, read

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n{ } loop\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A stand-in on the path that leaves a mark when it is started."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gs").write_text(f"#!/bin/sh\necho 10.0\ntouch {tmp_path}/started\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return tmp_path / "started"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_no_image_starts_a_program(tmp_path, ghostscript):
    (tmp_path / "cat.jpg").write_bytes(EPS)
    opened = Image.open(tmp_path / "cat.jpg")
    for image in (lambda: read(tmp_path / "cat.jpg"), lambda: from_bytes(EPS, name="cat.jpg"), lambda: read(opened)):
        with pytest.raises(ImageError, match="Expected a PNG, JPEG"):
            image()
    opened.close()
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["PDF", "MSP"])
def test_formats_that_nobody_uses_are_refused_by_name(tmp_path, kind):
    Image.init()
    Image.new("1", (4, 4)).save(tmp_path / "cat.png", kind)
    with pytest.raises(ImageError, match="cat.png is not an image that can be read"):
        read(tmp_path / "cat.png")


def png(samples, bits, colour, key=()):
    """A PNG of samples (row, column, sample), with a transparent colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = samples.shape
    each = (samples.reshape(height, -1, 1) >> np.arange(bits)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in each.reshape(height, -1).astype(np.uint8))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    mark = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    return b"\x89PNG\r\n\x1a\n" + head + mark + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def opaque(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(read(from_bytes(content, name="cat.png")))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_one_of_its_own_bits(bits):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (5, 7, 1))
    key = int(samples[2, 3, 0])
    wanted = np.repeat(np.where(samples == key, 255, samples * 255 / (2**bits - 1)), 3, axis=2)
    assert np.abs(opaque(png(samples, bits, 0, [key])) - wanted).max() <= 0.5


def test_the_transparent_colour_of_a_png_of_16_bits_a_channel_is_refused():
    samples = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3))
    assert np.abs(opaque(png(samples, 16, 2)) - samples / 257).max() < 1
    with pytest.raises(ImageError, match="marks a colour of 16 bits as transparent"):
        opaque(png(samples, 16, 2, samples[2, 3].tolist()))


@pytest.mark.parametrize("most", [1, 7, 100, 255, 256, 4095, 65535])
@pytest.mark.parametrize("kind", ["P5", "P6"])
def test_a_ppm_is_scaled_from_the_largest_number_that_it_names(kind, most):
    samples = np.random.default_rng(most).integers(0, most + 1, (5, 7, 1 if kind == "P5" else 3))
    samples.flat[0] = most
    content = f"{kind}\n7 5\n{most}\n".encode() + samples.astype(">u2" if most > 255 else "u1").tobytes()
    assert np.abs(opaque(content) - samples * 255 / most).max() <= 0.51


def test_a_masked_array_is_refused_for_nobody_says_what_stands_under_the_mask():
    values = np.arange(0, 400, 20).reshape(4, 5)
    with pytest.raises(ImageError, match=r"masked array.*array.filled\(0\)"):
        read(np.ma.array(values, mask=values > 255))


@pytest.mark.parametrize(("shape", "way"), [((3, 8, 9), "tensor.permute"), ((1, 3, 8, 9), r"tensor\[0\].permute")])
def test_a_tensor_is_refused_in_words_of_tensors(shape, way):
    with pytest.raises(ImageError, match=way) as caught:
        read(torch.zeros(shape))
    assert f"a tensor of shape {shape}" in str(caught.value) and "model.encode_image" in str(caught.value)
    shown = torch.rand(3, 8, 9)
    assert read(shown.permute(1, 2, 0).cpu().numpy()).size == (9, 8)


def test_pixels_that_were_normalised_are_told_where_to_go():
    with pytest.raises(ImageError, match="model.encode_image"):
        read(np.random.default_rng(0).normal(size=(8, 9, 3)))


MEASURE = """
import io, resource, sys, warnings
from PIL import Image
from denseclip_viz.images import read
warnings.simplefilter("ignore")
size = (4000, 4000)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
read(sys.argv[2])
before = peak()
read(sys.argv[1])
print((peak() - before) / (size[0] * size[1]))
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no resource module")
@pytest.mark.parametrize("mode", ["RGBA", "I;16", "P"])
def test_a_large_image_takes_at_most_ten_bytes_a_pixel(tmp_path, mode):
    for name, size in (("large.png", (4000, 4000)), ("small.png", (9, 9))):
        Image.new(mode, size).save(tmp_path / name, compress_level=1)
    call = [sys.executable, "-c", MEASURE, str(tmp_path / "large.png"), str(tmp_path / "small.png")]
    assert float(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout) < 10


def test_an_open_file_and_bytes_go_through_pillow():
    for value in (io.BytesIO(b""), b""):
        with pytest.raises(ImageError, match=r"PIL.Image.open first"):
            read(value)


@pytest.mark.filterwarnings("ignore:.*is transparent in places")
def test_a_png_that_was_loaded_says_no_more_of_how_many_bits_its_transparent_colour_is():
    samples = np.array([[[0], [1], [2], [3]]])
    known = opaque(png(samples, 2, 0, key=(2,)))
    image = Image.open(io.BytesIO(png(samples, 2, 0, key=(2,))))
    np.testing.assert_array_equal(np.asarray(read(image)), known)
    image = Image.open(io.BytesIO(png(samples, 2, 0, key=(2,))))
    image.load()
    with pytest.raises(ImageError, match="was loaded already.*Pass its path"):
        read(image)
    image = Image.open(io.BytesIO(png(samples * 60 + 9, 8, 0, key=(129,))))
    image.load()
    np.testing.assert_array_equal(np.asarray(read(image)), opaque(png(samples * 60 + 9, 8, 0, key=(129,))))


def test_a_page_of_16_bits_is_not_advised_to_be_copied(tmp_path):
    page = Image.fromarray(np.full((4, 4), 999, np.uint16))
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    with pytest.raises(ImageError, match="two.tif has 2 frames or pages.*Save the page as a file of its own"):
        read(tmp_path / "two.tif")
