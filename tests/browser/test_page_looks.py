"""How the canvas lays itself out and names what it shows, on an offline page without a model."""

import fake_results
import pytest

import denseclip_viz as dcv

READY = "() => Number(document.querySelector('.dcv-canvas')?.dataset.version) > 0"


@pytest.fixture
def opened(offline_page, tmp_path):
    """Write a page of a result and open it: `opened(result, **options)`."""

    def call(result, **options):
        offline_page.goto(dcv.save_html(result, tmp_path / "page.html", **options).as_uri())
        offline_page.wait_for_function(READY)
        return offline_page

    return call


def test_beside_a_tall_image_the_bars_stand_near(opened):
    page = opened(fake_results.comparison(size=(720, 240)))
    image, bars = (page.locator(name).bounding_box() for name in (".dcv-image", ".dcv-bars"))
    assert 0 < bars["x"] - (image["x"] + image["width"]) < 60


def test_many_prompts_are_scrolled_to_beside_the_image(opened):
    page = opened(fake_results.comparison(prompts=[f"thing {number}" for number in range(60)]))
    assert page.locator(".dcv-bars").bounding_box()["height"] < 520
    last = page.locator(".dcv-bar").last
    last.click()
    page.wait_for_function("() => document.querySelector('.dcv-prompt').value === 'thing 59'")


def test_the_map_of_a_cell_does_not_bear_the_name_of_a_prompt(opened):
    both = fake_results.comparison()
    page = opened(both, trace=fake_results.trace(both), hover=True)
    assert page.locator(".dcv-caption b").text_content() == "cells like this one"
    assert "red car" not in page.locator(".dcv-image").get_attribute("aria-label")


def test_a_threshold_of_a_scale_with_two_sides_says_that_it_has_two(opened):
    page = opened(fake_results.comparison(), view="gap", threshold=0.5)
    assert page.locator(".dcv-limit").text_content().startswith("±0.5")


def test_labels_offer_no_switch_that_does_nothing(opened):
    both = fake_results.comparison()
    page = opened(fake_results.segmentation(), trace=fake_results.trace(both))
    assert not page.locator(".dcv-interpolation").is_visible()
    page.locator(".dcv-hover").check()
    page.locator(".dcv-interpolation").wait_for()


def test_segments_have_no_threshold_and_the_next_view_has_its_own_again(opened):
    page = opened(fake_results.comparison(), view="segments")
    threshold = page.locator("input.dcv-threshold")
    assert not threshold.is_visible()
    page.locator("select.dcv-view").select_option("dense")
    assert threshold.is_visible()
    page.locator("select.dcv-view").select_option("segments")
    assert not threshold.is_visible()


def test_canvases_one_after_the_other_do_not_touch(opened):
    page = opened([fake_results.comparison(), fake_results.comparison()])
    page.evaluate("document.querySelector('.dcv-page').style.display = 'block'")  # as outputs of a notebook stand
    above, below = (page.locator(name) for name in (".dcv-credit", ".dcv-controls"))
    above, below = above.nth(0).bounding_box(), below.nth(1).bounding_box()
    assert below["y"] - (above["y"] + above["height"]) >= 8


def test_on_paper_there_are_no_controls_and_dark_ink_whatever_the_scheme(opened, offline_page):
    offline_page.emulate_media(media="print", color_scheme="dark")
    page = opened(fake_results.comparison(prompts=[f"thing {number}" for number in range(60)]))
    assert not any(one.is_visible() for one in page.locator("select, input, .dcv-keep, .dcv-all").all())
    kept = (".dcv-image", ".dcv-caption", ".dcv-ramp", ".dcv-ticks", ".dcv-credit", "footer")
    assert [name for name in kept if not page.locator(name).first.is_visible()] == []
    look = "(node, name) => getComputedStyle(node)[name]"
    assert page.locator("body").evaluate(look, "backgroundColor") == "rgb(255, 255, 255)"
    root, bars = page.locator(".dcv-canvas"), page.locator(".dcv-bars")
    names = ("color", "breakInside", "printColorAdjust")
    assert [root.evaluate(look, name) for name in names] == ["rgb(31, 35, 40)", "avoid", "exact"]
    assert bars.evaluate("node => node.scrollHeight <= node.clientHeight")
