"""What the browser gets: the numbers print as NumPy's do, lie where the geometry says, and fit into a limit."""

import io
import itertools
import json
from dataclasses import replace

import fake_results
import matplotlib
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from denseclip_viz.canvas.encoding import printed_decimals, quantize
from denseclip_viz.canvas.map_stacks import stacks_of
from denseclip_viz.canvas.payload import PARTS, pack_result
from denseclip_viz.canvas.state import DIVERGING, SEQUENTIAL
from denseclip_viz.errors import GeometryError, LayerError, OutputError
from denseclip_viz.geometry import Geometry

floats = st.floats(-30, 30, width=32)
narrow = st.floats(-0.40234375, 0.40234375, width=32)


def numbers_of(shown, stack):
    """Unpack by hand, as the meta says."""
    numbers = np.frombuffer(shown.buffers[stack["buffer"]], "<u2").astype(float)
    shape = (*stack["sizes"], stack["grid"]["rows"], stack["grid"]["columns"])
    return ((numbers + stack["first"]) / stack["perUnit"]).reshape(shape)


def stack_named(shown, view, layer="output", axes=("template", "prompt")):
    return next(
        one for one in shown.meta["stacks"] if (one["view"], one["layer"], tuple(one["axes"])) == (view, layer, axes)
    )


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=floats) | arrays.arrays(np.float32, 7, elements=narrow))
def test_a_value_prints_the_same_after_packing(values):
    numbers = quantize(values)
    printed = [f"{value:.{numbers.decimals}f}" for value in values.astype(float)]
    for before, after, value in zip(printed, numbers.values(), values.astype(float), strict=True):
        tie = abs(value) * 10**numbers.decimals % 1 == 0.5  # half of a last decimal prints either way
        same = f"{after:.{numbers.decimals}f}" == before
        assert same or tie or float(before) == 0 == float(f"{after:.{numbers.decimals}f}")


@given(arrays.arrays(np.float32, st.integers(2, 40), elements=floats))
def test_packing_keeps_the_order_and_loses_at_most_half_a_step(values):
    numbers = quantize(values)
    after = numbers.values()
    assert np.abs(after - values.astype(float)).max() <= 0.5001 / numbers.per_unit
    assert (np.diff(after[np.argsort(values, kind="stable")]) >= 0).all()


def test_what_is_not_there_stays_so_when_packed():
    assert np.isnan(quantize([0.1, np.nan, 0.3]).values()).tolist() == [False, True, False]
    assert np.isnan(quantize([np.nan]).values()).all()


def test_small_numbers_print_with_more_decimals():
    assert [printed_decimals(reach) for reach in (3.0, 0.4, 0.09, 0.004)] == [3, 3, 4, 5]


def test_maps_arrive_as_they_are_and_the_mean_over_templates_comes_last():
    both = fake_results.comparison(templates=3)
    shown = pack_result(both)
    for name in ("dense", "contribution", "gap"):
        stack = stack_named(shown, name)
        values = numbers_of(shown, stack)
        np.testing.assert_allclose(values[:-1], both[name], atol=0.51 / stack["perUnit"])
        np.testing.assert_allclose(values[-1], both[name].mean("template"), atol=0.51 / stack["perUnit"])
    heads = stack_named(shown, "attention", axes=("head",))
    np.testing.assert_allclose(numbers_of(shown, heads), both.attention_heads, atol=0.51 / heads["perUnit"])


@pytest.mark.parametrize("result", [fake_results.comparison(templates=2, layers="vit"), fake_results.segmentation()])
def test_axes_go_by_their_names_and_not_by_their_order(result):
    shown, turned = pack_result(result), pack_result(result.transpose(*reversed(list(result.dims))))
    assert shown.buffers == turned.buffers and shown.meta == turned.meta


def test_a_result_of_nothing_is_refused_by_what_is_not_there():
    with pytest.raises(LayerError, match="without any prompt"):
        pack_result(fake_results.comparison().isel(prompt=[]))


def test_one_scale_holds_for_all_prompts_templates_and_cosine_layers():
    both = fake_results.comparison(templates=2, layers="vit")
    shown = pack_result(both)
    every = np.concatenate([both.dense.to_numpy().ravel(), both.layer_dense.to_numpy().ravel()])
    dense = [stack for stack in shown.meta["stacks"] if stack["view"] == "dense"]
    assert len(dense) == 13
    assert {(stack["low"], stack["high"]) for stack in dense} == {(every.min(), every.max())}
    gap = stack_named(shown, "gap")
    assert gap["low"] == -gap["high"] == -float(abs(both.gap).max())
    assert stack_named(shown, "attention", axes=())["low"] == 0


