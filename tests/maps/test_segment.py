"""Labels at image size, computed in strips, equal labels computed all at once."""

import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Preprocess, Whole, upsample
from denseclip_viz.maps import segment as module
from denseclip_viz.maps.segment import Background, label
from denseclip_viz.maps.similarity import Formula, cosine_maps
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

CLIP = Preprocess(size=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)


def plan(image, way=None):
    return (way or Whole(short=64)).plan(image, preprocess=CLIP, cell=(16, 16))


@settings(max_examples=30)
@given(rows=st.integers(16, 70), columns=st.integers(16, 70), strip=st.integers(1, 3000), seed=st.integers(0, 99))
def test_strips_and_one_piece_give_the_same_labels(rows, columns, strip, seed):
    geometry = plan((rows, columns))
    scores = np.random.default_rng(seed).normal(size=(5, *geometry.grid))
    options = {"rows": rows, "columns": columns, "below": 0.3, "cut": 0.2, "soft": True, "independent": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STRIP", strip)
        small = label(scores, geometry, Formula("softmax", 10.0), **options)
    large = label(scores, geometry, Formula("softmax", 10.0), **options)
    assert (small["labels"] == large["labels"]).all() and (small["masks"] == large["masks"]).all()
    for name in ("probability", "probabilities"):
        np.testing.assert_allclose(small[name], large[name], rtol=1e-6)


def test_labels_equal_bilinear_upsampling_and_argmax():
    geometry = plan((128, 192))  # a whole number of cells: no padding, so plain interpolation is the truth
    scores = np.random.default_rng(0).normal(size=(7, *geometry.grid))
    ours = label(scores, geometry, Formula("softmax", 3.0), rows=128, columns=192, soft=True)
    maps = oracle.bilinear(scores, (128, 192))
    soft = oracle.softmax(3.0 * maps, 0)
    assert (ours["labels"] == maps.argmax(0)).mean() > 0.9999
    np.testing.assert_allclose(ours["probability"], soft.max(0), rtol=1e-5)
    np.testing.assert_allclose(ours["probabilities"], soft, rtol=1e-4, atol=1e-7)


def test_what_the_model_did_not_see_gets_no_label():
    geometry = plan((100, 300), Native())
    scores, options = np.ones((2, *geometry.grid)), {"rows": 100, "columns": 300, "independent": True}
    ours = label(scores, geometry, Formula("softmax", 1.0), **options)
    assert (ours["labels"][:, :99] == -1).all() and np.isnan(ours["probability"][:, :99]).all()
    assert (ours["labels"][:, 101:199] == 0).all() and (ours["labels"][:, 201:] == -1).all()
    assert ours["masks"][:, :, 101:199].all() and not ours["masks"][:, :, :99].any()


RULES = st.fixed_dictionaries(
    {
        "below": st.sampled_from([0.0, 0.3, 0.5, 0.9]),
        "cosine": st.sampled_from([None, -0.1, 0.0, 0.1]),
        "absent": st.booleans(),
        "prompts": st.sampled_from([(), ("b",)]),
    }
)


@settings(max_examples=60)
@given(
    rule=RULES,
    formula=st.sampled_from([Formula("softmax", 9.0), Formula("sigmoid", 9.0, -1.0)]),
    absent=st.integers(0, 2),
    count=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@pytest.mark.filterwarnings("ignore:.*only prompt")
def test_a_pixel_is_named_just_where_every_part_of_the_rule_lets_its_best_prompt_be(rule, formula, absent, count, seed):
    names, away = list("abcd")[:count], [f"absent {number}" for number in range(absent)]
    rule["prompts"] = rule["prompts"] if count > 1 else ()
    trace, vectors = made(seed, count + absent)
    cut = -9.0 if rule["cosine"] is None else rule["cosine"]
    grid = cosine_maps(trace.dense, vectors[None])[0].numpy()
    if absent and rule["absent"]:
        cut = max(cut, grid[count:].max())
    is_absolute = cut > -9 or (formula.name == "sigmoid" and rule["below"] > 0)
    options = {"background": Background(**rule), "independent": is_absolute, "soft": True}
    ours = module.segment(trace, vectors, Prompts(names, absent=away), formula, **options)
    maps = upsample(grid[:count], trace.geometry)
    assert ours.label.values.tolist() == names
    for row, column in itertools.product(range(0, 64, 7), range(0, 64, 7)):
        at = maps[:, row, column]
        best = max(range(count), key=lambda i: at[i])
        each = [formula.scale * value for value in at]
        if formula.name == "softmax":
            chance = [math.exp(value) / sum(map(math.exp, each)) for value in each]
        else:
            chance = [1 / (1 + math.exp(-(value + formula.bias))) for value in each]
        named = chance[best] >= rule["below"] and at[best] > cut and names[best] not in rule["prompts"]
        assert ours.labels[row, column] == (best if named else -1)
        assert ours.probability[row, column] == pytest.approx(chance[best], rel=1e-5)
        assert ours.probabilities[:, row, column].values == pytest.approx(chance, rel=1e-4)
        if is_absolute:
            own = [at[i] > cut and (formula.name == "softmax" or chance[i] >= rule["below"]) for i in range(count)]
            assert ours.masks[:, row, column].values.tolist() == own


def made(seed, count):
    """A trace with dense features of noise on a 4 x 4 grid, and as many text vectors."""
    rng = np.random.default_rng(seed)
    geometry = plan((64, 64))
    features = torch.from_numpy(rng.normal(size=(*geometry.grid, 6)))
    attention = torch.full((1, *geometry.grid), 1 / 16)
    image = np.zeros((64, 64, 3), np.uint8)
    trace = Trace(features.sum((0, 1)), features, attention, features, features, {}, {}, geometry, image, "x.jpg")
    return trace, torch.from_numpy(rng.normal(size=(count, 6)))


def test_an_absent_prompt_wins_no_pixel_takes_no_share_and_is_the_cut():
    trace, vectors = made(0, 3)
    alone = module.segment(trace, vectors[:2], Prompts(["a", "b"]), Formula("softmax", 9.0), soft=True)
    beside = module.segment(trace, vectors, Prompts(["a", "b"], absent=["c"]), Formula("softmax", 9.0), soft=True)
    np.testing.assert_array_equal(alone.probabilities, beside.probabilities)
    highest = float(cosine_maps(trace.dense, vectors[None, 2:]).max())
    assert beside.attrs["cosine_cut"] == highest and "cosine_cut" not in alone.attrs
    assert beside.attrs["absent"] == '["c"]' and "the highest of an absent prompt" in beside.attrs["background"]
    off = Background(absent=False)
    named = module.segment(trace, vectors, Prompts(["a", "b"], absent="c"), Formula("softmax", 9.0), background=off)
    np.testing.assert_array_equal(named.labels, alone.labels)


def test_removing_prompts_that_are_nowhere_asks_no_absent_one():
    trace, vectors = made(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"denoise": 0.9, "background": Background(absent=False)}
        alone = module.segment(trace, vectors[:3], Prompts(["a", "b", "c"]), Formula("softmax", 9.0), **options)
        prompts = Prompts(["a", "b", "c"], absent=["d"])
        beside = module.segment(trace, vectors, prompts, Formula("softmax", 9.0), **options)
    np.testing.assert_array_equal(beside.labels, alone.labels)


def test_where_denoising_removed_every_prompt_the_background_says_so():
    trace, vectors = made(3, 1)
    with pytest.warns(UserWarning, match="removed every prompt"):
        prompts, twice = Prompts(["a", "b"]), vectors.repeat(2, 1)
        answer = module.segment(trace, twice, prompts, Formula("softmax", 9.0), denoise=0.9, background=0.1)
    assert (answer.labels == -1).all()
    assert answer.attrs["background"] == "background: denoising removed every prompt"
    named = module.segment(trace, twice, prompts, Formula("softmax", 9.0), denoise=0.5)
    assert named.attrs["background"] == "no background: every pixel named"


def test_smoothed_labels_are_cut_at_their_cosine_not_at_their_score():
    trace, vectors = made(1, 3)
    trace = replace(trace, keys=torch.from_numpy(np.random.default_rng(5).normal(size=(4, 4, 3))))
    names, formula = Prompts(["a", "b", "c"]), Formula("softmax", 9.0)
    named = module.segment(trace, vectors, names, formula, smooth="cosine")
    cut = module.segment(trace, vectors, names, formula, smooth="cosine", background=Background(cosine=0.2))
    maps = upsample(cosine_maps(trace.dense, vectors[None])[0].numpy(), trace.geometry)
    cosine = np.take_along_axis(maps, named.labels.values[None].astype(int), 0)[0]
    np.testing.assert_array_equal(cut.labels, np.where(cosine > 0.2, named.labels, -1))
    assert 0 < (cut.labels == -1).mean() < 1


def test_one_prompt_and_no_absolute_rule_is_warned_of_and_said_in_the_caption():
    trace, vectors = made(2, 1)
    for background in (None, 0.9):
        with pytest.warns(UserWarning, match="'a whale' is the only prompt, so its share is 100 % whatever the image"):
            answer = module.segment(trace, vectors, Prompts("a whale"), Formula("softmax", 9.0), background=background)
        assert "one prompt alone has no competitor" in answer.attrs["background"]
    for formula, background in (
        (Formula("softmax", 9.0), Background(cosine=0.3)),
        (Formula("sigmoid", 9.0, -3.0), 0.5),
    ):
        answer = module.segment(trace, vectors, Prompts("a whale"), formula, background=background)
        assert 0 < (answer.labels == -1).mean() <= 1 and "alone" not in answer.attrs["background"]


def test_masks_without_a_cut_are_refused():
    trace, vectors = made(0, 2)
    with pytest.raises(PromptError, match="every prompt would be everywhere"):
        module.segment(trace, vectors, Prompts(["a", "b"]), Formula("softmax", 9.0), independent=True, background=0.5)


def test_the_rule_is_said_in_words():
    words = Background(below=0.3, prompts=("sky",), cosine=0.2).words(Formula("sigmoid", 1.0), 0.2, alone=False)
    assert words == "background: best prompt is sky or probability below 0.3 or cosine not above 0.2"


def test_background_prompts_may_be_a_list():
    assert Background(prompts=["sky", "grass"]) == Background.of(["sky", "grass"])


@pytest.mark.parametrize("rule", [1.5, -1, True, "sky", [3], object()])
def test_a_background_rule_that_cannot_be_read_is_refused(rule):
    with pytest.raises((PromptError, TypeError)):
        Background.of(rule)
