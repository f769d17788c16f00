"""Pairs of a neuron and a head: against loops, and exact: they sum to the contributions."""

import numpy as np
import oracle
import pytest

import denseclip_viz as dcv
from denseclip_viz.attribution.neurons import neurons
from denseclip_viz.errors import LayerError

PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}."])


@pytest.fixture(scope="module")
def resnet(load_tiny):
    return load_tiny("resnet", dtype="fp64")


@pytest.mark.parametrize("geometry", ["native", dcv.Whole(short=128)])
def test_all_pairs_sum_to_the_contributions_exactly(resnet, image_file, geometry):
    trace = resnet.trace(image_file, layers="layer4", geometry=geometry)
    made = neurons(resnet, trace, PROMPTS, top=10**6)
    whole = resnet.compare(trace, dcv.Prompts(PROMPTS.prompts, ["{}"])).contribution
    ours = neurons(resnet, trace, dcv.Prompts(PROMPTS.prompts, ["{}"]), top=10**6)
    total = ours.contribution.sum("pair") + ours.value_bias
    assert oracle.relative_error(total.values, whole.sel(template="{}").values) < 1e-12
    assert abs(ours.others).max() < 1e-12
    few = neurons(resnet, trace, PROMPTS, top=5)
    parts = few.contribution.sum("pair") + few.others + few.value_bias
    np.testing.assert_allclose(parts, made.contribution.sum("pair") + made.value_bias, atol=1e-12)
    np.testing.assert_allclose(few.share, made.share[:, :5], atol=1e-14)
    assert (few.share.diff("pair") <= 0).all()


def test_a_pair_is_attention_times_channel_times_weight(resnet, image_file):
    trace = resnet.trace(image_file, layers="layer4")
    made = neurons(resnet, trace, ["a red car"], top=6).isel(prompt=0)
    pool = {name: value.detach().numpy() for name, value in resnet.clip.visual.attnpool.state_dict().items()}
    text = resnet.encode_text(["a red car"])[0].double().numpy()
    text = text / np.linalg.norm(text)
    length = np.linalg.norm(trace.global_embedding.numpy())
    width = len(pool["v_proj.weight"]) // len(trace.attention)
    for pair in range(6):
        neuron, head = int(made["neuron"][pair]), int(made["head"][pair])
        rows = range(head * width, (head + 1) * width)
        weight = sum(pool["v_proj.weight"][row, neuron] * (pool["c_proj.weight"][:, row] @ text) for row in rows)
        for place, cell in enumerate(np.ndindex(*trace.geometry.grid)):
            reads = trace["layer4"].numpy()[(neuron, *cell)] + pool["positional_embedding"][1 + place, neuron]
            expected = trace.attention.numpy()[(head, *cell)] * reads * weight / length
            assert abs(float(made.contribution.values[(pair, *cell)]) - expected) < 1e-12
        assert abs(float(made.share[pair]) - float(made.contribution[pair].sum())) < 1e-12


def test_other_towers_traces_without_the_layer_and_no_pairs_are_refused(resnet, load_tiny, image_file):
    with pytest.raises(LayerError, match="neurons of a tower with ViT class token"):
        neurons(load_tiny("vit"), image_file, PROMPTS)
    with pytest.raises(LayerError, match="'layer4' was not recorded"):
        neurons(resnet, resnet.trace(image_file), PROMPTS)
    with pytest.raises(LayerError, match="top=0"):
        neurons(resnet, image_file, PROMPTS, top=0)
    other = resnet.trace(image_file, layers="layer4", path="value-maskclip", geometry=dcv.Whole(short=160))
    with pytest.raises(LayerError, match="miss the contributions"):
        neurons(resnet, other, PROMPTS)


def test_a_model_in_half_precision_is_explained_within_what_it_rounds(load_tiny, image_file):
    exact, half = (neurons(load_tiny("resnet", dtype=dtype), image_file, ["a red car"]) for dtype in ("fp32", "bf16"))
    np.testing.assert_allclose(half.share, exact.share, atol=0.1 * float(abs(exact.share).max()))
