"""Cells of nothing but padding are no part of the image: no map is highest there, and nothing is cut there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.geometry import Preprocess, Tiles
from denseclip_viz.maps.comparison import compare
from denseclip_viz.maps.segment import segment
from denseclip_viz.maps.similarity import Formula, similarity
from denseclip_viz.maps.tables import compare_table, layers_table
from denseclip_viz.plot.select import absent_baseline
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

PROMPTS = Prompts(["a", "b"], absent=["c"])
VECTORS = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
IN_SIGHT = np.pad(np.ones((2, 2), bool), ((0, 3), (0, 3)))


@pytest.fixture
def trace():
    """An image of 60 px below the window: 4 of 25 cells were seen, and each text is itself in the padding."""
    clip = Preprocess((160, 160), mean=(0.5,) * 3, std=(0.5,) * 3)
    geometry = Tiles(short=60).plan((60, 60), preprocess=clip, cell=(32, 32))
    dense, contributions = torch.randn(2, 5, 5, 8, generator=torch.Generator().manual_seed(1))
    dense[4, :3], contributions[3, :3] = VECTORS, 9 * VECTORS
    attention, zeros = torch.full((1, 5, 5), 1 / 25), {"bias": torch.zeros(8)}
    image = np.zeros((60, 60, 3), np.uint8)
    total = contributions.sum((0, 1))
    return Trace(total, dense, attention, contributions, contributions, zeros, {}, geometry, image, "x.jpg")


def seen_cells(maps):
    """Cells of maps (..., y, x) that hold some of the image."""
    return maps.values[..., IN_SIGHT]


def test_the_geometry_says_which_cells_hold_some_of_the_image(trace):
    np.testing.assert_array_equal(trace.geometry.in_sight, IN_SIGHT)
    assert (
        Tiles(apart=True)
        .plan((60, 60), preprocess=Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3), cell=(16, 16))
        .in_sight.all()
    )


def test_pixels_are_cut_at_the_highest_that_an_absent_prompt_has_in_the_image(trace):
    highest = float(seen_cells(similarity(trace, VECTORS[None], PROMPTS)[0, 2]).max())
    answer = segment(trace, VECTORS, PROMPTS, Formula("softmax", 9.0))
    assert answer.attrs["cosine_cut"] == highest < 0.99


def test_a_prompt_that_only_padding_is_confident_of_is_removed(trace):
    with pytest.warns(UserWarning, match="removed every prompt"):
        flat = replace(trace, dense=torch.where(torch.from_numpy(IN_SIGHT)[..., None], VECTORS.sum(0), trace.dense))
        answer = segment(flat, VECTORS[:2], Prompts(["a", "b"]), Formula("softmax", 9.0), denoise=1.0)
    assert (answer.labels == -1).all()


def test_a_comparison_looks_for_peaks_in_the_image(trace):
    both = compare(trace, VECTORS[None], PROMPTS)
    dense, contribution = seen_cells(both.dense), seen_cells(both.contribution)
    np.testing.assert_allclose(both.crowding + both.score, dense.max(-1), rtol=1e-6)
    np.testing.assert_array_equal(both.same_peak, dense.argmax(-1) == contribution.argmax(-1))
    ranks = [one.reshape(-1, 4).argsort(-1).argsort(-1) for one in (dense, contribution)]
    by_hand = [np.corrcoef(one, other)[0, 1] for one, other in zip(*ranks, strict=True)]
    np.testing.assert_allclose(both.spearman.values.ravel(), by_hand, rtol=1e-6)
    np.testing.assert_allclose(both.attention_in_top_decile, 1 / 25, rtol=1e-5)  # one of four cells, of all attention
    table = compare_table(both)
    np.testing.assert_array_equal(table["dense_peak"], dense[0].max(-1))
    np.testing.assert_allclose(table["crowding"] + table["score"], table["dense_peak"], rtol=1e-6)
    assert table[["peak_y", "peak_x"]].to_numpy().max() < 59
    assert absent_baseline(both.dense) == dense[0, 2].max() == absent_baseline(both.dense.isel(template=0))


def test_layers_too_peak_in_the_image(trace):
    both = compare(trace, VECTORS[None], PROMPTS)
    layers = both.assign(layer_dense=both.dense.expand_dims("layer"), layer_score=both.score.expand_dims("layer"))
    layers = layers.assign(layer_agreement=("layer", [0.5])).assign_coords(layer=["last"])
    np.testing.assert_array_equal(layers_table(layers)["dense_peak"], seen_cells(both.dense)[0].max(-1))


def test_the_level_that_is_taken_off_templates_is_that_of_the_image(trace):
    maps = similarity(trace, torch.stack([VECTORS, VECTORS.flip(-1)]), Prompts(["a", "b", "c"], ["{}", "the {}"]))
    levels = seen_cells(maps).mean(-1)[..., None, None]
    spread = dcv.measure.disagreement(maps, centred=True)
    np.testing.assert_allclose(spread, (maps.values - levels).std(0), atol=1e-6)


def test_words_are_judged_by_peaks_in_the_image(load_tiny):
    model, image = load_tiny("vit"), np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    trace = model.trace(image, geometry=dcv.Tiles(window=64, short=40))
    cells, words = trace.geometry.in_sight, dcv.measure.word_attribution(model, trace, "a red car")
    assert 0 < cells.sum() < cells.size
    whole, without = words.dense.values[:, None][..., cells], words.without.values[..., cells]
    np.testing.assert_array_equal(words.peak_change, whole.max(-1) - without.max(-1))
    by_hand = [np.corrcoef(whole[0, 0], one)[0, 1] for one in without[0]]
    np.testing.assert_allclose(words.same_map[0], by_hand, rtol=1e-5)
    at = whole.argmax(-1)[..., None]
    np.testing.assert_array_equal(
        words.gradient_peak, np.take_along_axis(words.gradient.values[..., cells], at, -1)[..., 0]
    )
