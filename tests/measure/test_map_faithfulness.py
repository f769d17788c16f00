"""Which map to believe: the truth wins, its inverse loses, and a placebo is called one."""

import warnings

import numpy as np
import pytest
import torch
from state import fingerprint

import denseclip_viz as dcv
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.geometry import downsample_mask
from denseclip_viz.measure.changed_inputs import embed_inputs, redrawn, shifted, trace_inputs
from denseclip_viz.measure.map_methods import MapMethods, method_names

WORDS = ("a large taxi on a road", "a large owl on grass", "a large taxi left of a large owl on sand")
SCENES = [dcv.toyworld.scene(words, 96) for words in WORDS]
PLACES = {SCENES[0].classes.index(name): name for name in ("taxi", "owl", "castle", "fish", "cactus", "king", "bus")}
WHOLE = dcv.Whole(short=96)
METHODS = ["value", "contribution", "attention", "grad-cam", "random", "centre"]


def held(model, scenes=SCENES, methods=METHODS, **options):
    options = {"prompts": list(PLACES.values()), "steps": 4, "geometry": WHOLE, "progress": False} | options
    return dcv.measure.faithfulness(model, scenes, methods, batch_size=16, **options)


@pytest.fixture(scope="module")
def vit():
    return dcv.load("bundled-vit", device="cpu")


@pytest.fixture(scope="module")
def result(vit):
    vectors = vit.texts.encode(dcv.Prompts(PLACES.values()))[0]
    labels = {np.asarray(scene.image).tobytes(): scene.labels() for scene in SCENES}

    def truth(_, trace, asked):
        there, places = labels[trace.image.tobytes()], list(PLACES)
        classes = [places[at] for at in (asked @ vectors.T.to(asked.dtype)).argmax(-1)]
        return np.stack([downsample_mask(there == at, trace.geometry) for at in classes])

    def inverse(model, trace, asked):
        return 1 - truth(model, trace, asked)

    return held(vit, methods=[*METHODS, truth, inverse])


def of(result, column):
    return result["mean"].sel(column=column).to_series()


@pytest.mark.parametrize("column", ["deletion_noise", "insertion_noise", "pointing", "energy", "right_object"])
def test_the_mask_itself_beats_placebos_and_its_inverse_is_the_worst_map(result, column):
    """A map may beat the mask where pixels change: a model may look at less than the whole thing, or beside it."""
    means = of(result, column) * (1 if result.better.sel(column=column) == "higher" else -1)
    assert (means["truth"] > means[["random", "centre", "inverse"]]).all()
    assert means["inverse"] == means.min()
    assert column != "pointing" or means["truth"] == 1


def test_the_mask_tells_what_is_there_from_what_is_not(result):
    assert of(result, "absent_peak")["truth"] == 1 == of(result, "absent_mean")["truth"]
    assert of(result, "absent_peak")["attention"] == 0.5 == of(result, "absent_mean")["centre"]
    assert of(result, "absent_peak")["value"] > 0.9


def test_maps_that_were_learned_collapse_with_random_weights_and_placebos_do_not(result):
    weights, texts = of(result, "random_weights"), of(result, "random_text")
    assert (weights[["value", "contribution", "grad-cam"]] < 0.3).all()
    assert weights["centre"] == pytest.approx(1) == weights["random"]
    assert texts["value"] < 0.5 and texts["attention"] == pytest.approx(1) == texts["centre"]


def test_a_map_that_follows_the_image_holds_still_and_noise_does_not(result):
    assert of(result, "flip")["value"] > 0.7 and of(result, "shift")["value"] > 0.6
    assert abs(of(result, "flip")["random"]) < 0.4 and of(result, "flip")["centre"] == pytest.approx(1)


def test_curves_begin_and_end_at_the_image_and_at_nothing(result, vit):
    curve = result.curve.sel(score="cosine", fill="noise")
    removed, restored = (curve.sel(order=order) for order in ("deletion", "insertion"))
    assert np.allclose(removed.sel(fraction=0), restored.sel(fraction=1), atol=1e-12)
    assert np.allclose(removed.sel(fraction=1), restored.sel(fraction=0), atol=1e-12)
    for scene, start in zip(SCENES, removed.sel(fraction=0, candidate="value").values, strict=True):
        there = [PLACES[at] for at in np.unique(scene.labels()) if at in PLACES]
        scores = vit.compare(vit.trace(scene, geometry=WHOLE), there).score
        assert start == pytest.approx(float(scores.mean()), abs=1e-6)
    areas = (removed.values[..., 1:] + removed.values[..., :-1]).mean(-1) / 2
    assert np.allclose(result["value"].sel(column="deletion_noise"), areas, atol=1e-12)


