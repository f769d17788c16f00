"""From a name, a tag or a file to a model that is what it says, or an error that helps."""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.util
import json
import logging
import os
import socket
import time
import warnings
import zipfile

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from denseclip_viz.encode.catalogue import CLASS_TOKEN, OTHER, RESNET, fitting_models
from denseclip_viz.encode.checkpoints import known_models, load_clip
from denseclip_viz.encode.pretrained import require_answer, require_hub_file
from denseclip_viz.errors import ModelNameError, OutOfMemoryError, WeightsError

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 16, "head_width": 8, "layers": 2}
RESNET_VISION = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
TINY = {"embed_dim": 8, "vision_cfg": VIT, "text_cfg": TEXT}
TINY_RESNET = {"embed_dim": 8, "vision_cfg": RESNET_VISION, "text_cfg": TEXT}


def state(config=TINY, *, seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.CLIP(**copy.deepcopy(config)).state_dict()


def write_config(folder, config=TINY, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, **more}), encoding="utf-8")
    return folder


def same(clip, tensors):
    own = clip.state_dict()
    return own.keys() == tensors.keys() and all(torch.equal(own[key], tensors[key]) for key in own)


def gates(module):
    return {type(part).__name__ for part in module.modules() if "GELU" in type(part).__name__}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as open_clip writes it: a configuration and a weights file."""
    made = write_config(tmp_path_factory.mktemp("models") / "tiny", preprocess_cfg={"mean": [0.5, 0.5, 0.5]})
    save_file(state(), made / "open_clip_model.safetensors")
    return made


@pytest.fixture
def named(monkeypatch):
    """Gives open_clip a tiny model with the tags that are passed, until the test ends."""

    def add(name="Tiny-8", config=TINY, **tags):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
        known = {tag: {"url": "", "hf_hub": "nobody/tiny/", **more} for tag, more in tags.items()}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, known)
        return name

    return add


@pytest.fixture
def offline(monkeypatch):
    """The hub moves to a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def cache(tmp_path):
    """A download cache that holds the weights of nobody/tiny."""
    snapshot = tmp_path / "cache" / "models--nobody--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    save_file(state(), snapshot / "open_clip_model.safetensors")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")
    return str(tmp_path / "cache")


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


def test_loading_leaves_the_random_state_open_clip_and_the_loggers_as_they_were(named, cache, capfd):
    name = named(one={"quick_gelu": True, "mean": (0.1, 0.2, 0.3)})
    config, tags = (
        copy.deepcopy(open_clip.factory._MODEL_CONFIGS),
        copy.deepcopy(open_clip.pretrained._PRETRAINED),
    )
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


def test_weights_are_never_chosen_in_silence():
    with pytest.raises(WeightsError, match="No weights were named for RN50") as caught:
        load_clip("RN50")
    assert all(word in caught.value.expected for word in ("openai", "yfcc15m", ".safetensors", '"random"'))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-61", "ViT-B-16"),
        ("vit-b/16", "ViT-B-16"),
        ("rn50", "RN50"),
        ("", "no model ''"),
        ("   ", "no model"),
        ("quetzalcoatl", "denseclip-viz models"),
        ("hf-hub:nobody/tiny", "download the repository"),
        (16, "came as int"),
        (None, "came as NoneType"),
        ("local-dir:nowhere", "no open_clip_config.json"),
    ],
)
def test_unknown_names_are_answered_with_the_closest(name, said):
    with pytest.raises(ModelNameError, match=said):
        load_clip(name, pretrained="random")


def test_a_checkpoint_in_the_place_of_the_name_is_recognised(folder):
    with pytest.raises(ModelNameError, match="name its architecture first"):
        load_clip(folder / "open_clip_model.safetensors")


@pytest.mark.parametrize(
    ("name", "tag", "said"),
    [
        ("RN50", "opnai", "closest: openai"),
        ("RN50", "laion2b_s34b_b79k", "belongs to ViT-B-32"),
        ("ViT-B-32-quickgelu", "laion2b_s34b_b79k", "belongs to ViT-B-32"),
        ("RN50", "", "no pretrained tag ''"),
    ],
)
def test_unknown_tags_are_answered_with_those_there_are(name, tag, said):
    with pytest.raises(ModelNameError, match=said) as caught:
        load_clip(name, pretrained=tag)
    assert "openai" in caught.value.expected


