"""Propagation over given features, against a graph of loops and a direct solution."""

import math

import numpy as np
import oracle
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import LayerError
from denseclip_viz.maps.propagation import _lab, propagate, propagate_pixels


def drawn(seed, grid=(3, 5)):
    generator = np.random.default_rng(seed)
    return generator.normal(0.2, 0.05, (2, 3, *grid)), generator.normal(size=(*grid, 4))


def graph(features, neighbours, power, decay):
    rows, columns = features.shape[:2]
    places = [(y, x) for y in range(rows) for x in range(columns)]
    unit = [features[place] / math.sqrt(features[place] @ features[place]) for place in places]
    ties = np.zeros((len(places), len(places)))
    for i, a in enumerate(unit):
        nearest = sorted(range(len(unit)), key=lambda j: -(a @ unit[j]))[:neighbours]
        for j in nearest:
            ties[i, j] = max(a @ unit[j], 0) ** power * math.exp(-decay * math.dist(places[i], places[j]))
    both = ties + ties.T
    np.fill_diagonal(both, 0)
    sums = both.sum(1)
    return np.array(
        [[both[i, j] and both[i, j] / math.sqrt(sums[i] * sums[j]) for j in range(len(sums))] for i in range(len(sums))]
    )


def in_steps(system, y, steps):
    """Conjugate gradients of the textbook, without a stop."""
    x, residual = np.zeros_like(y), y.copy()
    direction = residual.copy()
    for _ in range(steps):
        along = system @ direction
        size = (residual @ residual) / (direction @ along)
        x, left = x + size * direction, residual - size * along
        direction, residual = left + (left @ left) / (residual @ residual) * direction, left
    return x


@given(seed=st.integers(0, 2**16), neighbours=st.sampled_from([2, 6, 400]))
def test_propagation_is_conjugate_gradients_over_a_graph_of_loops(seed, neighbours):
    scores, features = drawn(seed)
    options = {"neighbours": neighbours, "power": 3.0, "decay": 0.16}
    ours = propagate(scores, features, steps=3, **options).numpy()
    system = np.eye(15) - 0.95 * graph(features, *options.values())
    theirs = np.stack([in_steps(system, y, 3) for y in scores.reshape(-1, 15)]).reshape(scores.shape)
    assert oracle.relative_error(ours, theirs) < 1e-12
    solved = np.linalg.solve(system, scores.reshape(-1, 15).T).T.reshape(scores.shape)
    assert oracle.relative_error(propagate(scores, features, steps=50, **options).numpy(), solved) < 1e-4


def pixel_graph(image, reach, tau):
    """Ties of pixels by loops, their rows and columns divided by the roots of their sums."""
    height, width = image.shape[:2]
    colours, places = _lab(image / 255), [(y, x) for y in range(height) for x in range(width)]
    ties = np.zeros((len(places), len(places)))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            if i != j and abs(a[0] - b[0]) <= reach and abs(a[1] - b[1]) <= reach:
                ties[i, j] = math.exp(-math.dist(colours[a], colours[b]) / tau)
    roots = np.sqrt(ties.sum(1))
    return ties / roots[:, None] / roots