def test_every_number_has_an_interval_and_is_counted(result):
    assert (result.images.drop_sel(column="right_object") == 3).all()
    assert (result.images.sel(column="right_object") == 1).all()  # two things are in one image only
    known = result.drop_sel(column="right_object")
    assert (known.low <= known["mean"]).all() and (known["mean"] <= known.high).all()
    for column in ("pointing", "energy", "random_weights", "deletion_top1_noise"):  # three images widen them beyond
        ends = known.sel(column=column)
        assert float(ends.low.min()) >= 0 and float(ends.high.max()) <= 1, column
    assert result.attrs["not_computed"] == [] and result.attrs["weights_hash"]
    assert result.placebo.to_series().to_dict() == {
        name: name in ("random", "centre") for name in (*METHODS, "truth", "inverse")
    }


def test_a_table_lists_the_best_first(result):
    table = dcv.measure.faithfulness_table(result)
    assert list(table.column.unique()) == result.column.values.tolist()
    for column, rows in table.groupby("column"):
        falling = rows["mean"].iloc[::-1] if rows.better.iloc[0] == "lower" else rows["mean"]
        assert falling.is_monotonic_decreasing, column
    with pytest.raises(LayerError, match="what measure.faithfulness returns"):
        dcv.measure.faithfulness_table(table)


def test_a_run_goes_on_from_its_file_to_the_same_numbers(vit, tmp_path):
    store = tmp_path / "held.jsonl"
    first = held(vit, SCENES[-1:], ["value"], store=store)
    both = held(vit, [SCENES[-1], SCENES[0]], ["value"], store=store)
    assert np.array_equal(first["value"][0], both["value"][0], equal_nan=True)  # the seconds too: nothing ran again
    fresh = held(vit, [SCENES[-1], SCENES[0]], ["value"])
    same = dict(rtol=0, atol=1e-6, equal_nan=True)
    assert np.allclose(fresh["value"][:, :, :-1], both["value"][:, :, :-1], **same)
    assert np.isnan(first.low).all()  # one image has no interval


def test_columns_that_images_cannot_have_are_named_and_the_others_are_there(vit):
    images = [np.asarray(scene.image) for scene in SCENES[:1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dcv.errors.UntrainedImageWarning)
        with pytest.warns(UserWarning, match=r"pointing \(needs masks\)"):
            plain = held(vit, images, ["value"], prompts=["a road"])
    missing = {"deletion_top1_noise", "insertion_top1_noise", "pointing", "energy", "right_object"}
    missing |= {"absent_peak", "absent_mean"}
    assert set(plain.attrs["not_computed"]) == missing
    assert np.isfinite(plain["mean"].sel(column=[c for c in plain.column.values if c not in missing])).all()


def test_each_fill_has_columns_of_its_own(vit):
    fills = ("grey", "mean", "blur", "noise")
    both = held(vit, SCENES[-1:], ["value"], fills=fills, steps=2)
    assert {f"deletion_{fill}" for fill in fills} <= set(both.column.values.tolist())
    assert len(set(both["mean"].sel(column=[f"deletion_{fill}" for fill in fills]).values.ravel())) == 4


def test_nothing_is_left_on_the_model(vit):
    held(vit, SCENES[-1:], ["value", "grad-cam"], steps=2)
    before = fingerprint(vit.clip)
    held(vit, SCENES[-1:], ["value", "grad-cam"], steps=2)
    assert fingerprint(vit.clip) == before


def test_a_twin_has_weights_by_chance_of_the_same_size_and_the_same_texts(vit):
    one, other, again = (redrawn(vit, seed) for seed in (1, 2, 1))
    weight = "transformer.resblocks.0.attn.in_proj_weight"
    trained, *drawn = (model.tower.visual.state_dict()[weight] for model in (vit, one, other, again))
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert float(drawn[0].std() / trained.std()) == pytest.approx(1, abs=0.05)
    assert abs(float(torch.corrcoef(torch.stack([trained.ravel(), drawn[0].ravel()]))[0, 1])) < 0.02
    assert one.texts is vit.texts and one.clip.visual is one.tower.visual is not vit.clip.visual


def test_other_inputs_are_traced_as_the_image_itself_is(model):
    paths = MapMethods.of(model, dcv.Prompts(["a road"]), model.paths[:1]).paths
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    trace = model.trace(image, path=list(paths))
    for again in trace_inputs(model, trace, torch.stack([trace.pixels] * 2), paths):
        for name, tensor in trace.tensors().items():
            assert torch.allclose(again.tensors()[name], tensor, rtol=1e-4, atol=1e-5), name
    whole = model.trace(image, geometry=dcv.Whole(short=160))
    for each in (trace, whole):
        embedding = embed_inputs(model, each.pixels[None])[0]
        assert torch.allclose(embedding, each.global_embedding, rtol=1e-4, atol=1e-5)


def test_a_move_repeats_the_edge_that_comes_in():
    moved = shifted(torch.arange(12).reshape(3, 4), 1, 2)
    assert moved.tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [4, 4, 4, 5]]


