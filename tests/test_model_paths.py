"""Several paths at the front door: the axis that they get, and where one path is due."""

import re
from ast import literal_eval
from dataclasses import replace

import numpy as np
import pytest
import torch

import denseclip_viz as dcv
from denseclip_viz.canvas.payload import pack_result
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.errors import LayerError
from denseclip_viz.maps.tables import compare_table

NAMES = ["value", "vanilla", "value-attention-only"]
PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}."], absent=["a giraffe"])


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def trace(vit, image_file):
    return vit.trace(image_file, path=NAMES)


@pytest.mark.parametrize("geometry", ["native", "whole", "tiles"])
def test_a_list_of_paths_gives_the_dense_features_of_each(model, image_file, geometry):
    together = model.trace(image_file, path=["value", "vanilla"], geometry=geometry)
    assert together.paths == ("value", "vanilla") and together.provenance["path"] == "value, vanilla"
    for name in together.paths:
        alone = model.trace(image_file, path=name, geometry=geometry)
        assert torch.equal(together.with_path(name).dense, alone.dense)
        assert alone.paths == (name,) and alone.with_path(name) is alone
        assert together.with_path(name).provenance == alone.provenance
    assert "2, " in together._repr_html_() or "path, y, x, D" in together._repr_html_()


def test_a_list_of_one_has_the_axis_and_a_name_has_not(vit, image_file):
    assert vit.trace(image_file, path=["vanilla"]).dense.ndim == 4 == vit.trace(image_file, path=NAMES).dense.ndim
    assert vit.trace(image_file, path="vanilla").dense.ndim == 3
    mine = DensePath("mine, my own", mlp=False)
    assert vit.trace(image_file, path=("value", mine)).paths == ("value", "mine, my own")


def test_many_images_get_all_paths(vit, image_file):
    for many in vit.trace_many([image_file] * 3, path=NAMES, batch_size=2):
        assert many.dense.shape[0] == len(NAMES)


@pytest.mark.parametrize("path", [[], (), ["value", "value"], ["value", 3], ["value", "sclap"], {"value": 1}])
def test_lists_that_name_no_paths_or_one_twice_are_refused(vit, image_file, path):
    with pytest.raises(LayerError, match="path"):
        vit.trace(image_file, path=path)


def test_paths_that_resize_positions_in_two_ways_are_refused_at_other_sizes_alone(vit, image_file):
    both = ["value", "value-maskclip"]
    assert vit.trace(image_file, path=both).paths == vit.trace(image_file, path=both, geometry="tiles").paths
    with pytest.raises(LayerError, match="Trace twice"):
        vit.trace(image_file, path=both, geometry="whole")


def test_paths_to_be_traced_apart_are_named_as_they_are_passed(vit, image_file):
    with pytest.raises(LayerError, match="Trace twice") as refused:
        vit.trace(image_file, path=["value", "value-maskclip", "vanilla"], geometry="whole")
    advised = [literal_eval(names) for names in re.findall(r"path=(\[.*?\])", refused.value.fix)]
    assert advised == [["value-maskclip"], ["value", "vanilla"]]
    assert [vit.trace(image_file, path=names, geometry="whole").paths for names in advised] == list(map(tuple, advised))


def test_similarities_have_the_axis(vit, trace, image_file):
    maps = vit.similarity(trace, PROMPTS)
    assert maps.dims == ("path", "template", "prompt", "y", "x") and maps.path.values.tolist() == NAMES
    for name in NAMES:
        alone = vit.similarity(vit.trace(image_file, path=name), PROMPTS)
        np.testing.assert_array_equal(maps.sel(path=name).values, alone.values)


def test_a_comparison_has_it_where_dense_features_count(vit, trace, image_file):
    both = vit.compare(trace, PROMPTS)
    with_axis = {name for name in both.data_vars if "path" in both[name].dims}
    assert {"dense", "crowding", "spearman", "same_peak"} <= with_axis
    assert not {"contribution", "gap", "rest", "gap_rest", "score", "even_score", "attention", "image"} & with_axis
    for name in NAMES:
        alone = vit.compare(trace.with_path(name), PROMPTS)
        for variable in both.data_vars:
            ours = both[variable].sel(path=name) if variable in with_axis else both[variable]
            assert ours.dims == alone[variable].dims
            np.testing.assert_array_equal(ours.values, alone[variable].values)


def test_a_table_has_a_row_for_each_path(vit, trace):
    table, alone = (
        compare_table(vit.compare(trace, PROMPTS)),
        compare_table(vit.compare(trace.with_path("value"), PROMPTS)),
    )
    assert "path" not in alone and table.path.unique().tolist() == NAMES and len(table) == len(NAMES) * len(alone)
    assert table[table.path == "value"].drop(columns="path").equals(alone)


def test_probabilities_do_not_care(vit, trace):
    assert vit.classify(trace, PROMPTS).dims == ("template", "prompt")


