"""Attributions and small multiples in the explorer: made when they are asked for, of the trace that is there."""

import pytest
import xarray as xr

import denseclip_viz as dcv


def strips(panel):
    return panel._spec.below[0]._packed.get("data", {"sections": []})["sections"]


@pytest.mark.parametrize("name", ["grad-cam", "legrad", "rollout", "all of the model"])
def test_attributions_are_those_of_the_package_for_the_very_trace_and_shown_at_once(opened, name):
    panel = opened()
    assert "attribution" not in panel.result and panel.controls.attributions.value == "none"
    panel.controls.attributions.value = name
    methods = None if name == "all of the model" else [name]
    expected = dcv.attribution.attribute(panel.model, panel.trace, panel.shown.query.prompts, methods)
    shown = panel.result.attribution.sel(candidate=list(expected.candidate.values))
    xr.testing.assert_equal(shown, expected)
    assert panel.canvas.state["view"] == "attribution" and panel.canvas.state["method"] == expected.candidate[0]
    panel.controls.attributions.value = "none"
    assert "attribution" not in panel.result and panel.canvas.state["view"] == "dense"


def test_direct_effects_of_a_position_are_one_of_them(opened):
    panel = opened()
    panel.controls.attributions.value = "direct-effects"
    effects = dcv.attribution.direct_effects(panel.model, panel.trace, panel.shown.query.prompts)
    xr.testing.assert_allclose(
        panel.result.attribution[0].drop_vars(["candidate", "unit"]), effects.position.sum("layer")
    )


def test_the_image_is_looked_at_once_and_attributions_are_made_when_they_are_asked_for(opened):
    panel = opened()
    assert panel._session.passes == 1
    panel.controls.attributions.value = "grad-cam"
    panel.canvas.state = {"method": "grad-cam", "opacity": 0.3}
    panel.run()
    assert panel._session.passes == 2  # the way back is a pass of its own, and it is held
    panel.controls.attributions.value = "none"
    panel.controls.attributions.value = "grad-cam"
    assert panel._session.passes == 2
    panel.controls.prompts.value = "a bus\n"
    assert panel._session.passes == 3 and panel.result.attribution.sizes["prompt"] == 2


def offered(panel):
    return [name for name, _ in panel.controls.attributions.options]


@pytest.mark.parametrize("kind", ["vit", "resnet", "mean"])
def test_the_attributions_of_the_model_are_offered_and_no_others(opened, kind):
    panel = opened(kind)
    effects = [] if kind == "mean" else ["direct-effects"]
    assert offered(panel) == ["none", *dcv.attribution.methods(panel.model), *effects, "all of the model"]


def test_what_another_model_has_not_is_left_out_and_told_and_comes_back_with_its_run(opened, load_tiny):
    panel = opened(models={"vit": load_tiny("vit"), "resnet": load_tiny("resnet")})
    panel.controls.attributions.value = "grad-cam"
    panel.controls.model.value = "resnet"
    assert panel.result.attribution.candidate.item() == "grad-cam" and "rollout" not in offered(panel)
    panel.controls.model.value = "vit"
    panel.controls.attributions.value = "rollout"
    panel.controls.model.value = "resnet"
    assert panel.status.kind == "warning" and panel.status.text.startswith("resnet has no rollout.")
    assert "attribution" not in panel.result and panel.controls.attributions.value == "none"
    assert "rollout" not in offered(panel)
    panel.history.back.click()
    assert panel.controls.attributions.value == "rollout" and "legrad" in offered(panel)
    assert panel.result.attribution.candidate.item() == "rollout"


def test_what_a_side_cannot_is_told_there(opened, load_tiny):
    models = {"vit": load_tiny("vit"), "resnet": load_tiny("resnet")}
    panel = opened(models=models, compare_with={"model": "resnet"})
    panel.controls.attributions.value = "rollout"
    assert "attribution" in panel.result and "blocks in front of a class token" in panel._compared.view.line.text


def test_tiles_have_no_attributions_and_the_notice_speaks_of_the_fit(opened):
    panel = opened()
    panel.controls.geometry.value = "tiles"
    panel.controls.attributions.value = "grad-cam"
    assert panel.status.text.endswith("Choose another “fit”.")


def test_a_prompt_is_laid_out_along_every_path_and_by_every_method_and_a_click_shows_it(opened):
    panel = opened()
    assert strips(panel) == [] and panel._spec.below[0].layout.display == "none"
    panel.controls.paths.value = "all of the model"
    (strip,) = strips(panel)
    assert [column["label"] for column in strip["columns"]] == list(panel.trace.paths)
    panel.controls.attributions.value = "all of the model"
    assert [len(strip["columns"]) for strip in strips(panel)] == [len(panel.trace.paths), 8]
    panel.move_to(strips(panel)[0]["cells"][0][2]["patch"])
    assert (panel.canvas.state["path"], panel.canvas.state["view"]) == (panel.trace.paths[2], "dense")
    panel.canvas.state = {"prompt": "a road"}
    assert all("a road" in strip["title"] for strip in strips(panel))
    panel.controls.paths.value, panel.controls.attributions.value = "the value path", "none"
    assert panel._spec.below[0].layout.display == "none"


def test_attributions_may_be_hidden(opened):
    panel = opened(lock="attributions")
    assert panel.controls.attributions not in panel.controls.box.children
