"""Interventions: each equals a pass by hand with that one place changed, and the model stays as it is."""

import threading

import numpy as np
import oracle
import pytest
import tiny
import torch
from drawn import everything_said, with_gid
from state import fingerprint

import denseclip_viz as dcv
from denseclip_viz.attribution.sites import Change, choose, combine, run, sites_of
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import GeometryError, LayerError

HOWS = ("zero", "mean", "swap")
CHANGES = {
    "attention": Change("blocks.1.attention"),
    "a head": Change("blocks.1.attention", 2),
    "a head of the last block": Change("blocks.2.attention", 0),
    "a head at a position": Change("blocks.0.attention", 1, (2, 3)),
    "an MLP": Change("blocks.0.mlp"),
    "an MLP at a position": Change("blocks.1.mlp", None, (0, 1)),
    "a stream": Change("blocks.0"),
    "a stream at a position": Change("blocks.1", None, (3, 0)),
    "a position looked at": Change("pool.attention", None, (1, 2)),
    "a position looked at by a head": Change("pool.attention", 1, (1, 2)),
}


def pixels(side, count=2):
    return torch.stack([torch.from_numpy(tiny.random_pixels(side, side, seed)) for seed in range(count)])


def embeddings(visual, changes, how, *, size=4, others=1):
    """The embedding as it is, and with each change."""
    inputs = pixels(tiny.native_side(visual), 1 + others)
    tower, names = tower_for(visual).at(inputs), list(dict.fromkeys(change.at for change in changes))
    grid = tuple(tower.forward(inputs[:1])[0].attention.shape[-2:])
    sites = sites_of(tower, inputs[:1], names, grid)
    with torch.no_grad():
        return run(tower, inputs, sites, changes, how, size)


class ByHand:
    """A ViT in loops over blocks, with what one change wants put in where it is due; 4 × 4 positions."""

    def __init__(self, visual, change, how, source):
        self.sd, self.vit = tiny.weights(visual), tiny.vit_settings(visual)
        self.change, self.how, self.source = change, how, source
        self.made = {}

    def due(self, at):
        return self.source is not None and self.change.at in at

    def put(self, name, values, alike, place):
        """Write zero, the mean, or what the other image has there."""
        self.made[name] = values.copy()
        new = {"zero": np.zeros_like(values), "mean": alike, "swap": self.source and self.source.made[name]}[self.how]
        values[place] = np.broadcast_to(new, values.shape)[place]

    def token(self, place):
        return 1 + 4 * place[0] + place[1]

    def attention(self, block, stream):
        last = block == 2
        queries, keys, values = oracle.vit_qkv(self.sd, stream, self.vit, block)
        weights, v = oracle.attend(queries, keys, self.vit.heads), oracle.split_heads(values, self.vit.heads)
        terms = weights[:, 0, :, None] * v
        heads, change = weights @ v, self.change
        which = slice(None) if change.head is None else [change.head]
        names = [f"blocks.{block}.attention"] + ["pool.attention"] * last
        self.made[f"{block} terms"], self.made[f"{block} heads"] = terms.copy(), heads.copy()
        if self.due(names) and change.at == "pool.attention":
            alike = weights[:, 0, :, None] * v.mean(1, keepdims=True)
            self.put(f"{block} terms", terms, alike, (which, self.token(change.position)))
            heads[:, 0] = terms.sum(1)
        elif self.due(names):
            row = slice(None) if change.position is None else self.token(change.position)
            self.put(f"{block} heads", heads, v.mean(1, keepdims=True), (which, row))
        return np.concatenate(list(heads), axis=-1)

    def changed(self, at, stream):
        self.made[at] = stream.copy()
        if self.due([at]):
            place = slice(None) if self.change.position is None else self.token(self.change.position)
            self.put(at, stream, stream.mean(0, keepdims=True), place)
        return stream

    def embedding(self, image):
        sd, vit = self.sd, self.vit
        (stream, *_) = oracle.vit_streams(sd, image, vit)
        for block in range(3):
            name = oracle.block_name(sd, block)
            middle = stream + oracle.linear(self.attention(block, stream), sd, f"{name}.attn.out_proj")
            added = self.changed(f"blocks.{block}.mlp", oracle.vit_mlp(sd, middle, vit, block))
            stream = self.changed(f"blocks.{block}", middle + added)
        return oracle.vit_project(sd, stream[0], vit)


