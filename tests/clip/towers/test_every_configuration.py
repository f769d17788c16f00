"""Every image tower that open_clip lists: contributions and rest are the embedding, in fp32 and fp64.

One tower of each structure runs always, all of them with `pytest -m every` (`make test-all`, and CI where towers
changed); that run also finds a structure that none of STRUCTURES has.
Towers above LARGEST parameters stand in with fewer blocks of the same classes, width and heads, on a smaller grid;
which ones is printed.
DENSECLIP_VIZ_LARGEST=1e10 runs them all at full depth and size.
"""

import contextlib
import copy
import functools
import json
import os
import re
from unittest import mock

import oracle
import pytest
import timm
import tiny
import torch
from open_clip.factory import _MODEL_CONFIGS
from open_clip.model import _build_vision_tower

from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.load.models import UNSUPPORTED, known_models
from denseclip_viz.clip.load.weights import Drawn
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.clip.towers.tower import TOLERANCE, check_recomposition

LARGEST = float(os.environ.get("DENSECLIP_VIZ_LARGEST", 30e6))
RESNET = "ResNet attention pool"
KNOWN = {RESNET, "ViT class token", "mean", "latent query"}
pytestmark = pytest.mark.slow
# One name for each set of module classes, parameters and options, whatever their sizes and numbers.
STRUCTURES = (
    "RN50 ViT-B-16 ViT-B-16-quickgelu ViT-M-16-alt ViT-L-14-CLIPA coca_base coca_ViT-B-32 EVA01-g-14"
    " EVA02-B-16 EVA02-E-14 MobileCLIP2-B MobileCLIP2-L-14 vit_relpos_medium_patch16_cls_224 convnext_tiny"
    " convnext_large_d MobileCLIP-S1 MobileCLIP2-S3 swin_base_patch4_window7_224 ViTamin-S ViTamin-XL-256"
    " vit_medium_patch16_gap_256 ViT-B-16-SigLIP ViT-B-32-SigLIP2-256 PE-Core-T-16-384 PE-Core-bigG-14-448"
).split()
SIZES = {"image_size", "width", "patch_size", "layers", "head_width", "mlp_ratio", "attn_pooler_heads"}
SIZES |= {"timm_model_name", "timm_drop", "timm_drop_path"}
# What makes a timm model small and keeps its classes; those of a family take the same arguments.
FEWER = {
    "convnext": {"depths": (1, 1, 1, 1)},
    "fastvit_mci3": {"layers": (1, 1, 1, 1, 1)},
    "fastvit_mci4": {"layers": (1, 1, 1, 1, 1)},
    "fastvit": {"layers": (1, 1, 1, 1)},
    "swin": {"depths": (2, 2, 2, 2)},
    "vi": {"depth": 2},
    "eva": {"depth": 2},
}
CREATE = timm.create_model
SIDES = {"swin": 224, "convnext": 96, "fastvit_mci3": 192, "fastvit_mci4": 192, "fastvit": 96}


def architectures():
    """Towers that differ, each with all names that share it."""
    found = {}
    for name, known in known_models().items():
        config = _MODEL_CONFIGS[name]
        gelu = known["family"] != RESNET and config.get("quick_gelu", False)  # a ResNet has ReLU
        key = json.dumps([config["embed_dim"], config["vision_cfg"], gelu], sort_keys=True)
        found.setdefault(key, {})[name] = known
    for key, same in found.items():
        name = next(iter(same))
        marks = () if name in STRUCTURES else pytest.mark.every
        yield pytest.param(*json.loads(key), same, id=name, marks=marks)


def structure(embed_dim, vision, quick_gelu):
    """What a tower is made of, whatever its sizes: classes, parameters without their numbers, options."""
    with torch.device("meta"), Drawn(filled=False):
        visual = _build_vision_tower(embed_dim, copy.deepcopy(vision), quick_gelu)
    classes = {type(module).__name__ for module in visual.modules()}
    parameters = {re.sub(r"\d+", "#", name) for name, _ in visual.named_parameters()}
    options = {name: value for name, value in vision.items() if name not in SIZES}
    return frozenset(classes), frozenset(parameters), json.dumps([options, quick_gelu], sort_keys=True)


