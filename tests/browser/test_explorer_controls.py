"""Controls of the explorer as people meet them: comparing on one scale, back and forward, scenes and words to click."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from watch import SETTLED, image, slide, until, watched

CELLS = [
    "import denseclip_viz as dcv\nscene = dcv.toyworld.scene('a taxi left of a limousine on a road', 160)",
    "prompts = dcv.Prompts(['a taxi', 'a limousine', 'a road'], absent=['a whale'], articles='right')\n"
    "explorer = dcv.explore(['bundled-vit-cls', 'bundled-resnet'], scene, prompts)\nexplorer",
]
DRAWN = "() => Number(document.querySelector('.dcv-explorer .dcv-canvas')?.dataset.version) > 0"
LEVEL = """() => [...document.querySelectorAll('.dcvx-stage canvas.dcv-image')].filter(node => node.checkVisibility())
    .map(node => node.getBoundingClientRect()).map(({left, top, width}) => [left, top, width].map(Math.round))"""
TICKS = """() => [...document.querySelectorAll('.dcvx-stage .dcv-canvas')].filter(node => node.checkVisibility() ||
    node.querySelector('.dcv-image').checkVisibility()).map(node => node.querySelector('.dcv-ticks').textContent)"""
SCROLLING = """() => [...document.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')].filter(node => {
    const {overflowX, overflowY} = getComputedStyle(node), scrolls = kind => ['auto', 'scroll'].includes(kind);
    return (scrolls(overflowX) && node.scrollWidth > node.clientWidth + 1)
        || (scrolls(overflowY) && node.scrollHeight > node.clientHeight + 1);
}).map(node => node.className)"""


class Compared:
    """What a person does and sees."""

    def __init__(self, lab, page):
        self.lab, self.page, self.root = lab, page, page.locator(".dcv-explorer")
        self.canvases = self.root.locator(".dcvx-stage .dcv-canvas")

    def choose(self, label, text):
        self.root.get_by_label(label, exact=True).select_option(label=text)
        self.settled()

    def settled(self):
        self.lab.settled(self.page, "explorer")
        self.page.wait_for_function(SETTLED)

    def ask(self, expression):
        return self.lab.ask(self.page, expression)

    def titles(self):
        return self.root.locator(".dcvx-stage > .widget-label").all_text_contents()


@pytest.fixture(scope="module")
def notebook(lab, browser):
    with watched(browser, name="controls") as page:
        page.set_viewport_size({"width": 1400, "height": 1000})
        lab.open(page, lab.write("compared.ipynb", *CELLS))
        lab.run_all(page)
        page.wait_for_function(DRAWN)
        yield page
    lab.end_kernels()


@pytest.fixture
def page(page_of_notebook):
    return page_of_notebook


@pytest.fixture
def compared(lab, page):
    return Compared(lab, page)


def test_without_a_difference_two_columns_fill_the_width_and_the_remark_stands_below(compared):
    compared.choose("side by side", "another fit")
    compared.choose("other fit", "tiles, finer cells")
    boxes = until(compared.page, lambda: compared.page.evaluate(LEVEL), lambda boxes: len(boxes) == 2)
    (first, top, width), (second, level, _) = boxes
    remark = compared.root.locator(".dcvx-stage > .widget-label").nth(2)
    expect(remark).to_contain_text("no difference: ")
    stage, box = compared.root.locator(".dcvx-stage").bounding_box(), remark.bounding_box()
    assert second - first > 0.49 * stage["width"] and level == top and box["y"] > top + width
    assert box["width"] > 0.9 * stage["width"]
    image(compared.page, "compared-without-a-difference")


@pytest.mark.parametrize(
    ("kind", "label", "text", "named"),
    [
        ("other templates", "other templates", "scene, 5", "templates: scene, 5"),
        ("another fit", "other fit", "tiles, finer cells", "tiles, finer cells"),
        ("another model", "other model", "bundled-resnet", "bundled-resnet"),
        ("another image", "or a scene", "a penguin next to a bear in snow", "a penguin next to a bear in snow"),
        ("another path", "other path", "sclip", "sclip"),
    ],
)
def test_each_kind_opens_a_second_side_on_one_scale(compared, kind, label, text, named):
    compared.choose("side by side", kind)
    compared.choose(label, text)
    expect(compared.root.locator(".dcvx-stage > .widget-label").nth(1)).to_have_text(named)
    ticks = compared.page.evaluate(TICKS)
    assert ticks[0] == ticks[1] != ""
    image(compared.page, f"compared-{kind}")


def test_images_stand_level_in_columns_and_below_each_other_where_it_is_narrow(compared):
    for theme in ("Light", "Dark"):
        compared.lab.theme(compared.page, theme)
        for width, columns in ((1400, 3), (900, 2), (560, 1)):
            compared.page.set_viewport_size({"width": width, "height": 1000})
            boxes = until(
                compared.page,
                lambda: compared.page.evaluate(LEVEL),
                lambda boxes, columns=columns: len(boxes) == 3 and len({left for left, _, _ in boxes}) == columns,
            )
            assert len({left for left, _, _ in boxes}) == columns and len(boxes) == 3
            assert len({top for _, top, _ in boxes}) == 4 - columns
            assert compared.page.evaluate(SCROLLING) == []
            compared.root.scroll_into_view_if_needed()
            image(compared.page, f"compared-{theme}-{width}")
    compared.page.set_viewport_size({"width": 1400, "height": 1000})
    compared.lab.theme(compared.page, "Light")


def test_pin_prompt_view_and_opacity_move_all(compared):
    first = compared.canvases.first
    first.locator("select.dcv-prompt").select_option("a road")
    first.locator("input.dcv-opacity").fill("0.4")
    picture = first.locator("canvas.dcv-image")
    picture.click(position={"x": 30, "y": 30})
    for at in range(3):
        canvas = compared.canvases.nth(at)
        expect(canvas.locator(".dcv-caption b")).to_have_text("a road")
        expect(canvas.locator(".dcv-pin")).to_be_visible()
        expect(canvas.locator("input.dcv-opacity")).to_have_value("0.4")
    assert len({canvas.get_attribute("data-cell") for canvas in compared.canvases.all()}) == 1
    picture.press("Escape")
    first.locator("select.dcv-view").select_option("gap")
    expect(compared.canvases.nth(1).locator(".dcv-unit span").first).to_have_text("+ less than evenly · − more")
    first.locator("select.dcv-view").select_option("dense")


def test_hiding_what_is_below_a_cosine_hides_nothing_of_the_difference(compared):
    limits = compared.root.locator(".dcv-limit")
    before = limits.nth(2).text_content()
    slider = compared.canvases.first.locator("input.dcv-threshold")
    slider.press("ArrowRight")
    expect(limits.first).not_to_have_text("off")
    compared.page.wait_for_timeout(100)
    assert limits.nth(2).text_content() == before == "off"
    slide(slider, slider.get_attribute("min"))  # which need not be one of its steps


def test_arrow_keys_move_sliders_and_choices_and_are_not_taken_by_jupyterlab(compared):
    opacity, view = (compared.canvases.first.locator(name) for name in ("input.dcv-opacity", "select.dcv-view"))
    opacity.fill("0.5")
    opacity.press("ArrowRight")
    expect(opacity).to_have_value("0.51")
    view.press("ArrowDown")
    expect(view).to_have_value("contribution")
    view.select_option("dense")
    templates = compared.root.get_by_label("templates", exact=True)
    templates.press("ArrowDown")
    compared.settled()
    assert compared.ask("explorer.result.template.values.tolist()") == ["a photo of a {}."]
    templates.press("ArrowUp")
    compared.settled()


def test_with_the_keyboard_alone_a_comparison_is_closed_and_the_plain_explorer_is_back(compared):
    control = compared.root.get_by_label("side by side", exact=True)
    control.focus()
    control.press("Home")
    compared.settled()
    expect(compared.canvases).to_have_count(1)
    assert compared.ask("explorer.other is None") and compared.titles() == []
    box = compared.canvases.first.bounding_box()
    assert box["width"] > 600


def test_back_and_forward_by_the_keyboard_show_what_was_there_without_a_pass(compared):
    text = compared.root.locator(".dcv-text textarea")
    text.fill("a limousine")
    text.press("End")
    text.press("Enter")
    compared.settled()
    passes, names = compared.ask("explorer._session.passes"), "explorer.result.prompt.values.tolist()"
    assert compared.ask(names) == ["a limousine", "a whale"]
    back, forward = (compared.root.get_by_role("button", name=name, exact=True) for name in ("back", "forward"))
    expect(forward).to_be_disabled()
    back.press("Enter")
    compared.settled()
    assert compared.ask(names) == ["a taxi", "a limousine", "a road", "a whale"]
    expect(text).to_have_value("a taxi\na limousine\na road")
    expect(compared.canvases.first.locator(".dcv-caption b")).to_have_text("a road")  # as it was left
    forward.press("Enter")
    compared.settled()
    assert compared.ask(names) == ["a limousine", "a whale"]
    runs = compared.root.get_by_label("runs", exact=True)
    runs.select_option(index=0)
    compared.settled()
    assert compared.ask("[explorer.history.at, explorer._session.passes]") == [0, passes]


def test_a_word_that_is_clicked_is_looked_for_and_scenes_are_opened_with_what_they_hold(compared):
    words, scenes = (compared.root.locator(".dcvx-chips summary").nth(at) for at in range(2))
    words.press("Enter")
    compared.root.get_by_role("button", name="a teapot", exact=True).press("Enter")
    compared.settled()
    assert compared.ask("explorer.result.prompt.values.tolist()")[-2:] == ["a teapot", "a whale"]
    image(compared.page, "words")
    both = "all => all.filter(one => ['a penguin', 'a mug'].includes(one.textContent)).forEach(one => one.click())"
    compared.root.locator(".dcvx-chips button").evaluate_all(both)  # the kernel is busy with the first one
    compared.settled()
    assert compared.ask("explorer.result.prompt.values.tolist()")[-3:] == ["a penguin", "a mug", "a whale"]
    words.press("Enter")
    scenes.press("Enter")
    compared.root.get_by_role("button", name="an owl above a fox on leaves", exact=True).click()
    compared.settled()
    expect(compared.canvases.first.locator(".dcv-status")).to_contain_text("an owl above a fox on leaves")
    expect(compared.root.locator(".dcv-text textarea")).to_have_value("a fox\nan owl\nleaves")
    scenes.press("Enter")
    compared.root.get_by_role("button", name="next scene", exact=True).press("Enter")
    compared.settled()
    expect(compared.canvases.first.locator(".dcv-status")).to_contain_text("scene 0")
