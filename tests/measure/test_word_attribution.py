"""Which words carry a map: against reading the shorter text, and against growing embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import state
import torch

import denseclip_viz as dcv
from denseclip_viz.errors import PromptError

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_leaving_a_word_out_is_reading_the_text_without_it(load_tiny):
    model = load_tiny("vit")
    before = state.fingerprint(model.clip)
    found = dcv.measure.word_attribution(model, IMAGE, "a red car and a dog", ["{}", "a photo of {}."])
    assert state.fingerprint(model.clip) == before
    assert found.word.values.tolist() == ["a", "red", "car", "and", "a (2)", "dog"]
    shorter = model.similarity(IMAGE, dcv.Prompts(["a car and a dog"], ["{}", "a photo of {}."])).values[:, 0]
    assert np.abs(found.without.sel(word="red").values - shorter).max() < 1e-6
    whole = model.similarity(IMAGE, dcv.Prompts(["a red car and a dog"], ["{}", "a photo of {}."])).values[:, 0]
    assert np.abs(found.dense.values - whole).max() < 1e-6
    assert np.abs((found.change + found.without - found.dense).values).max() < 1e-6
    expected = whole.max((1, 2)) - shorter.max((1, 2))
    assert found.peak_change.sel(word="red").values == pytest.approx(expected, abs=1e-6)
    correlation = np.corrcoef(whole[1].ravel(), shorter[1].ravel())[0, 1]
    assert found.same_map.sel(word="red")[1].item() == pytest.approx(correlation, abs=1e-5)


@pytest.mark.parametrize("side", [32, 64])  # fewer cells than text space has axes, and more
def test_gradients_tell_what_growing_a_words_embeddings_does_to_every_cell(load_tiny, side):
    model = load_tiny("vit", dtype="fp64")
    trace = model.trace(np.asarray(np.kron(IMAGE, np.ones((side // 32, side // 32, 1))), np.uint8), geometry="whole")
    if side == 64:
        trace = model.trace(np.tile(IMAGE, (2, 2, 1)), geometry=dcv.Whole(short=64))
    assert (trace.dense.shape[0] * trace.dense.shape[1] > 24) == (side == 64)
    found = dcv.measure.word_attribution(model, trace, "a giraffe drinks", "no {}.")
    ids, table = model.tokenizer(["giraffe"])[0, 1:2], model.clip.token_embedding.weight
    maps, step = [], 1e-5
    for factor in (1 + step, 1 - step):
        with torch.no_grad():
            kept = table[ids].clone()
            table[ids] = kept * factor
            model.texts.clear()
            maps.append(model.similarity(trace, dcv.Prompts(["a giraffe drinks"], "no {}.")).values[0, 0])
            table[ids] = kept
    model.texts.clear()
    expected = (maps[0] - maps[1]) / (2 * step)
    mine = found.gradient.sel(word="giraffe")[0].values
    assert np.abs(mine - expected).max() < 1e-6 * np.abs(expected).max() + 1e-9
    at = found.dense[0].values.argmax()
    assert found.gradient_peak.sel(word="giraffe").item() == pytest.approx(mine.ravel()[at])


def test_without_gradients_there_are_none(load_tiny):
    found = dcv.measure.word_attribution(load_tiny("resnet"), IMAGE, "red car", gradient=False)
    assert not [name for name in found if "gradient" in str(name)] and found.attrs["prompt"] == "red car"


@pytest.mark.parametrize(
    ("prompt", "said"), [("car", "is one word.*two words"), (["a", "car"], "one prompt"), ("빨간자동차", "is one word")]
)
def test_prompts_whose_words_cannot_be_left_out_are_refused(load_tiny, prompt, said):
    with pytest.raises(PromptError, match=said):
        dcv.measure.word_attribution(load_tiny("vit"), IMAGE, prompt)


def test_words_are_those_of_the_text_that_is_said_when_articles_are_set_right(load_tiny):
    model = load_tiny("vit")
    found = dcv.measure.word_attribution(
        model, IMAGE, "a red car", "a photo of a {}.", articles="right", gradient=False
    )
    said = {None: "a photo of a red car.", "a": "a photo of a red car.", "red": "a photo of a car."}
    maps = {word: model.similarity(IMAGE, text).values[0, 0] for word, text in said.items()}
    assert np.abs(found.dense[0].values - maps[None]).max() < 1e-6
    for word in ("a", "red"):
        assert np.abs(found.without.sel(word=word)[0].values - maps[word]).max() < 1e-6
    with pytest.raises(PromptError, match="'a photo of a a red car.', which is said as 'a photo of a red car.'"):
        dcv.measure.word_attribution(model, IMAGE, "a red car", "a photo of a {}.", articles="right")
    dcv.measure.word_attribution(model, IMAGE, "a red car", "a photo of {}.", articles="right")
