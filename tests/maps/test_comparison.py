"""The comparison: maps that sum to the score, and agreement numbers that mean what they say."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.geometry import Preprocess, Whole
from denseclip_viz.maps.comparison import compare, spearman, with_gradients
from denseclip_viz.maps.similarity import Formula, classify, cosine_maps, similarity
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

PROMPTS = Prompts(["a cat", "a dog"], ["{}", "a photo of {}."], absent=["grass"])


def make_trace(seed=0, grid=(3, 4), width=8):
    torch.manual_seed(seed)
    preprocess = Preprocess(size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    size = (32 * grid[0], 32 * grid[1])
    geometry = Whole(short=min(size)).plan(size, preprocess=preprocess, cell=(32, 32))
    contributions = torch.randn(*grid, width, dtype=torch.float64)
    rest = {name: torch.randn(width, dtype=torch.float64) for name in ("bias", "class token")}
    return Trace(
        global_embedding=contributions.sum((0, 1)) + sum(rest.values()),
        dense=torch.randn(*grid, width, dtype=torch.float64),
        attention=torch.softmax(torch.randn(2, *grid, dtype=torch.float64).flatten(1), -1).view(2, *grid),
        contributions=contributions,
        even=torch.randn(*grid, width, dtype=torch.float64),
        rest=rest,
        even_rest={"class token": torch.randn(width, dtype=torch.float64)},
        geometry=geometry,
        image=np.zeros((8, 8, 3), np.uint8),
    )


VECTORS = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_layers_whose_cells_do_not_divide_each_other_are_refused_and_repeated_where_they_do():
    both, maps = compare(make_trace(), VECTORS, PROMPTS), {"fine": (6, 8), "coarse": (3, 4), "rest": (3, 3)}
    maps = {name: (torch.rand(2, 3, *grid), torch.rand(2, 3, *grid)) for name, grid in maps.items()}
    with pytest.raises(GeometryError, match=r"rest has 3 x 3 cells, the finest layer 6 x 8\. .* geometry='whole'"):
        with_gradients(both, maps, "by gradients")
    del maps["rest"]
    repeated = with_gradients(both, maps, "by gradients").layer_dense_gradient.sel(layer="coarse").values
    np.testing.assert_array_equal(repeated, np.kron(maps["coarse"][1], np.ones((2, 2))))


def test_contributions_and_rest_sum_to_the_score_of_every_prompt_in_every_template():
    both = compare(make_trace(), VECTORS, PROMPTS)
    np.testing.assert_allclose(both.contribution.sum(("y", "x")) + both.rest.sum("term"), both.score, rtol=1e-12)


def test_the_score_is_the_cosine_of_the_global_embedding():
    trace = make_trace()
    score = compare(trace, VECTORS, PROMPTS).score.sel(template="{}", prompt="a dog").item()
    e, t = trace.global_embedding.numpy(), VECTORS[0, 1].numpy()
    assert score == pytest.approx(e @ t / np.linalg.norm(e) / np.linalg.norm(t), rel=1e-12)


def test_similarity_is_the_raw_cosine_at_every_cell():
    trace = make_trace()
    maps = similarity(trace, VECTORS, PROMPTS)
    f, t = trace.dense[1, 2].numpy(), VECTORS[1, 0].numpy()
    assert maps.dims == ("template", "prompt", "y", "x")
    assert maps.sel(template="a photo of {}.", prompt="a cat")[1, 2].item() == pytest.approx(
        f @ t / np.linalg.norm(f) / np.linalg.norm(t), rel=1e-12
    )
    assert maps.y.values.tolist() == [15.5, 47.5, 79.5] and maps.absent.values.tolist() == [False, False, True]


def test_the_length_of_a_text_vector_does_not_matter():
    a, b = (compare(make_trace(), factor * VECTORS, PROMPTS) for factor in (1, 7))
    for name in ("dense", "contribution", "gap", "score", "rest", "gap_rest", "even_score"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-15)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=12), st.integers(0, 99))
def test_spearman_equals_scipys_also_with_ties(values, seed):
    other = np.random.default_rng(seed).normal(size=len(values)).round(1)
    ours = spearman(torch.tensor(values, dtype=torch.float64), torch.from_numpy(other)).item()
    if len(set(values)) == 1 or len(set(other)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(scipy.stats.spearmanr(values, other).statistic, abs=1e-12)


def test_agreement_is_full_when_dense_and_contribution_are_one():
    trace = make_trace()
    same = Trace(**{**vars(trace), "contributions": trace.dense})
    unit = Trace(**{**vars(same), "dense": trace.dense / trace.dense.norm(dim=-1, keepdim=True)})
    unit = Trace(**{**vars(unit), "contributions": unit.dense})
    both = compare(unit, VECTORS, PROMPTS)
    assert both.same_peak.all() and np.allclose(both.spearman, 1)


def test_crowding_is_what_the_best_position_alone_would_score_less_the_score():
    trace = make_trace()
    crowding = compare(trace, VECTORS, PROMPTS).crowding.sel(template="{}", prompt="a dog")
    t, cells = VECTORS[0, 1].numpy(), [cell.numpy() for cell in trace.dense.flatten(0, 1)]
    alone = max(cell @ t / np.linalg.norm(cell) / np.linalg.norm(t) for cell in cells)
    e = trace.global_embedding.numpy()
    assert crowding.item() == pytest.approx(alone - e @ t / np.linalg.norm(e) / np.linalg.norm(t), rel=1e-12)


def test_everything_in_a_comparison_says_what_it_is_and_in_which_unit():
    both = compare(make_trace(), VECTORS, PROMPTS)
    for name in set(both.data_vars) - {"image"}:
        assert both[name].attrs["long_name"] and both[name].attrs["units"] in ("cosine", "1"), name
    assert (both.gap.attrs["units"], both.attention.attrs["units"]) == ("cosine", "1")


def test_attention_in_the_top_decile_is_a_share():
    trace = make_trace(grid=(4, 5))
    both = compare(trace, VECTORS, PROMPTS)
    dense = both.dense.sel(template="{}", prompt="a cat").values.ravel()
    mean = both.attention.values.ravel()
    top = np.argsort(dense)[-2:]
    assert both.attention_in_top_decile.sel(template="{}", prompt="a cat") == pytest.approx(
        mean[top].sum() / mean.sum()
    )


def test_the_gap_is_what_an_even_look_would_add_less_what_is_added():
    trace = make_trace()
    both = compare(trace, VECTORS, PROMPTS)
    t, length = VECTORS[1, 2] / VECTORS[1, 2].norm(), trace.global_embedding.norm()
    at = {"template": "a photo of {}.", "prompt": "grass"}
    expected = (trace.even - trace.contributions) @ t / length
    np.testing.assert_allclose(both.gap.sel(at), expected, rtol=1e-10, atol=1e-14)
    change = (trace.even_rest["class token"] - trace.rest["class token"]) @ t / length
    np.testing.assert_allclose(both.gap_rest.sel(at).values, [0, change], rtol=1e-10, atol=1e-14)


def test_gap_and_its_rest_sum_to_the_score_under_an_even_look_less_the_score():
    both = compare(make_trace(), VECTORS, PROMPTS)
    total = both.gap.sum(("y", "x")) + both.gap_rest.sum("term")
    np.testing.assert_allclose(total, both.even_score - both.score, rtol=1e-12)


def test_a_pool_that_looks_evenly_has_no_gap():
    trace = make_trace()
    even = Trace(**{**vars(trace), "even": trace.contributions, "even_rest": {}})
    both = compare(even, VECTORS, PROMPTS)
    assert not both.gap.any() and not both.gap_rest.any()
    np.testing.assert_allclose(both.even_score, both.score, rtol=1e-12)


def test_a_grid_of_one_cell_compares():
    both = compare(make_trace(grid=(1, 1)), VECTORS, PROMPTS)
    assert np.isnan(both.spearman).all() and both.same_peak.all()


def test_a_zero_vector_has_cosine_zero():
    assert cosine_maps(torch.zeros(1, 1, 3), torch.ones(1, 1, 3)).item() == 0


def test_the_dataset_survives_netcdf(tmp_path):
    import xarray as xr

    both = compare(make_trace(), VECTORS, PROMPTS)
    both.to_netcdf(tmp_path / "both.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "both.nc", engine="h5netcdf") as back:
        xr.testing.assert_allclose(back.load(), both)


def test_a_map_that_is_taken_out_is_what_similarity_returns():
    import xarray as xr

    trace = make_trace()
    taken = compare(trace, VECTORS, PROMPTS)["dense"]
    whole = similarity(trace, VECTORS, PROMPTS)
    xr.testing.assert_allclose(taken, whole, rtol=1e-12)
    assert taken.attrs == whole.attrs and "geometry" in taken.attrs


def test_probabilities_are_the_softmax_of_the_scaled_score():
    trace, scale = make_trace(), 7.5
    score = compare(trace, VECTORS, PROMPTS).score
    score = score.isel(prompt=~score.absent.values)
    shares = classify(trace, VECTORS, PROMPTS, Formula("softmax", scale))
    expected = np.exp(scale * score) / np.exp(scale * score).sum("prompt")
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    assert shares.dims == score.dims and shares.prompt.equals(score.prompt.drop_vars(["absent", "background"]))
    assert shares.attrs["geometry"]


@pytest.mark.parametrize("features, vectors", [((2, 2, 4), (3, 4)), ((4, 4), (1, 3, 4)), ((2, 2, 4), (1, 3, 5))])
def test_cosines_of_other_axes_or_of_another_space_are_refused(features, vectors):
    with pytest.raises(LayerError, match=r"Expected .*\(template, prompt, D\)"):
        cosine_maps(torch.ones(features), torch.ones(vectors))
