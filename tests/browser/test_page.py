"""The offline page in a real Chromium, from disk and without a network: what is drawn and said is what NumPy says."""

import base64
import io

import fake_results
import numpy as np
import pytest
from PIL import Image
from watch import image, slide

import denseclip_viz as dcv
from denseclip_viz.geometry import Geometry, upsample
from denseclip_viz.plot.raster import colourise, dimmed, overlay, softened
from denseclip_viz.plot.scales import label_colour

NASTY = "<img src=x onerror=alert(1)>"
INTRUDER = """async () => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = 1';
    document.body.append(script);
    return [window.ran ?? 'no', await fetch('https://example.invalid').then(() => 'sent', () => 'refused')];
}"""


class Shown:
    """One canvas of a page, asked about facts."""

    def __init__(self, page, at=0):
        self.page, self.root = page, page.locator(".dcv-canvas").nth(at)
        self.at = at

    def wait(self, condition, arg=None):
        self.page.wait_for_function(
            f"([at, arg]) => {{ const n = document.querySelectorAll('.dcv-canvas')[at]; return {condition}; }}",
            arg=[self.at, arg],
        )

    @property
    def version(self):
        return int(self.root.get_attribute("data-version"))

    def redraws(self, act):
        """Do something, and wait until it was drawn."""
        before = self.version
        act()
        self.wait("Number(n.dataset.version) > arg", before)
        return self

    def select(self, name, value):
        return self.redraws(lambda: self.root.locator(f".dcv-{name}").select_option(value))

    def slide(self, name, value):
        return self.redraws(lambda: slide(self.root.locator(f".dcv-{name}"), value))

    def tick(self, name):
        return self.redraws(lambda: self.root.locator(f".dcv-{name}").click())

    def point(self, y, x, grid):
        """Move to the middle of a cell of a grid (y, x) that covers the whole image."""
        box = self.root.locator(".dcv-image").bounding_box()
        at = box["x"] + (x + 0.5) / grid[1] * box["width"], box["y"] + (y + 0.5) / grid[0] * box["height"]
        self.page.mouse.move(*at)
        self.wait("n.dataset.cell === arg", f"{y},{x}")
        return at

    def bars(self, axis="prompt"):
        read = "(rows, axis) => Object.fromEntries(rows.map(row => [row.dataset[axis], row.dataset.value]))"
        return self.root.locator(".dcv-bar").evaluate_all(read, axis)

    def peak(self):
        return tuple(map(int, self.root.get_attribute("data-peak").split(",")))

    def pixels(self):
        file = self.root.locator(".dcv-image").evaluate("n => n.toDataURL('image/png').split(',')[1]")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(file))).convert("RGB"))


def opened(page, folder, results, fragment="", **options):
    """Write a page of results, open it, and wait until it is drawn: what it shows, or a list of that."""
    several = results if isinstance(results, list) else [results]
    path = dcv.save_html(results, folder / f"{len(list(folder.iterdir()))}.html", **options)
    page.goto("about:blank")  # another fragment alone would open nothing
    page.goto(path.as_uri() + fragment)
    shown = [Shown(page, at) for at in range(len(several))]
    for one in shown:
        one.wait("Number(n?.dataset.version) > 0")
    return shown if isinstance(results, list) else shown[0]


def geometry_of(result):
    return Geometry.from_json(result.attrs["geometry"])


def peak_of(maps):
    return tuple(map(int, np.unravel_index(int(maps.argmax()), maps.shape)))


def nearly_all(left, right, *, within, share=0.995):
    """Whether pixels agree; a step of the scale may fall to either side of an edge."""
    return (np.abs(left.astype(int) - right.astype(int)).max(-1) <= within).mean() >= share


@pytest.fixture(scope="module")
def street():
    """What the bundled model says of a scene: trace and comparison, two templates, one prompt known to be absent."""
    model = dcv.load()
    trace = model.trace(dcv.toyworld.scene("a red taxi left of a limousine on a road", 256))
    prompts = dcv.Prompts(["a taxi", "a limousine", "a road"], ["{}", "a photo of {}"], absent=["a whale"])
    return trace, model.compare(trace, prompts)


