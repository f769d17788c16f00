"""Which weights are meant, where they are, and what to do when they are not."""

import re
from functools import partial
from pathlib import Path

import pytest
from checkpoint_files import add_name, go_offline, same, state, write_cache, write_config
from safetensors.torch import save_file

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.errors import ModelNameError, WeightsError


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


@pytest.fixture
def offline(monkeypatch):
    go_offline(monkeypatch)


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "cache")


def test_weights_are_never_chosen_in_silence():
    with pytest.raises(WeightsError, match="No weights were named for RN50") as caught:
        load_clip("RN50")
    assert all(word in caught.value.expected for word in ("openai", "yfcc15m", ".safetensors", '"random"'))


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
    assert file in error.got
    assert all(word in error.fix for word in ("Connect", "FILE.safetensors", 'pretrained="random"'))


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16", "ViT-L-14-336"])
def test_weights_that_are_not_here_are_missed_at_once_without_a_network(name, offline, tmp_path):
    with pytest.raises(WeightsError, match="127.0.0.1:[0-9]+: .*refused") as caught:
        load_clip(name, pretrained="openai", cache_dir=str(tmp_path))
    check_ways_out(caught.value, "open_clip_model.safetensors")
    assert not list(tmp_path.iterdir())


def test_offline_mode_is_believed_and_the_way_out_is_to_unset_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set") as caught:
        load_clip("RN50", pretrained="openai", cache_dir=str(tmp_path))
    assert "open_clip_model.safetensors" in caught.value.got and caught.value.fix.startswith("Unset HF_HUB_OFFLINE")


def test_cached_weights_need_no_network(named, cache, offline):
    loaded = load_clip(named(one={"mean": (0.1, 0.2, 0.3), "resize_mode": "squash"}), pretrained="one", cache_dir=cache)
    assert same(loaded.clip, state()) and loaded.provenance["weights"] == "one"
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3) and loaded.preprocess.resize_mode == "squash"


def test_a_damaged_file_of_the_download_cache_says_how_to_fetch_it_again(named, cache, offline):
    file = next(Path(cache).rglob("*.safetensors"))
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])
    with pytest.raises(WeightsError, match=re.escape(str(file))) as caught:
        load_clip(named(one={}), pretrained="one", cache_dir=cache)
    command = f"hf download nobody/tiny open_clip_model.safetensors --force-download --cache-dir {cache}"
    assert command in caught.value.fix


def test_a_snapshot_of_the_download_cache_is_called_by_its_repository(cache):
    folder = write_config(next(Path(cache).rglob("*.safetensors")).parent)
    assert load_clip(folder).provenance["model"] == "nobody/tiny"


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
