"""A student's maps beside its teacher's, on one page: the same words, one scale, and whose is which."""

import json
import re

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.plus import student as student_module
from denseclip_viz.plus.networks import build
from denseclip_viz.plus.student import Student
from denseclip_viz.toyworld.scenes import DRAWN


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture(scope="module")
def student(model):
    """Its teacher, upside down in half of the dimensions, so that it says something else."""
    prompts = dcv.Prompts({"sky": "sky", "taxi": ["taxi", "cab"]}, "a photo of a {}.", articles="right")
    built = build("clip-fpn", 128, teacher=model.tower)
    built.network.eval()
    with torch.no_grad():
        built.network.rest.value.c_proj.weight[:64] *= -1
    return Student(built, prompts, model.texts.encode(prompts)[0], model.provenance)


@pytest.fixture
def show(student, tmp_path, monkeypatch):
    monkeypatch.setattr(student_module, "load", lambda folder: student)
    known = PngInfo()
    known.add_text("comment", DRAWN)
    scene = dcv.toyworld.scene("a taxi on a road", size=64)
    Image.fromarray(scene.image).save(tmp_path / "scene.png", pnginfo=known)

    def run(*words, out="page.html", code=0):
        line = ["plus", "show", "taught", str(tmp_path / "scene.png"), "-o", str(tmp_path / out), "-g", "whole:64"]
        result = CliRunner().invoke(app, [*line, *words])
        assert result.exit_code == code, result.output
        return result.stderr if code else (tmp_path / out).read_text(encoding="utf-8")

    return run


def canvases(page):
    return json.loads(re.search(r'id="dcv-data">(.*?)</script>', page)[1])


def test_teacher_and_student_stand_on_one_scale_and_move_together(show, model, student, tmp_path):
    page = show()
    first, second = canvases(page)
    assert [one["meta"]["provenance"]["path"] for one in (first, second)] == ["value", "student"]
    assert first["_links"] == second["_links"] != []
    teacher = model.trace(tmp_path / "scene.png", geometry=dcv.Whole(short=64))
    maps = [model.similarity(each, student.prompts) for each in (teacher, student.trace(teacher))]
    low, high = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
    for one, size in ((first, 2), (second, 16)):
        (stack,) = one["meta"]["stacks"]
        assert (stack["low"], stack["high"]) == pytest.approx((low, high), abs=1e-6)
        assert stack["grid"]["rows"] == stack["grid"]["columns"] == size
    assert "Not among" not in page and "First the teacher along its value path" in page


def test_it_begins_with_the_class_that_the_student_is_surest_of(show, model, student, tmp_path):
    teacher = model.trace(tmp_path / "scene.png", geometry=dcv.Whole(short=64))
    peaks = model.similarity(student.trace(teacher), student.prompts).max(("template", "y", "x"))
    assert canvases(show())[1]["state"]["prompt"] == peaks.idxmax("prompt").item()


@pytest.mark.filterwarnings("ignore:The bundled models know only")
def test_any_words_are_shown_and_those_not_learned_are_named(show):
    page = show("-p", "a cab", "-p", "</script>road", "-a", "whale")
    assert [entry["name"] for entry in canvases(page)[1]["meta"]["prompts"]] == ["a cab", "</script>road", "whale"]
    assert "Not among the 2 classes that it learned: &lt;/script&gt;road, whale." in page


def test_too_many_maps_and_other_files_are_refused_in_the_words_of_the_command(show, monkeypatch):
    assert "Expected one of .html" in show(out="page.png", code=2)
    many = [word for how in ("a {}", "the {}", "{}") for word in ("-t", how)]
    monkeypatch.setattr("denseclip_viz.cli.plus_commands._PAGE", 0.001)
    assert "2 prompts in 3 templates" in show(*many, code=2)
