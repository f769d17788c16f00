"""Direct effects: they sum to the unit embedding, and each is what its part puts into the stream."""

import numpy as np
import oracle
import pytest
import tiny
import torch
from state import fingerprint
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.attribution.effects import effect_vectors, effects_on, follow_stream
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import LayerError, RecompositionError

CLASS_TOKEN = ("ViT", "ViT with LayerScale", "EVA01", "EVA02", "EVA02-E", "MobileCLIP-B", "MobileCLIP2-L", "relpos")
OTHERS = ("ResNet", "SigLIP", "PE", "CoCa")
SCENE = dcv.toyworld.scene("a red car on grass", 64)
PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}"])


def built(kind, **options):
    if kind == "ResNet":
        return tiny.tiny_resnet(**options).visual
    if kind.startswith("ViT"):
        more = {"ls_init_value": 0.5} if kind.endswith("LayerScale") else {}
        return tiny.tiny_vit(**more, **options).visual
    return tiny.tiny_tower(kind, **options)


def opened(kind, dtype=torch.float64):
    visual = built(kind, dtype=dtype)
    side = tiny.native_side(visual)
    pixels = torch.from_numpy(tiny.random_pixels(side, side)).to(dtype)
    with torch.no_grad():
        out = visual(pixels[None])
    embedding = (out[0] if isinstance(out, tuple) else out)[0]
    return visual, pixels, F.normalize(embedding, dim=-1)


def texts_of(embedding, count=3):
    texts = torch.randn(count, len(embedding), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return F.normalize(texts, dim=-1).to(embedding.dtype)


def rows_of(vectors):
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in vectors.values()])


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
@pytest.mark.parametrize("kind", [*CLASS_TOKEN, *OTHERS])
def test_all_terms_sum_to_the_unit_embedding(kind, dtype, bound):
    visual, pixels, unit = opened(kind, dtype)
    rows = rows_of(effect_vectors(follow_stream(tower_for(visual), pixels)))
    assert (rows.sum(0) - unit).abs().max() <= bound * rows.abs().max()


@pytest.mark.parametrize("kind", [*CLASS_TOKEN, *OTHERS])
def test_what_goes_back_from_a_text_is_what_goes_forth_to_it(kind):
    visual, pixels, unit = opened(kind)
    stream, texts = follow_stream(tower_for(visual), pixels), texts_of(unit)
    effects, vectors = effects_on(stream, 3 * texts), effect_vectors(stream)
    for name, part in vectors.items():
        assert oracle.relative_error((part @ texts.T).movedim(-1, 0).numpy(), effects[name].numpy()) < 1e-12, name
    whole = effects["position"].sum((-2, -1)) + effects["beside"]
    assert oracle.relative_error(whole.numpy(), effects["attention"].sum(-1).numpy()) < 1e-12
    assert oracle.relative_error(effects["score"].numpy(), (texts @ unit).numpy()) < 1e-12


def behind_mlp(block, added):
    """What stands between a block's MLP and its stream."""
    if hasattr(block, "ls_2"):
        return block.ls_2(added)
    if type(block).__name__ == "EvaBlockPostNorm":
        return block.norm2(added)
    gamma = getattr(block, "gamma_2", None)
    return block.ls2(added) if hasattr(block, "ls2") else added if gamma is None else gamma * added


def frozen_head(visual, stream):
    """The final norm with its deviation at `stream`, and the projection without its bias."""
    own = not hasattr(visual, "trunk")
    norm = visual.ln_post if own else visual.trunk.norm
    deviation = (stream.var(correction=0) + norm.eps).sqrt()

    def project(x):
        return x @ visual.proj if own else visual.head(visual.trunk.head(visual.trunk.fc_norm(x)))

    def head(x):
        normed = (x - x.mean(-1, keepdim=True)) / deviation * norm.weight
        return project(normed) - project(torch.zeros_like(normed))

    return head


@pytest.mark.parametrize("kind", CLASS_TOKEN)
def test_an_mlps_effect_is_what_the_mlp_itself_put_out(kind):
    visual, pixels, _ = opened(kind)
    vectors = effect_vectors(follow_stream(tower_for(visual), pixels))
    blocks = visual.transformer.resblocks if hasattr(visual, "transformer") else visual.trunk.blocks
    puts, leaves = [], []
    hooks = [block.mlp.register_forward_hook(lambda _m, _i, out: puts.append(out[0, 0])) for block in blocks]
    hooks.append(blocks[-1].register_forward_hook(lambda _m, _i, out: leaves.append(out[0, 0])))
    with torch.no_grad():
        embedding = visual(pixels[None])[0]
        head = frozen_head(visual, leaves[0])
        mlps = [head(behind_mlp(block, added)) / embedding.norm() for block, added in zip(blocks, puts, strict=True)]
    for hook in hooks:
        hook.remove()
    assert oracle.relative_error(vectors["mlp"].numpy(), torch.stack(mlps).numpy()) < 1e-12


