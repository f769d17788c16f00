"""Ids of pixels become places in the classes, whatever the table and the kind of PNG."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from denseclip_viz.datasets.index_masks import read_labels
from denseclip_viz.errors import ImageError

IDS = st.lists(st.one_of(st.none(), st.integers(-1, 30)), min_size=1, max_size=300)
RAW = st.lists(st.one_of(st.integers(0, 40), st.sampled_from([254, 255, 256, 299, 300, 65535])), min_size=1, max_size=6)


@given(ids=IDS, raw=RAW)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pixel_is_what_the_table_says_or_the_mask_is_refused(tmp_path, ids, raw):
    file, ids = tmp_path / "mask.png", tuple(ids)
    Image.fromarray(np.array([raw], np.uint16 if max(raw) > 255 else np.uint8)).save(file)
    places = [ids[each] if each < len(ids) else -1 if each == 255 else None for each in raw]
    if None in places:
        wrong = min(each for each, place in zip(raw, places, strict=True) if place is None)
        with pytest.raises(ImageError, match=rf"mask.png has the ids? {wrong}\b"):
            read_labels(file, ids)
    else:
        assert read_labels(file, ids).tolist() == [places]


def test_a_palette_is_not_looked_at(tmp_path):
    image = Image.frombytes("P", (2, 1), bytes([1, 2]))
    image.putpalette([9, 9, 9] * 256)
    image.save(tmp_path / "mask.png")
    assert read_labels(tmp_path / "mask.png", (0, 1, 2)).tolist() == [[1, 2]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "LA"])
def test_a_mask_of_another_kind_is_refused_with_what_to_do(mode, tmp_path):
    Image.new(mode, (2, 2)).save(tmp_path / "mask.png")
    with pytest.raises(ImageError, match=f"is an image in mode {mode}. .* Take the others."):
        read_labels(tmp_path / "mask.png", (0, 1), "Take the others.")


def write_png(file, bits, colour, *more):
    """Write one row of a byte; Pillow writes no grey of 2 or 4 bits."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8 // bits, 1, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(b"\0\x1b")), (b"IEND", b"")]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    return file


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_which_pillow_spreads_is_refused_and_a_palette_of_few_is_read(bits, tmp_path):
    grey = write_png(tmp_path / "mask.png", bits, 0)
    with pytest.raises(ImageError, match=rf"in grey of {bits} bits\. .*8 or 16 bits. Save it in 8 bits, or with a pal"):
        read_labels(grey, tuple(range(256)), "Take the others.")
    palette = write_png(tmp_path / "palette.png", bits, 3, (b"PLTE", bytes(48)))
    assert read_labels(palette, tuple(range(16))).tolist() == [{2: [0, 1, 2, 3], 4: [1, 11]}[bits]]


@pytest.mark.parametrize("length", [3, 12])
def test_a_mask_whose_header_is_cut_is_refused_by_its_name(tmp_path, length):
    """Pillow says each in another way: a ValueError where the header's chunk is short."""
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "mask.png")
    content = bytearray((tmp_path / "mask.png").read_bytes())
    content[11] = length  # of the first chunk
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"mask\.png cannot be read \("):
        read_labels(tmp_path / "mask.png", (0, 1))
