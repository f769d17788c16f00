"""A region of the image: drawn by mouse, finger or keys, measured as in Python, and part of the state."""

import fake_results
import numpy as np
import pytest
from test_keep import CLIPBOARD, copied, rows_of, state_of
from test_page import Shown, geometry_of

import denseclip_viz as dcv

pytestmark = pytest.mark.engines("chromium", "firefox")


@pytest.fixture(scope="module")
def tab(tab):
    """What is copied on it can be asked for."""
    tab.add_init_script(CLIPBOARD)
    return tab


def at(shown, y, x):
    """A share of the image as a place on the page."""
    box = shown.root.locator(".dcv-image").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(shown, *places, shift=False):
    mouse, keyboard = shown.page.mouse, shown.page.keyboard
    if shift:
        keyboard.down("Shift")
    mouse.move(*at(shown, *places[0]))
    mouse.down()
    for place in places[1:]:
        mouse.move(*at(shown, *place), steps=4)
    mouse.up()
    if shift:
        keyboard.up("Shift")
    return state_of(shown)["region"]


def means_of(shown):
    return {row["prompt"]: float(row["mean"]) for row in rows_of(copied(shown, "values"))}


@pytest.mark.parametrize("view", ["dense", "contribution"])
def test_a_lasso_is_measured_as_python_does(show, view):
    both = fake_results.comparison(templates=2)
    shown = show(both, view=view, template=str(both.template.values[1]))
    shown.root.locator(".dcv-region").select_option("lasso")
    outline = drag(shown, (0.2, 0.2), (0.3, 0.8), (0.8, 0.7), (0.55, 0.4), (0.9, 0.15))
    assert len(outline) > 10
    shown.page.mouse.move(2, 2)
    wanted = dcv.maps.region_means(both, outline, of=view).isel(template=1)
    rows = rows_of(copied(shown, "values"))
    assert [row["prompt"] for row in rows] == list(both.prompt.values)
    for row, prompt in zip(rows, both.prompt.values, strict=True):
        own = wanted.sel(prompt=prompt)
        assert float(row["mean"]) == pytest.approx(float(own["mean"]), abs=1e-6)
        decimals = len(row["min"].split(".")[1])
        assert [row["min"], row["max"]] == [f"{float(own[name]):.{decimals}f}" for name in ("min", "max")]
        assert int(row["cells"]) == int(wanted.cells)
    assert f"region of {int(wanted.cells)} cells" in shown.root.locator(".dcv-where").text_content()
    assert set(shown.bars().values()) == {f"{float(value):.{decimals}f}" for value in wanted["mean"]}
    assert shown.root.locator(".dcv-limits").first.text_content() == f"{rows[0]['min']} to {rows[0]['max']}".replace(
        "-", "−"
    )


def test_shift_and_drag_draws_a_box_and_a_click_still_pins(show):
    both = fake_results.comparison(mode="native")
    shown = show(both)
    outline = drag(shown, (0.1, 0.1), (0.5, 0.6), shift=True)
    (top, left), (bottom, right) = outline[0], outline[2]
    assert (top, left, bottom, right) == pytest.approx((24, 36, 120, 216), abs=0.6)
    assert state_of(shown)["pinned"] is None
    shown.page.mouse.move(2, 2)
    wanted = dcv.maps.region_means(both, outline)["mean"].isel(template=0)
    assert list(means_of(shown).values()) == pytest.approx(wanted.values.tolist(), abs=1e-6)
    shown.redraws(lambda: shown.page.mouse.click(*at(shown, 0.5, 0.5)))
    assert state_of(shown)["pinned"] is not None and state_of(shown)["region"] == outline
    assert drag(shown, (0.4, 0.4), (0.7, 0.7)) == outline  # without Shift or a tool a drag draws nothing


@pytest.mark.parametrize(("tool", "escapes"), [("box", True), ("lasso", True), ("lasso", False)])
def test_a_drag_that_leaves_no_outline_is_no_click_either(show, tool, escapes):
    shown = show(fake_results.comparison())
    shown.root.locator(".dcv-region").select_option(tool)
    mouse = shown.page.mouse
    mouse.move(*at(shown, 0.2, 0.2))
    mouse.down()
    mouse.move(*at(shown, 0.6, 0.6), steps=8 if escapes else 1)  # of two corners a lasso makes no outline
    if escapes:
        shown.wait("!n.querySelector('.dcv-outline').hasAttribute('hidden')")
        shown.root.locator(".dcv-image").press("Escape")
        mouse.move(*at(shown, 0.7, 0.6))
    mouse.up()
    assert (state_of(shown)["region"], state_of(shown)["pinned"]) == (None, None)
    shown.redraws(lambda: mouse.click(*at(shown, 0.5, 0.5)))
    assert state_of(shown)["pinned"] is not None


