"""The canvas in a real JupyterLab: the browser and the kernel tell each other what they must, and no more."""

import pytest
from readers import faults
from watch import watched

MADE = """import denseclip_viz as dcv
model = dcv.load()
prompts = dcv.Prompts(["a taxi", "a limousine", "a road"], ["{}", "a photo of {}"], absent=["a whale"])
both = model.compare(dcv.toyworld.scene("a red taxi left of a limousine on a road", 256), prompts)
other = model.compare(dcv.toyworld.scene("a cat on grass", 256), ["a cat", "a road"])"""
# One cell for each test, which alone uses what stands there.
CELLS = {
    "told": "told = dcv.Canvas(both, view='dense')\ntold",
    "shown": "shown = dcv.Canvas(both, view='dense')\nshown",
    "linked": """import ipywidgets
left, right = dcv.Canvas(both), dcv.Canvas(both, view='gap')
dcv.link(left, right)
ipywidgets.HBox([left, right])""",
    "first": "twice = dcv.Canvas(both, view='dense')\ntwice",
    "second": "twice",
    "typed": "typed = dcv.Canvas(both, view='dense')\ntyped",
    "rows": """COLOURS, THINGS = "red blue green".split(), "taxi limousine castle cat cactus oak owl fox".split()
names = [f"a {colour} {thing}" for colour in COLOURS for thing in THINGS]
rows = dcv.Canvas(model.similarity(dcv.toyworld.scene("a cat on grass", 256), names))
rows""",
    "coloured": "dcv.Canvas(both, view='dense')",
}


class Side:
    """One canvas of the notebook, by its place among all of them."""

    def __init__(self, page, at):
        self.page, self.at, self.root = page, at, page.locator(".dcv-canvas").nth(at)
        self.wait("Number(n.dataset.version) > 0")

    def wait(self, condition, arg=None):
        find = f"([at, arg]) => {{ const n = document.querySelectorAll('.dcv-canvas')[at]; return n && {condition}; }}"
        self.page.wait_for_function(find, arg=[self.at, arg], timeout=60_000)

    def place(self, y, x, cells=8):
        self.root.locator(".dcv-image").scroll_into_view_if_needed()
        box = self.root.locator(".dcv-image").bounding_box()
        return box["x"] + (x + 0.5) / cells * box["width"], box["y"] + (y + 0.5) / cells * box["height"]


@pytest.fixture(scope="module")
def notebook(lab, browser):
    """All canvases in one notebook, run once: a page and a kernel take longer to start than the tests to run."""
    with watched(browser, name="canvas") as page:
        lab.open(page, lab.write("canvas.ipynb", MADE, *CELLS.values()))
        lab.run_all(page)
        yield page
    lab.end_kernels()


@pytest.fixture
def page(page_of_notebook):
    return page_of_notebook


@pytest.fixture
def canvases(page):
    """Give the canvases of a cell."""
    cells = [name for name in CELLS for _ in range(1 + (name == "linked"))]
    return lambda cell: [Side(page, at) for at, name in enumerate(cells) if name == cell]


def hears(lab, page, expression, value):
    """Ask the kernel until it says so; what the browser tells it comes when the browser is quiet."""
    for _ in range(100):
        if lab.ask(page, expression) == value:
            return
    raise AssertionError(f"{expression} is {lab.ask(page, expression)!r}, not {value!r}")


