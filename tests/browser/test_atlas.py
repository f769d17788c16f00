"""An atlas as people meet it: points drawn around, walked to by keys, and the images of what is selected."""

import math

import pytest
from PIL import Image
from playwright.sync_api import expect
from readers import faults
from watch import until, watched

from denseclip_viz.toyworld import scene

WORDS = [f"a {colour} {kind} on {ground}" for colour in ("red", "blue", "green") for kind in ("car", "house", "tree")
         for ground in ("grass", "snow")]  # fmt: skip
CELL = """import denseclip_viz as dcv
from pathlib import Path
model = dcv.load()
store = dcv.features.encode(model, sorted(Path('scenes').iterdir()), 'store', progress=False)
images = dcv.atlas(store, model, 'a house', absent=['a whale'])
images"""
READY = "() => document.querySelector('.dcvx-atlas')?.dataset.version > 0"
COLOURED = """canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 0).length;
}"""


@pytest.fixture(scope="module")
def notebook(lab, browser):
    folder = lab.folder / "scenes"
    folder.mkdir()
    for number, words in enumerate(WORDS):
        Image.fromarray(scene(words, 96).image).save(folder / f"{number:02} <b>{words}.png")
    with watched(browser, name="atlas") as page:
        lab.open(page, lab.write("atlas.ipynb", CELL))
        lab.run_all(page)
        page.wait_for_function(READY)
        yield page
    lab.end_kernels()


@pytest.fixture
def page(page_of_notebook):
    return page_of_notebook


def place(lab, page, point):
    """Where a point is on the page, in CSS pixels."""
    at = f"__import__('numpy').frombuffer(images._map['places'], '<u2')[{2 * point}:{2 * point + 2}].tolist()"
    x, y = (value / 65535 for value in lab.ask(page, at))
    page.locator(".dcvx-over").scroll_into_view_if_needed()
    box = page.locator(".dcvx-over").bounding_box()
    return box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]


def settled(lab, page):
    lab.settled(page, "images")
    return lab.ask(page, "list(images.selection)")


def shown(page, count):
    """The names and sizes of the images on the sheet."""
    expect(page.locator(".dcvx-sheet")).to_have_attribute("data-tiles", str(count))
    page.wait_for_function("() => [...document.querySelectorAll('.dcvx-image img')].every(one => one.naturalWidth > 0)")
    return page.locator(".dcvx-name").all_text_contents()


def test_drawing_around_points_selects_them_here_and_in_python_and_shows_their_images(lab, page):
    x, y = place(lab, page, 3)
    page.mouse.move(x + 90, y)
    page.mouse.down()
    for step in range(1, 26):
        page.mouse.move(x + 90 * math.cos(step / 4), y + 90 * math.sin(step / 4))
    page.mouse.up()
    chosen = settled(lab, page)
    inside = [i for i in range(len(WORDS)) if math.dist(place(lab, page, i), (x, y)) < 84]
    assert 3 in chosen and set(inside) <= set(chosen) and len(chosen) < len(WORDS)
    names = shown(page, len(chosen))
    assert sorted(names) == sorted(lab.ask(page, "images.selected.image.values.tolist()"))
    assert any("<b>" in name for name in names) and page.locator(".dcvx-name b").count() == 0
    scores = [
        float(text.replace("−", "-")) for text in page.locator(".dcvx-image > span:last-child").all_text_contents()
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_click_selects_one_and_shift_adds_one_and_pointing_shows_the_image(lab, page):
    page.mouse.click(*place(lab, page, 0))
    assert settled(lab, page) == [0] and len(shown(page, 1)) == 1
    page.keyboard.down("Shift")
    page.mouse.click(*place(lab, page, 7))
    page.keyboard.up("Shift")
    assert settled(lab, page) == [0, 7] and len(shown(page, 2)) == 2
    page.mouse.move(*place(lab, page, 5))
    expect(page.locator(".dcvx-card")).to_contain_text("05 <b>")
    expect(page.locator(".dcvx-card img")).to_have_count(1)


def test_a_point_that_is_pointed_at_again_shows_its_image_again(lab, page):
    card = page.locator(".dcvx-card")
    for _ in range(2):
        page.mouse.move(*place(lab, page, 6))
        expect(card).to_be_visible()
        expect(card).to_contain_text("06 <b>")
        page.mouse.move(2, 2)
        expect(card).to_be_hidden()
        until(page, lambda: lab.ask(page, "images._pointed") == -1)


def test_clicks_one_behind_the_other_turn_as_many_pages_and_none_after_the_last(lab, page):
    per_page = "setattr(__import__('sys').modules['denseclip_viz.explorers.atlas'], 'PER_PAGE', {})"
    before = lab.ask(page, "__import__('sys').modules['denseclip_viz.explorers.atlas'].PER_PAGE")
    lab.ask(page, per_page.format(5))
    lab.ask(page, "setattr(images, 'selection', range(18))")
    for name, clicks, now in (("next", 2, "11–15"), ("next", 3, "16–18"), ("previous", 2, "6–10")):
        # in one go: the kernel is busy with the first one
        turn = page.locator(".dcvx-sheet").get_by_role("button", name=name, exact=True)
        turn.evaluate("(button, clicks) => { while (clicks--) button.click(); }", clicks)
        expect(page.locator(".dcvx-sheet h4")).to_have_text(f"18 images selected: {now}")
    lab.ask(page, per_page.format(before))
    lab.ask(page, "setattr(images, 'selection', [])")
    expect(page.locator(".dcvx-sheet h4")).to_have_text("nothing selected")


def test_keys_walk_select_and_clear(lab, page):
    over = page.locator(".dcvx-over")
    over.focus()
    over.press("Escape")
    assert settled(lab, page) == []
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "Enter"):
        over.press(key)
    [first] = settled(lab, page)
    over.press("ArrowDown")
    over.press(" ")
    assert len(settled(lab, page)) == 2 and first in settled(lab, page)
    over.press(" ")
    assert settled(lab, page) == [first] and len(shown(page, 1)) == 1
    over.press("Escape")
    expect(page.locator(".dcvx-sheet h4")).to_have_text("nothing selected")


def test_a_prompt_that_is_typed_colours_anew_and_python_can_select(lab, page):
    before = lab.ask(page, "images._paint['codes'].hex()")
    page.locator(".dcvx-prompt").fill("a tree")
    page.locator(".dcvx-prompt").press("Enter")
    expect(page.locator(".dcvx-shown")).to_contain_text("a tree")
    expect(page.locator(".dcvx-shown")).to_contain_text("absent")
    assert lab.ask(page, "images._paint['codes'].hex()") != before
    lab.ask(page, "setattr(images, 'selection', [1, 2, 4])")
    assert len(shown(page, 3)) == 3
    page.locator(".dcvx-clear").click()
    assert settled(lab, page) == []


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_points_and_what_is_not_to_be_believed_are_there_in_both_themes(lab, page, theme):
    lab.theme(page, theme)
    expect(page.locator(".dcvx-facts")).to_contain_text("not cosines")
    expect(page.locator(".dcvx-axis").first).to_contain_text("of the variance")
    assert page.locator(".dcvx-base").evaluate(COLOURED) > 500
    lab.ask(page, "setattr(images, 'selection', [1, 2, 4])")
    shown(page, 3)
    assert faults(page, ".dcvx-atlas") == []