def heads_by_hand(visual, pixels, *, order=None):
    """(layer, head, D), (layer, position, D), by loops over heads and tokens."""
    blocks, streams = visual.transformer.resblocks, []
    hooks = [block.register_forward_hook(lambda _m, i, out: streams.append((i[0][0], out[0]))) for block in blocks]
    with torch.no_grad():
        embedding = visual(pixels[None])[0]
        head = frozen_head(visual, streams[-1][1][0])
        heads, positions = [], []
        for block, (entering, _) in zip(blocks, streams, strict=True):
            count, tokens = block.attn.num_heads, len(entering)
            q, k, v = F.linear(block.ln_1(entering), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)
            size, project = q.shape[1] // count, block.attn.out_proj.weight
            terms = torch.zeros(count, tokens, len(embedding), dtype=q.dtype)
            for number in range(count):
                place = slice(number * size, (number + 1) * size)
                logits = torch.stack([q[0, place] @ k[token, place] for token in range(tokens)]) / size**0.5
                weights = logits.softmax(0)
                for token in range(tokens):
                    added = project[:, place] @ (weights[token] * v[token, place])
                    terms[number, token] = head(block.ls_1(added)) / embedding.norm()
            heads.append(terms[order or slice(None)].sum(1))
            positions.append(terms.sum(0))
    for hook in hooks:
        hook.remove()
    return torch.stack(heads), torch.stack(positions)


@pytest.mark.parametrize("kind", ["ViT", "ViT with LayerScale"])
def test_heads_and_positions_are_those_of_a_loop(kind):
    visual, pixels, unit = opened(kind)
    heads, positions = heads_by_hand(visual, pixels)
    stream, texts = follow_stream(tower_for(visual), pixels), texts_of(unit)
    ours, effects = effect_vectors(stream)["attention"], effects_on(stream, texts)
    assert oracle.relative_error(ours.numpy(), heads.numpy()) < 1e-12
    by_position = torch.einsum("lnd,pd->pln", positions[:, 1:], texts)
    assert oracle.relative_error(effects["position"].flatten(2).numpy(), by_position.numpy()) < 1e-12
    # and mistakes show: heads in another order, the class token taken for a position
    assert oracle.relative_error(ours.numpy(), heads_by_hand(visual, pixels, order=[1, 0, 2])[0].numpy()) > 1e-3
    shifted = torch.einsum("lnd,pd->pln", positions[:, :-1], texts)
    assert oracle.relative_error(effects["position"].flatten(2).numpy(), shifted.numpy()) > 1e-3


@pytest.mark.parametrize(("name", "beside"), [("bundled-resnet", "mean token"), ("bundled-vit", "class token")])
def test_positions_of_the_last_layer_are_contributions(name, beside):
    model = dcv.load(name)
    effects, both = dcv.attribution.direct_effects(model, SCENE, PROMPTS), model.compare(SCENE, PROMPTS)
    np.testing.assert_allclose(effects.position[:, :, -1], both.contribution, atol=1e-6)
    np.testing.assert_allclose(effects.beside[:, :, -1], both.rest.sel(term=beside), atol=1e-6)
    np.testing.assert_allclose(effects.score, both.score, atol=1e-6)


def test_an_attention_pool_is_one_layer_whose_rest_is_its_bias():
    model = dcv.load()
    effects, both = dcv.attribution.direct_effects(model, SCENE, PROMPTS), model.compare(SCENE, PROMPTS)
    assert effects.layer.values.tolist() == ["pool"] and effects.sizes["head"] == both.sizes["head"]
    np.testing.assert_allclose(effects.rest.sum("term"), both.rest.sel(term="bias"), atol=1e-6)


@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit"])
def test_one_pass_and_all_parts_sum_to_the_score(name):
    model = dcv.load(name)
    trace, before, runs = model.trace(SCENE), fingerprint(model.clip), []
    hook = model.clip.visual.register_forward_hook(lambda *_: runs.append(1))
    effects = dcv.attribution.direct_effects(model, trace, PROMPTS)
    hook.remove()
    whole = effects.attention.sum(("layer", "head")) + effects.mlp.sum("layer") + effects.rest.sum("term")
    np.testing.assert_allclose(whole, effects.score, atol=1e-6)
    assert len(runs) == 1 and fingerprint(model.clip) == before
    assert {effects[part].attrs["units"] for part in ("attention", "mlp", "position", "rest", "score")} == {"cosine"}
    assert effects.attrs["weights_hash"] == trace.provenance["weights_hash"]


def test_a_plain_mean_and_tiles_are_refused():
    with pytest.raises(LayerError, match="a pool that attends"):
        follow_stream(tower_for(built("ConvNeXt")), torch.zeros(3, 96, 96, dtype=torch.float64))
    with pytest.raises(LayerError, match="geometry='whole'"):
        dcv.attribution.direct_effects(dcv.load(), SCENE, PROMPTS, geometry="tiles")


def test_terms_that_miss_the_score_are_an_error():
    visual, pixels, unit = opened("ViT")
    stream = follow_stream(tower_for(visual), pixels)
    stream.layers["blocks.1"].mlp.mul_(2)
    with pytest.raises(RecompositionError, match="miss the score"):
        effects_on(stream, texts_of(unit))
