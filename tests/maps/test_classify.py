"""Probabilities of the whole image: shares of the prompts given, or each prompt by itself."""

import json

import numpy as np
import open_clip
import pytest
import tiny
import torch
from safetensors.torch import save_file

import denseclip_viz as dcv
from denseclip_viz.errors import PromptError
from denseclip_viz.maps.tables import classify_table

PROMPTS = dcv.Prompts(["a red car", "grass"], ["{}", "a photo of {}."], absent=["a giraffe", "a whale"])
BIAS = -10.0


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """A tiny model that was made for a sigmoid, as a user has it on disk."""
    folder = tmp_path_factory.mktemp("sigmoid")
    config = {"embed_dim": 24, "vision_cfg": tiny.VIT, "text_cfg": tiny.TEXT, "init_logit_bias": BIAS}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    clip = tiny.clip_of(tiny.VIT, dtype=torch.float32, init_logit_bias=BIAS)
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return dcv.load(str(folder), device="cpu")


def logits(model, image_file, texts):
    """The model's own, by open_clip's own forward pass."""
    tokens = open_clip.get_tokenizer("ViT-B-32")(texts)
    with torch.no_grad():
        return model.clip.get_logits(model.trace(image_file).pixels[None], tokens)[0][0]


def test_shares_are_open_clips_own_and_absent_prompts_take_none(model, image_file):
    shares = model.classify(image_file, PROMPTS)
    np.testing.assert_allclose(shares[0], logits(model, image_file, ["a red car", "grass"]).softmax(-1), rtol=1e-4)
    assert shares.prompt.values.tolist() == ["a red car", "grass"] and shares.long_name.endswith("(softmax)")
    np.testing.assert_array_equal(
        shares, model.classify(image_file, dcv.Prompts(PROMPTS.prompts[:2], PROMPTS.templates))
    )
    assert model.logit_bias is None and shares.formula == "softmax" and "bias" not in shares.attrs


def test_absent_prompts_are_the_baseline_of_the_cosines(model, image_file):
    shares, score = model.classify(image_file, PROMPTS), model.compare(image_file, PROMPTS).score
    np.testing.assert_allclose(shares.cosine, score[:, :2], atol=1e-6)
    np.testing.assert_allclose(shares.absent_baseline, score[:, 2:].max("prompt"), atol=1e-6)
    assert (
        shares.absent == '["a giraffe", "a whale"]'
        and "absent_baseline" not in model.classify(image_file, ["a", "b"]).coords
    )
    table = classify_table(shares)
    assert set(table["absent_baseline"]) == set(shares.absent_baseline.values)
    assert "cosine" in table and "softmax_share" in table and not any("probability" in name for name in table)


def test_a_trace_of_global_embeddings_alone_is_classified(model, image_file):
    shares = model.classify(model.trace(image_file, keep="global"), PROMPTS)
    np.testing.assert_array_equal(shares, model.classify(image_file, PROMPTS))


def test_a_model_with_a_sigmoid_gives_its_own_independent_probabilities(siglip, image_file):
    chances = siglip.classify(image_file, PROMPTS)
    own = logits(siglip, image_file, ["a red car", "grass"])  # open_clip adds the bias itself
    np.testing.assert_allclose(chances[0], own.sigmoid(), rtol=1e-4)
    assert siglip.logit_bias == pytest.approx(BIAS, abs=1) and chances.bias == siglip.logit_bias
    assert chances.long_name == "probability (sigmoid, each prompt by itself)"
    assert "sigmoid_probability" in classify_table(chances) and "softmax_share" not in classify_table(chances)
    alone = siglip.classify(image_file, "grass")  # no warning: nothing competes, and nothing has to
    np.testing.assert_allclose(alone[0, 0], chances[0, 1], rtol=1e-5)
    shares = siglip.classify(image_file, PROMPTS, formula="softmax")
    np.testing.assert_allclose(shares[0], own.softmax(-1), rtol=1e-4)


def test_a_sigmoid_tells_what_is_there_at_each_pixel_too(siglip, image_file):
    soft = siglip.segment(image_file, ["a red car", "grass"], soft=True, geometry="whole")
    middle = float(soft.probabilities.median())
    answer = siglip.segment(image_file, ["a red car", "grass"], geometry="whole", background=middle, independent=True)
    np.testing.assert_array_equal(answer.masks, soft.probabilities >= middle)
    assert 0 < (answer.labels == -1).mean() < 1 and (answer.masks.any("label") == (answer.labels >= 0)).all()
    assert "probability below" in answer.background and answer.formula == "sigmoid"


def test_a_formula_that_cannot_be_is_refused(model, siglip, image_file):
    for call in (model.classify, model.segment):
        with pytest.raises(PromptError, match="without a logit bias"):
            call(image_file, ["a", "b"], formula="sigmoid")
    for value in ("cosine", 3, True, []):
        with pytest.raises(PromptError, match="formula="):
            siglip.classify(image_file, ["a", "b"], formula=value)


def test_one_prompt_has_no_competitor(model, image_file):
    with pytest.warns(UserWarning, match="'a whale' is the only prompt, so its share is 100 % whatever the image"):
        assert model.classify(image_file, "a whale").item() == 1
    with pytest.warns(UserWarning, match="only prompt"):
        model.classify(image_file, dcv.Prompts("a whale", absent="a cat"))
