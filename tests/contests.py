"""What rankings are tested on: a few images of noise, prompts in three templates, and masks that go with them."""

from __future__ import annotations

import warnings

import numpy as np

import denseclip_viz as dcv

TEMPLATES = ["{}", "a photo of {}.", "there is no {}"]
PROMPTS = dcv.Prompts(["a red car", "grass"], TEMPLATES, absent=["a giraffe"])


def images(count, size=(32, 32)):
    return [np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8) for seed in range(count)]


def blobs(image):
    """A mask of each prompt that depends on the image."""
    return {"a red car": image[..., 0] > 128, "grass": np.roll(image[..., 1] > 160, 8, axis=0)}


def quietly(call, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(*arguments, progress=False, **options)
