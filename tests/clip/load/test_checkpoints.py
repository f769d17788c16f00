"""From a name, a tag or a file to a model that is what it says."""

import copy
import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import open_clip
import pytest
import torch
from checkpoint_files import (
    TEXT,
    TINY,
    TINY_RESNET,
    add_name,
    gates,
    same,
    state,
    write_cache,
    write_config,
    write_folder,
)
from safetensors.torch import load_file, save_file

from denseclip_viz.clip.load.checkpoints import building, load_clip
from denseclip_viz.clip.load.models import fitting_models
from denseclip_viz.errors import ModelNameError, OutOfMemoryError

PE = {"timm_pool": "map", "timm_proj": "none", "image_size": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "cache")


def test_a_folder_brings_its_own_weights(folder):
    loaded = load_clip(folder)
    assert same(loaded.clip, state()) and not loaded.clip.training
    assert all(parameter.requires_grad for parameter in loaded.clip.parameters())
    assert loaded.preprocess.size == (32, 32) and loaded.preprocess.mean == (0.5, 0.5, 0.5)
    assert loaded.tokenizer(["grass"]).shape == (1, 77)
    assert same(load_clip(f"local-dir:{folder}").clip, state())


def test_provenance_says_what_the_model_is(folder):
    said = load_clip(folder, device="cpu").provenance
    digest = hashlib.sha256((folder / "open_clip_model.safetensors").read_bytes()).hexdigest()
    assert said["model"] == "tiny" and said["weights"] == "open_clip_model.safetensors"
    assert said["weights_hash"] == digest[:16] and said["random_weights"] == 0
    assert (said["activation"], said["dtype"], said["device"]) == ("gelu", "float32", "cpu")
    assert (said["preset"], said["switches"]) == ("none", "none")
    assert said["preprocess"].startswith("32 x 32 px, shortest, bicubic, mean 0.5 0.5 0.5, std 0.2686")
    assert f"torch {torch.__version__}" in said["versions"] and open_clip.__version__ in said["versions"]
    assert all(isinstance(value, str | int) for value in said.values())


def test_random_weights_come_only_by_name_and_are_the_same_for_everybody(folder):
    before = torch.get_rng_state()
    first, second = (load_clip(folder, pretrained="random") for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert same(first.clip, second.clip.state_dict()) and not same(first.clip, state())
    torch.manual_seed(99)
    assert same(first.clip, load_clip(folder, pretrained="random").clip.state_dict())
    assert first.provenance["random_weights"] == 1 and first.provenance["weights_hash"] == "random-0"
    assert "random" in first.provenance["weights"]


def test_what_another_thread_draws_meanwhile_is_its_own_and_changes_no_weight(folder):
    alone = load_clip(folder, pretrained="random").clip
    torch.manual_seed(7)
    expected = torch.rand(40)
    torch.manual_seed(7)
    turns, drawn = threading.Barrier(2, timeout=20), []

    def build():
        with building():
            for _ in range(40):
                weights.append(torch.empty(3).normal_())
                turns.wait()
                turns.wait()

    weights = []
    other = threading.Thread(target=build)
    other.start()
    for _ in range(40):
        turns.wait()
        drawn.append(torch.rand(1))
        turns.wait()
    other.join()
    assert torch.equal(torch.cat(drawn), expected)
    with building():
        assert torch.equal(torch.cat(weights), torch.cat([torch.empty(3).normal_() for _ in range(40)]))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: load_clip(folder, pretrained="random").clip.state_dict(), range(6)))
    assert all(same(alone, each) for each in both)


def test_loading_leaves_the_random_state_open_clip_and_the_loggers_as_they_were(named, cache, capfd):
    name = named(one={"quick_gelu": True, "mean": (0.1, 0.2, 0.3)})
    config, tags = (copy.deepcopy(open_clip.factory._MODEL_CONFIGS), copy.deepcopy(open_clip.pretrained._PRETRAINED))
    handlers, rng = [(h, list(h.filters)) for h in logging.getLogger().handlers], torch.get_rng_state()
    first = load_clip(name, pretrained="one", cache_dir=cache, preset="maskclip-paper")
    torch.nn.init.zeros_(first.clip.text_projection)
    assert same(load_clip(name, pretrained="one", cache_dir=cache).clip, state())
    assert config == open_clip.factory._MODEL_CONFIGS and tags == open_clip.pretrained._PRETRAINED
    assert handlers == [(h, list(h.filters)) for h in logging.getLogger().handlers]
    assert torch.equal(rng, torch.get_rng_state()) and capfd.readouterr() == ("", "")


