"""The rows beside the image: their order, which are listed, and a map of prompts × places or templates."""

import xml.etree.ElementTree as ElementTree
from unicodedata import normalize

import fake_results
import numpy as np
import pytest
from matplotlib import colormaps
from test_keep import saved, state_of
from test_page import NASTY, geometry_of

import denseclip_viz as dcv
from denseclip_viz.canvas.heat_rows import heat_rows
from denseclip_viz.plot.text import number

pytestmark = pytest.mark.engines("chromium", "firefox")


@pytest.fixture(scope="module")
def many():
    return fake_results.comparison(prompts=fake_results.MANY, templates=3)


def listed(shown):
    return shown.root.locator(".dcv-bar:visible .dcv-name").all_text_contents()


def told_of(shown):
    return shown.root.locator(".dcv-listed [role=status]").text_content()


def test_rows_are_sorted_by_value_and_stay_while_one_points(show, many):
    shown = show(many, pinned=[3, 4])
    order = shown.root.locator(".dcv-order")
    assert listed(shown) == list(fake_results.MANY)
    order.select_option("value")
    by_value = many.prompt.values[np.argsort(-many.dense[0, :, 3, 4].values)].tolist()
    assert listed(shown) == by_value
    shown.point(10, 15, geometry_of(many).grid)
    assert listed(shown) == by_value and shown.bars()["the sun"] == f"{float(many.dense[0, 3, 10, 15]):.3f}"
    row = shown.root.locator(".dcv-bar").nth(5)
    row.focus()
    shown.redraws(lambda: row.press("Enter"))
    assert state_of(shown)["prompt"] == by_value[5]
    assert shown.page.evaluate("document.activeElement.dataset.prompt") == by_value[5]
    order.select_option("given")
    assert listed(shown) == list(fake_results.MANY)


def test_a_value_of_zero_stands_above_those_below_it(show):
    both = fake_results.comparison(prompts=fake_results.MANY)
    both["dense"] -= 0.3
    both["dense"][0, 3, 3, 4] = 0
    assert listed(show(both, pinned=[3, 4], order="value"))[0] == "the sun"


def test_a_few_letters_filter_the_rows_and_escape_lists_all_again(show, many):
    shown = show(many)
    letters = shown.root.locator(".dcv-filter")
    letters.fill("GR")
    assert listed(shown) == [name for name in fake_results.MANY if "gr" in name]
    assert told_of(shown) == "2 of 12 match"
    letters.press("Escape")
    assert len(listed(shown)) == 12 and told_of(shown) == "" and state_of(shown)["filter"] == ""


def test_a_filter_that_leaves_no_row_says_so_and_one_press_lists_all_again(show, many):
    shown = show(many, filter=NASTY)
    assert listed(shown) == [] and told_of(shown) == f"none of 12 has “{NASTY}” in it"
    assert shown.root.locator(".dcv-axis").is_hidden() and shown.root.locator(".dcv-listed img").count() == 0
    shown.redraws(lambda: shown.root.get_by_role("button", name="show all 12").click())
    assert len(listed(shown)) == 12 and state_of(shown)["filter"] == ""
    assert shown.page.evaluate("document.activeElement.className") == "dcv-filter"


def test_letters_are_matched_however_they_were_composed_and_at_most_a_hundred_are_kept(show):
    korean = normalize("NFD", "고양이 한 마리")
    shown = show(fake_results.comparison(prompts=[*fake_results.MANY, korean, "سيارة حمراء"]))
    letters = shown.root.locator(".dcv-filter")
    for text in ("고양", normalize("NFD", "고양")):
        letters.fill(text)
        assert listed(shown) == [korean] and state_of(shown)["filter"] == "고양"
    letters.fill("حمراء")
    assert listed(shown) == ["سيارة حمراء"]
    letters.fill("🐱" * 200)
    assert state_of(shown)["filter"] == "🐱" * 100


def test_two_rows_need_no_tools_until_something_is_chosen(show):
    both = fake_results.comparison(prompts=["grass", "a car"])
    shown = show(both)
    assert shown.root.locator(".dcv-tools").is_hidden() and len(listed(shown)) == 2
    shown = show(both, order="value", filter="A")
    assert listed(shown) == [str(both.prompt.values[i]) for i in np.argsort(-both.dense.max(("y", "x"))[0].values)]
    shown.root.locator(".dcv-filter").fill("")  # what is chosen can be taken back, and the tools stay under the hand
    shown.root.locator(".dcv-order").select_option("given")
    assert shown.root.locator(".dcv-filter").is_visible() and listed(shown) == ["grass", "a car"]


