"""The oracle against torch and open_clip themselves: what other tests measure with must be right first."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from tiny import random_pixels, randomise, resnet_settings, tiny_resnet, tiny_vit, vit_settings, weights
from torch.nn import functional as F

RESNETS = {
    "a 3 × 3 grid": {},
    "deeper and wider layers, a 2 × 2 grid": {"layers": (2, 1, 3, 1), "width": 32, "image_size": 64},
    "narrow heads": {"head_width": 32, "seed": 5},
}
VITS = {
    "gelu": {},
    "quick_gelu": {"quick_gelu": True},
    "layer scale": {"ls_init_value": 0.1},
    "no ln_pre": {"no_ln_pre": True, "layers": 2},
    "an image wider than high": {"image_size": (32, 48), "width": 64, "layers": 2, "seed": 3},
    "another mlp width and norm eps": {"mlp_ratio": 4.9231, "norm_kwargs": {"eps": 1e-3}, "layers": 1},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


@pytest.fixture(params=RESNETS.values(), ids=RESNETS.keys(), scope="module")
def resnet(request):
    visual = tiny_resnet(**request.param).visual
    return visual, weights(visual), random_pixels(visual.image_size, visual.image_size, seed=1)


@pytest.fixture(params=VITS.values(), ids=VITS.keys(), scope="module")
def vit(request):
    visual = tiny_vit(**request.param).visual
    return visual, weights(visual), random_pixels(*visual.image_size, seed=1)


def assert_equal(got: np.ndarray, expected: torch.Tensor | np.ndarray) -> None:
    assert oracle.relative_error(got, np.asarray(expected)) <= 1e-12


def outputs(visual: torch.nn.Module, modules: list, pixels: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The embedding, and what each module gave on the way to it."""
    seen: list[torch.Tensor] = []
    handles = [m.register_forward_hook(lambda m, i, out: seen.append(out[0].clone())) for m in modules]
    embedding = visual(torch.tensor(pixels)[None])[0]
    for handle in handles:
        handle.remove()
    return embedding, seen


def terms(pool: dict, out: torch.nn.Linear) -> torch.Tensor:
    """(token, D): attention times value through the out projection, all heads in one einsum."""
    attention, values = torch.tensor(pool["attention"]), torch.tensor(pool["values"])
    split = (len(attention), -1)
    return torch.einsum("hj,jhc,dhc->jd", attention, values.unflatten(1, split), out.weight.unflatten(1, split))


def total(pool: dict) -> np.ndarray:
    return pool["contributions"].sum(axis=(0, 1)) + sum(pool["rest"].values())


def seen_positions(attention: np.ndarray) -> np.ndarray:
    """How many positions a head looks at: the exponential of its entropy."""
    return np.exp(-(attention * np.log(attention + 1e-300)).sum(axis=-1))


def test_the_layers_of_a_resnet_are_those_of_open_clip(resnet):
    visual, sd, pixels = resnet
    modules = [visual.avgpool, visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    _, seen = outputs(visual, modules, pixels)
    got = oracle.resnet_layers(sd, pixels, resnet_settings(visual)[0])
    for expected, name in zip(seen, ("stem", "layer1", "layer2", "layer3", "layer4"), strict=True):
        assert_equal(got[name], expected)


@pytest.mark.parametrize("size", [(64, 96), (71, 130), (33, 100)])
def test_the_layers_of_a_resnet_are_those_of_open_clip_at_any_size(size):
    visual = tiny_resnet().visual
    pixels = random_pixels(*size)
    expected = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(torch.tensor(pixels)[None])))))
    assert_equal(oracle.resnet_layers(weights(visual), pixels, (1, 1, 1, 1))["layer4"], expected[0])


def test_the_attention_pool_gives_the_embedding_and_its_parts_sum_to_it(resnet):
    visual, sd, pixels = resnet
    depths, heads = resnet_settings(visual)
    x4 = oracle.resnet_layers(sd, pixels, depths)["layer4"]
    pool = oracle.resnet_pool(sd, x4, heads)
    expected = visual(torch.tensor(pixels)[None])[0]
    assert_equal(pool["embedding"], expected)
    assert_equal(total(pool), expected)
    assert_equal(pool["attention"].sum(axis=1), np.ones(heads))
    assert_equal(pool["contributions"], terms(pool, visual.attnpool.c_proj)[1:].reshape(*x4.shape[1:], -1))
    assert_equal(pool["rest"]["mean token"], terms(pool, visual.attnpool.c_proj)[0])


