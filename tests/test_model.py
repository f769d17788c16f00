"""The front door, asked as a user would ask."""

import gc
import threading
import weakref
from dataclasses import replace
from functools import partial

import geometries
import numpy as np
import open_clip
import oracle
import pytest
import torch
from PIL import Image
from state import fingerprint

import denseclip_viz as dcv
from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.errors import DenseclipVizError, LayerError, PromptError, RecompositionError
from denseclip_viz.geometry import pixels

PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}."], absent=["a giraffe"])


def all_of(trace):
    return trace.contributions.sum((0, 1)) + sum(trace.rest.values())


def test_the_global_embedding_is_what_open_clip_returns_for_its_own_preprocessing(model, image_file):
    trace = model.trace(image_file)
    config = open_clip.transform.PreprocessCfg(size=model.preprocess.size)
    pixels = open_clip.transform.image_transform_v2(config, is_train=False)(Image.open(image_file))
    with torch.no_grad():
        theirs = model.clip.encode_image(pixels[None])[0]
    assert torch.equal(trace.pixels, pixels)
    assert oracle.relative_error(trace.global_embedding.numpy(), theirs.numpy()) < 3e-6
    assert torch.equal(model.encode_image(pixels[None])[0], theirs)


def keys_of(model):
    """Which keys a tower has: a ViT also has projected ones, a plain mean none."""
    return {"ViT class token": "projected", "mean": ""}.get(model.tower.family, "key")


@pytest.mark.parametrize(
    "geometry", ["native", "whole", "tiles", dcv.Whole(short=160), dcv.Tiles(overlap=0.25, long=300)]
)
def test_contributions_and_rest_sum_to_the_embedding_in_every_geometry(model, image_file, geometry):
    trace = model.trace(image_file, geometry=geometry)
    assert oracle.relative_error(all_of(trace).numpy(), trace.global_embedding.numpy()) < 3e-6
    y, x = trace.geometry.grid
    assert trace.dense.shape[:2] == trace.attention.shape[1:] == trace.contributions.shape[:2] == (y, x)
    assert len(trace.geometry.y) == y and len(trace.geometry.x) == x


@pytest.mark.parametrize("geometry", ["native", "whole", "tiles"])
def test_gap_and_its_rest_sum_to_what_an_even_look_would_change_in_every_geometry(model, image_file, geometry):
    trace = model.trace(image_file, geometry=geometry)
    both = model.compare(trace, PROMPTS)
    even = trace.even.sum((0, 1)) + sum({**trace.rest, **trace.even_rest}.values())
    expected = model.texts.encode(PROMPTS) @ (even - trace.global_embedding) / trace.global_embedding.norm()
    total = both.gap.sum(("y", "x")) + both.gap_rest.sum("term")
    np.testing.assert_allclose(total, expected, atol=1e-6)
    np.testing.assert_allclose(both.even_score - both.score, expected, atol=1e-6)
    if model.tower.family == "mean":
        assert not both.gap.any() and not both.gap_rest.any()
    else:
        assert set(trace.even_rest) <= set(trace.rest) and float(abs(both.gap).max()) > 1e-4


def test_one_window_of_tiles_is_the_whole_image(model, tmp_path):
    native = model.preprocess.size
    image = np.random.default_rng(0).integers(0, 256, (*native, 3), dtype=np.uint8)
    whole, tiles = (model.trace(image, geometry=way) for way in ("whole", "tiles"))
    assert len(tiles.geometry.windows) == 1
    for name in ("global_embedding", "dense", "attention", "contributions", "even"):
        assert oracle.relative_error(getattr(tiles, name).numpy(), getattr(whole, name).numpy()) < 1e-5


def test_tiles_are_the_blend_of_their_windows_traced_one_by_one(model, image_file):
    way = dcv.Tiles(overlap=0.5)
    tiles = model.trace(image_file, geometry=way)
    geometry, (tall, wide) = tiles.geometry, tiles.geometry.window
    canvas = torch.from_numpy(pixels(Image.open(image_file), geometry, model.preprocess))
    crops = [canvas[None, :, top : top + tall, left : left + wide] for top, left in geometry.windows]
    assert len(crops) > 1
    with torch.no_grad():
        alone = [decompose(model.tower, crop, ForwardOptions()) for crop in crops]
    dense = geometries.blend([one.dense[0].numpy() for one in alone], geometry)
    for name in ("contributions", "even"):
        shares = [getattr(one, name)[0].numpy() / len(alone) for one in alone]
        laid = geometries.laid(shares, geometry, np.ones(geometries.window_cells(geometry)))
        assert oracle.relative_error(getattr(tiles, name).numpy(), laid) < 1e-5
    embedding = torch.stack([one.embedding[0] for one in alone]).mean(0)
    assert oracle.relative_error(tiles.dense.numpy(), dense) < 1e-5
    assert oracle.relative_error(tiles.global_embedding.numpy(), embedding.numpy()) < 1e-5


