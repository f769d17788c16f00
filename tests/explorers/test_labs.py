"""The laboratory of templates and the lens on layers, without a browser: what stands on the tiles."""

import asyncio
import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.errors import PromptError
from denseclip_viz.explorers import template_lab as laboratory
from denseclip_viz.explorers.template_lab import ranking

TEMPLATES = ["{}", "a photo of {}.", "an image of {}."]


@pytest.fixture
def lab(load_tiny, image_file):
    mask = np.zeros((120, 180), bool)
    mask[40:90, 60:140] = True
    prompts = dcv.Prompts(["a red taxi", "road"], absent="a whale")
    panel = dcv.template_lab(load_tiny("resnet"), image_file, prompts, TEMPLATES, masks={"a red taxi": mask})
    panel.mask = mask
    yield panel
    panel.close()


def tiles(panel, at=0):
    return panel._spec.below[at]


def section(panel, at=0, number=0):
    return tiles(panel, at)._packed["data"]["sections"][number]


def label(row, prompt="a red taxi"):
    """What a row is called while this prompt is shown."""
    return row["names"][prompt][0]


def shown_value(panel, cell):
    """What a tile shows, as shares of the scale."""
    size = int(np.prod(cell["shape"]))
    return np.frombuffer(tiles(panel)._packed["maps"], np.uint8)[cell["at"] : cell["at"] + size] / 255


def test_templates_stand_best_first_by_what_the_table_says(lab):
    dense = lab.result["dense"].assign_attrs(lab.result.attrs)
    table = dcv.measure.templates_table(dense, {"a red taxi": lab.mask})
    means = table[~table.absent].groupby("template").average_precision.mean()
    rows = [row for row in section(lab)["rows"] if not label(row).startswith("ensemble")]
    expected = [name.format("a red taxi") for name in means.sort_values(ascending=False, kind="stable").index]
    assert [label(row) for row in rows] == expected
    assert [float(row["number"]) for row in rows] == pytest.approx(sorted(means, reverse=True), abs=0.005)


def test_it_opens_with_the_best_template_and_so_does_another_set(lab):
    def best():
        return section(lab)["cells"][0][0]["patch"]["template"]

    assert lab.canvas.state["template"] == best()
    lab.controls.templates.value = "imagenet-7"
    assert lab.canvas.state["template"] == best() and len(section(lab)["rows"]) == 8
    chosen = lab.result["template"].values[3]
    lab.canvas.state = {"template": chosen}
    lab.run()
    assert lab.canvas.state["template"] == chosen  # what was chosen by hand stays


def test_rows_and_tiles_say_the_very_text_that_is_sent_for_the_prompt_that_is_shown(load_tiny, image_file):
    prompts = dcv.Prompts({"a taxi": ["a taxi", "an old cab"], "oak": "oak"}, articles="right")
    panel = dcv.template_lab(load_tiny("resnet"), image_file, prompts, ["itap of a {}.", "a origami {}."])

    def rows(prompt):
        named = (row["names"][prompt] for row in section(panel)["rows"])
        return {name: tip for name, tip in named if "ensemble" not in name}

    assert rows("a taxi") == {
        "itap of a taxi. (and 1 synonym)": "sent: “itap of a taxi.”, “itap of an old cab.”; template “itap of a {}.”",
        "an origami taxi. (and 1 synonym)": "sent: “an origami taxi.”, “an origami old cab.”; template “a origami {}.”",
    }
    assert set(rows("oak")) == {"itap of an oak.", "an origami oak."}
    tips = [cell["tip"].split(":")[0] for row in section(panel)["cells"] for cell in row]
    assert {"“an origami oak.”", "oak · ensemble"} < set(tips)
    panel.close()


def test_of_very_many_templates_the_best_are_shown_and_the_note_says_how_many_there_are(
    load_tiny, image_file, monkeypatch
):
    monkeypatch.setattr(laboratory, "MOST_TILES", 24)
    templates = [f"view {number} of {{}}" for number in range(15)]
    panel = dcv.template_lab(load_tiny("resnet"), image_file, ["a taxi", "grass"], templates)
    shown, (table, by) = section(panel), ranking(panel.result)
    means = table.groupby("template", sort=False)[by].mean().sort_values(ascending=False, kind="stable")
    best = ["ensemble: the mean of 15" if name == "ensemble" else name.format("a taxi") for name in means.index[:12]]
    assert [label(row, "a taxi") for row in shown["rows"]] == best and len(shown["cells"]) == 12
    assert shown["note"].endswith("one image ranks no templates. These are 12 of 16; templates_table has all.")
    panel.close()


def test_a_mask_of_a_prompt_that_is_not_there_is_refused_at_once(load_tiny, image_file):
    mask = np.ones((120, 180), bool)
    with pytest.raises(PromptError, match="A mask of 'a read taxi'.*masks of prompts: 'a red taxi'"):
        dcv.template_lab(load_tiny("resnet"), image_file, "a red taxi", TEMPLATES, masks={"a read taxi": mask})