@given(seed=st.integers(0, 2**16), size=st.sampled_from([(5, 7), (6, 2), (1, 6)]), window=st.sampled_from([3, 5, 13]))
def test_pixels_share_by_conjugate_gradients_over_a_graph_of_loops(seed, size, window):
    generator = np.random.default_rng(seed)
    image, scores = generator.integers(90, 99, (*size, 3), dtype=np.uint8), generator.normal(size=(2, 3, *size))
    options = {"window": window, "tau": 0.02, "steps": 3}
    ours = propagate_pixels(scores, image, **options).numpy()
    count = size[0] * size[1]
    system = np.eye(count) - 0.95 * pixel_graph(image, window // 2, 0.02)
    theirs = np.stack([in_steps(system, y, 3) for y in scores.reshape(-1, count)]).reshape(scores.shape)
    assert oracle.relative_error(ours, theirs) < 1e-12
    for wrong in ({"tau": 0.01}, {"share": 0.9}, {"steps": 2}):
        assert oracle.relative_error(propagate_pixels(scores, image, **options | wrong).numpy(), theirs) > 5e-4


def test_colours_are_those_of_cielab():
    """White, red and blue of sRGB under D65; and where it is dark L = 903.3 Y, on a line of sRGB of its own."""
    dark = [5 / 255] * 3
    lab = _lab(np.array([[[1, 1, 1], [1, 0, 0], [0, 0, 1], dark]], dtype=float))[0] * (100, 128, 128)
    known = [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [903.3 * 5 / 255 / 12.92, 0, 0]]
    np.testing.assert_allclose(lab, known, atol=0.02)
    np.testing.assert_allclose(lab[3, 0], known[3][0], rtol=1e-4)


def test_a_coarse_map_follows_the_edges_of_the_image():
    """An edge inside a cell: bilinear maps are blind to it."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:, 12:] = 255
    scores = torch.tensor([[0.3, 0.3, 0.1, 0.1]] * 4)
    drawn = propagate_pixels(scores, image, share=0.0)
    shared = propagate_pixels(scores, image)
    step = [(maps[:, 11] - maps[:, 12]).mean() / (maps.max() - maps.min()) for maps in (drawn, shared)]
    assert step[0] < 0.1 and step[1] > 0.4
    assert shared.dtype == torch.float32 and shared.shape == (32, 32)


@pytest.mark.parametrize(
    "wrong", [{"share": 1.0}, {"window": 4}, {"window": 1}, {"tau": 0}, {"tau": float("inf")}, {"steps": 0}]
)
def test_numbers_for_pixels_that_cannot_be_are_refused(wrong):
    with pytest.raises(LayerError, match=next(iter(wrong))):
        propagate_pixels(torch.rand(2, 2), np.zeros((8, 8, 3), dtype=np.uint8), **wrong)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (torch.full((2, 2), float("nan")), r"\(2, 2\) torch.float32"),
        (torch.tensor([[1.0, float("inf")]]), "finite numbers"),
        (torch.ones(2, 2, dtype=torch.int64), "int64"),
        (torch.ones(3), r"scores \(3,\)"),
        (torch.ones(0, 2, 2), r"scores \(0, 2, 2\)"),
        (None, "scores NoneType"),
        ("maps", "scores str"),
    ],
)
def test_scores_that_are_none_are_refused(scores, said):
    with pytest.raises(LayerError, match=said):
        propagate_pixels(scores, np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(LayerError, match=said):
        propagate(scores, np.ones((2, 2, 3)))


def test_cells_are_drawn_where_their_trace_says(load_tiny):
    """A whole image is padded to whole cells: its grid reaches beyond it."""
    model, image = load_tiny("vit"), np.random.default_rng(0).integers(0, 256, (64, 70, 3), dtype=np.uint8)
    trace = model.trace(image, geometry="whole")
    maps = model.similarity(trace, ["a taxi"])
    there = trace.geometry.placement().weights(64, 70).draw(maps.to_numpy().astype(float))
    for drawn in (propagate_pixels(maps, image, share=0.0), propagate_pixels(maps.to_numpy(), trace, share=0.0)):
        assert drawn.dtype == torch.float32
        np.testing.assert_allclose(drawn.numpy(), there, atol=1e-7)
    with pytest.raises(LayerError, match="pass the trace"):
        propagate_pixels(maps.to_numpy(), model.trace(image))


def test_axes_of_labelled_maps_go_by_their_names():
    scores, features = (torch.from_numpy(one) for one in drawn(0, (4, 4)))
    maps, colours = xr.DataArray(scores, dims=("template", "prompt", "y", "x")), np.zeros((4, 4, 3), np.uint8)
    colours[:2] = 255
    turned, named = maps.transpose("template", "prompt", "x", "y"), xr.DataArray(features, dims=("y", "x", "channel"))
    expected = propagate(scores, features, neighbours=5)
    for one in (features, named, named.transpose("channel", "x", "y")):
        torch.testing.assert_close(propagate(turned, one, neighbours=5), expected, rtol=0, atol=0)
    drawn_one, drawn_other = (propagate_pixels(one, colours, window=3) for one in (turned, maps))
    torch.testing.assert_close(drawn_one, drawn_other, rtol=0, atol=0)


def test_what_would_not_fit_is_refused_before_it_is_held():
    with pytest.raises(LayerError, match=r"24\.5 GB to hold.*thumbnail"):
        propagate_pixels(torch.rand(3, 4), np.zeros((3000, 6040, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_scores_of_half_precision_come_out_as_single(kind):
    high = torch.full((4, 4), 6000.0, dtype=kind)
    assert propagate_pixels(high, np.zeros((8, 8, 3), dtype=np.uint8)).dtype == torch.float32
    assert propagate_pixels(high, np.zeros((8, 8, 3), dtype=np.uint8)).isfinite().all()
    assert propagate(high, np.ones((4, 4, 3))).isfinite().all()


def test_a_pixel_alone_keeps_its_score():
    assert propagate_pixels(torch.tensor([[0.5]]), np.zeros((1, 1, 3), dtype=np.uint8)).tolist() == [[0.5]]


def test_maps_of_another_part_of_the_image_are_refused():
    with pytest.raises(LayerError, match=r"scores \(3, 7, 7\) for 32 x 64 pixels.*geometry='whole'"):
        propagate_pixels(torch.rand(3, 7, 7), np.zeros((32, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("wrong", [{"power": 1.0}, {"decay": 0.01}, {"neighbours": 3}, {"share": 0.9}, {"steps": 1}])
def test_a_small_mistake_shows(wrong):
    scores, features = drawn(0)
    right = propagate(scores, features).numpy()
    assert oracle.relative_error(propagate(scores, features, **wrong).numpy(), right) > 5e-4


def test_no_share_leaves_scores_as_they_are_in_their_type():
    scores, features = drawn(1)
    single = torch.from_numpy(scores).float()
    after = propagate(single, features, share=0.0)
    assert after.dtype == torch.float32 and torch.equal(after, single)


def test_features_of_another_resolution_are_brought_to_the_grid():
    scores, features = drawn(2)
    finer = np.repeat(np.repeat(features, 2, 0), 2, 1)
    assert propagate(scores, finer).shape == scores.shape


@pytest.mark.parametrize(
    "wrong", [{"share": 1.0}, {"share": -0.1}, {"neighbours": 0}, {"power": -1}, {"decay": float("nan")}, {"steps": 0}]
)
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(LayerError, match=next(iter(wrong))):
        propagate(*drawn(0), **wrong)


def test_features_of_another_image_are_refused():
    with pytest.raises(LayerError, match="given features"):
        propagate(drawn(0)[0], np.ones((8, 3, 2)))


def test_what_similarity_returns_is_taken_as_it_is():
    maps = xr.DataArray(np.random.default_rng(0).random((1, 2, 3, 4)), dims=("template", "prompt", "y", "x"))
    features = np.random.default_rng(1).random((3, 4, 5))
    assert torch.equal(propagate(maps, features), propagate(maps.values, torch.from_numpy(features)))
