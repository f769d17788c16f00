"""The report: what it measures means what it says, also for a model that has learned nothing."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.clip.load.bundled import MODELS
from denseclip_viz.datasets.example import Example
from denseclip_viz.maps.refine import REMOVED
from denseclip_viz.maps.segment import label
from denseclip_viz.maps.similarity import Formula
from denseclip_viz.measure.candidates import PATHS, Baselines
from denseclip_viz.measure.segmentation import (
    areas_iou,
    areas_of,
    class_areas,
    confusion,
    contenders,
    grid_ceiling,
    label_pixels,
    mean,
    present_only,
    share_right,
)
from denseclip_viz.toyworld import dataset, sibling_scenes
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILY_OF, KINDS, noun_phrase
from denseclip_viz.train import report as report_module
from denseclip_viz.train.report import (
    CEILING,
    PARTS,
    PRESENT,
    block,
    class_vectors,
    measure_pair,
    naming,
    report,
    share,
)

ONE_HOT = np.eye(len(CLASSES), dtype=np.float32)
PLAIN, BARE = PATHS["vanilla"], PATHS["value-attention-only"]


def random_model(folder):
    return dcv.load(str(folder), pretrained="random", device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The bundled ViT, not trained, and with a class token as its pool: that has every path."""
    folder = tmp_path_factory.mktemp("model")
    config = json.loads((MODELS / "vit" / "open_clip_config.json").read_text("utf-8"))
    vision = config["model_cfg"]["vision_cfg"]
    config["model_cfg"]["vision_cfg"] = {key: value for key, value in vision.items() if not key.startswith("att")}
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    return random_model(folder)


@pytest.fixture(scope="module")
def traced(model):
    scenes = list(dataset(3, "test", size=168))
    return list(zip(scenes, model.trace_many(scenes, keys="key", path=["value"]), strict=True))


@pytest.fixture(scope="module")
def measured(model):
    return report(model, n=3, slow=1, size=168)


def test_the_true_masks_score_one_and_the_grid_caps_what_can_be_reached(traced):
    truth = sum(class_areas(confusion(scene.labels(), scene.labels(), len(CLASSES))) for scene, _ in traced)
    ceilings = [(grid_ceiling(scene.labels(), trace.geometry, len(CLASSES)), scene, trace) for scene, trace in traced]
    grid = sum(areas_of(scores, scene.labels(), trace.geometry) for scores, scene, trace in ceilings)
    whole, capped = ({part: mean(areas_iou(of)[rows]) for part, rows in PARTS.items()} for of in (truth, grid))
    assert whole == {"all": 1.0, "things": 1.0, "stuff": 1.0}
    assert 0.5 < capped["all"] < 1 and capped["things"] < capped["stuff"]
    assert share(capped, whole) == capped and share(capped, capped)["things"] == 1.0


def test_every_class_is_said_as_captions_say_it():
    scenes = dataset(1, "test", size=64)
    for name in CLASSES:
        scenes[0].says(noun_phrase(name))  # raises for words that the world does not know


@pytest.mark.parametrize("steps", [None, 3])  # with few steps many classes are equally good
def test_leaving_out_classes_that_cannot_win_changes_no_pixel(traced, steps):
    trace, rng = traced[0][1], torch.Generator().manual_seed(0)
    scores = torch.rand(len(CLASSES), *trace.geometry.grid, generator=rng)
    scores = scores if steps is None else (scores * steps).round() / steps
    scores[::2] -= 0.8  # some that win nowhere
    whole = label(scores.numpy(), trace.geometry, Formula("softmax", 1.0), rows=168, columns=168)["labels"]
    assert (label_pixels(scores, trace.geometry) != whole).mean() < 1e-3  # the last bit decides between equals
    assert len(contenders(scores)) < len(CLASSES)


def test_a_pixel_whose_classes_are_all_removed_gets_no_name(traced):
    trace = traced[0][1]
    scores = torch.full((len(CLASSES), *trace.geometry.grid), REMOVED)
    assert (label_pixels(scores, trace.geometry) == -1).all()
    scores[7] = 0.1
    assert (label_pixels(scores, trace.geometry) == 7).all()