def test_many_images_equal_one_at_a_time_whatever_the_batch(model, image_file):
    images = [image_file, Image.open(image_file).rotate(90, expand=True), np.zeros((40, 60, 3), np.uint8)] * 2
    one = [model.trace(image) for image in images]
    for batch_size in (1, 4, 100):
        many = list(model.trace_many(images, batch_size=batch_size))
        assert [t.name for t in many] == [t.name for t in one]
        for a, b in zip(many, one, strict=True):
            assert oracle.relative_error(a.dense.numpy(), b.dense.numpy()) < 1e-5
    mixed = list(model.trace_many(images, geometry="whole"))
    assert [t.geometry.image for t in mixed] == [t.geometry.image for t in one]


def test_images_are_read_only_when_their_turn_comes(model, image_file):
    def images():
        yield image_file
        yield image_file
        raise ZeroDivisionError

    traces = model.trace_many(images(), batch_size=1)
    assert next(traces).name == "street.jpg"


@pytest.mark.parametrize("way", ["native", "whole"])
def test_layers_and_attention_are_kept_when_asked_for_by_name(model, image_file, way):
    last = model.layers[-1]
    lean, full = (
        model.trace(image_file, geometry=way),
        model.trace(image_file, geometry=way, layers="*", keys=keys_of(model)),
    )
    assert lean.names == () and lean.keys is None and full.nbytes > lean.nbytes
    assert last in full.names and full[last].shape[-1] > 0
    assert torch.allclose(full.dense, lean.dense, rtol=1e-4, atol=1e-5)
    with pytest.raises(LayerError, match="was not recorded"):
        lean[last]


def test_attention_of_inner_blocks_is_kept_by_layer(load_tiny, image_file):
    trace = load_tiny("vit").trace(image_file, attention="blocks.*")
    assert trace.names == ("blocks.0.attention", "blocks.1.attention", "blocks.2.attention")
    assert torch.allclose(trace["blocks.1.attention"].sum(-1), torch.ones(()))


def test_a_comparison_holds_every_view_and_adds_up(model, image_file):
    both = model.compare(image_file, PROMPTS)
    np.testing.assert_allclose(both.contribution.sum(("y", "x")) + both.rest.sum("term"), both.score, atol=1e-6)
    assert both.sizes["template"] == 2 and both.prompt.values.tolist() == ["a red car", "grass", "a giraffe"]
    assert both.absent.values.tolist() == [False, False, True]
    assert both.attrs["model"] and both.attrs["weights_hash"] and both.attrs["path"] == "value"


@pytest.mark.parametrize("question", ["similarity", "compare", "segment", "classify"])
@pytest.mark.parametrize("geometry", ["whole", dcv.Tiles(overlap=0.25)])
def test_every_question_takes_a_geometry_and_answers_as_of_such_a_trace(model, image_file, question, geometry):
    ask = getattr(model, question)
    answer = ask(image_file, ["a red car", "grass"], geometry=geometry)
    assert answer.identical(ask(model.trace(image_file, geometry=geometry), ["a red car", "grass"]))
    with pytest.raises(DenseclipVizError, match="fitted already"):
        ask(model.trace(image_file), ["a red car", "grass"], geometry=geometry)


def test_similarity_agrees_with_the_dense_map_of_the_comparison(model, image_file):
    trace = model.trace(image_file)
    np.testing.assert_array_equal(model.similarity(trace, PROMPTS).values, model.compare(trace, PROMPTS).dense.values)


def test_every_layer_of_a_vit_is_read_in_text_space(load_tiny, image_file):
    model = load_tiny("vit")
    both = model.compare(image_file, PROMPTS, layers="all")
    assert both.layer.values.tolist() == list(model.layers)
    np.testing.assert_allclose(both.layer_dense.sel(layer="blocks.2"), both.dense, atol=1e-5)
    np.testing.assert_allclose(both.layer_score.sel(layer="blocks.2"), both.score, atol=1e-5)
    assert "class token of each block" in both.attrs["layer_readout"]


def test_layers_of_a_trace_that_does_not_hold_them_are_an_error_with_the_fix(load_tiny, image_file):
    model = load_tiny("vit")
    with pytest.raises(LayerError, match="Ask for it"):
        model.compare(model.trace(image_file), PROMPTS, layers="blocks.1")
    enough = model.trace(image_file, layers=model.layers_to_record("blocks.1"))
    assert model.compare(enough, PROMPTS, layers="blocks.1").layer.values.tolist() == ["blocks.1"]


