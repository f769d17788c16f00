"""The model's input: bit for bit, and the coordinates that it shows."""

import math

import numpy as np
import pytest
from geometries import MEAN, PLAIN, STD, cell_means, geometries, modes, ramp, thorough
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from denseclip_viz import geometry as geo
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Native, Preprocess, Tiles, Whole


def reference(image, clip):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    names = ("size", "mean", "std", "interpolation", "resize_mode", "fill_color")
    return image_transform_v2(PreprocessCfg(**{n: getattr(clip, n) for n in names}), is_train=False)(image).numpy()


def noise(height, width, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


lengths = st.integers(20, 250)
model_sizes = st.tuples(lengths, lengths) | lengths.map(lambda n: (n, n))
interpolations = st.sampled_from(["bicubic", "bilinear", "random"])


@thorough
@given(st.integers(1, 500), st.integers(1, 500), model_sizes, modes, interpolations, st.sampled_from([0, 127, 255]))
@example(224, 224, (224, 224), "shortest", "bicubic", 0)
@example(37, 500, (224, 224), "shortest", "bicubic", 0)
@example(375, 500, (224, 224), "longest", "bicubic", 0)
@example(333, 500, (225, 225), "longest", "bicubic", 127)
@example(1, 1, (224, 224), "shortest", "bicubic", 0)
def test_native_pixels_are_open_clips_bit_for_bit(height, width, size, mode, interpolation, fill):
    clip = Preprocess(size, MEAN, STD, interpolation, mode, fill)
    geometry = Native().plan((height, width), preprocess=clip, cell=(10, 10))
    assume(math.prod(geometry.resized) < 2e6)
    image = noise(height, width)
    try:
        expected = reference(image, clip)
    except ValueError:  # open_clip cannot resize to less than one pixel
        assert mode == "longest" and min(geometry.resized) == 1
        return
    ours = geo.pixels(image, geometry, clip)
    assert ours.dtype == np.float32 and ours.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(ours, expected)


def test_native_pixels_of_a_gray_image_are_open_clips_bit_for_bit():
    gray = noise(90, 70).convert("L")
    clip = Preprocess((64, 64), MEAN, STD)
    geometry = Native().plan((90, 70), preprocess=clip, cell=(16, 16))
    np.testing.assert_array_equal(geo.pixels(gray.convert("RGB"), geometry, clip), reference(gray, clip))


@pytest.mark.parametrize("size", [(300, 200), (41, 170), (64, 64), (20, 30)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_only_the_needed_part_equals_resizing_all(size, interpolation, monkeypatch):
    clip = Preprocess((64, 64), interpolation=interpolation, **PLAIN)
    geometry = Native().plan(size, preprocess=clip, cell=(16, 16))
    plain = geo.pixels(noise(*size), geometry, clip)
    monkeypatch.setattr("denseclip_viz.geometry.fit._MAX_RESIZED", 0)
    assert np.abs(geo.pixels(noise(*size), geometry, clip) - plain).max() <= 1.001 / 255


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_a_strip_of_one_pixel_is_fed_in_bounded_memory(size):
    import tracemalloc

    clip = Preprocess((224, 224), **PLAIN)
    geometry = Native().plan(size, preprocess=clip, cell=(32, 32))
    assert max(geometry.resized) == 1_120_000
    strip = np.linspace(0, 1, 5000).repeat(3).reshape(*size, 3)
    image = Image.fromarray((strip * 255).astype(np.uint8))
    tracemalloc.start()
    values = geo.pixels(image, geometry, clip)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    np.testing.assert_allclose(values, 0.5, atol=2 / 255)  # only the very middle is seen


def read_coordinates(geometry, clip):
    """The coordinates that the model's own pixels show at each cell, and those that the geometry claims.

    Only cells away from the border, where a resize keeps a ramp straight; with the tolerance of 8-bit values.
    """
    image, slopes = ramp(*geometry.image)
    means = cell_means(geo.pixels(image, geometry, clip)[:2].astype(float) * 255, geometry)
    inside = []
    for axis, n in enumerate(geometry.image):
        margin = 2 * max(1, n / geometry.resized[axis])
        edges = geometry.edges(axis)
        inside.append((edges[:-1] >= margin) & (edges[1:] <= n - margin))
    for axis, claimed in enumerate((geometry.y, geometry.x)):
        shown = np.moveaxis(means[axis][np.ix_(*inside)] / slopes[axis], axis, 0)
        yield shown, claimed[inside[axis]][:, None], 0.5 / slopes[axis]


@thorough
@given(geometries())
def test_a_ramp_read_at_the_cells_gives_the_cells_coordinates(planned):
    """The heart of the matter: coordinates go through the real resize, crop and padding."""
    geometry, clip = planned
    assume(max(geometry.image) <= 256 and not geometry.stretch)
    for shown, claimed, tolerance in read_coordinates(geometry, clip):
        assert np.abs(shown - claimed).max(initial=0) <= tolerance + 0.01


@pytest.mark.parametrize(
    ("fit", "size", "cell", "mode"),
    [
        (Native(), (64, 64), (32, 32), "shortest"),
        (Native(), (50, 64), (16, 16), "shortest"),
        (Native(), (64, 30), (14, 14), "shortest"),
        (Native(), (64, 30), (14, 14), "longest"),
        (Native(), (50, 64), (16, 16), "squash"),
        (Whole(short=512), (50, 64), (16, 16), "shortest"),
        (Whole(long=50), (64, 55), (5, 5), "shortest"),
        (Tiles(), (64, 60), (32, 32), "shortest"),
        (Tiles(short=350), (64, 60), (16, 16), "shortest"),
        (Tiles(), (30, 64), (14, 14), "shortest"),
    ],
)
def test_a_steep_ramp_gives_coordinates_to_an_eighth_of_a_pixel(fit, size, cell, mode):
    clip = Preprocess((224, 224), resize_mode=mode, **PLAIN)
    for shown, claimed, tolerance in read_coordinates(fit.plan(size, preprocess=clip, cell=cell), clip):
        assert shown.size >= 4 and tolerance <= 1 / 8
        assert np.abs(shown - claimed).max() <= tolerance


@pytest.mark.parametrize("fit", [Whole(short=90), Whole(long=200), Tiles(), Tiles(short=100)])
@pytest.mark.parametrize("size", [(61, 97), (97, 61), (130, 131), (1, 40), (33, 3)])
def test_a_marked_border_lands_in_the_last_cells_that_show_the_image(fit, size):
    clip = Preprocess((64, 64), **PLAIN)
    geometry = fit.plan(size, preprocess=clip, cell=(8, 8))
    values = np.zeros((*size, 3), np.uint8)
    values[-1, :, 0] = values[:, -1, 1] = 255
    red, green, _ = geo.pixels(Image.fromarray(values), geometry, clip)
    last_row, last_column = (np.flatnonzero(red.max(axis=1) > 0.5)[-1], np.flatnonzero(green.max(axis=0) > 0.5)[-1])
    assert (last_row, last_column) == (geometry.resized[0] - 1, geometry.resized[1] - 1)
    _, _, bottom, right = geometry.cell_box(last_row // 8, last_column // 8)
    assert bottom >= size[0] and right >= size[1]
    top, left, _, _ = geometry.cell_box(last_row // 8, last_column // 8)
    assert top < size[0] and left < size[1]


@pytest.mark.parametrize("fit", [Whole(short=90), Tiles(short=100)])
def test_padding_is_zero_after_normalising(fit):
    clip = Preprocess((64, 64), MEAN, STD)
    geometry = fit.plan((61, 97), preprocess=clip, cell=(32, 32))
    values = geo.pixels(Image.new("RGB", (97, 61), "white"), geometry, clip)
    assert (values[:, geometry.resized[0] :] == 0).all() and (values[:, :, geometry.resized[1] :] == 0).all()
    assert (values[:, : geometry.resized[0], : geometry.resized[1]] > 1).all()


def test_a_image_of_another_size_or_mode_is_refused():
    clip = Preprocess((64, 64), **PLAIN)
    geometry = Native().plan((61, 97), preprocess=clip, cell=(32, 32))
    with pytest.raises(GeometryError, match=r"\(97, 61\) px, mode RGB. Expected \(61, 97\) px"):
        geo.pixels(Image.new("RGB", (61, 97)), geometry, clip)
    with pytest.raises(GeometryError, match="mode L"):
        geo.pixels(Image.new("L", (97, 61)), geometry, clip)
