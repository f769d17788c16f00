"""The saved page for people who read by ear or walk by keys, in every view."""

import fake_results
import pytest
from readers import faults, walk
from test_page import Shown, opened

import denseclip_viz as dcv

BROKEN = "<html lang=en><title>broken</title><main><h1>text</h1><button></button><input></main>"


@pytest.fixture
def show(open_page, tmp_path):
    """Open the saved page of everything that a canvas can show: `show(color_scheme="dark")`."""

    def call(**options):
        both, page = fake_results.comparison(templates=2, layers="vit"), open_page(offline=True, **options)
        path = dcv.save_html(both, tmp_path / "page.html", trace=fake_results.trace(both), title="A car", notes="One.")
        page.goto(path.as_uri())
        shown = Shown(page)
        shown.wait("Number(n?.dataset.version) > 0")
        return shown

    return call


@pytest.mark.engines("chromium")
def test_a_fault_that_is_there_is_found(offline_page, tmp_path):
    (tmp_path / "page.html").write_text(BROKEN)
    offline_page.goto((tmp_path / "page.html").as_uri())
    assert [fault.split(":")[0] for fault in faults(offline_page)] == ["button-name", "label"]


@pytest.mark.engines("chromium")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_of_the_saved_page_has_a_fault(show, theme):
    shown = show(color_scheme=theme)
    shown.root.locator(".dcv-keep summary").click()
    views = shown.root.locator(".dcv-view option").evaluate_all("all => all.map(option => option.value)")
    assert views == ["dense", "contribution", "attention", "gap", "segments", "masks"]
    for view in views[::-1]:
        assert faults(shown.select("view", view).page) == [], view
    assert faults(shown.tick("hover").page) == []


@pytest.mark.engines("chromium")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_neither_a_heat_map_of_rows_nor_a_filter_that_leaves_none_has_a_fault(open_page, tmp_path, theme):
    both = fake_results.comparison(prompts=[f"thing {i}" for i in range(50)])
    shown = opened(open_page(offline=True, color_scheme=theme), tmp_path, both, pinned=[3, 4])
    assert shown.root.locator(".dcv-heat").first.is_visible() and faults(shown.page) == []
    shown.root.locator(".dcv-filter").fill("zzz")
    assert shown.root.locator(".dcv-all").is_visible() and faults(shown.page) == []


def test_tab_leads_through_all_controls_of_the_saved_page_and_each_is_seen_to_be_reached(show):
    shown = show()
    controls, reached, unseen = walk(shown.page, shown.page.locator("body"))
    assert len(controls) > 15
    assert (reached, unseen) == (controls, [])


def test_arrows_and_space_do_on_the_saved_page_what_a_mouse_does(show):
    shown = show()

    def press(name, key):
        shown.root.locator(name).focus()
        shown.redraws(lambda: shown.page.keyboard.press(key))
        return shown.root.locator(name)

    assert press("select.dcv-prompt", "ArrowDown").input_value() == "grass"
    assert press("select.dcv-template", "ArrowDown").input_value() != "{}"
    assert float(press("input.dcv-opacity", "Home").input_value()) == 0
    press("input.dcv-hover", "Space")
    assert shown.root.locator(".dcv-caption b").text_content() == "cells like this one"
    press(".dcv-bar[data-prompt='the sun']", "Enter")
    assert shown.root.locator(".dcv-bar[aria-pressed=true]").get_attribute("data-prompt") == "the sun"
