"""Which cell holds a place, and where the middle of a cell lies: the same in Python and in the page."""

import re
from pathlib import Path

import numpy as np
import pytest
from geometries import geometries, quick
from hypothesis import given

import denseclip_viz
from denseclip_viz.geometry import Placement
from denseclip_viz.geometry.placement import LEAST, MEET
from denseclip_viz.measure.map_scores import cell_areas

WEB = Path(denseclip_viz.__file__).parent / "canvas" / "web" / "geometry.js"
PADDED = Placement((100, 200), (16, 16), (-50.0, 0.0, 150.0, 200.0), (0.0, 0.0, 100.0, 200.0))


@pytest.mark.parametrize(
    ("place", "cell"),
    [((0.1, 0.1), [4, 0]), ((99.9, 199.9), [11, 15]), ((12.5, 12.5), [5, 1]), ((-60, 300), [0, 15]), ((6, 13), [4, 1])],
)
def test_a_place_lies_in_one_cell_and_on_an_edge_in_the_later(place, cell):
    assert PADDED.cell_at(place) == cell


def test_where_cells_meet_no_rounding_decides():
    thirds = Placement((10, 10), (3, 3), (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 10.0))
    assert [thirds.cells_at(0, 10 * share / 3).item() for share in (1, 2, 3)] == [1, 2, 3]
    assert thirds.cells_at(1, [-1, 11]).tolist() == [-1, 3]


def test_cells_in_sight_are_those_that_have_a_middle():
    middles = [[PADDED.middle_of((y, x)) is not None for x in range(16)] for y in range(16)]
    assert PADDED.in_sight.tolist() == middles and 0 < PADDED.in_sight.sum() < 16 * 16


@given(geometries())
@quick
def test_cells_of_any_fit_are_in_sight_where_they_have_pixels_of_the_image(planned):
    geometry, _ = planned
    np.testing.assert_array_equal(geometry.in_sight, cell_areas(geometry) > 0)
    where = geometry.placement()
    middles = [where.middle_of(cell) is not None for cell in np.ndindex(geometry.grid)]
    assert geometry.in_sight.ravel().tolist() == middles


@pytest.mark.parametrize(
    ("cell", "middle"),
    [
        ((4, 0), [6.25, 6.25]),
        ((3, 5), None),  # padding that touches the image
        ((12, 5), None),
        ((0, 0), None),
    ],
)
def test_the_middle_of_a_cell_is_that_of_what_was_seen(cell, middle):
    assert PADDED.middle_of(cell) == middle


def test_a_cell_seen_in_part_has_its_middle_there():
    cropped = Placement((100, 100), (4, 4), (0.0, 0.0, 100.0, 100.0), (10.0, 0.0, 100.0, 100.0))
    assert cropped.middle_of((0, 0)) == [17.5, 12.5]
    assert cropped.cell_at(cropped.middle_of((0, 0))) == [0, 0]


def test_the_page_has_the_same_tolerances():
    text = WEB.read_text(encoding="utf-8")
    assert float(re.search(r"const MEET = (\S+);", text)[1]) == MEET
    assert {float(number) for number in re.findall(r"> (1e-\d+)", text)} == {LEAST}
