"""Several images on one scale: the same colour means the same number in figures, on canvases and on pages."""

import json
import re

import fake_results
import pytest
from drawn import everything_said, maps, texts

import denseclip_viz as dcv
from denseclip_viz import plot
from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.plot.scales import VIEWS

COLOURS = {name: colours for name, (_, colours) in VIEWS.items()}


def faint(both, share=0.1):
    """Make the same result with maps that are a tenth as strong, of an image of another shape."""
    weak = fake_results.comparison(size=(150, 100), cell=16).assign_attrs(image_name="empty.jpg")
    return weak.assign({name: weak[name] * share for name in ("dense", "contribution", "gap", "attention")})


@pytest.fixture(scope="module")
def both():
    return fake_results.comparison()


def limits_of(figure, name, *results):
    """The limits of all maps of a view, and of its bar."""
    drawn = [image for one in results for image in maps(figure, COLOURS[name], one.dense.shape[2:])]
    return {image.get_clim() for image in (*drawn, *maps(figure, COLOURS[name], (1, 256)))}


def scales_of(canvas):
    meta = canvas._payload["meta"]
    return {(one["view"], *one["axes"]): (one["low"], one["high"], one["ticks"]) for one in meta["stacks"]}


def page_scales(path):
    data = re.search(r'id="dcv-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL).group(1)
    return [{one["view"]: (one["low"], one["high"]) for one in page["meta"]["stacks"]} for page in json.loads(data)]


@pytest.mark.parametrize("name", VIEWS)
def test_several_images_in_one_figure_have_one_scale_a_column_and_rows_named_by_image(both, name):
    weak = faint(both)
    figure = plot.compare([both, weak])
    [(low, high)] = limits_of(figure, name, both, weak)
    assert low <= min(float(one[name].min()) for one in (both, weak))
    assert high >= max(float(one[name].max()) for one in (both, weak))
    headings = [text for text in texts(figure) if text.startswith(("car.jpg: ", "empty.jpg: "))]
    assert len(headings) == both.sizes["prompt"] * 2 and headings[0].startswith("car.jpg: a red car · ")


def test_images_of_one_name_are_numbered(both):
    said = everything_said(plot.compare([both, both], prompts="grass"))
    assert "car.jpg (1): grass" in said and "car.jpg (2): grass" in said


def test_images_of_two_models_have_rows_named_by_both(both):
    other = faint(both).assign_attrs(model="ViT-B-16")
    said = everything_said(plot.compare([both, other], prompts="grass"))
    assert "car.jpg, RN50: grass" in said and "empty.jpg, ViT-B-16: grass" in said


@pytest.mark.parametrize("name", VIEWS)
def test_figures_that_are_made_like_the_same_results_have_the_same_scale(both, name):
    results = [both, faint(both)]
    alone, *like = plot.compare(results[1]), *(plot.compare(one, like=results) for one in results)
    assert limits_of(like[0], name, both) == limits_of(like[1], name, results[1]) != limits_of(alone, name, results[1])


def test_a_grid_takes_limits_or_the_scale_of_other_maps():
    first, second = fake_results.similarity(), fake_results.similarity() * 0.1
    second = second.assign_attrs(first.attrs)
    [like] = {image.get_clim() for image in maps(plot.grid(second, like=first), "viridis", first.shape[2:])}
    assert like == (float(second.min()), float(first.max()))
    limited = plot.grid(first, limits=(0, 0.2))
    assert {image.get_clim() for image in maps(limited, "viridis", first.shape[2:])} == {(0, 0.2)}
    assert "≥ 0.20" in everything_said(limited)
    with pytest.raises(ImageError, match="shared scale"):
        plot.grid(first, limits=(0, 1), normalise="each")


def test_limits_are_those_of_the_dense_map_or_of_each_view_and_what_lies_beyond_is_said(both):
    figure = plot.compare(both, limits={"dense": (0.2, 0.5), "contribution": (-1, 1)})
    assert limits_of(figure, "dense", both) == {(0.2, 0.5)} and limits_of(figure, "contribution", both) == {(-1.0, 1.0)}
    assert "≤ 0.20" in everything_said(figure)
    assert limits_of(plot.compare(both, limits=(0, 1)), "dense", both) == {(0.0, 1.0)}
    assert scales_of(dcv.Canvas(both, limits=(0.2, 0.5)))["dense", "template", "prompt"][2][0] == "≤ 0.20"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((1,), "two numbers"),
        ((1, 0), "low below high"),
        ({"gap": (0, 1)}, "zero is the middle"),
        ({"x": (0, 1)}, "'x'"),
    ],
)
def test_limits_that_are_none_are_refused_by_name(both, limits, said, tmp_path):
    for draw in (plot.compare, dcv.Canvas, lambda one, **options: dcv.save_html(one, tmp_path / "x.html", **options)):
        with pytest.raises(ImageError, match=said):
            draw(both, limits=limits)


def test_a_canvas_like_other_results_has_the_scale_of_all(both):
    weak = faint(both)
    assert scales_of(dcv.Canvas(both, like=weak)) == scales_of(dcv.Canvas(weak, like=[both, weak]))
    assert scales_of(dcv.Canvas(weak)) != scales_of(dcv.Canvas(weak, like=both))


def test_linked_canvases_have_one_scale_also_after_another_result(both):
    first, second, weak = dcv.Canvas(both), dcv.Canvas(), faint(both)
    dcv.link(first, second)
    alone = scales_of(first)
    second.show(weak)
    assert scales_of(first) == scales_of(second) != alone
    second.show(both)
    assert scales_of(first) == scales_of(second) == alone


def test_linked_canvases_keep_their_scales_if_told_so_or_if_they_are_of_two_models(both):
    weak = faint(both)
    for other, options in ((weak, {"one_scale": False}), (weak.assign_attrs(model="ViT-B-16"), {})):
        first, second = dcv.Canvas(both), dcv.Canvas(other)
        dcv.link(first, second, **options)
        assert scales_of(first) == scales_of(dcv.Canvas(both)) and scales_of(second) == scales_of(dcv.Canvas(other))


def test_a_page_of_several_results_has_one_scale_unless_told_otherwise(both, tmp_path):
    weak = faint(both)
    first, second = page_scales(dcv.save_html([both, weak], tmp_path / "one.html"))
    assert first == second
    first, second = page_scales(dcv.save_html([both, weak], tmp_path / "two.html", one_scale=False))
    assert all(first[name] != second[name] for name in ("dense", "contribution", "gap"))


def test_a_figure_of_no_result_says_so(both):
    with pytest.raises(LayerError, match="No result to show"):
        plot.compare([])
    with pytest.raises(LayerError, match="A DataArray without"):
        plot.compare([both, both.dense])
    with pytest.raises(LayerError, match="without"):
        plot.compare(both, like=both.dense)
