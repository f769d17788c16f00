"""Every kind of pooling: the dense feature is the pooled answer to one position alone, and the sum is exact."""

import copy
from collections import Counter
from dataclasses import replace
from unittest import mock

import oracle
import pytest
import tiny
import torch
from state import fingerprint
from torch import nn
from torch.nn import functional as F

from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.paths import PATHS, read_layer
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.clip.towers.tower import check_recomposition, resize_positional
from denseclip_viz.errors import GeometryError, LayerError, RecompositionError, UnsupportedTowerError
from denseclip_viz.maps.gradients import gradient_maps

TIMM_SIZED = [kind for kind in tiny.TIMM if kind not in ("ConvNeXt", "ConvNeXt-mlp", "FastViT")]


def pixels_for(visual, *sides, dtype=torch.float64):
    sides = sides or (tiny.native_side(visual),) * 2
    return torch.from_numpy(tiny.random_pixels(*sides))[None].to(dtype)


def plain(visual, pixels):
    with torch.no_grad():
        out = visual(pixels)
    return out[0] if isinstance(out, tuple) else out


def opened(visual, pixels, **request):
    with torch.no_grad():
        return decompose(tower_for(visual).at(pixels), pixels, ForwardOptions(**request))


def miss(ours, theirs):
    return oracle.relative_error(ours.detach().numpy(), theirs.detach().numpy())


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_contributions_and_rest_are_the_models_own_answer(kind):
    visual = tiny.tiny_tower(kind)
    pixels = pixels_for(visual)
    ours = opened(visual, pixels)
    total = ours.contributions.sum((1, 2)) + sum(ours.rest.values())
    assert miss(total, plain(visual, pixels)) <= 1e-12
    covered = ours.attention.sum((-2, -1))
    assert (covered <= 1 + 1e-12).all() and (covered > 0).all()


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_dense_feature_is_the_pooled_answer_to_one_position_alone(kind):
    """The slow way: position by position, the tower again with its pool forced onto that one."""
    visual = tiny.tiny_tower(kind)
    pixels = pixels_for(visual)
    ours = opened(visual, pixels).dense[0].flatten(0, 1)
    forced = {"ViT class token": alone_in_the_last_block, "mean": alone_in_the_mean, "latent query": alone_in_pool}
    for j in range(len(ours)):
        assert miss(ours[j], forced[tower_for(visual).family](visual, pixels, j, len(ours))) <= 1e-12


def alone_in_the_last_block(visual, pixels, j, count):
    """A sequence of one token attends to itself; then the tower's own norm and head."""
    trunk, streams = visual.trunk, []
    handle = trunk.blocks[-1].register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    plain(visual, pixels)
    handle.remove()
    own = streams[0][:, streams[0].shape[1] - count + j][:, None]
    itself = mock.patch.object(F, "scaled_dot_product_attention", lambda q, k, v, **_: v)
    with torch.no_grad(), itself:
        return visual.head(trunk.forward_head(trunk.norm(trunk.blocks[-1](own))))[0]


def alone_in_the_mean(visual, pixels, j, count):
    """What is averaged is position j everywhere."""

    def everywhere(values):
        if values.ndim == 4 and hasattr(visual.trunk, "layers"):  # Swin: (image, y, x, C)
            return values.flatten(1, 2)[:, j][:, None, None].expand_as(values)
        if values.ndim == 4:
            return values.flatten(2)[:, :, j][:, :, None, None].expand_as(values)
        return values[:, values.shape[1] - count + j][:, None].expand_as(values)

    if hasattr(visual, "trunk") and not hasattr(visual.trunk, "blocks"):
        handle = visual.trunk.head.global_pool.register_forward_pre_hook(lambda _, i: (everywhere(i[0]),))
    else:
        behind = visual.trunk.norm if hasattr(visual, "trunk") else visual.transformer
        handle = behind.register_forward_hook(lambda _, i, output: everywhere(output))
    try:
        return plain(visual, pixels)[0]
    finally:
        handle.remove()