@functools.cache
def structures():
    """The structures of STRUCTURES, by name."""
    return {param.id: structure(*param.values[:3]) for param in architectures() if param.id in STRUCTURES}


def build(embed_dim, vision, quick_gelu):
    with torch.device("meta"), Drawn(filled=False):
        size = sum(p.numel() for p in _build_vision_tower(embed_dim, copy.deepcopy(vision), quick_gelu).parameters())
    smaller, patch, side = size > LARGEST, contextlib.nullcontext(), vision.get("image_size", 224)
    if smaller and (name := vision.get("timm_model_name")):
        patch, side = fewer(name)
    elif smaller:
        resnet = isinstance(vision["layers"], list)
        side = 5 * (32 if resnet else vision["patch_size"])
        vision = {**vision, "layers": [1, 1, 1, 1] if resnet else 2, "image_size": side}
    with patch, Drawn(filled=False):
        visual = _build_vision_tower(embed_dim, copy.deepcopy(vision), quick_gelu)
    return tiny.randomise(visual, large=2**17), size, smaller, side


def fewer(name):
    """Let open_clip build a timm model with fewer blocks; and a small side for its input."""
    start = next(start for start in FEWER if name.startswith(start))
    side = next((side for start, side in SIDES.items() if name.startswith(start)), 0)
    options = dict(FEWER[start])
    if not side:
        side = (
            5 * int(next(part for part in name.split("_") if part.startswith("patch"))[5:]) if "patch" in name else 96
        )
        options["img_size"] = side

    def create(name, **given):
        return CREATE(name, **{**given, **options})

    return mock.patch.object(timm, "create_model", create), side


@pytest.mark.parametrize(("embed_dim", "vision", "quick_gelu", "same"), list(architectures()))
def test_contributions_and_rest_are_what_encode_image_returns(embed_dim, vision, quick_gelu, same, capsys):
    visual, size, smaller, side = build(embed_dim, vision, quick_gelu)
    pixels = torch.from_numpy(tiny.random_pixels(side, side))[None]
    missed = []
    for dtype in (torch.float32, torch.float64):
        visual = visual.to(dtype)
        with torch.no_grad():
            decomposition = decompose(tower_for(visual).at(pixels), pixels.to(dtype), ForwardOptions())
            plain = visual(pixels.to(dtype))
        plain = plain[0] if isinstance(plain, tuple) else plain
        total = decomposition.contributions.sum((1, 2)) + sum(decomposition.rest.values())
        check_recomposition(decomposition, "test")
        missed.append(oracle.relative_error(total.numpy(), plain.numpy()))
        assert missed[-1] <= TOLERANCE[dtype]
    (family,) = {known["family"] for known in same.values()}
    assert tower_for(visual).family == family
    assert all(known["image_parameters"] == size for known in same.values())
    with capsys.disabled():
        note = f"stand-in for {size / 1e6:.0f} M parameters" if smaller else f"{size / 1e6:.0f} M parameters"
        print(f"\n{', '.join(same)}: {family}; {note}; fp32 {missed[0]:.1e}, fp64 {missed[1]:.1e}", end="")


@pytest.mark.every
def test_each_structure_is_in_the_short_list_once():
    assert set(structures()) == set(STRUCTURES) and len(set(structures().values())) == len(STRUCTURES)
    missing = [param.id for param in architectures() if structure(*param.values[:3]) not in structures().values()]
    assert not missing


def test_every_name_that_open_clip_lists_is_classified():
    assert {name: known["family"] for name, known in known_models().items() if known["family"] not in KNOWN} == {}
    assert UNSUPPORTED not in KNOWN and len(known_models()) >= 144
