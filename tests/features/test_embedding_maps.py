"""Maps of embeddings: honest axes, one scale, and on each figure what it is not."""

import numpy as np
import pytest
from feature_stores import folder_of, quietly
from judge import held
from matplotlib.figure import Figure

import denseclip_viz as dcv
from denseclip_viz.errors import LayerError, PromptError
from denseclip_viz.plot import embedding_maps

draw = dcv.plot.embedding_map
NAMES = ["<b>a</b>", "$x^2$", "", "三", "<b>a</b>", "", "三", "$x^2$"]


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def store(vit, tmp_path_factory):
    place = tmp_path_factory.mktemp("maps")
    return quietly(vit, folder_of(place / "images", 9), place / "store")


def texts(figure):
    return " ".join(text.get_text() for text in figure.texts)


def points(figure):
    """Of each panel the drawn points: places, values, limits of the colours."""
    drawn = [part for ax in figure.axes for part in ax.collections if part.get_gid() == "points"]
    return [(part.get_offsets().data, part.get_array().data, part.get_clim()) for part in drawn]


def test_every_panel_has_all_points_at_their_places_with_their_raw_cosines_on_one_scale(vit, store):
    prompts, layout = ["a taxi", "grass"], dcv.features.project(store)
    scores = store.scores(vit, prompts).isel(template=0).values
    panels = points(draw(store, vit, prompts))
    assert len(panels) == 2 and len({limits for *_, limits in panels}) == 1
    np.testing.assert_allclose(panels[0][2], (scores.min(), scores.max()), atol=1e-6)
    for column, (places, values, _) in enumerate(panels):
        mine = {tuple(np.round(place, 5)): value for place, value in zip(places, values, strict=True)}
        theirs = {tuple(np.round(at.astype(float), 5)): scores[i, column] for i, at in enumerate(layout.place.values)}
        assert mine.keys() == theirs.keys()
        assert all(mine[at] == pytest.approx(theirs[at], abs=1e-6) for at in mine)


def test_axes_say_their_share_and_the_figure_says_what_it_is_not(vit, store):
    layout = dcv.features.project(store)
    figure = draw(store, vit, "a taxi", layout=layout)
    words = texts(figure)
    for axis, share in enumerate(layout.share.values.tolist()):
        assert f"component {axis + 1}: {share:.1%} of the variance" in words
    assert (
        "not cosines" in words
        and "chance says which is on top" in words.replace("\n", " ")
        and f"trustworthiness {layout.attrs['trustworthiness']:.2f}" in words.replace("\n", " ")
    )
    assert f"{layout.attrs['neighbours_kept']:.0%} are among" in words and "vit0" in words
    ax = figure.axes[0]
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))  # one unit on both axes
    mine = dcv.features.project(store, projection=layout.place.values)
    assert "without a unit" in texts(draw(store, vit, "a taxi", layout=mine)) and "variance" not in texts(
        draw(store, vit, "a taxi", layout=mine)
    )


def test_a_sample_is_said_aloud(vit, store):
    layout = dcv.features.project(store, of="dense", sample=9)
    every = layout.attrs["points_in_all"]
    assert f"9 of {every}, drawn at random (seed 0)" in texts(draw(store, vit, "a taxi", layout=layout))


def test_absent_prompts_get_no_panel_but_are_the_baseline_on_the_scale(vit, store):
    figure = draw(store, vit, "a taxi", absent=["grass"])
    [line] = [line for ax in figure.axes for line in ax.lines if line.get_gid() == "baseline"]
    highest = float(store.scores(vit, dcv.Prompts(["grass"])).max())
    assert len(points(figure)) == 1 and line.get_xdata()[0] == pytest.approx(highest, abs=1e-6)


def test_labels_are_written_as_they_are_and_counted(vit, store):
    figure = draw(store, labels=NAMES)
    words = [text.get_text() for text in figure.texts]
    assert any("<b>a</b>" in word for word in words) and any("$x^2$" in word for word in words) and "no label" in words
    [(_, values, _)] = points(figure)
    assert sorted(values.tolist()) == [-1, -1, 0, 0, 1, 1, 2, 2]
    dense = dcv.features.project(store, of="dense", images=[0, 2, 3])
    codes, names = embedding_maps.label_codes(store, dense, NAMES)
    assert [
        {"": -1}.get(NAMES[i], names.index(NAMES[i]) if NAMES[i] else -1) for i in dense.number.values
    ] == codes.tolist()
    assert len(points(draw(store, vit, ["a taxi"], labels=NAMES))) == 2


def test_many_points_become_pixels_and_each_of_them_is_drawn(vit, store, monkeypatch):
    monkeypatch.setattr(embedding_maps, "MOST_DOTS", 3)
    figure = draw(store, vit, "a taxi")
    [image] = [image for ax in figure.axes for image in ax.images if image.get_gid() == "points"]
    scores = store.scores(vit, ["a taxi"]).values.ravel()
    np.testing.assert_allclose(np.sort(image.get_array().compressed()), np.sort(scores), atol=1e-6)


def test_the_callers_figure_is_drawn_into_and_what_does_not_fit_is_refused(vit, store):
    mine = Figure()
    assert draw(store, vit, "a taxi", figure=mine) is mine
    for options in (
        {},
        {"prompts": "a taxi"},
        {"labels": ["a"]},
        {"labels": [1] * 8},
        {"texts": vit, "prompts": ["a", "a"]},
    ):
        held(lambda options=options: draw(store, **options), PromptError)
    many = dcv.features.project(store, of="dense")
    labels = [str(i) for i in range(many.sizes["point"])]
    held(lambda: draw(store, labels=labels, layout=many), PromptError)
    held(lambda: draw(store, vit, "a taxi", layout="pca"), LayerError)
