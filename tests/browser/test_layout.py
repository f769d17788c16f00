"""Explorers on narrow and wide pages, light and dark: nothing scrolls inside, all can be read, clicks are seen."""

import pytest
from playwright.sync_api import expect
from readers import faults
from watch import SETTLED, image, until, watched

CELLS = [
    "import denseclip_viz as dcv\nscene = dcv.toyworld.scene('a taxi left of a limousine on a road', 160)",
    "dcv.explore('bundled-resnet', scene, ['a taxi', '한국어 택시, 그리고 길', 'a large red limousine on a road'])",
    "names = ['a taxi', 'an old limousine', 'a road', 'a tree', 'the sky']\n"
    "dcv.template_lab('bundled-resnet', scene, names, [f'view {number} of {{}} in a photo' for number in range(14)])",
    "dcv.layer_lens('bundled-resnet', scene)",
]
EXPLORERS = ["explore", "template_lab", "layer_lens"]
READY = """() => document.querySelectorAll('.dcv-explorer .dcv-canvas[data-peak]').length === 3
    && document.querySelectorAll('.dcvx-tiles[data-version] .dcvx-grid').length === 3"""
WIDTHS = [900, 1217, 1400]
SCROLLING = """() => [...document.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')].filter(node => {
    const {overflowX, overflowY} = getComputedStyle(node), scrolls = way => ['auto', 'scroll'].includes(way);
    return (scrolls(overflowX) && node.scrollWidth > node.clientWidth + 1)
        || (scrolls(overflowY) && node.scrollHeight > node.clientHeight + 1);
}).map(node => node.className)"""
OUTSIDE = """at => {
    const root = document.querySelectorAll('.dcv-explorer')[at], edge = root.getBoundingClientRect().right + 1;
    return [...root.querySelectorAll('*')].filter(node => {
        const {right, width, height} = node.getBoundingClientRect();
        return width && height && right > edge;
    }).map(node => node.className);
}"""
UNREADABLE = """() => {
    const parts = colour => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => {
        for (; node; node = node.parentElement) {
            const [r, g, b, alpha = 1] = parts(getComputedStyle(node).backgroundColor);
            if (alpha === 1) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const hasText = node => [...node.childNodes].some(part => part.nodeType === 3 && part.data.trim());
    return [...document.querySelectorAll('.dcv-explorer *')].filter(node => {
        if (!(hasText(node) || ['TEXTAREA', 'SELECT'].includes(node.tagName)) || node.disabled) return false;
        if (!node.checkVisibility() || node.closest(':disabled, option')) return false;
        if (node.closest('.dcv-baseline')) return false; // it stands above the strip that it is part of
        const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) < 3;
    }).map(node => `${node.className}: ${node.textContent}`);
}"""


IN_SIGHT = """node => {
    const box = node.getBoundingClientRect(), pane = node.closest('.jp-WindowedPanel-outer').getBoundingClientRect();
    return Math.min(box.bottom, pane.bottom) - Math.max(box.top, pane.top) > 0.6 * box.height;
}"""

BUSY = """() => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    kernel.requestExecute({code: '__import__("time").sleep(1)', silent: true, store_history: false});
}"""


@pytest.fixture(scope="module")
def notebook(lab, browser):
    with watched(browser, name="layout") as page:
        lab.open(page, lab.write("layout.ipynb", *CELLS))
        lab.run_all(page)
        page.wait_for_function(READY)
        yield page
    lab.end_kernels()


@pytest.fixture(params=["Light", "Dark"])
def theme(lab, notebook, request):
    lab.theme(notebook, request.param)
    return request.param


@pytest.fixture(params=WIDTHS)
def page(notebook, theme, request):
    notebook.set_viewport_size({"width": request.param, "height": 900})
    settled(notebook)
    yield notebook
    for at, name in enumerate(EXPLORERS):
        notebook.locator(".dcv-explorer").nth(at).scroll_into_view_if_needed()
        image(notebook, f"{name}-{theme}-{request.param}")
    notebook.watch.check()


def settled(page):
    """What follows the size has been laid out: it takes one frame, and its own effects one more."""
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
    )


def test_nothing_scrolls_inside_nothing_sticks_out_and_all_can_be_read(page):
    assert page.evaluate(SCROLLING) == []
    assert [page.evaluate(OUTSIDE, at) for at in range(3)] == [[], [], []]
    assert page.evaluate(UNREADABLE) == []