def test_heads_are_sorted_and_never_filtered(show, many):
    shown = show(many, view="attention", order="value", filter="car", pinned=[3, 4])
    order = np.argsort(-many.attention_heads[:, 3, 4].values)
    heads = [text for text in listed(shown) if text != "mean"]
    assert heads == [f"head {i}" for i in order] and len(listed(shown)) == 9
    assert shown.root.locator(".dcv-filter").is_hidden() and shown.root.locator(".dcv-rows").is_hidden()


def test_a_teacher_can_choose_the_rows_and_lock_them(show, many):
    shown = show(many, order="value", filter="a w", rows="templates", locked=["order", "filter", "rows"])
    assert sorted(listed(shown)) == ["a wheel", "a window"] and shown.root.locator(".dcv-heat:visible").count() == 2
    assert shown.root.locator(".dcv-tools").is_hidden() and shown.root.locator(".dcv-all").is_hidden()


def test_linked_canvases_sort_filter_and_draw_their_rows_together(show, many):
    left, right = show([many, many], locked=["order"])
    left.root.locator(".dcv-filter").fill("gr")
    left.root.locator(".dcv-rows").select_option("places")
    assert listed(right) == ["green grass", "a grand piano"] and right.root.locator(".dcv-heat:visible").count() == 2


@pytest.mark.parametrize(("count", "rows"), [(20, "bars"), (21, "places"), (50, "places")])
def test_by_itself_a_page_draws_bars_of_few_prompts_and_places_of_many(show, count, rows):
    shown = show(fake_results.comparison(prompts=[f"thing {i}" for i in range(count)]))
    assert shown.root.locator(".dcv-rows option").first.text_content() == f"auto: {rows}"
    assert (
        shown.root.locator(".dcv-heat").first.is_visible()
        == (rows == "places")
        == shown.root.locator(".dcv-heat-key").is_visible()
    )
    shown.redraws(lambda: shown.root.locator(".dcv-rows").select_option("bars"))
    assert shown.root.locator(".dcv-track").first.is_visible() and state_of(shown)["rows"] == "bars"


def test_a_heat_map_follows_what_is_pointed_at_and_says_its_scale(show, many):
    shown = show(many, rows="places", opacity=0)
    before = heat_of(shown)
    shown.point(10, 15, geometry_of(many).grid)
    here, rest = heat_of(shown)[:, :1], heat_of(shown)[:, 1:]
    assert np.abs(here - colours_of(many.dense[0, :, 10, 15].values[:, None], many)).max() <= 3
    assert (rest == before[:, 1:]).all() and shown.bars()["the sun"] == f"{float(many.dense[0, 3, 10, 15]):.3f}"
    key = shown.root.locator(".dcv-heat-key")
    assert key.locator("span").all_text_contents() == shown.root.locator(".dcv-ticks span").all_text_contents()[::2]
    ramp = key.locator("canvas").evaluate("n => [...n.getContext('2d').getImageData(0, 0, 256, 1).data]")
    assert (
        np.abs(np.reshape(ramp, (256, 4))[:, :3] - 255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]).max() <= 3
    )


@pytest.mark.parametrize("wide", [900, 1400])
@pytest.mark.parametrize("view", ["dense", "gap"])
def test_titles_stand_over_their_columns_and_nothing_overlaps(show, wide, view):
    names = [*fake_results.MANY, *fake_results.WRITTEN, fake_results.LONG, *(f"thing {i}" for i in range(281))]
    outline = [[60, 40], [60, 200], [200, 120]]
    both = fake_results.comparison(prompts=names)
    shown = show(both, view=view, pinned=[3, 4], region=outline)
    shown.page.set_viewport_size({"width": wide, "height": 900})
    boxes = "all => all.map(n => { const r = n.getBoundingClientRect(); return [r.left, r.right] })"
    heat, titles = (shown.root.locator(name).evaluate_all(boxes) for name in (".dcv-heat", ".dcv-columns span"))
    assert len(heat) == 300 and len(titles) == 5
    wanted = np.linspace(*heat[0], 6)
    assert np.allclose(titles, np.stack([wanted[:-1], wanted[1:]], 1), atol=1)
    fits = "all => all.every(n => n.scrollWidth <= n.clientWidth)"
    assert shown.root.locator(".dcv-columns span").evaluate_all(fits)
    assert shown.root.locator(".dcv-number").evaluate_all("all => all.every(n => n.scrollWidth <= n.offsetWidth)")
    parts = [
        shown.root.locator(".dcv-bar").first.locator(f".dcv-{name}").bounding_box()
        for name in ("name", "heat", "number")
    ]
    assert all(one["x"] + one["width"] <= other["x"] for one, other in zip(parts, parts[1:], strict=False))
    shown.page.set_viewport_size({"width": 1280, "height": 900})