def test_a_resnet_pools_other_grids_with_a_resized_positional_embedding():
    visual = tiny_resnet().visual
    sd, heads = weights(visual), visual.attnpool.num_heads
    x4 = np.random.default_rng(0).normal(size=(512, 2, 5))
    pe = oracle.resize_positional(sd["attnpool.positional_embedding"], (2, 5))
    pool = oracle.resnet_pool(sd, x4, heads, positional_embedding=pe)
    visual.attnpool.positional_embedding = torch.nn.Parameter(torch.tensor(pe))
    assert_equal(total(pool), visual.attnpool(torch.tensor(x4)[None])[0])


def test_a_resnet_s_dense_feature_is_the_pool_of_that_position_alone(resnet):
    visual, sd, _ = resnet
    pool = visual.attnpool
    x4 = np.random.default_rng(0).normal(size=(pool.v_proj.in_features, 2, 3))
    cells = torch.tensor(x4).flatten(1).T
    before, pool.positional_embedding = pool.positional_embedding, torch.nn.Parameter(torch.zeros(2, 1))
    expected = pool(cells[:, :, None, None])
    pool.positional_embedding = before
    assert_equal(oracle.resnet_dense(sd, x4), expected.reshape(2, 3, -1))
    assert_equal(oracle.resnet_keys(sd, x4), pool.k_proj(cells).reshape(2, 3, -1))


def test_the_streams_and_the_embedding_of_a_vit_are_those_of_open_clip(vit):
    visual, sd, pixels = vit
    settings, blocks = vit_settings(visual), visual.transformer.resblocks
    expected, seen = outputs(visual, [visual.ln_pre, *blocks], pixels)
    streams = oracle.vit_streams(sd, pixels, settings)
    for got, stream in zip(streams, seen, strict=True):
        assert_equal(got, stream)
    pool = oracle.vit_pool(sd, streams, visual.grid_size, settings)
    assert_equal(pool["embedding"], expected)
    assert_equal(total(pool), expected)


def test_a_vit_s_attention_and_parts_are_exact_behind_every_block(vit):
    visual, sd, pixels = vit
    settings, blocks = vit_settings(visual), visual.transformer.resblocks
    streams = oracle.vit_streams(sd, pixels, settings)
    for number, block in enumerate(blocks):
        entering = torch.tensor(streams[number])[None]
        y = block.ln_1(entering)
        attention = block.attn(y, y, y, need_weights=True, average_attn_weights=False)[1][0]
        assert_equal(oracle.vit_attention(sd, streams[number], settings, number), attention)
        pool = oracle.vit_pool(sd, streams, visual.grid_size, settings, block=number)
        assert_equal(pool["attention"], attention[:, 0])
        assert_equal(total(pool), visual.ln_post(block(entering)[0, 0]) @ visual.proj)
        assert set(pool["rest"]) == {"class token", "residual", "mlp", "bias"}


def test_a_vit_s_parts_are_what_their_names_say(vit):
    visual, sd, pixels = vit
    streams = oracle.vit_streams(sd, pixels, vit_settings(visual))
    pool = oracle.vit_pool(sd, streams, visual.grid_size, vit_settings(visual))
    block, norm = visual.transformer.resblocks[-1], visual.ln_post
    entering, z = torch.tensor(streams[-2][:1]), torch.tensor(streams[-1][:1])
    y = block.ln_1(torch.tensor(streams[-2]))
    middle = entering + block.ls_1(block.attn(y[:1], y, y, need_weights=False)[0])
    per_token = block.ls_1(terms(pool, block.attn.out_proj))
    parts = torch.cat([per_token, entering, block.ls_2(block.mlp(block.ln_2(middle)))])
    spread = (z.var(correction=0) + norm.eps).sqrt()
    expected = ((parts - parts.mean(dim=1, keepdim=True)) / spread * norm.weight) @ visual.proj
    assert_equal(pool["contributions"], expected[1:-2].reshape(*visual.grid_size, -1))
    for name, row in {"class token": 0, "residual": -2, "mlp": -1}.items():
        assert_equal(pool["rest"][name], expected[row])


