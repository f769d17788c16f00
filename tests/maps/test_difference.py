"""The difference of two results: raw cosines of cells at one place, or a reason why there is none."""

import fake_results
import numpy as np
import pytest
import xarray as xr

from denseclip_viz.canvas.payload import pack_result
from denseclip_viz.errors import DenseclipVizError, GeometryError, LayerError, PromptError
from denseclip_viz.maps.difference import difference


@pytest.fixture(scope="module")
def sides():
    return fake_results.comparison(templates=2), fake_results.comparison(templates=2, seed=1)


@pytest.mark.parametrize("of", ["dense", "contribution", "gap"])
def test_it_is_right_minus_left_in_every_template_for_prompts_of_both(sides, of):
    left, right = sides
    some = right.isel(prompt=[2, 0])
    apart = difference(left, some, of=of)
    assert apart.prompt.values.tolist() == ["a red car", "the sun"]
    names = apart.prompt.values
    np.testing.assert_array_equal(apart.difference, right[of].sel(prompt=names) - left[of].sel(prompt=names))
    assert (difference(right, left, of=of).difference == -difference(left, right, of=of).difference).all()


def test_axes_go_by_their_names_and_not_by_their_order(sides):
    left, right = sides
    turned = right.transpose("prompt", "template", "x", "y", ...)
    expected = difference(left, right)
    for apart in (difference(left, turned), difference(turned, left).assign(difference=lambda one: -one.difference)):
        assert apart.difference.dims == expected.difference.dims
        np.testing.assert_array_equal(apart.difference, expected.difference)
    square = [side.isel(prompt=slice(2)) for side in sides]  # two templates, two prompts
    apart = difference(square[0], square[1].transpose("prompt", "template", ...))
    np.testing.assert_array_equal(apart.difference, square[1].dense - square[0].dense)


def test_other_templates_are_compared_by_the_means_of_each_side(sides):
    left, right = sides[0], fake_results.comparison(templates=3, seed=1)
    apart = difference(left, right)
    assert apart.template.values.tolist() == ["mean of 3 templates − mean of 2 templates"]
    xr.testing.assert_allclose(
        apart.difference[0].drop_vars("template"), right.dense.mean("template") - left.dense.mean("template")
    )


def test_cells_at_the_same_shares_of_two_images_are_compared(sides):
    large = fake_results.comparison(templates=2, size=(480, 720), cell=16)
    assert difference(sides[0], large).sizes["y"] == sides[0].sizes["y"]


@pytest.mark.parametrize(
    ("other", "error", "why"),
    [
        ({"cell": 32}, GeometryError, r"Grids of 14 × 21 and 7 × 11 cells"),
        ({"prompts": ["a bus", "a tram"]}, PromptError, "without a prompt in common"),
    ],
)
def test_it_says_why_there_is_none(sides, other, error, why):
    with pytest.raises(error, match=why):
        difference(sides[0], fake_results.comparison(templates=2, **other))


def test_grids_of_as_many_cells_over_different_parts_of_the_image_are_refused():
    middle, whole = fake_results.comparison(mode="native"), fake_results.comparison(size=(224, 224))
    assert middle.dense.shape == whole.dense.shape
    with pytest.raises(GeometryError, match="cover different parts"):
        difference(middle, whole)


@pytest.mark.parametrize("wrong", [None, 3, "dense", {}])
def test_what_is_no_comparison_is_refused(sides, wrong):
    with pytest.raises(LayerError):
        difference(sides[0], wrong)


def test_several_paths_are_refused_and_the_way_out_is_named(sides):
    many = xr.concat([sides[0], sides[0]], "path")
    with pytest.raises(DenseclipVizError, match=r"Pick one: result\.sel\(path="):
        difference(many, sides[1])


def test_a_canvas_draws_it_around_zero_and_has_nothing_to_copy_as_python(sides):
    packed = pack_result(difference(*sides))
    (stack,) = packed.meta["stacks"]
    assert (stack["view"], stack["low"], stack["title"]) == ("difference", -stack["high"], "dense: right minus left")
    assert packed.choices["view"] == ["difference"] and packed.meta["recipe"] == ""


def test_a_difference_names_the_path_that_both_sides_were_picked_along():
    both = fake_results.along_paths(fake_results.comparison())
    value, sclip = (both.sel(path=name) for name in ("value", "sclip"))
    assert difference(sclip, sclip).attrs["path"] == "sclip"
    assert "path" not in difference(value, sclip).attrs and "path" not in difference(value, value, of="gap").attrs