def test_bars_have_an_axis_and_their_zero_where_values_are_below_it(show, many):
    shown = show(many, view="contribution")
    ends = shown.root.locator(".dcv-axis span").all_text_contents()
    assert ends[0].startswith("−") and float(ends[1]) > 0
    low, high = -float(ends[0][1:]), float(ends[1])
    track, zero = (shown.root.locator(f".dcv-{name}").first.bounding_box() for name in ("track", "zero"))
    assert zero["x"] - track["x"] == pytest.approx(track["width"] * -low / (high - low), abs=2)


def heat_of(shown):
    """The colours of the heat map: (row, column, rgb)."""
    read = "all => all.map(n => [...n.getContext('2d').getImageData(0, 0, n.width, 1).data])"
    return np.array(shown.root.locator(".dcv-heat").evaluate_all(read)).reshape(12, -1, 4)[..., :3]


def colours_of(values, both):
    low, high = float(both.dense.min()), float(both.dense.max())
    return 255 * colormaps["viridis"](np.clip((values - low) / (high - low), 0, 1))[..., :3]


def test_a_heat_map_of_places_has_what_is_pointed_at_the_pin_the_region_the_image_and_the_peak(show, many):
    outline = [[60, 40], [60, 200], [200, 120]]
    shown = show(many, pinned=[3, 4], region=outline)
    shown.redraws(lambda: shown.root.locator(".dcv-rows").select_option("places"))
    assert shown.root.locator(".dcv-columns span").all_text_contents() == ["here", "pin", "region", "image", "peak"]
    maps = many.dense[0]
    inside = dcv.maps.region_means(many, outline)["mean"][0]
    columns = [inside, maps[:, 3, 4], inside, maps.mean(("y", "x")), maps.max(("y", "x"))]
    assert np.abs(heat_of(shown) - colours_of(np.stack(columns, 1), many)).max() <= 3
    row = shown.root.locator(".dcv-bar").nth(3)
    row.focus()
    for column in columns:
        assert shown.root.locator(".dcv-told").text_content().endswith(f"the sun · {float(column[3]):.3f}")
        row.press("ArrowRight")
    row.press("ArrowDown")
    assert shown.page.evaluate("document.activeElement.dataset.prompt") == fake_results.MANY[4]
    assert shown.root.locator(".dcv-told").text_content().startswith("peak · a wheel")
    shown.root.locator(".dcv-order").select_option("value")
    assert listed(shown) == many.prompt.values[np.argsort(-columns[-1].values)].tolist()


def test_a_heat_map_of_templates_chooses_prompt_and_template(show, many):
    shown = show(many, pinned=[3, 4])
    shown.redraws(lambda: shown.root.locator(".dcv-rows").select_option("templates"))
    values = np.concatenate([many.dense[:, :, 3, 4], many.dense[:, :, 3, 4].mean("template").values[None]])
    assert np.abs(heat_of(shown) - colours_of(values.T, many)).max() <= 3
    row = shown.root.locator(".dcv-bar").nth(3)
    row.focus()
    row.press("ArrowRight")
    shown.redraws(lambda: row.press("Enter"))
    state = state_of(shown)
    assert (state["prompt"], state["template"]) == ("the sun", str(many.template.values[1]))
    shown.redraws(lambda: shown.root.locator(".dcv-view").select_option("attention"))  # has no prompts
    assert shown.root.locator(".dcv-heat").first.is_hidden() and len(listed(shown)) == 9


