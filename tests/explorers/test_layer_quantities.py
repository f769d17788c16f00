"""Layers name what they draw and on which scale, and two quantities are never taken for one."""

import pytest

import denseclip_viz as dcv


@pytest.fixture(params=["resnet", "vit"])
def lens(request, load_tiny, image_file):
    panel = dcv.layer_lens(load_tiny(request.param), image_file, ["a taxi", "a road"])
    panel.by_gradients = request.param == "resnet"
    yield panel
    panel.close()


def layers(panel):
    return panel._spec.below[0]._packed["data"]["sections"][0]


def test_an_inner_layer_names_its_quantity_on_the_canvas(lens):
    for stack in lens.canvas._payload["meta"]["stacks"]:
        if stack["layer"] != "output":
            assert stack["unit"] == ("gradient × activation" if lens.by_gradients else "cosine")
            live = "where does the text live?"
            titles = {"dense": "what made the mean dense cosine?", "contribution": "what made the score?"}
            assert stack["title"] == (titles[stack["view"]] if lens.by_gradients else live)


def test_the_lens_names_the_quantity_and_each_scale(lens):
    shown = layers(lens)
    assert shown["title"].endswith("gradient × activation" if lens.by_gradients else "cosine")
    meta = lens.canvas._payload["meta"]["stacks"]
    for row in shown["cells"]:
        for cell in filter(None, row):
            stack = next(s for s in meta if (s["layer"], s["view"]) == (cell["patch"]["layer"], cell["patch"]["view"]))
            assert cell["note"].endswith(stack["ticks"][2])
            assert stack["unit"] in cell["tip"] and cell["note"] in cell["tip"]


def test_the_output_stands_apart_where_its_quantity_is_another(lens):
    assert layers(lens)["apart"] == int(lens.by_gradients)
    assert ("contributions" in layers(lens)["note"]) == lens.by_gradients


def test_the_lens_says_what_its_rows_draw_and_the_heads_on_which_scale_they_lie(lens):
    rows, note = layers(lens)["rows"], layers(lens)["note"]
    live, score = "where does the text live?", "what made the score?"
    expected = (
        ["Dense: what made the mean dense cosine?", f"Global: {score}"] if lens.by_gradients else [f"Dense: {live}"]
    )
    assert [row["names"][""][1] for row in rows] == expected and all(line in note for line in expected)
    heads = lens._spec.below[0]._packed["data"]["sections"][1]
    weights = [one for one in lens.canvas._payload["meta"]["stacks"] if one["view"] == "attention"]
    assert len(weights) == 2 and all(
        f"scale of {one['ticks'][0]} to {one['ticks'][2]}" in heads["note"] for one in weights
    )
