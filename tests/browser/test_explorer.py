"""The explorer as people meet it: a real JupyterLab in a real Chromium."""

from __future__ import annotations

import io

import numpy as np
import pytest
from lab import EXPLORED
from PIL import Image
from playwright.sync_api import expect
from readers import walk
from test_layout import IN_SIGHT
from watch import image, slide, until, watched

from denseclip_viz.toyworld import scene

WORDS = "a large red taxi left of a limousine on a road"
PIXELS = "() => document.querySelector('.dcv-explorer canvas.dcv-image').toDataURL()"
DRAWN = """([canvas, title, prompts, state]) => {
    const label = canvas.querySelector('.dcv-image').getAttribute('aria-label') ?? '';
    const bars = [...canvas.querySelectorAll('.dcv-bar[data-prompt]')].map(bar => bar.dataset.prompt);
    const isHeads = canvas.querySelector('.dcv-bar[data-head]');
    return canvas.dataset.version > 0 && label.startsWith(title + ':')
        && (isHeads || bars.join('\\n') === prompts.join('\\n'))
        && ['view', 'prompt', 'template', 'path', 'layer', 'head'].every(name =>
            canvas.querySelector(`select.dcv-${name}`).value === String(state[name]));
}"""
CONTROLS = {  # by selector, the least width in pixels that a person can use
    ".dcv-text textarea": 150,
    ".dcv-run": 60,
    ".dcv-stop": 50,
    ".dcv-upload label": 120,
    ".dcv-view": 70,
    ".dcv-prompt": 70,
    ".dcv-opacity": 60,
    ".dcv-colours": 60,
    "canvas.dcv-image": 250,
    ".dcv-bars": 150,
}


class Explorer:
    """What a person does and sees; `name` is what it is called in the kernel."""

    def __init__(self, lab, page, name="explorer", *, at=0):
        self.lab, self.page, self.name = lab, page, name
        self.root = page.locator(".dcv-explorer").nth(at)
        self.canvas = self.root.locator(".dcv-canvas")

    def redrawn(self):
        """Wait until the kernel has done all that was asked of it and the page draws the very thing that it shows."""
        self.lab.settled(self.page, self.name)
        about = "[EXPLORER.result.image_name, EXPLORER.result.prompt.values.tolist(), EXPLORER.canvas.state]"
        node = self.canvas.element_handle()  # the kernel hears of a choice in the page a little later
        assert until(self.page, lambda: self.page.evaluate(DRAWN, [node, *self.ask(about)]))

    def type(self, text, *, enter=False):
        """Type prompts, and press Run or Enter."""
        area = self.root.locator(".dcv-text textarea")
        area.fill(text)
        if enter:
            area.press("End")
            area.press("Enter")
        else:
            self.root.locator(".dcv-run").click()
        self.redrawn()

    def choose(self, name, value):
        """Choose above the image: the page draws it at once, without the kernel."""
        select = self.canvas.locator(f"select.dcv-{name}")
        select.select_option(value)
        expect(select).to_have_value(value)

    def peak(self):
        y, x = self.canvas.get_attribute("data-peak").split(",")
        return int(y), int(x)

    def bars(self):
        rows = self.canvas.locator(".dcv-bar").all()
        return {row.get_attribute("data-prompt"): row.get_attribute("data-value") for row in rows}

    def ask(self, expression):
        return self.lab.ask(self.page, expression.replace("EXPLORER", self.name))


BROKEN = "Click to show javascript error"


def _broken(page):
    """What JupyterLab says of a widget that it could not draw."""
    page.get_by_text(BROKEN).first.click()
    return page.locator(".jp-OutputArea-output").first.text_content()


@pytest.fixture(scope="module")
def notebook(lab, browser):
    """The explorer's notebook, run once for all tests here: a kernel takes longer to start than they to run."""
    with watched(browser, name="explorer") as page:
        lab.open(page, "explorer.ipynb")
        lab.run_all(page)
        page.wait_for_function(f"() => ({EXPLORED})() || document.body.textContent.includes('{BROKEN}')")
        assert page.evaluate(EXPLORED), _broken(page)
        yield page
    lab.end_kernels()


@pytest.fixture
def page(page_of_notebook):
    return page_of_notebook


