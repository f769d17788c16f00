"""Layouts in two dimensions: the principal axes of the vectors, and how little of them is kept."""

import numpy as np
import pytest
from feature_stores import folder_of, quietly
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import held

import denseclip_viz as dcv
from denseclip_viz.errors import GeometryError, ImageError, LayerError, PromptError
from denseclip_viz.features import feature_rows, points, projection
from denseclip_viz.features.neighbourhoods import neighbours_kept

project = dcv.features.project


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def store(vit, tmp_path_factory):
    place = tmp_path_factory.mktemp("maps")
    options = {"path": ["value", "vanilla"], "geometry": "native", "dtype": "float32"}
    return quietly(vit, folder_of(place / "images", 9), place / "store", **options)


def rows_of(store, of, path=None, images=None):
    """All unit vectors, image by image, out of the traces."""
    rows = []
    for number in range(len(store)) if images is None else images:
        trace = store.trace(number)
        one = trace.global_embedding[None] if of == "global" else trace.dense[store.paths.index(path)].flatten(0, 1)
        rows.append(one.double().numpy())
    rows = np.concatenate(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def trust_by_loops(vectors, places, k):
    """Trustworthiness and the share of neighbours, point by point, by sorting pairs (distance, number)."""
    count, penalty, same = len(vectors), 0, 0
    for i in range(count):
        others = [j for j in range(count) if j != i]
        by_cosine = sorted(others, key=lambda j: (-float(vectors[i] @ vectors[j]), j))
        by_place = sorted(others, key=lambda j: (float(((places[i] - places[j]) ** 2).sum()), j))
        same += len(set(by_place[:k]) & set(by_cosine[:k]))
        penalty += sum(by_cosine.index(j) + 1 - k for j in by_place[:k] if j not in by_cosine[:k])
    return 1 - 2 * penalty / (count * k * (2 * count - 3 * k - 1)), same / count / k


@pytest.mark.parametrize(("of", "path"), [("global", None), ("dense", "value"), ("dense", "vanilla")])
def test_the_axes_are_those_of_a_singular_value_decomposition_of_the_centred_unit_vectors(store, of, path):
    layout, rows = project(store, of=of, path=path), rows_of(store, of, path)
    centred = rows - rows.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(layout.share, (sizes**2 / (sizes**2).sum())[:2], atol=1e-6)
    for axis in range(2):
        direction = axes[axis] * np.sign(axes[axis][np.abs(axes[axis]).argmax()])
        np.testing.assert_allclose(layout.place[:, axis], centred @ direction, atol=2e-6)
    assert layout.attrs["points_in_all"] == layout.sizes["point"] == len(rows)


@pytest.mark.parametrize(("of", "path"), [("global", None), ("dense", "value")])
def test_what_is_said_of_neighbours_is_what_loops_over_all_pairs_count(store, of, path):
    layout, rows = project(store, of=of, path=path), rows_of(store, of, path)
    trust, share = trust_by_loops(rows, layout.place.values.astype(float), layout.attrs["neighbours"])
    assert layout.attrs["judged"] == len(rows)
    assert layout.attrs["trustworthiness"] == pytest.approx(trust, abs=1e-3)  # float32 may swap two places
    assert layout.attrs["neighbours_kept"] == pytest.approx(share, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(3, 24), width=st.integers(2, 5), seed=st.integers(0, 99))
def test_neighbours_are_counted_as_loops_count_them_also_where_distances_are_equal(count, width, seed):
    random = np.random.default_rng(seed)
    vectors, places = (random.integers(-2, 3, (count, columns)).astype(float) for columns in (width, 2))
    judged = neighbours_kept(vectors, places)
    assert judged[:2] == pytest.approx(trust_by_loops(vectors, places, judged.neighbours))


def test_places_of_no_meaning_are_judged_as_chance():
    random = np.random.default_rng(0)
    judged = neighbours_kept(random.standard_normal((400, 16)), random.standard_normal((400, 2)))
    assert judged.trustworthiness == pytest.approx(0.5, abs=0.02)
    assert judged.neighbours_kept == pytest.approx(judged.by_chance, abs=0.01)


def test_two_calls_give_the_same_numbers_and_every_point_knows_its_image_and_cell(store):
    first, again = project(store, of="dense", images=[6, 0]), project(store, of="dense", images=[0, store.names[6]])
    assert first.identical(again)
    assert first.number.values.tolist() == sorted(first.number.values.tolist()) and set(first.number.values) == {0, 6}
    assert [store.names[i] for i in first.number.values] == first.image.values.tolist()
    assert first.cell.values[first.number == 6].tolist() == list(range(store.images[6].positions))


def test_cosines_of_points_are_those_of_the_maps_and_of_the_scores(vit, store):
    prompts = dcv.Prompts(["a taxi", "grass"], ["{}", "a photo of {}"], absent=["a whale"])
    layout = project(store)
    ours, theirs = projection.point_scores(store, layout, vit, prompts), store.scores(vit, prompts)
    np.testing.assert_allclose(ours, theirs.transpose("template", "prompt", "image"), atol=1e-6)
    layout = project(store, of="dense", path="vanilla", images=[4], sample=5)
    ours = projection.point_scores(store, layout, vit, prompts)
    maps = store.similarity(4, vit, prompts).sel(path="vanilla").values.reshape(2, 3, -1)
    np.testing.assert_allclose(ours, maps[..., layout.cell.values], atol=1e-6)


def test_a_layout_in_any_order_has_the_scores_of_its_points(vit, store):
    layout = dcv.features.project(store, of="dense")
    scores = projection.point_scores(store, layout, vit, ["grass"])
    for order in (np.arange(layout.sizes["point"])[::-1], np.random.default_rng(0).permutation(layout.sizes["point"])):
        moved = projection.point_scores(store, layout.isel(point=order), vit, ["grass"])
        assert np.array_equal(moved.values, scores.values[..., order])


def test_a_sample_is_drawn_from_all_is_always_the_same_and_is_said(store):
    every, some = (project(store, of="dense", sample=size) for size in (None, 7))
    assert some.sizes["point"] == 7 and some.attrs["points_in_all"] == every.sizes["point"] > 7
    assert some.identical(project(store, of="dense", sample=7))
    pairs = set(zip(every.number.values.tolist(), every.cell.values.tolist(), strict=True))
    assert set(zip(some.number.values.tolist(), some.cell.values.tolist(), strict=True)) <= pairs
    assert project(store, sample=10**9).sizes["point"] == len(store)


def test_a_function_is_given_the_unit_vectors_in_the_order_of_the_points_and_an_array_is_taken_as_it_is(store):
    given = []

    def last_two(vectors):
        given.append(vectors)
        return vectors[:, -2:]

    layout = project(store, projection=last_two)
    np.testing.assert_allclose(given[0], rows_of(store, "global"), atol=1e-6)
    np.testing.assert_array_equal(layout.place, given[0][:, -2:])
    assert layout.attrs["projection"] == "last_two" and "share" not in layout
    mine = np.arange(2 * len(store)).reshape(-1, 2)
    np.testing.assert_array_equal(project(store, projection=mine).place, mine)


def test_coordinates_points_and_layouts_that_do_not_fit_are_refused(vit, store, tmp_path, monkeypatch):
    bad = (np.zeros((3, 2)), np.full((len(store), 2), np.nan), [["a", "b"]] * len(store), "umap", lambda rows: rows)
    for one in bad:
        held(lambda one=one: project(store, projection=one), GeometryError)
    held(lambda: project(store, images=[0, store.names[0]]), ImageError)
    held(lambda: project(store, images=[0, 1]), ImageError)
    held(lambda: project(store, images=[99]), ImageError)
    held(lambda: project(store, sample=2.5), PromptError)
    held(lambda: project(store, of="cells"), LayerError)
    held(lambda: project(store, of="dense", path="gem"), LayerError)
    monkeypatch.setattr(points, "MOST", 5)
    held(lambda: project(store), ImageError)
    assert project(store, sample=5).sizes["point"] == 5
    monkeypatch.setattr(projection, "MOST_HELD", 4)
    held(lambda: project(store, images=range(5), projection=lambda rows: rows[:, :2]), ImageError)
    other = quietly(vit, folder_of(tmp_path / "images", 5)[::-1], tmp_path / "store")
    for layout in (project(other), None):
        held(lambda layout=layout: projection.point_scores(store, layout, vit, ["a taxi"]), LayerError)


def test_a_layout_read_in_small_blocks_is_the_same_layout(store, monkeypatch):
    whole = project(store, of="dense")
    monkeypatch.setattr(feature_rows, "ROWS", 2)  # so many vectors, or one image, are in memory at once
    parts = project(store, of="dense")
    np.testing.assert_allclose(parts.place, whole.place, atol=1e-6)
    assert project(store).place.shape == (len(store), 2)
