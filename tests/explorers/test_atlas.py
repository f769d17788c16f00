"""An atlas: colours are cosines, a selection is its images, and another prompt asks for the text alone."""

import io
import logging

import numpy as np
import pytest
import torch
from feature_stores import folder_of, quietly
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge import held
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.explorers import atlas as module

NAMES = st.sampled_from(["_selected", "_page", "_pointed", "prompt", "colour", "_sheet", "selection"])
JUNK = (
    st.none() | st.integers(-9, 99) | st.binary(max_size=9) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def store(vit, tmp_path_factory):
    place = tmp_path_factory.mktemp("atlas")
    return quietly(vit, folder_of(place / "images", 9), place / "store")


@pytest.fixture
def images(vit, store):
    opened = dcv.atlas(store, vit, "a taxi", absent=["grass"])
    yield opened
    opened.close()


def names(opened):
    return [tile["name"] for tile in opened._sheet["tiles"]]


def test_every_point_has_the_colour_of_its_raw_cosine_on_the_scale_that_is_shown(vit, store, images):
    scores = store.scores(vit, dcv.Prompts(["a taxi"], absent=["grass"])).values[:, 0]
    low, high = images._paint["scale"]["low"], images._paint["scale"]["high"]
    assert low == pytest.approx(scores[:, 0].min(), abs=1e-6)
    assert high == pytest.approx(max(scores[:, 0].max(), scores[:, 1].max()), abs=1e-6)
    shares = np.frombuffer(images._paint["codes"], np.uint8) / 255
    np.testing.assert_allclose(low + shares * (high - low), scores[:, 0], atol=(high - low) / 255)
    at = low + images._paint["baseline"]["share"] * (high - low)
    assert at == pytest.approx(scores[:, 1].max(), abs=1e-6)


def test_points_lie_where_the_layout_says_one_unit_on_both_axes(images):
    places = np.frombuffer(images._map["places"], "<u2").reshape(-1, 2) / 65535
    mine, theirs = (np.linalg.norm(at[:, None] - at[None], axis=-1) for at in (places, images.projected.place.values))
    np.testing.assert_allclose(mine / mine.max(), theirs / theirs.max(), atol=1e-4)
    assert 0 < places.min() and places.max() < 1


def test_another_prompt_encodes_its_text_and_no_image_and_the_scale_covers_both(vit, images):
    passes = []
    hook = vit.clip.visual.register_forward_hook(lambda *_: passes.append(1))
    before = images._paint
    images.prompt = "a road <b>&</b>"
    hook.remove()
    after = images._paint
    assert passes == [] and images.scores.prompt.values[0] == after["shown"] == "a road <b>&</b>"
    assert after["codes"] != before["codes"] and images.status_kind == "ok"
    assert after["scale"]["low"] <= before["scale"]["low"] and after["scale"]["high"] >= before["scale"]["high"]


def test_a_selection_is_sorted_without_repeats_and_shows_its_images_the_highest_cosine_first(store, images):
    images.selection = np.array([4, 1, 4, 0])
    assert images.selection == (0, 1, 4) and np.frombuffer(images._selected, "<u4").tolist() == [0, 1, 4]
    order = sorted((0, 1, 4), key=lambda i: -float(images.scores[0, i]))
    assert names(images) == [store.names[i] for i in order] == [store.names[t["point"]] for t in images._sheet["tiles"]]
    assert images.selected.image.values.tolist() == [store.names[i] for i in (0, 1, 4)]
    np.testing.assert_array_equal(images.selected.score, images.scores[:, [0, 1, 4]])
    for tile in images._sheet["tiles"]:
        pixels = np.asarray(Image.open(io.BytesIO(tile["image"])), float)
        theirs = store.read_image(tile["name"]).astype(float)
        assert pixels.shape == theirs.shape and abs(pixels.mean((0, 1)) - theirs.mean((0, 1))).max() < 12


def test_what_the_page_selects_is_read_in_python_and_what_it_makes_up_is_let_go(images, caplog):
    def send(**state):
        images._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})

    heard = []
    images.observe(lambda change: heard.append(change["new"]), "selection")
    images._handle_msg(
        {
            "content": {"data": {"method": "update", "state": {}, "buffer_paths": [["_selected"]]}},
            "buffers": [memoryview(np.array([2, 5], "<u4").tobytes())],
        }
    )
    assert images.selection == (2, 5) and heard == [(2, 5)] and len(names(images)) == 2
    with caplog.at_level(logging.WARNING):
        for junk in (b"abc", np.array([99], "<u4").tobytes(), "text", None):
            send(_selected=junk)
        send(colour="heat")
    assert len(caplog.records) == 5 and images.selection == (2, 5)
    send(_pointed=3)
    assert images._hovered["name"] == images.projected.image.values[3] and images._hovered["image"]
    send(_pointed=10**6)
    send(_page=-7)
    assert images._hovered["point"] == 3 and len(names(images)) == 2 and images.status_kind == "ok"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=st.dictionaries(NAMES, JUNK))
