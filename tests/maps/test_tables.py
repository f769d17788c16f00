"""Tables say the same numbers as the results, one row at a time."""

import numpy as np
import pandas as pd
import pytest

import denseclip_viz as dcv
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.errors import LayerError, PromptError
from denseclip_viz.maps.gradients import gradient_maps
from denseclip_viz.maps.tables import classify_table, compare_table, layers_table, segment_table

PROMPTS = dcv.Prompts(["a red car", "grass"], ["a photo of {}.", "{}"], absent=["a giraffe"])
SOURCE = {"image", "model", "weights", "weights_hash", "random_weights"}


def rows(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def test_a_comparison_has_a_row_for_each_template_and_prompt(model, image_file):
    both = model.compare(image_file, PROMPTS)
    table = compare_table(both)
    assert len(table) == 6 and set(table.columns) > SOURCE
    for template in both.template.values:
        for prompt in both.prompt.values:
            (row,) = rows(table, template=template, prompt=prompt).to_dict("records")
            one = both.sel(template=template, prompt=prompt)
            peak = one.dense.argmax(("y", "x"))
            assert row["score"] == pytest.approx(one.score.item())
            assert row["dense_peak"] == pytest.approx(one.dense.max().item())
            assert row["crowding"] == pytest.approx(row["dense_peak"] - row["score"], abs=1e-6)
            assert (row["peak_y"], row["peak_x"]) == (one.y[peak["y"]].item(), one.x[peak["x"]].item())
            assert row["absent"] == one.absent.item() and row["same_peak"] == one.same_peak.item()


def test_the_order_of_axes_says_nothing(load_tiny, image_file):
    model = load_tiny("vit")
    both = model.compare(model.trace(image_file, path=["value", "vanilla"]), PROMPTS)
    turned = both.transpose("x", "prompt", "y", "template", "path", ...)
    pd.testing.assert_frame_equal(compare_table(turned), compare_table(both))
    one = both.isel(path=0)
    pd.testing.assert_frame_equal(compare_table(one.transpose("prompt", ...)), compare_table(one))


@pytest.fixture(scope="module")
def results(load_tiny, image_file):
    model = load_tiny("vit")
    calls = {"compare": model.compare, "segment": model.segment, "classify": model.classify}
    some = {name: call(image_file, PROMPTS) for name, call in calls.items()}
    return some | {"layers": model.compare(image_file, PROMPTS, layers="all"), "maps": some["compare"].dense, "none": 3}


TABLES = {"compare": compare_table, "segment": segment_table, "classify": classify_table, "layers": layers_table}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_another_result_is_refused_with_what_was_expected(results, table):
    takes = {"compare": {"compare", "layers"}}.get(table, {table})
    for other in results.keys() - takes:
        with pytest.raises(
            LayerError, match=f"without .* Expected what model.{'compare' if table == 'layers' else table}"
        ):
            TABLES[table](results[other])
    for name in takes:
        assert len(TABLES[table](results[name]))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_a_result_that_lost_an_axis_says_how_to_pick(results, table):
    axis = "label" if table == "segment" else "template"
    with pytest.raises(PromptError, match=rf"without the axis {axis}.*result.isel\({axis}=\[0\]\)"):
        TABLES[table](results[table].isel({axis: 0}))


def test_contributions_and_rest_of_a_row_sum_to_its_score(model, image_file):
    table = compare_table(model.compare(image_file, PROMPTS))
    parts = [name for name in table if name == "contributions" or name.startswith("rest: ")]
    assert len(parts) > 1
    np.testing.assert_allclose(table[parts].sum(axis=1), table["score"], atol=1e-6)


def test_a_segmentation_counts_each_seen_pixel_once(model, image_file):
    result = model.segment(image_file, PROMPTS, background=["grass"])
    table = segment_table(result)
    assert table["label"].tolist() == ["(background)", "a red car", "grass"]
    assert set(table["cosine_cut"]) == {result.attrs["cosine_cut"]}
    seen = np.isfinite(result.probability.values)
    assert table["pixels"].sum() == seen.sum() < seen.size  # the native crop does not see all of it
    assert table["share"].sum() == pytest.approx(1) and rows(table, label="grass")["pixels"].item() == 0
    for index, name in enumerate(result.label.values):
        assert rows(table, label=name)["pixels"].item() == (result.labels == index).sum()


def test_a_segmentation_where_nothing_was_kept_is_all_background(model, image_file):
    result = model.segment(image_file, ["a cat", "grass"], background=["a cat", "grass"], geometry="whole")
    table = segment_table(result)
    assert table["pixels"].tolist() == [120 * 180, 0, 0]


def test_probabilities_are_listed_from_the_most_likely(model, image_file):
    shares = model.classify(image_file, PROMPTS)
    table = classify_table(shares)
    assert table["template"].unique().tolist() == ["a photo of {}.", "{}"] == shares.template.values.tolist()
    for template in shares.template.values:
        some = rows(table, template=template)
        assert some["softmax_share"].is_monotonic_decreasing and some["softmax_share"].sum() == pytest.approx(1)
        assert some["prompt"].iloc[0] == shares.prompt.values[shares.sel(template=template).argmax("prompt").item()]


def test_layers_of_a_vit_have_scores_and_agreement(load_tiny, image_file):
    both = load_tiny("vit").compare(image_file, PROMPTS, layers="all")
    table = layers_table(both)
    assert len(table) == 3 * 2 * 3 and table["layer"].unique().tolist() == ["blocks.0", "blocks.1", "blocks.2"]
    (row,) = rows(table, layer="blocks.1", template="{}", prompt="grass").to_dict("records")
    one = both.sel(layer="blocks.1", template="{}", prompt="grass")
    assert row["score"] == pytest.approx(one.layer_score.item())
    assert row["dense_peak"] == pytest.approx(one.layer_dense.max().item())
    assert row["agreement"] == pytest.approx(both.layer_agreement.sel(layer="blocks.1").item())


def test_layers_of_a_resnet_sum_gradients_over_their_own_cells(load_tiny, image_file):
    model = load_tiny("resnet")
    trace = model.trace(image_file)
    table = layers_table(model.compare(trace, "grass", layers=["stem", "layer4"]))
    assert table["layer"].tolist() == ["stem", "layer4"]
    vectors = model.texts.encode("grass")
    maps = gradient_maps(model.tower, trace.pixels, vectors, layers=["stem", "layer4"], path=PATHS["value"])
    for index, kind in enumerate(("global", "dense")):
        sums = [maps[name][index].sum().item() for name in ("stem", "layer4")]
        np.testing.assert_allclose(table[f"{kind}_gradient_x_activation"], sums, rtol=1e-4)


@pytest.mark.parametrize("pretrained", [None, "random"])
def test_every_table_says_where_it_comes_from_and_whether_the_weights_are_random(load_tiny, image_file, pretrained):
    model = load_tiny("vit", pretrained=pretrained)
    tables = [
        compare_table(model.compare(image_file, PROMPTS)),
        segment_table(model.segment(image_file, PROMPTS)),
        classify_table(model.classify(image_file, PROMPTS)),
        layers_table(model.compare(image_file, PROMPTS, layers="blocks.1")),
    ]
    for table in tables:
        assert table.columns[0] == "image" and set(table["image"]) == {"street.jpg"}
        assert set(table["weights_hash"]) == {model.provenance["weights_hash"]}
        assert table["random_weights"].tolist() == [pretrained == "random"] * len(table)


def test_a_grid_of_one_cell_and_one_prompt_make_a_table(load_tiny):
    trace = load_tiny("resnet").trace(np.zeros((32, 32, 3), np.uint8), geometry=dcv.Whole(short=32))
    assert trace.geometry.grid == (1, 1)
    table = compare_table(load_tiny("resnet").compare(trace, "grass"))
    assert len(table) == 1 and table["peak_y"].item() == 15.5 and np.isnan(table["spearman"].item())
