"""What published code did to CLIP, as named switches, and nothing else changes."""

from functools import partial

import pytest
import torch
from checkpoint_files import TINY, TINY_RESNET, add_name, gates, same, state, write_folder

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.errors import DeviceError, ModelNameError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


def eps(module):
    return {part.eps for part in module.modules() if isinstance(part, torch.nn.LayerNorm)}


def test_the_papers_preset_changes_the_image_tower_only(named, folder):
    name = named(config={**TINY, "quick_gelu": True})
    loaded = load_clip(name, pretrained=folder / "open_clip_model.safetensors", preset="maskclip-paper")
    assert gates(loaded.clip.visual) == {"GELU"} and gates(loaded.clip.transformer) == {"QuickGELU"}
    assert eps(loaded.clip.visual) == {1e-6} and eps(loaded.clip.transformer) | eps(loaded.clip.ln_final) == {1e-5}
    assert loaded.preprocess.mean == (0.485, 0.456, 0.406) and loaded.preprocess.std == (0.229, 0.224, 0.225)
    said = loaded.provenance
    assert said["preset"] == "maskclip-paper" and said["activation"] == "gelu (image), quickgelu (text)"
    assert "layer_norm_eps 1e-06 (image)" in said["switches"] and "mean 0.485 0.456 0.406" in said["switches"]
    assert same(loaded.clip, state())


def test_a_preset_computes_what_its_switches_compute_one_by_one(folder):
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, paper = load_clip(folder, activation="quickgelu"), load_clip(folder, preset="maskclip-paper")
    alone = load_clip(folder, activation="image-gelu", layer_norm_eps=1e-6, mean=(0.485, 0.456, 0.406))
    with torch.no_grad():
        seen = [loaded.clip.encode_image(pixels) for loaded in (plain, paper, alone)]
    assert torch.equal(seen[1], seen[2]) and not torch.allclose(seen[0], seen[1])


def test_for_a_resnet_the_preset_is_how_images_are_prepared_alone(named):
    loaded = load_clip(named(config=TINY_RESNET), pretrained="random", preset="maskclip-paper")
    assert loaded.preprocess.std == (0.229, 0.224, 0.225)
    switches = "mean 0.485 0.456 0.406, std 0.229 0.224 0.225, interpolation bilinear-opencv"
    assert loaded.provenance["switches"] == switches


def test_a_single_switch_wins_over_the_preset(folder):
    loaded = load_clip(folder, preset="maskclip-paper", layer_norm_eps=1e-5, std=(1, 1, 1))
    assert eps(loaded.clip.visual) == {1e-5} and loaded.preprocess.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "switches",
    [
        {"preset": "maskclip"},
        {"activation": "relu"},
        {"layer_norm_eps": 0},
        {"layer_norm_eps": float("nan")},
        {"layer_norm_eps": "1e-6"},
        {"mean": (0.5, 0.5)},
        {"mean": 0.5},
        {"mean": "abc"},
        {"std": (0.5, 0.0, 0.5)},
        {"std": (0.5, float("inf"), 0.5)},
        {"device": "gpu"},
        {"device": "cuda:99"},
        {"device": 3.5},
        {"dtype": "float33"},
        {"dtype": torch.int8},
        {"dtype": 16},
        {"dtype": "fp16", "device": "cpu"},
    ],
)
def test_switches_that_cannot_be_are_refused_by_name(switches, folder):
    with pytest.raises((ModelNameError, DeviceError)) as caught:
        load_clip(folder, **switches)
    assert str(next(iter(switches.values()))).removeprefix("fp") in str(caught.value)


@pytest.mark.parametrize("switches", [{"layer_norm_eps": 1e-6}, {"activation": "image-gelu"}])
def test_a_switch_that_changes_nothing_is_refused(switches, named):
    with pytest.raises(ModelNameError, match="changes nothing in Tiny-8"):
        load_clip(named(config=TINY_RESNET), pretrained="random", **switches)