@pytest.mark.parametrize("how", HOWS)
def test_in_a_vit_each_equals_a_pass_by_hand(how):
    visual = tiny.tiny_vit().visual
    plain, changed = embeddings(visual, list(CHANGES.values()), how)
    image, other = pixels(32).numpy()
    for (what, change), embedding in zip(CHANGES.items(), changed, strict=True):
        source = ByHand(visual, change, how, None)
        source.embedding(other)
        expected = ByHand(visual, change, how, source).embedding(image)
        assert oracle.relative_error(embedding.numpy(), expected) < 1e-12, what
        assert oracle.relative_error(plain.numpy(), expected) > 1e-6, f"{what} changes nothing"
    assert oracle.relative_error(plain.numpy(), ByHand(visual, change, how, None).embedding(image)) < 1e-12


@pytest.mark.parametrize("how", HOWS)
def test_in_an_attention_pool_each_equals_a_pass_by_hand(how):
    visual = tiny.tiny_resnet().visual
    sd, (depths, count) = tiny.weights(visual), tiny.resnet_settings(visual)
    maps = [oracle.resnet_layers(sd, image, depths)["layer4"] for image in pixels(96).numpy()]
    pools = [oracle.resnet_pool(sd, x4, count) for x4 in maps]
    weights = [pool["attention"] for pool in pools]
    values = [oracle.split_heads(pool["values"], count) for pool in pools]
    changes = [Change("pool.attention", 1), Change("pool.attention", None, (2, 1)), Change("layer4", None, (0, 2))]
    plain, changed = embeddings(visual, changes, how)
    terms, others = (a[..., None] * v for a, v in zip(weights, values, strict=True))
    alike = values[0].mean(1, keepdims=True)
    head = {"zero": 0 * alike[1, 0], "mean": alike[1, 0], "swap": others[1].sum(0)}[how]
    heads = terms.sum(1)
    heads[1] = head
    token = {"zero": 0 * terms[:, 8], "mean": weights[0][:, 8, None] * alike[:, 0], "swap": others[:, 8]}[how]
    summed = terms.sum(1) - terms[:, 8] + token
    x4 = maps[0].copy()
    x4[:, 0, 2] = {"zero": 0, "mean": x4.mean((1, 2)), "swap": maps[1][:, 0, 2]}[how]
    expected = [oracle.linear(merged.reshape(-1), sd, "attnpool.c_proj") for merged in (heads, summed)]
    expected.append(oracle.resnet_pool(sd, x4, count)["embedding"])
    for embedding, wanted in zip([*changed, plain], [*expected, pools[0]["embedding"]], strict=True):
        assert oracle.relative_error(embedding.numpy(), wanted) < 1e-12


def everything(visual):
    inputs = pixels(tiny.native_side(visual), 1)
    tower = tower_for(visual).at(inputs)
    grid = tuple(tower.forward(inputs)[0].attention.shape[-2:])
    sites = sites_of(tower, inputs, choose(tower, "*"), grid)
    heads = combine({name: site for name, site in sites.items() if site.heads}, "each", None)
    return heads + combine(sites, None, None) + combine(sites, None, (0, 0))


@pytest.mark.parametrize("kind", ["SigLIP", "PE", "EVA02", "relpos", "GAP", "ConvNeXt", "Swin", "CoCa"])
def test_a_swap_with_the_same_image_changes_nothing_in_any_tower(kind):
    visual = tiny.tiny_tower(kind)
    tower, inputs = tower_for(visual), pixels(tiny.native_side(visual), 1)
    changes = everything(visual)
    tower = tower.at(inputs)
    grid = tuple(tower.forward(inputs)[0].attention.shape[-2:])
    sites = sites_of(tower, inputs, list(dict.fromkeys(change.at for change in changes)), grid)
    with torch.no_grad():
        plain, changed = run(tower, inputs.repeat(2, 1, 1, 1), sites, changes, "swap", 64)
        whole = visual(inputs)
    whole = whole[0] if isinstance(whole, tuple) else whole
    assert oracle.relative_error(plain.numpy(), whole[0].numpy()) < 1e-12
    assert (changed - plain).abs().max() < 1e-12 * plain.abs().max()


