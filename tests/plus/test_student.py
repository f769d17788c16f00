"""A student in the teacher's place: its maps go wherever a trace goes; its files are opened whole or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import denseclip_viz as dcv
from denseclip_viz.errors import LayerError, OutputError, WeightsError
from denseclip_viz.plus.networks import Built, build
from denseclip_viz.plus.student import Student

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture(scope="module")
def trace(model):
    return model.trace(dcv.toyworld.scene("a red car on grass", size=64), geometry=dcv.Whole(short=64))


def student_of(model, built, prompts=None):
    prompts = prompts or dcv.Prompts({"car": ["car", "taxi"], "grass": ["grass"]}, "a {}.")
    built.network.eval()
    vectors = model.texts.encode(prompts).mean(0)
    return Student(built, prompts, vectors / vectors.norm(dim=-1, keepdim=True), model.provenance, {"step": 3})


@pytest.fixture(scope="module")
def student(model):
    built = build("clip-fpn", 128, teacher=model.tower)
    with torch.no_grad():
        for tensor in (*built.network.parameters(), *built.network.buffers()):
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand_like(tensor))
    return student_of(model, built)


class DensePathItself(nn.Module):
    """The teacher's own value path: what a student with nothing to learn would be."""

    def __init__(self, tower, times=1):
        super().__init__()
        self.tower, self.times, self.one = tower, times, nn.Parameter(torch.ones(1))

    def forward(self, pixels):
        _, streams = self.tower.forward(pixels)
        rows, columns = (side // 32 for side in pixels.shape[-2:])
        dense = streams.values.unflatten(1, (rows, columns)).movedim(-1, 1)
        return dense.repeat_interleave(self.times, 2).repeat_interleave(self.times, 3)


def test_a_student_that_is_the_teachers_path_has_the_teachers_maps(model, trace):
    itself = student_of(model, Built(DensePathItself(model.tower), {"name": "itself", "stride": 32}))
    prompts = dcv.Prompts(["a red car", "grass"])
    same, own = itself.trace(trace), model.similarity(trace, prompts)
    np.testing.assert_array_equal(model.similarity(same, prompts), own)
    assert model.segment(same, prompts).labels.equals(model.segment(trace, prompts).labels)
    assert same.paths == ("student",) and same.provenance["finer"] == "student, itself"


def test_finer_positions_lie_in_the_cell_that_they_are_parts_of(model, trace):
    finer = student_of(model, Built(DensePathItself(model.tower, times=4), {"name": "itself", "stride": 8}))
    fine = finer.trace(trace)
    assert fine.geometry.cell == (8, 8)
    torch.testing.assert_close(fine.dense, trace.dense.repeat_interleave(4, 0).repeat_interleave(4, 1), rtol=0, atol=0)


def test_a_stride_that_parts_no_cell_is_drawn_bilinearly_at_the_next_that_does(model):
    class Ramp(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.ones(1))

        def forward(self, pixels):
            rows, columns = (-(-side // 6) for side in pixels.shape[-2:])
            y, x = torch.meshgrid(*[(torch.arange(n) + 0.5) * 6 for n in (rows, columns)], indexing="ij")
            return torch.stack([y, x])[None]

    ramp = student_of(model, Built(Ramp(), {"name": "ramp", "stride": 6}))
    fine = ramp._features(torch.zeros(1, 3, 64, 96), torch.zeros(1, 2, 2, 3), cell=(32, 32))[0]
    assert fine.shape == (2, 8, 12)  # 8 is the next after 6 that parts 32
    centres = torch.arange(12) * 8 + 4.0
    torch.testing.assert_close(fine[1, 3, :-1], centres[:-1])
    torch.testing.assert_close(fine[0, :-1, 3], centres[:7])


def test_a_student_is_open_to_words_that_it_was_never_taught(model, trace, student):
    maps = model.similarity(student.trace(trace), ["a boat", "snow", "a taxi"])
    assert maps.shape[1:] == (3, 16, 16) and maps.attrs["path"] == "student" and float(abs(maps).max()) <= 1


def test_teacher_and_student_stand_side_by_side_on_one_page_and_in_figures(model, trace, student, tmp_path):
    prompts, fine = student.prompts, student.trace(trace)
    both = [model.compare(trace, prompts), model.similarity(fine, prompts)]
    page = dcv.save_html(both, tmp_path / "both.html", trace=[trace, fine]).read_text()
    assert page.count("<script") >= 1 and "student" in page
    assert dcv.plot.grid(both[1]).axes and dcv.plot.segments(model.segment(fine, prompts)).axes


def test_the_model_and_the_trace_are_the_same_after_it(model, trace, student):
    before = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    dense = trace.dense.clone()
    student.trace(trace)
    assert torch.equal(trace.dense, dense) and trace.paths == ("value",)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.clip.state_dict().items())


def test_every_pixel_gets_one_of_its_own_classes(model, student):
    scenes = [dcv.toyworld.scene(text, size=64) for text in ("a red car on grass", "a taxi")]
    answers = list(student.predict(model, scenes, geometry=dcv.Whole(short=64)))
    assert [answer.labels.shape for answer in answers] == [(64, 64)] * 2
    assert answers[0].label.values.tolist() == ["car", "grass"] and set(np.unique(answers[0].labels)) <= {0, 1}


def test_a_trace_of_another_model_or_another_input_is_refused(model, trace, student):
    other = dcv.load("bundled-vit").trace(dcv.toyworld.scene("a taxi", size=64))
    with pytest.raises(LayerError, match="with model 'bundled-vit'"):
        student.trace(other)
    fed_otherwise = trace.on_grid(trace.dense, trace.geometry, "")
    fed_otherwise.provenance["preprocess"] = "mean 0, std 1"
    with pytest.raises(LayerError, match="preprocess 'mean 0, std 1'"):
        student.trace(fed_otherwise)
    student.built.network.train()
    try:
        with pytest.raises(LayerError, match="training mode"):
            student.trace(trace)
    finally:
        student.built.network.eval()


def test_what_is_saved_is_opened_to_the_bit(model, trace, student, tmp_path):
    again = dcv.plus.load(student.save(tmp_path / "student"))
    state = again.built.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in student.built.network.state_dict().items())
    assert torch.equal(again.vectors, student.vectors) and again.prompts == student.prompts
    assert again.teacher == student.teacher and again.training == student.training
    assert torch.equal(again.trace(trace).dense, student.trace(trace).dense)
    with pytest.raises(OutputError, match="exists"):
        student.save(tmp_path / "student")


def strict(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_curves_of_steps_without_a_number_are_strict_json_and_come_back_as_nan(student, tmp_path):
    curves = {"loss": [0.5, 0.25], "agreement": [1.0, float("nan")]}
    taught = replace(student, training={"steps": 2, "settings": {"guided": None}, "curves": curves})
    folder = taught.save(tmp_path / "student")
    facts = json.loads((folder / "student.json").read_text(), parse_constant=strict)
    assert facts["training"]["curves"]["agreement"] == [1.0, None]
    again = dcv.plus.load(folder).training
    assert again["curves"]["loss"] == curves["loss"] and again["settings"] == {"guided": None}
    np.testing.assert_array_equal(again["curves"]["agreement"], curves["agreement"])


def test_absent_and_background_texts_are_kept(model, student, tmp_path):
    prompts = dcv.Prompts(["car", "grass"], ["{}", "a {}"], absent=["boat"], background="sky", articles="right")
    kept = dcv.plus.load(student_of(model, student.built, prompts).save(tmp_path / "student")).prompts
    assert kept == prompts


def changed(key, value):
    def change(folder):
        facts = json.loads((folder / "student.json").read_text())
        facts[key] = value if not isinstance(value, dict) else {**facts[key], **value}
        (folder / "student.json").write_text(json.dumps(facts))

    return change


def one_weight_changed(folder):
    tensors = load_file(folder / "network.safetensors")
    tensors["network.rest.head.bias"] = tensors["network.rest.head.bias"] + 1e-3
    save_file(tensors, folder / "network.safetensors")


@pytest.mark.parametrize(
    ("tampered", "why"),
    [
        (changed("format", 2), "of format 2"),
        (one_weight_changed, "SHA-256"),
        (changed("sha256", "0"), "SHA-256"),
        (changed("network", {"name": "os.system"}), "os.system"),
        (changed("network", {"dimension": 64}), "size mismatch|loading state_dict"),
        (changed("network", {"stride": 8}), "stride is 4"),
        (changed("network", {"structure": {"blocks": [9, 9, 9, 9], "width": 24}}), "loading state_dict"),
        (changed("prompts", {"prompts": ["car"]}), "."),
        (changed("prompts", None), "."),
        (lambda folder: (folder / "student.json").write_text("[" * 99999), "."),
        (lambda folder: (folder / "student.json").write_text("[]"), "."),
        (lambda folder: (folder / "network.safetensors").write_bytes(b"nothing"), "SHA-256"),
        (lambda folder: (folder / "network.safetensors").unlink(), "No such file"),
    ],
)
def test_changed_or_damaged_files_are_refused(student, tmp_path, tampered, why):
    folder = student.save(tmp_path / "student")
    tampered(folder)
    with pytest.raises(WeightsError, match=f"holds no student .*{why}"):
        dcv.plus.load(folder)


def test_names_of_classes_are_text_and_never_markup(model, student):
    prompts = dcv.Prompts([HOSTILE, "grass"])
    shown = Student(student.built, prompts, student.vectors, model.provenance)._repr_html_()
    assert HOSTILE not in shown and "&lt;img" in shown
    assert "2 classes" in repr(student) and "bundled-resnet" in repr(student)
