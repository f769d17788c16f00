"""A region of the image: what each map is there on average, by the area of every cell's part in it."""

import fake_results
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import denseclip_viz as dcv
from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import cell_weights

WHERE = Placement((60, 80), (6, 8), (0, 0, 60, 80), (0, 0, 60, 80))
PLACE = st.tuples(st.floats(0, 60), st.floats(0, 80))


def box(top, left, bottom, right):
    return [[top, left], [top, right], [bottom, right], [bottom, left]]


def area(outline):
    y, x = np.transpose(outline)
    return abs(np.sum(y * np.roll(x, -1) - x * np.roll(y, -1))) / 2


def test_a_box_of_whole_cells_is_their_plain_mean():
    both = fake_results.comparison(size=(240, 360))
    found = dcv.maps.region_means(both, box(0, 0, 240, 360))
    assert np.allclose(found["mean"], both.dense.mean(("y", "x")))
    assert int(found.cells) == both.sizes["y"] * both.sizes["x"]
    assert np.allclose(found["max"], both.dense.max(("y", "x"))) and np.allclose(
        found["min"], both.dense.min(("y", "x"))
    )


def test_a_cell_counts_by_the_part_that_lies_in_the_box():
    weights = cell_weights(box(5, 10, 20, 25), WHERE)
    assert weights[:3, :4].tolist() == [[0, 50, 25, 0], [0, 100, 50, 0], [0, 0, 0, 0]]
    assert weights.sum() == 15 * 15


def test_a_slanted_side_cuts_cells_in_two():
    weights = cell_weights([[0, 0], [0, 20], [20, 0]], WHERE)
    assert weights[:2, :2].tolist() == [[100, 50], [50, 0]]


@given(st.tuples(PLACE, PLACE, PLACE))
def test_parts_sum_to_the_area_of_a_triangle_whatever_its_direction(corners):
    outline = [list(corner) for corner in corners]
    weights = cell_weights(outline, WHERE)
    assert weights.sum() == pytest.approx(area(outline), abs=1e-4)
    assert np.allclose(weights, cell_weights(outline[::-1], WHERE), atol=1e-6)


def test_both_loops_of_a_figure_of_eight_count():
    crossed = [[0, 0], [60, 80], [60, 0], [0, 80]]
    assert cell_weights(crossed, WHERE)[[0, 5], [3, 3]].min() > 0
    assert cell_weights(crossed, WHERE)[2:4, [0, 7]].max() == 0


def test_what_the_model_did_not_see_counts_for_nothing():
    both = fake_results.comparison(mode="native")
    found = dcv.maps.region_means(both, box(0, 0, 240, 360))
    top, left, bottom, right = fake_results.geometry(mode="native").visible
    assert float(found.weight.sum()) == pytest.approx((bottom - top) * (right - left))


def test_cells_without_a_value_are_left_out_and_an_empty_region_has_none():
    maps = fake_results.similarity(templates=1)
    holed = maps.where(maps.y > 100)
    cells = int((maps.y > 100).sum()) * maps.sizes["x"]
    assert int(dcv.maps.region_means(holed, box(0, 0, 240, 360)).cells) == cells < maps[0, 0].size
    assert np.allclose(
        dcv.maps.region_means(holed, box(0, 0, 240, 360))["mean"],
        maps[..., maps.y > 100, :].mean(("y", "x")),
        atol=2e-3,
    )
    empty = dcv.maps.region_means(maps, box(300, 0, 310, 9))
    assert int(empty.cells) == 0 and bool(empty["mean"].isnull().all())


@pytest.mark.parametrize("outline", [
    [], [[0, 0], [1, 1]], [[0, 0, 0]] * 3, [[0, 0], [1, 1], [2, float("nan")]],
    "box", ["a", "b", "c"], [[0, 0], [1], [2, 2]],
])  # fmt: skip
def test_what_is_no_outline_is_refused(outline):
    with pytest.raises(GeometryError, match="corners"):
        dcv.maps.region_means(fake_results.comparison(), outline)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (fake_results.segmentation(), "A result without maps"),
        (fake_results.similarity().to_numpy(), "A ndarray"),
        (fake_results.comparison().score, r"A DataArray \("),
    ],
)
def test_what_is_no_map_is_refused_by_what_it_is(thing, message):
    with pytest.raises(LayerError, match=message):
        dcv.maps.region_means(thing, box(0, 0, 9, 9))


def test_maps_without_a_place_are_refused():
    with pytest.raises(GeometryError, match="where their cells lie"):
        dcv.maps.region_means(xr.DataArray(np.zeros((2, 2)), dims=("y", "x")), box(0, 0, 1, 1))


@pytest.mark.parametrize("part", [{"x": slice(0, 3)}, {"y": slice(None, None, -1)}], ids=["cut", "turned"])
def test_maps_that_are_cut_or_turned_are_laid_over_no_image(part):
    cut, maps = fake_results.comparison().isel(part), fake_results.similarity().isel(part)
    masks = {"grass": np.ones((240, 360), dtype=bool)}
    for call in (
        lambda: dcv.maps.region_means(cut, box(0, 0, 240, 360)),
        lambda: dcv.plot.compare(cut),
        lambda: dcv.plot.heads(cut),
        lambda: dcv.plot.grid(maps),
        lambda: dcv.measure.templates_table(maps, masks),
    ):
        with pytest.raises(GeometryError, match="neither cut nor turned"):
            call()


@pytest.mark.parametrize("of", ["dens", "score", "image", None, 5, ["dense"]])
def test_a_name_of_no_map_is_refused_with_those_there_are(of):
    with pytest.raises(LayerError, match="of=.*one of dense, contribution, gap, attention"):
        dcv.maps.region_means(fake_results.comparison(), box(0, 0, 240, 360), of=of)
