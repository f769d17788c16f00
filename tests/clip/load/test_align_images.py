"""ALIGN's images are made ready as transformers does it, bit for bit with Pillow, or the settings are refused."""

import numpy as np
import pytest
from align_models import IMAGES, PIL_PROCESSOR
from PIL import Image
from transformers import EfficientNetImageProcessor

from denseclip_viz.clip.load.align_checkpoint import preprocess_of, read_preprocess
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Native, Preprocess, pixels

KIND = {"image_processor_type": "EfficientNetImageProcessor"}
LEVEL = 1 / 127.5  # one of 255 levels, on a scale from -1 to 1
SIZES = [(300, 400), (400, 300), (60, 90), (116, 116), (97, 500)]
SETTINGS = {
    "ALIGN": IMAGES,
    "ALIGN, other parity": {**IMAGES, "size": {"height": 117, "width": 130}},
    "bicubic": {**IMAGES, "resample": 3},
    "without a crop": {**IMAGES, "do_center_crop": False},
    "without an offset": {**IMAGES, "rescale_offset": False, "rescale_factor": 1 / 255},
}


def both(settings, size, processor):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image, preprocess = Image.fromarray(noise), preprocess_of({**KIND, **settings})
    ours = pixels(image, Native().plan(size, preprocess=preprocess, cell=(1, 1)), preprocess)
    return ours, np.asarray(processor(**settings)(image, return_tensors="np")["pixel_values"])[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_pixels_are_those_of_transformers_with_pillow(settings, size):
    ours, theirs = both(settings, size, PIL_PROCESSOR)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 4e-7 * np.abs(theirs).max()


@pytest.mark.parametrize("size", SIZES)
def test_pixels_of_align_are_those_of_transformers_bit_for_bit(size):
    ours, theirs = both(IMAGES, size, PIL_PROCESSOR)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", SIZES)
def test_with_torchvision_transformers_own_pixels_differ_by_one_level_at_most(size):
    ours, theirs = both(IMAGES, size, EfficientNetImageProcessor)
    assert np.abs(ours - theirs).max() <= 1.001 * LEVEL


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_processor_type": None}, "by a None"),
        ({"image_processor_type": "ViTImageProcessor"}, "by a 'ViTImageProcessor'"),
        ({"do_resize": False}, "do_resize is False"),
        ({"resample": 1}, "resample is 1"),
        ({"size": {"shortest_edge": 346}}, "size is .*shortest_edge"),
        ({"size": {"height": 96, "width": 96}}, "A crop of .97, 97. px from .96, 96. px"),
        ({"rescale_factor": 0}, "rescale_factor is 0"),
        ({"do_rescale": False}, "do_rescale is False"),
        ({"do_normalize": True}, "do_normalize is True"),
        ({"include_top": True}, "include_top is True"),
    ],
)
def test_what_cannot_be_followed_exactly_is_refused(settings, said):
    with pytest.raises(GeometryError, match=said):
        preprocess_of({**KIND, **IMAGES, **settings})


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"image_processor": 3}'])
@pytest.mark.parametrize("name", ["processor_config.json", "preprocessor_config.json"])
def test_a_file_that_says_nothing_is_named(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(GeometryError, match="cannot be read|made ready"):
        read_preprocess(tmp_path)


def test_a_crop_needs_a_larger_size_to_crop_from():
    half = (0.5, 0.5, 0.5)
    with pytest.raises(GeometryError, match="from .8, 8. px"):
        Preprocess((9, 9), half, half, resize_mode="squash", before_crop=(8, 8))
    with pytest.raises(GeometryError, match="'squash'"):
        Preprocess((9, 9), half, half, before_crop=(12, 12))
