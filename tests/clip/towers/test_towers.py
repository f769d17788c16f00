"""The towers, taken apart: against an independent NumPy implementation, and against the model's own forward pass."""

import copy
from dataclasses import replace

import numpy as np
import oracle
import pytest
import tiny
import torch

import denseclip_viz as dcv
from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.paths import PATHS, read_layer
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.clip.towers.tower import check_recomposition, resize_positional
from denseclip_viz.errors import GeometryError, RecompositionError, UnsupportedTowerError

VITS = {
    "gelu": {},
    "quick_gelu": {"quick_gelu": True},
    "layer scale": {"ls_init_value": 0.1},
    "no ln_pre": {"no_ln_pre": True},
}


def open_tower(visual, pixels, **request):
    with torch.no_grad():
        return decompose(tower_for(visual), torch.from_numpy(pixels)[None], ForwardOptions(**request))


def close(ours, theirs, tolerance=1e-12):
    assert oracle.relative_error(ours.detach().numpy(), np.asarray(theirs)) <= tolerance


@pytest.mark.parametrize("size", [(96, 96), (64, 160), (128, 32)])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_resnet_opens_as_the_reference_says(size, antialias):
    visual = tiny.tiny_resnet().visual
    weights, (layers, heads) = tiny.weights(visual), tiny.resnet_settings(visual)
    pixels = tiny.random_pixels(*size)
    ours = open_tower(visual, pixels, keys="key", path=replace(PATHS["value"], antialias=antialias))
    x4 = oracle.resnet_layers(weights, pixels, layers)["layer4"]
    grid = x4.shape[1:]
    positional = oracle.resize_positional(weights["attnpool.positional_embedding"], grid, antialias=antialias)
    theirs = oracle.resnet_pool(weights, x4, heads, positional)
    close(ours.embedding[0], theirs["embedding"])
    close(ours.attention[0].flatten(1), theirs["attention"][:, 1:])
    close(ours.contributions[0], theirs["contributions"])
    close(ours.even[0], theirs["even"])
    close(ours.dense[0], oracle.resnet_dense(weights, x4))
    close(ours.keys[0], oracle.resnet_keys(weights, x4))
    for kind in ("rest", "even_rest"):
        assert set(getattr(ours, kind)) == set(theirs[kind])
        for name, term in theirs[kind].items():
            close(getattr(ours, kind)[name][0], term)


