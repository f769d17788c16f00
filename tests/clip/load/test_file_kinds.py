"""Files are what their first bytes say, whatever they are called."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import torch
from checkpoint_files import same, state, write_folder
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.load.file_kinds import read_file
from denseclip_viz.errors import WeightsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize("ending", ["pt", "bin", "ckpt"])
def test_a_safetensors_file_under_another_ending_is_read_as_what_it_is(ending, folder, tmp_path):
    save_file(state(), tmp_path / f"weights.{ending}", {"weights": "random"})
    loaded = load_clip(folder, pretrained=tmp_path / f"weights.{ending}")
    assert same(loaded.clip, state()) and loaded.provenance["random_weights"] == 1


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_saved_is_read_also_where_it_is_called_safetensors(old, folder, tmp_path):
    torch.save(state(), tmp_path / "w.safetensors", _use_new_zipfile_serialization=not old)
    assert same(load_clip(folder, pretrained=tmp_path / "w.safetensors").clip, state())


def tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return stream.getvalue()


def array():
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


OTHERS = {
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "a page": (b"\n<!DOCTYPE html><html><head>", "is a web page"),
    "a page without a type": (b"<html>", "is a web page"),
    "an error of S3": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "gzip": (gzip.compress(b"weights"), "is a gzip archive"),
    "xz": (b"\xfd7zXZ\0\0\x04", "is a packed archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "is a packed archive"),
    "tar": (tar(), "is a tar archive"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.3.0:\xf4\x03", "is an ONNX model"),
    "onnx without a producer": (b"\x08\x0a:\x8e\x80", "is an ONNX model"),
    "gguf": (b"GGUF\x03\0\0\0\xc8\x01", "is a GGUF file of llama.cpp"),
    "keras": (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file"),
    "tflite": (b"\x1c\0\0\0TFL3\x14\0", "is a model of TensorFlow Lite"),
    "tensorflow": (b"\x08\x01\x12\xa0\x1c\n\x12*\x05serve2\x01", "is a SavedModel of TensorFlow"),
    "numpy": (array(), "is an array of NumPy"),
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("ending", ["pt", "safetensors", "onnx"])
def test_what_is_no_checkpoint_is_called_by_its_name(kind, ending, folder, tmp_path):
    content, what = OTHERS[kind]
    (tmp_path / f"w.{ending}").write_bytes(content)
    with pytest.raises(WeightsError, match=what):
        load_clip(folder, pretrained=tmp_path / f"w.{ending}")


@given(length=st.integers(1, 2**40), rest=st.binary(max_size=64))
def test_no_header_of_safetensors_is_taken_for_another_kind(length, rest, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "w.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + b'{"' + rest)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_file(file)
