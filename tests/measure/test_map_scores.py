"""On the bundled world and model, whose masks are exact, a ranking tells what is true."""

from __future__ import annotations

import warnings

import pytest

import denseclip_viz as dcv
from denseclip_viz.toyworld.vocabulary import CLASSES, noun_phrase

# Known words that name other things: whatever they do, they do not help to find the prompt.
PLANTED = "a photo of an octopus and a limousine in front of {}"
TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "there is {} in the scene", PLANTED)
PROMPTS = [noun_phrase(name) for name in CLASSES]


def masks(scene):
    """Also of classes that are nowhere in a scene: what is bright there is wrong."""
    labels = scene.labels()
    return {noun_phrase(name): labels == index for index, name in enumerate(CLASSES)}


def ranked(model, scenes, **options):
    with warnings.catch_warnings():  # the good ones may well be within noise of each other
        warnings.filterwarnings("ignore", "Within noise")
        return dcv.measure.rank_templates(
            model, scenes, dcv.Prompts(PROMPTS, TEMPLATES), masks, progress=False, **options
        )


@pytest.fixture(scope="module")
def bundled():
    return dcv.load()


def check_bottom(ranking):
    last = ranking.table.iloc[-1]
    assert last["template"] == PLANTED and not last["within_noise"] and last["to_best_high"] < 0


def test_a_planted_bad_template_ranks_at_the_bottom_by_more_than_noise(bundled):
    scenes = dcv.toyworld.dataset(40, "test", size=bundled.preprocess.size[0])
    check_bottom(ranked(bundled, scenes))


@pytest.mark.slow
def test_what_a_selection_gains_is_said_with_its_noise(bundled):
    scenes = dcv.toyworld.dataset(60, "test", size=bundled.preprocess.size[0])
    small = dcv.measure.select_templates(bundled, scenes, dcv.Prompts(PROMPTS, TEMPLATES), masks, progress=False)
    assert small.validation == small.held_out == 30 and PLANTED not in small.templates[:1]
    assert small.low <= small.gain <= small.high
    assert ("no gain was shown" in small.verdict) == (small.low <= 0 <= small.high)
