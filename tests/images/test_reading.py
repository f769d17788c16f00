"""Images of every kind: a right RGB image, or an error that names what came in."""

import io
import os
import time
import warnings
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.images import describe, display, from_bytes, read

fuzz = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))


def scene(height=6, width=9):
    """Every pixel its own colour."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 40, columns * 25, (rows + columns) * 10], axis=-1).astype(np.uint8)


def saved(path, image=None, **options):
    """An image file, by default of the scene."""
    if Image.registered_extensions().get(path.suffix) not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {path.suffix}")
    image = scene() if image is None else image
    pixels = image if isinstance(image, Image.Image) else Image.fromarray(image)
    pixels.save(path, **options)
    return path


def refused(image, *words):
    """The message of the error; it must hold the words, an expectation and a fix."""
    with pytest.raises(ImageError) as caught:
        read(image)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "Expected" in message and message.endswith(".") and "\n" not in message
    return message


# Right results


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "ppm", "tga", "gif", "webp", "jpg", "jp2", "avif"])
def test_common_formats_are_read(tmp_path, ending):
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}, "avif": {"quality": 100}}
    path = saved(tmp_path / f"cat.{ending}", np.full((6, 9, 3), 120, np.uint8), **lossless.get(ending, {}))
    for source in (path, str(path), SimpleNamespace(image=path), SimpleNamespace(image=str(path))):
        upright = read(source)
        assert (upright.mode, upright.size) == ("RGB", (9, 6))
        assert np.abs(np.asarray(upright).astype(int) - 120).max() <= 2


@pytest.mark.parametrize("convert", [
    lambda a: a,
    lambda a: a / 255,
    lambda a: (a / 255).astype(np.float32),
    lambda a: a.astype(np.int64),
    lambda a: a.astype(">i4"),
    lambda a: np.asfortranarray(a),
    lambda a: np.concatenate([a, np.full_like(a[..., :1], 255)], axis=-1),
    Image.fromarray,
    lambda a: SimpleNamespace(image=a),
    lambda a: SimpleNamespace(image=Image.fromarray(a)),
])  # fmt: skip
def test_arrays_images_and_scenes_give_the_same_pixels(convert):
    np.testing.assert_array_equal(np.asarray(read(convert(scene()))), scene())


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_gray_arrays_become_rgb(shape, dtype):
    gray = scene()[..., 0].reshape(shape)
    image = read(gray if dtype == np.uint8 else gray / 255)
    np.testing.assert_array_equal(np.asarray(image), np.repeat(gray.reshape(6, 9, 1), 3, axis=2))


@pytest.mark.parametrize("source", [np.zeros((1, 1), np.uint8), np.ones((1, 1, 3)), Image.new("CMYK", (1, 1))])
def test_a_image_of_one_pixel_is_read(source):
    assert read(source).size == (1, 1)


RED = Image.new("RGB", (3, 2), "red")
LAB_RED = Image.merge("LAB", [Image.new("L", (3, 2), v) for v in (136, 208, 195)])  # L* 53, a* 80, b* 67


@pytest.mark.parametrize(("image", "colour"), [
    *((RED.convert(mode), (255, 0, 0)) for mode in ("P", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX")),
    (RED.convert("P").convert("PA"), (255, 0, 0)), (LAB_RED, (255, 0, 0)),
    (RED.convert("L"), (76, 76, 76)), (RED.convert("LA"), (76, 76, 76)),
    (Image.new("1", (3, 2), 1), (255, 255, 255)),
], ids=lambda v: getattr(v, "mode", ""))  # fmt: skip
def test_every_mode_gives_its_colours(image, colour):
    difference = np.abs(np.asarray(read(image)).astype(int) - colour)
    assert difference.max() <= (12 if image.mode == "LAB" else 1)


def test_a_cmyk_jpeg_is_not_inverted(tmp_path):
    path = saved(tmp_path / "print.jpg", Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), quality=95)
    assert np.abs(np.asarray(read(path)).astype(int) - (200, 30, 30)).max() <= 6


SIXTEEN = np.array([[0, 127, 128, 257], [32768, 65279, 65407, 65535]], dtype=np.uint16)
EIGHT = np.array([[0, 0, 0, 1], [128, 254, 255, 255]])


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bit_gray_is_scaled_and_not_clipped(tmp_path, ending):
    path = saved(tmp_path / f"x-ray.{ending}", Image.fromarray(SIXTEEN))
    assert np.abs(np.asarray(read(path))[..., 0] - EIGHT).max() <= 1
    np.testing.assert_array_equal(np.asarray(read(path))[..., 0], np.rint(SIXTEEN / 257))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_images_in_memory_are_scaled(mode):
    if mode == "I":
        image = Image.fromarray(SIXTEEN.astype(np.int32))
    else:
        image = Image.frombytes(mode, (4, 2), SIXTEEN.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(read(image))[..., 2], np.rint(SIXTEEN / 257))


def test_thirty_two_bit_gray_that_may_be_eight_bits_is_not_guessed():
    refused(Image.fromarray(np.full((2, 3), 200, np.int32)), "image 2 x 3", "from 200 to 200")
    refused(Image.fromarray(np.full((2, 3), 70_000, np.int32)), "from 70000 to 70000")
    refused(Image.fromarray(np.full((2, 3), -1, np.int32)), "from -1 to -1")
    assert np.asarray(read(Image.new("I", (3, 2)))).max() == 0


def test_float_images_are_read_inside_0_to_1_only():
    image = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert np.asarray(read(image))[0, :, 0].tolist() == [0, 128, 255]
    refused(Image.fromarray(np.array([[0.0, 200.0]], np.float32)), "image 1 x 2", "0.0 to 200.0", "Divide by 255.")
    refused(Image.fromarray(np.array([[0.0, np.nan]], np.float32)), "NaN")


def half_clear(mode):
    rgba = np.dstack([scene(), np.where(np.arange(9) < 4, 255, 0) * np.ones((6, 1))]).astype(np.uint8)
    return Image.fromarray(rgba).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
def test_transparency_is_drawn_over_white_and_said_once(mode):
    image = half_clear("LA").convert("La") if mode == "La" else half_clear(mode)
    with pytest.warns(UserWarning, match="image 6 x 9 is transparent in places: drawn over white") as said:
        values = np.asarray(read(image))
    assert len(said) == 1 and said[0].filename == __file__
    assert (values[:, 4:] == 255).all() and (values[1:, :4] < 255).any()


def test_half_transparent_is_half_white():
    with pytest.warns(UserWarning, match="array 1 x 1"):
        assert read(np.array([[[0, 0, 0, 127]]], np.uint8)).getpixel((0, 0)) == (128, 128, 128)


def test_transparent_palettes_and_colour_keys_are_drawn_over_white(tmp_path):
    palette = Image.fromarray(scene()).quantize(8)
    clear = palette.getpixel((0, 0))
    sources = {
        "index.png": (palette, {"transparency": clear}),
        "alphas.png": (palette, {"transparency": bytes([0] * 8)}),
        "key.gif": (palette, {"transparency": clear}),
        "key.png": (Image.fromarray(scene()), {"transparency": (0, 0, 0)}),
        "gray-key.png": (Image.fromarray(scene()[..., 0]), {"transparency": 0}),
        "sixteen-key.png": (Image.fromarray(scene()[..., 0].astype(np.uint16) * 257), {"transparency": 0}),
    }
    for name, (image, options) in sources.items():
        path = saved(tmp_path / name, image, **options)
        with pytest.warns(UserWarning, match=f"{name} is transparent"):
            assert read(path).getpixel((0, 0)) == (255, 255, 255)


def test_opaque_alpha_is_silent(tmp_path):
    opaque = Image.fromarray(scene()).convert("RGBA")
    np.testing.assert_array_equal(np.asarray(read(opaque)), scene())
    np.testing.assert_array_equal(np.asarray(read(saved(tmp_path / "opaque.png", opaque))), scene())
    unused = Image.fromarray(scene()).quantize(8)
    assert read(saved(tmp_path / "unused.png", unused, transparency=200)).mode == "RGB"


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("ending", ["png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_exif_orientations_are_turned_upright(tmp_path, orientation, ending):
    """The camera stored the scene turned; orientation 6 says that it must turn right to be upright."""
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](scene())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"phone.{ending}", stored, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(np.asarray(read(path)), scene())
    with Image.open(path) as opened:
        upright = read(opened)
    np.testing.assert_array_equal(np.asarray(upright), scene())
    np.testing.assert_array_equal(np.asarray(read(upright)), scene())  # not turned twice
    uploaded = from_bytes(path.read_bytes(), name="phone")
    np.testing.assert_array_equal(np.asarray(read(uploaded)), scene())
    assert "exif" not in uploaded.info


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_change_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(read(saved(tmp_path / "a.png", exif=exif))), scene())


def test_of_a_phones_multi_image_jpeg_the_first_is_read(tmp_path):
    first, second = (Image.new("RGB", (32, 16), c) for c in ("red", "blue"))
    path = saved(tmp_path / "phone.mpo", first, save_all=True, append_images=[second])
    with Image.open(path) as opened:
        assert opened.n_frames == 2
    red, _, blue = read(path).getpixel((5, 5))
    assert red > 240 and blue < 15


def test_what_came_in_is_left_as_it_was():
    values, image = scene(), Image.fromarray(scene())
    for source in (values, image):
        read(source).putpixel((0, 0), (9, 9, 9))
    np.testing.assert_array_equal(values, scene())
    np.testing.assert_array_equal(np.asarray(image), scene())


# Bad input


def test_a_missing_file_is_refused_by_name(tmp_path):
    refused(tmp_path / "no-cat.jpg", "no-cat.jpg does not exist")
    refused(saved(tmp_path / "cat.png") / "inside.png", "inside.png")


def test_folders_empty_files_and_pipes_are_refused(tmp_path):
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.jpg").touch()
    refused(tmp_path / "empty.jpg", "empty.jpg is empty (0 bytes)")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "pipe is a pipe or a device")


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"\0" * 500])
def test_files_that_are_no_images_are_refused(tmp_path, content):
    (tmp_path / "notes.jpg").write_bytes(content)
    refused(tmp_path / "notes.jpg", "notes.jpg")


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "bmp", "tiff", "ppm", "jp2", "avif"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_refused_by_name(tmp_path, ending, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = saved(tmp_path / f"whole.{ending}", noise).read_bytes()
    (tmp_path / f"cut.{ending}").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / f"cut.{ending}", f"cut.{ending}")
    with open(tmp_path / f"cut.{ending}", "rb") as file:  # lazily opened by the user, broken only when loaded
        try:
            image = Image.open(file)
        except OSError:
            return
        refused(image, "image 64 x 64 is truncated or broken")


def png_header(height, width):
    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    row = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    start = time.perf_counter()
    refused(path, "bomb.png has too many pixels", "89.5 million", "Shrink it first")
    assert time.perf_counter() - start < 0.2


def test_huge_images_in_memory_are_refused_too(tmp_path, monkeypatch):
    refused(np.broadcast_to(np.uint8(0), (40_000, 40_000, 3)), "array 40000 x 40000", "too many pixels")
    path = saved(tmp_path / "big.png", np.zeros((20, 20), np.uint8))
    opened = Image.open(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    refused(opened, "(20 x 20) has too many pixels")
    refused(path, "big.png has too many pixels")
    opened.close()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read(path).size == (20, 20)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_animated_images_are_refused_and_a_frame_is_read(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "green", "blue")]
    path = saved(tmp_path / f"dance.{ending}", frames[0], save_all=True, append_images=frames[1:])
    refused(path, f"dance.{ending} has 3 frames", "image.seek(0)", "image.copy()")
    with Image.open(path) as image:
        refused(image, "3 frames")
        image.seek(2)
        red, green, blue = read(image.copy()).getpixel((4, 4))
        assert max(red, green) <= 3 and blue >= 252


@pytest.mark.parametrize(("array", "words"), [
    (np.full((4, 5, 3), 1.5), "array 4 x 5 holds float64 from 1.5 to 1.5"),
    (np.full((4, 5, 3), 200.0), "Divide by 255."),
    (np.full((4, 5, 3), -0.1), "Scale it to floats 0..1 first."),
    (np.full((4, 5, 3), np.nan), "NaN or infinity"),
    (np.full((4, 5, 3), np.inf), "NaN or infinity"),
    (np.full((4, 5, 3), 256), "int64 from 256 to 256"),
    (np.full((4, 5, 3), -1), "int64 from -1 to -1"),
    (np.full((4, 5, 3), 60_000, np.uint16), "uint16"),
    (np.zeros((4, 5), bool), "times 255 for a mask"),
    (np.zeros((4, 5), complex), "complex128"),
    (np.zeros((4, 5), object), "object"),
    (np.full((4, 5), "a"), "<U1"),
    (np.zeros((3, 4, 5)), "array.transpose(1, 2, 0)"),
    (np.zeros((4, 4, 5)), "array.transpose(1, 2, 0)"),
    (np.zeros((1, 40, 50)), "array.transpose(1, 2, 0)"),
    (np.zeros((2, 4, 5, 3)), "array[0]"),
    (np.zeros((4, 5, 2)), "axes (4, 5, 2)"),
    (np.zeros(()), "axes ()"),
    (np.zeros(7), "axes (7,)"),
    (np.zeros((0, 5, 3)), "array 0 x 5 has no pixels"),
    (np.zeros((5, 0)), "array 5 x 0 has no pixels"),
])  # fmt: skip
def test_arrays_that_are_no_images_are_refused(array, words):
    refused(array, words)


@pytest.mark.parametrize(("thing", "words"), [
    (None, "None"), (3, "type int"), (b"bytes", "type bytes"), (io.BytesIO(b""), "type BytesIO"),
    ([1], "type list"), (object(), "type object"), ("", "path is ''"), ("cat\0.jpg", "'cat\\x00.jpg'"),
    ("x" * 5000, "xxx...xxx"),
    ("https://example.org/cat.jpg", "is a URL"), ("data:image/png;base64,iVBORw0", "is a URL"),
    ("s3://bucket/cat.jpg", "Download it first"), (SimpleNamespace(image=None), "None"),
    (SimpleNamespace(image=SimpleNamespace(image=np.zeros((2, 2)))), "type SimpleNamespace"),
    (Image.new("RGB", (0, 5)), "image 5 x 0 has no pixels"), ("two\nlines.jpg", "two\\nlines.jpg"),
])  # fmt: skip
def test_other_things_are_refused_and_named(thing, words):
    refused(thing, words)


def test_a_closed_image_is_refused(tmp_path):
    image = Image.open(saved(tmp_path / "cat.png"))
    image.close()
    refused(image, "image 6 x 9")


def right_or_refused(source):
    """The promise: an RGB image or our error. Pillow's own remarks on odd metadata may pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            image = read(source)
        except ImageError as error:
            assert "Expected" in str(error)
            return
    assert image.mode == "RGB" and min(image.size) >= 1 and image.info.keys() <= {"comment"}