def test_pins_and_choices_reach_the_kernel_and_its_choices_the_browser(canvases, lab, page):
    (one,) = canvases("told")
    page.mouse.click(*one.place(5, 3))
    hears(lab, page, "told.state['pinned']", [5, 3])
    one.root.locator(".dcv-prompt").select_option("a road")
    hears(lab, page, "[told.state['prompt'], told.state['pinned']]", ["a road", [5, 3]])
    lab.ask(page, "setattr(told, 'state', {'view': 'gap', 'opacity': 0.25})")
    one.wait("n.querySelector('.dcv-view').value === 'gap' && n.querySelector('.dcv-opacity').value === '0.25'")
    assert one.root.locator(".dcv-prompt").input_value() == "a road"
    page.keyboard.down("Shift")
    page.mouse.move(*one.place(1, 1))
    page.mouse.down()
    page.mouse.move(*one.place(4, 5), steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    hears(lab, page, "[len(told.state['region'] or []), told.state['pinned']]", [4, [5, 3]])
    one.root.locator(".dcv-versus").select_option("prompt 1")
    hears(lab, page, "told.state['versus']", ["prompt", "a limousine"])


def test_another_result_keeps_the_prompt_and_status_is_one_line(canvases, lab, page):
    (one,) = canvases("shown")
    one.root.locator(".dcv-prompt").select_option("a road")
    hears(lab, page, "shown.state['prompt']", "a road")
    before = int(one.root.get_attribute("data-version"))
    lab.ask(page, "shown.show(other)")
    one.wait("n.querySelectorAll('.dcv-bar').length === 2 && Number(n.dataset.version) > arg", before)
    assert one.root.locator(".dcv-prompt").input_value() == "a road"
    peak = "list(map(int, divmod(int(other.dense[0, 1].argmax()), 8)))"
    assert one.root.get_attribute("data-peak") == ",".join(map(str, lab.ask(page, peak)))
    lab.ask(page, "[setattr(shown, 'status', '<b>no</b> luck'), setattr(shown, 'status_kind', 'error')]")
    one.wait("n.querySelector('.dcv-status').textContent === '<b>no</b> luck'")


def test_linked_canvases_move_together_without_the_kernel(canvases, lab, page):
    left, right = canvases("linked")
    assert min(side.root.bounding_box()["width"] for side in (left, right)) > 280
    page.mouse.move(*left.place(6, 2))
    right.wait("n.dataset.cell === '6,2'")
    left.root.locator(".dcv-prompt").select_option("a limousine")
    right.wait("n.querySelector('.dcv-prompt').value === 'a limousine'")
    told = "[left.state['prompt'], right.state['prompt'], right.state['view']]"
    hears(lab, page, told, ["a limousine", "a limousine", "gap"])


def test_two_views_of_one_canvas_show_the_same(canvases):
    (first,), (second,) = canvases("first"), canvases("second")
    first.root.locator(".dcv-template").select_option("ensemble")
    second.wait("n.querySelector('.dcv-template').value === 'ensemble'")


def test_the_keyboard_belongs_to_the_canvas_and_not_to_the_notebook(canvases, lab, page):
    (one,) = canvases("typed")
    image = one.root.locator(".dcv-image")
    image.focus()
    start = one.root.get_attribute("data-cell")
    for key in ("ArrowUp", "ArrowUp", "Enter"):
        image.press(key)
    y, x = map(int, start.split(","))
    hears(lab, page, "typed.state['pinned']", [y - 2, x])
    assert page.evaluate("() => document.activeElement.className") == "dcv-image"


def test_what_is_chosen_for_the_rows_is_told_and_follows_the_kernel(canvases, lab, page):
    (one,) = canvases("rows")
    assert one.root.locator(".dcv-heat:visible").count() == 24
    one.root.locator(".dcv-filter").press_sequentially("blue c", delay=30)
    hears(lab, page, "rows.state['filter']", "blue c")
    shown = one.root.locator(".dcv-bar:visible .dcv-name").all_text_contents()
    assert shown == lab.ask(page, "[name for name in names if 'blue c' in name]") and shown
    lab.ask(page, "setattr(rows, 'state', {'filter': '', 'order': 'value', 'rows': 'bars'})")
    one.wait("n.querySelector('.dcv-order').value === 'value' && n.querySelector('.dcv-filter').value === ''")
    assert one.root.locator(".dcv-track:visible").count() == 24
    lab.ask(page, "setattr(rows, 'locked', ['order', 'filter', 'rows'])")
    one.wait("n.querySelector('.dcv-tools').hidden")
    lab.ask(page, "setattr(rows, 'state', {'rows': 'auto'})")
    one.wait("n.querySelector('.dcv-heat').checkVisibility()")


def test_a_stored_notebook_has_a_still_and_no_widget_state(lab, page):
    outputs = lab.cells(page)[1]["outputs"]
    assert outputs[0]["data"]["image/png"] if isinstance(outputs[0], dict) else "image/png" in str(outputs)


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_canvas_takes_the_colours_of_the_notebook(lab, canvases, page, theme):
    (one,) = canvases("coloured")
    lab.theme(page, theme)
    page.wait_for_function(
        """() => { const ink = getComputedStyle(document.querySelector('.dcv-caption b')).color.match(/[\\d.]+/g);
        return (Number(ink[0]) < 128) === (document.body.dataset.jpThemeLight === 'true'); }"""
    )
    one.root.scroll_into_view_if_needed()
    assert faults(page, ".dcv-canvas") == []