def check_ways_out(error, file):
    assert file in error.came
    assert all(word in error.fix for word in ("Connect once", "FILE.safetensors", 'pretrained="random"'))


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16", "ViT-L-14-336"])
def test_weights_that_are_not_here_are_missed_at_once_without_a_network(name, offline, tmp_path):
    start = time.perf_counter()
    with pytest.raises(WeightsError, match="127.0.0.1:[0-9]+ does not answer") as caught:
        load_clip(name, pretrained="openai", cache_dir=str(tmp_path))
    assert time.perf_counter() - start < 1
    check_ways_out(caught.value, "open_clip_model.safetensors")
    assert not list(tmp_path.iterdir())


def test_offline_mode_is_believed(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set") as caught:
        load_clip("RN50", pretrained="openai", cache_dir=str(tmp_path))
    check_ways_out(caught.value, "open_clip_model.safetensors")


def test_a_host_that_never_answers_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        start = time.perf_counter()
        with pytest.raises(WeightsError, match="does not answer"):
            url = f"http://127.0.0.1:{mute.getsockname()[1]}/weights.pt"
            require_answer(url, wanted="weights.pt", asked="RN50", timeout=0.3)
        assert time.perf_counter() - start < 2


def test_a_download_that_breaks_is_an_error_of_ours(named, monkeypatch, tmp_path):
    def broken(*args, **kwargs):
        raise FileNotFoundError("Failed to download file. Last error: reset by peer")

    monkeypatch.setattr("denseclip_viz.encode.pretrained.require_answer", lambda *args, **kwargs: None)
    monkeypatch.setattr(open_clip, "download_pretrained", broken)
    with pytest.raises(WeightsError, match="reset by peer") as caught:
        load_clip(named(one={}), pretrained="one", cache_dir=str(tmp_path))
    check_ways_out(caught.value, "nobody/tiny/open_clip_model.safetensors")


def test_cached_weights_need_no_network(named, cache, offline):
    loaded = load_clip(
        named(one={"mean": (0.1, 0.2, 0.3), "resize_mode": "squash"}), pretrained="one", cache_dir=cache
    )
    assert same(loaded.clip, state()) and loaded.provenance["weights"] == "one"
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3) and loaded.preprocess.resize_mode == "squash"


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
        save_file(
            state(TINY_RESNET), f"{cache}/models--nobody--tiny/snapshots/abc/open_clip_model.safetensors"
        )
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


def eps(module):
    return {part.eps for part in module.modules() if isinstance(part, torch.nn.LayerNorm)}


def test_the_papers_preset_changes_the_image_tower_only(named, folder):
    name = named(config={**TINY, "quick_gelu": True})
    loaded = load_clip(name, pretrained=folder / "open_clip_model.safetensors", preset="maskclip-paper")
    assert gates(loaded.clip.visual) == {"GELU"} and gates(loaded.clip.transformer) == {"QuickGELU"}
    assert eps(loaded.clip.visual) == {1e-6} and eps(loaded.clip.transformer) | eps(loaded.clip.ln_final) == {
        1e-5
    }
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


def test_for_a_resnet_the_preset_is_mean_and_std_alone(named):
    loaded = load_clip(named(config=TINY_RESNET), pretrained="random", preset="maskclip-paper")
    assert loaded.preprocess.std == (0.229, 0.224, 0.225)
    assert loaded.provenance["switches"] == "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"


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
    with pytest.raises(ModelNameError) as caught:
        load_clip(folder, **switches)
    assert str(next(iter(switches.values()))).removeprefix("fp") in str(caught.value)


@pytest.mark.parametrize("switches", [{"layer_norm_eps": 1e-6}, {"activation": "image-gelu"}])
def test_a_switch_that_changes_nothing_is_refused(switches, named):
    with pytest.raises(ModelNameError, match="changes nothing in Tiny-8"):
        load_clip(named(config=TINY_RESNET), pretrained="random", **switches)


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


def test_the_logit_scale_is_not_rounded_in_half_precision(folder):
    exact = load_clip(folder).clip.logit_scale
    assert torch.equal(load_clip(folder, dtype="bf16").clip.logit_scale, exact)


def save_as(kind, tensors, path):
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "legacy":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif kind == "training":
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}, "optimizer": {}}, path
        )
    else:
        torch.save(tensors, path)


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("safetensors", "safetensors"),
        ("zip", "pt"),
        ("zip", "bin"),
        ("zip", "pth"),
        ("legacy", "pt"),
        ("training", "pt"),
    ],
)
def test_every_way_to_save_a_state_dict_loads_the_same(kind, ending, folder, tmp_path):
    save_as(kind, state(), tmp_path / f"weights.{ending}")
    assert same(load_clip(folder, pretrained=tmp_path / f"weights.{ending}").clip, state())