def test_bars_say_what_numpy_says_in_every_cell_template_and_view(show, street):
    trace, both = street
    shown, grid = show(both, trace=trace), geometry_of(both).grid
    for view, decimals in (("dense", 3), ("contribution", 4), ("gap", 4)):
        shown.select("view", view)
        for template in [*map(str, both.template.values), "ensemble"]:
            shown.select("template", template)
            maps = both[view].mean("template") if template == "ensemble" else both[view].sel(template=template)
            for y, x in ((0, 0), (5, 3), (7, 7)):
                shown.point(y, x, grid)
                values = zip(map(str, both.prompt.values), maps[:, y, x].values.tolist(), strict=True)
                assert shown.bars() == {name: f"{value:.{decimals}f}" for name, value in values}


def test_attributions_switch_in_the_browser_and_the_scale_follows_the_method(show, tab):
    both = fake_results.attributed()
    shown = show(both, view="attribution")
    control = shown.root.locator("[data-control=method]")
    for method, unit in (("rollout", "share"), ("grad-cam", "cosine")):
        shown.select("method", method)
        own = both.attribution.sel(candidate=method).isel(template=0)
        assert shown.peak() == peak_of(own[0].values)
        y, x = shown.peak()
        read = {name: float(value) for name, value in shown.bars().items()}
        assert read == pytest.approx(dict(zip(own.prompt.values, own[:, y, x].values, strict=True)), abs=1e-3)
        assert shown.root.locator(".dcv-unit").inner_text().split("\n") == [f"{method}: what made the score?", unit]
        shown.slide("threshold", float(abs(own).max()) / 2)
        assert shown.root.locator(".dcv-limit").inner_text() != "off"
    shown.select("method", "rollout")  # a threshold is a number of one scale
    assert shown.root.locator(".dcv-limit").inner_text() == "off"
    assert control.is_visible()
    image(tab, "page-attributions")
    shown.select("view", "dense")
    assert control.is_hidden()


def test_prompt_template_and_view_redraw_and_the_peak_is_where_numpy_has_it(show, street):
    _, both = street
    shown, seen = show(both), []
    for view in ("dense", "contribution", "gap"):
        shown.select("view", view)
        for prompt in map(str, both.prompt.values[::-1]):
            shown.select("prompt", prompt)
            for template in map(str, both.template.values[::-1]):
                shown.select("template", template)
                values = both[view].sel(prompt=prompt, template=template).values
                assert shown.peak() == peak_of(np.abs(values) if view == "gap" else values)  # gaps go to both sides
                seen.append(shown.pixels().tobytes())
    assert len(set(seen)) == len(seen)


def test_segments_have_a_heading_and_no_prompt_to_choose(show, street):
    shown = show(street[1], view="segments")
    assert shown.root.locator(".dcv-unit span").first.text_content() == "which text wins where?"
    assert shown.root.locator("[data-control=prompt]").is_hidden() and shown.root.locator(".dcv-strip").is_hidden()
    shown.select("view", "dense")
    assert shown.root.locator("[data-control=prompt]").is_visible() and shown.root.locator(".dcv-strip").is_visible()


PATHS = ["value", "vanilla", "value-positional"]


@pytest.fixture(scope="module")
def crossing():
    """A scene along three paths of one pass: trace and comparison."""
    model = dcv.load()
    trace = model.trace(dcv.toyworld.scene("a red taxi left of a limousine on a road", 256), path=PATHS)
    prompts = dcv.Prompts(["a taxi", "a limousine", "a road"], ["{}", "a photo of {}"], absent=["a whale"])
    return trace, model.compare(trace, prompts)


def test_a_path_is_switched_in_the_page_and_bars_peak_and_baseline_are_its_own(show, crossing):
    trace, both = crossing
    shown, grid, seen = show(both, trace=trace), geometry_of(both).grid, []
    for path in PATHS[::-1]:
        shown.select("path", path)
        for template in [*map(str, both.template.values[::-1]), "ensemble"]:
            shown.select("template", template)
            maps = both.dense.sel(path=path)
            maps = maps.mean("template") if template == "ensemble" else maps.sel(template=template)
            assert shown.peak() == peak_of(maps[0].values)
            assert f"absent {float(maps[3].max()):.3f}" in shown.root.locator(".dcv-baseline").text_content()
            shown.point(5, 3, grid)
            values = zip(map(str, both.prompt.values), maps[:, 5, 3].values.tolist(), strict=True)
            assert shown.bars() == {name: f"{value:.3f}" for name, value in values}
        assert f"{path} path" in shown.root.locator(".dcv-caption").text_content()
        seen.append(shown.pixels().tobytes())
    assert len(set(seen)) == len(PATHS)


