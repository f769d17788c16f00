"""Every ResNet and class-token ViT that open_clip lists: contributions and rest are the embedding, in fp32 and fp64.

Towers above LARGEST parameters stand in with fewer blocks of the same classes, width and heads, on a smaller grid;
which ones is printed.
DENSECLIP_VIZ_LARGEST=1e10 runs them all at full depth.
"""

import copy
import json
import os

import oracle
import pytest
import tiny
import torch
from open_clip.factory import _MODEL_CONFIGS
from open_clip.model import _build_vision_tower

from denseclip_viz.encode.catalogue import CLASS_TOKEN, RESNET
from denseclip_viz.encode.checkpoints import known_models
from denseclip_viz.encode.towers import Request, tower_for
from denseclip_viz.encode.towers.tower import TOLERANCE, check_recomposition

LARGEST = float(os.environ.get("DENSECLIP_VIZ_LARGEST", 90e6))
pytestmark = pytest.mark.slow


def architectures():
    """Towers that differ, each with all names that share it."""
    found = {}
    for known in known_models():
        if known["family"] in (RESNET, CLASS_TOKEN):
            config = _MODEL_CONFIGS[known["name"]]
            gelu = known["family"] == CLASS_TOKEN and config.get("quick_gelu", False)  # a ResNet has ReLU
            key = json.dumps([config["embed_dim"], config["vision_cfg"], gelu], sort_keys=True)
            found.setdefault(key, []).append(known["name"])
    return [pytest.param(*json.loads(key), names, id=names[0]) for key, names in found.items()]


def build(embed_dim, vision, quick_gelu):
    with torch.device("meta"):
        size = sum(p.numel() for p in _build_vision_tower(embed_dim, copy.deepcopy(vision), quick_gelu).parameters())
    smaller = size > LARGEST
    if smaller:
        resnet = isinstance(vision["layers"], list)
        cell = 32 if resnet else vision["patch_size"]
        vision = {**vision, "layers": [1, 1, 1, 1] if resnet else 2, "image_size": 5 * cell}
    return (
        tiny.randomise(_build_vision_tower(embed_dim, copy.deepcopy(vision), quick_gelu)),
        size,
        smaller,
        vision,
    )


@pytest.mark.parametrize(("embed_dim", "vision", "quick_gelu", "names"), architectures())
def test_contributions_and_rest_are_what_encode_image_returns(embed_dim, vision, quick_gelu, names, capsys):
    visual, size, smaller, vision = build(embed_dim, vision, quick_gelu)
    side = vision["image_size"]
    pixels = torch.from_numpy(tiny.random_pixels(side, side))[None]
    missed = []
    for dtype in (torch.float32, torch.float64):
        visual = visual.to(dtype)
        with torch.no_grad():
            opened = tower_for(visual).open(pixels.to(dtype), Request())
            plain = visual(pixels.to(dtype))
        plain = plain[0] if isinstance(plain, tuple) else plain
        total = opened.contributions.sum((1, 2)) + sum(opened.rest.values())
        check_recomposition(opened, "test")
        missed.append(oracle.relative_error(total.numpy(), plain.numpy()))
        assert missed[-1] <= TOLERANCE[dtype]
    with capsys.disabled():
        note = f"stand-in for {size / 1e6:.0f} M parameters" if smaller else f"{size / 1e6:.0f} M parameters"
        print(f"\n{', '.join(names)}: {note}; fp32 {missed[0]:.1e}, fp64 {missed[1]:.1e}", end="")


def test_every_name_of_these_families_is_covered():
    covered = {name for param in architectures() for name in param.values[3]}
    assert covered == {known["name"] for known in known_models() if known["family"] in (RESNET, CLASS_TOKEN)}
    assert {
        "RN50",
        "RN101",
        "RN50x4",
        "RN50x16",
        "RN50x64",
        "ViT-B-16",
        "ViT-bigG-14",
        "coca_base",
    } <= covered