FORMATS = "png jpg gif webp bmp tiff ppm tga ico jp2 avif pcx sgi dds mpo".split()


@pytest.mark.parametrize("ending", FORMATS)
@fuzz
@given(st.data())
def test_broken_bytes_are_refused_or_read(tmp_path_factory, ending, data):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    options = {"exif": exif} if ending in ("png", "jpg", "webp", "tiff", "avif") else {}
    path = tmp_path_factory.getbasetemp() / f"broken.{ending}"
    content = bytearray(saved(path, scene(16, 16), **options).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, min(60, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(None) | st.integers(1, len(content)))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # keeps the test quick; the rule is the same
        right_or_refused(path)


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    right_or_refused(path)


dtypes = st.sampled_from(["u1", "i2", ">u2", "i8", "f2", "f4", "f8", "?", "c8", "O", "U2"])


@fuzz
@given(st.lists(st.integers(0, 6), max_size=4), dtypes, st.sampled_from([0, 1, 0.5, 255, -1, 1e9, np.nan]))
def test_any_array_is_refused_or_read(shape, dtype, value):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        array = np.broadcast_to(np.array(value).astype(dtype), shape)
    right_or_refused(array)


# Figures and names


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200))
@settings(deadline=None, max_examples=40)
def test_display_is_a_small_copy_that_can_be_written_to(height, width, longest):
    shown = display(Image.new("RGB", (width, height), "red"), longest=longest)
    assert shown.dtype == np.uint8 and max(shown.shape[:2]) == min(longest, max(height, width))
    assert (shown == (255, 0, 0)).all()
    shown[0, 0] = 0
    if max(height, width) <= longest:
        assert shown.shape == (height, width, 3)


@pytest.mark.parametrize("longest", [0, -1, 1.5, True, "big", None])
def test_display_sizes_that_cannot_be_are_refused(longest):
    with pytest.raises(ImageError, match="longest="):
        display(Image.new("RGB", (2, 2)), longest=longest)


def test_short_names_for_titles(tmp_path):
    path = saved(tmp_path / "cat.png")
    assert describe(path) == describe(str(path)) == describe(SimpleNamespace(image=path)) == "cat.png"
    with Image.open(path) as opened:
        assert describe(opened) == "cat.png"
    assert describe(Image.new("RGB", (640, 480))) == "image 480 x 640"
    assert describe(np.zeros((480, 640, 3))) == describe(np.zeros((480, 640))) == "array 480 x 640"
    assert describe(np.zeros((3, 480, 640))) == "array 3 x 480 x 640"
    assert describe(None) == "None" and describe(3) == "an object of type int"
