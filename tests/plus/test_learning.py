"""DenseCLIP+ in training: from which labels a student learns, by which rate, and that nothing stops it for good."""

import dataclasses
import random
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from processes import killed
from tiny_students import QUICK, TinyNetwork, main, tiny
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.datasets.dataset import Dataset, Item
from denseclip_viz.datasets.example import Example
from denseclip_viz.datasets.layouts import LAYOUTS
from denseclip_viz.errors import (
    DenseclipVizError,
    ImageError,
    OutputError,
    PromptError,
    UntrainedImageWarning,
    WeightsError,
)
from denseclip_viz.plus import learning
from denseclip_viz.plus.augment import Crops, augmented, example_at
from denseclip_viz.plus.networks import Built
from denseclip_viz.plus.pseudo_labels import IGNORED, OPEN, Teacher, filled, own_labels
from denseclip_viz.plus.schedules import SCHEDULES, Schedule
from denseclip_viz.plus.training_run import TrainingRun, mean_loss
from denseclip_viz.toyworld.rng import stream
from denseclip_viz.train.loop import STATE, read_checkpoint

NAMES = ["grass", "sky", "a taxi"]
SMALL = dcv.Whole(short=64)
PLAIN = {"steps": 1, "crop": 64, "short": 64, "ratio": (1, 1), "photometric": False}


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture
def quick(monkeypatch, model, tmp_path):
    """Train a tiny student on eight scenes."""
    monkeypatch.setattr(learning, "build", tiny)

    def run(dataset=None, folder=tmp_path / "run", **options):
        scenes = dcv.toyworld.dataset(8, size=64) if dataset is None else dataset
        return dcv.plus.train(model, scenes, folder, **{"steps": 3, **QUICK, **options})

    return run