class RunsCode:
    """Reading this without care would write a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def write_hostile(kind, path):
    """Writes a file that is no checkpoint, of one kind."""
    tensors = state()
    if kind == "code":
        torch.save({"weight": RunsCode(path.parent / "ran")}, path)
    elif kind == "whole model":
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "arguments":
        torch.save({"state_dict": tensors, "args": argparse.Namespace(lr=1)}, path)
    elif kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    elif kind == "zip of nothing":
        zipfile.ZipFile(path, "w").close()
    elif kind == "protocol 4":
        torch.save(tensors, path, pickle_protocol=4)
    elif kind in ("list", "empty dict", "numbers"):
        torch.save({"list": [1, 2], "empty dict": {}, "numbers": {"epoch": 3}}[kind], path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"hello, this is a text")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("code", "could run code"),
        ("whole model", "torch.nn.modules.linear.Linear"),
        ("arguments", "argparse.Namespace"),
        ("torchscript", "TorchScript archive"),
        ("zip of nothing", "cannot be read"),
        ("protocol 4", "cannot be read .* WeightsUnpickler|cannot be read .*operand"),
        ("list", "holds a list"),
        ("empty dict", "of nothing"),
        ("numbers", r"epoch \(int\)"),
        ("empty", r"0 bytes"),
        ("text", "cannot be read"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused_by_name_and_never_run(kind, said, folder, tmp_path):
    write_hostile(kind, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=said) as caught:
        load_clip(folder, pretrained=tmp_path / "weights.pt")
    assert "weights.pt" in caught.value.came and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_files_are_an_error_of_ours_or_load(kind, data, folder, tmp_path):
    """One byte changed near the start or the end, where the structure is, or the rest of the file lost."""
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    save_as(kind, state(), path)
    whole = bytearray(path.read_bytes())
    near = data.draw(st.integers(0, 3000))
    place = near if data.draw(st.booleans()) else len(whole) - 1 - near
    whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), place]))])
    try:
        load_clip(folder, pretrained=path)
    except (WeightsError, OutOfMemoryError) as error:
        assert "weights" in error.came


@pytest.mark.parametrize("where", ["nowhere.pt", "deep/er/weights.safetensors"])
def test_missing_files_and_folders_are_refused_by_name(where, folder, tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load_clip(folder, pretrained=tmp_path / where)
    with pytest.raises(WeightsError, match="is a folder"):
        load_clip(folder, pretrained=tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(WeightsError, match="ends in .npz"):
        load_clip(folder, pretrained=tmp_path / "weights.npz")


def test_a_checkpoint_of_another_architecture_names_keys_and_the_model_that_fits(named, tmp_path):
    named("Tiny-resnet", TINY_RESNET)
    save_file(state(TINY_RESNET), tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_clip(named(), pretrained=tmp_path / "resnet.safetensors")
    assert "resnet.safetensors does not fit Tiny-8" in caught.value.came
    assert "missing: visual.class_embedding" in caught.value.came and " more" in caught.value.came
    assert "unexpected: visual.attnpool" in caught.value.came
    assert "visual.conv1.weight (4, 3, 3, 3) instead of (16, 3, 8, 8)" in caught.value.came
    assert "Tiny-resnet" in caught.value.fix


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "logit bias"])
def test_every_key_must_fit(change, folder, tmp_path):
    tensors = state()
    if change == "missing":
        del tensors["visual.proj"]
    elif change == "unexpected":
        tensors["visual.extra"] = torch.zeros(1)
    elif change == "logit bias":
        tensors["logit_bias"] = torch.zeros(1)
    else:
        tensors["visual.proj"] = torch.zeros(16, 9)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="odd.safetensors does not fit tiny") as caught:
        load_clip(folder, pretrained=tmp_path / "odd.safetensors")
    named = {"missing": "visual.proj", "unexpected": "visual.extra", "logit bias": "logit_bias"}
    assert named.get(change, "visual.proj (16, 9) instead of (16, 8)") in caught.value.came


def test_a_positional_embedding_of_another_size_is_resized_aloud(folder, tmp_path):
    larger = {**TINY, "vision_cfg": {**VIT, "image_size": 64}}
    save_file(state(larger), tmp_path / "larger.safetensors")
    with pytest.warns(UserWarning, match="visual.positional_embedding resized from 65 to 17 rows") as seen:
        loaded = load_clip(folder, pretrained=tmp_path / "larger.safetensors")
    assert "resized from 65 to 17" in loaded.provenance["weights"]
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.safetensors", "b.safetensors"], "2 weights files"),
        (["readme.txt"], "no weights file"),
        (["a.pt", "b.bin"], "2 weights files"),
    ],
)
def test_a_folder_without_one_clear_weights_file_is_refused(files, said, tmp_path):
    made = write_config(tmp_path / "model")
    for file in files:
        (made / file).write_bytes(b"x")
    with pytest.raises(WeightsError, match=said):
        load_clip(made)
    assert load_clip(made, pretrained="random").provenance["random_weights"] == 1


def test_open_clips_own_file_goes_before_others_and_safetensors_before_pickles(tmp_path):
    made = write_config(tmp_path / "model")
    for file in ("other.safetensors", "open_clip_pytorch_model.bin", "step_10.pt"):
        (made / file).write_bytes(b"x")
    save_file(state(), made / "open_clip_model.safetensors")
    assert load_clip(made).provenance["weights"] == "open_clip_model.safetensors"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"model_cfg": 3}',
        '{"model_cfg": {"embed_dim": 8}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {"colour": 3}, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": "x", "vision_cfg": {}, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": 5, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": 5}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {"width": -8}, "text_cfg": {}}}',
    ],
)
def test_broken_configurations_are_an_error_of_ours(text, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelNameError, match="no model"):
        load_clip(tmp_path, pretrained="random")


def test_a_model_that_no_memory_could_hold_is_an_error_of_ours(tmp_path):
    write_config(tmp_path, {**TINY, "text_cfg": {**TEXT, "vocab_size": 10**13}})
    with pytest.raises(OutOfMemoryError):
        load_clip(tmp_path, pretrained="random")


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_text_towers_of_transformers_say_what_they_need():
    with pytest.raises(ModelNameError, match="needs the package transformers"):
        load_clip("roberta-ViT-B-32", pretrained="random")


def test_files_of_the_hub_that_a_text_tower_needs_are_missed_at_once(offline):
    with pytest.raises(WeightsError, match="nobody/words/config.json for Tiny"):
        require_hub_file("nobody/words", "config.json", asked="Tiny")


def test_the_known_models_are_open_clips_with_their_families():
    models = {model["name"]: model for model in known_models()}
    assert list(models) == [
        name for name in open_clip.list_models() if "vision_cfg" in open_clip.get_model_config(name)
    ]
    assert {name for name, model in models.items() if model["family"] == RESNET} == {
        f"RN{size}{end}" for size in ("50", "101", "50x4", "50x16", "50x64") for end in ("", "-quickgelu")
    }
    assert models["ViT-B-16"]["family"] == CLASS_TOKEN and models["ViT-B-16"]["image_size"] == (224, 224)
    assert {models[name]["family"] for name in ("ViT-B-16-SigLIP", "coca_ViT-B-32", "convnext_base")} == {
        OTHER
    }
    assert "openai" in models["RN50"]["tags"] and models["RN50"]["needs"] == ""
    assert models["roberta-ViT-B-32"]["needs"] == "transformers"
    assert all(
        isinstance(model["embed_dim"], int) and len(model["image_size"]) == 2 for model in models.values()
    )


def test_the_sizes_of_every_supported_model_are_told_apart():
    for model in known_models():
        config = open_clip.get_model_config(model["name"])
        if model["family"] == OTHER or model["needs"] or config.pop("custom_text", False):
            continue
        if "text_arch" in config["text_cfg"]:
            continue
        with torch.device("meta"):
            clip = open_clip.CLIP(**config)
        fits = fitting_models({key: tuple(tensor.shape) for key, tensor in clip.state_dict().items()})
        assert model["name"] in fits
        assert {name.removesuffix("-quickgelu") for name in fits} == {
            model["name"].removesuffix("-quickgelu")
        }


def test_the_hash_is_of_the_file_that_was_loaded(folder, tmp_path):
    tensors = load_file(folder / "open_clip_model.safetensors")
    tensors["logit_scale"] += 1e-6
    save_file(tensors, tmp_path / "other.safetensors")
    hashes = {
        load_clip(folder, pretrained=p).provenance["weights_hash"]
        for p in (tmp_path / "other.safetensors", None)
    }
    assert len(hashes) == 2
