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
from denseclip_viz.maps.refine import REMOVED
from denseclip_viz.maps.segment import label
from denseclip_viz.measure.baselines import BARE, CEILING, PLAIN, PRESENT, View, methods, views
from denseclip_viz.measure.confusable import Names, Pairs, block, share_right
from denseclip_viz.measure.segmentation import CLASSES, Tally, Texts, ceiling, contenders, pixels, texts_of
from denseclip_viz.toyworld import dataset, sibling_scenes
from denseclip_viz.toyworld.vocabulary import FAMILIES, FAMILY_OF, KINDS, noun_phrase
from denseclip_viz.train.report import report

ONE_HOT = Texts(torch.eye(len(CLASSES)), torch.eye(len(CLASSES)))


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
    return list(zip(scenes, model.trace_many(scenes, keys="key"), strict=True))


@pytest.fixture(scope="module")
def measured(model):
    return report(model, n=3, slow=1, size=168)


def test_the_true_masks_score_one_and_the_grid_caps_what_can_be_reached(traced):
    tally = Tally()
    for scene, trace in traced:
        tally.add("truth", scene.labels(), scene.labels())
        tally.add("grid", scene.labels(), pixels(ceiling(trace, scene), trace, scene.size))
    assert tally.miou("truth") == {"all": 1.0, "things": 1.0, "stuff": 1.0}
    assert 0.5 < tally.miou("grid")["all"] < 1
    assert tally.miou("grid")["things"] < tally.miou("grid")["stuff"]
    assert tally.share("grid", "truth") == tally.miou("grid") and tally.share("grid", "grid")["things"] == 1.0
    assert tally.scenes == {"truth": 3, "grid": 3}


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
    whole = label(
        scores.numpy(), trace.geometry, rows=168, columns=168, scale=1.0, background=[False] * len(CLASSES), below=0.0
    )
    assert (pixels(scores, trace, 168) != whole[0]).mean() < 1e-3  # the last bit decides between equals
    assert len(contenders(scores)) < len(CLASSES)


def test_a_pixel_whose_classes_are_all_removed_gets_no_name(traced):
    trace = traced[0][1]
    scores = torch.full((len(CLASSES), *trace.geometry.grid), REMOVED)
    assert (pixels(scores, trace, 168) == -1).all()
    scores[7] = 0.1
    assert (pixels(scores, trace, 168) == 7).all()


def test_prompt_denoising_that_removes_everything_names_nothing_and_says_nothing(traced):
    scene, trace = traced[0]
    alike = Texts(torch.ones(len(CLASSES), 128), torch.ones(len(CLASSES), 128))  # nobody is confident of anything
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = dict(methods(View(scene, trace), alike))
    for method in ("value + prompt denoising", "value + both (official)"):
        assert (pixels(named[method], trace, 168) == -1).all()


def test_only_classes_that_are_there_compete_where_that_is_said(model, traced):
    texts = texts_of(model)
    for scene, trace in traced:
        named = dict(methods(View(scene, trace), texts))
        assert np.isin(pixels(named[PRESENT], trace, 168), scene.labels()).all()
        assert not np.isin(pixels(named["value"], trace, 168), scene.labels()).all()


@pytest.mark.parametrize(("name", "paths"), [("", {BARE, PLAIN}), ("resnet", {PLAIN}), ("vit", set())])
def test_other_paths_are_measured_where_the_tower_has_them(model, name, paths):
    tested = random_model(MODELS / name) if name else model
    texts = Texts(torch.randn(3, 128), torch.randn(3, 128))
    (view,) = views(tested, dataset(1, "test", size=tested.preprocess.size[0]), texts, slow=1)
    assert set(view.others) == paths
    if BARE in paths:
        alone = tested.trace(view.scene, path="value-attention-only").dense
        torch.testing.assert_close(view.others[BARE], alone)
    assert view.cams is not None and view.cams.shape == (3, *view.trace.geometry.grid)


def test_the_first_scenes_alone_get_grad_cam(model):
    texts = Texts(torch.randn(2, 128), torch.randn(2, 128))
    seen = [view.cams is not None for view in views(model, dataset(10, "test", size=168), texts, slow=9)]
    assert seen == [True] * 9 + [False]


def test_names_count_the_main_thing_out_of_all_and_out_of_its_siblings():
    names, scenes = Names(), [scene for scene in dataset(30, "test", size=64) if scene.things]
    for scene in scenes:
        main = max(scene.things, key=lambda thing: thing.mask.sum()).kind
        names.add(scene, ONE_HOT.single[CLASSES.index(main)], ONE_HOT)
    assert names.hits == [True] * len(scenes) and np.trace(names.matrix) == names.matrix.sum() == len(scenes)
    assert all(worst is None for worst in names.summary()["most confused"].values())


def test_a_sibling_taken_for_another_stands_in_its_row_and_a_stranger_is_no_sibling():
    scene = next(s for s in dataset(200, "test", size=64) if len(s.things) == 1 and s.things[0].kind == "oak")
    embedding = 2 * ONE_HOT.single[CLASSES.index("bus")] + ONE_HOT.single[CLASSES.index("pine")]
    names = Names()
    names.add(scene, embedding, ONE_HOT)
    found = names.summary()
    assert found["top-1"] == 0.0 and found["among siblings"]["tree"] == 0.0
    assert found["matrix"][KINDS.index("oak")][KINDS.index("pine")] == 1 == names.matrix.sum()
    assert found["most confused"]["tree"] == {"kind": "oak", "taken for": "pine", "times": 1, "of": 1}
    assert block(names.matrix, FAMILIES["tree"]).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert share_right(names.matrix, FAMILIES["bird"]) == 0.0


def test_two_siblings_told_apart_by_the_truth_keep_their_pixels_and_swapped_ones_lose_them(model):
    right, swapped = Pairs(), Pairs()
    scenes = list(sibling_scenes(3, "test", size=168))
    for scene, trace in zip(scenes, model.trace_many(scenes), strict=True):
        rows = [CLASSES.index(thing.kind) for thing in scene.things]
        exchanged = torch.eye(len(CLASSES))
        exchanged[rows] = exchanged[rows[::-1]]
        truth = ceiling(trace, scene).permute(1, 2, 0).float()
        for pairs, vectors in ((right, ONE_HOT.single), (swapped, exchanged)):
            pairs.add(scene, _with_dense(trace, truth), Texts(vectors, vectors))
    good, bad = right.summary(), swapped.summary()
    assert good["scenes"] == 3 and good["IoU together"] > 0.6 and good["given to the other"] < 0.05
    assert bad["IoU together"] < 0.1 and bad["given to the other"] > 0.6
    assert good["IoU alone"] >= good["IoU together"] - 0.05


def _with_dense(trace, dense):
    return dataclasses.replace(trace, dense=F.normalize(dense, dim=-1))


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
    rng, names = torch.Generator().manual_seed(0), Names()
    for scene in dataset(30, "test", size=64):
        names.add(scene, torch.randn(len(CLASSES), generator=rng), ONE_HOT)
    for row, column in zip(*np.nonzero(names.matrix), strict=True):
        assert FAMILY_OF[KINDS[row]] == FAMILY_OF[KINDS[column]]
