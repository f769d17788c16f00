"""Layers read by gradients: what is asked of the tower, and that texts do not mix."""

from unittest import mock

import tiny
import torch

from denseclip_viz.clip.paths import PATHS
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.maps.gradients import gradient_maps


def test_many_texts_cost_no_more_than_the_axes_of_their_space_and_are_read_as_each_alone():
    visual = tiny.tiny_tower("ConvNeXt")
    tower, side = tower_for(visual), tiny.native_side(visual)
    pixels = torch.from_numpy(tiny.random_pixels(side, side)).double()
    with torch.no_grad():
        width = visual(pixels[None]).shape[-1]
    vectors = torch.randn(width // 4 + 1, 4, width, dtype=torch.float64)
    of = {"layers": tower.layers, "path": PATHS["value"]}
    with mock.patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as passes:
        maps = gradient_maps(tower, pixels, vectors, **of)
    assert passes.call_count == 2 * width
    for text in ((0, 0), (width // 4, 3)):
        alone = gradient_maps(tower, pixels, vectors[text][None, None], **of)
        for name, pair in maps.items():
            for ours, own in zip(pair, alone[name], strict=True):
                assert (ours[text] - own[0, 0]).abs().max() <= 1e-12 * own.abs().max()