def test_where_one_path_is_due_several_are_refused_and_the_fix_works(vit, image_file):
    trace = vit.trace(image_file, path=NAMES, layers=vit.layers_to_record("all"))
    one = trace.with_path("vanilla")
    for call in (
        lambda trace: vit.segment(trace, PROMPTS),
        lambda trace: vit.compare(trace, PROMPTS, layers="all"),
        lambda trace: dcv.plot.compare(vit.compare(trace, PROMPTS)),
    ):
        call(one)
        with pytest.raises(LayerError, match=r"trace.with_path\('value'\)|result.sel\(path='value'\)"):
            call(trace)
    pack_result(vit.similarity(one, PROMPTS), features=one)
    with pytest.raises(LayerError, match=r"A trace of the paths .*trace.with_path\(name\)"):
        pack_result(vit.similarity(one, PROMPTS), features=trace)
    with pytest.raises(LayerError, match="was not traced"):
        trace.with_path("value-maskclip")


def test_a_list_of_one_path_serves_where_one_is_due(vit, image_file):
    trace = vit.trace(image_file, path=["vanilla"])
    labels = vit.segment(trace, PROMPTS).labels
    assert (labels == vit.segment(trace.with_path("vanilla"), PROMPTS).labels).all()


def test_a_grid_shows_paths_in_rows(vit, trace):
    maps = vit.similarity(trace, ["a red car", "grass"])
    assert dcv.plot.grid(maps, rows="path", cols="prompt", image=trace.image) is not None


def features_of(trace, cells=3, channels=5):
    """Another model's features of what the tower saw: any will do."""
    rows, columns = (cells * cell for cell in trace.geometry.grid)
    return np.random.default_rng(0).normal(size=(rows, columns, channels))


def test_a_path_attends_by_features_of_another_model_in_any_resolution_and_type(vit, image_file):
    trace = vit.trace(image_file, geometry="whole")
    features = features_of(trace)
    given = [PATHS["proxyclip"].with_given(each) for each in (features, features.astype(np.float32), 5 * features)]
    maps = [vit.trace(image_file, geometry="whole", path=["value", path]).dense for path in given]
    for each in maps:
        assert torch.equal(each[0], trace.dense) and not torch.allclose(each[1], trace.dense)
        torch.testing.assert_close(each, maps[0], rtol=1e-4, atol=1e-5)


def test_attention_that_was_given_is_followed_head_by_head(vit, image_file):
    alone = vit.trace(image_file, path="value-attention-only")
    grid, heads = alone.geometry.grid, len(alone.attention)
    itself = torch.eye(grid[0] * grid[1]).reshape(*grid, *grid)
    mine = DensePath("mine", ("attention",), residual=False, mlp=False)
    for given in (itself, itself.expand(heads, *itself.shape)):
        torch.testing.assert_close(vit.trace(image_file, path=mine.with_given(given)).dense, alone.dense)
    first = itself.expand(heads, *itself.shape).clone()
    first[1:] = 1 / itself.shape[0] ** 2
    assert not torch.allclose(vit.trace(image_file, path=mine.with_given(first)).dense, alone.dense)


@pytest.mark.parametrize(
    "given",
    [np.ones((4, 4)), np.ones((4, 9, 3)), np.ones((0, 0, 3)), np.full((4, 4, 4), np.nan), np.ones((4, 4, 4, 4))],
)
@pytest.mark.parametrize("kind", ["features", "regions", "attention"])
def test_what_is_not_of_the_image_is_refused_with_the_shape_that_was_due(vit, image_file, given, kind):
    path = DensePath("mine", (kind,), residual=False, mlp=False).with_given(given)
    with pytest.raises(LayerError, match=f"given {kind} .*Expected"):
        vit.trace(image_file, path=path)


def test_features_of_one_image_are_not_taken_for_those_of_another(vit, image_file):
    path = PATHS["proxyclip"].with_given(features_of(vit.trace(image_file)))
    with pytest.raises(LayerError, match="'proxyclip' for several images"):
        list(vit.trace_many([image_file] * 2, path=path, batch_size=1))
    with pytest.raises(LayerError, match="'proxyclip' for tiles"):
        vit.trace(image_file, path=path, geometry="tiles")
    with pytest.raises(LayerError, match="'proxyclip' without what it attends by.*with_given"):
        vit.trace(image_file, path="proxyclip")
    assert "proxyclip" not in vit.paths


@pytest.mark.parametrize("kind", ["resnet", "vit", "query", "mean"])
def test_every_tower_attends_by_what_is_given(load_tiny, image_file, kind):
    """One region of all positions gives every position one vector, and regions of single positions the value path."""
    model = load_tiny(kind)
    value = model.trace(image_file)
    rows, columns = value.geometry.grid
    path = replace(PATHS["textregion"], residual=True)
    single = torch.eye(rows * columns).reshape(-1, rows, columns)
    alone = model.trace(image_file, path=path.with_given(single)).dense
    torch.testing.assert_close(alone, value.dense, rtol=1e-4, atol=1e-5)
    whole = replace(path, residual=False).with_given(torch.ones(1, 8 * rows, 8 * columns))
    one = model.trace(image_file, path=["value", whole]).dense[1]
    torch.testing.assert_close(one, one[:1, :1].expand_as(one), rtol=1e-4, atol=1e-5)
    if kind in ("resnet", "mean"):
        pooled = value.even.sum((0, 1)) if kind == "mean" else value.dense.mean((0, 1))
        pooled = pooled + sum(value.rest.values()) if kind == "mean" else pooled
        torch.testing.assert_close(one[0, 0], pooled, rtol=1e-4, atol=1e-5)