def test_whatever_a_page_sends_nothing_is_raised_and_the_selection_is_of_points_there_are(images, state):
    images._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})
    assert all(0 <= point < images.projected.sizes["point"] for point in images.selection)


def test_a_long_selection_is_paged_and_none_of_its_images_is_left_out(store, images, monkeypatch):
    monkeypatch.setattr(module, "PER_PAGE", 3)
    images.selection = range(len(store))
    seen = names(images)
    assert (images._sheet["title"], images._sheet["images"], len(seen)) == (f"{len(store)} images", len(store), 3)
    for page in (1, 2):
        images._page = page
        seen += names(images)
    assert sorted(seen) == sorted(store.names)


def test_of_positions_all_but_the_selected_ones_are_faded(vit, store):
    cells = dcv.atlas(store, vit, "a taxi", layout=dcv.features.project(store, of="dense", images=[1]))
    cells.selection = [0]
    [tile] = cells._sheet["tiles"]
    assert (cells._sheet["title"], tile["note"]) == ("1 position of 1 image", "1 position")
    marked = np.asarray(Image.open(io.BytesIO(tile["image"])), float)
    change = abs((marked - store.read_image(1)).mean(-1))  # JPEG keeps greys better than colours
    where = store.images[1].geometry.placement()
    height, width = (size / count for size, count in zip((where.box[2], where.box[3]), where.grid, strict=True))
    inside = change[: int(height) - 4, : int(width) - 4]
    assert inside.mean() < 25 < 60 < change[int(height) + 4 :].mean()
    cells.close()


def test_an_atlas_is_the_same_whatever_torch_is_set_to_around_it(vit, store, images):
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        opened = dcv.atlas(store, vit, "a taxi", absent=["grass"])
        assert opened._paint == images._paint and opened._map == images._map
        opened.prompt = images.prompt = "grass on a road"
    assert opened._paint == images._paint
    opened.close()


def test_a_prompt_that_cannot_be_used_is_an_error_in_the_line_and_changes_nothing(images):
    images.selection = [1]
    before = images._paint
    images.prompt = "  "
    assert images.status_kind == "error" and "says nothing" in images.status
    assert images._paint is before and images.selection == (1,) and not images.busy
    images.prompt = "grass and a road"
    assert images.status_kind == "ok" and images._paint is not before


def test_labels_are_a_second_colouring(vit, store):
    labels = ["<i>x</i>", "y", "", "y", "", "<i>x</i>", "y", "y"]
    opened = dcv.atlas(store, vit, "a taxi", labels=labels)
    opened.colour = "labels"
    codes = np.frombuffer(opened._paint["codes"], np.uint8)
    legend = {one["code"]: one["name"] for one in opened._paint["legend"]}
    assert [legend[code] for code in codes] == [label or "no label" for label in labels]
    opened.colour = "cosine"
    assert "scale" in opened._paint
    opened.close()


def test_images_that_are_not_files_are_named_and_selections_and_prompts_that_do_not_fit_are_refused(
    vit, store, tmp_path
):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    opened = dcv.atlas(quietly(vit, list(pixels), tmp_path / "store"), vit, "a taxi")
    opened.selection = [2]
    [tile] = opened._sheet["tiles"]
    assert tile["image"] == b"" and "in memory" in tile["note"] and tile["name"]
    for bad in ([5], [-1], [0.5], 3, ["a"], None):
        held(lambda bad=bad: setattr(opened, "selection", bad), ImageError)
    assert opened.selection == (2,) and "5 points by 'a taxi', 1 selected" in repr(opened)
    assert "image/png" in opened._repr_mimebundle_()[0]
    opened.close()
    held(lambda: dcv.atlas(store, vit, ""), PromptError)
    held(lambda: dcv.atlas(store, vit, "a taxi", labels=["a"]), PromptError)
