"""Grad-CAM, against a second way without our hooks."""

import oracle
import pytest
import tiny
import torch
from torch.nn import functional as F

from denseclip_viz.attribution.grad_cam import grad_cam
from denseclip_viz.clip.towers import tower_for

VECTORS = torch.randn(3, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_hand(visual, pixels, text):
    """Grad-CAM by running the part behind the map as a function of the map."""
    if hasattr(visual, "layer4"):
        with torch.no_grad():
            stem = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(pixels)))))
        activation = stem.requires_grad_(True)
        embedding = visual.attnpool(activation)[0]
    else:
        block = visual.transformer.resblocks[-1]
        with torch.no_grad():
            stream = visual._embeds(pixels)
            for inner in visual.transformer.resblocks[:-1]:
                stream = inner(stream)
            activation = block.ln_1(stream)
        activation.requires_grad_(True)
        stream = stream + block.ls_1(block.attention(activation))
        stream = stream + block.ls_2(block.mlp(block.ln_2(stream)))
        embedding = (visual.ln_post(stream)[:, 0] @ visual.proj)[0]
    (gradient,) = torch.autograd.grad(F.cosine_similarity(embedding, text, dim=0), activation)
    if activation.ndim == 3:
        grid = (pixels.shape[-2] // 8, pixels.shape[-1] // 8)
        activation, gradient = (t[:, 1:].mT.unflatten(-1, grid) for t in (activation, gradient))
    channels = gradient.mean((-2, -1))[0]
    return torch.einsum("c,cyx->yx", channels, activation[0]).clamp_min(0).detach()


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_grad_cam_equals_the_second_way(build):
    visual = build().visual
    side = 96 if build is tiny.tiny_resnet else 32
    pixels = torch.from_numpy(tiny.random_pixels(side, side))
    texts = torch.cat([VECTORS, -VECTORS])  # what is cut off for a text is shown for its opposite
    maps = grad_cam(tower_for(visual), pixels, texts)
    assert maps.amax((1, 2)).count_nonzero() >= 3
    for ours, text in zip(maps, texts, strict=True):
        theirs = by_hand(visual, pixels[None], text)
        if theirs.any():
            assert oracle.relative_error(ours.numpy(), theirs.numpy()) < 1e-10
        else:
            assert not ours.any()


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_several_images_together_get_the_maps_that_each_gets_alone(build):
    tower = tower_for(build().visual)
    side = 96 if build is tiny.tiny_resnet else 32
    pixels = torch.stack([torch.from_numpy(tiny.random_pixels(side, side)) * scale for scale in (1.0, 0.5, -1.0)])
    together = grad_cam(tower, pixels, VECTORS)
    for maps, image in zip(together, pixels, strict=True):
        assert oracle.relative_error(maps.numpy(), grad_cam(tower, image, VECTORS).numpy()) < 1e-10
    assert not pixels.requires_grad
