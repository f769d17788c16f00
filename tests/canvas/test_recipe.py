"""The Python that a canvas gives makes the same result and the same state again, and a state is read wherever it is."""

import json
import re
from urllib.parse import quote

import fake_results
import pytest
import xarray as xr
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.canvas.payload import as_dataset
from denseclip_viz.canvas.recipe import recipe
from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.explorers.query import ImageSource, Query
from denseclip_viz.explorers.session import Session, attributions
from denseclip_viz.geometry import Preprocess
from denseclip_viz.maps.segment import segment
from denseclip_viz.maps.similarity import choose_formula

PROMPTS = dcv.Prompts(["a taxi", 'a "red" road'], ["{}", "a photo of {}"], absent=["a whale"])
IMAGE = dcv.toyworld.scene("a taxi on a road", 96)
pytestmark = pytest.mark.filterwarnings("ignore:The bundled models know only")  # of odd words, which are meant


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture
def street(tmp_path, monkeypatch):
    """Put an image into the folder that Python runs in."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(dcv.toyworld.scene("a taxi on a road", 96).image).crop((0, 0, 96, 70)).save("street 1.png")
    return "street 1.png"


def run(code, **names):
    """Run what a canvas gives, closed as the browser closes it."""
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


ODD = ["a taxi, yellow", 'a "red" road', "it's a bird", "고양이 한 마리", "a back\\slash", "grass"]


def again(result, image, *, trace=None):
    """Run the recipe of a result, with the image that was no file in its place."""
    code = recipe(as_dataset(result), with_trace=trace is not None)
    open_end = re.compile(r"^image = \.\.\..*$", re.MULTILINE)
    return run("IMAGE = given\n" + open_end.sub("image = IMAGE", code), given=image)["both"]


def assert_same(result, image, *, trace=None):
    """Compare every number, name and attribute with what the recipe of a result makes, but for how batches round."""
    made, exact = again(result, image, trace=trace), {"cosine_cut": pytest.approx(result.attrs.get("cosine_cut"))}
    xr.testing.assert_allclose(made, result, rtol=1e-5, atol=1e-6)
    assert made.attrs == result.attrs | (exact if "cosine_cut" in result.attrs else {})
    for name in {"labels", "masks"} & {*result.coords, *getattr(result, "data_vars", {})}:
        assert (made[name] == result[name]).all(), name


PROMPTED = {
    "odd names": {"prompts": ODD, "absent": ["a whale, sleeping", 'the "moon"', "고래, 잠자는", "C:\\new", "it's"]},
    "right articles": {"prompts": ["a taxi", "orange tree"], "templates": "single", "articles": "right"},
    "plural": {"prompts": ["taxi", "bird"], "templates": ["a photo of many {}.", "{}"], "plural": True},
    "a set": {"prompts": ["a taxi"], "templates": "imagenet-7", "articles": "right", "absent": "a whale, sleeping"},
    "wordings": {
        "prompts": {"taxi, cab": ["taxi", "cab"], "grass": "grass", "새": ["bird", "새"]},
        "absent": {"whale": ["whale", "orca, swimming"]},
        "background": ["grass"],
        "templates": ["a {}", 'my "taxi", \\ {}'],
    },
}


@pytest.mark.parametrize("name", PROMPTED)
def test_prompts_come_back_in_their_very_words(model, name):
    prompts = dcv.Prompts(**PROMPTED[name])
    trace = model.trace(IMAGE)
    for result in (model.compare(trace, prompts), model.segment(trace, prompts), model.similarity(trace, prompts)):
        assert_same(result, IMAGE, trace=trace)


@pytest.mark.parametrize("name", PROMPTED)
def test_what_a_file_holds_of_prompts_makes_them_again(model, name, tmp_path):
    result = model.segment(IMAGE, dcv.Prompts(**PROMPTED[name]), background=0.3)
    result.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "x.nc", engine="h5netcdf") as read:
        assert_same(read.load(), IMAGE)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, ""),
        ({"denoise": 0.9}, ", denoise=0.9"),
        ({"denoise": 0.123456789}, ", denoise=0.123456789"),
        ({"smooth": "cosine"}, ", smooth='cosine'"),
        ({"smooth": "official", "denoise": 0.2}, ", denoise=0.2, smooth='official'"),
        ({"background": 0.6}, ", background=0.6"),
        ({"background": ["a road"]}, ", background=['a road']"),
        (
            {"background": dcv.maps.Background(cosine=0.1, absent=False)},
            ", background=dcv.maps.Background(cosine=0.1, absent=False)",
        ),
        ({"soft": True, "independent": True}, ", soft=True, independent=True"),
        ({"size": (40, 56)}, ", size=(40, 56)"),
    ],
)
def test_a_segmentation_comes_back_as_it_was_asked_for(options, written):
    model = dcv.load("bundled-vit-cls")
    prompts = dcv.Prompts(["a taxi", "a road"], "a photo of {}", absent=["a whale, sleeping"])
    for keys in ("key", "projected"):
        result = model.segment(trace := model.trace(IMAGE, keys=keys), prompts, **options)
        assert f"model.segment(trace, prompts{written})" in recipe(result, with_trace=True)
        assert f"model.trace(image, keys={keys!r})" in recipe(result, with_trace=True)
        assert_same(result, IMAGE, trace=trace)


def test_a_softmax_of_a_model_with_a_sigmoid_is_asked_for(model):
    """No bundled model has a sigmoid: its formula alone is given."""
    trace, prompts = model.trace(IMAGE), dcv.Prompts(["a taxi", "a road"])
    vectors = model.texts.encode(prompts)[0]
    lines = [
        recipe(segment(trace, vectors, prompts, choose_formula(name, 100.0, bias)), with_trace=False)
        for name, bias in (("softmax", None), ("softmax", -10.0), (None, -10.0))
    ]
    assert [", formula='softmax'" in line for line in lines] == [False, True, False]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("attributions", [(), ("direct-effects",), ("grad-cam", "direct-effects"), None])
def test_what_an_explorer_shows_comes_back(smooth, denoise, attributions):
    prompts = dcv.Prompts(["a taxi, yellow", "a road"], "single", absent="a whale, sleeping", articles="right")
    asked = {"smooth": smooth, "denoise": denoise, "attributions": attributions}
    query = Query(ImageSource(IMAGE), "bundled-vit-cls", prompts, **asked)
    answer = Session("bundled-vit-cls").run(query, lambda *_: None)
    assert_same(answer.comparison, IMAGE, trace=answer.trace)
    if answer.segments is not None:
        assert_same(answer.segments, IMAGE, trace=answer.trace)


def test_attributions_come_back_in_their_order_and_alone():
    model = dcv.load("bundled-vit-cls")
    trace, prompts = model.trace(IMAGE, path=["value", "sclip"]), dcv.Prompts(ODD)
    query = Query(ImageSource(IMAGE), "bundled-vit-cls", prompts, attributions=("rollout", "direct-effects"))
    maps = attributions(model, trace, query)
    for one in (maps, maps.isel(candidate=[1, 0]), maps.isel(candidate=[1])):
        xr.testing.assert_equal(again(one, IMAGE), one)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda both: both["contribution"],
            "both = ...  # maps of your own, or taken out of a result: what a position adds",
        ),
        (
            lambda both: both.assign_attrs(path="mine\nimport os"),
            "trace = ...  # a trace that attributes alone do not make again: path mine import os",
        ),
        (
            lambda both: both["dense"].expand_dims(candidate=["my own"]).rename("attribution"),
            "both = ...  # attributions of your own are among them: ['my own']",
        ),
    ],
)
def test_what_no_line_makes_is_left_open(model, change, line):
    lines = recipe(as_dataset(change(model.compare(IMAGE, ["a taxi", "a road"]))), with_trace=False).splitlines()
    assert any(one.startswith(line) for one in lines), lines


def test_a_finer_grid_is_left_open_and_no_number_is_another(model):
    result = model.segment(IMAGE, ["a taxi", "a road"], finer="guided")
    assert "\ntrace = ...  # a trace that attributes alone do not make again: finer grid: " in recipe(
        result, with_trace=False
    )


@pytest.mark.parametrize(
    ("fit", "size"),
    [
        ("dcv.Tiles(window=(64, 64))", (3000, 4000)),
        ("dcv.Tiles(window=(64, 64), apart=True)", (3000, 4000)),
        ("dcv.Whole(short=64, pad='even')", (96, 4000)),
    ],
)
def test_the_fit_is_named_of_images_with_sides_that_no_fit_takes(fit, size):
    """Tiles leave a photo its size, and the long side of a panorama is not what was asked for."""
    like = Preprocess((64, 64), mean=(0, 0, 0), std=(1, 1, 1))
    plan = run(f"fit = ({fit}", dcv=dcv)["fit"].plan(size, preprocess=like, cell=(8, 8))
    both = fake_results.comparison().assign_attrs(geometry=plan.to_json())
    assert f"model.trace(image, geometry={fit})" in recipe(both, with_trace=False)


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