@pytest.mark.parametrize("kind", ["EVA02", "GAP", "SigLIP", "relpos"])
def test_all_heads_at_zero_are_what_goes_into_the_projection_at_zero(kind):
    visual, inputs = tiny.tiny_tower(kind), None
    inputs = pixels(tiny.native_side(visual), 1)
    _, changed = embeddings(visual, [Change("blocks.0.attention")], "zero", others=0)
    attention = visual.trunk.blocks[0].attn
    behind = attention.norm if isinstance(getattr(attention, "norm", None), torch.nn.LayerNorm) else attention.proj
    hook = behind.register_forward_pre_hook(lambda _, given: (torch.zeros_like(given[0]),))
    with torch.no_grad():
        expected = visual(inputs)[0]
    hook.remove()
    assert oracle.relative_error(changed[0].numpy(), expected.numpy()) < 1e-12


def test_another_images_whole_stream_is_another_image():
    visual = tiny.tiny_vit().visual
    _, changed = embeddings(visual, [Change("blocks.0"), Change("blocks.2")], "swap")
    with torch.no_grad():
        other = visual(pixels(32))[1]
    for embedding in changed:
        assert oracle.relative_error(embedding.numpy(), other.numpy()) < 1e-12


def test_two_names_of_one_place_are_both_changed_in_one_batch():
    changes = [Change("pool.attention", 1, (0, 0)), Change("blocks.2.attention", 1), Change("pool.attention", 1)]
    visual = tiny.tiny_vit().visual
    _, together = embeddings(visual, changes, "zero", size=8)
    for change, embedding in zip(changes, together, strict=True):
        _, alone = embeddings(visual, [change], "zero")
        assert oracle.relative_error(embedding.numpy(), alone[0].numpy()) < 1e-12
    assert oracle.relative_error(together[1].numpy(), together[2].numpy()) < 1e-12  # no other query is read


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def test_nothing_hangs_on_the_model_after_a_call_an_error_or_an_interrupt(load_tiny, image, monkeypatch):
    model = load_tiny("vit")
    before = fingerprint(model.clip)
    dcv.attribution.intervene(model, image, ["a taxi"], ["blocks.*", "blocks.*.attention", "blocks.*.mlp"])
    assert fingerprint(model.clip) == before
    for error in (RuntimeError, KeyboardInterrupt):

        def fail(*_, error=error):
            raise error

        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr("denseclip_viz.attribution.sites.Edits.attention", fail)
            dcv.attribution.intervene(model, image, ["a taxi"], ["blocks.*.mlp", "blocks.*.attention"])
        assert fingerprint(model.clip) == before


def test_another_thread_sees_the_model_as_it_is(load_tiny, image):
    model = load_tiny("vit")
    expected, results = model.trace(image).global_embedding, []
    stop = threading.Event()

    def look():
        while not stop.is_set():
            results.append(model.trace(image).global_embedding)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(5):
        dcv.attribution.intervene(model, image, ["a taxi"], "blocks.*.attention", head="each")
    stop.set()
    thread.join()
    assert results and all(torch.allclose(embedding, expected, rtol=3e-6, atol=3e-6) for embedding in results)


@pytest.mark.parametrize(("kind", "counted"), [("resnet", 3), ("vit", 3), ("query", 3)])
def test_scores_are_those_of_the_image_and_predictions_those_of_direct_effects(kind, counted, load_tiny, image):
    model = load_tiny(kind)
    prompts = dcv.Prompts(["a taxi", "grass"], ["{}", "a photo of {}"])
    result = dcv.attribution.intervene(model, image, prompts, "pool.attention", head="each", batch_size=2)
    effects = dcv.attribution.direct_effects(model, image, prompts)
    plain = model.compare(image, prompts).score
    assert np.allclose(result.score, plain, atol=1e-6) and result.sizes["intervention"] >= counted
    assert np.allclose(result.change, result.after - result.score.values[..., None])
    assert np.allclose(result.predicted, -effects.attention.isel(layer=-1), atol=1e-6)
    if kind == "resnet":  # nothing but a projection behind the heads
        assert np.allclose(result.sum_change, result.predicted, atol=1e-6)
        each = dcv.attribution.intervene(model, image, prompts, "pool.attention", position="each")
        assert np.allclose(each.sum_change, each.predicted, atol=1e-6)
        assert each.sizes["intervention"] == effects.sizes["y"] * effects.sizes["x"]
        swapped = dcv.attribution.intervene(model, image, prompts, "pool.attention", replace=image[::-1])
        assert np.isnan(swapped.predicted).all()
        assert np.allclose(swapped.after[..., 0], model.compare(image[::-1], prompts).score, atol=1e-6)