def test_a_template_is_chosen_above_or_by_its_cell_and_not_on_the_way_to_a_name(show, many):
    shown = show(many, rows="templates", pinned=[3, 4])
    templates, rows = [str(name) for name in many.template.values], shown.root.locator(".dcv-bar")

    def cell(row, column):
        box = rows.nth(row).locator(".dcv-heat").bounding_box()
        return box["x"] + box["width"] * (column + 0.5) / (len(templates) + 1), box["y"] + box["height"] / 2

    def told(row, column):
        value = f"{float(many.dense[column, row, 3, 4]):.3f}"
        wanted = f"{templates[column]} · {fake_results.MANY[row]} · {value}".replace("-", "−")
        shown.wait("n.querySelector('.dcv-told').textContent === arg", wanted)

    def chosen():
        return [state_of(shown)[name] for name in ("prompt", "template")]

    shown.page.mouse.move(*cell(3, 1))
    told(3, 1)
    shown.redraws(lambda: shown.root.locator(".dcv-template").select_option(templates[2]))
    told(0, 2)  # the numbers are of what was chosen, not of where the pointer was
    shown.page.mouse.move(*cell(5, 1))
    told(5, 1)
    shown.redraws(lambda: rows.nth(5).locator(".dcv-name").click())
    assert chosen() == [fake_results.MANY[5], templates[2]]
    shown.redraws(lambda: shown.page.mouse.click(*cell(4, 1)))
    assert chosen() == [fake_results.MANY[4], templates[1]]
    shown.page.mouse.move(*cell(6, 0))
    told(6, 0)
    shown.redraws(lambda: rows.nth(6).press("Enter"))  # no arrow led to the cell
    assert chosen() == [fake_results.MANY[6], templates[1]]


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({"prompts": [f"thing {i}" for i in range(50)]}, {"order": "value"}),
        ({"templates": 3}, {"rows": "places", "template": "ensemble", "pinned": [3, 4]}),
        ({"templates": 3, "mode": "native"}, {"rows": "templates", "region": [[60, 40], [60, 200], [200, 120]]}),
        ({"mode": "native"}, {"rows": "places", "view": "gap", "pinned": [3, 4], "order": "value", "filter": "A"}),
        ({"layers": "resnet"}, {"rows": "places", "layer": "layer2", "pinned": [3, 4], "order": "value"}),
    ],
)
def test_a_still_has_the_same_rows_as_the_page(show, options, state):
    both = fake_results.comparison(**{"prompts": fake_results.MANY, **options})
    canvas, shown = dcv.Canvas(both, **state), show(both, **state)
    rows = heat_rows(canvas._shown, canvas.state)
    assert listed(shown) == rows.names and len(rows.names) > 1
    numbers = [number(value, rows.decimals) for value in rows.values[:, rows.marked]]
    assert shown.root.locator(".dcv-bar:visible .dcv-number").all_text_contents() == numbers
    assert len(rows.titles) == shown.root.locator(".dcv-heat").first.evaluate("n => n.width")


@pytest.mark.engines("chromium")  # Firefox saves too, and its driver tells of no file that a script saves
def test_a_saved_image_has_the_rows_of_the_heat_map_and_their_scale(show, tmp_path):
    both = fake_results.comparison(prompts=[NASTY, *fake_results.WRITTEN, *(f"thing {i}" for i in range(43))])
    shown = show(both, order="value")
    (tmp_path / "saved").mkdir()
    tree = ElementTree.parse(saved(shown, "svg", tmp_path / "saved"))
    nodes = [node for node in tree.iter() if node.tag.endswith(("text", "image"))]
    said = [node.text for node in nodes if node.text]
    at = said.index("peak") + 2  # the title of the numbers is behind it
    assert said[at::2][:50] == listed(shown)
    assert said[at + 1 :: 2][:50] == shown.root.locator(".dcv-bar .dcv-number").all_text_contents()
    assert said[at + 100 : at + 102] == shown.root.locator(".dcv-heat-key span").all_text_contents()
    cells = shown.root.locator(".dcv-heat").first.evaluate("n => n.toDataURL('image/png')")
    assert cells in [node.get("href") for node in nodes]
    shown.root.locator(".dcv-filter").fill("zzz")
    assert "none of 50 has “zzz” in it" in saved(shown, "svg", tmp_path / "saved").read_text(encoding="utf-8")
