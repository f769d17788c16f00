"""What is chosen before the answer to something else is there, and what refinement had no place for."""

import asyncio

import numpy as np
import pytest

import denseclip_viz as dcv


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def in_a_notebook(*steps, panel):
    """Take steps where an event loop runs, none waiting for the answer to the one before; then wait for the last."""

    async def call():
        for step in steps:
            step()
        while panel.busy:
            await asyncio.sleep(0.01)

    asyncio.run(call())


@pytest.mark.parametrize("control", ["templates", "geometry", "run"])
def test_an_image_that_was_asked_for_stays_when_something_is_chosen_before_it_is_there(opened, control):
    panel, image = opened(), noise(0)
    choices = {"templates": "scene", "geometry": "whole"}

    def choose():
        if control == "run":
            panel.controls.run.click()
        else:
            getattr(panel.controls, control).value = choices[control]

    in_a_notebook(lambda: panel.look_at(image), choose, panel=panel)
    np.testing.assert_array_equal(panel.result.image, image)
    assert panel.status.kind == "ok"


def test_an_image_waits_for_prompts_and_is_given_up_with_stop_or_when_it_cannot_be_read(opened, tmp_path):
    panel, image = opened(), noise(0)
    before = panel.result.image.values
    typed, panel.controls.prompts.value = panel.controls.prompts.value, ""
    panel.safe_callback(panel.look_at)(image)
    assert panel.status.kind == "error" and "No prompt" in panel.status.text
    panel.controls.prompts.value = typed
    panel.run()
    np.testing.assert_array_equal(panel.result.image, image)
    (tmp_path / "no.png").write_bytes(b"no image")
    panel.look_at(tmp_path / "no.png")
    assert panel.status.kind == "error"
    panel.run()
    np.testing.assert_array_equal(panel.result.image, image)
    in_a_notebook(lambda: panel.look_at(before), panel.stop, panel.run, panel=panel)
    np.testing.assert_array_equal(panel.result.image, image)


def test_two_clicks_on_back_or_forward_go_two_runs_though_the_first_is_unanswered(opened):
    panel = opened()
    for name in ("a bus", "a tram", "a bike"):
        panel.controls.prompts.value = name
        panel.run()
    back, forward = panel.history.back, panel.history.forward
    in_a_notebook(back.click, back.click, panel=panel)
    assert (panel.history.at, panel.history.list.value) == (1, 1)
    in_a_notebook(back.click, panel.run, panel=panel)  # asked anew: nobody went back
    in_a_notebook(forward.click, forward.click, panel=panel)
    shown = panel.history.runs[panel.history.at].query.prompts.prompts
    assert panel.result.prompt.values.tolist()[: len(shown)] == list(shown)


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"view": "gap"}, {}, "gap"),
        ({"view": "masks"}, {"absent": ""}, "dense"),
        ({"view": "attribution"}, {"attributions": "none"}, "dense"),
    ],
    ids=["there", "masks without absent prompts", "attributions taken away"],
)
def test_behind_refined_segments_the_view_before_comes_back_or_the_first_one(before, change, after, opened):
    panel = opened()
    panel.controls.attributions.value = "grad-cam"
    panel.canvas.state = before
    panel.controls.smooth.value = True
    for name, value in change.items():
        getattr(panel.controls, name).value = value
    panel.run()
    panel.controls.smooth.value = False
    assert (panel.canvas.state["view"], panel.status.kind) == (after, "ok")
    panel.controls.templates.value = "single"
    assert panel.status.kind == "ok" and panel.shown.query.prompts.templates == ("a photo of a {}.",)


def test_the_template_comes_back_behind_refined_segments(opened):
    panel = opened()
    panel.controls.templates.value = "scene"
    template = panel.canvas.choices["template"][2]
    panel.canvas.state = {"template": template}
    panel.controls.smooth.value = True
    assert panel.canvas.state["template"] != template
    panel.controls.smooth.value = False
    assert panel.canvas.state["template"] == template


def test_several_paths_are_refined_beside_a_comparison(opened):
    panel = opened(paths=["value", "sclip"], compare_with={"geometry": "whole"})
    panel.controls.smooth.value = True
    assert panel.status.kind == "ok" and panel.shown.query.smooth
    panel.controls.smooth.value = False
    assert (panel.status.kind, panel.canvas.state["view"]) == ("ok", "dense")


def test_what_a_teacher_locks_is_locked_beside_a_comparison_too(opened):
    panel = opened(lock=["keep", "threshold"], compare_with={"path": "sclip"})
    view = panel._compared.view
    assert all({"keep", "threshold"} <= set(canvas.locked) for canvas in (view.left, view.canvas, view.difference))


def test_a_threshold_stays_on_its_own_scale_beside_a_comparison(opened):
    panel = opened(compare_with={"path": "sclip"})
    low, high = (panel.canvas._shown.select(panel.canvas.state)[0][name] for name in ("low", "high"))
    panel.canvas.state = {"threshold": (low + high) / 2}
    panel._compared.view.difference.state = {"threshold": 0.001}
    panel.move_to({"opacity": 0.5})
    assert panel._compared.view.canvas.state["threshold"] == (low + high) / 2
    assert panel._compared.view.difference.state["threshold"] == 0.001


def test_a_click_on_a_small_map_of_another_scale_hides_nothing(load_tiny, image_file):
    lens = dcv.layer_lens(load_tiny("vit"), image_file)
    lens.canvas.state = {"threshold": lens.canvas._shown.select(lens.canvas.state)[0]["high"] / 2}
    lens.move_to({"opacity": 0.5})
    assert lens.canvas.state["threshold"] is not None
    lens.move_to({"view": "attention", "layer": "output", "head": 0})
    assert lens.canvas.state["threshold"] is None
    lens.close()
