"""The table of paths: one forward pass gives them all, and each is what it is alone, to the bit."""

from dataclasses import replace

import pytest
import tiny
import torch

from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.paths import PATHS, paths_of
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import LayerError

OF_BLOCKS = tuple(name for name, path in PATHS.items() if path.of_blocks and not path.of_given)
OF_ONE_LAYER = ("sclip", "clearclip", "naclip", "pearl", "pearl-in-five-steps")
BUILD = {
    "resnet": lambda dtype: tiny.tiny_resnet(dtype=dtype).visual,
    "vit": lambda dtype: tiny.tiny_vit(dtype=dtype, ls_init_value=0.1).visual,
    **{kind: lambda dtype, kind=kind: tiny.tiny_tower(kind, dtype=dtype) for kind in tiny.KINDS},
}


def pixels_of(visual, size, dtype):
    cell, side = tower_for(visual).cell, tiny.native_side(visual)
    other = (
        (224, 448) if type(getattr(visual, "trunk", None)).__name__ == "SwinTransformer" else (2 * cell[0], 3 * cell[1])
    )
    sides = (side, side) if size == "native" else other
    return torch.stack([torch.from_numpy(tiny.random_pixels(*sides, seed=i)) for i in range(2)]).to(dtype)


def dense(visual, pixels, path, **options):
    with torch.no_grad():
        return decompose(tower_for(visual).at(pixels), pixels, ForwardOptions(path=path, **options)).dense


def chosen(visual, size):
    """All paths of the table that one pass of this tower can give."""
    apart = {"value-maskclip"} if size != "native" and "antialias" in tower_for(visual).switches else set()
    refused = {"vanilla"} if type(getattr(visual, "attn_pool", None)).__name__ == "AttentionalPooler" else set()
    switches = tower_for(visual).switches
    refused |= {name for name in OF_BLOCKS if "blocks" not in switches and name not in OF_ONE_LAYER}
    refused |= {name for name in OF_ONE_LAYER if "layer" not in switches}
    refused |= {name for name, path in PATHS.items() if path.of_streams and "streams" not in switches}
    return [path for name, path in PATHS.items() if name not in apart | refused and not path.of_given]


@pytest.mark.parametrize("kind", BUILD)
@pytest.mark.parametrize("size", ["native", "other"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("listened", [False, True])
def test_several_paths_of_one_pass_are_those_of_single_passes(kind, size, dtype, listened):
    visual = BUILD[kind](dtype)
    pixels, paths = pixels_of(visual, size, dtype), chosen(visual, size)
    layers = tower_for(visual).layers[-1:] if listened else ()
    together = dense(visual, pixels, tuple(paths), layers=layers)
    assert together.shape[1] == len(paths) >= 3
    for path, ours in zip(paths, together.unbind(1), strict=True):
        if dtype == torch.float64 and path.outliers == "density":
            continue  # of densities that are a last bit apart another one is the outlier
        alone = dense(visual, pixels, path, layers=layers)
        # to the bit in float32; products of float64 with other numbers of rows end in other bits on some processors
        apart = 0.0 if dtype == torch.float32 else 1e-14 * float(alone.abs().max())
        assert float((ours - alone).abs().max()) <= apart, path.name


@pytest.mark.parametrize("kind", ["resnet", "vit", "SigLIP", "ConvNeXt"])
def test_several_paths_are_one_run_of_the_tower(kind):
    visual, runs = BUILD[kind](torch.float32), []
    pixels = pixels_of(visual, "native", torch.float32)
    visual.register_forward_hook(lambda *_: runs.append(1))
    dense(visual, pixels, tuple(chosen(visual, "native")))
    assert len(runs) == 1


def test_a_list_of_one_path_has_the_axis_too():
    visual = BUILD["vit"](torch.float32)
    pixels = pixels_of(visual, "native", torch.float32)
    assert dense(visual, pixels, (PATHS["value"],)).shape[:2] == (2, 1)


def test_the_paths_of_a_tower_are_those_whose_switches_it_has():
    value, vanilla, bare = "value", "vanilla", "value-attention-only"
    expected = {
        "resnet": (value, "value-positional", "value-maskclip", vanilla, *OF_ONE_LAYER),
        "vit": (value, bare, "value-maskclip", vanilla, *OF_BLOCKS),
        "EVA02": (value, bare, vanilla, *(name for name in OF_BLOCKS if not PATHS[name].of_streams)),  # queries turn
        "SigLIP": (value, vanilla),
        "CoCa": (value, "value-maskclip"),
        "CLIPA": (value, "value-maskclip"),
        "ConvNeXt": (value,),
    }
    assert {kind: paths_of(tower_for(BUILD[kind](torch.float32))) for kind in expected} == expected


@pytest.mark.parametrize("kind", ["resnet", "vit", "CLIPA", "CoCa"])
def test_two_ways_to_resize_positions_are_refused_with_the_fix_and_only_where_they_are_resized(kind):
    visual = BUILD[kind](torch.float32)
    paths = PATHS["value"], PATHS["value-maskclip"]
    with pytest.raises(LayerError, match="value-maskclip and value together.*Trace twice"):
        dense(visual, pixels_of(visual, "other", torch.float32), paths)
    both = dense(visual, pixels_of(visual, "native", torch.float32), paths)
    assert torch.equal(both[:, 0], both[:, 1])


@pytest.mark.parametrize("kind", ["EVA02", "ConvNeXt", "SigLIP"])
def test_towers_that_resize_their_own_positions_take_all_paths_together(kind):
    visual = BUILD[kind](torch.float32)
    paths = tuple(path for path in PATHS.values() if not (path.of_blocks or path.of_given))
    assert dense(visual, pixels_of(visual, "other", torch.float32), paths).shape[1] == 5


def test_a_path_that_a_tower_does_not_offer_is_refused_by_name_alone_and_among_others():
    visual = BUILD["CoCa"](torch.float32)
    pixels = pixels_of(visual, "native", torch.float32)
    for path in (PATHS["vanilla"], (PATHS["value"], PATHS["vanilla"])):
        with pytest.raises(LayerError, match="path 'vanilla' takes tokens as they are"):
            dense(visual, pixels, path)


@pytest.mark.parametrize("switch", ["residual", "mlp"])
def test_a_path_of_ones_own_stands_beside_those_of_the_table(switch):
    visual = BUILD["vit"](torch.float64)
    pixels = pixels_of(visual, "native", torch.float64)
    mine = replace(PATHS["value"], name="mine", **{switch: False})
    both = dense(visual, pixels, (PATHS["value"], mine))
    assert torch.equal(both[:, 1], dense(visual, pixels, mine)) and not torch.allclose(both[:, 0], both[:, 1])