def test_segments_follow_the_path_too(show, crossing):
    shown = show(crossing[1], view="segments")
    before = shown.pixels()
    assert (before != shown.select("path", "vanilla").pixels()).any(-1).mean() > 0.2


@pytest.mark.parametrize("path", PATHS[:2])
def test_a_cell_is_compared_with_all_others_along_the_path_that_is_shown(show, crossing, path):
    trace, both = crossing
    shown, geometry = show(both, trace=trace, opacity=1), geometry_of(both)
    shown.select("path", PATHS[2]).select("path", path).tick("hover")
    shown.point(5, 6, geometry.grid)
    every = trace.dense.flatten(1, 2).numpy()
    every /= np.linalg.norm(every, axis=-1, keepdims=True)
    low = min(float((vectors @ vectors.T).min()) for vectors in every)
    vectors = every[PATHS.index(path)]
    maps = (vectors @ vectors[5 * geometry.grid[1] + 6]).reshape(geometry.grid)
    full = upsample(maps, geometry, *shown.pixels().shape[:2])
    assert nearly_all(shown.pixels(), colourise(full, low=low, high=1), within=6, share=0.98)


@pytest.mark.parametrize("view", ["contribution", "gap", "attention"])
def test_a_view_that_hangs_on_no_path_offers_none(show, crossing, view):
    shown = show(crossing[1], view=view)
    assert shown.root.locator("[data-control=path]").is_hidden()
    assert shown.select("view", "dense").root.locator("[data-control=path]").is_visible()


def test_one_path_leaves_no_choice(show, street):
    assert show(street[1]).root.locator("[data-control=path]").is_hidden()


@pytest.mark.engines("chromium")  # Firefox cannot be told a theme
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_path_stands_among_the_controls_in_both_themes(show, open_page, theme, crossing):
    page = open_page(offline=True, color_scheme=theme)
    trace, both = crossing
    shown = show(both, page=page, trace=trace).select("path", "vanilla")
    control = shown.root.locator(".dcv-path")
    control.click(trial=True)
    ink, paper = control.evaluate("n => [getComputedStyle(n).color, getComputedStyle(n).backgroundColor]")
    assert ink != paper and control.bounding_box()["width"] >= 60
    image(page, f"paths-{theme}")


def test_attention_is_drawn_and_told_head_by_head(show, street):
    _, both = street
    shown, grid = show(both, view="attention"), geometry_of(both).grid
    assert shown.peak() == peak_of(both.attention.values)
    shown.select("head", "3")
    assert shown.peak() == peak_of(both.attention_heads[3].values)
    shown.point(5, 3, grid)
    told = shown.bars("head")
    widths = shown.root.locator(".dcv-fill").evaluate_all("all => all.map(n => n.offsetWidth)")
    track = shown.root.locator(".dcv-track").first.bounding_box()["width"]
    strongest = float(max(both.attention.max(), both.attention_heads.max()))
    lengths = [track * float(told[name]) / strongest for name in ["mean", *map(str, range(12))]]
    assert np.abs(np.array(widths) - lengths).max() <= 1
    assert told["mean"] == f"{float(both.attention[5, 3]):.3f}"
    assert [told[str(i)] for i in range(12)] == [f"{float(both.attention_heads[i, 5, 3]):.3f}" for i in range(12)]