def test_a_vit_s_dense_feature_is_the_block_applied_to_that_position_alone(vit):
    visual, sd, pixels = vit
    settings, grid = vit_settings(visual), visual.grid_size
    streams = oracle.vit_streams(sd, pixels, settings)
    for number, block in enumerate(visual.transformer.resblocks):
        alone = torch.tensor(streams[number][1:, None])
        attended = block.ls_1(block.attention(block.ln_1(alone)))
        with_mlp = attended + block.ls_2(block.mlp(block.ln_2(attended)))
        expected = {
            (True, True): block(alone),
            (True, False): alone + attended,
            (False, True): with_mlp,
            (False, False): attended,
        }
        for (residual, mlp), tokens in expected.items():
            got = oracle.vit_dense(sd, streams[number], grid, settings, number, residual=residual, mlp=mlp)
            assert_equal(got, (visual.ln_post(tokens[:, 0]) @ visual.proj).reshape(*grid, -1))


def test_keys_of_a_vit_come_plain_and_projected(vit):
    visual, sd, pixels = vit
    stream = oracle.vit_streams(sd, pixels, vit_settings(visual))[-2]
    block, width = visual.transformer.resblocks[-1], stream.shape[1]
    keys = F.linear(block.ln_1(torch.tensor(stream[1:])), block.attn.in_proj_weight, block.attn.in_proj_bias)
    keys = keys[:, width : 2 * width]
    got = oracle.vit_keys(sd, stream, visual.grid_size, vit_settings(visual))
    assert_equal(got["plain"], keys.reshape(*visual.grid_size, -1))
    assert_equal(got["projected"], block.attn.out_proj(keys).reshape(*visual.grid_size, -1))


def test_a_vit_reads_other_sizes_padded_at_the_corner():
    visual = tiny_vit().visual
    sd, settings = weights(visual), vit_settings(visual)
    pixels = oracle.pad_corner(random_pixels(21, 34), settings.patch)
    assert pixels.shape == (3, 24, 40) and not pixels[:, 21:].any() and not pixels[:, :, 34:].any()
    pe = oracle.resize_positional(sd["positional_embedding"], (3, 5))
    streams = oracle.vit_streams(sd, pixels, settings, positional_embedding=pe)
    visual.positional_embedding = torch.nn.Parameter(torch.tensor(pe))
    expected = visual(torch.tensor(pixels)[None])[0]
    assert_equal(total(oracle.vit_pool(sd, streams, (3, 5), settings)), expected)


@pytest.mark.parametrize("build", [tiny_resnet, tiny_vit])
def test_a_tiny_model_is_random_everywhere_and_the_same_for_a_seed(build):
    first, same, other, single = build(), build(), build(seed=1), build(dtype=torch.float32)
    assert not first.training
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
        if tensor.is_floating_point():
            assert tensor.dtype == torch.float64 and tensor.isfinite().all()
            assert tensor.ndim == 0 or tensor.std() > 0.01, name
            assert not torch.equal(tensor, other.state_dict()[name]), name
            assert torch.equal(tensor.float(), single.state_dict()[name])
    assert all((b > 0).all() for name, b in first.named_buffers() if name.endswith("running_var"))


@pytest.mark.parametrize("seed", range(3))
def test_attention_of_tiny_models_is_neither_flat_nor_on_one_position(seed):
    visual = tiny_resnet(seed=seed).visual
    sd, pixels = weights(visual), random_pixels(96, 96, seed)
    pool = oracle.resnet_pool(sd, oracle.resnet_layers(sd, pixels, (1, 1, 1, 1))["layer4"], heads=8)
    assert 1.5 < np.median(seen_positions(pool["attention"])) < 6
    visual = tiny_vit(seed=seed).visual
    sd, settings = weights(visual), vit_settings(visual)
    pool = oracle.vit_pool(sd, oracle.vit_streams(sd, random_pixels(32, 32, seed), settings), (4, 4), settings)
    assert 1.5 < np.median(seen_positions(pool["attention"])) < 10


def test_maps_of_a_deep_resnet_stay_sane():
    from open_clip.modified_resnet import ModifiedResNet

    visual = randomise(ModifiedResNet([3, 4, 23, 3], output_dim=8, heads=8, image_size=64, width=16))
    embedding, (x4,) = outputs(visual, [visual.layer4], random_pixels(64, 64).astype(np.float32))
    assert 0.1 < x4.std() < 10
    assert embedding.isfinite().all()
