"""A student beside its teacher: the same counts as the general protocol, and means over seen and unseen classes."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny_students import QUICK
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.cli.evaluate_commands import keep
from denseclip_viz.clip import tracing
from denseclip_viz.errors import LayerError, PromptError
from denseclip_viz.plus import student_scores
from denseclip_viz.plus.student_scores import seen_and_unseen
from denseclip_viz.presets import PRESETS, Preset
from denseclip_viz.toyworld.scenes import DRAWN

UNSEEN = ["grass", "fox"]


def drawn():
    """Mark an image as one of the bundled world."""
    info = PngInfo()
    info.add_text("comment", DRAWN)
    return info


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture(scope="module")
def student(model, tmp_path_factory):
    scenes, folder = dcv.toyworld.dataset(4, size=64), tmp_path_factory.mktemp("run")
    return dcv.plus.train(model, scenes, folder, steps=2, labels="seen", unseen=UNSEEN, **QUICK)


def test_the_teacher_is_measured_as_the_protocol_measures_it(student, model):
    scenes = dcv.toyworld.dataset(2, "test", size=64)
    both = dcv.plus.evaluate(student, model, scenes, geometry=dcv.Whole(short=64), progress=False)
    alone = dcv.measure.evaluate_segmentation(model, scenes, geometry=dcv.Whole(short=64), progress=False)
    assert np.array_equal(both.confusion[0], alone.confusion[0])
    assert both.confusion.sum(("true", "given")).values.tolist() == [2 * 64 * 64] * 2


def test_a_student_is_measured_pixel_by_pixel_on_its_own_grid(student, model):
    (scene,) = scenes = dcv.toyworld.dataset(1, "test", size=64)
    both = dcv.plus.evaluate(student, model, scenes, geometry=dcv.Whole(short=64), progress=False)
    trace = student.trace(model.trace(scene, geometry=dcv.Whole(short=64)))
    labels = model.segment(trace, student.prompts).labels.values
    assert both.confusion[1].values.trace() == (labels == scene.labels()).sum()


def test_teacher_guided_teacher_and_student_are_counted_of_one_pass(student, model, monkeypatch):
    passes, plain = [], tracing.run
    monkeypatch.setattr(tracing, "run", lambda *given: passes.append(len(given[1])) or plain(*given))
    scenes = dcv.toyworld.dataset(3, "test", size=64)
    all_three = dcv.plus.evaluate(
        student, model, scenes, finer="guided", geometry="whole", batch_size=2, progress=False
    )
    assert all_three.candidate.values.tolist() == ["value", "value, guided", "student"] and passes == [2, 1]
    assert "guided, 4 x 4, radius 1, epsilon 0.01; student" in all_three.attrs["finer"]


def test_the_harmonic_mean_is_of_seen_and_unseen_classes(student, model):
    scenes = dcv.toyworld.dataset(3, "test", size=64)
    both = dcv.plus.evaluate(student, model, scenes, geometry=dcv.Whole(short=64), progress=False)
    iou = both.iou.to_pandas().loc["value"]
    labelled, other = iou.drop(UNSEEN).mean(), iou[UNSEEN].mean()
    assert both.hiou.attrs == {"long_name": "harmonic mean of seen and unseen", "units": "1"}
    assert both.hiou.values[0] == pytest.approx(2 * labelled * other / (labelled + other), rel=1e-12)


def test_nothing_right_has_a_harmonic_mean_of_nought(student, model):
    import xarray as xr

    iou = xr.DataArray([[0.0, 0.0]], dims=("candidate", "class"), coords={"class": ["sky", "sheep"]})
    assert seen_and_unseen({"iou": iou}, ["sheep"])["hiou"][1].tolist() == [0.0]


def test_other_words_than_those_learned_can_be_measured(student, model):
    scenes = dcv.toyworld.dataset(1, "test", size=64)
    options = {"geometry": dcv.Whole(short=64), "progress": False}
    both = dcv.plus.evaluate(student, model, scenes, prompts=dcv.Prompts(["grass", "sky"]), **options)
    assert set(both["class"].values[both.confusion.sum(("candidate", "true"))[:-1] > 0]) <= {"grass", "sky"}
    with pytest.raises(PromptError, match="no label has"):
        dcv.plus.evaluate(student, model, scenes, prompts=dcv.Prompts(["a red car"]), **options)


def test_curves_are_drawn_with_what_was_read(student):
    figure = dcv.plot.training_curves(student)
    assert [line.get_gid() for ax in figure.axes for line in ax.lines if line.get_gid()][0] == "loss"
    with pytest.raises(LayerError, match="without curves"):
        dcv.plot.training_curves(type("Bare", (), {"training": {}})())


def test_the_command_line_trains_goes_on_and_measures(tmp_path):
    run, saved = str(tmp_path / "run"), str(tmp_path / "student")
    options = ["--limit", "2", "--steps", "1", "--batch", "1", "--crop", "64"]
    done = CliRunner().invoke(app, ["plus", "train", "toyworld", run, saved, *options])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["plus", "train", "toyworld", run, saved, *options]).exit_code == 2
    measured = CliRunner().invoke(app, ["plus", "evaluate", saved, "toyworld", "--limit", "1", "-g", "whole:64"])
    assert measured.exit_code == 0, measured.output
    assert "mIoU\t" in measured.output and "value" in measured.output and "student" in measured.output
    image, labels = tmp_path / "scene.png", tmp_path / "scene-labels.png"
    Image.fromarray(dcv.toyworld.scene("a taxi on grass", size=64).image).save(image, pnginfo=drawn())
    written = CliRunner().invoke(
        app, ["plus", "predict", saved, str(image), "--labels", str(tmp_path / "{name}-labels.png"), "-g", "whole:64"]
    )
    assert written.exit_code == 0, written.output
    with Image.open(labels) as opened:
        assert opened.size == (64, 64)
    (tmp_path / "bad.png").write_bytes(b"no image")
    several = ["--labels", str(tmp_path / "{name}-again.png"), "-g", "whole:64"]
    written = CliRunner().invoke(app, ["plus", "predict", saved, str(tmp_path / "bad.png"), str(image), *several])
    assert written.exit_code == 1 and "left out: " in written.stderr and (tmp_path / "scene-again.png").exists()


SMALL = Preset(geometry=dcv.Whole(short=64), path="value-attention-only")


def test_path_and_geometry_are_the_presets_where_they_are_not_given(student, model):
    scenes = dcv.toyworld.dataset(2, size=96)
    by_preset = dcv.plus.evaluate(student, model, scenes, preset=SMALL, progress=False)
    same = {"path": SMALL.path, "geometry": SMALL.geometry, "progress": False}
    assert by_preset.candidate.values.tolist() == ["value-attention-only", "student"]
    np.testing.assert_array_equal(by_preset.confusion, dcv.plus.evaluate(student, model, scenes, **same).confusion)
    by_preset = dcv.plus.evaluate(student, model, scenes, preset=SMALL, path="value", progress=False)
    assert by_preset.candidate.values.tolist() == ["value", "student"]
    with pytest.raises(LayerError, match="path \\['value'\\] is unknown"):
        dcv.plus.evaluate(student, model, scenes, path=["value"], progress=False)


def test_the_command_line_passes_the_preset_on(student, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "clip", SMALL)
    saved, image = str(student.save(tmp_path / "student")), tmp_path / "scene.png"
    Image.fromarray(dcv.toyworld.scene("a taxi on grass", size=96).image).save(image, pnginfo=drawn())
    out = {"predict": ["--labels", str(tmp_path / "{name}.json")], "show": ["-o", str(tmp_path / "page.html")]}
    lines = {"evaluate": ["toyworld", "--limit", "1"]} | {name: [str(image), *to] for name, to in out.items()}
    for name, line in lines.items():
        refused = CliRunner().invoke(app, ["plus", name, saved, *line, "--preset", "sclip"])
        assert refused.exit_code == 2 and "keeps windows apart" in refused.stderr, refused.output
        assert "or tiles" not in refused.stderr
        done = CliRunner().invoke(app, ["plus", name, saved, *line, "--preset", "clip"])
        assert done.exit_code == 0, done.output
        assert name != "evaluate" or "value-attention-only" in done.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "value-attention-only path" in page and "short=64" in page


def test_what_was_measured_until_an_interrupt_is_printed_and_the_command_ends_as_stopped(
    student, tmp_path, monkeypatch
):
    folder = student.save(tmp_path / "student")
    unstopped = student_scores.evaluate

    def stopped(*given, **options):
        measured = unstopped(*given, **options)
        return measured.assign_attrs(stopped=1)

    monkeypatch.setattr(student_scores, "evaluate", stopped)
    line = ["plus", "evaluate", str(folder), "toyworld", "--limit", "1", "-g", "whole:64"]
    done = CliRunner().invoke(app, [*line, "--out", str(tmp_path / "scores.csv")])
    assert done.exit_code == 130 and "mIoU\t" in done.stdout and "stopped" in done.stderr
    assert "scores.csv is of the 1 image until then: --force writes it anew" in done.stderr
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table.images.eq(1).all() and table.stopped.all()


def test_scores_of_classes_that_no_image_has_are_null_in_json(student, model, tmp_path):
    options = {"geometry": dcv.Whole(short=64), "progress": False}
    measured = dcv.plus.evaluate(student, model, dcv.toyworld.dataset(1, "test", size=64), **options)
    measured["unseen"][:] = np.nan
    file = keep(measured, str(tmp_path / "scores.json"), force=False)
    scores = json.loads(file.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert [each["unseen"] for each in scores["candidates"]] == [None, None]
    assert None in scores["candidates"][0]["iou"].values()


def test_a_class_that_was_never_taught_is_neither_seen_nor_unseen():
    import xarray as xr

    iou = xr.DataArray([[0.6, 0.3, 0.0]], dims=("candidate", "class"), coords={"class": ["sky", "sheep", "boat"]})
    assert seen_and_unseen({"iou": iou}, ["sheep"], ["sky"])["seen"][1].tolist() == [0.6]
