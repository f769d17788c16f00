"""Scenes and words beside a bundled model, and nothing of them beside another one."""

import numpy as np
import pytest
from panels import click

import denseclip_viz as dcv
from denseclip_viz.clip.load.bundled import unknown_words
from denseclip_viz.explorers.examples import SCENES
from denseclip_viz.explorers.world_controls import words
from denseclip_viz.toyworld import parse, scene


@pytest.fixture
def panel():
    opened = dcv.explore("bundled-vit", scene("a taxi on a road", 64), ["a taxi"])
    yield opened
    opened.close()


def rows(panel):
    return [row for name in ("words", "examples") for row in panel._spec.more[name]]


def test_a_scene_is_looked_at_with_prompts_that_name_what_it_holds(panel):
    examples, words_of = rows(panel)[1].children[1].children, rows(panel)[0]
    assert words_of.layout.display == ""
    names = []
    for _ in range(2):
        examples[0].click()
        names.append(panel.shown.query.image.name)
        assert panel.status.kind == "ok" and len(panel.result.prompt) >= 3 and int(panel.result.absent.sum()) == 1
    assert names == ["scene 0", "scene 1"] and panel.shown.query.image.source.split == "test"
    click(examples[1], SCENES[1])
    assert panel.shown.status.startswith(SCENES[1])
    assert panel.result.prompt.values.tolist() == ["a penguin", "a bear", "sky", "snow", "a whale"]
    np.testing.assert_array_equal(panel.result.image, scene(SCENES[1], 320).image)
    panel.history.back.click()
    assert panel.shown.query.image.name == "scene 1"


def test_a_word_is_added_to_the_prompts_once_and_looked_for_at_once(panel):
    chips = rows(panel)[0]
    for word in ("a teapot", "a teapot"):
        click(chips, word)
    assert panel.controls.prompts.value == "a taxi\na teapot"
    assert panel.result.prompt.values.tolist() == ["a taxi", "a teapot"]


def test_every_word_and_every_scene_is_known_to_the_world_and_the_models():
    for word in (word for names in words().values() for word in names):
        assert unknown_words(word) == [] and parse(word)
    for text in SCENES:
        assert scene(text, 64).says(text)
    assert len(set(SCENES)) == len(SCENES)


def test_another_model_has_neither_words_nor_scenes(load_tiny):
    panel = dcv.explore({"tiny": load_tiny("vit"), "bundled": "bundled-vit"}, scene("a taxi on a road", 64), ["a taxi"])
    assert [row.layout.display for row in rows(panel)] == ["none", "none"]
    panel.controls.model.value = "bundled"
    assert [row.layout.display for row in rows(panel)] == ["", ""]
    panel.close()