def test_methods_are_what_their_names_say(vit):
    mine = DensePath("mine")
    ways = MapMethods.of(vit, dcv.Prompts(["a road", "the sky"]), ["value", mine, "contribution", "attention"])
    trace = vit.trace(SCENES[0], geometry=WHOLE, **ways.trace_options)
    value, own, contribution, attention = ways.maps(trace)
    both = vit.compare(trace, ["a road", "the sky"])
    assert np.allclose(value, both.dense.sel(path="value")[0], atol=1e-6)
    assert np.allclose(own, both.dense.sel(path="mine")[0], atol=1e-6)
    assert np.allclose(contribution, both.contribution[0], atol=1e-6)
    assert np.allclose(attention, both.attention, atol=1e-6)
    assert {"value", "grad-cam", "attention", "random"} <= set(method_names(vit))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"methods": ["no such"]}, LayerError, "no such.*value"),
        ({"methods": []}, LayerError, "No methods"),
        ({"methods": ["value", "value"]}, PromptError, "value"),
        ({"methods": [lambda *_: np.zeros((1, 1, 1))]}, GeometryError, "of shape"),
        ({"fills": "pink"}, PromptError, "pink.*grey"),
        ({"steps": 3}, PromptError, "an even number"),
        ({"geometry": "tiles"}, GeometryError, "tiles"),
        ({"prompts": None, "scenes": [np.asarray(SCENES[0].image)]}, PromptError, "without classes"),
    ],
)
def test_what_cannot_be_is_refused(vit, options, error, words):
    with pytest.raises(error, match=words):
        held(vit, **{"scenes": SCENES[:1], "methods": ["value"]} | options)


def test_flat_maps_have_no_rank_correlation_and_are_told(vit):
    def even(_, trace, vectors):
        return torch.ones(len(vectors), *trace.geometry.grid)

    flat = held(vit, SCENES[-1:], ["value", even], steps=2)
    assert np.isnan(of(flat, "random_weights")["even"]) and np.isfinite(of(flat, "random_weights")["value"])
    assert of(flat, "absent_peak")["even"] == 0.5


def test_a_function_gets_a_trace_of_the_first_path_without_an_axis_for_it(vit):
    def mine(_, trace, vectors):
        assert trace.paths == ("first",)
        return dcv.maps.cosine_maps(trace.dense, vectors[None])[0]

    result = held(vit, SCENES[-1:], [mine, DensePath("first"), "value"], steps=2)
    columns = [name for name in result.column.values.tolist() if name != "seconds"]
    values = result.value.sel(column=columns)
    np.testing.assert_array_equal(values.sel(candidate="mine"), values.sel(candidate="first"))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("part", [slice(None), slice(1)], ids=["all of it", "a row"])
def test_a_map_that_is_not_finite_is_refused_and_not_ranked(vit, wrong, part):
    def holed(_, trace, vectors):
        maps = np.zeros((len(vectors), *trace.geometry.grid))
        maps[:, part] = wrong
        return maps

    with pytest.raises(LayerError, match="Maps of 'holed' for scene 96 x 96 with NaN or infinity"):
        held(vit, SCENES[:1], [holed])


