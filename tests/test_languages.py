"""Prompts of many languages, from a folder to a figure: a tiny XLM-R with random weights and real tokens."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.image import imread
from text_models import write_multilingual

import denseclip_viz as dcv
from denseclip_viz.clip.text.text_towers import trimming_of_model
from denseclip_viz.plot import text as typesetting
from denseclip_viz.plot.sheet import RANDOM

PROMPTS = ["빨간 자동차", "قطة سوداء", "🦒", "a red car"]
SENTENCES = [*PROMPTS, "푸른 하늘", "سماء زرقاء", "🚗 🐱", "a photo of a blue sky."]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "languages"
    folder.mkdir()
    write_multilingual(folder, SENTENCES)
    return dcv.load(folder, device="cpu")


def test_each_prompt_is_tokens_of_its_own_and_a_vector_of_its_own(model):
    ids = model.tokenizer(PROMPTS)
    assert ids.shape == (4, 77) and not (ids == model.tokenizer.tokenizer.unk_token_id).any()
    assert model.tokenizer.tokenizer.convert_ids_to_tokens(ids[0].tolist())[:4] == ["<s>", "▁빨간", "▁자동차", "</s>"]
    cosines = model.encode_text(PROMPTS) @ model.encode_text(PROMPTS).T
    assert (cosines.fill_diagonal_(0) < 0.999).all()
    assert trimming_of_model(model.clip).kind == "xlm-roberta · padding masked · mean_pooler"


def test_korean_arabic_and_emoji_are_compared_and_drawn_with_readable_labels(model, image_file, tmp_path):
    trace = model.trace(image_file)
    both = model.compare(trace, dcv.Prompts(PROMPTS, ["{}", "a photo of {}."]))
    assert both.prompt.values.tolist() == PROMPTS and both.dense.dims == ("template", "prompt", "y", "x")
    assert both.dense.shape == (2, 4, 4, 4) and np.isfinite(both.dense).all()
    assert both.attrs["model"] == "languages" and both.attrs["random_weights"] == 1
    with warnings.catch_warnings(record=True) as told:  # where a machine lacks fonts, one warning says which
        warnings.simplefilter("always")
        figure = dcv.plot.compare(both.isel(template=0))
        letters = typesetting.fonts_for(PROMPTS)
        file = dcv.plot.save(figure, tmp_path / "languages.png")
    assert all("font" in str(one.message) or "matplotlib" in str(one.message) for one in told)
    shown = " ".join(text.get_text() for text in figure.texts)
    assert all(letters.shown(prompt) in shown for prompt in PROMPTS) and RANDOM in shown
    if not told:
        assert typesetting.TOFU not in shown
    assert imread(file).std() > 0.05
