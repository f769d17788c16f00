"""Every published path is what its paper says, against loops of its own; and a small mistake in it would show."""

import functools
from dataclasses import replace

import numpy as np
import oracle
import oracle_paths
import pytest
import tiny
import torch

from denseclip_viz.clip.dense_path import DensePath, Term
from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.clip.self_attention import block_numbers
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.clip.towers.tower import resize_positional
from denseclip_viz.errors import LayerError

PUBLISHED = [name for name, path in PATHS.items() if path.of_blocks or path.of_given]
SIZES = {"native": (56, 56), "larger": (64, 64), "not square": (48, 72)}  # more patches than SC-CLIP has neighbours


def twelve(dtype=torch.float64, **options):
    twelve = {"layers": 12, "head_width": 8, "image_size": 56, "quick_gelu": True, "ls_init_value": 0.1}
    return tiny.tiny_vit(dtype=dtype, **twelve | options).visual


@pytest.fixture(scope="module")
def visual():
    return twelve()


def given(pixels):
    """Features and keys of another model, on a finer grid than the tower's, and masks of three regions that overlap."""
    rows, columns = (3 * side // 16 for side in pixels.shape[-2:])
    generator = np.random.default_rng(7)
    spots = generator.random((3, *(-(-side // 12) for side in pixels.shape[-2:]))) < 0.4
    regions = spots.repeat(12, 1).repeat(12, 2)[:, : pixels.shape[-2], : pixels.shape[-1]]
    regions[:, :16, :16] = False
    features = generator.normal(size=(rows, columns, 10)) + 0.3
    keys = generator.normal(size=(rows, columns, 6 * 12)) * generator.exponential(size=6 * 12)
    return {"features": features, "spectral": keys, "regions": regions}


def ours(visual, pixels, path, dtype=None):
    if path.of_given and path.given is None:
        path = path.with_given(given(pixels)[path.terms[0].kind.split("-")[0]])
    with torch.no_grad():
        inputs = torch.from_numpy(pixels)[None].to(dtype)
        return decompose(tower_for(visual), inputs, ForwardOptions(path=path)).dense[0]


@pytest.fixture(scope="module")
def towers(visual):
    """For each size the pixels, and the oracle's tower."""
    made, sd, vit = {}, tiny.weights(visual), tiny.vit_settings(visual)
    for size, (height, width) in SIZES.items():
        pixels, grid = tiny.random_pixels(height, width), (height // 8, width // 8)
        table = resize_positional(visual.positional_embedding.detach(), grid).numpy()
        made[size] = (
            pixels,
            oracle_paths.Tower(sd, oracle.vit_streams(sd, pixels, vit, table), grid, vit, given(pixels)),
        )
    return made


@pytest.fixture(scope="module")
def expected(towers):
    """What the paper says of a path at a size; each is worked out once, since loops are slow."""
    return functools.cache(lambda name, size: oracle_paths.PATHS[name](towers[size][1]))


def test_every_path_of_blocks_has_an_oracle():
    assert list(oracle_paths.PATHS) == PUBLISHED


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_path_is_what_its_paper_says(visual, towers, expected, name, size):
    mixed = ours(visual, towers[size][0], PATHS[name]).numpy()
    assert oracle.relative_error(mixed, expected(name, size)) < 1e-12


@pytest.mark.parametrize("name", PUBLISHED)
def test_and_in_single_precision(towers, expected, name):
    pixels = towers["not square"][0].astype(np.float32)
    single = ours(twelve(torch.float32), pixels, PATHS[name]).numpy()
    assert oracle.relative_error(single, expected(name, "not square")) < 3e-6


@pytest.mark.parametrize("name", PUBLISHED)
def test_and_in_half_precision_near_it(towers, expected, name):
    half = twelve(torch.bfloat16)
    mixed = ours(half, towers["native"][0], PATHS[name], torch.bfloat16).double().numpy()
    theirs = expected(name, "native")
    cosine = (mixed * theirs).sum(-1) / np.linalg.norm(mixed, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert np.median(cosine) > 0.95


MISTAKES = {
    "the mean of SCLIP's softmaxes": ("sclip", {"attention": (Term("qq", 0.5), Term("kk", 0.5))}),
    "SCLIP without its MLP": ("sclip", {"mlp": False}),
    "ClearCLIP by keys": ("clearclip", {"attention": ("kk",)}),
    "ClearCLIP with the residual": ("clearclip", {"residual": True}),
    "NACLIP's width 4": ("naclip", {"gaussian": 4.0}),
    "NACLIP without the class token": ("naclip", {"class_key": False}),
    "CLIP Surgery over seven blocks": ("clip-surgery", {"blocks": 7}),
    "GEM without a round": ("gem", {"iterations": 0}),
    "GEM with two rounds": ("gem", {"iterations": 2}),
    "GEM over eight blocks": ("gem", {"blocks": 8}),
    "SC-CLIP without repair": ("sc-clip", {"outliers": ""}),
    "SC-CLIP averaged by block 5": ("sc-clip", {"smooth": (9, 5)}),
    "SC-CLIP without the class token": ("sc-clip", {"class_token": 0.0}),
    "SC-CLIP attending to the class token": ("sc-clip", {"class_key": True}),
    "SC-CLIP summed from block 5": ("sc-clip", {"summed": (5, 10)}),
    "SC-CLIP with a bonus for near positions": ("sc-clip", {"gaussian": 5.0}),
    "SFP with the outliers of SC-CLIP": ("sfp", {"outliers": "density"}),
    "SFP without repair": ("sfp", {"outliers": ""}),
    "SFP's sum by all its attentions": ("sfp", {"summed_attention": ()}),
    "SFP without queries": ("sfp", {"attention": (Term("similar", 0.5, (9,)), Term("kk", 0.5))}),
    "DIH-CLIP by three heads": ("dih-clip", {"heads": 3}),
    "DIH-CLIP by every head for itself": ("dih-clip", {"heads": 0}),
    "DIH-CLIP by block 8": ("dih-clip", {"attention": (Term("similar", 0.5, (8,)), Term("kk", 0.5))}),
    "PEARL in five steps": ("pearl", {"attention": ("aligned-in-five-steps",)}),
    "PEARL without turning keys": ("pearl", {"attention": ("qk",)}),
    "PEARL without the class token": ("pearl", {"class_key": False}),
    "the five steps of PEARL to their end": ("pearl-in-five-steps", {"attention": ("aligned",)}),
    "CLIPer by all blocks": ("cliper", {"attention": (Term("balanced", 1.0, tuple(range(1, 13))),)}),
    "CLIPer by the last layer alone": ("cliper", {"late": False}),
    "CLIPer by plain attention": ("cliper", {"attention": (Term("qk", 1.0, tuple(range(1, 12))),)}),
    "ProxyCLIP with the residual": ("proxyclip", {"residual": True}),
    "ProxyCLIP by CLIP's own patches": ("proxyclip", {"attention": (Term("similar", 1.0, (9,)),)}),
    "CASS without near positions": ("cass", {"gaussian": 0.0}),
    "CASS with the residual": ("cass", {"residual": True}),
    "CASS as released": ("cass", {"attention": ("spectral-as-released",)}),
    "CASS by keys alone": ("cass", {"attention": ("kk",)}),
    "TextRegion with its global patches": ("textregion", {"attention": ("regions",)}),
    "TextRegion without its MLP": ("textregion", {"mlp": False}),
    "TextRegion with the residual": ("textregion", {"residual": True}),
    "ResCLIP's blocks 5 to 8": ("resclip", {"attention": (Term("kk", 0.8), Term("qk", 1.2, (5, 6, 7, 8)))}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_small_mistake_in_a_path_shows(visual, towers, expected, mistake):
    name, changes = MISTAKES[mistake]
    wrong = ours(visual, towers["native"][0], replace(PATHS[name], **changes)).numpy()
    assert oracle.relative_error(wrong, expected(name, "native")) > 5e-4


def test_block_numbers_are_those_of_a_tower_of_twelve():
    assert block_numbers((), 12) == []
    assert block_numbers(range(1, 13), 12) == list(range(12))
    assert block_numbers(range(1, 13), 3) == [0, 1, 2]
    for depth in range(1, 49):
        numbers = block_numbers(range(1, 13), depth)
        assert numbers[-1] == depth - 1 and min(numbers) >= 0


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"attention": ("kq",)}, "attention by 'kq'"),
        ({"attention": ("kk",), "blocks": 0, "mlp": False}, "such blocks"),
        ({"attention": ("kk",), "gaussian": -1.0}, "such gaussian"),
        ({"attention": ("kk",), "gaussian": float("nan")}, "such gaussian"),
        ({"attention": ("kk",), "iterations": -1}, "such iterations"),
        ({"attention": (Term("kk", 1.0, (0,)),)}, "such block numbers"),
        ({"attention": (Term("kk", 1.0, (13,)),)}, "such block numbers"),
        ({"attention": ("similar",)}, "similar.*Expected a term of named blocks"),
        ({"attention": (Term("features", 1.0, (9,)),)}, "features.*Expected a term of no block"),
        ({"attention": (Term("spectral", 1.0, (9,)),)}, "spectral.*Expected a term of its own block. Leave blocks out"),
        ({"attention": ("kk",), "smooth": (4,)}, "such block numbers"),
        ({"attention": ("kk",), "summed": (4, 13)}, "such block numbers"),
        ({"attention": ("kk",), "outliers": "density"}, "such changes of the stream"),
        ({"attention": ("kk",), "late": True}, "such changes of the stream"),
        ({"attention": ("kk",), "outliers": True}, "such outliers"),
        ({"attention": ("kk",), "heads": -1}, "such heads"),
        ({"residual": False, "mlp": False, "late": True, "smooth": (9, 4)}, "such late fusion"),
        ({"gaussian": 5.0}, "gaussian, and nothing that it acts on"),
        ({"attention": ("qk",), "gaussian": 5.0}, "gaussian, and nothing that it acts on"),
        ({"attention": (Term("similar", 1.0, (9,)),), "iterations": 1}, "iterations, and nothing that it acts on"),
        ({"class_key": False}, "class_key, and nothing that it acts on"),
        ({"attention": ("features",), "class_key": False}, "class_key, and nothing that it acts on"),
        ({"heads": 4}, "heads, and nothing that it acts on"),
        ({"attention": ("kk",), "summed_attention": ("qq",)}, "summed_attention, and no sum"),
        ({"attention": ("kk",), "given": torch.ones(2, 2, 2)}, "something given, and no use for it"),
        ({"attention": ("kk",), "blocks": 2}, "over 2 blocks"),
        ({"blocks": 2, "mlp": False}, "over 2 blocks"),
    ],
)
def test_a_path_that_cannot_be_is_refused_when_it_is_made(switches, said):
    with pytest.raises(LayerError, match=said):
        DensePath("mine", **switches)


def test_tipsv2s_value_is_the_value_path_of_a_tower_with_layer_scale(visual, towers):
    """Projected, scaled, beside the residual; then the MLP, scaled, beside it; final norm."""
    pixels, tower = towers["not square"]
    theirs = oracle.vit_dense(tower.sd, tower.streams[11], tower.grid, tower.vit)
    assert oracle.relative_error(ours(visual, pixels, PATHS["value"]).numpy(), theirs) < 1e-12
    for scale in ("ls_1", "ls_2"):
        plain = tower.sd | {f"transformer.resblocks.11.{scale}.gamma": np.ones(48)}
        wrong = oracle.vit_dense(plain, tower.streams[11], tower.grid, tower.vit)
        assert oracle.relative_error(wrong, theirs) > 5e-4


OTHERWISE = {
    "blocks": (2,),
    "residual": (True, False),
    "mlp": (True, False),
    "gaussian": (3.0,),
    "iterations": (2,),
    "class_key": (True, False),
    "heads": (2,),
    "outliers": ("density", "class"),
    "smooth": ((8, 3), ()),
    "summed": ((3, 9), ()),
    "summed_attention": (("vv",),),
    "class_token": (0.5,),
    "late": (True, False),
}


@pytest.mark.parametrize("name", ["value", *PUBLISHED])
def test_a_switch_changes_the_features_or_is_refused_and_is_never_taken_no_notice_of(visual, towers, name):
    pixels, row = towers["native"][0], PATHS[name]
    before, changed = ours(visual, pixels, row).numpy(), 0
    for switch, values in OTHERWISE.items():
        for value in values:
            if getattr(row, switch) == value:
                continue
            try:
                other = replace(row, **{switch: value})
            except LayerError:
                continue
            assert oracle.relative_error(ours(visual, pixels, other).numpy(), before) > 1e-6, (switch, value)
            changed += 1
    assert changed >= 2


SWITCHES = {
    "near places": {"attention": ("kk",), "gaussian": 2.0},
    "rounds of gathering": {"attention": ("vv", "kk"), "iterations": 1},
    "attention of other blocks": {"attention": (Term("kk", 1.0, (1, 7)),)},
    "the tower's own bias": {"attention": ("qk",)},
    "turned keys": {"attention": ("aligned",), "class_key": False},
    "similar patches": {"attention": (Term("similar", 1.0, (6,)),)},
    "balanced attention": {"attention": (Term("balanced", 1.0, (1, 6)),)},
    "few heads": {"attention": ("kk", Term("similar", 1.0, (6,))), "heads": 1},
    "each itself": {},
}


@pytest.mark.parametrize("kind", ["vit", "relpos"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_path_that_changes_the_stream_takes_the_same_notice_of_all_other_switches(kind, switch):
    """Next to nothing of the class token is added: the stream is another one by name alone."""
    visual = tiny.tiny_vit(dtype=torch.float64).visual if kind == "vit" else tiny.tiny_tower(kind, dtype=torch.float64)
    side = tiny.native_side(visual)
    plain = DensePath("mine", residual=False, mlp=False, **SWITCHES[switch])
    changed = replace(plain, class_token=1e-30)
    assert changed.of_streams and not plain.of_streams
    features = (ours(visual, tiny.random_pixels(side, side), path).numpy() for path in (changed, plain))
    assert oracle.relative_error(*features) < 1e-12


@pytest.mark.parametrize(
    ("kind", "name"),
    [("resnet", "gem"), ("resnet", "sc-clip"), ("SigLIP", "naclip"), ("ConvNeXt", "naclip"), ("CLIPA", "gem")],
)
def test_a_tower_without_a_class_token_refuses_paths_of_blocks_by_name(kind, name):
    visual = tiny.tiny_resnet().visual if kind == "resnet" else tiny.tiny_tower(kind, dtype=torch.float64)
    side = tiny.native_side(visual)
    with pytest.raises(LayerError, match=f"path '{name}' in a tower with .* Trace with path='value'"):
        ours(visual, tiny.random_pixels(side, side), PATHS[name])


@pytest.mark.parametrize("size", [(96, 96), (128, 128), (64, 160)])
@pytest.mark.parametrize("name", ["sclip", "clearclip", "naclip"])
def test_a_resnets_pool_mixes_by_its_own_queries_keys_and_values(name, size):
    visual = tiny.tiny_resnet(dtype=torch.float64).visual
    sd, pixels, grid = tiny.weights(visual), tiny.random_pixels(*size), (size[0] // 32, size[1] // 32)
    layers, heads = tiny.resnet_settings(visual)
    x4 = oracle.resnet_layers(sd, pixels, layers)["layer4"]
    table = resize_positional(visual.attnpool.positional_embedding.detach(), grid).numpy()
    theirs = oracle_paths.pool_path(sd, x4, heads, table, name)
    assert oracle.relative_error(ours(visual, pixels, PATHS[name]).numpy(), theirs) < 1e-12
    single = tiny.tiny_resnet(dtype=torch.float32).visual
    assert oracle.relative_error(ours(single, pixels.astype(np.float32), PATHS[name]).numpy(), theirs) < 3e-6
    wrong = replace(PATHS[name], class_key=False)
    assert oracle.relative_error(ours(visual, pixels, wrong).numpy(), theirs) > 5e-4


def test_a_tower_that_turns_queries_from_outside_refuses_another_stream_by_name():
    visual = tiny.tiny_tower("EVA02", dtype=torch.float64)
    side = tiny.native_side(visual)
    with pytest.raises(LayerError, match="path 'sc-clip' in a tower with ViT class token.*turn queries and keys"):
        ours(visual, tiny.random_pixels(side, side), PATHS["sc-clip"])


@pytest.mark.parametrize("kind", ["EVA01", "EVA02", "EVA02-E", "MobileCLIP-B", "relpos"])
def test_other_class_token_towers_are_mixed_by_what_their_own_attention_was_called_with(kind, monkeypatch):
    """Rotated queries, relative positions, norms behind: what the call itself got is what paths are made of."""
    visual = tiny.tiny_tower(kind, dtype=torch.float64)
    side, calls = tiny.native_side(visual), []
    pixels = tiny.random_pixels(side, side)
    plain = torch.nn.functional.scaled_dot_product_attention
    naclip = ours(visual, pixels, replace(PATHS["naclip"], residual=True, gaussian=0.0))

    def overheard(query, key, value, *args, **kwargs):
        calls.append((query, key, value))
        if len(calls) < len(tower_for(visual).layers):
            return plain(query, key, value, *args, **kwargs)
        mixed = torch.stack(
            [torch.softmax(k @ k.mT * k.shape[-1] ** -0.5, -1) @ v for k, v in zip(key[0], value[0], strict=True)]
        )
        return mixed[None]

    last = tower_for(visual).trunk.blocks[-1]
    for step in [last.mlp, *[last.norm2] * (kind == "EVA02-E")]:  # whose norm stands behind the MLP
        monkeypatch.setattr(step, "forward", torch.zeros_like)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", overheard)
    with torch.no_grad():
        tokens = visual.trunk.forward_features(torch.from_numpy(pixels)[None])
        head = [visual.trunk.fc_norm, visual.trunk.head, visual.head]
        for step in head:
            tokens = step(tokens)
    theirs = tokens[0, tower_for(visual).trunk.prefix :].reshape(naclip.shape)
    assert oracle.relative_error(naclip.numpy(), theirs.numpy()) < 1e-12
