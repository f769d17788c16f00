"""The rows beside the image: their order, which are listed, and a map of prompts × places or templates."""

import fake_results
import numpy as np
import pytest
from matplotlib import colormaps
from test_keep import state_of
from test_page import geometry_of
from watch import watched

import denseclip_viz as dcv

pytestmark = pytest.mark.engines("chromium", "firefox")


@pytest.fixture(scope="module")
def tab(browser):
    """One page without a network for all tests of this file."""
    with watched(browser, name="bars", offline=True) as page:
        yield page


@pytest.fixture(scope="module")
def many():
    return fake_results.comparison(prompts=fake_results.MANY, templates=3)


def listed(shown):
    return shown.root.locator(".dcv-bar:visible .dcv-name").all_text_contents()


def test_rows_are_sorted_by_value_and_stay_while_one_points(show, many):
    shown = show(many, pinned=[3, 4])
    order = shown.root.locator(".dcv-order")
    assert listed(shown) == list(fake_results.MANY)
    order.select_option("value")
    by_value = many.prompt.values[np.argsort(-many.dense[0, :, 3, 4].values)].tolist()
    assert listed(shown) == by_value
    shown.point(10, 15, geometry_of(many).grid)
    assert listed(shown) == by_value and shown.bars()["the sun"] == f"{float(many.dense[0, 3, 10, 15]):.3f}"
    row = shown.root.locator(".dcv-bar").nth(5)
    row.focus()
    shown.redraws(lambda: row.press("Enter"))
    assert state_of(shown)["prompt"] == by_value[5]
    assert shown.page.evaluate("document.activeElement.dataset.prompt") == by_value[5]
    order.select_option("given")
    assert listed(shown) == list(fake_results.MANY)


def test_a_few_letters_filter_the_rows_and_escape_lists_all_again(show, many):
    shown = show(many)
    letters = shown.root.locator(".dcv-filter")
    letters.fill("GR")
    assert listed(shown) == [name for name in fake_results.MANY if "gr" in name]
    assert shown.root.locator(".dcv-listed").text_content() == "2 of 12 match"
    letters.fill("<b>")
    assert listed(shown) == [] and shown.root.locator(".dcv-listed").text_content() == "0 of 12 match"
    letters.press("Escape")
    assert len(listed(shown)) == 12 and shown.root.locator(".dcv-listed").text_content() == ""


def test_two_rows_need_no_tools(show):
    shown = show(fake_results.comparison(prompts=["a car", "grass"]))
    assert shown.root.locator(".dcv-tools").is_hidden() and len(listed(shown)) == 2


def test_bars_have_an_axis_and_their_zero_where_values_are_below_it(show, many):
    shown = show(many, view="contribution")
    ends = shown.root.locator(".dcv-axis span").all_text_contents()
    assert ends[0].startswith("−") and float(ends[1]) > 0
    low, high = -float(ends[0][1:]), float(ends[1])
    track, zero = (shown.root.locator(f".dcv-{name}").first.bounding_box() for name in ("track", "zero"))
    assert zero["x"] - track["x"] == pytest.approx(track["width"] * -low / (high - low), abs=2)


def heat_of(shown):
    """The colours of the heat map: (row, column, rgb)."""
    read = "all => all.map(n => [...n.getContext('2d').getImageData(0, 0, n.width, 1).data])"
    return np.array(shown.root.locator(".dcv-heat").evaluate_all(read)).reshape(12, -1, 4)[..., :3]


def colours_of(values, both):
    low, high = float(both.dense.min()), float(both.dense.max())
    return 255 * colormaps["viridis"](np.clip((values - low) / (high - low), 0, 1))[..., :3]


def test_a_heat_map_of_places_has_the_pin_the_region_the_image_and_the_peak(show, many):
    outline = [[60, 40], [60, 200], [200, 120]]
    shown = show(many, pinned=[3, 4], region=outline)
    shown.redraws(lambda: shown.root.locator(".dcv-bars-as").select_option("place"))
    assert shown.root.locator(".dcv-columns span").all_text_contents() == ["pin", "region", "image", "peak"]
    maps = many.dense[0]
    inside = dcv.maps.region_means(many, outline)["mean"][0]
    columns = [maps[:, 3, 4], inside, maps.mean(("y", "x")), maps.max(("y", "x"))]
    assert np.abs(heat_of(shown) - colours_of(np.stack(columns, 1), many)).max() <= 3
    row = shown.root.locator(".dcv-bar").nth(3)
    row.focus()
    for column in columns:
        assert shown.root.locator(".dcv-told").text_content().endswith(f"the sun · {float(column[3]):.3f}")
        row.press("ArrowRight")
    row.press("ArrowDown")
    assert shown.page.evaluate("document.activeElement.dataset.prompt") == fake_results.MANY[4]
    assert shown.root.locator(".dcv-told").text_content().startswith("peak · a wheel")
    shown.root.locator(".dcv-order").select_option("value")
    assert listed(shown) == many.prompt.values[np.argsort(-columns[3].values)].tolist()


def test_a_heat_map_of_templates_chooses_prompt_and_template(show, many):
    shown = show(many, pinned=[3, 4])
    shown.redraws(lambda: shown.root.locator(".dcv-bars-as").select_option("template"))
    values = np.concatenate([many.dense[:, :, 3, 4], many.dense[:, :, 3, 4].mean("template").values[None]])
    assert np.abs(heat_of(shown) - colours_of(values.T, many)).max() <= 3
    row = shown.root.locator(".dcv-bar").nth(3)
    row.focus()
    row.press("ArrowRight")
    shown.redraws(lambda: row.press("Enter"))
    state = state_of(shown)
    assert (state["prompt"], state["template"]) == ("the sun", str(many.template.values[1]))
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("attention"))  # has no prompts
    assert shown.root.locator(".dcv-heat").first.is_hidden() and len(listed(shown)) == 9
