"""The heat map beside a map as stills have it: what a result says there, sorted and filtered as on the page."""

import fake_results
import numpy as np
import pytest
import xarray as xr
from drawn import everything_said

import denseclip_viz as dcv
from denseclip_viz.canvas.heat_rows import heat_rows
from denseclip_viz.canvas.snapshot import MOST_ROWS, laid_out
from denseclip_viz.plot.text import isolated

OUTLINE = [[60, 40], [60, 200], [200, 120]]
THINGS = [f"thing {i}" for i in range(50)]


def rows_of(result, **state):
    canvas = dcv.Canvas(result, **state)
    return heat_rows(canvas._shown, canvas.state)


def said_by(result, **state):
    canvas = dcv.Canvas(result, **state)
    return everything_said(laid_out(canvas._shown, canvas.state)).splitlines()


@pytest.mark.parametrize("mode", ["whole", "native"])
def test_places_are_the_pin_the_region_what_was_seen_and_the_peak(mode):
    both = fake_results.comparison(prompts=fake_results.MANY, mode=mode, templates=2)
    rows = rows_of(both, rows="places", pinned=[3, 4], region=OUTLINE, template="ensemble")
    assert rows.titles == ["here", "pin", "region", "image", "peak"]
    maps, (height, width) = both.dense.mean("template"), both.image.shape[:2]
    inside, seen = (
        dcv.maps.region_means(both, outline)["mean"].mean("template")
        for outline in (OUTLINE, [[0, 0], [0, width], [height, width], [height, 0]])
    )
    wanted = np.stack([inside, maps[:, 3, 4], inside, seen, maps.max(("y", "x"))], 1)
    assert np.allclose(rows.values, wanted, atol=1e-4) and rows.names == list(fake_results.MANY)


def test_here_is_the_peak_of_the_prompt_where_nothing_is_chosen():
    both = fake_results.comparison(prompts=fake_results.MANY)
    both["dense"][0, 3, 0, 0] = np.nan
    y, x = np.unravel_index(int(np.nanargmax(both.dense[0, 3])), both.dense.shape[2:])
    rows = rows_of(both, rows="places", prompt="the sun")
    assert rows.titles == ["here", "image", "peak"]
    assert np.allclose(rows.values[:, 0], both.dense[0, :, y, x], atol=1e-4)


def test_each_path_has_rows_of_its_own():
    dense = fake_results.similarity(prompts=fake_results.MANY)
    paths = xr.concat([dense, 0.5 * dense], dim=xr.DataArray(["value", "vanilla"], dims="path"))
    for rows in ("templates", "places"):
        one, other = (rows_of(paths, rows=rows, pinned=[3, 4], path=path) for path in ("value", "vanilla"))
        assert np.allclose(0.5 * one.values, other.values, atol=1e-4)


def test_a_pin_is_read_at_its_place_in_the_cells_of_a_layer():
    both = fake_results.comparison(prompts=fake_results.MANY, layers="resnet")
    rows = rows_of(both, rows="places", layer="layer1", pinned=[3, 4])
    wanted = both.layer_dense_gradient.sel(layer="layer1")[0, :, 4 * 3 + 2, 4 * 4 + 2]
    assert np.allclose(rows.values[:, 1], wanted, atol=1e-6)


def test_templates_are_columns_with_their_mean_last_and_that_which_is_shown_marked():
    both = fake_results.comparison(prompts=fake_results.MANY, templates=3)
    rows = rows_of(both, rows="templates", pinned=[3, 4], template=str(both.template.values[1]))
    here = both.dense[:, :, 3, 4]
    assert np.allclose(rows.values, np.concatenate([here, here.mean("template").values[None]]).T, atol=1e-4)
    assert (rows.titles, rows.marked) == (["1", "2", "3", "4"], 1)


def test_rows_are_sorted_by_the_marked_column_and_filtered():
    both = fake_results.comparison(prompts=fake_results.MANY)
    here = both.dense[0, :, 3, 4].values
    order = [fake_results.MANY[at] for at in np.argsort(-here)]
    assert rows_of(both, rows="places", pinned=[3, 4], order="value").names == order
    rows = rows_of(both, rows="places", pinned=[3, 4], order="value", filter=" GR ")
    assert rows.names == [name for name in order if "gr" in name] and rows.values.shape == (2, 4)


def test_few_prompts_heads_labels_and_differences_have_no_heat_map():
    both = fake_results.comparison(prompts=THINGS)
    assert rows_of(both).total == 50
    assert rows_of(both, view="attention") is None and rows_of(fake_results.comparison(prompts=THINGS[:20])) is None
    for state in ({"view": "segments"}, {"versus": ["prompt", "thing 1"]}):
        assert not {"here", "peak"} & set(said_by(both, **state))
    assert {"here", "peak"} <= set(said_by(both, versus=["prompt", "thing 1"], contrast="slider"))


def test_a_still_of_many_prompts_has_the_first_rows_and_says_how_many_more_there_are():
    both = fake_results.comparison(prompts=[*fake_results.WRITTEN, *THINGS[6:]])
    said = said_by(both)
    assert {"here", "image", "peak", "and 26 more", *map(isolated, fake_results.WRITTEN)} <= set(said)
    assert "thing 23" in said and "thing 24" not in said and MOST_ROWS == 24
    assert f"{float(both.dense[0, 0].max()):.3f}" in said
    assert "10 of 50 match" in said_by(both, filter="thing 1")
    assert "none of 50 has “<b>” in it" in said_by(both, filter="<b>")