def test_maps_come_as_tensors_of_any_kind_and_as_nothing_but_numbers(vit):
    trace, prompts = vit.trace(SCENES[0], path=["value"]), dcv.Prompts(["a road", "the sky"])
    maps = torch.rand(2, *trace.geometry.grid)

    def of_kind(kind):
        return MapMethods.of(vit, prompts, lambda *_: kind(maps)).maps(trace)[0]

    assert np.array_equal(of_kind(lambda maps: maps.bfloat16().requires_grad_()), maps.bfloat16().float())
    assert np.array_equal(of_kind(lambda maps: maps.tolist()), maps)
    for kind in (lambda maps: None, lambda maps: maps.numpy().astype(str), lambda maps: [[1], [2, 3]]):
        with pytest.raises(GeometryError, match="of shape .*Expected numbers"):
            of_kind(kind)


def test_what_padding_says_of_an_absent_prompt_does_not_count():
    model, prompts = dcv.load("bundled-vit", device="cpu", resize_mode="longest"), dcv.Prompts(["taxi"], absent=["owl"])
    (taxi,) = model.texts.encode(dcv.Prompts(["taxi"]))[0]

    def honest_in_the_image(_, trace, asked):
        is_there = (asked.float() @ taxi > 0.999).numpy()[:, None, None]
        return np.where(trace.geometry.in_sight, is_there, 9.0 * ~is_there)

    wide = np.asarray(SCENES[0].image)[:48]
    with pytest.warns(UserWarning, match="needs masks"):
        result = held(model, [wide], [honest_in_the_image], prompts=prompts, steps=2, geometry="native")
    assert of(result, "absent_peak").item() == 1 == of(result, "absent_mean").item()


def test_ranks_are_of_positions_in_the_image_and_not_of_padding():
    model = dcv.load("bundled-vit", device="cpu", resize_mode="longest")
    wide = np.asarray(SCENES[0].image)[:48]
    rng = np.random.default_rng(0)

    def noise_in_the_image(_, trace, asked):
        """Other numbers each time where the image is, and one slope in all padding."""
        rows, columns = trace.geometry.grid
        slope = np.minimum(np.arange(rows), np.arange(rows)[::-1])[:, None] + np.zeros(columns)
        return np.where(trace.geometry.in_sight, rng.random((len(asked), rows, columns)), 2 + slope)

    with pytest.warns(UserWarning, match="needs masks"):
        result = held(model, [wide], [noise_in_the_image], prompts=["taxi"], steps=2, geometry="native")
    for column in ("flip", "shift", "random_weights"):
        assert abs(of(result, column).item()) < 0.3, column


def test_a_map_of_the_cells_alone_holds_still_under_a_flip_also_where_the_input_is_no_whole_cells():
    def brightness(_, trace, asked):
        (rows, columns), (down, right) = trace.geometry.grid, trace.geometry.cell
        cells = (
            trace.pixels[:, : rows * down, : columns * right].unflatten(1, (rows, down)).unflatten(3, (columns, right))
        )
        return cells.mean((0, 2, 4)).expand(len(asked), -1, -1).numpy()

    evenly = dcv.Whole(short=220, pad="even")
    assert dcv.load().trace(SCENES[0], geometry=evenly).geometry.input[1] % 32
    result = held(dcv.load(), methods=[brightness], steps=2, geometry=evenly)
    assert of(result, "flip").item() == pytest.approx(1)


def test_attributions_are_those_of_their_room_made_in_one_pass(vit):
    names = list(dcv.attribution.methods(vit))
    ways = MapMethods.of(vit, dcv.Prompts(["a road", "the sky"]), ["value", *names])
    trace = vit.trace(SCENES[0], **ways.trace_options)
    passes = []
    hook = vit.tower.visual.conv1.register_forward_hook(lambda *_: passes.append(1))
    maps = ways.maps(trace)
    hook.remove()
    assert len(passes) == 1
    alone = dcv.attribution.attribute(vit, trace, ["a road", "the sky"], names).isel(template=0)
    assert np.allclose(maps[1:], alone, atol=1e-6)


def test_one_method_alone_needs_no_list(vit):
    names = [MapMethods.of(vit, dcv.Prompts(["a road"]), one).names for one in ("value", DensePath("mine"), len)]
    assert names == [("value",), ("mine",), ("len",)]