def test_the_absent_baseline_is_the_highest_cell_of_an_absent_prompt_in_each_template():
    both = fake_results.comparison(templates=2)
    absent = both.dense.isel(prompt=np.flatnonzero(both.absent))
    expected = [float(absent.isel(template=i).max()) for i in (0, 1)] + [float(absent.mean("template").max())]
    assert stack_named(pack_result(both), "dense")["baseline"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mode", ["native", "whole", "tiles"])
def test_grids_lie_where_the_geometry_says(mode):
    both = fake_results.comparison(mode=mode)
    where, shown = Geometry.from_json(both.attrs["geometry"]), pack_result(both)
    grid = stack_named(shown, "dense")["grid"]
    assert (grid["rows"], grid["columns"]) == where.grid
    assert [grid["top"], grid["bottom"]] == pytest.approx(where.edges(0)[[0, -1]].tolist())
    assert [grid["left"], grid["right"]] == pytest.approx(where.edges(1)[[0, -1]].tolist())
    assert shown.meta["visible"] == pytest.approx(list(where.visible))
    assert shown.meta["size"] == list(where.image)


def test_layers_that_see_beside_their_middle_lie_beside():
    both = fake_results.comparison(layers="resnet")
    both["layer_shift"] = ("layer", "axis"), np.tile([3.0, -2.0], (5, 1))
    straight = stack_named(pack_result(both.drop_vars("layer_shift")), "dense", "layer2")["grid"]
    beside = stack_named(pack_result(both), "dense", "layer2")["grid"]
    where = Geometry.from_json(both.attrs["geometry"])
    per_pixel = [size / resized for size, resized in zip(where.image, where.resized, strict=True)]
    assert beside["top"] - straight["top"] == pytest.approx(3 * per_pixel[0])
    assert beside["right"] - straight["right"] == pytest.approx(-2 * per_pixel[1])


def test_a_coarse_layer_gets_its_own_cells_back():
    both = fake_results.comparison(layers="resnet")
    fine = both["layer_dense_gradient"].copy()
    fine[4] = np.repeat(np.repeat(fine[4, ..., ::4, ::4], 4, -2), 4, -1)
    cells = fine.sizes["fine_y"] * fine.sizes["fine_x"]
    both = both.assign(layer_dense_gradient=fine, layer_cells=("layer", [cells, cells, cells, cells, cells // 16]))
    shown = pack_result(both)
    coarse = stack_named(shown, "dense", "layer4")
    assert (coarse["grid"]["rows"], coarse["grid"]["columns"]) == (fine.sizes["fine_y"] // 4, fine.sizes["fine_x"] // 4)
    np.testing.assert_allclose(numbers_of(shown, coarse)[0], fine[4, 0, :, ::4, ::4], atol=0.51 / coarse["perUnit"])


def test_a_layer_that_says_next_to_nothing_has_a_scale_on_which_it_looks_empty():
    both = fake_results.comparison(layers="resnet")
    both["layer_dense_gradient"][{"layer": -1}] = both.layer_dense_gradient.isel(layer=-1) * 1e-4
    noise = float(np.abs(both.layer_dense_gradient.isel(layer=-1)).max())
    assert stack_named(pack_result(both), "dense", str(both.layer.values[-1]))["high"] > 20 * noise


def test_colours_are_those_of_matplotlib():
    tables = np.frombuffer(pack_result(fake_results.comparison()).buffers["colours"], np.uint8).reshape(-1, 256, 3)
    for name, table in zip((*SEQUENTIAL, *DIVERGING), tables, strict=True):
        expected = matplotlib.colormaps[name](np.linspace(0, 1, 256), bytes=True)[:, :3]
        assert (table == expected).all(), name


def test_the_image_is_sent_once_and_looks_as_it_does():
    both = fake_results.comparison(templates=2)
    shown = pack_result(both)
    image = np.asarray(Image.open(io.BytesIO(shown.buffers["image"])).convert("RGB"), dtype=int)
    assert image.shape == both.image.shape
    assert np.abs(image - both.image.to_numpy()).mean() < 2


def test_a_noisy_image_is_sent_as_a_small_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (300, 1500, 3), dtype=np.uint8)
    both = fake_results.comparison().drop_vars("image").assign(image=(("row", "column", "rgb"), noise))
    shown = pack_result(both)
    assert shown.meta["image"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.buffers["image"])).size == (1024, 205)


def test_similarities_take_their_image_from_the_trace():
    maps = fake_results.similarity()
    assert pack_result(maps).meta["image"] is None
    assert pack_result(maps, features=fake_results.trace(maps)).meta["image"] == "image/png"


def test_a_single_template_and_prompt_need_no_axes():
    one = fake_results.similarity().isel(template=0, prompt=1)
    assert pack_result(one).choices["prompt"] == ["grass"]
    assert numbers_of(pack_result(one), pack_result(one).meta["stacks"][0]).shape == (1, 1, *one.shape)


def test_cells_are_sent_as_unit_vectors():
    both = fake_results.comparison()
    trace = fake_results.trace(both)
    shown = pack_result(both, features=trace)
    cells = np.frombuffer(shown.buffers["cells"], "<f2").reshape(-1, 6).astype(float)
    vectors = trace.dense.flatten(0, 1).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(cells @ cells.T - vectors @ vectors.T).max() < 2e-3
    assert -1 <= shown.meta["features"]["low"] < 1


def test_labels_survive_as_colours_of_a_image():
    segmentation = fake_results.segmentation(labels=tuple(f"label {i}" for i in range(300)))
    segmentation["labels"][0, :3] = [299, 256, -1]
    shown = pack_result(segmentation)
    colours = np.asarray(Image.open(io.BytesIO(shown.buffers["labels"])), dtype=int)
    assert (colours[..., 0] * 256 + colours[..., 1] - 1 == segmentation.labels.to_numpy()).all()
    assert np.abs(colours[..., 2] / 255 - segmentation.probability.to_numpy()).max() < 1 / 255
    assert shown.choices["view"] == ["segments"]


def test_names_survive_json_whatever_they_hold():
    names = ["</script>", "\u2028 ' \" \\", "🐱 고양이"]
    both = fake_results.comparison(prompts=names)
    assert json.loads(json.dumps(pack_result(both).meta))["choices"]["prompt"] == names


@pytest.mark.parametrize(
    "result",
    [None, "street.jpg", xr.Dataset(), xr.DataArray([1.0, 2.0], dims="x"), fake_results.comparison()[["image"]]],
    ids=["None", "a path", "an empty Dataset", "a line", "only an image"],
)
def test_what_is_no_result_is_refused_by_its_kind(result):
    with pytest.raises(LayerError, match=r"A canvas cannot show .*Expected what model.compare"):
        pack_result(result)


def test_a_trace_of_another_grid_is_refused():
    both, other = fake_results.comparison(), fake_results.comparison(cell=32)
    with pytest.raises(GeometryError, match="for a result with the grid"):
        pack_result(both, features=fake_results.trace(other))


def test_too_much_is_refused_with_what_to_leave_out():
    both = fake_results.comparison(layers="resnet", templates=3)
    with pytest.raises(
        OutputError, match=r"takes \d+\.\d MB.*at most 0.3 MB.*layers \d+\.\d MB.*leave_out=\['layers'\]"
    ):
        pack_result(both, limit=0.3)
    assert pack_result(both, leave_out=["layers"], limit=0.3).megabytes < 0.3


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_left_out(part):
    both = fake_results.attributed(layers="vit")
    whole = pack_result(both, features=fake_results.trace(both))
    without = pack_result(both, features=fake_results.trace(both), leave_out=[part])
    assert without.megabytes < whole.megabytes
    fewer = sum(stack.part == part for stack in stacks_of(both))
    assert len(without.meta["stacks"]) == len(whole.meta["stacks"]) - fewer


@pytest.mark.parametrize("names", ["layers", ["layer"]])
def test_a_part_that_is_not_there_cannot_be_left_out(names):
    with pytest.raises(OutputError, match="leave_out="):
        pack_result(fake_results.comparison(), leave_out=names)


def along_paths(**options):
    """A comparison whose second path is lower everywhere, so that it has a baseline of its own."""
    both = fake_results.comparison(**options)
    paths = xr.DataArray(["value", "sclip"], dims="path")
    return both.assign(dense=xr.concat([both.dense, both.dense - 0.1], dim=paths))


def test_each_path_has_its_maps_and_its_baseline_on_one_scale():
    both = along_paths(templates=2, layers="vit")
    shown = pack_result(both)
    assert shown.choices["path"] == ["value", "sclip"] and shown.meta["start"]["path"] == "value"
    assert len([stack for stack in shown.meta["stacks"] if stack["view"] == "dense"]) == 1 + 12
    for path, template, prompt, view in itertools.product(
        ["value", "sclip"], both.template.values, both.prompt.values, ["dense", "segments"]
    ):
        own = both.dense.sel(path=path, template=template)
        state = {**shown.meta["start"], "path": path, "template": template, "prompt": prompt, "view": view}
        stack, at = shown.select(state)
        maps = numbers_of(shown, stack).reshape(-1, *own.shape[1:])
        assert np.allclose(maps[at], own.sel(prompt=prompt), atol=1e-4)
        assert shown.baseline(state) == pytest.approx(float(own[own.absent.values].max()))
    ensemble = {**shown.meta["start"], "path": "sclip", "template": "ensemble"}
    stack, at = shown.select(ensemble)
    assert at == len(both.prompt) * (3 + 2)


def test_one_path_leaves_no_choice_and_the_other_views_hang_on_none():
    assert pack_result(fake_results.comparison()).choices["path"] == [""]
    picked = pack_result(along_paths().sel(path="sclip"))
    assert picked.choices["path"] == ["sclip"]
    shown = pack_result(along_paths())
    for view in ("contribution", "gap", "attention"):
        states = [{**shown.meta["start"], "view": view, "path": path} for path in ("value", "sclip")]
        assert shown.select(states[0]) == shown.select(states[1])


def test_each_attribution_has_its_maps_on_a_scale_of_its_own():
    both = fake_results.attributed(templates=2)
    shown = pack_result(both)
    assert shown.choices["method"] == ["grad-cam", "rollout"] and "attribution" in shown.choices["view"]
    for method, template, prompt in itertools.product(both.candidate.values, both.template.values, both.prompt.values):
        own = both.attribution.sel(candidate=method, template=template)
        state = {**shown.meta["start"], "view": "attribution", "method": method, "template": template, "prompt": prompt}
        stack, at = shown.select(state)
        maps, reach = numbers_of(shown, stack).reshape(-1, *own.shape[1:]), float(abs(both.attribution).max())
        assert np.allclose(maps[at], own.sel(prompt=prompt), atol=1e-4 * reach)
        assert stack["title"] == f"{method}: what made the score?" and stack["diverging"] == (method == "rollout")
        assert stack["unit"] == {"grad-cam": "cosine", "rollout": "share"}[method]
        assert stack["high"] == pytest.approx(float(abs(both.attribution.sel(candidate=method)).max()))
        assert shown.baseline(state) == pytest.approx(float(own[own.absent.values].max()))


def test_attributions_are_shown_by_themselves_too_and_compared_on_scales_of_their_method():
    maps = fake_results.attributed().attribution.assign_attrs(fake_results.comparison().attrs)
    shown = pack_result(maps)
    assert shown.choices["view"] == ["attribution"] and shown.meta["start"]["method"] == "grad-cam"
    wider = shown.on_scales([pack_result(maps * 2).scales])
    assert [stack["high"] for stack in wider.meta["stacks"]] == [2 * stack["high"] for stack in shown.meta["stacks"]]


@pytest.mark.parametrize("axis", ["y", "prompt"])
def test_attributions_of_other_positions_or_prompts_are_refused(axis):
    both = fake_results.attributed()
    other = both.attribution.isel({axis: slice(1, None)})
    with pytest.raises(LayerError, match="Attributions of other positions, templates or prompts"):
        pack_result(both.drop_vars("attribution").assign(attribution=other))


def test_cells_come_along_every_path_of_the_trace():
    result = along_paths()
    one = fake_results.trace(result)
    two = replace(one, dense=torch.stack([one.dense, -2 * one.dense]), paths=("value", "sclip"))
    shown = pack_result(result, features=two)
    cells = np.frombuffer(shown.buffers["cells"], "<f2").reshape(2, *one.dense.shape)
    assert np.allclose(cells[0], -cells[1]) and np.allclose(np.linalg.norm(cells.astype(float), axis=-1), 1, atol=2e-3)
    for wrong in (one, replace(two, paths=("sclip", "value"))):
        with pytest.raises(LayerError, match="trace of the paths"):
            pack_result(result, features=wrong)
    with pytest.raises(LayerError, match="for a result of one"):
        pack_result(fake_results.comparison(), features=two)


def test_a_table_names_the_maps_of_every_layer_view_and_head():
    meta = pack_result(fake_results.comparison(templates=2, layers="resnet")).meta
    assert meta["choices"]["head"][0] == "mean"
    for layer, views in meta["maps"].items():
        for view, entries in views.items():
            assert len(entries) == len(meta["choices"].get(meta["pickedBy"].get(view), [""]))
            named = [meta["stacks"][number] for number, _ in entries]
            assert {stack["view"] for stack in named} == {"dense" if view in ("segments", "masks") else view}
            assert {stack["layer"] for stack in named} == {layer}
    attention = [(meta["stacks"][number]["axes"], first) for number, first in meta["maps"]["output"]["attention"]]
    assert attention == [([], 0), *((["head"], head) for head in range(8))]
    assert "segments" in meta["maps"]["output"] and "segments" not in meta["maps"]["layer2"]  # no cosines there
    assert meta["start"]["view"] == "dense" and meta["look"]["behind"] == 180


@pytest.mark.parametrize("picked", [{"prompt": 1}, {"template": 0}, {"prompt": 1, "template": 0}])
def test_a_comparison_of_one_prompt_or_template_is_packed_as_if_it_were_picked_by_a_list(picked):
    both = fake_results.comparison(layers="vit")
    by_list = pack_result(both.isel({axis: [at] for axis, at in picked.items()}))
    assert pack_result(both.isel(picked)).buffers == by_list.buffers