def named(candidates, trace):
    return dict(zip(candidates.names, candidates.maps(trace), strict=True))


def test_prompt_denoising_that_removes_everything_names_nothing_and_says_nothing(traced):
    trace = traced[0][1]
    alike = Baselines(torch.ones(len(CLASSES), 128), torch.ones(len(CLASSES), 128))  # nobody is confident of anything
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = named(alike, trace)
    for method in ("value + prompt denoising", "value + both (official)"):
        assert (label_pixels(maps[method], trace.geometry) == -1).all()


def test_only_classes_that_are_there_compete_where_that_is_said(model, traced):
    candidates = Baselines.of(model, class_vectors(model))
    candidates = dataclasses.replace(candidates, paths=())
    for scene, trace in traced:
        value = named(candidates, trace)["value"]
        present = present_only(value, scene.labels())
        assert np.isin(label_pixels(present, trace.geometry), scene.labels()).all()
        assert not np.isin(label_pixels(value, trace.geometry), scene.labels()).all()


@pytest.mark.parametrize(("name", "paths"), [("", {BARE, PLAIN}), ("resnet", {PLAIN}), ("vit", set())])
def test_other_paths_are_measured_where_the_tower_has_them(model, name, paths):
    tested = random_model(MODELS / name) if name else model
    candidates = Baselines.of(tested, torch.randn(2, 3, 128))
    scene = dataset(1, "test", size=tested.preprocess.size[0])[0]
    trace = tested.trace(scene, **candidates.trace_options)
    maps = named(candidates, trace)
    assert set(maps) & set(PATHS.values()) == paths
    if BARE in paths:
        alone = tested.trace(scene, path="value-attention-only").dense
        torch.testing.assert_close(maps[BARE], dcv.maps.cosine_maps(alone, candidates.ensembled[None])[0])


def test_the_first_scenes_alone_get_grad_cam(model, monkeypatch):
    evaluated, plain = [], report_module.run

    def first(*given, **options):
        evaluated.append(given)
        return plain(*given, **options)

    monkeypatch.setattr(report_module, "run", first)
    measured = report(model, n=3, slow=2, size=168)
    on = {type(given[2]).__name__: len(list(given[1])) for given in evaluated[:2]}
    assert on == {"Baselines": 3, "MapMethods": 2} and measured["mIoU"]["Grad-CAM, first scenes"]["scenes"] == 2


def main_kinds(scenes):
    return np.array([KINDS.index(max(scene.things, key=lambda thing: thing.mask.sum()).kind) for scene in scenes])


def test_names_count_the_main_thing_out_of_all_and_out_of_its_siblings():
    scenes = [scene for scene in dataset(30, "test", size=64) if scene.things]
    main = main_kinds(scenes)
    numbers = naming(main, ONE_HOT[[CLASSES.index(KINDS[at]) for at in main]], ONE_HOT)
    matrix = np.array(numbers["matrix"])
    assert numbers["top-1"] == 1.0 and np.trace(matrix) == matrix.sum() == len(scenes) == numbers["scenes"]
    assert all(worst is None for worst in numbers["most confused"].values())


def test_a_sibling_taken_for_another_stands_in_its_row_and_a_stranger_is_no_sibling():
    embedding = 2 * ONE_HOT[CLASSES.index("bus")] + ONE_HOT[CLASSES.index("pine")]
    numbers = naming(np.array([KINDS.index("oak"), -1]), np.stack([embedding, embedding]), ONE_HOT)
    matrix = np.array(numbers["matrix"])
    assert numbers["scenes"] == 1, "a scene without things says nothing"
    assert numbers["top-1"] == 0.0 and numbers["among siblings"]["tree"] == 0.0
    assert matrix[KINDS.index("oak"), KINDS.index("pine")] == 1 == matrix.sum()
    assert numbers["most confused"]["tree"] == {"kind": "oak", "taken for": "pine", "times": 1, "of": 1}
    assert block(matrix, "tree").tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert share_right(block(matrix, "bird")) == 0.0


