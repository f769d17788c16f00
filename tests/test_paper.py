"""The official MaskCLIP pipeline, from an image of any size to labels, against the independent implementation."""

import numpy as np
import oracle
import pytest
import tiny
import torch
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.presets import preset_named

NAMES = ["a", "b", "c", "d"]


def official(weights, kind, settings, pixels, texts, normalisation, denoise):
    """Features → cosines → denoising → smoothing, on the padded grid, all in NumPy."""
    if kind == "resnet":
        x4 = oracle.resnet_layers(weights, pixels, settings)["layer4"]
        dense, keys = oracle.resnet_dense(weights, x4), oracle.resnet_keys(weights, x4)
    else:
        grid = (pixels.shape[1] // settings.patch[0], pixels.shape[2] // settings.patch[1])
        positional = oracle.resize_positional(weights["positional_embedding"], grid, antialias=False)
        streams = oracle.vit_streams(weights, pixels, settings, positional)
        dense = oracle.vit_dense(weights, streams[-2], grid, settings)
        keys = oracle.vit_keys(weights, streams[-2], grid, settings)["projected"]
    scores = oracle.prompt_denoising(oracle.similarity(dense, texts), denoise)
    return oracle.key_smoothing(scores, keys, 1.0, normalisation=normalisation)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("size", [(96, 96), (70, 133), (201, 64)])
@pytest.mark.parametrize("normalisation", ["official", "cosine"])
def test_the_paper_preset_gives_the_official_pipelines_labels(load_tiny, kind, size, normalisation):
    model = load_tiny(kind, dtype="fp64", preset="maskclip-paper")
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC)
    short = dcv.Whole(short=64, stretch=True)
    trace = model.trace(image, preset="maskclip-paper", geometry=short)
    result = model.segment(trace, NAMES, preset="maskclip-paper", smooth=normalisation, denoise=0.2)

    weights, visual = tiny.weights(model.clip.visual), model.clip.visual
    settings = tiny.resnet_settings(visual)[0] if kind == "resnet" else tiny.vit_settings(visual)
    if kind == "vit":
        assert settings.activation == "gelu" and settings.eps == 1e-6
    texts = model.encode_text(NAMES).double().numpy()
    pixels = trace.pixels.double().numpy()
    theirs = official(weights, kind, settings, pixels, texts, normalisation, 0.2)

    resized = trace.geometry.resized
    right, bottom = pixels[:, :, resized[1] :], pixels[:, resized[0] :]
    assert not right.any() and not bottom.any()  # padded with zeros after normalisation, below and right
    labels = oracle.bilinear(oracle.bilinear(theirs, resized), size).argmax(0)
    assert (result.labels.values == labels).mean() > 0.999


def test_the_preset_is_the_papers_size_path_and_keys():
    paper = preset_named("maskclip-paper")
    assert paper.geometry == dcv.Whole(short=512, stretch=True)
    assert paper.keys == {"ViT class token": "projected", "ResNet attention pool": "key"}
    assert (paper.denoise, paper.smooth, paper.path) == (0.5, "official", "value-maskclip")


def test_by_default_a_preset_is_not_taken(load_tiny, image_file):
    model = load_tiny("vit")
    assert model.trace(image_file).geometry.mode == "native"
    assert model.segment(image_file, NAMES).attrs["refinement"] == "none"
    assert torch.equal(model.trace(image_file).dense, model.trace(image_file, path="value").dense)
