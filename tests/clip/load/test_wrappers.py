"""Checkpoints as training scripts leave them: wrapped, prefixed, with other things beside."""

import argparse

import pytest
import torch
from checkpoint_files import same, state, write_folder
from safetensors.torch import save_file

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.errors import WeightsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


def behind(prefix, *, seed=1):
    return {prefix + key: tensor for key, tensor in state(seed=seed).items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "clip.", "module._orig_mod.clip."])
def test_a_prefix_that_all_names_have_is_taken_off_and_noted(prefix, folder, tmp_path):
    tensors = {"state_dict": behind(prefix), "state_dict_ema": state(seed=2)}
    torch.save(tensors, tmp_path / "fine.ckpt")
    loaded = load_clip(folder, pretrained=tmp_path / "fine.ckpt")
    assert same(loaded.clip, state())
    assert f"the prefix {prefix} of all names was taken off" in loaded.provenance["notes"]
    assert "state_dict_ema, which is there too, was left aside" in loaded.provenance["notes"]
    assert load_clip(folder).provenance["notes"] == "none"


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module", "my_weights"])
def test_a_state_dict_in_a_wrapper_is_opened(key, folder, tmp_path):
    optimizer = {"state": {0: {"step": torch.tensor(1)}}}
    torch.save({"best_accuracy": torch.tensor(0.7), key: state(), "optimizer": optimizer}, tmp_path / "w.pt")
    assert same(load_clip(folder, pretrained=tmp_path / "w.pt").clip, state())


@pytest.mark.parametrize("average", ["ema", "model_ema", "ema_model", "swa"])
def test_the_running_average_of_the_weights_is_left_aside_and_noted(average, folder, tmp_path):
    for content in ({"weights": state(), average: state(seed=2)}, {average: state(seed=2), "model": state()}):
        torch.save(content, tmp_path / "w.pt")
        loaded = load_clip(folder, pretrained=tmp_path / "w.pt")
        assert same(loaded.clip, state())
        assert f"{average}, which is there too, was left aside" in loaded.provenance["notes"]
    torch.save(behind("model.") | behind(f"{average}.", seed=2), tmp_path / "w.pt")
    loaded = load_clip(folder, pretrained=tmp_path / "w.pt")
    assert same(loaded.clip, state()) and "behind the prefix model. was taken" in loaded.provenance["notes"]
    torch.save({average: state(seed=2)}, tmp_path / "w.pt")
    assert same(load_clip(folder, pretrained=tmp_path / "w.pt").clip, state(seed=2))


def test_a_checkpoint_of_lightning_is_read_with_all_the_objects_in_it(folder, tmp_path):
    beside = {
        "criterion.logit_scale": torch.zeros(()),
        "criterion.labels": torch.zeros(3),
        "head.weight": torch.zeros(2),
    }
    content = {
        "state_dict": behind("model.") | beside,
        "hyper_parameters": argparse.Namespace(lr=1e-3),
        "callbacks": {argparse.Namespace: {"best": torch.tensor(1.0)}},
        "pytorch-lightning_version": "2.5",
    }
    torch.save(content, tmp_path / "epoch=3.ckpt")
    loaded = load_clip(folder, pretrained=tmp_path / "epoch=3.ckpt")
    assert same(loaded.clip, state())
    notes = loaded.provenance["notes"]
    assert "what is behind the prefix model. was taken" in notes
    assert "criterion.labels, criterion.logit_scale, head.weight beside it left aside" in notes


def test_a_whole_clip_without_a_prefix_goes_before_others_that_have_one(folder, tmp_path):
    save_file(state() | behind("teacher.", seed=2), tmp_path / "w.safetensors")
    loaded = load_clip(folder, pretrained=tmp_path / "w.safetensors")
    assert same(loaded.clip, state()) and "without a prefix was taken" in loaded.provenance["notes"]


def test_of_two_models_in_a_file_none_is_chosen(folder, tmp_path):
    for content in (behind("student.") | behind("teacher."), {"student": state(), "teacher": state(seed=2)}):
        torch.save(content, tmp_path / "distilled.pt")
        with pytest.raises(WeightsError, match=r"holds 2 models, behind 'student\.?' and 'teacher\.?'"):
            load_clip(folder, pretrained=tmp_path / "distilled.pt")


@pytest.mark.parametrize(
    "content", [{"state_dict": "none"}, {"model": {"a": 3}}, {"state_dict": {}}, {3: 4}, "w", None]
)
def test_what_holds_no_tensors_is_told(content, folder, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="w.pt holds"):
        load_clip(folder, pretrained=tmp_path / "w.pt")


@pytest.mark.parametrize("entry", ["logit_scale", "logit_bias"])
def test_a_number_that_is_missing_is_called_what_it_is(entry, tmp_path):
    folder = write_folder(tmp_path / "tiny", init_logit_bias=-10)
    tensors = state() | {"logit_bias": torch.tensor(-10.0)}
    assert load_clip(folder, pretrained=saved(tensors, tmp_path)).clip.logit_bias.item() == -10
    del tensors[entry]
    what = {"logit_scale": "logarithm of the temperature", "logit_bias": "sigmoid loss"}
    with pytest.raises(WeightsError, match=f"missing: {entry}.*{what[entry]}"):
        load_clip(folder, pretrained=saved(tensors, tmp_path))


def saved(tensors, place):
    save_file(tensors, place / "w.safetensors")
    return place / "w.safetensors"