def test_two_siblings_told_apart_by_the_truth_keep_their_pixels_and_swapped_ones_lose_them(model):
    right, swapped = [], []
    scenes = list(sibling_scenes(3, "test", size=168))
    for scene, trace in zip(scenes, model.trace_many(scenes), strict=True):
        rows = [CLASSES.index(thing.kind) for thing in scene.things]
        truth = grid_ceiling(scene.labels(), trace.geometry, len(CLASSES)).permute(1, 2, 0).float()
        maps = F.normalize(truth, dim=-1).permute(2, 0, 1)[None].numpy()
        exchanged = maps.copy()
        exchanged[:, rows] = maps[:, rows[::-1]]
        for pairs, scores in ((right, maps), (swapped, exchanged)):
            pairs.append(measure_pair(scores, Example("", scene, labels=scene.labels()), trace))
    good, bad = summary(right), summary(swapped)
    assert good["together"] > 0.6 and good["given"] < 0.05
    assert bad["together"] < 0.1 and bad["given"] > 0.6
    assert good["alone"] >= good["together"] - 0.05


def summary(pairs):
    numbers = {name: np.array([pair[name][1] for pair in pairs]) for name in pairs[0]}
    given = numbers["given"].sum() / numbers["pixels"].sum()
    return {"alone": numbers["alone"].mean(), "together": numbers["together"].mean(), "given": given}


@pytest.mark.slow
def test_a_model_that_learned_nothing_scores_nothing(measured):
    found = measured
    assert json.loads(json.dumps(found)) == found
    assert found["mIoU"][CEILING]["all"] > 0.5 and found["mIoU"][PRESENT]["all"] < 0.5
    for method, scores in found["mIoU"].items():
        assert method in (CEILING, PRESENT) or (scores["all"] or 0) < 0.15
    assert found["retrieval top-1 of 64"]["caption"] < 0.2
    assert {"value", "patch tokens", "Grad-CAM, first scenes", "attention × global score"} <= set(found["mIoU"])


@pytest.mark.slow
def test_every_row_says_how_many_scenes_it_used_and_shares_are_of_the_same_scenes(measured):
    scenes = {method: scores["scenes"] for method, scores in measured["mIoU"].items()}
    few = {method for method, count in scenes.items() if count == 1}
    assert few == {"value, first scenes", "Grad-CAM, first scenes"} and set(scenes.values()) == {1, 3}
    assert set(measured["share of the ceiling"]) == set(scenes) - few
    value, top = measured["mIoU"]["value"], measured["mIoU"][CEILING]
    for part in ("all", "things", "stuff"):
        assert measured["share of the ceiling"]["value"][part] == pytest.approx(value[part] / top[part], abs=1e-4)
    assert sum(map(sum, measured["naming"]["matrix"])) == measured["naming"]["scenes"] <= 3


@pytest.mark.slow
def test_retrieval_is_reported_beside_what_the_truth_could_tell(measured):
    oracle, posed = measured["retrieval top-1 of 64, oracle"], measured["retrieval top-1 of 64, one truth"]
    assert 0.4 < oracle["caption"] < oracle["image"] < 1
    assert posed["groups"] == 2 and posed["dropped"] < 40 and posed["caption"] < 0.2


@pytest.mark.slow
def test_the_numbers_come_out_the_same_twice(model, measured):
    assert report(model, n=3, slow=1, size=168) == measured


def test_siblings_confused_are_of_one_family_always():
    scenes = [scene for scene in dataset(30, "test", size=64) if scene.things]
    embeddings = np.random.default_rng(0).normal(size=(len(scenes), len(CLASSES))).astype(np.float32)
    numbers = naming(main_kinds(scenes), embeddings, ONE_HOT)
    for row, column in zip(*np.nonzero(np.array(numbers["matrix"])), strict=True):
        assert FAMILY_OF[KINDS[row]] == FAMILY_OF[KINDS[column]]