def test_a_mask_is_found_however_its_accents_are_written(load_tiny, image_file):
    mask = np.zeros((120, 180), bool)
    mask[:60] = True
    panel = dcv.template_lab(load_tiny("resnet"), image_file, "un caf\u00e9", TEMPLATES, masks={"un cafe\u0301": mask})
    table, by = ranking(panel.result, {"un cafe\u0301": mask})
    assert by == "average_precision" and table[by].notna().all()


def test_without_masks_they_are_ordered_by_the_absent_baseline(lab):
    table, by = ranking(lab.result)
    assert (by, len(table)) == ("margin_absent", (len(TEMPLATES) + 1) * 3)


def test_every_tile_has_its_own_map_on_one_scale_and_sets_what_it_shows(lab):
    dense = lab.result["dense"].values
    every = np.concatenate([dense, dense.mean(0, keepdims=True)])
    names, low, high = [*TEMPLATES, "ensemble"], every.min(), every.max()
    seen = set()
    for row in section(lab)["cells"]:
        for at, cell in enumerate(row):
            values = every[names.index(cell["patch"]["template"]), at].ravel()
            np.testing.assert_allclose(shown_value(lab, cell), (values - low) / (high - low), atol=0.6 / 255)
            seen.add((cell["patch"]["prompt"], cell["patch"]["template"]))
    assert len(seen) == 12
    lab.move_to({"prompt": "road", "template": "ensemble", "view": "dense", "layer": "output"})
    assert [lab.canvas.state[name] for name in ("prompt", "template")] == ["road", "ensemble"]


def test_words_are_those_of_the_prompt_that_the_canvas_shows(lab):
    found = dcv.measure.word_attribution(lab.model, lab.trace, "a red taxi", ["{}"], gradient=False)
    items = section(lab, at=1)["items"]
    assert [item["label"] for item in items] == ["a", "red", "taxi"]
    assert [item["value"] for item in items] == pytest.approx(found["peak_change"].values[0])
    lab.canvas.state = {"prompt": "road"}
    assert (section(lab, at=1)["items"], "one word" in section(lab, at=1)["note"]) == ([], True)


def test_bars_of_the_prompt_before_do_not_come_over_those_of_a_single_word(lab, monkeypatch):
    begun, go_on, real = threading.Event(), threading.Event(), laboratory.word_attribution

    def slow(*args, **options):
        begun.set()
        go_on.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(laboratory, "word_attribution", slow)

    async def steps():
        lab.canvas.state = {"template": TEMPLATES[1]}
        while not begun.is_set():
            await asyncio.sleep(0.002)
        late = lab.aside._running
        lab.canvas.state = {"prompt": "road"}
        go_on.set()
        while not late.done():
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.01)

    asyncio.run(steps())
    assert (section(lab, at=1)["items"], "one word" in section(lab, at=1)["note"]) == ([], True)


def test_a_prompt_that_is_typed_as_absent_too_is_refused(lab):
    lab.controls.prompts.value = "a whale"
    lab.controls.run.click()
    assert (lab.status.kind, "absent prompt 1 is 'a whale'" in lab.status.text) == ("error", True)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_the_lens_has_a_tile_for_each_layer_and_head_and_a_curve(load_tiny, image_file, kind):
    model = load_tiny(kind)
    panel = dcv.layer_lens(model, image_file, dcv.Prompts(["a taxi", "a road"], ["{}", "with {}"]))
    layers, heads = section(panel), section(panel, number=1)
    names = [*model.layers, "output"]
    assert [column["label"] for column in layers["columns"]] == names
    assert [cell["patch"]["layer"] for cell in layers["cells"][0]] == names
    assert len(heads["columns"]) == panel.result.sizes["head"] + 1
    assert all(len(curve["values"]) == len(names) for curve in layers["curves"])
    panel.move_to(layers["cells"][0][1]["patch"])
    assert panel.canvas.state["layer"] == names[1]
    panel.canvas.state = {"prompt": "a road", "template": "ensemble"}
    assert "a road" in section(panel)["title"]
    panel.close()


def test_the_still_of_each_kind_of_explorer_shows_what_that_kind_is_for(lab, load_tiny, image_file):
    stills = [lab._repr_mimebundle_()["image/png"]]
    for opened in (dcv.layer_lens, dcv.explore):
        panel = opened(load_tiny("resnet"), image_file, ["a red taxi", "road"])
        stills.append(panel._repr_mimebundle_()["image/png"])
        panel.close()
    grid, layered, single = (Image.open(io.BytesIO(base64.b64decode(still))).size for still in stills)
    assert len({grid, layered, single}) == 3 and min(grid[1], layered[0]) > max(single)
