"""The report: what it measures means what it says, also for a model that has learned nothing."""

import json

import pytest

import denseclip_viz as dcv
from denseclip_viz.toyworld import dataset
from denseclip_viz.toyworld.recipes import MODELS
from denseclip_viz.toyworld.report import CLASSES, Tally, ceiling, pixels, report, said


@pytest.fixture(scope="module")
def model():
    return dcv.load(str(MODELS / "vit"), pretrained="random", device="cpu")


def test_the_true_masks_score_one_and_the_grid_caps_what_can_be_reached(model):
    tally = Tally()
    for scene in dataset(4, "test", size=168):
        tally.add("truth", scene.labels(), scene.labels())
        trace = model.trace(scene)
        tally.add("grid", scene.labels(), pixels(ceiling(trace, scene), trace, scene.size))
    assert tally.miou("truth") == {"all": 1.0, "things": 1.0, "stuff": 1.0}
    assert 0.5 < tally.miou("grid")["all"] < 1
    assert tally.miou("grid")["things"] < tally.miou("grid")["stuff"]


def test_every_class_is_said_as_captions_say_it():
    scenes = dataset(1, "test", size=64)
    for name in CLASSES:
        scenes[0].says(said(name))  # raises for words that the world does not know


@pytest.mark.slow
def test_a_model_that_learned_nothing_scores_nothing(model):
    found = report(model, n=3, slow=1, size=168)
    json.dumps(found)
    assert found["mIoU"]["grid ceiling"]["all"] > 0.5
    for method, scores in found["mIoU"].items():
        assert "ceiling" in method or (scores["all"] or 0) < 0.15
    assert found["retrieval top-1 of 64"]["caption"] < 0.2
    assert {"value", "patch tokens", "Grad-CAM, first scenes", "attention × global score"} <= set(found["mIoU"])