def test_layers_of_a_resnet_are_read_by_gradients_that_equal_finite_differences(load_tiny, image_file):
    model = load_tiny("resnet", dtype="fp64")
    trace = model.trace(image_file)
    both = model.compare(trace, "a red car", layers=["layer3", "stem"])
    assert both.layer.values.tolist() == ["stem", "layer3"]
    text = model.encode_text(["a red car"])[0].double()
    seen = {}

    def scores(factor):
        """Scale layer3's output: the derivative by the factor is the sum of gradient × activation."""
        handle = model.clip.visual.layer3.register_forward_hook(lambda m, i, o: o * factor)
        decomposition = decompose(model.tower, trace.pixels[None].double(), ForwardOptions())
        handle.remove()
        e, f = decomposition.embedding[0], decomposition.dense[0]
        cos = torch.nn.functional.cosine_similarity
        return np.array([cos(e, text, dim=-1).item(), cos(f, text.expand_as(f), dim=-1).mean().item()])

    with torch.no_grad():
        seen = (scores(1 + 1e-6) - scores(1 - 1e-6)) / 2e-6
    share = (both.sizes["fine_y"] // 6) ** 2  # cells repeat up to the finest grid
    for name, slope in zip(("layer_global_gradient", "layer_dense_gradient"), seen, strict=True):
        assert both[name].sel(layer="layer3").sum().item() / share == pytest.approx(slope, rel=1e-5)


def test_probabilities_are_open_clips_own(model, image_file):
    shares = model.classify(image_file, ["a red car", "grass"])
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a red car", "grass"])
    with torch.no_grad():
        image, text, scale = model.clip(model.trace(image_file).pixels[None], tokens)
    np.testing.assert_allclose(shares.values, (scale * image @ text.T).softmax(-1), rtol=1e-4)


def test_a_segmentation_is_as_large_as_the_image_and_names_its_rule(model, image_file):
    result = model.segment(image_file, PROMPTS, geometry="whole", background=["grass"], soft=True)
    assert result.labels.shape == (120, 180)
    assert set(np.unique(result.labels)) <= {-1, 0} and "grass" in result.attrs["background"]
    np.testing.assert_allclose(result.probabilities.sum("label"), 1, rtol=1e-5)


def test_when_every_prompt_is_denoised_away_no_pixel_gets_a_label(model, image_file):
    trace = model.trace(image_file)
    undecided = replace(trace, dense=torch.ones_like(trace.dense) * torch.zeros(()))
    with pytest.warns(UserWarning, match="removed every prompt"):
        result = model.segment(undecided, PROMPTS, denoise=0.6)
    assert (result.labels == -1).all()


def test_key_smoothing_needs_keys_and_takes_them(model, image_file):
    if not keys_of(model):
        with pytest.raises(LayerError, match="plain mean"):
            model.segment(image_file, PROMPTS, smooth="cosine")
        return
    assert model.segment(image_file, PROMPTS, smooth="cosine").attrs["refinement"] == "key smoothing (cosine)"
    with pytest.raises(LayerError, match="keys"):
        model.segment(model.trace(image_file), PROMPTS, smooth="cosine")


def test_background_prompts_must_be_prompts(model, image_file):
    with pytest.raises(PromptError, match="'sky'"):
        model.segment(image_file, PROMPTS, background=["sky"])


CALLS = {
    "trace": lambda m, p: m.trace(p),
    "trace with all layers": lambda m, p: m.trace(p, layers="*", keys=keys_of(m)),
    "whole": lambda m, p: m.trace(p, geometry=dcv.Whole(short=64)),
    "tiles": lambda m, p: m.trace(p, geometry="tiles"),
    "compare": lambda m, p: m.compare(p, PROMPTS),
    "compare layers": lambda m, p: m.compare(p, PROMPTS, layers="all"),
    "similarity": lambda m, p: m.similarity(p, PROMPTS),
    "segment": lambda m, p: m.segment(p, PROMPTS, smooth="official", denoise=0.1),
    "paper": lambda m, p: m.segment(p, PROMPTS, preset="maskclip-paper", denoise=0.0),
    "classify": lambda m, p: m.classify(p, PROMPTS),
    "encode_text": lambda m, p: m.encode_text(["a cat"]),
    "encode_image": lambda m, p: m.encode_image(torch.zeros(1, 3, *m.preprocess.size)),
    "a bad image": lambda m, p: m.trace(p.with_name("nothing.jpg")),
    "a bad layer": lambda m, p: m.trace(p, layers="layer9"),
    "a bad prompt": lambda m, p: m.compare(p, ["a", ""]),
    "a prompt too long": lambda m, p: m.compare(p, ["word " * 100]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("grad", [True, False])
def test_no_call_changes_the_model_or_torch(model, image_file, call, grad):
    with torch.set_grad_enabled(grad):
        before = fingerprint(model.clip)
        try:
            call(model, image_file)
        except DenseclipVizError:
            pass
        assert fingerprint(model.clip) == before


def test_frozen_parameters_stay_frozen_and_gradients_stay_none(load_tiny, image_file):
    model = load_tiny("resnet")
    for parameter in model.clip.parameters():
        parameter.requires_grad_(False)
    before = fingerprint(model.clip)
    assert np.isfinite(model.compare(image_file, PROMPTS, layers="all").layer_dense_gradient).all()
    assert fingerprint(model.clip) == before


def test_a_model_in_training_mode_is_refused(model, image_file):
    model.clip.train()
    with pytest.raises(LayerError, match="training mode"):
        model.trace(image_file)


def test_a_trace_does_not_keep_the_model_alive(load_tiny, image_file):
    model = load_tiny("vit")
    trace = model.trace(image_file, layers="*", keys="key")
    both = model.compare(trace, PROMPTS, layers="all")
    watched = [weakref.ref(model), weakref.ref(model.clip), weakref.ref(model.clip.visual.proj)]
    del model
    gc.collect()
    assert [ref() for ref in watched] == [None] * 3 and trace.dense is not None and both is not None


def test_a_trace_shares_no_memory_with_the_model(model, image_file):
    trace = model.trace(image_file, layers="*")
    before = fingerprint(model.clip)
    for tensor in trace.tensors().values():
        tensor.zero_()
    assert fingerprint(model.clip) == before


def test_two_threads_trace_one_model_without_mixing(model, image_file):
    other = Image.open(image_file).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    alone = {0: model.trace(image_file, layers="*"), 1: model.trace(other, layers="*")}
    results = {0: [], 1: []}

    def work(which, image):
        for _ in range(10):
            results[which].append(model.trace(image, layers="*", geometry="native"))

    threads = [threading.Thread(target=work, args=(i, p)) for i, p in enumerate((image_file, other))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for which, traces in results.items():
        assert len(traces) == 10
        for trace in traces:
            for name, tensor in alone[which].tensors().items():
                assert torch.allclose(trace.tensors()[name], tensor, rtol=1e-4, atol=1e-5), name


def test_a_tower_that_was_modified_is_found_out_on_the_first_trace(load_tiny, image_file):
    model = load_tiny("resnet")
    plain = type(model.clip.visual).forward
    model.clip.visual.forward = lambda pixels: plain(model.clip.visual, pixels) * 1.01
    with pytest.raises(RecompositionError):
        model.trace(image_file)


OTHERWISE = {"activation": {"activation": "quickgelu"}, "epsilon": {"layer_norm_eps": 1e-3}}
OTHERWISE["preparation of images"] = {"std": (0.5, 0.5, 0.5)}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_trace_by_this_model_loaded_otherwise_is_refused_where_that_counts(load_tiny, image_file, what):
    trace, other = load_tiny("vit", **OTHERWISE[what]).trace(image_file, layers="blocks.1"), load_tiny("vit")
    texts = (other.similarity, other.compare, other.classify, other.segment)
    again = (partial(other.compare, layers="blocks.1"), partial(dcv.attribution.attribute, other))
    again += (partial(other.segment, finer="shifted"),)
    for ask in (*again, *(texts if what == "activation" else ())):
        with pytest.raises(LayerError, match=f"a trace of street.jpg with the {what}.*Trace it with this model"):
            ask(trace, PROMPTS)
    if what != "activation":
        for ask in texts:
            ask(trace, PROMPTS)


@pytest.mark.parametrize("option", [{"activation": "gelu"}, {"interpolation": "bicubic"}, {"layer_norm_eps": 1e-5}])
def test_a_trace_by_this_model_with_options_that_change_nothing_is_its_own(load_tiny, image_file, option):
    trace, other = load_tiny("vit", **option).trace(image_file), load_tiny("vit")
    assert dcv.attribution.attribute(other, trace, PROMPTS).size and other.similarity(trace, PROMPTS).size


def test_the_repr_says_what_it_is(model, image_file):
    assert model.tower.family in repr(model)
    page = model.trace(np.zeros((9, 9, 3), np.uint8))._repr_html_()
    assert "data:image/" in page and "dense" in page and "<script" not in page


@pytest.mark.parametrize("dtype", ["fp64", "bf16"])
def test_other_precisions_open_too(load_tiny, image_file, dtype):
    for kind in ("resnet", "vit"):
        trace = load_tiny(kind, dtype=dtype).trace(image_file)
        assert trace.dense.dtype == (torch.float64 if dtype == "fp64" else torch.float32)