@pytest.mark.parametrize("mode", ["whole", "native", "tiles"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_a_map_lies_where_its_geometry_says_in_the_colours_of_the_figures(show, mode, interpolation):
    both = fake_results.comparison(mode=mode, templates=2)
    shown = show(both, opacity=1, prompt="the sun", interpolation=interpolation)
    pixels, where = shown.pixels(), geometry_of(both)
    maps = both.dense.sel(prompt="the sun")[0].to_numpy()
    full = upsample(maps, where, *pixels.shape[:2])
    if interpolation == "nearest":
        full = np.where(np.isnan(full), np.nan, maps[np.ix_(*(_cells(where, i, pixels.shape[i]) for i in (0, 1)))])
    coloured = colourise(full, low=float(both.dense.min()), high=float(both.dense.max()))
    seen = ~np.isnan(full)
    frame = np.zeros_like(seen) if seen.all() else _frame(seen)
    assert nearly_all(pixels[seen & ~frame], coloured[seen & ~frame], within=4)


def _cells(where, axis, count):
    """The cell of each pixel along an axis."""
    at = (np.arange(count) + 0.5) / count * where.image[axis]
    return np.clip(np.searchsorted(where.edges(axis), at, side="right") - 1, 0, where.grid[axis] - 1)


def _frame(seen):
    """Pixels near the outline of what was seen, which is drawn over them."""
    padded = np.pad(seen, 4)
    shifts = [padded[4 + y :, 4 + x :][: seen.shape[0], : seen.shape[1]] for y in (-4, 0, 4) for x in (-4, 0, 4)]
    return np.any(shifts, axis=0) & ~np.all(shifts, axis=0)


def test_the_mix_of_map_and_softened_image_is_that_of_figures_and_the_unseen_part_is_dimmed(show):
    both = fake_results.comparison(mode="native")
    flat = np.full((240, 360, 3), (200, 90, 40), np.uint8)
    both = both.assign(image=(("row", "column", "rgb"), flat))
    shown = show(both, opacity=0.6)
    pixels = shown.pixels()
    large = np.broadcast_to(flat[0, 0], pixels.shape).astype(np.uint8)
    full = upsample(both.dense[0, 0].to_numpy(), geometry_of(both), *pixels.shape[:2])
    expected = overlay(large, full, low=float(both.dense.min()), high=float(both.dense.max()), opacity=0.6)
    frame = _frame(~np.isnan(full))
    assert nearly_all(pixels[~frame], expected[~frame], within=5)
    shown.slide("opacity", 0)
    inside = ~np.isnan(full) & ~frame
    assert nearly_all(shown.pixels()[inside], large[inside], within=1)
    assert nearly_all(shown.pixels()[~inside & ~frame], dimmed(large)[~inside & ~frame], within=1)


def test_what_lies_below_the_threshold_is_uncovered(show):
    both = fake_results.comparison()
    flat = np.full((240, 360, 3), 120, np.uint8)
    shown = show(both.assign(image=(("row", "column", "rgb"), flat)), opacity=1)
    middle = float(both.dense.min() + both.dense.max()) / 2
    shown.slide("threshold", middle)
    pixels = shown.pixels()
    full = upsample(both.dense[0, 0].to_numpy(), geometry_of(both), *pixels.shape[:2])
    step = float(both.dense.max() - both.dense.min()) / 100
    bare = (pixels == softened(flat)[0, 0]).all(-1)
    assert bare[full < middle - step].all()
    assert not bare[full > middle + step].any()
    assert shown.root.locator(".dcv-limit").text_content() != "off"
    shown.select("view", "contribution")
    assert shown.root.locator(".dcv-limit").text_content() == "off"


def test_segments_are_the_strongest_prompt_at_each_pixel_above_all_absent_ones(show):
    both = fake_results.comparison(prompts=fake_results.MANY)
    shown = show(both, view="segments", opacity=1)
    pixels = shown.pixels()
    full = upsample(both.dense[0].to_numpy(), geometry_of(both), *pixels.shape[:2])
    absent = both.absent.to_numpy()  # they stand last
    best, named = full[~absent].argmax(0), full[~absent].max(0) > both.dense[0].to_numpy()[absent].max()
    colours = np.round(255 * np.array([label_colour(i) for i in range(len(fake_results.MANY))]))[best]
    line = (pixels == 255).all(-1)
    assert line.mean() < 0.1 and 0 < named.mean() < 1
    inked = named & ~line
    assert nearly_all(pixels[inked], colours[inked], within=1, share=0.999)
    assert "above the absent prompts" in shown.root.locator(".dcv-caption").text_content()
    told = [int(text.strip("%")) for text in shown.root.locator(".dcv-share").all_text_contents()]
    shares = [100 * float((named & (best == i)).mean()) for i in range(len(fake_results.MANY))]
    assert np.abs(np.array(told) - shares).max() < 1


def test_a_segmentation_keeps_its_labels_and_tells_probabilities(show):
    segmentation = fake_results.segmentation()
    shown = show(segmentation, opacity=1)
    pixels, labels = shown.pixels(), segmentation.labels.to_numpy()
    rows, columns = ((np.arange(n) + 0.5) * m // n for n, m in zip(pixels.shape[:2], labels.shape, strict=True))
    large = labels[np.ix_(rows.astype(int), columns.astype(int))]
    colours = np.round(255 * np.array([label_colour(i) for i in range(5)]))[large]
    inked = (large >= 0) & ~(pixels == 255).all(-1)
    assert nearly_all(pixels[inked], colours[inked], within=1, share=0.999)
    shown.point(160, 130, (240, 360))
    assert {name: value for name, value in shown.bars().items() if value} == {"car": "0.70"}
    assert shown.root.locator(".dcv-where").text_content() == "pixel row 160, column 130 · car"
    assert shown.root.locator(".dcv-caption").text_content().startswith("segments")


def test_a_cell_is_compared_with_all_others(show, street):
    trace, both = street
    shown, grid = show(both, trace=trace, opacity=1), geometry_of(both).grid
    shown.tick("hover")
    shown.point(5, 6, grid)
    vectors = trace.dense.flatten(0, 1).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    maps = (vectors @ vectors[5 * grid[1] + 6]).reshape(grid)
    full = upsample(maps, geometry_of(both), *shown.pixels().shape[:2])
    low = float((vectors @ vectors.T).min())
    assert nearly_all(shown.pixels(), colourise(full, low=low, high=1), within=6, share=0.98)
    assert shown.bars()["a taxi"] == f"{float(both.dense[0, 0, 5, 6]):.3f}"


def test_cells_are_compared_on_a_segmentation_too(show):
    segmentation = fake_results.segmentation()
    shown, where = show(segmentation, trace=fake_results.trace(segmentation)), geometry_of(segmentation)
    shown.tick("hover")
    shown.point(4, 7, where.grid)
    assert shown.root.locator(".dcv-scale").is_visible()
    assert [name for name, value in shown.bars().items() if value] == ["sky"]


def test_layers_are_switched_and_offer_only_the_views_that_they_were_read_in(show):
    both = fake_results.comparison(layers="vit")
    shown = show(both, view="gap")
    shown.select("layer", "blocks.3")
    assert shown.peak() == peak_of(both.layer_dense[3, 0, 0].values)
    views = shown.root.locator(".dcv-view option").evaluate_all("all => all.map(o => [o.value, o.disabled])")
    assert {name for name, is_off in views if is_off} == {"contribution", "attention", "gap"}
    assert "blocks.3, 14 × 21 cells: value path" in shown.root.locator(".dcv-caption").text_content()


def test_a_cell_is_pinned_by_a_click_and_by_the_keyboard(show, street):
    _, both = street
    shown, grid = show(both), geometry_of(both).grid
    state = "dcvModels[0].get('state').pinned"
    shown.page.mouse.click(*shown.point(2, 3, grid))
    shown.page.wait_for_function(f"() => {state}?.join() === '2,3'")
    shown.page.mouse.move(2, 2)
    shown.wait("n.querySelector('.dcv-where').textContent.includes('pinned')")
    assert shown.bars()["a road"] == f"{float(both.dense[0, 2, 2, 3]):.3f}"
    image = shown.root.locator(".dcv-image")
    image.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
        image.press(key)
    shown.wait("n.dataset.cell === '3,5'")
    assert shown.bars()["a taxi"] == f"{float(both.dense[0, 0, 3, 5]):.3f}"
    image.press("Enter")
    shown.page.wait_for_function(f"() => {state}?.join() === '3,5'")
    image.press("Escape")
    shown.page.wait_for_function(f"() => {state} === null")
    shown.wait("n.dataset.cell === n.dataset.peak")


def test_the_keyboard_stops_at_the_edge_of_what_was_seen(show):
    both = fake_results.comparison(mode="native")
    shown, grid = show(both), geometry_of(both).grid
    image = shown.root.locator(".dcv-image")
    image.focus()
    for _ in range(grid[1] + 2):
        image.press("ArrowLeft")
    for _ in range(grid[0] + 2):
        image.press("ArrowUp")
    shown.wait("n.dataset.cell === '0,0'")


CATCH = """(() => {
    const set = WeakMap.prototype.set;
    WeakMap.prototype.set = function (key, value) {
        if (typeof key.save_changes === "function") window.dcvModel = key;
        return set.call(this, key, value);
    };
})()"""
# in one go, as nothing else lets the page's 150 ms not pass in between
CHOOSE_AND_ECHO = """([choice, echo]) => {
    const view = document.querySelector('.dcv-view');
    if (choice) {
        view.value = choice;
        view.dispatchEvent(new Event('change', {bubbles: true}));
    }
    dcvModel.set('state', {...dcvModel.get('state'), view: echo});
    return [view.value, dcvModel.get('state').view];
}"""


def test_a_choice_that_waits_to_be_sent_is_not_taken_back_by_the_echo_of_the_one_before(show, offline_page):
    """A busy kernel answers late: its echo of a choice comes while the next one waits for the browser to be quiet."""
    offline_page.add_init_script(CATCH)
    shown = show(fake_results.comparison(), page=offline_page)
    held = offline_page.evaluate(CHOOSE_AND_ECHO, ["gap", "attention"])
    assert held == ["gap", "attention"], "the echo is in the model, and not on the page"
    offline_page.wait_for_function("() => dcvModel.get('state').view === 'gap'")  # what was chosen last is sent
    assert shown.root.locator(".dcv-view").input_value() == "gap"
    ruled = offline_page.evaluate(CHOOSE_AND_ECHO, ["", "contribution"])
    assert ruled == ["contribution", "contribution"], "with nothing unsent the kernel rules"


def test_clicking_a_bar_chooses_its_prompt(show):
    both = fake_results.comparison()
    shown = show(both)
    shown.redraws(lambda: shown.root.locator(".dcv-bar").nth(1).click())
    assert shown.root.locator(".dcv-prompt").input_value() == "grass"
    assert shown.peak() == peak_of(both.dense[0, 1].values)


def test_linked_canvases_move_together_as_far_as_they_have_the_same(show):
    fine, coarse = fake_results.comparison(templates=2), fake_results.comparison(prompts=["grass", "a boat"], cell=32)
    left, right = show([fine, coarse])
    grid = geometry_of(fine).grid
    left.point(6, 9, grid)
    right.wait("n.dataset.cell === '3,4'")
    left.select("prompt", "grass")
    right.wait("n.querySelector('.dcv-prompt').value === 'grass'")
    right.select("prompt", "a boat")
    assert left.root.locator(".dcv-prompt").input_value() == "grass"
    right.select("view", "gap")
    left.wait("n.querySelector('.dcv-view').value === 'gap'")
    right.slide("opacity", 0.25)
    left.wait("n.querySelector('.dcv-opacity').value === '0.25'")
    left.page.mouse.click(*left.point(6, 9, grid))
    right.page.wait_for_function("() => dcvModels[1].get('state').pinned?.join() === '3,4'")


def test_canvases_that_are_not_linked_stay_as_they_are(show):
    left, right = show([fake_results.comparison(), fake_results.comparison()], linked=False)
    before = right.version
    left.select("prompt", "grass")
    assert (right.version, right.root.locator(".dcv-prompt").input_value()) == (before, "a red car")


def test_what_a_user_typed_is_shown_as_text_and_runs_nothing(show, offline_page):
    dialogs = []
    offline_page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    names = [NASTY, "</script><script>alert(1)</script>", "\"' & <b>bold</b>", "مرحبا"]
    both = fake_results.comparison(prompts=names).assign_attrs(image_name=NASTY)
    shown = show(both, title=NASTY, notes=NASTY, page=offline_page)
    assert shown.root.locator(".dcv-name").all_text_contents() == names
    assert offline_page.locator("h1").text_content() == NASTY
    assert offline_page.locator("img, .dcv-canvas b b").count() == 0
    shown.select("prompt", names[1])
    assert shown.root.locator(".dcv-caption b").text_content() == names[1]
    assert dialogs == []


def test_the_policy_of_the_page_stops_scripts_and_requests(show, offline_page):
    show(fake_results.comparison(), page=offline_page)
    offline_page.watch.expect("Content Security Policy|page’s settings blocked")
    outcome = offline_page.evaluate(INTRUDER)
    assert outcome == ["no", "refused"]


def test_locked_controls_are_not_there(show):
    shown = show(fake_results.comparison(templates=2), locked=["template", "threshold", "colours"])
    for name in ("template", "threshold", "colours"):
        assert not shown.root.locator(f".dcv-{name}").is_visible()
    assert shown.root.locator(".dcv-prompt").is_visible()


@pytest.mark.parametrize("width", [420, 760, 1280])
def test_controls_can_be_seen_and_used_and_do_not_overlap(show, open_page, width):
    page = open_page(offline=True)
    page.set_viewport_size({"width": width, "height": 900})
    both = fake_results.comparison(templates=2, layers="vit", prompts=[fake_results.LONG, *fake_results.WRITTEN])
    shown = show(both, page=page, trace=fake_results.trace(both), view="attention")
    wanted = ["view", "layer", "head", "colours", "opacity", "interpolation", "hover", "threshold"]
    boxes = []
    for name in wanted:
        control = shown.root.locator(f".dcv-{name}")
        control.click(trial=True)
        boxes.append(control.bounding_box())
    least = [14 if name in ("interpolation", "hover") else 60 for name in wanted]
    assert all(box["width"] >= width for box, width in zip(boxes, least, strict=True))
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            assert apart or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.engines("chromium")  # Firefox cannot be told a theme
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_image_is_as_sharp_as_the_screen(show, open_page, theme, street):
    page = open_page(offline=True, device_scale_factor=2, color_scheme=theme)
    trace, both = street
    shown = show(both, page=page, trace=trace, title="A taxi and a limousine", notes="The bundled model, one image.")
    box = shown.root.locator(".dcv-image").bounding_box()
    assert shown.pixels().shape[:2] == pytest.approx((2 * box["height"], 2 * box["width"]), abs=1)
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (theme == "light")
    shown.point(6, 5, geometry_of(both).grid)


def test_random_weights_and_provenance_are_said(show):
    shown = show(fake_results.comparison(random_weights=1))
    assert "random weights" in shown.root.locator(".dcv-warning").text_content()
    assert "RN50 · weights random" in shown.root.locator(".dcv-credit").text_content()


def test_maps_without_a_image_are_drawn_too(show):
    maps = fake_results.similarity()
    shown = show(maps)
    assert shown.peak() == peak_of(maps[0, 0].values)


def test_the_absent_baseline_stands_on_the_scale_where_it_belongs(show):
    both = fake_results.comparison()
    shown = show(both)
    baseline = float(both.dense.isel(prompt=np.flatnonzero(both.absent))[0].max())
    mark = shown.root.locator(".dcv-baseline")
    assert mark.text_content() == f"absent {baseline:.3f}"
    strip, box = shown.root.locator(".dcv-strip").bounding_box(), mark.bounding_box()
    share = (baseline - float(both.dense.min())) / float(both.dense.max() - both.dense.min())
    assert box["x"] == pytest.approx(strip["x"] + share * strip["width"], abs=2)


def test_a_reader_is_told_what_the_image_shows(show):
    both = fake_results.comparison()
    shown = show(both)
    label = shown.root.locator(".dcv-image").get_attribute("aria-label")
    assert label == "car.jpg: dense map, a red car. Arrow keys move, Enter pins, Shift with arrow keys draws a box."
    assert shown.root.locator(".dcv-bar[aria-pressed=true]").get_attribute("data-prompt") == "a red car"
    shown.point(2, 3, geometry_of(both).grid)
    heard = shown.root.locator(".dcv-where[aria-live=polite]").text_content()
    assert heard == f"row 2, column 3 · {shown.bars()['a red car']}"
    unnamed = shown.root.evaluate("n => [...n.querySelectorAll('select, input')].filter(c => !c.labels.length).length")
    assert unnamed == 0
