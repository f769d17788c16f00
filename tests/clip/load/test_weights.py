"""Files that hold weights, and files that do not."""

import argparse
import os
import warnings
import zipfile
from functools import partial
from pathlib import Path

import open_clip
import pytest
import torch
from checkpoint_files import TINY, TINY_RESNET, VIT, add_name, same, state, write_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

import denseclip_viz as dcv
from denseclip_viz.clip.load import models as listing
from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.weights import OPENAI_MARKS
from denseclip_viz.errors import OutOfMemoryError, WeightsError


class Drawn(TorchFunctionMode):
    """Counts the numbers that are drawn at random in place."""

    count = 0

    def __torch_function__(self, call, types, args=(), kwargs=None):
        if getattr(call, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            self.count += (args[0] if args else kwargs["tensor"]).numel()
        return call(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


def save_as(kind, tensors, path):
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "legacy":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    elif kind == "training":
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}, "optimizer": {}}, path)
    elif kind == "protocol 4":
        torch.save(tensors, path, pickle_protocol=4)
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
        ("zip", "safetensors"),
        ("protocol 4", "pt"),
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
    elif kind == "an object":
        torch.save(argparse.Namespace(lr=1), path)
    elif kind == "objects of old":
        arguments = {"state_dict": tensors, "args": argparse.Namespace(lr=1)}
        torch.save(arguments, path, _use_new_zipfile_serialization=False)
    elif kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    elif kind == "zip of nothing":
        zipfile.ZipFile(path, "w").close()
    elif kind == "zip of a checkpoint":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("my/weights.pt", b"weights")
    elif kind in ("list", "empty dict", "numbers"):
        torch.save({"list": [1, 2], "empty dict": {}, "numbers": {"epoch": 3}}[kind], path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"hello, this is a text")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("code", r"weight \(\w+.mkdir\)"),
        ("an object", "holds a argparse.Namespace"),
        ("objects of old", r"before torch 1.6, holds Python objects \(argparse.Namespace\)"),
        ("torchscript", "does not fit tiny"),
        ("zip of nothing", "a zip archive of nothing"),
        ("zip of a checkpoint", "a zip archive of my/weights.pt"),
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
    assert "weights.pt" in caught.value.got and not (tmp_path / "ran").exists()


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
        with warnings.catch_warnings():  # a damaged table of other length is resized, and said to be
            warnings.filterwarnings("ignore", ".*positional_embedding resized from", UserWarning)
            load_clip(folder, pretrained=path)
    except (WeightsError, OutOfMemoryError) as error:
        assert "weights" in error.got


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
    assert "resnet.safetensors does not fit Tiny-8" in caught.value.got
    assert "missing: visual.class_embedding" in caught.value.got and " more" in caught.value.got
    assert "unexpected: visual.attnpool" in caught.value.got
    assert "visual.conv1.weight (4, 3, 3, 3) instead of (16, 3, 8, 8)" in caught.value.got
    assert "Tiny-resnet" in caught.value.fix


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_every_key_must_fit(change, folder, tmp_path):
    tensors = state()
    if change == "missing":
        del tensors["visual.proj"]
    elif change == "unexpected":
        tensors["visual.extra"] = torch.zeros(1)
    else:
        tensors["visual.proj"] = torch.zeros(16, 9)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="odd.safetensors does not fit tiny") as caught:
        load_clip(folder, pretrained=tmp_path / "odd.safetensors")
    named = {"missing": "visual.proj", "unexpected": "visual.extra"}
    assert named.get(change, "visual.proj (16, 9) instead of (16, 8)") in caught.value.got


def test_a_prefix_of_some_names_is_theirs(folder, tmp_path):
    tensors = {key: tensor for key, tensor in state().items() if key.startswith("visual.")}
    save_file(tensors, tmp_path / "image.safetensors")
    with pytest.raises(WeightsError, match="missing: ln_final.bias"):
        load_clip(folder, pretrained=tmp_path / "image.safetensors")


@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_bias_of_a_sigmoid_loss_is_loaded_whatever_the_configuration(shape, folder, tmp_path):
    save_file(state() | {"logit_bias": torch.full(shape, -7.5)}, tmp_path / "siglip.safetensors")
    assert load_clip(folder, pretrained=tmp_path / "siglip.safetensors").clip.logit_bias.item() == -7.5
    assert load_clip(folder).clip.logit_bias is None