@pytest.mark.parametrize("options", VITS.values(), ids=VITS)
@pytest.mark.parametrize("size", [(32, 32), (24, 56), (8, 8)])
def test_a_vit_opens_as_the_reference_says(options, size):
    visual = tiny.tiny_vit(**options).visual
    weights, settings = tiny.weights(visual), tiny.vit_settings(visual)
    pixels = tiny.random_pixels(*size)
    grid = (size[0] // 8, size[1] // 8)
    ours = open_tower(visual, pixels, keys="projected")
    positional = oracle.resize_positional(weights["positional_embedding"], grid, antialias=True)
    streams = oracle.vit_streams(weights, pixels, settings, positional)
    theirs = oracle.vit_pool(weights, streams, grid, settings)
    close(ours.embedding[0], theirs["embedding"])
    close(ours.attention[0].flatten(1), theirs["attention"][:, 1:])
    close(ours.contributions[0], theirs["contributions"])
    close(ours.even[0], theirs["even"])
    close(ours.dense[0], oracle.vit_dense(weights, streams[-2], grid, settings))
    close(ours.keys[0], oracle.vit_keys(weights, streams[-2], grid, settings)["projected"])
    for kind in ("rest", "even_rest"):
        assert set(getattr(ours, kind)) == set(theirs[kind])
        for name, term in theirs[kind].items():
            close(getattr(ours, kind)[name][0], term)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("mlp", [True, False])
def test_each_switch_of_the_value_path_equals_the_reference(residual, mlp):
    visual = tiny.tiny_vit(ls_init_value=0.2).visual
    weights, settings = tiny.weights(visual), tiny.vit_settings(visual)
    pixels = tiny.random_pixels(32, 32)
    ours = open_tower(visual, pixels, path=replace(PATHS["value"], residual=residual, mlp=mlp))
    streams = oracle.vit_streams(weights, pixels, settings)
    close(ours.dense[0], oracle.vit_dense(weights, streams[-2], (4, 4), settings, residual=residual, mlp=mlp))


def test_the_positional_switch_of_a_resnet_adds_the_embedding_before_the_value():
    visual = tiny.tiny_resnet().visual
    weights, (layers, _) = tiny.weights(visual), tiny.resnet_settings(visual)
    pixels = tiny.random_pixels(96, 96)
    x4 = oracle.resnet_layers(weights, pixels, layers)["layer4"]
    positional = weights["attnpool.positional_embedding"][1:].T.reshape(x4.shape)
    close(
        open_tower(visual, pixels, path=PATHS["value-positional"]).dense[0],
        oracle.resnet_dense(weights, x4 + positional),
    )


def test_the_vanilla_path_is_what_the_tower_itself_makes_of_every_position():
    vit, resnet = tiny.tiny_vit().visual, tiny.tiny_resnet().visual
    pixels = tiny.random_pixels(32, 32)
    tokens = open_tower(vit, pixels, layers=("blocks.2",)).layers["blocks.2"][0, 1:]
    with torch.no_grad():
        theirs = (vit.ln_post(tokens) @ vit.proj).unflatten(0, (4, 4))
    close(open_tower(vit, pixels, path=PATHS["vanilla"]).dense[0], theirs.numpy())
    pixels = tiny.random_pixels(96, 96)
    ours = open_tower(resnet, pixels, path=PATHS["vanilla"]).dense[0].flatten(0, 1)
    for j in range(9):  # the position j as the pooling query, with torch's own function
        close(ours[j], queried(resnet, torch.from_numpy(pixels)[None], j + 1).numpy())


def queried(visual, pixels, j):
    original = torch.nn.functional.multi_head_attention_forward
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        roll = lambda query, *rest, **more: original(query.roll(-j, 0), *rest, **more)  # noqa: E731
        patch.setattr(torch.nn.functional, "multi_head_attention_forward", roll)
        return visual(pixels)[0]


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_listening_changes_the_way_but_not_the_answer(build):
    """With taps in the last layer the tower runs as it is; without, one call is answered for it."""
    visual = build().visual
    pixels = tiny.random_pixels(
        visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size, 32 * 3
    )
    lean, full = (open_tower(visual, pixels), open_tower(visual, pixels, layers=tuple(tower_for(visual).taps())))
    for name in ("embedding", "dense", "attention", "contributions", "even"):
        close(getattr(lean, name), getattr(full, name).numpy())
    assert list(full.layers) == list(tower_for(visual).taps())


def test_a_users_own_hook_in_the_last_block_sees_the_tower_as_it_is():
    visual = tiny.tiny_vit().visual
    seen, pixels = [], torch.from_numpy(tiny.random_pixels(32, 32))[None]
    handle = visual.transformer.resblocks[-1].register_forward_hook(lambda m, i, output: seen.append(output))
    with torch.no_grad():
        visual(pixels)
        decompose(tower_for(visual), pixels, ForwardOptions())
    handle.remove()
    assert torch.allclose(seen[0], seen[1], rtol=1e-12) and len(seen) == 2


@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_the_dense_feature_is_the_pooled_answer_to_one_hot_attention(build):
    """A slow second way: for every position, the whole tower again with its pooling attention forced onto it."""
    visual = build().visual
    native = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    pixels = tiny.random_pixels(native, native)
    resnet = build is tiny.tiny_resnet
    ours = open_tower(visual, pixels, path=PATHS["value-positional"] if resnet else PATHS["value"])
    grid = ours.dense.shape[1:3]
    for j in range(grid[0] * grid[1]):
        forced = forced_embedding(visual, torch.from_numpy(pixels)[None], j + 1, resnet)
        close(ours.dense[0].flatten(0, 1)[j], forced.numpy())


def forced_embedding(visual, pixels, j, resnet):
    original = torch.nn.functional.multi_head_attention_forward
    plain = torch.nn.functional.scaled_dot_product_attention

    def one_hot(query, key, value, *args, **kwargs):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(torch.nn.functional, "scaled_dot_product_attention", plain)
            return original(query, key[j : j + 1], value[j : j + 1], *args, **kwargs)

    if resnet:  # open_clip calls the one function or, from 4.2 on, the other
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            patch.setattr(torch.nn.functional, "multi_head_attention_forward", one_hot)
            fused = "scaled_dot_product_attention"
            patch.setattr(torch.nn.functional, fused, lambda q, k, v: v[:, :, j : j + 1].expand_as(q))
            return visual(pixels)[0]
    block = visual.transformer.resblocks[-1]
    with torch.no_grad():
        stream = visual._embeds(pixels)
        for layer in visual.transformer.resblocks[:-1]:
            stream = layer(stream)
        own = stream[:, j : j + 1]  # a sequence of one token can attend to nothing but itself
        return (visual.ln_post(block(own)) @ visual.proj)[0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [tiny.tiny_resnet, tiny.tiny_vit])
def test_contributions_and_rest_recompose_the_embedding_in_every_precision(build, dtype):
    visual = build(dtype=dtype).visual
    pixels = torch.randn(3, 3, 96, 64, dtype=dtype)
    with torch.no_grad():
        decomposition = decompose(tower_for(visual), pixels, ForwardOptions())
    check_recomposition(decomposition, "test")


def test_a_missing_term_is_loud():
    decomposition = open_tower(tiny.tiny_vit().visual, tiny.random_pixels(32, 32))
    for name in decomposition.rest:
        rest = {key: term for key, term in decomposition.rest.items() if key != name}
        with pytest.raises(RecompositionError, match="ViT class token"):
            check_recomposition(replace(decomposition, rest=rest), "ViT class token")


def test_nan_weights_are_loud():
    visual = tiny.tiny_resnet().visual
    with torch.no_grad():
        visual.attnpool.c_proj.bias[0] = float("nan")
    with pytest.raises(RecompositionError):
        check_recomposition(open_tower(visual, tiny.random_pixels(96, 96)), "ResNet")


def test_a_tower_that_is_not_known_is_refused_by_name():
    with pytest.raises(UnsupportedTowerError, match="Linear"):
        tower_for(torch.nn.Linear(1, 1))
    with pytest.raises(UnsupportedTowerError, match="pool_type='none'"):
        tower_for(tiny.tiny_vit(pool_type="none").visual)


def test_an_input_off_the_grid_is_refused():
    with pytest.raises(GeometryError, match="33 x 32"):
        open_tower(tiny.tiny_vit().visual, tiny.random_pixels(33, 32))


@pytest.mark.parametrize("block", [0, 1, 2])
def test_every_block_reads_as_the_reference_says(block):
    visual = tiny.tiny_vit().visual
    weights, settings = tiny.weights(visual), tiny.vit_settings(visual)
    pixels, tower = tiny.random_pixels(32, 48), tower_for(visual)
    layer = f"blocks.{block}"
    ours = open_tower(visual, pixels, layers=tower.layers_to_record([layer]))
    with torch.no_grad():
        whole, dense = read_layer(tower, ours.layers, layer, PATHS["value"])
    positional = oracle.resize_positional(weights["positional_embedding"], (4, 6), antialias=True)
    streams = oracle.vit_streams(weights, pixels, settings, positional)
    close(whole[0], oracle.vit_project(weights, streams[block + 1][:1], settings)[0])
    close(dense[0].unflatten(0, (4, 6)), oracle.vit_dense(weights, streams[block], (4, 6), settings, block=block))


@pytest.mark.parametrize("grid", [(1, 1), (4, 1), (1, 4), (2, 5), (9, 13)])
@pytest.mark.parametrize("side", [1, 2, 3, 7])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_positional_embedding_is_resized_bicubically_to_any_grid(grid, side, antialias):
    embedding = torch.randn(1 + side * side, 5, dtype=torch.float64)
    theirs = oracle.resize_positional(embedding.numpy(), grid, antialias=antialias)
    close(resize_positional(embedding, grid, antialias=antialias), theirs)


class Adapted(torch.nn.Module):
    """A linear layer with an adapter of low rank, whose `weight` is that of what it adapts, as peft has it."""

    def __init__(self, layer, down, up):
        super().__init__()
        self.layer, self.down, self.up = layer, down, up
        self.in_features, self.out_features = layer.in_features, layer.out_features

    weight = property(lambda self: self.layer.weight)
    bias = property(lambda self: self.layer.bias)

    def forward(self, tokens):
        return self.layer(tokens) + tokens @ self.down @ self.up


def test_layers_are_read_through_an_adapter_as_through_what_it_is_merged_into():
    config = {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear", "image_size": 160}
    adapted = tiny.clip_of(config, dtype=torch.float64).eval()
    merged, chance = copy.deepcopy(adapted), torch.Generator().manual_seed(0)
    for mine, other in zip(adapted.visual.trunk.blocks, merged.visual.trunk.blocks, strict=True):
        layer = mine.attn.qkv
        down = torch.randn(layer.in_features, 2, generator=chance, dtype=torch.float64)
        up = torch.randn(2, layer.out_features, generator=chance, dtype=torch.float64)
        mine.attn.qkv = Adapted(layer, down, up)
        other.attn.qkv.weight.data += (down @ up).T
    image = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    prepared = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    both = [
        dcv.load(clip.eval(), preprocess=prepared).compare(image, ["a car"], layers="all") for clip in (adapted, merged)
    ]
    for name in ("layer_dense", "layer_score"):
        np.testing.assert_allclose(both[0][name], both[1][name], atol=1e-12)
