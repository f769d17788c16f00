"""Two maps of one result against each other: their difference on one scale, or beside each other by a line."""

import fake_results
import numpy as np
import pytest
from test_keep import CLIPBOARD, copied, rows_of, state_of
from test_page import NASTY, geometry_of, nearly_all, peak_of

import denseclip_viz as dcv
from denseclip_viz.geometry import upsample
from denseclip_viz.plot.raster import colourise

pytestmark = pytest.mark.engines("chromium", "firefox")


@pytest.fixture(scope="module")
def tab(tab):
    """What is copied on it can be asked for."""
    tab.add_init_script(CLIPBOARD)
    return tab


def compare_with(shown, name, place):
    return shown.redraws(lambda: shown.root.locator(".dcv-versus").select_option(f"{name} {place}"))


def drawn(maps, both, like, **scale):
    return colourise(upsample(maps, geometry_of(both), *like.shape[:2]), **scale)


def test_a_difference_is_drawn_on_one_scale_and_told_cell_by_cell(show):
    both = fake_results.comparison(templates=2)
    shown = show(both, opacity=1)
    reach, seen = float(both.dense.max() - both.dense.min()), set()
    for name, place in (("prompt", 1), ("prompt", 2), ("template", 1)):
        compare_with(shown, name, place)
        one, other = both.dense[0, 0], both.dense[0, place] if name == "prompt" else both.dense[place, 0]
        wanted = drawn((one - other).to_numpy(), both, shown.pixels(), low=-reach, high=reach, colours="RdBu_r")
        assert nearly_all(shown.pixels(), wanted, within=4)
        assert shown.peak() == peak_of(np.abs(one - other).values), "where the two differ most, whichever is higher"
        assert shown.root.locator(".dcv-unit span").first.text_content().startswith("+ ")
        seen.add(tuple(shown.root.locator(".dcv-ticks span").all_text_contents()))
    assert len(seen) == 1
    shown.point(3, 4, geometry_of(both).grid)
    assert f"{float((one - other)[3, 4]):.3f}".replace("-", "−") in shown.root.locator(".dcv-where").text_content()
    values = [float(row["value"]) for row in rows_of(copied(shown, "map"))]
    assert values == pytest.approx((one - other).values.ravel().tolist(), abs=6e-4)
    assert " − " in shown.root.locator(".dcv-caption b").text_content()
    shown.redraws(lambda: shown.root.locator(".dcv-versus").select_option(""))
    assert state_of(shown)["versus"] is None and shown.root.locator(".dcv-contrast").is_hidden()


def test_the_slider_has_one_map_left_and_the_other_right_and_is_dragged_and_moved_by_keys(show):
    both = fake_results.comparison(prompts=["a red car", NASTY, "the sun", "a giraffe"])
    shown = show(both, opacity=1, versus=["prompt", NASTY], contrast="slider")
    scale = {"low": float(both.dense.min()), "high": float(both.dense.max())}

    def halves_are_right(share):
        pixels = shown.pixels()
        line = round(share * pixels.shape[1])
        one, other = (drawn(both.dense[0, i].to_numpy(), both, pixels, **scale) for i in (0, 1))
        mixed = np.concatenate([one[:, :line], other[:, line:]], axis=1)
        return nearly_all(pixels, mixed, within=4)

    assert halves_are_right(0.5)
    assert shown.root.locator(".dcv-side-name").all_text_contents() == ["a red car", NASTY]
    assert shown.root.locator(".dcv-where").text_content().endswith("peak of a red car")
    assert not {"peak", "score"} & set(shown.root.locator(".dcv-caption").text_content().split())
    line = shown.root.locator(".dcv-split")
    assert line.get_attribute("aria-label") == f"line between a red car and {NASTY}"
    line.focus()
    for key, share in (("ArrowLeft", 0.48), ("Shift+ArrowLeft", 0.38), ("Home", 0), ("End", 1)):
        shown.redraws(lambda key=key: line.press(key))
        assert state_of(shown)["split"] == pytest.approx(share)
    assert line.get_attribute("aria-valuenow") == "100"
    box = shown.root.locator(".dcv-image").bounding_box()
    middle = box["y"] + box["height"] / 3
    shown.page.mouse.move(box["x"] + box["width"] - 1, middle)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + box["width"] * 0.25, middle, steps=3)
    shown.page.mouse.up()
    assert state_of(shown)["split"] == pytest.approx(0.25, abs=0.01) and state_of(shown)["pinned"] is None
    assert halves_are_right(state_of(shown)["split"])
    grid = geometry_of(both).grid
    for column, i in ((1, 0), (20, 1)):
        shown.point(3, column, grid)
        assert shown.root.locator(".dcv-where").text_content().endswith(f"{float(both.dense[0, i, 3, column]):.3f}")


