"""Keeping what is seen: images, numbers, Python, states and links, from a page without a network."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import fake_results
import numpy as np
import pytest
from PIL import Image
from test_page import NASTY

import denseclip_viz as dcv

# A clipboard that tests can read, or none as on an insecure page.
CLIPBOARD = """window.copied = [];
Object.defineProperty(navigator, "clipboard", {
    get: () => window.noClipboard ? undefined : { writeText: async text => { window.copied.push(text); } } });"""


@pytest.fixture(scope="module")
def tab(tab):
    """What is copied on it can be asked for."""
    tab.add_init_script(CLIPBOARD)
    return tab


def kept(shown, name):
    """Open the menu and press one of its buttons."""
    menu = shown.root.locator(".dcv-keep")
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    return menu.locator(f"[data-keep={name}]")


def copied(shown, name):
    """Copy by a button, and give the text."""
    before = shown.page.evaluate("window.copied.length")
    kept(shown, name).click()
    shown.page.wait_for_function("before => window.copied.length > before", arg=before)
    return shown.page.evaluate("window.copied.at(-1)")


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def state_of(shown):
    return shown.page.evaluate("at => dcvModels[at].get('state')", shown.at)


def saved(shown, name, folder):
    with shown.page.expect_download() as waiting:
        kept(shown, name).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_values_under_the_pin_are_csv_with_their_place(show):
    both = fake_results.comparison(prompts=['a "red", car', "grass\n", "سيارة", "a giraffe"], templates=2)
    shown = show(both, pinned=[3, 4], template=str(both.template.values[1]))
    rows = rows_of(copied(shown, "values"))
    assert [row["prompt"] for row in rows] == list(both.prompt.values)
    assert {(row["template"], row["view"]) for row in rows} == {(str(both.template.values[1]), "dense")}
    assert [row["value"] for row in rows] == [f"{value:.3f}" for value in both.dense[1, :, 3, 4].values]
    assert {(row["x"], row["y"]) for row in rows} == {(f"{both.x[4]:.4f}", f"{both.y[3]:.1f}")}


@pytest.mark.parametrize(("view", "axis"), [("gap", "prompt"), ("attention", "head")])
def test_values_of_a_map_are_csv_cell_by_cell(show, view, axis):
    both = fake_results.comparison()
    shown = show(both, view=view, prompt="grass")
    rows = rows_of(copied(shown, "map"))
    values = both.attention if view == "attention" else both.gap.sel(prompt="grass")[0]
    decimals = len(rows[0]["value"].split(".")[1])
    assert [row["value"] for row in rows] == [f"{value:.{decimals}f}" for value in values.values.ravel()]
    assert {row[axis] for row in rows} == {"mean" if view == "attention" else "grass"}
    places = [(float(row["y"]), float(row["x"])) for row in rows]
    assert np.allclose(places, [(y, x) for y in both.y.values for x in both.x.values], atol=1e-4)


def test_the_python_makes_this_very_state(show, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(dcv.toyworld.scene("a taxi on a road", 96).image).save("taxi.png")
    model, prompts = dcv.load(), dcv.Prompts(['a "red" taxi', "a road"], ["{}", "a photo of {}"], absent=["a whale"])
    trace = model.trace("taxi.png")
    shown = show(model.compare(trace, prompts), trace=trace)
    shown.select("view", "contribution").select("prompt", str(prompts.prompts[1])).slide("opacity", 0.25).tick("hover")
    shown.select("template", "ensemble").redraws(lambda: shown.root.locator(".dcv-image").press("Enter"))
    code, names = copied(shown, "python"), {}
    exec(code.replace("\ndcv.Canvas(", "\ncanvas = dcv.Canvas("), names)
    assert names["canvas"].state == state_of(shown)
    assert code.rstrip().splitlines()[-1].startswith("dcv.Canvas(both, trace=trace, prompt=")


def test_the_state_as_json_is_what_python_reads(show):
    both = fake_results.comparison()
    shown = show(both, view="gap").select("prompt", "the sun").slide("threshold", 0.0004)
    assert dcv.Canvas(both, state=copied(shown, "json")).state == state_of(shown)


def test_the_link_opens_the_page_in_this_state(show):
    shown = show(fake_results.comparison(templates=2), prompt="grass").select("view", "gap").select("prompt", "the sun")
    shown.redraws(lambda: shown.root.locator(".dcv-image").press("Enter"))
    link, state = copied(shown, "link"), state_of(shown)
    assert "%22grass%22" not in link and "%22gap%22" in link
    shown.page.wait_for_function("link => location.href === link", arg=link)  # a page that is loaded again keeps it
    shown.page.goto("about:blank")
    shown.page.goto(link)
    shown.wait("Number(n?.dataset.version) > 0")
    assert state_of(shown) == state
    assert shown.page.locator(".dcv-remark").text_content() == ""


@pytest.mark.engines("chromium", "firefox")
def test_order_filter_and_rows_are_in_the_link_the_json_and_the_python(show):
    both = fake_results.comparison(prompts=fake_results.MANY, templates=2)
    shown = show(both).select("order", "value").select("rows", "templates")
    shown.root.locator(".dcv-filter").fill('A "<b>')
    link, state = copied(shown, "link"), state_of(shown)
    assert dcv.Canvas(both, state=copied(shown, "json")).state == state
    assert copied(shown, "python").endswith(', order="value", filter="A \\"<b>", rows="templates")\n')
    shown.page.goto("about:blank")
    shown.page.goto(link)
    shown.wait("Number(n?.dataset.version) > 0")
    assert state_of(shown) == state
    values = [shown.root.locator(f".dcv-{name}").input_value() for name in ("order", "filter", "rows")]
    assert values == ["value", 'A "<b>', "templates"]


def test_a_link_of_several_canvases_holds_the_state_of_each(show):
    several = [fake_results.comparison(), fake_results.comparison()]
    left, right = show(several, linked=False)
    right.select("view", "gap")
    left.select("prompt", "grass")
    left, right = show(several, linked=False, fragment="#" + copied(left, "link").split("#")[1])
    assert [state_of(left)["prompt"], state_of(right)["view"]] == ["grass", "gap"]


MALFORMED = ["", "%", "%7B", "5", "null", "[]", "nonsense", "%5B%7B%7D%2C%7B%7D%5D"]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_link_that_is_none_leaves_the_page_as_it_was_and_says_so(show, text):
    shown = show(fake_results.comparison(), fragment=f"#state={text}")
    assert state_of(shown)["view"] == "dense"
    assert bool(shown.page.locator(".dcv-remark").text_content()) == (text != "[]")


def test_what_a_link_names_wrongly_is_left_out_by_name(show):
    wrong = {
        "prompt": NASTY,
        "opacity": 7,
        "pinned": [99, 0],
        "hover": 1,
        "__proto__": 5,
        "colours": "jet",
        "view": "gap",
    }
    wrong |= {"order": "size", "filter": "a" * 101, "rows": 1}
    wrong |= {"threshold": "x", "interpolation": [], "head": {}, NASTY: 1}
    shown = show(fake_results.comparison(), fragment="#state=" + json.dumps(wrong).replace("%", "%25"))
    assert state_of(shown) == {**dcv.Canvas(fake_results.comparison()).state, "view": "gap"}
    remark = shown.page.locator(".dcv-remark")
    assert all(name in remark.text_content() for name in wrong if name not in ("view", NASTY))
    assert remark.locator("*").count() == 0


def test_the_foot_names_the_path_that_is_shown_and_none_where_a_view_hangs_on_none(show):
    shown = show(fake_results.along_paths(fake_results.comparison()), path="vanilla")
    source = shown.page.evaluate("dcvModels[0].get('_payload').meta.credit")

    def path():
        return shown.root.locator(".dcv-credit").text_content().removeprefix(source)

    assert path() == " · vanilla path"
    shown.select("path", "sclip")
    assert path() == " · sclip path"
    shown.select("versus", "path 0")
    assert path() == " · sclip, value path"
    shown.select("view", "segments")
    assert path() == " · sclip path"
    shown.select("view", "gap")
    assert path() == ""


@pytest.mark.engines("chromium")  # Firefox saves too, and its driver tells of no file that a script saves
@pytest.mark.parametrize("view", ["dense", "segments"])
def test_a_saved_image_says_what_is_shown_on_which_scale_and_from_where(show, tmp_path, view):
    both = fake_results.comparison(prompts=[NASTY, "grass", "the sun", "a giraffe"])
    shown = show(both, view=view, pinned=[3, 4], threshold=0.1 if view == "dense" else None)
    folder = tmp_path / "saved"
    folder.mkdir()
    svg, png = saved(shown, "svg", folder), saved(shown, "png", folder)
    tree = ElementTree.parse(svg)
    space = "{http://www.w3.org/2000/svg}"
    said = [node.text for node in tree.iter(f"{space}text")]
    meta = shown.page.evaluate("dcvModels[0].get('_payload').meta")
    assert f"{meta['credit']} · value path" in said and any(view in line for line in said)
    if view == "dense":
        ticks = shown.root.locator(".dcv-ticks span").all_text_contents()
        assert {NASTY, "cosine, hidden below 0.100", *ticks} <= set(said)
        assert any(line.startswith("absent 0.") for line in said)
    else:
        assert {"grass", NASTY} <= set(said)
    drawn = Image.open(png)
    width, height = float(tree.getroot().get("width")), float(tree.getroot().get("height"))
    assert drawn.size == pytest.approx((width, height), abs=1)
    pixels, (first, *_) = np.asarray(drawn.convert("RGB")), tree.iter(f"{space}image")
    x, y, wide, high = (round(float(first.get(name))) for name in ("x", "y", "width", "height"))
    inside = pixels[y : y + high, x : x + wide].astype(int)
    shown_pixels = np.asarray(Image.fromarray(shown.pixels()).resize((wide, high))).astype(int)
    assert (np.abs(inside - shown_pixels).max(-1) <= 24).mean() > 0.95  # but for the marks


def test_the_menu_stays_open_while_the_window_has_not_the_focus(show):
    """Firefox's list of downloads takes it, as another window does: what was saved and what is copied by hand stay."""
    shown = show(fake_results.comparison())
    button = kept(shown, "svg")
    button.click()
    notice = shown.root.locator(".dcv-notice", has_text="Saved as car-a-red-car-dense.svg")
    notice.wait_for()
    button.focus()
    button.evaluate("n => n.dispatchEvent(new FocusEvent('focusout', {bubbles: true}))")  # as when the window loses it
    shown.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert notice.is_visible()
    button.evaluate("n => n.blur()")
    notice.wait_for(state="hidden")


def test_without_a_clipboard_the_text_stands_there_to_be_copied(show):
    shown = show(fake_results.comparison())
    shown.page.evaluate("window.noClipboard = true")
    kept(shown, "json").click()
    area = shown.root.locator(".dcv-copied textarea")
    area.wait_for()
    assert json.loads(area.input_value()) == state_of(shown)
    assert area.evaluate("n => document.activeElement === n && n.selectionEnd === n.value.length")


def test_the_menu_is_walked_by_keys_and_gives_the_focus_back(show):
    shown = show(fake_results.comparison())
    summary = shown.root.locator(".dcv-keep summary")
    summary.focus()
    summary.press("Enter")
    focused = []
    for _ in range(7):
        shown.page.keyboard.press("Tab")
        focused.append(shown.page.evaluate("document.activeElement.dataset.keep"))
    assert focused == ["png", "svg", "values", "map", "python", "json", "link"]
    shown.page.keyboard.press("Escape")
    assert shown.root.locator(".dcv-keep").get_attribute("open") is None
    assert summary.evaluate("n => document.activeElement === n")


def test_a_teacher_can_lock_the_menu(show):
    assert show(fake_results.comparison(), locked=["keep"]).root.locator(".dcv-keep").is_hidden()