def test_the_figure_shows_what_was_predicted_beside_what_happened(load_tiny, image):
    options = {"at": ["blocks.*.attention", "blocks.*.mlp", "blocks.1"]}
    result = dcv.attribution.intervene(load_tiny("vit"), image, ["a taxi", "grass"], **options)
    figure = dcv.plot.interventions(result)
    for row, prompt in enumerate(result.prompt.values):
        one = result.sel(prompt=prompt).isel(template=0)
        points = {tuple(point) for line in with_gid(figure, f"points {row}") for point in line.get_xydata()}
        known = np.isfinite(one.predicted.values)
        expected = set(zip(one.predicted.values[known].tolist(), one.change.values[known].tolist(), strict=True))
        assert known.sum() == 6 and points == expected
        bars = [bar.get_width() for bar in with_gid(figure, f"happened {row}")]
        assert bars == pytest.approx(sorted(one.change.values, key=abs, reverse=True))
    said = everything_said(figure)
    assert "a taxi" in said and "blocks.1.mlp" in said and "set to zero" in said
    swap = dcv.attribution.intervene(load_tiny("vit"), image, ["a taxi"], "blocks.0", replace=image[::-1])
    assert "another image" in everything_said(dcv.plot.interventions(swap))
    with pytest.raises(LayerError, match="intervene"):
        dcv.plot.interventions(result.drop_vars("after"))


def test_a_sweep_names_what_it_changes(load_tiny, image):
    result = dcv.attribution.intervene(load_tiny("vit"), image, ["a taxi"], ["blocks.-1.attention", "blocks.0.mlp"])
    assert result.intervention.values.tolist() == ["blocks.0.mlp", "blocks.2.attention"]
    heads = dcv.attribution.intervene(load_tiny("vit"), image, ["a taxi"], "blocks.*.attention", head="each")
    assert heads.intervention.values[4] == "blocks.1.attention head 1" and heads["head"].values[4] == 1
    assert np.isfinite(heads.predicted).all() and heads.attrs["replace"] == "zero"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"at": "blocks.9.attention"}, LayerError, "blocks.9"),
        ({"at": "blocks.0.query"}, LayerError, "query"),
        ({"at": "pool.output"}, LayerError, "pool.output"),
        ({"at": []}, LayerError, "No place to change"),
        ({"at": 5}, LayerError, "at=5"),
        ({"at": "blocks.0.attention", "head": 3}, LayerError, "below 3"),
        ({"at": "blocks.0.attention", "head": "all"}, LayerError, "each"),
        ({"at": "blocks.0.mlp", "head": 0}, LayerError, "Leave head out"),
        ({"at": "blocks.0", "position": (0, 4)}, LayerError, "grid of 4 x 4"),
        ({"at": "blocks.0", "position": 3}, LayerError, "position 3"),
        ({"at": "blocks.0", "geometry": "tiles"}, LayerError, "tiles"),
        ({"at": "blocks.0", "replace": "max"}, LayerError, "replace='max'.*'zero', 'mean', an image"),
        ({"at": "blocks.0", "geometry": "whole", "replace": np.zeros((32, 96, 3), np.uint8)}, GeometryError, "swap in"),
    ],
)
def test_what_is_not_there_is_refused(options, kind, words, load_tiny, image):
    with pytest.raises(kind, match=words):
        dcv.attribution.intervene(load_tiny("vit"), image, ["a taxi"], **options)
