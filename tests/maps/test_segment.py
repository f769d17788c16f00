"""Labels at image size, computed in strips, equal labels computed all at once."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Native, Preprocess, Whole
from denseclip_viz.maps import segment as module
from denseclip_viz.maps.segment import Background, label, probabilities

CLIP = Preprocess(size=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3)


def plan(image, way=None):
    return (way or Whole(short=64)).plan(image, preprocess=CLIP, cell=(16, 16))


@settings(max_examples=30)
@given(rows=st.integers(16, 70), columns=st.integers(16, 70), strip=st.integers(1, 3000), seed=st.integers(0, 99))
def test_strips_and_one_piece_give_the_same_labels(rows, columns, strip, seed):
    geometry = plan((rows, columns))
    scores = np.random.default_rng(seed).normal(size=(5, *geometry.grid))
    options = {"rows": rows, "columns": columns, "scale": 10.0, "background": [False] * 5, "below": 0.3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STRIP", strip)
        small, p_small = label(scores, geometry, **options)
    large, p_large = label(scores, geometry, **options)
    assert (small == large).all()
    np.testing.assert_allclose(p_small, p_large, rtol=1e-6)


def test_labels_equal_bilinear_upsampling_and_argmax():
    geometry = plan((128, 192))  # a whole number of cells: no padding, so plain interpolation is the truth
    scores = np.random.default_rng(0).normal(size=(7, *geometry.grid))
    ours, probability = label(scores, geometry, rows=128, columns=192, scale=3.0, background=[False] * 7, below=0.0)
    maps = oracle.bilinear(scores, (128, 192))
    soft = oracle.softmax(3.0 * maps, 0)
    assert (ours == maps.argmax(0)).mean() > 0.9999
    np.testing.assert_allclose(probability, soft.max(0), rtol=1e-5)
    np.testing.assert_allclose(
        probabilities(scores, geometry, rows=128, columns=192, scale=3.0), soft, rtol=1e-4, atol=1e-7
    )


def test_what_the_model_did_not_see_gets_no_label():
    geometry = plan((100, 300), Native())
    scores = np.ones((2, *geometry.grid))
    labels, probability = label(scores, geometry, rows=100, columns=300, scale=1.0, background=[False] * 2, below=0.0)
    assert (labels[:, :99] == -1).all() and np.isnan(probability[:, :99]).all()
    assert (labels[:, 101:199] == 0).all() and (labels[:, 201:] == -1).all()


def test_a_threshold_and_background_prompts_make_background():
    geometry = plan((64, 64))
    scores = np.zeros((3, *geometry.grid))
    scores[1, :2], scores[2, 2:] = 5.0, 0.1
    options = {"rows": 64, "columns": 64, "scale": 1.0}
    by_threshold, _ = label(scores, geometry, **options, background=[False] * 3, below=0.9)
    assert set(np.unique(by_threshold)) == {-1, 1} and by_threshold[0, 0] == 1
    by_prompt, _ = label(scores, geometry, **options, background=[False, True, False], below=0.0)
    assert by_prompt[0, 0] == -1 and by_prompt[-1, 0] == 2


@pytest.mark.parametrize("rule", [1.5, -1, True, "sky", [3], object()])
def test_a_background_rule_that_cannot_be_read_is_refused(rule):
    with pytest.raises((PromptError, TypeError)):
        Background.of(rule)