def test_a_real_name_loads_with_slash_or_dash():
    loaded = load_clip("ViT-S/32-alt", pretrained="random")
    assert loaded.provenance["model"] == "ViT-S-32-alt" and loaded.preprocess.size == (224, 224)
    shapes = {key: tuple(tensor.shape) for key, tensor in loaded.clip.state_dict().items()}
    assert fitting_models(shapes) == ["ViT-S-32-alt"]


@pytest.mark.parametrize(
    ("config", "tag", "activation"),
    [
        (TINY, {}, "gelu"),
        (TINY, {"quick_gelu": True}, "quickgelu"),
        ({**TINY, "quick_gelu": True}, {"quick_gelu": True}, "quickgelu"),
        ({**TINY, "quick_gelu": True}, {}, "quickgelu"),
        ({**TINY, "quick_gelu": True}, {"quick_gelu": False}, "gelu"),
        ({**TINY_RESNET, "quick_gelu": True}, {"quick_gelu": True}, "quickgelu"),
    ],
)
def test_the_activation_is_the_one_that_the_tag_was_trained_with(config, tag, activation, named, cache):
    if "patch_size" not in config["vision_cfg"]:
        save_file(state(TINY_RESNET), f"{cache}/models--nobody--tiny/snapshots/abc/open_clip_model.safetensors")
    loaded = load_clip(named(config=config, one=tag), pretrained="one", cache_dir=cache)
    assert loaded.provenance["activation"] == activation
    assert gates(loaded.clip) == {"QuickGELU" if activation == "quickgelu" else "GELU"}


def test_a_local_checkpoint_follows_the_name_unless_told_otherwise(named, folder):
    file = folder / "open_clip_model.safetensors"
    name = named(config={**TINY, "quick_gelu": True})
    assert load_clip(name, pretrained=file).provenance["activation"] == "quickgelu"
    loaded = load_clip(name, pretrained=str(file), activation="gelu")
    assert loaded.provenance["activation"] == "gelu" and "activation gelu" in loaded.provenance["switches"]
    assert loaded.provenance["weights"] == file.name and same(loaded.clip, state())


@pytest.mark.parametrize("config", [TINY, TINY_RESNET])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64", torch.float64])
def test_every_dtype_runs_end_to_end(config, dtype, named):
    loaded = load_clip(named(config=config), pretrained="random", dtype=dtype, device=torch.device("cpu"))
    kind = next(loaded.clip.visual.parameters()).dtype
    assert loaded.provenance["dtype"] == str(kind).removeprefix("torch.")
    with torch.no_grad():
        image = loaded.clip.encode_image(torch.zeros(1, 3, *loaded.preprocess.size, dtype=kind))
        text = loaded.clip.encode_text(loaded.tokenizer(["grass"]))
    assert image.dtype == text.dtype == kind and image.isfinite().all() and text.isfinite().all()


def test_logit_scale_and_bias_are_not_rounded_in_half_precision(folder, tmp_path):
    exact = load_clip(folder).clip.logit_scale
    assert torch.equal(load_clip(folder, dtype="bf16").clip.logit_scale, exact)
    tensors = load_file(next(folder.glob("*.safetensors"))) | {"logit_bias": torch.tensor(-10.123)}
    save_file(tensors, tmp_path / "sigmoid.safetensors")
    half = load_clip(folder, pretrained=tmp_path / "sigmoid.safetensors", dtype="bf16").clip
    assert torch.equal(half.logit_bias, tensors["logit_bias"]) and half.logit_scale.dtype == torch.float32


@pytest.mark.parametrize("vision", [TINY["vision_cfg"], {**PE, "timm_model_name": "vit_pe_core_tiny_patch16_384"}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_no_number_and_stays_the_callers(vision, dtype, named, tmp_path):
    name = named(config={**TINY, "vision_cfg": vision})
    expected = load_clip(name, pretrained="random", device="cpu").clip
    torch.set_default_dtype(dtype)
    try:
        clip = load_clip(name, pretrained="random", device="cpu").clip
        with pytest.raises(ModelNameError):
            load_clip(write_config(tmp_path, {**TINY, "vision_cfg": {"colour": "red"}}), pretrained="random")
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(clip, expected.state_dict())
    for (name, buffer), (_, due) in zip(clip.named_buffers(), expected.named_buffers(), strict=True):
        assert buffer.dtype == due.dtype and torch.equal(buffer, due), name


def test_a_model_that_no_memory_could_hold_is_an_error_of_ours(tmp_path):
    write_config(tmp_path, {**TINY, "text_cfg": {**TEXT, "vocab_size": 10**13}})
    with pytest.raises(OutOfMemoryError):
        load_clip(tmp_path, pretrained="random")
