"""Images are made ready as transformers does it, bit for bit with Pillow, or the settings are refused."""

import json

import numpy as np
import pytest
import transformers
from align_models import IMAGES, PIL_PROCESSOR
from PIL import Image
from transformers import EfficientNetImageProcessor

from denseclip_viz.clip.load.image_processor import preprocess_in, preprocess_of
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


CLIP = {"image_processor_type": "CLIPImageProcessor"}
OTHERS = {
    "CLIP": CLIP | {"size": {"shortest_edge": 97}, "crop_size": {"height": 97, "width": 97}},
    "CLIP, a crop of less": CLIP | {"size": {"shortest_edge": 116}, "crop_size": {"height": 97, "width": 97}},
    "CLIP of older versions": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 96},
    "CLIP, squashed and bilinear": CLIP | {"size": {"height": 97, "width": 97}, "do_center_crop": False, "resample": 2},
    "CLIP, not normalised": CLIP | {"size": 64, "crop_size": 64, "do_normalize": False},
    "CLIP, another scale": CLIP | {"size": 64, "crop_size": 64, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1]},
    "Chinese CLIP": {
        "image_processor_type": "ChineseCLIPImageProcessor",
        "size": {"shortest_edge": 97},
        "crop_size": 97,
    },
    "SigLIP": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 97, "width": 97}},
    "SigLIP, fast": {"image_processor_type": "SiglipImageProcessorFast", "size": {"height": 96, "width": 64}},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", OTHERS.values(), ids=OTHERS)
def test_pixels_of_clip_and_siglip_are_those_of_transformers(settings, size):
    name = settings.get("image_processor_type", "CLIPImageProcessor").removesuffix("Fast")
    for backend, levels in {"Pil": 1e-3, "": 3.001}.items():
        ours, theirs = both({"image_processor_type": None, **settings}, size, getattr(transformers, name + backend))
        std = preprocess_of(settings).std
        assert ours.shape == theirs.shape
        assert (np.abs(ours - theirs).max(axis=(1, 2)) * std * 255 <= levels).all()


def test_of_the_patches_of_siglip_2_the_square_is_taken():
    settings = {"image_processor_type": "Siglip2ImageProcessorFast", "patch_size": 8, "max_num_patches": 49}
    preprocess = preprocess_of(settings)
    assert (preprocess.size, preprocess.resize_mode, preprocess.interpolation) == ((56, 56), "squash", "bilinear")
    ours, theirs = both(settings, (56, 56), transformers.Siglip2ImageProcessor)
    cells = ours.reshape(3, 7, 8, 7, 8).transpose(1, 3, 2, 4, 0).reshape(49, -1)
    np.testing.assert_allclose(cells, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_processor_type": None}, "by a None"),
        ({"image_processor_type": "ViTImageProcessor"}, "by a 'ViTImageProcessor'"),
        ({"do_resize": False}, "do_resize is False"),
        ({"resample": 1}, "resample is 1"),
        ({"size": {"longest_edge": 346, "shortest_edge": 9}}, "size is .*longest_edge"),
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


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"do_center_crop": False}, "do_center_crop is False"),
        ({"size": {"shortest_edge": 64, "longest_edge": 96}}, "size is .*longest_edge"),
        ({"size": {"shortest_edge": "wide"}}, "cannot be|crop"),
        ({"crop_size": {"height": 225, "width": 224}}, "A crop of .225, 224. px from .224, 224. px"),
        ({"crop_size": []}, "crop_size is|cannot be"),
        ({"resample": 1}, "resample is 1"),
        ({"resample": "soft"}, "cannot be"),
        ({"rescale_factor": "a"}, "rescale_factor is 'a'"),
        ({"image_mean": 0.5}, "image_mean is 0.5"),
        ({"image_std": [1, 1, "a"]}, r"image_std is .1, 1, 'a'."),
        ({"image_std": [1, 1]}, "three numbers each"),
        ({"do_pad": True}, "do_pad is True"),
        ({"image_processor_type": ["CLIPImageProcessor"]}, r"by a \['CLIPImageProcessor'\]"),
        ({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 50}, "max_num_patches is 50"),
        ({"image_processor_type": "Siglip2ImageProcessor", "patch_size": "p"}, "patch_size is 'p'"),
    ],
)
def test_what_clips_processors_cannot_be_asked_is_refused_too(settings, said, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**CLIP, **settings}), encoding="utf-8")
    with pytest.raises(GeometryError, match=said):
        preprocess_in(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"image_processor": 3}'])
@pytest.mark.parametrize("name", ["processor_config.json", "preprocessor_config.json"])
def test_a_file_that_says_nothing_is_named(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(GeometryError, match="cannot be read|made ready"):
        preprocess_in(tmp_path)


def test_a_crop_needs_a_larger_size_to_crop_from():
    half = (0.5, 0.5, 0.5)
    with pytest.raises(GeometryError, match="from .8, 8. px"):
        Preprocess((9, 9), half, half, resize_mode="squash", before_crop=(8, 8))
    with pytest.raises(GeometryError, match="'squash' or 'shortest'"):
        Preprocess((9, 9), half, half, resize_mode="longest", before_crop=(12, 12))