@pytest.mark.engines("chromium")  # whose protocol has fingers
def test_a_finger_draws_where_a_tool_is_chosen(open_page, tmp_path):
    page = open_page(offline=True, has_touch=True)
    page.goto(dcv.save_html(fake_results.comparison(), tmp_path / "page.html").as_uri())
    shown = Shown(page)
    shown.wait("Number(n?.dataset.version) > 0")
    picture = shown.root.locator(".dcv-image")
    assert picture.evaluate("n => getComputedStyle(n).touchAction") == "pan-y"
    shown.root.locator(".dcv-region").select_option("box")
    assert picture.evaluate("n => getComputedStyle(n).touchAction") == "none"
    start, end = at(shown, 0.25, 0.25), at(shown, 0.75, 0.5)
    touch = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
    page.wait_for_function("() => dcvModels[0].get('state').region")
    assert np.ravel(state_of(shown)["region"][::2]) == pytest.approx((60, 90, 180, 180), abs=1)


def test_keys_grow_a_box_from_the_pin_and_escape_removes_it_first(show):
    both = fake_results.comparison()
    shown, where = show(both, pinned=[3, 4]), geometry_of(both)
    picture = shown.root.locator(".dcv-image")
    picture.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        shown.redraws(lambda key=key: picture.press(f"Shift+{key}"))
    edges = where.edges(0)[3], where.edges(1)[4], where.edges(0)[5], where.edges(1)[6]
    outline = state_of(shown)["region"]
    assert (*outline[0], *outline[2]) == pytest.approx(edges)
    assert shown.root.locator(".dcv-where").text_content().startswith("region of 4 cells")
    cells = both.dense[0, :, 3:5, 4:6].mean(("y", "x"))
    assert list(means_of(shown).values()) == pytest.approx(cells.values.tolist(), abs=2e-6)
    picture.press("Escape")
    assert (state_of(shown)["region"], state_of(shown)["pinned"]) == (None, [3, 4])
    picture.press("Escape")
    assert state_of(shown)["pinned"] is None


def test_pointing_says_the_cell_and_going_away_the_region_again(show):
    both = fake_results.comparison()
    shown = show(both, region=[[0, 0], [0, 360], [240, 360], [240, 0]])
    assert shown.bars()["grass"] == f"{float(both.dense[0, 1].mean()):.3f}"
    shown.point(3, 4, geometry_of(both).grid)
    assert shown.bars()["grass"] == f"{float(both.dense[0, 1, 3, 4]):.3f}"
    shown.page.mouse.move(2, 2)
    shown.wait("n.querySelector('.dcv-where').textContent.startsWith('region')")


def test_the_link_the_json_and_python_keep_the_region(show):
    both = fake_results.comparison()
    shown = show(both)
    outline = drag(shown, (0.1, 0.1), (0.5, 0.6), shift=True)
    link, text, code = (copied(shown, name) for name in ("link", "json", "python"))
    assert dcv.Canvas(both, state=text).state == dcv.Canvas(both, state=link).state == state_of(shown)
    assert f"region={outline}" in code
    again = show(both, fragment="#" + link.split("#")[1])
    assert state_of(again)["region"] == outline and again.root.locator(".dcv-outline").is_visible()
    wrong = show(both, fragment="#state=%7B%22region%22%3A%5B%5B0%2C0%5D%2C%5B0%2C9%5D%2C%5B999%2C9%5D%5D%7D")
    assert state_of(wrong)["region"] is None
    assert "region" in wrong.page.locator(".dcv-remark").text_content()


def test_linked_canvases_have_the_region_at_the_same_place(show):
    left, right = show([fake_results.comparison(), fake_results.comparison(size=(120, 180), cell=32)])
    outline = np.array(drag(left, (0.1, 0.1), (0.5, 0.6), shift=True))
    right.page.wait_for_function("() => dcvModels[1].get('state').region")
    assert np.allclose(np.array(state_of(right)["region"]), outline / 2, atol=0.1)
    left.root.locator(".dcv-image").press("Escape")
    right.page.wait_for_function("() => dcvModels[1].get('state').region === null")


def test_of_a_segmentation_the_share_of_each_label_is_told(show):
    segmentation = fake_results.segmentation()
    shown = show(segmentation, region=[[120, 0], [120, 360], [240, 360], [240, 0]])
    share = [float((segmentation.labels[120:] == i).mean()) for i in range(segmentation.sizes["label"])]
    assert [float(row["share"]) for row in rows_of(copied(shown, "values"))] == pytest.approx(share, abs=1e-4)
    assert "share of the region" in shown.root.locator(".dcv-number-key").text_content()


def test_a_teacher_can_lock_regions(show):
    shown = show(fake_results.comparison(), locked=["region"])
    assert shown.root.locator(".dcv-region").is_hidden()
    assert drag(shown, (0.1, 0.1), (0.5, 0.6), shift=True) is None
    shown.root.locator(".dcv-image").press("Shift+ArrowLeft")
    assert state_of(shown)["region"] is None
