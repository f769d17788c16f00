"""Comparing in an explorer: one thing differs, scales are one, and only what is new costs a pass of the encoder."""

import asyncio
import io

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, ImageError, PromptError

PROMPTS = ["a taxi", "a road"]


def compare_with(panel, kind, value=None):
    """Choose as people do."""
    panel._compared.kind.value = kind
    if value is not None:
        panel._compared.which[kind].value = value


def titles(panel):
    return [head.value for head in panel._compared.view._heads]


def sides(panel):
    return panel.canvas, panel._compared.view.canvas


def limits(canvas):
    return {(one["view"], *one["axes"]): (one["low"], one["high"]) for one in canvas._payload["meta"]["stacks"]}


def noise(seed, size=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(files, name, content):
    with files.hold_trait_notifications():
        files.name, files.content = name, content


KINDS = {
    "geometry": ("whole", ["the model's own crop", "the whole image"]),
    "path": ("sclip", ["value", "sclip"]),
    "templates": ("scene", ["templates: as typed", "templates: scene, 5"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_side_is_what_the_package_says_of_it_on_one_scale(opened, image_file, kind):
    value, named = KINDS[kind]
    panel = opened()
    alone = limits(panel.canvas)
    compare_with(panel, kind, value)
    options = {} if kind == "templates" else {kind: value}
    prompts = dcv.Prompts(PROMPTS, "scene" if kind == "templates" else "none", absent="a whale", articles="right")
    expected = panel.model.compare(panel.model.trace(image_file, **options), prompts)
    xr.testing.assert_identical(panel.other.comparison, expected)
    assert titles(panel)[:2] == named and panel._compared.view.box.children[0] is panel.canvas
    left, right = map(limits, sides(panel))
    assert left == right and left["dense", "template", "prompt"] != alone["dense", "template", "prompt"]
    compare_with(panel, "")
    assert panel._compared.view.box.children == (panel.canvas,) and panel.other is None
    assert limits(panel.canvas) == {name: pytest.approx(pair, abs=1e-6) for name, pair in alone.items()}


def test_another_model_is_one_of_those_given_or_is_given_as_the_other(opened, load_tiny):
    panel = opened(models={"one": load_tiny("vit"), "two": load_tiny("resnet")})
    compare_with(panel, "model")
    assert (panel.model, panel.other.query.model) == (panel._session.model("one"), "two")
    assert "no difference: grids of 4 × 4 and " in titles(panel)[2]
    other = load_tiny("vit")
    given = opened(compare_with={"model": other})
    assert given.other.model is other and "cosines of two models" not in titles(given)[2]  # of the same weights
    assert "model" not in [kind for _, kind in opened()._compared.kind.options]


def test_only_the_side_that_is_new_costs_a_pass_and_a_path_or_templates_cost_none(opened):
    panel = opened()
    compare_with(panel, "path")  # one pass gives all paths
    assert len(panel.encoded) == 1
    for _, path in panel._compared.which["path"].options:
        panel._compared.which["path"].value = path
        assert panel.other.trace.paths == (path,)
    for kind in ("templates", "path", "", "path"):
        compare_with(panel, kind)
    compare_with(panel, "templates", "imagenet-7")
    panel.controls.prompts.value = "a bus\na road\n"
    panel.controls.templates.value = "scene"
    assert len(panel.encoded) == 1 and panel.other.comparison.prompt.values[0] == "a bus"
    assert panel._session.passes == 2
    compare_with(panel, "geometry", "tiles")
    compare_with(panel, "geometry", "whole")
    compare_with(panel, "geometry", "tiles")
    assert panel._session.passes == 4


def test_a_new_image_at_the_left_and_a_new_one_at_the_right_leave_the_other_alone(opened):
    panel = opened()
    compare_with(panel, "image")
    first = panel.other.query.image
    panel.look_at(noise(0))
    assert panel.other.query.image is first and panel._session.passes == 3
    upload(panel._compared.upload, "mine.png", png(noise(1)))
    np.testing.assert_array_equal(panel.other.comparison.image, noise(1))
    assert panel._session.passes == 4 and titles(panel)[:2] == ["array 40 x 60", "mine.png"]
    assert titles(panel)[2].endswith("cell by cell, of two images")
    panel._compared.scene.value = panel._compared.scene.options[1][0]
    assert panel.other.trace.name.startswith("scene ") and panel._compared.upload.shown.startswith("a large red taxi")


def test_an_error_of_one_side_stands_there_and_the_other_side_goes_on(opened):
    panel = opened()
    compare_with(panel, "image")
    before, line = panel.other, panel._compared.view.line
    upload(panel._compared.upload, "notes.png", b"no image")
    assert (line.kind, panel.status.kind, panel.other) == ("error", "ok", before) and "notes.png" in line.text
    panel.controls.prompts.value = "a bus\n"
    assert panel.result.prompt.values[0] == "a bus" and panel.other is before and line.kind == "error"
    panel._compared.scene.value = panel._compared.scene.options[1][0]
    assert line.kind == "ok" and panel.other.comparison.prompt.values[0] == "a bus"
    upload(panel.controls.image, "notes.png", b"no image")
    assert panel.status.kind == "error" and line.kind == "ok"


def test_the_first_answer_may_be_an_error_too(opened):
    panel = opened("mean")
    upload(panel._compared.upload, "notes.png", b"no image")
    assert panel._compared.view.line.kind == "error" and panel.other is None and panel.status.kind == "ok"
    assert titles(panel)[1:] == ["another image", ""]


def test_the_difference_is_of_the_view_and_paths_that_are_shown_or_says_why_there_is_none(opened):
    panel = opened(paths=["value", "sclip"], compare_with={"path": "vanilla"})
    shown, view = panel._compared.view.difference, panel._compared.view
    both, other = panel.result, panel.other.comparison

    def drawn():
        stack = shown._payload["meta"]["stacks"][0]
        return stack["title"], max(abs(stack["low"]), stack["high"])

    def expected(left, right):
        return pytest.approx(float(abs(right - left).max()))

    assert drawn() == ("dense: right minus left", expected(both.dense.sel(path="value"), other.dense))
    panel.canvas.state = {"path": "sclip"}
    assert drawn()[1] == expected(both.dense.sel(path="sclip"), other.dense)
    assert titles(panel) == ["value, sclip", "vanilla", "difference of dense: right minus left"]
    panel.canvas.state = {"view": "gap"}
    assert titles(panel)[2] == "no difference: gap is the same at both sides"  # it hangs on no path
    compare_with(panel, "geometry", "whole")
    panel.canvas.state = {"view": "attention"}
    compare_with(panel, "templates", "single")
    panel.canvas.state = {"view": "gap"}
    assert drawn() == ("gap: right minus left", expected(panel.result.gap, panel.other.comparison.gap.to_numpy()))
    compare_with(panel, "geometry", "tiles")
    assert titles(panel)[2].startswith("no difference: grids of ") and view.difference.layout.display == "none"


def test_the_other_side_shows_what_the_left_does_and_has_controls_of_its_own_only_where_they_differ(opened):
    panel = opened()
    panel.canvas.state = {"prompt": "a road", "view": "gap", "opacity": 0.3, "pinned": [1, 2]}
    compare_with(panel, "templates", "scene")
    other = panel._compared.view.canvas
    assert {name: other.state[name] for name in ("prompt", "view", "opacity", "pinned")} == {
        "prompt": "a road", "view": "gap", "opacity": 0.3, "pinned": [1, 2],
    }  # fmt: skip
    assert set(other.locked) >= {"view", "prompt", "opacity"} and not {"keep", "template"} & set(other.locked)
    links = [set(canvas._links) for canvas in (panel.canvas, other, panel._compared.view.difference)]
    assert set.intersection(*links)
    panel.move_to({"prompt": "a taxi"})
    assert (other.state["prompt"], panel._compared.view.difference.state["prompt"]) == ("a taxi", "a taxi")
    panel.controls.attributions.value = "grad-cam"
    assert other.state["view"] == panel.canvas.state["view"] == "attribution"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"fit": "whole"}, PromptError),
        ({"geometry": "hole"}, PromptError),
        ({"path": "nothing"}, PromptError),
        ({"templates": "own"}, PromptError),
        ({"geometry": "whole", "path": "sclip"}, PromptError),
        ("whole", PromptError),
        ({"image": "no-such.jpg"}, ImageError),
        ({"model": 3}, DenseclipVizError),
    ],
)
def test_what_cannot_be_compared_with_is_refused_in_the_cell(opened, given, error):
    with pytest.raises(error):
        opened(compare_with=given)


def test_a_stopped_comparison_leaves_what_was_there_and_the_control_says_so(opened, monkeypatch):
    panel = opened()
    monkeypatch.setattr(panel._session, "run", lambda *_, **options: [torch.ones(2) + 1 for _ in iter(int, 1)])

    async def steps():
        compare_with(panel, "geometry")
        await asyncio.sleep(0.05)
        panel.controls.stop.click()
        await asyncio.sleep(0.05)

    asyncio.run(steps())
    assert (panel._compared.kind.value, panel.other, panel.status.kind) == ("", None, "warning")


def test_it_may_be_locked_and_closed_with_all_its_parts(opened):
    locked = opened(lock="compare", compare_with={"geometry": "whole"})
    assert locked._compared.kind not in locked.controls.box.children and locked.other is not None
    parts = [*locked._compared.view.parts, *locked._compared.rows]
    assert len(parts) > 10 and all(part.comm is not None for part in parts)
    locked.close()
    assert [part.comm for part in parts] == [None] * len(parts)
