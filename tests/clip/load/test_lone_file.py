"""A weights file alone is a model, where its tensors say which."""

from functools import partial

import pytest
import torch
from checkpoint_files import TINY, TINY_RESNET, add_name, same, state, write_archive, write_folder
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.errors import ModelNameError, WeightsError


@pytest.fixture
def named(monkeypatch):
    return partial(add_name, monkeypatch)


def load(name, **options):
    return dcv.load(name, device="cpu", cache=False, **options)


@pytest.mark.parametrize("ending", ["pt", "ckpt", "safetensors"])
def test_the_architecture_of_a_file_is_told_by_its_tensors(ending, named, tmp_path):
    named("Tiny-vit", TINY), named("Tiny-resnet", TINY_RESNET)
    for config, name in ((TINY, "Tiny-vit"), (TINY_RESNET, "Tiny-resnet")):
        torch.save(
            {"state_dict": {f"model.{key}": value for key, value in state(config).items()}}, tmp_path / f"w.{ending}"
        )
        model = load(tmp_path / f"w.{ending}")
        assert model.provenance["model"] == name and model.provenance["weights"] == f"w.{ending}"
        assert same(model.clip, state(config))
        assert "the architecture was told by the sizes of the tensors" in model.provenance["notes"]


def test_openais_archive_alone_is_loaded_as_it_was_trained(named, tmp_path):
    named("Tiny-vit", TINY, one={"quick_gelu": False}), named("Tiny-vit-quickgelu", {**TINY, "quick_gelu": True})
    model = load(str(write_archive(tmp_path / "ViT-B-32.pt", dtype=torch.float16)))
    assert (model.provenance["model"], model.provenance["activation"]) == ("Tiny-vit", "quickgelu")
    assert model.trace(torch.zeros(32, 32, 3).numpy()).global_embedding.dtype == torch.float32


def test_the_configuration_beside_a_file_goes_before_its_tensors(tmp_path):
    folder = write_folder(tmp_path / "tiny")
    model = load(folder / "open_clip_model.safetensors")
    assert model.provenance["model"] == "tiny" and model.preprocess.mean == (0.5, 0.5, 0.5)
    assert "beside the file" in model.provenance["notes"]


def test_a_file_that_fits_several_models_or_none_is_refused_with_their_names(named, tmp_path):
    save_file(state(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="no model of open_clip has two towers"):
        load(tmp_path / "w.safetensors")
    named("Tiny-a", TINY), named("Tiny-b", TINY)
    with pytest.raises(WeightsError, match=r"the sizes of Tiny-a, Tiny-b.*name='Tiny-a', pretrained='.*w.safetensors'"):
        load(tmp_path / "w.safetensors")


def test_a_name_of_a_model_goes_before_a_file_of_that_name(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / named("Tiny-a", TINY)).write_bytes(b"GGUF")
    with pytest.raises(WeightsError, match="No weights were named for Tiny-a"):
        load("Tiny-a")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(WeightsError, match="is an ONNX model"):
        load("model.onnx")
    with pytest.raises(ModelNameError, match="There is no model 'model.pt'"):
        load("model.pt")


def test_the_command_line_takes_a_file_too(named, tmp_path):
    named("Tiny-vit", TINY)
    save_file(state(), tmp_path / "w.safetensors")
    image = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(image)
    options = ["-m", str(tmp_path / "w.safetensors"), "-p", "a taxi", "-p", "grass"]
    ran = CliRunner().invoke(app, ["classify", str(image), *options])
    assert ran.exit_code == 0 and "a taxi" in ran.output
    named("Tiny-other", TINY)
    ran = CliRunner().invoke(app, ["classify", str(image), *options])
    assert ran.exit_code and "--model Tiny-vit, --weights" in " ".join(ran.output.split())