def test_only_maps_on_one_scale_are_offered(show):
    both = fake_results.comparison(layers="vit", templates=2)
    shown = show(both)
    groups = "n => [...n.querySelectorAll('optgroup')].map(g => g.label)"
    versus = shown.root.locator(".dcv-versus")
    assert versus.evaluate(groups) == ["prompt", "template", "layer"]
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("attention"))
    assert versus.is_hidden()  # the mean of heads has a scale of its own
    shown.redraws(lambda: shown.root.locator(".dcv-head").select_option("3"))
    assert versus.evaluate(groups) == ["head"] and versus.locator("option").count() == 8
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("segments"))
    assert versus.is_hidden()


def test_the_comparison_is_part_of_the_state_and_its_threshold_is_its_own(show):
    both = fake_results.comparison()
    shown = compare_with(show(both), "prompt", 1).slide("threshold", 0.05)
    state = state_of(shown)
    assert dcv.Canvas(both, state=copied(shown, "json")).state == state and state["versus"] == ["prompt", "grass"]
    assert 'versus=["prompt", "grass"]' in copied(shown, "python")
    shown.redraws(lambda: shown.root.locator(".dcv-contrast").select_option("slider"))
    assert state_of(shown)["threshold"] is None


def test_without_a_trace_no_cell_is_compared_whatever_the_state_says(show):
    both = fake_results.comparison()
    shown = show(both, hover=True).slide("threshold", float(both.dense.mean()))
    assert state_of(shown)["threshold"] is not None
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("contribution"))
    assert state_of(shown)["threshold"] is None  # it was a number of another scale
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("dense"))
    compare_with(shown, "prompt", 1)
    assert shown.peak() == peak_of(np.abs(both.dense[0, 0] - both.dense[0, 1]).values)


def test_a_teacher_can_lock_it(show):
    shown = show(fake_results.comparison(), locked=["versus"])
    assert shown.root.locator(".dcv-versus").is_hidden()


def test_linked_canvases_are_compared_as_far_as_they_have_the_same(show):
    ours, others = fake_results.comparison(), fake_results.comparison(prompts=["a boat", "grass", "the sun"])
    left, right = show([ours, others])
    names = [str(name) for name in ours.prompt.values]
    compare_with(left, "prompt", names.index("grass"))
    assert state_of(left)["versus"] == state_of(right)["versus"] == ["prompt", "grass"]
    left.redraws(lambda: left.root.locator(".dcv-prompt").select_option("the sun"))
    compare_with(left, "prompt", names.index("a red car"))
    assert state_of(left)["versus"] == ["prompt", "a red car"]
    assert state_of(right)["versus"] == ["prompt", "grass"]  # it has no red car
    link = copied(left, "link")
    left, right = show([ours, others], fragment="#" + link.split("#")[1])
    assert left.page.locator(".dcv-remark").text_content() == ""
    assert [state_of(one)["versus"][1] for one in (left, right)] == ["a red car", "grass"]
    left.redraws(lambda: left.root.locator(".dcv-versus").select_option(""))
    assert state_of(left)["versus"] is state_of(right)["versus"] is None