def weights_of(student):
    return {name: tensor.clone() for name, tensor in student.built.network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def folder_dataset(tmp_path, labels, count=4):
    """Images of noise whose labels are what a function gives."""
    rng, items = np.random.default_rng(0), []
    for at in range(count):
        file = tmp_path / f"{at}.png"
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
        items.append(Item(str(at), file, file, labels))
    return Dataset("noise", "train", tuple(NAMES), tuple((name,) for name in NAMES), None, tuple(items))


def never():
    raise AssertionError("a label was read")


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
def test_no_label_is_read_where_none_is_to_be(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(dcv.toyworld.scenes.Scene, "labels", lambda scene: never())
    student = quick(folder_dataset(tmp_path, never), steps=4, guided=2)
    assert student.training["steps"] == 4
    assert quick(folder=tmp_path / "scenes").training["settings"]["schedule"]["labels"] == "none"


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
def test_changed_masks_change_no_weight(quick, tmp_path):
    one, other = (
        weights_of(quick(folder_dataset(tmp_path, lambda at=at: np.full((64, 64), at)), folder=tmp_path / f"run{at}"))
        for at in (0, 1)
    )
    assert same(one, other)


@pytest.mark.parametrize("confidence", [0.0, 0.4])
def test_pseudo_labels_are_those_of_a_loop_over_pixels(model, confidence):
    scenes = dcv.toyworld.dataset(2, size=64)
    schedule = Schedule(**PLAIN, grid=4, confidence=confidence)
    vectors = ensemble(model.texts.encode(dcv.Prompts(NAMES))).float()
    pixels = torch.stack([trace.pixels for trace in model.trace_many(scenes, geometry=SMALL)])
    given = Teacher(model, vectors, (0, 2), schedule, torch.device("cpu")).labels(pixels).numpy()
    for labels, trace in zip(given, model.trace_many(scenes, geometry=SMALL), strict=True):
        dense = trace.dense.double().numpy()
        cosines = dense @ vectors.double().numpy().T / np.linalg.norm(dense, axis=-1)[..., None]
        rows, cells = len(labels), len(dense)
        for y in range(rows):
            for x in range(rows):
                at = [min(max((place + 0.5) * cells / rows - 0.5, 0), cells - 1) for place in (y, x)]
                (top, down), (left, across) = ((int(a), a - int(a)) for a in at)
                bottom, right = min(top + 1, cells - 1), min(left + 1, cells - 1)
                upper = (1 - across) * cosines[top, left] + across * cosines[top, right]
                lower = (1 - across) * cosines[bottom, left] + across * cosines[bottom, right]
                scores = ((1 - down) * upper + down * lower)[[0, 2]]
                if abs(scores[0] - scores[1]) < 1e-6:
                    continue
                shares = np.exp(model.logit_scale * (scores - scores.max()))
                expected = (0, 2)[int(scores.argmax())] if shares.max() / shares.sum() >= confidence else IGNORED
                assert labels[y, x] == expected, (y, x)


def test_a_guided_filter_lets_labels_follow_the_image_and_the_model_stays_as_it_is(model):
    scene = dcv.toyworld.dataset(1, size=128)[0]
    before = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    vectors = ensemble(model.texts.encode(dcv.Prompts(list(scene.classes), "a photo of a {}.", articles="right")))
    trace = model.trace(scene, geometry=dcv.Whole(short=128))
    right = {}
    for refinement in ("", "guided"):
        schedule = Schedule(**{**PLAIN, "crop": 128, "short": 128}, grid=2, refinement=refinement, radius=2)
        teacher = Teacher(model, vectors.float(), range(len(scene.classes)), schedule, torch.device("cpu"))
        right[refinement] = (teacher.labels(trace.pixels[None])[0].numpy() == scene.labels()[1::2, 1::2]).mean()
    assert right["guided"] > right[""]
    assert same(before, model.clip.state_dict())


def test_denoising_that_leaves_no_name_leaves_nothing_to_learn(model):
    schedule = Schedule(**PLAIN, denoise=0.5)
    vectors = ensemble(model.texts.encode(dcv.Prompts(NAMES[:1]))).float().expand(3, -1)
    trace = model.trace(dcv.toyworld.dataset(1, size=64)[0], geometry=SMALL)
    labels = Teacher(model, vectors, range(3), schedule, torch.device("cpu")).labels(trace.pixels[None])
    assert (labels == IGNORED).all()


def test_smoothing_by_keys_and_every_path_teach(model):
    vectors = ensemble(model.texts.encode(dcv.Prompts(NAMES))).float()
    pixels = model.trace(dcv.toyworld.dataset(1, size=64)[0], geometry=SMALL).pixels[None]
    for options in ({"smooth": "cosine"}, {"path": "vanilla"}, {"denoise": 0.1}):
        labels = Teacher(model, vectors, (0, 1), Schedule(**PLAIN, **options), torch.device("cpu")).labels(pixels)
        assert labels.shape == (1, 64, 64) and set(labels.unique().tolist()) <= {0, 1, IGNORED}


@pytest.mark.parametrize(("step", "steps"), [(0, 2000), (999, 2000), (1999, 2000)])
def test_the_rate_falls_as_published(step, steps):
    expected = (1 - step / steps) ** 0.9 * (0.01 - 1e-4) + 1e-4
    assert SCHEDULES["voc20"].rate_at(step) == pytest.approx(expected, rel=1e-12)


def test_the_rate_ends_above_its_least_and_warms_up_in_a_line():
    schedule = Schedule(steps=100, warm_up=10, least=1e-3)
    assert schedule.rate_at(4) / dataclasses.replace(schedule, warm_up=0).rate_at(4) == pytest.approx(0.5)
    assert 1e-3 < schedule.rate_at(99) < 1.2e-3


@pytest.mark.parametrize("given", [{"ratio": 1.0}, {"ratio": None}, {"photometric": "no"}])
def test_a_schedule_names_a_setting_that_is_of_another_kind(given):
    with pytest.raises(DenseclipVizError, match=f"{next(iter(given))}="):
        Schedule(steps=1, **given)


def test_published_schedules_are_guided_for_a_tenth_of_transductive_training():
    assert {name: (s.steps, s.led) for name, s in SCHEDULES.items() if name != "toyworld"} == {
        "voc20": (2000, 2000), "context59": (4000, 4000), "cityscapes": (4000, 4000), "coco-stuff": (8000, 8000),
        "ade150": (8000, 8000), "voc20-zero-shot": (20000, 2000), "context59-zero-shot": (40000, 4000),
        "coco-stuff-zero-shot": (80000, 8000),
    }  # fmt: skip
    known = {layout.name: layout.classes for layout in LAYOUTS.values()}
    for name, schedule in SCHEDULES.items():
        assert set(schedule.unseen) <= set(known.get(name.removesuffix("-zero-shot"), ()))


def test_seen_labels_are_used_unseen_ones_only_where_they_are_and_ignored_ones_stay():
    labels = np.array([[0, 1], [2, -1]]).repeat(32, 0).repeat(32, 1)
    dataset = [dcv.datasets.Example("one", np.zeros((64, 64, 3), np.uint8), labels=labels)]
    schedule = Schedule(**PLAIN, labels="seen", unseen=("sky",), grid=32)
    places = learning._places(type("Named", (list,), {"classes": tuple(NAMES)})(dataset), dcv.Prompts(NAMES), schedule)
    target = Crops(dataset, schedule, dcv.load().preprocess, places, 0).at((0, 0)).target
    assert sorted(target.flatten().tolist()) == sorted([0, OPEN, 2, IGNORED])
    assert filled(target, torch.full((2, 2), 1)).ne(1).sum() == 3


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
def test_a_mask_of_255_is_ignored_to_the_end(quick, tmp_path):
    labels = np.full((64, 64), -1)
    student = quick(folder_dataset(tmp_path, lambda: labels), labels="ignored", classes=NAMES)
    assert student.training["curves"]["loss"] == [0.0] * 3


def test_a_student_teaches_itself_among_unlabelled_classes_alone():
    logits = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    own = own_labels(logits, (1, 3))
    for image in range(2):
        for y in range(4):
            for x in range(4):
                one, three = logits[image, 1, y, x], logits[image, 3, y, x]
                assert own[image, y, x] == (1 if one >= three else 3)


def test_after_the_guided_steps_the_teacher_labels_nothing(quick, monkeypatch):
    asked, labels = [], Teacher.labels
    monkeypatch.setattr(Teacher, "labels", lambda self, pixels: asked.append(1) or labels(self, pixels))
    curves = quick(steps=6, guided=2).training["curves"]
    assert len(asked) == 2
    assert np.isnan(curves["agreement"]).tolist() == [False, False, True, True, True, True]


def test_zero_shot_training_learns_seen_classes_from_labels(quick):
    student = quick(labels="seen", unseen=["grass"], steps=2)
    assert student.training["settings"]["schedule"]["unseen"] == ["grass"]
    with pytest.raises(PromptError, match="no class"):
        quick(labels="seen", unseen=["a red car"], resume=False)


def test_the_loss_is_the_mean_over_what_is_labelled():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(-1, 3, (2, 4, 4))
    assert mean_loss(logits, labels) == pytest.approx(F.cross_entropy(logits, labels, ignore_index=-1).item(), rel=1e-6)


def test_crops_hang_on_seed_step_and_place_alone(model):
    scenes = dcv.toyworld.dataset(5, size=64)
    schedule = Schedule(steps=9, crop=64, short=64, batch=2)
    crops, again = (Crops(scenes, schedule, model.preprocess, (), 7) for _ in range(2))
    later = crops.at((3, 1))
    _ = crops.at((0, 0)), torch.rand(3)
    assert torch.equal(again.at((3, 1)).pixels, later.pixels)
    assert not torch.equal(dataclasses.replace(crops, seed=8).at((3, 1)).pixels, later.pixels)


def test_every_image_is_used_once_in_a_pass(model):
    crops = Crops(list(range(7)), Schedule(steps=9, batch=2), model.preprocess, (), 3)
    assert sorted(crops._image_of(number) for number in range(7)) == list(range(7))
    assert [crops._image_of(n) for n in range(7)] != [crops._image_of(n) for n in range(7, 14)]


def test_labels_are_scaled_cut_and_mirrored_as_the_image_is(model):
    ramp = np.arange(64, dtype=np.uint8).repeat(64).reshape(64, 64).T * 4
    image, plain = Image.fromarray(np.stack([ramp] * 3, -1)), model.preprocess
    schedule = Schedule(steps=1, crop=(32, 48), short=64, ratio=(1.0, 2.0), photometric=False)
    for seed in range(20):
        crop = augmented(image, ramp.astype(int) // 4, schedule, plain, stream(seed))
        grey = (crop.pixels[0] * plain.std[0] + plain.mean[0]) * 255 / 4
        assert (grey - crop.target).abs().max() < 1.6


@pytest.mark.parametrize("self_taught", [False, True])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(quick, tmp_path, monkeypatch, self_taught):
    options = {"steps": 6, "guided": 3 if self_taught else None, "seed": 5}
    whole = quick(folder=tmp_path / "whole", **options)

    def interrupt(self, crops, learn=TrainingRun.learn):
        learn(self, crops)
        if self.step == 4:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingRun, "learn", interrupt)
        quick(folder=tmp_path / "stopped", **options)
    assert read_checkpoint(tmp_path / "stopped").facts["step"] == 4
    torch.manual_seed(99)
    # encoded anew, beside other texts or on another machine, vectors have other last bits
    monkeypatch.setattr(learning, "ensemble", lambda vectors: ensemble(vectors) + 1e-7)
    resumed = quick(folder=tmp_path / "stopped", **options)
    assert same(weights_of(whole), weights_of(resumed))
    assert np.array_equal(whole.training["curves"]["loss"], resumed.training["curves"]["loss"])


def test_sgd_with_momentum_goes_on_too(quick, tmp_path):
    options = {"preset": Schedule(steps=4, crop=64, short=64, batch=2), "steps": None, "crop": None, "batch": None}
    whole = quick(folder=tmp_path / "whole", **options)
    run = quick(folder=tmp_path / "whole", **options)  # nothing is left to do
    assert same(weights_of(whole), weights_of(run))
    state = read_checkpoint(tmp_path / "whole").tensors
    assert any(name.startswith("optimizer/momentum_buffer/") for name in state)


@pytest.mark.slow
def test_a_training_that_is_killed_at_any_moment_ends_as_one_that_was_not(tmp_path, monkeypatch):
    step, folder = random.randrange(2, 12), tmp_path / "killed"
    killed(lambda: (folder / STATE).is_file() and read_checkpoint(folder).facts["step"] >= step, main, folder)
    assert read_checkpoint(folder).facts["step"] < 16
    monkeypatch.setattr(learning, "build", tiny)
    for name in ("killed", "whole"):
        main(tmp_path / name)
    one, other = (read_checkpoint(tmp_path / name) for name in ("killed", "whole"))
    assert one.facts["step"] == other.facts["step"] == 16
    assert torch.equal(one.tensors.pop("curves").nan_to_num(), other.tensors.pop("curves").nan_to_num())
    assert same(one.tensors, other.tensors)


def test_a_folder_of_another_training_is_refused_by_what_differs(quick):
    quick(seed=1)
    with pytest.raises(WeightsError, match="seed 1, not 2"):
        quick(seed=2)
    with pytest.raises(WeightsError, match="batch 2, not 1"):
        quick(seed=1, batch=1)
    assert quick(seed=2, resume=False).training["settings"]["seed"] == 2


def test_other_images_and_a_teacher_that_sees_them_otherwise_are_another_training(quick, tmp_path):
    scenes, classes = list(dcv.toyworld.dataset(9, size=64)), dcv.toyworld.dataset(1).classes
    quick(scenes[:8], classes=classes)
    with pytest.raises(WeightsError, match="begun with content"):
        quick(scenes[1:], classes=classes)
    otherwise = dcv.load(mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(WeightsError, match="begun with preparation of images"):
        dcv.plus.train(otherwise, scenes[:8], tmp_path / "run", classes=classes, steps=3, **QUICK)


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
def test_a_broken_image_is_named_once_and_left_out(quick, tmp_path):
    files = [tmp_path / f"{at}.png" for at in range(3)]
    for file in files[:2]:
        Image.new("RGB", (64, 64), "green").save(file)
    files[2].write_bytes(b"no image")
    named = []
    student = quick(files, classes=NAMES, steps=4, unreadable=lambda image, error: named.append(image))
    assert named == [files[2]] and student.training["unread"] == ["2.png"]
    quick(files, classes=NAMES, steps=4, unreadable=lambda image, error: named.append(image))
    assert named[1:] == ["2.png"]  # a run that goes on names what it does without
    with pytest.raises(ImageError, match="none of 1 images"):
        quick(files[2:], classes=NAMES, folder=tmp_path / "none", unreadable=lambda *_: None)


def test_bfloat16_is_asked_for_and_weights_stay_float32(quick, tmp_path):
    exact, short = (quick(folder=tmp_path / kind, precision=kind) for kind in ("fp32", "bf16"))
    assert {tensor.dtype for tensor in short.built.network.parameters()} == {torch.float32}
    assert not same(weights_of(exact), weights_of(short))


def test_training_leaves_torch_and_the_teacher_as_they_were(quick, model):
    before, chance = {n: t.clone() for n, t in model.clip.state_dict().items()}, torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        quick()
        assert torch.is_autocast_enabled("cpu")
    assert same(before, model.clip.state_dict()) and torch.equal(chance, torch.get_rng_state())
    assert not any(p.grad is not None for p in model.clip.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": 50}, {"labels": "seen"}, {"unseen": ["sky"]}, {"steps": 0}, {"guided": 9}, {"confidence": 2},
        {"path": "no such"}, {"refinement": "sharp"}, {"precision": "fp8"}, {"devices": 3}, {"preset": "voc99"},
        {"seed": -1}, {"classes": []}, {"labels": "ignored", "classes": ["a red car"]}, {"batch": 0}, {"workers": -1},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(quick, wrong):
    with pytest.raises(DenseclipVizError):
        quick(**wrong)


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.full((64, 64), 255, np.uint8), r"\d.png: label 255 of 3 classes"),
        (np.zeros((64, 64)), r"\d.png: labels .*float64"),
        (None, r"\d.png: an example without labels"),
        (np.zeros((64, 63), int), r"shape \(64, 63\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_by_what_they_are(quick, tmp_path, labels, named):
    with pytest.raises((ImageError, PromptError), match=named):
        quick(folder_dataset(tmp_path, lambda: labels), labels="ignored", classes=NAMES, unreadable=lambda *_: None)


def test_examples_without_labels_are_not_taken_for_images_that_cannot_be_read(quick, tmp_path):
    dataset = [
        Example("", np.zeros((64, 64, 3), np.uint8), labels=np.zeros((64, 64), int) if at else None) for at in (0, 1)
    ]
    with pytest.raises(PromptError, match="without labels"):
        quick(Labelled(dataset), labels="ignored", classes=NAMES, unreadable=lambda *_: None)


class Labelled(list):
    classes = tuple(NAMES)


def test_one_image_a_step_is_refused_where_a_norm_needs_two(monkeypatch, model, tmp_path):
    class Pooled(TinyNetwork):
        def forward(self, pixels):
            return super().forward(pixels) + self[1](self[0](pixels).mean((2, 3), keepdim=True)).mean()

    monkeypatch.setattr(learning, "build", lambda name, dimension, **_: Built(Pooled(dimension), {"name": "tiny"}))
    with pytest.raises(WeightsError, match="Expected two or more on each device"):
        dcv.plus.train(model, dcv.toyworld.dataset(2, size=64), tmp_path, steps=1, **{**QUICK, "batch": 1})


def test_a_seed_may_be_the_time_in_milliseconds(quick):
    assert quick(seed=1_700_000_000_000, steps=1).training["steps"] == 1


def test_numbers_of_numpy_are_numbers_and_a_seed_beyond_torch_is_refused(quick):
    student = quick(seed=np.int64(3), steps=np.int64(1), batch=np.int32(2))
    assert student.training["steps"] == 1
    with pytest.raises(WeightsError, match="below 2"):
        quick(seed=2**63, steps=1)


def test_only_the_image_of_an_item_is_read(tmp_path):
    assert example_at(folder_dataset(tmp_path, never), 2).image == tmp_path / "2.png"


def test_a_teacher_that_is_not_made_for_such_images_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setattr(learning, "build", tiny)
    with pytest.warns(UntrainedImageWarning, match="trained on"):
        dcv.plus.train(dcv.load(), [np.zeros((64, 64, 3), np.uint8)], tmp_path, classes=NAMES, steps=1, **QUICK)


@pytest.mark.filterwarnings("ignore::denseclip_viz.errors.UntrainedImageWarning")
def test_a_run_with_labels_does_not_go_on_with_others(quick, tmp_path):
    options = {"labels": "seen", "unseen": ["sky"]}
    of = [folder_dataset(tmp_path, lambda place=place: np.full((64, 64), place)) for place in (0, 2)]
    quick(of[0], **options)
    assert quick(of[0], **options).training["steps"] == 3
    with pytest.raises(WeightsError, match="was begun with content"):
        quick(of[1], **options)
    assert (
        quick(of[0], tmp_path / "without").training["settings"]["dataset"]
        == (quick(of[1], tmp_path / "without").training["settings"]["dataset"])
    ), "labels that are not read tell no run from another"


@pytest.mark.parametrize("templates", [[], ""])
def test_no_templates_are_refused_and_not_taken_for_the_default(quick, templates):
    with pytest.raises(PromptError, match="No templates came|says nothing"):
        quick(templates=templates)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(quick, tmp_path, monkeypatch):
    (tmp_path / "run" / STATE).mkdir(parents=True)
    monkeypatch.setattr(TrainingRun, "learn", lambda run, crops: never())
    with pytest.raises(OutputError, match="is a folder"):
        quick()


@pytest.mark.parametrize("steps", [1, 6])
def test_a_training_that_diverges_is_refused_and_keeps_what_was_whole(quick, tmp_path, steps):
    wild = Schedule(steps=steps, batch=2, rate=1e38, scale=1e9, short=64, crop=64, photometric=False)
    with pytest.raises(WeightsError, match=r"after \d steps?\. .* rate below 1e\+38"):
        quick(preset=wild, steps=steps, every=0)
    checkpoint = read_checkpoint(tmp_path / "run")
    assert checkpoint is None or all(tensor.isfinite().all() for tensor in checkpoint.under("network/").values())