def test_entries_that_are_no_weights_are_never_listed_as_differences(named, tmp_path):
    tensors = state(TINY_RESNET) | {name: torch.tensor(7) for name in OPENAI_MARKS}
    save_file(tensors, tmp_path / "openai.safetensors")
    with pytest.raises(WeightsError, match="does not fit") as caught:
        load_clip(named(), pretrained=tmp_path / "openai.safetensors")
    assert not any(name in str(caught.value) for name in OPENAI_MARKS)


def test_of_two_names_that_differ_in_the_activation_only_the_plain_one_is_advised(named, tmp_path):
    clip = open_clip.create_model("ViT-S-32-alt")
    save_file(clip.state_dict(), tmp_path / "other.safetensors")
    facts = listing.known_models("ViT-S-32-alt")["ViT-S-32-alt"]
    both = {"ViT-S-32-alt": facts, "ViT-S-32-alt-quickgelu": facts}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "known_models", lambda pattern="*": both)
        with pytest.raises(WeightsError, match="the sizes of ViT-S-32-alt: pass that name"):
            load_clip(named(), pretrained=tmp_path / "other.safetensors")


@pytest.mark.parametrize("kind", ["resnet", "vit", "mean", "query"])
def test_a_model_from_a_file_is_not_drawn_before_and_lacks_nothing_of_a_drawn_one(kind, model_folder):
    name = str(model_folder(kind))
    with Drawn() as drawn:
        loaded = dcv.load(name).clip
    numbers = sum(parameter.numel() for parameter in loaded.parameters())
    assert drawn.count < 0.01 * numbers
    with Drawn() as drawn:
        other = dcv.load(name, pretrained="random").clip
    assert drawn.count > 0.9 * numbers
    beside = [name for name, _ in other.named_buffers() if name not in loaded.state_dict()]  # in no file
    assert all(torch.equal(other.get_buffer(name), loaded.get_buffer(name)) for name in beside)


@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit", "bundled-vit-cls"])
def test_a_bundled_model_is_not_drawn_before_it_is_read(name):
    with Drawn() as drawn:
        dcv.load(name)
    assert drawn.count < 1000


def test_a_file_that_may_not_be_read_is_not_called_broken(folder, tmp_path, monkeypatch):
    save_file(state(), tmp_path / "w.safetensors")

    def forbidden(self, *args, opens=Path.open, **options):
        if self.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied")
        return opens(self, *args, **options)

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    with pytest.raises(WeightsError, match=r"cannot be opened \(Permission denied\).*permissions"):
        load_clip(folder, pretrained=tmp_path / "w.safetensors")


def test_the_home_folder_may_be_written_as_a_tilde(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert same(load_clip("~/tiny", pretrained="~/tiny/open_clip_model.safetensors").clip, state())
    assert same(load_clip("local-dir:~/tiny").clip, state())
    assert dcv.load("~/tiny", cache=False).provenance["model"] == "tiny"


def test_a_temperature_whose_exponential_is_infinite_is_refused(folder, tmp_path):
    save_file(state() | {"logit_scale": torch.tensor(1e4)}, tmp_path / "hot.safetensors")
    with pytest.raises(WeightsError, match="in logit_scale"):
        load_clip(folder, pretrained=tmp_path / "hot.safetensors")


def test_a_positional_embedding_of_another_size_is_resized_aloud(folder, tmp_path):
    larger = {**TINY, "vision_cfg": {**VIT, "image_size": 64}}
    save_file(state(larger), tmp_path / "larger.safetensors")
    with pytest.warns(UserWarning, match="visual.positional_embedding resized from 65 to 17 rows") as seen:
        loaded = load_clip(folder, pretrained=tmp_path / "larger.safetensors")
    assert "resized from 65 to 17" in loaded.provenance["weights"]
    assert seen[0].filename == __file__


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("kind", [torch.int8, torch.bool])
def test_whole_numbers_are_no_weights_without_what_they_were_scaled_by(kind, ending, folder, tmp_path):
    whole = {key: (tensor * 99).to(kind) if tensor.ndim > 1 else tensor for key, tensor in state().items()}
    save_as(ending if ending == "safetensors" else "plain", whole, tmp_path / f"w.{ending}")
    with pytest.raises(WeightsError, match=f"w.{ending} holds {str(kind)[6:]} in .*before it was quantised"):
        load_clip(folder, pretrained=tmp_path / f"w.{ending}")


def test_the_hash_is_of_the_file_that_was_loaded(folder, tmp_path):
    tensors = load_file(folder / "open_clip_model.safetensors")
    tensors["logit_scale"] += 1e-6
    save_file(tensors, tmp_path / "other.safetensors")
    hashes = {
        load_clip(folder, pretrained=p).provenance["weights_hash"] for p in (tmp_path / "other.safetensors", None)
    }
    assert len(hashes) == 2
