"""Back and forward through the runs of an explorer: each as it was left, without the encoder."""

import asyncio

import numpy as np
import pytest
import torch
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.explorers import history as histories
from denseclip_viz.explorers.query import ImageSource

PROMPTS = ["a taxi", "a road"]


@pytest.fixture
def panel(load_tiny, image_file):
    opened = dcv.explore(load_tiny("vit"), image_file, dcv.Prompts(PROMPTS, absent="a whale"))
    yield opened
    opened.close()


def noise(seed, size=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def typed(panel, text):
    panel.controls.prompts.value = text
    panel.run()


def shown(panel):
    return panel.result.prompt.values.tolist(), panel.trace.geometry.mode, panel.canvas.state["prompt"]


def test_back_and_forward_show_each_run_as_it_was_left_without_a_pass(panel):
    before = []
    rows = {"order": "value", "filter": "ro", "rows": "places"}
    panel.canvas.state = {"prompt": "a road", "opacity": 0.2, "view": "gap", **rows}
    before.append((shown(panel), panel.canvas.state))
    typed(panel, "a bus\na road")
    panel.canvas.state = {"opacity": 0.9, "pinned": [1, 1], "order": "given", "filter": "", "rows": "auto"}
    before.append((shown(panel), panel.canvas.state))
    panel.controls.geometry.value = "whole"
    panel.look_at(noise(0))
    panel.canvas.state = {"prompt": "a bus"}
    passes, last = panel._session.passes, (shown(panel), panel.canvas.state)
    for _ in range(3):
        panel.history.back.click()
    assert (shown(panel), panel.canvas.state) == before[0] and panel.history.back.disabled
    assert panel.controls.prompts.value.split("\n") == PROMPTS and panel.controls.geometry.value == "native"
    panel.history.forward.click()
    assert (shown(panel), panel.canvas.state) == before[1]
    panel.history.list.value = 3
    assert (shown(panel), panel.canvas.state) == last and panel.history.forward.disabled
    assert (panel._session.passes, panel.status.kind) == (passes, "ok")


def test_what_is_asked_after_going_back_takes_the_place_of_what_came_after(panel):
    for name in ("one", "two", "three"):
        typed(panel, name)
    panel.history.back.click()
    panel.history.back.click()
    typed(panel, "four")
    names = [run.query.prompts.prompts[0] for run in panel.history.runs]
    assert names == ["a taxi", "one", "four"] and panel.history.forward.disabled
    panel.run()
    assert len(panel.history.runs) == 3  # the same again is no other run


def test_templates_of_ones_own_comparisons_and_refinements_come_back(panel):
    panel.controls.templates.value = "own"
    panel.controls.own.value = "a {} by night\n"
    panel._compared.kind.value = "templates"
    panel._compared.which["templates"].value = "scene"
    panel.controls.denoise.value = True
    panel._compared.kind.value = ""
    panel.controls.denoise.value = False
    panel.controls.templates.value = "none"
    assert panel.controls.own.layout.display == "none"
    panel.history.list.value = 4
    assert (panel._compared.kind.value, panel._compared.which["templates"].value) == ("templates", "scene")
    assert panel.other.comparison.sizes["template"] == 5 and panel.controls.denoise.value
    assert (panel.controls.templates.value, panel.controls.own.value) == ("own", "a {} by night")
    assert panel.canvas.state["view"] == "segments" and panel.result.template.values.tolist() == ["a {} by night"]
    panel.history.list.value = 0
    assert panel.other is None and panel._compared.kind.value == ""


def test_the_list_names_what_was_asked(panel):
    typed(panel, "a taxi\na road\nan oak")
    panel.controls.geometry.value = "whole"
    panel.controls.templates.value = "scene"
    panel.controls.paths.value = "all of the model"
    panel.controls.attributions.value = "grad-cam"
    panel._compared.kind.value = "geometry"
    model = panel.shown.query.model
    last, _ = panel.history.list.options[-1]
    start = f"7: street.jpg · a taxi, a road and 1 more · {model} · the whole image · scene, 5"
    assert last == start + " · all paths · grad-cam · with another fit"
    assert panel.history.list.options[0][0] == f"1: street.jpg · a taxi, a road · {model}"


def test_runs_and_what_their_images_take_are_bounded(panel, monkeypatch):
    monkeypatch.setattr(histories, "MOST", 4)
    for number in range(6):
        typed(panel, f"a bus {number}")
    assert len(panel.history.runs) == 4 and not panel.history.back.disabled
    assert panel.history.list.options[0][0].startswith("1: street.jpg · a bus 2")
    monkeypatch.setattr(histories, "BYTES", 3 * 40 * 60 * 2)
    for number in range(4):
        panel.look_at(noise(number))
    assert len(panel.history.runs) == 2


@pytest.mark.parametrize(
    ("source", "size"), [(b"abc", 3), (np.zeros((2, 3, 3), np.uint8), 18), (Image.new("RGB", (2, 3)), 18), ("a.jpg", 0)]
)
def test_an_image_takes_the_bytes_that_are_held(source, size):
    assert histories._size(ImageSource(source)) == size


def test_a_way_back_that_is_stopped_or_fails_leaves_the_run_that_is_shown(panel, monkeypatch):
    typed(panel, "a bus")
    run = panel._session.run
    monkeypatch.setattr(panel._session, "run", lambda *_, **options: [torch.ones(2) + 1 for _ in iter(int, 1)])

    async def steps():
        panel.history.back.click()
        await asyncio.sleep(0.05)
        panel.controls.stop.click()
        await asyncio.sleep(0.05)

    asyncio.run(steps())
    assert (panel.history.at, panel.history.list.value) == (1, 1)
    monkeypatch.setattr(panel._session, "run", run)
    typed(panel, "a tram")
    assert [run.query.prompts.prompts[0] for run in panel.history.runs] == ["a taxi", "a bus", "a tram"]