def test_what_is_said_stands_right_below_run_or_beside_it(page):
    for at in range(3):
        root = page.locator(".dcv-explorer").nth(at)
        run, said = (root.locator(part).first.bounding_box() for part in (".dcv-run", ".dcvx-side .dcvx-status"))
        below = said["y"] - (run["y"] + run["height"])
        assert -run["height"] <= below < 20 and (below >= 0 or said["x"] > run["x"] + run["width"])


def test_own_templates_are_labelled_and_stand_right_below_their_choice(page):
    lab = page.locator(".dcv-explorer").nth(1)
    own, choice = lab.get_by_label("my own", exact=True), lab.get_by_label("templates", exact=True)
    typed, chosen = own.bounding_box(), choice.bounding_box()
    assert typed["x"] == chosen["x"] and 0 < typed["y"] - (chosen["y"] + chosen["height"]) < 20
    assert lab.get_by_text("my own", exact=True).first.is_visible()


@pytest.mark.parametrize("at", [1, 2], ids=EXPLORERS[1:])
def test_a_click_on_the_last_tile_changes_an_image_that_is_in_sight(page, at):
    root = page.locator(".dcv-explorer").nth(at)
    tile, shown = root.locator(".dcvx-grid .dcvx-tile").last, root.locator("canvas.dcv-image")
    tile.scroll_into_view_if_needed()
    before = shown.evaluate("node => node.toDataURL()")
    tile.click()
    page.wait_for_function("([node, before]) => node.toDataURL() !== before", arg=[shown.element_handle(), before])
    page.wait_for_function(IN_SIGHT, arg=shown.element_handle())
    root.locator(".dcvx-grid .dcvx-tile").first.click()
    page.wait_for_function(SETTLED)  # or its drawing would be taken for the next test's


@pytest.mark.parametrize("at", [1, 2], ids=EXPLORERS[1:])
def test_of_clicks_one_behind_the_other_the_last_is_shown(notebook, at):
    root = notebook.locator(".dcv-explorer").nth(at)
    tiles = root.locator(".dcvx-grid").first.locator(".dcvx-tile")
    for order in ([0, 1, -1], [-1, 1, 0]):  # the kernel is busy with the first one
        tiles.evaluate_all("(tiles, order) => order.forEach(at => tiles.at(at).click())", order)
        expect(tiles.nth(order[-1])).to_have_attribute("aria-pressed", "true")
        notebook.wait_for_function(SETTLED)
        expect(tiles.nth(order[-1])).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("at", [1, 2], ids=EXPLORERS[1:])
def test_a_click_stays_when_something_else_is_chosen_while_the_kernel_is_busy(notebook, lab, at):
    root = notebook.locator(".dcv-explorer").nth(at)
    tiles = root.locator(".dcvx-grid").first.locator(".dcvx-tile")
    for tile, opacity in ((-1, 0.3), (0, 0.6)):
        handle = root.element_handle()
        notebook.evaluate(BUSY)
        notebook.evaluate(
            """([root, at, opacity]) => {
                [...root.querySelector('.dcvx-grid').querySelectorAll('.dcvx-tile')].at(at).click();
                const slider = root.querySelector('input.dcv-opacity');
                slider.value = opacity;
                slider.dispatchEvent(new Event('input', {bubbles: true}));
            }""",
            [handle, tile, opacity],
        )
        expect(tiles.nth(tile)).to_have_attribute("aria-pressed", "true")
        until(notebook, lambda: lab.ask(notebook, f"Out[{at + 2}].canvas.state['opacity']"), opacity.__eq__)
        expect(tiles.nth(tile)).to_have_attribute("aria-pressed", "true")


def test_people_who_read_by_ear_get_all_of_the_explorers(notebook, theme):
    assert faults(notebook, ".dcv-explorer") == []


def test_of_many_templates_some_are_shown_and_a_button_shows_all(notebook):
    rows = notebook.locator(".dcv-explorer").nth(1).locator(".dcvx-lattice").first.locator(".dcvx-row-head")
    assert rows.count() == 12
    notebook.get_by_role("button", name="show all 15 rows").click()
    assert rows.count() == 15
