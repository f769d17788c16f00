"""Contact sheets: one prompt, a whole folder, one scale."""

import numpy as np
import pytest
from feature_stores import folder_of, quietly
from judge import held

import denseclip_viz as dcv
from denseclip_viz.errors import LayerError, PromptError

sheet = dcv.plot.contact_sheet


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def store(vit, tmp_path_factory):
    place = tmp_path_factory.mktemp("sheets")
    return quietly(vit, folder_of(place / "images"), place / "store", path=["value", "vanilla"])


def texts(figure):
    return [text.get_text() for text in figure.texts]


def scale(figure):
    """The limits of all maps: one pair."""
    limits = {image.get_clim() for ax in figure.axes[1:] for image in ax.images if image.get_clim() != (0, 255)}
    limits = {pair for pair in limits if pair[1] < 1.01 and pair[0] < pair[1]}
    assert len(limits) == 1
    return limits.pop()


def test_images_stand_in_the_order_of_their_peaks_with_the_peaks_beside_their_names(vit, store):
    found = dcv.features.search(store, vit, ["a taxi"], k=6, by="dense")
    words = texts(sheet(store, vit, "a taxi"))
    names = [word for word in words if word in store.names]
    assert names == [name for name in found.image.values[0, 0] if name in names] and len(names) >= 5
    assert [w for w in words if w.replace("−", "-") == f"{found.score.values[0, 0, 0]:.3f}"]


def test_all_pages_have_the_scale_of_the_whole_store(vit, store):
    every = [store.similarity(number, vit, ["a taxi"]).sel(path="vanilla") for number in range(len(store))]
    pages = [sheet(store, vit, "a taxi", path="vanilla", page=page, per_page=4) for page in (1, 2)]
    low, high = min(float(maps.min()) for maps in every), max(float(maps.max()) for maps in every)
    for page in pages:
        np.testing.assert_allclose(scale(page), (low, high), atol=1e-6)
    assert [len(page.axes) for page in pages] == [5, 3]
    assert any("1–4 of 6 images, page 1 of 2" in text for text in texts(pages[0]))


def test_absent_prompts_are_the_baseline_and_what_is_below_is_grey(vit, store):
    figure = sheet(store, vit, "a taxi", absent=["grass"])
    assert [line for ax in figure.axes for line in ax.lines if line.get_gid() == "baseline"]
    assert any("absent prompts" in text for text in texts(figure))
    assert len({text.get_color() for text in figure.texts if text.get_text() in store.names}) >= 1


def test_an_image_that_is_gone_leaves_its_map(vit, tmp_path):
    files = folder_of(tmp_path / "images")
    store = quietly(vit, files, tmp_path / "store")
    for file in files:
        file.unlink()
    figure = sheet(store, vit, "a taxi")
    assert len(figure.axes) == 7
    bar, *maps = (ax.images[-1].get_alpha() for ax in figure.axes if ax.images)
    assert set(maps) == {bar}, "colours of maps are those of the bar"


def test_pages_that_there_are_not_and_stores_without_maps_are_refused(vit, store, tmp_path):
    for options in ({"page": 0}, {"page": 2}, {"per_page": 0}):
        held(lambda options=options: sheet(store, vit, "a taxi", **options), PromptError)
    bare = quietly(vit, folder_of(tmp_path / "images"), tmp_path / "store", keep="global")
    held(lambda: sheet(bare, vit, "a taxi"), LayerError)


def test_absent_prompts_may_come_one_by_one(vit, store):
    absent = ["a whale"], (name for name in ["a whale"])
    sheets = [sheet(store, vit, "grass", path="value", absent=names) for names in absent]
    assert texts(sheets[0]) == texts(sheets[1])


@pytest.mark.parametrize("path", [[], 5, [None]])
def test_a_trace_along_no_path_is_refused(store, path):
    with pytest.raises((LayerError, PromptError), match="path"):
        store.trace(0, path=path)