def alone_in_pool(visual, pixels, j, count):
    """The one query reads the value of position j, whatever its keys."""
    fused, multi = F.scaled_dot_product_attention, F.multi_head_attention_forward

    def pooled(q, k, v, *args, **more):
        if q.shape[-2] == k.shape[-2]:  # a block of the trunk
            return fused(q, k, v, *args, **more)
        return v[:, :, v.shape[2] - count + j][:, :, None].expand(-1, -1, q.shape[2], -1)

    def pooled_multi(query, key, value, *args, **more):
        if len(query) == len(key):
            return multi(query, key, value, *args, **more)
        at = len(key) - count + j
        with mock.patch.object(F, "scaled_dot_product_attention", fused):
            return multi(query, key[at : at + 1], value[at : at + 1], *args, **more)

    with (
        mock.patch.object(F, "scaled_dot_product_attention", pooled),
        mock.patch.object(F, "multi_head_attention_forward", pooled_multi),
    ):
        return plain(visual, pixels)[0]


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_input_size_leaves_the_model_alone(kind, dtype):
    visual = tiny.tiny_tower(kind, dtype=dtype)
    cell = tower_for(visual).cell
    sides = (224, 448) if kind == "Swin" else (2 * cell[0], 5 * cell[1])
    pixels, before = pixels_for(visual, *sides, dtype=dtype), fingerprint(visual)
    ours = opened(visual, pixels)
    assert fingerprint(visual) == before
    assert ours.dense.shape[1:3] == (sides[0] // cell[0], sides[1] // cell[1])
    check_recomposition(ours, kind)


@pytest.mark.filterwarnings("ignore:torch.searchsorted|Using a non-tuple sequence")  # timm's, seen by us alone there
@pytest.mark.parametrize("kind", TIMM_SIZED)
def test_another_input_size_reads_as_timm_itself_would(kind):
    visual = tiny.tiny_tower(kind)
    cell = tower_for(visual).cell
    sides = (448, 224) if kind == "Swin" else (4 * cell[0], 2 * cell[1])
    pixels, other = pixels_for(visual, *sides), copy.deepcopy(visual)
    other.trunk.set_input_size(sides)
    assert miss(opened(visual, pixels).embedding, plain(other, pixels)) <= 1e-12


@pytest.mark.parametrize("kind", ["SigLIP", "GAP", "EVA01"])
def test_the_native_size_need_not_be_whole_patches(kind):
    """As ViT-SO400M-14-SigLIP-384: the patch embedding leaves out what fills no patch."""
    cell, side = tiny.TIMM[kind][3], 5 * tiny.TIMM[kind][3] // 2
    visual = tiny.tiny_tower(kind, img_size=side)
    pixels = pixels_for(visual, side, side)
    ours = opened(visual, pixels)
    assert tower_for(visual).cell == (cell, cell) and ours.dense.shape[1:3] == (2, 2)
    assert miss(ours.embedding, plain(visual, pixels)) <= 1e-12
    check_recomposition(ours, kind)
    assert opened(visual, pixels_for(visual, 3 * cell, cell)).dense.shape[1:3] == (3, 1)


def test_a_vit_made_for_wide_images_reads_them_and_others():
    visual = tiny.tiny_vit(image_size=(32, 48)).visual
    pixels = pixels_for(visual, 32, 48)
    ours = opened(visual, pixels)
    assert ours.dense.shape[1:3] == (4, 6) and miss(ours.embedding, plain(visual, pixels)) <= 1e-12
    table = visual.positional_embedding
    there = resize_positional(table, (8, 3), native=(4, 6))
    assert miss(opened(visual, pixels_for(visual, 64, 24)).embedding, with_table(visual, there)) <= 1e-12


def with_table(visual, table):
    """The plain tower with another table of positions, on 64 x 24 pixels."""
    other = copy.deepcopy(visual)
    other.positional_embedding = nn.Parameter(table.detach())
    return plain(other, pixels_for(visual, 64, 24))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_sides_that_are_no_multiple_of_the_cell_are_refused(kind):
    visual = tiny.tiny_tower(kind)
    with pytest.raises(GeometryError, match="multiples"):
        opened(visual, pixels_for(visual, tower_for(visual).cell[0] + 1, tower_for(visual).cell[1]))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_listening_changes_the_way_but_not_the_answer(kind):
    visual = tiny.tiny_tower(kind)
    pixels, before = pixels_for(visual), fingerprint(visual)
    names = tuple(tower_for(visual).taps())
    lean, full = opened(visual, pixels), opened(visual, pixels, layers=names)
    for name in ("embedding", "dense", "attention", "contributions", "even"):
        assert miss(getattr(lean, name), getattr(full, name)) <= 1e-12
    assert list(full.layers) == list(names) and fingerprint(visual) == before


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_last_layer_reads_as_the_answer_and_every_layer_can_be_read(kind):
    visual = tiny.tiny_tower(kind)
    tower, pixels = tower_for(visual), pixels_for(visual)
    vectors = torch.randn(1, 2, plain(visual, pixels).shape[-1], dtype=torch.float64)
    if needed := tower.layers_to_record(tower.layers):
        ours = opened(visual, pixels, layers=needed)
        with torch.no_grad():
            whole, dense = read_layer(tower, ours.layers, tower.layers[-1], PATHS["value"])
        assert miss(whole, ours.embedding) <= 1e-12 and miss(dense, ours.dense.flatten(1, 2)) <= 1e-12
    else:
        maps = gradient_maps(tower, pixels[0], vectors, layers=tower.layers, path=PATHS["value"])
        assert list(maps) == list(tower.layers)
        assert all(m.isfinite().all() and m.shape[:2] == (1, 2) for pair in maps.values() for m in pair)


def frozen_layer_norm(x, shape, weight, bias, eps, *, plainly):
    still = x.detach()
    moved = plainly(still, shape, weight, bias, eps)
    change = x - still  # zero, but gradients flow through it
    change = change - change.mean(-1, keepdim=True)
    return moved + change / (still.var(-1, keepdim=True, correction=0) + eps).sqrt() * weight


def test_a_layer_before_a_norm_is_read_as_more_than_rounding():
    """A norm undoes any scale, so with its deviation left to the gradient the product is 0 at every position."""
    for kind, layers in (("ConvNeXt", ["stages.1", "stages.3"]), ("Swin", ["stages.3"])):
        visual = tiny.tiny_tower(kind)
        text = F.normalize(torch.randn(24, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=0)
        pixels = pixels_for(visual, *([64, 96] if kind == "ConvNeXt" else ()))
        maps = gradient_maps(tower_for(visual), pixels[0], text[None, None], layers=layers, path=PATHS["value"])
        assert all(m.abs().max() > 1e-5 for pair in maps.values() for m in pair)
        if kind == "ConvNeXt":  # what is averaged: each position's share of the score, as its contribution has it
            ours = opened(visual, pixels)
            embedding = ours.embedding[0].requires_grad_()
            (towards,) = torch.autograd.grad(F.cosine_similarity(embedding, text, dim=0), embedding)
            assert miss(maps["stages.3"][0][0, 0], ours.contributions[0] @ towards) <= 1e-10


def test_gradients_of_maps_with_channels_last_are_those_of_the_plain_pass():
    visual = tiny.tiny_tower("Swin")
    pixels, kept = pixels_for(visual, 224, 448), []
    tower = tower_for(visual).at(pixels)
    text = F.normalize(torch.randn(24, dtype=torch.float64), dim=0)
    handle = tower.visual.trunk.layers[1].register_forward_hook(lambda _, i, output: kept.append(output))
    layer_norm = F.layer_norm
    with mock.patch.object(F, "layer_norm", lambda *given: frozen_layer_norm(*given, plainly=layer_norm)):
        score = F.cosine_similarity(tower.visual(pixels)[0], text, dim=0)
    (gradient,) = torch.autograd.grad(score, kept[0])
    handle.remove()
    ours = gradient_maps(tower, pixels[0], text[None, None], layers=["stages.1"], path=PATHS["value"])["stages.1"][0]
    assert miss(ours[0, 0], (kept[0] * gradient).sum(-1)[0]) <= 1e-12


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_somebody_elses_hooks_hear_the_one_pass_and_nothing_more(kind):
    visual, heard = tiny.tiny_tower(kind), Counter()
    tower, pixels = tower_for(visual), pixels_for(visual)
    full = opened(visual, pixels, layers=tower.layers_to_record(tower.layers))
    for name, module in visual.named_modules():
        module.register_forward_hook(lambda _module, _inputs, _output, name=name: heard.update([name]))
    plain(visual, pixels)
    expected = Counter(heard)
    heard.clear()
    opened(visual, pixels)
    assert heard == expected
    heard.clear()
    with torch.no_grad():
        for layer in tower.layers if tower.layers_to_record(tower.layers) else ():
            read_layer(tower, full.layers, layer, PATHS["value"])
    assert not heard


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_missing_term_is_loud(kind):
    visual = tiny.tiny_tower(kind)
    ours = opened(visual, pixels_for(visual))
    for name, term in ours.rest.items():
        if term.any():
            with pytest.raises(RecompositionError, match=kind):
                check_recomposition(replace(ours, rest={n: t for n, t in ours.rest.items() if n != name}), kind)


@pytest.mark.parametrize("include", [True, False])
def test_layers_are_pooled_with_or_without_the_tokens_before_the_patches_as_the_pool_is(include):
    visual = tiny.tiny_vit(dtype=torch.float64, **tiny.QUERY).visual
    visual.trunk.pool_include_prefix = include
    tower, pixels = tower_for(visual), pixels_for(visual)
    ours = opened(visual, pixels, layers=tower.layers_to_record(tower.layers[-1:]))
    with torch.no_grad():
        whole, dense = read_layer(tower, ours.layers, tower.layers[-1], PATHS["value"])
    assert miss(whole, ours.embedding) <= 1e-12 and miss(dense, ours.dense.flatten(1, 2)) <= 1e-12


def test_plain_tokens_of_another_width_than_their_pool_are_refused():
    visual = tiny.tiny_tower("CoCa")
    with pytest.raises(LayerError, match="48 channels and answers with 24"):
        opened(visual, pixels_for(visual), path=PATHS["vanilla"])


def test_tokens_that_a_tower_gives_beside_its_answer_are_never_our_stand_ins():
    visual, given = tiny.tiny_vit(output_tokens=True).visual, []
    pixels = pixels_for(visual)
    visual.register_forward_hook(lambda _module, _inputs, output: given.append(output[1]))
    plain(visual, pixels)
    opened(visual, pixels)
    assert miss(given[1], given[0]) <= 1e-12


@pytest.mark.parametrize("kind", ["SigLIP", "PE", "CoCa", "EVA02"])
def test_keys_are_those_that_the_pool_compares_with(kind):
    visual = tiny.tiny_tower(kind)
    pixels = pixels_for(visual)
    ours = opened(visual, pixels, keys="key", layers=("pool.key",))
    heads = ours.layers["pool.key"].transpose(1, 2).flatten(2)
    assert miss(ours.keys.flatten(1, 2), heads[:, heads.shape[1] - ours.keys[0, ..., 0].numel() :]) <= 1e-12


@pytest.mark.parametrize("kind", ["ConvNeXt", "CLIPA"])
def test_a_mean_has_no_keys_and_says_so(kind):
    visual = tiny.tiny_tower(kind)
    with pytest.raises(LayerError, match="plain mean"):
        opened(visual, pixels_for(visual), keys="key")


def test_where_nothing_stands_behind_the_mean_but_a_projection_the_dense_mean_is_the_embedding():
    for kind in ("Swin", "GAP", "FastViT"):
        visual = tiny.tiny_tower(kind)
        ours = opened(visual, pixels_for(visual))
        assert miss(ours.dense.mean((1, 2)), ours.embedding) <= 1e-12


def test_attention_that_cannot_be_seen_is_an_error():
    visual = tiny.tiny_tower("SigLIP")
    visual.trunk.attn_pool.fused_attn = False
    with pytest.raises(UnsupportedTowerError, match="TIMM_FUSED_ATTN"):
        opened(visual, pixels_for(visual))
    visual = tiny.tiny_tower("EVA02")
    visual.trunk.blocks[-1].attn.fused_attn = False
    with pytest.raises(UnsupportedTowerError, match="TIMM_FUSED_ATTN"):
        opened(visual, pixels_for(visual))


def test_unknown_towers_are_named_and_never_guessed():
    from open_clip.timm_model import TimmModel

    unusual = tiny.tiny_vit().visual
    unusual.proj = None
    strange = [
        (tiny.tiny_vit(qk_norm=True).visual, "blocks CustomResidualAttentionBlock"),
        (unusual, "no projection"),
        (TimmModel("test_convnext", 8, image_size=64, pool="avgmax", proj="linear"), "pool 'avgmax'"),
        (TimmModel("test_resnet", 8, image_size=64, pool="avg", proj="linear"), "ResNet"),
        (TimmModel("test_convnext", 8, image_size=64, pool="max", proj="linear"), "ConvNeXt"),
        (nn.Linear(2, 2), "Linear"),
    ]
    for visual, name in strange:
        with pytest.raises(UnsupportedTowerError, match=name):
            tower_for(visual)