@pytest.fixture
def explorer(lab, page):
    return Explorer(lab, page, "explorer", at=0)


def mask_of(kind):
    return next(thing.mask for thing in scene(WORDS, 320).things if thing.kind == kind)


def lies_on(cell, mask, grid):
    """The share of a cell that a mask covers; the image is square, so the model sees all of it."""
    rows, columns = (np.linspace(0, side, count + 1).astype(int) for side, count in zip(mask.shape, grid, strict=True))
    y, x = cell
    return mask[rows[y] : rows[y + 1], columns[x] : columns[x + 1]].mean()


def test_all_three_explorers_stand_in_the_notebook(page):
    page.wait_for_function("() => document.querySelectorAll('.dcv-explorer .dcv-canvas[data-peak]').length === 3")
    page.wait_for_function("() => document.querySelectorAll('.dcvx-tile canvas').length > 20")


@pytest.mark.engines("chromium", "firefox")
@pytest.mark.parametrize(("kind", "enter"), [("taxi", False), ("limousine", True)], ids=["run", "enter"])
def test_a_typed_prompt_changes_the_image_and_its_peak_lies_on_the_thing_or_next_to_it(explorer, page, kind, enter):
    explorer.type("a road")
    before = page.evaluate(PIXELS)
    explorer.type(f"a {kind}", enter=enter)
    assert page.evaluate(PIXELS) != before
    assert explorer.ask("EXPLORER.result.prompt.values.tolist()") == [f"a {kind}", "a whale"]
    grid = explorer.ask("[EXPLORER.result.sizes[axis] for axis in 'yx']")
    y, x = explorer.peak()
    assert (y, x) == divmod(explorer.ask("int(EXPLORER.result.dense.values[0, 0].argmax())"), grid[1])
    near = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if 0 <= y + i < grid[0] and 0 <= x + j < grid[1]]
    assert max(lies_on(cell, mask_of(kind), grid) for cell in near) > 0.1  # a limousine is lower than a cell


