"""A student as an ONNX file: the student's own answers, at any size, or no file."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import oracle
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.errors import OutputError
from denseclip_viz.plus import onnx_export
from denseclip_viz.plus import student as student_module
from denseclip_viz.plus.networks import Built, build
from denseclip_viz.plus.student import Student


@pytest.fixture(scope="module")
def model():
    return dcv.load()


def student_with(model, built):
    prompts = dcv.Prompts(["grass", "</script>sky"])
    vectors = nn.functional.normalize(torch.randn(2, 128, generator=torch.Generator().manual_seed(0)), dim=1)
    built.network.eval()
    return Student(built, prompts, vectors, model.provenance)


@pytest.fixture(scope="module")
def student(model):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 128, 1))
    return student_with(model, Built(network, {"name": "tiny", "stride": 4}))


@pytest.fixture(scope="module")
def file(student, tmp_path_factory):
    return dcv.plus.export_onnx(student, tmp_path_factory.mktemp("exported") / "student.onnx")


def answers(file, pixels):
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(["features", "cosines"], {"pixels": pixels.numpy()})


def agrees(student, file):
    for shape in ((1, 3, 64, 64), (3, 3, 128, 32)):
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            fine = student.built.network(pixels)
        unit = nn.functional.normalize(fine, dim=1)
        features, cosines = answers(file, pixels)
        assert oracle.relative_error(features, fine.numpy()) < 1e-5
        assert oracle.relative_error(cosines, torch.einsum("bdyx,cd->bcyx", unit, student.vectors).numpy()) < 1e-5


def test_the_file_answers_as_the_student_does_at_any_size(student, file):
    agrees(student, file)
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(file).metadata_props}
    assert facts["classes"] == ["grass", "</script>sky"] and facts["teacher"] == dict(student.teacher)
    assert not student.built.network.training
    with pytest.raises(OutputError, match="is there already"):
        dcv.plus.export_onnx(student, file)


@pytest.mark.every  # torch takes half a minute to go through a whole network
def test_a_copied_tower_under_a_pyramid_is_exported_too(model, tmp_path):
    student = student_with(model, build("clip-fpn", 128, teacher=model.tower))
    agrees(student, dcv.plus.export_onnx(student, tmp_path / "student.onnx"))


def test_a_file_that_answers_otherwise_is_not_written_and_the_student_stays_the_same(student, tmp_path, monkeypatch):
    before = {name: tensor.clone() for name, tensor in student.built.network.state_dict().items()}
    monkeypatch.setattr(onnx_export, "difference", lambda *_: float("inf"))
    with pytest.raises(OutputError, match="differ by inf"):
        dcv.plus.export_onnx(student, tmp_path / "student.onnx")
    assert list(tmp_path.iterdir()) == []
    state = student.built.network.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.items())


def test_a_difference_is_measured_and_no_number_is_infinitely_far(student, file):
    own = onnx_export._Answers(student.built.network, student.vectors).eval()
    turned = onnx_export._Answers(student.built.network, -student.vectors).eval()
    nothing = onnx_export._Answers(student.built.network, student.vectors * torch.nan).eval()
    content = file.read_bytes()
    assert onnx_export.difference(content, own) < 1e-5
    assert onnx_export.difference(content, turned) == pytest.approx(2, abs=1e-3)
    assert onnx_export.difference(content, nothing) == np.inf


def test_without_its_libraries_it_says_what_to_install(student, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(OutputError, match=r"denseclip_viz\[onnx\]"):
        dcv.plus.export_onnx(student, tmp_path / "student.onnx")


@pytest.mark.slow  # torch goes through the network once more
def test_the_command_line_exports_a_student_and_refuses_before_it_opens_one(student, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(student_module, "load", lambda folder: opened.append(folder) or student)
    target = tmp_path / "student.onnx"
    line = ["plus", "export", "taught", str(target)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0 and "student.onnx" in done.output, done.output
    agrees(student, target)
    again = CliRunner().invoke(app, line)
    assert again.exit_code == 2 and "is there already" in again.stderr and len(opened) == 1
    assert CliRunner().invoke(app, [*line[:3], str(tmp_path / "student.pt")]).exit_code == 2 and len(opened) == 1
