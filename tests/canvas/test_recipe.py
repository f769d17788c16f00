"""The Python that a canvas gives makes the same result and the same state again, and a state is read wherever it is."""

import json
from urllib.parse import quote

import fake_results
import pytest
import xarray as xr
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.canvas.recipe import recipe
from denseclip_viz.errors import ImageError, LayerError

PROMPTS = dcv.Prompts(["a taxi", 'a "red" road'], ["{}", "a photo of {}"], absent=["a whale"])


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture
def street(tmp_path, monkeypatch):
    """Put an image into the folder that Python runs in."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(dcv.toyworld.scene("a taxi on a road", 96).image).crop((0, 0, 96, 70)).save("street 1.png")
    return "street 1.png"


def run(code):
    """Run what a canvas gives, closed as the browser closes it."""
    names = {}
    exec(code + ")", names)
    return names


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "compare"),
        ({"geometry": dcv.Whole(short=64)}, "compare"),
        ({"geometry": dcv.Whole(long=128, pad="even")}, "compare"),
        ({"geometry": dcv.Tiles(window=64)}, "similarity"),
        ({"path": ["value", "vanilla"]}, "compare"),
        ({"path": "vanilla"}, "similarity"),
        ({}, "segment"),
    ],
)
def test_the_code_makes_the_same_numbers(model, street, options, kind):
    trace = model.trace(street, **options)
    more = {"independent": True} if kind == "segment" else {}
    prompts = dcv.Prompts(["a taxi", "a road"], absent=["a whale"]) if kind == "segment" else PROMPTS
    made = getattr(model, kind)(trace, prompts, **more)
    code = dcv.Canvas(made, trace=trace)._payload["meta"]["recipe"]
    again = run(code)["both"]
    xr.testing.assert_allclose(again, made, rtol=1e-4, atol=1e-5)
    assert again.attrs == made.attrs


def test_the_code_reads_the_layers_and_attributions_too(street):
    model = dcv.load("bundled-vit")
    trace = model.trace(street, layers=model.layers_to_record("blocks.1"))
    both = model.compare(trace, ["a taxi", "a road"], layers="blocks.1")
    both = both.assign(attribution=dcv.attribution.attribute(model, trace, ["a taxi", "a road"], ["grad-cam"]))
    xr.testing.assert_allclose(run(recipe(both, with_trace=True))["both"], both)


def test_what_nothing_tells_is_left_open_and_nothing_leaves_its_comment():
    both = fake_results.comparison().assign_attrs(image_name="array 5\nimport os", weights="in memory", model="a\nb()")
    lines = recipe(both, with_trace=False).splitlines()
    assert "model = ...  # the model that was in memory: a b()" in lines
    assert "image = ...  # the image that was shown: array 5 import os" in lines


def test_a_state_is_read_as_dict_json_and_link():
    both = fake_results.comparison()
    wanted = dcv.Canvas(both, view="gap", prompt="grass", pinned=[3, 4]).state
    text = json.dumps(wanted)
    for given in (wanted, text, f"#state={quote(text)}", f"file:///x.html#state={quote(text)}", f"[{text}]"):
        assert dcv.Canvas(both, state=given).state == wanted
    assert dcv.Canvas(both, state=wanted, prompt="the sun", opacity=0.5).state == {
        **wanted,
        "prompt": "the sun",
        "opacity": 0.5,
    }


@pytest.mark.parametrize("given", ["", "#state=", "#state=%7B", "{", "[1, 2]", "5", "null", "no"])
def test_what_is_no_state_is_refused(given):
    if given == "":
        assert dcv.Canvas(fake_results.comparison(), state=given).state["view"] == "dense"
        return
    with pytest.raises(ImageError, match="state as JSON"):
        dcv.Canvas(fake_results.comparison(), state=given)


def test_a_state_that_a_result_has_not_is_refused_by_name(tmp_path):
    with pytest.raises(LayerError, match="view 'attribution'"):
        dcv.Canvas(fake_results.comparison(), state={"view": "attribution"})
    path = dcv.save_html(fake_results.comparison(), tmp_path / "x.html", state='{"view": "gap"}')
    assert '"view": "gap", "head"' in path.read_text(encoding="utf-8")