def test_hovered_cells_have_the_bars_that_numpy_has(explorer, page):
    explorer.type("a taxi\na limousine\na road")
    rows, columns = explorer.ask("[EXPLORER.result.sizes[axis] for axis in 'yx']")
    names = explorer.ask("EXPLORER.result.prompt.values.tolist()")
    dense = np.array(explorer.ask("EXPLORER.result.dense.values[0].tolist()"))
    box = explorer.canvas.locator("canvas.dcv-image").bounding_box()
    for y, x in [(0, 0), (rows - 1, columns - 1), (rows // 2, 1), (5, 6)]:
        page.mouse.move(box["x"] + (x + 0.5) / columns * box["width"], box["y"] + (y + 0.5) / rows * box["height"])
        page.wait_for_function(
            "cell => document.querySelector('.dcv-explorer .dcv-canvas').dataset.cell === cell", arg=f"{y},{x}"
        )
        seen = explorer.bars()
        assert list(seen) == names
        assert {n: float(v) for n, v in seen.items()} == {
            n: pytest.approx(dense[i, y, x], abs=0.0005 + 1e-6) for i, n in enumerate(names)
        }


def test_paths_switch_in_the_browser_alone_after_the_one_pass_that_gives_them(explorer, page):
    explorer.type("a taxi\na road")
    expect(explorer.canvas.locator("[data-control=path]")).to_be_hidden()
    explorer.root.get_by_label("paths", exact=True).select_option(label="all of the model")
    explorer.redrawn()
    passes, shown, peak = explorer.ask("EXPLORER._session.passes"), page.evaluate(PIXELS), explorer.peak()
    explorer.choose("path", "vanilla")
    assert page.evaluate(PIXELS) != shown
    columns = explorer.ask("EXPLORER.result.sizes['x']")
    highest = "int(EXPLORER.result.dense.sel(path='vanilla').values[0, 0].argmax())"
    assert explorer.peak() == divmod(explorer.ask(highest), columns) != peak
    assert explorer.ask("EXPLORER._session.passes") == passes
    image(page, "explorer-paths")
    explorer.root.get_by_label("paths", exact=True).select_option(label="the value path")
    explorer.redrawn()


def test_templates_switch_in_the_browser_alone(explorer, page):
    explorer.root.get_by_label("templates", exact=True).select_option(label="ImageNet, 7")
    explorer.redrawn()
    passes = explorer.ask("EXPLORER._session.passes")
    shown = page.evaluate(PIXELS)
    explorer.choose("template", "art of the {}.")
    assert page.evaluate(PIXELS) != shown
    explorer.choose("template", "ensemble")
    assert explorer.ask("EXPLORER._session.passes") == passes
    explorer.root.get_by_label("templates", exact=True).select_option(label="as typed")
    explorer.redrawn()


def test_opacity_and_views_redraw(explorer, page):
    explorer.type("a taxi\na road")
    shown = page.evaluate(PIXELS)
    slide(explorer.canvas.locator("input.dcv-opacity"), 0)
    bare = page.evaluate(PIXELS)
    assert bare != shown
    explorer.choose("view", "attention")
    assert page.evaluate(PIXELS) == bare  # with no opacity every view is the image
    explorer.choose("view", "dense")
    slide(explorer.canvas.locator("input.dcv-opacity"), 0.6)


BOXES = """(root, selectors) => selectors.map(selector => {
    const box = root.querySelector(selector).getBoundingClientRect(), whole = root.getBoundingClientRect();
    return [box.x - whole.x, box.y - whole.y, box.width, box.height, whole.width];
})"""


@pytest.mark.parametrize("width", [820, 1280])
def test_controls_are_wide_enough_clickable_and_do_not_overlap(explorer, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    for selector in CONTROLS.keys() - {".dcv-stop"}:  # disabled while nothing runs
        explorer.root.locator(selector).first.click(trial=True, timeout=5000)
    boxes = dict(zip(CONTROLS, explorer.root.evaluate(BOXES, list(CONTROLS)), strict=True))
    for name, (x, y, w, h, whole) in boxes.items():
        assert w >= CONTROLS[name] and h >= 10, f"{name} is too small: {w} × {h}"
        assert x >= -1 and x + w <= whole + 1, f"{name} is cut off"
        for other, (ox, oy, ow, oh, _) in boxes.items():
            apart = x + w <= ox + 1 or ox + ow <= x + 1 or y + h <= oy + 1 or oy + oh <= y + 1
            assert apart or other == name, f"{name} and {other} overlap"


def test_an_uploaded_image_is_looked_at_and_one_too_large_is_refused_in_the_browser(explorer, page):
    buffer = io.BytesIO()
    Image.fromarray(scene("a penguin on snow", 256).image).save(buffer, "PNG")
    choose = explorer.root.locator(".dcv-upload input")
    choose.set_input_files({"name": "my <b>scene.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    explorer.redrawn()
    assert explorer.ask("[EXPLORER.trace.name, len(EXPLORER.controls.image.content)]") == ["my <b>scene.png", 0]
    assert "my <b>scene.png" in explorer.canvas.locator(".dcv-status").text_content()
    choose.set_input_files({"name": "large.png", "mimeType": "image/png", "buffer": b"x" * 12_000_000})
    line = explorer.root.locator(".dcv-error")
    line.wait_for()
    assert line.text_content().startswith("large.png has 12.0 MB. Expected at most 8 MB")


def test_an_error_is_one_readable_line_and_goes_away_with_the_next_run(explorer, page):
    explorer.root.locator(".dcv-text textarea").fill(" ")
    explorer.root.locator(".dcv-run").click()
    line = explorer.root.locator(".dcv-error")
    line.filter(has_text="No prompt is typed. Expected at least one").wait_for()  # not one of before
    assert line.bounding_box()["width"] > 100
    explorer.type("a taxi")
    assert explorer.root.locator(".dcv-error").count() == 0


def test_what_people_type_is_text_never_markup(explorer, page):
    evil = '<img src=x onerror="document.title=1">'
    explorer.type(evil)
    assert evil in explorer.canvas.locator(".dcv-bars").text_content()
    assert page.locator("img[src=x]").count() == 0 and page.title() != "1"


def test_long_work_can_be_stopped_while_the_page_goes_on(explorer, page):
    stuck = (
        "__import__('builtins').setattr(EXPLORER.model, 'compare', lambda *a, **k: [dcv_spin() for _ in iter(int, 1)])"
    )
    explorer.ask("[exec('import torch\\ndef dcv_spin(): torch.ones(2) + 1', globals()), " + stuck + "][0]")
    explorer.root.locator(".dcv-run").click()
    stop = explorer.root.locator(".dcv-stop")
    page.wait_for_function("() => !document.querySelector('.dcv-stop').disabled")
    stop.click()
    page.wait_for_function("() => document.querySelector('.dcvx-status').textContent.includes('stopped')")
    assert explorer.ask("EXPLORER.busy") is False
    explorer.ask("delattr(EXPLORER.model, 'compare')")
    explorer.type("a road")
    assert explorer.ask("EXPLORER.result.prompt.values.tolist()") == ["a road", "a whale"]


def test_a_tile_of_the_laboratory_is_shown_big_and_words_have_bars(lab, page):
    shown = Explorer(lab, page, "lab", at=1)
    shown.type("a red taxi\na road")
    shown.root.locator(".dcvx-word").nth(1).wait_for()
    tile = shown.root.locator(named := ".dcvx-tile[aria-label^='“art of the road.”']")
    # asked of the page at once: between two questions of ours the tiles may be laid out anew
    page.wait_for_function("named => document.querySelector(named)?.getBoundingClientRect().width > 60", arg=named)
    tile.click()
    shown.redrawn()
    expect(tile).to_have_attribute("aria-pressed", "true")
    assert shown.ask("[EXPLORER.canvas.state[name] for name in ('prompt', 'template')]") == ["a road", "art of the {}."]
    expect(shown.root.locator(".dcvx-row-head", has_text="art of the road.")).to_have_count(1)


def test_on_a_narrow_page_a_tile_changes_an_image_that_is_in_sight(lab, page):
    shown = Explorer(lab, page, "lab", at=1)
    page.set_viewport_size({"width": 900, "height": 900})
    tile = shown.root.locator(".dcvx-grid .dcvx-tile").last
    tile.click()
    shown.redrawn()
    page.wait_for_function(IN_SIGHT, arg=shown.canvas.locator("canvas.dcv-image").element_handle())
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.parametrize("at", [0, 1, 2], ids=["explore", "template_lab", "layer_lens"])
def test_tab_leads_through_all_controls_and_each_is_seen_to_be_reached(page, at):
    controls, reached, unseen = walk(page, page.locator(".dcv-explorer").nth(at))
    assert len(controls) > 15
    assert (reached, unseen) == (controls, [])


def test_the_lens_steps_through_layers_and_heads(lab, page):
    shown = Explorer(lab, page, "lens", at=2)
    for start in ("layer2, contribution", "attention, head 3"):
        tile = shown.root.locator(f".dcvx-tile[aria-label^='{start}']")
        tile.click()
        shown.redrawn()
        expect(tile).to_have_attribute("aria-pressed", "true")
    assert shown.ask("[EXPLORER.canvas.state[name] for name in ('view', 'head')]") == ["attention", 3]
    assert shown.root.locator(".dcvx-curve polyline").count() == 1


def test_a_prompt_may_be_called_as_what_every_object_of_the_page_has(lab, page):
    shown = Explorer(lab, page, "lens", at=2)
    heads = shown.root.locator(".dcvx-row-head")
    before = heads.all_text_contents()
    shown.type("constructor")
    expect(shown.root.locator(".dcvx-grid h4").first).to_contain_text("“constructor”")
    assert all(before)
    expect(heads).to_have_text(before)


def test_a_broken_callback_says_so_in_the_widget_and_fails_a_test(explorer, page):
    """The last one here: what it provokes is taken out of the page's account."""
    explorer.ask("__import__('builtins').setattr(EXPLORER.canvas, 'show', lambda *a, **k: 1 / 0)")
    explorer.root.locator(".dcv-run").click()
    line = explorer.root.locator(".dcv-error")
    line.wait_for()
    assert line.text_content() == "ZeroDivisionError: division by zero"
    until(page, lambda: page.watch.problems)  # the kernel's word comes on its own, after the line
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        page.watch.check()
    explorer.ask("delattr(EXPLORER.canvas, 'show')")
