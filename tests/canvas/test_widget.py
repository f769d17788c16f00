"""The canvas from Python: its state, what it refuses, its still; what it draws is tested in a browser."""

import base64
import gc
import io
import weakref
from unicodedata import normalize

import fake_results
import numpy as np
import pytest
from drawn import everything_said
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.canvas import WEB, module
from denseclip_viz.canvas.snapshot import NOTE, drawn, laid_out
from denseclip_viz.canvas.state import CONTROLS, DEFAULTS
from denseclip_viz.errors import DenseclipVizError, ImageError, LayerError, PromptError
from denseclip_viz.geometry import Geometry, upsample
from denseclip_viz.maps.regions import placement_of
from denseclip_viz.plot.raster import overlay, softened


def still_of(canvas):
    """The image in the still."""
    return drawn(canvas._shown, canvas.state)[0].astype(int)


def said_by(canvas):
    """What stands around it."""
    return everything_said(laid_out(canvas._shown, canvas.state)).splitlines()


def test_a_canvas_starts_with_the_first_of_everything():
    state = dcv.Canvas(fake_results.comparison(templates=2)).state
    assert (state["prompt"], state["template"], state["view"]) == ("a red car", "a photo of {}.", "dense")


def test_a_canvas_starts_where_it_is_told_to():
    canvas = dcv.Canvas(fake_results.comparison(), view="gap", prompt="grass", opacity=0.5)
    assert (canvas.state["view"], canvas.state["prompt"], canvas.state["opacity"]) == ("gap", "grass", 0.5)


def test_some_names_of_a_state_leave_the_others():
    canvas = dcv.Canvas(fake_results.comparison(), opacity=0.5)
    canvas.state = {"prompt": "grass"}
    assert canvas.state["opacity"] == 0.5
    assert set(canvas.state) == set(DEFAULTS)


def test_another_result_keeps_what_it_has_too():
    canvas = dcv.Canvas(fake_results.comparison(layers="vit"), prompt="grass", layer="blocks.3", opacity=0.2)
    canvas.show(fake_results.comparison(prompts=["the sun", "grass"]))
    assert (canvas.state["prompt"], canvas.state["layer"], canvas.state["opacity"]) == ("grass", "output", 0.2)
    canvas.show(fake_results.comparison(prompts=["the sun"]))
    assert canvas.state["prompt"] == "the sun"


@pytest.mark.parametrize(("cell", "pinned"), [(32, [6, 10]), (16, [13, 20]), (8, [27, 41])])
def test_a_pin_stays_at_its_place_in_the_image_where_the_cells_are_others(cell, pinned):
    canvas = dcv.Canvas(fake_results.comparison(cell=16), pinned=[13, 20])
    canvas.show(fake_results.comparison(cell=cell))
    assert canvas.state["pinned"] == pinned


def test_a_pin_goes_with_its_image_and_where_its_place_is_not_seen():
    canvas = dcv.Canvas(fake_results.comparison(), pinned=[7, 0])
    canvas.show(fake_results.comparison(mode="native"))  # the crop leaves out the left end
    assert canvas.state["pinned"] is None
    canvas.state = {"pinned": [1, 1]}
    other = fake_results.comparison(mode="native")
    canvas.show(other.assign(image=255 - other.image))
    assert canvas.state["pinned"] is None


def test_a_region_stays_in_its_image_whatever_the_cells_and_goes_with_it():
    region = [[10, 20], [10.5, 80], [60, 50]]
    canvas = dcv.Canvas(fake_results.comparison(), region=region)
    canvas.show(fake_results.comparison(mode="native", cell=32))
    assert canvas.state["region"] == region
    canvas.show(fake_results.comparison(size=(120, 180)))
    assert canvas.state["region"] is None


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"prompt": "a whale"}, PromptError),
        ({"template": "a map of {}"}, PromptError),
        ({"path": "sclip"}, LayerError),
        ({"layer": "blocks.99"}, LayerError),
        ({"head": 99}, LayerError),
        ({"view": "attribution"}, LayerError),
        ({"opacity": 1.2}, ImageError),
        ({"opacity": True}, ImageError),
        ({"threshold": "high"}, ImageError),
        ({"threshold": float("nan")}, ImageError),
        ({"colours": "jet"}, ImageError),
        ({"pinned": [1]}, ImageError),
        ({"pinned": [99, 0]}, ImageError),
        ({"region": [[0, 0], [9, 9]]}, ImageError),
        ({"region": [[0, 0], [9, 9], [999, 0]]}, ImageError),
        ({"region": [[0, 0]] * 401}, ImageError),
        ({"versus": ["prompt", "a whale"]}, PromptError),
        ({"versus": ["view", "gap"]}, ImageError),
        ({"split": 1.5}, ImageError),
        ({"contrast": "ratio"}, ImageError),
        ({"order": "name"}, ImageError),
        ({"rows": "heat"}, ImageError),
        ({"filter": 5}, ImageError),
        ({"filter": "a" * 101}, ImageError),
        ({"filter": "\u0958" * 51}, ImageError),  # twice as long where it is composed
        ({"filter": "\ud83d"}, ImageError),
        ({"interpolation": "bicubic"}, ImageError),
        ({"hover": 1}, ImageError),
        ({"colour": "viridis"}, ImageError),
    ],
)
def test_a_state_that_cannot_be_is_refused_and_changes_nothing(state, error):
    canvas = dcv.Canvas(fake_results.comparison())
    before = canvas.state
    with pytest.raises(error, match=r"Expected .+\. .+"):
        canvas.state = state
    assert canvas.state == before


def test_a_result_that_cannot_be_shown_leaves_what_was():
    canvas = dcv.Canvas(fake_results.comparison(), prompt="grass")
    with pytest.raises(DenseclipVizError):
        canvas.show("street.jpg")
    assert canvas._payload["meta"]["choices"]["prompt"] == list(fake_results.PROMPTS)
    assert canvas.state["prompt"] == "grass"


def test_letters_of_a_filter_are_composed_and_stay_with_another_result():
    canvas = dcv.Canvas(fake_results.comparison(), filter=normalize("NFD", "고양"), order="value", rows="templates")
    canvas.show(fake_results.comparison(prompts=["a boat"]))
    assert [canvas.state[name] for name in ("filter", "order", "rows")] == ["고양", "value", "templates"]


def test_every_control_can_be_locked_and_no_other():
    assert dcv.Canvas(locked=CONTROLS).locked == list(CONTROLS)
    with pytest.raises(ImageError, match="locked"):
        dcv.Canvas(locked=["prompts"])
    with pytest.raises(ImageError, match="locked='view'"):
        dcv.Canvas(locked="view")


def test_what_the_browser_sends_back_is_taken():
    canvas = dcv.Canvas(fake_results.comparison())
    canvas.set_state({"state": {**canvas.state, "pinned": [3, 4], "opacity": 1}})
    assert (canvas.state["pinned"], canvas.state["opacity"]) == ([3, 4], 1.0)


def test_linked_canvases_share_a_name_and_others_do_not():
    left, middle, right, other = (dcv.Canvas() for _ in range(4))
    dcv.link(left, middle)
    dcv.link(middle, right)
    assert set(left._links) & set(middle._links)
    assert set(middle._links) & set(right._links)
    assert not other._links


def test_what_is_no_canvas_is_not_linked_and_links_nothing():
    canvas = dcv.Canvas()
    with pytest.raises(LayerError, match=r"type str cannot be linked.*explorer\.canvas"):
        dcv.link(canvas, "another")
    assert canvas._links == []


def test_the_still_is_the_overlay_of_the_map_on_its_scale():
    both = fake_results.comparison()
    canvas = dcv.Canvas(both, prompt="the sun", opacity=0.7)
    maps = upsample(both.dense.sel(prompt="the sun").to_numpy()[0], Geometry.from_json(both.attrs["geometry"]))
    scale = {"low": float(both.dense.min()), "high": float(both.dense.max())}
    expected = overlay(both.image.to_numpy(), maps, opacity=0.7, **scale).astype(int)
    assert np.abs(still_of(canvas) - expected).mean() < 1.5


def test_the_still_of_a_comparison_is_the_difference_or_one_map_beside_the_other():
    both = fake_results.comparison()
    maps = upsample(both.dense[0].to_numpy(), Geometry.from_json(both.attrs["geometry"]))
    low, high = float(both.dense.min()), float(both.dense.max())
    canvas = dcv.Canvas(both, versus=["prompt", "grass"])
    scale = {"low": low - high, "high": high - low, "colours": "RdBu_r"}
    difference = overlay(both.image.to_numpy(), maps[0] - maps[1], opacity=canvas.state["opacity"], **scale).astype(int)
    assert np.abs(still_of(canvas) - difference).mean() < 1.5
    assert {"a red car − grass", "difference"} <= set(said_by(canvas))
    without_trace = dcv.Canvas(both, versus=["prompt", "grass"], hover=True)  # it has no cells to compare
    assert (still_of(without_trace) == still_of(canvas)).all()
    canvas.state = {"contrast": "slider", "split": 0.25}
    one, other = (
        overlay(both.image.to_numpy(), maps[i], opacity=canvas.state["opacity"], low=low, high=high) for i in (0, 1)
    )
    beside = np.concatenate([one[:, :90], other[:, 90:]], axis=1).astype(int)
    assert np.abs(still_of(canvas) - beside).mean() < 1.5


def test_a_still_hides_what_the_threshold_hides_and_says_so():
    both = fake_results.comparison()
    maps = upsample(both.dense[0].to_numpy(), Geometry.from_json(both.attrs["geometry"]))
    low, high = float(both.dense.min()), float(both.dense.max())
    threshold = (low + high) / 2
    canvas = dcv.Canvas(both, threshold=threshold)
    expected = overlay(both.image.to_numpy(), maps[0], opacity=canvas.state["opacity"], low=low, high=high)
    expected[maps[0] < threshold] = softened(both.image.to_numpy())[maps[0] < threshold]
    assert 0.1 < (maps[0] < threshold).mean() < 0.9
    assert np.abs(still_of(canvas) - expected.astype(int)).mean() < 2
    assert f"cosine, hidden below {threshold:.3f}" in said_by(canvas)
    assert "cosine, hidden within ±0.00200" in said_by(dcv.Canvas(both, view="contribution", threshold=0.002))
    hovering = dcv.Canvas(both, trace=fake_results.trace(both), hover=True, threshold=0.5)  # of likeness between cells
    assert not any("hidden" in line for line in said_by(hovering))


def test_a_still_has_the_chosen_colours_and_cells():
    both = fake_results.comparison()
    low, high = float(both.dense.min()), float(both.dense.max())
    where, cells = both.image.shape[:2], both.dense[0, 0].to_numpy()
    canvas = dcv.Canvas(both, colours="magma", interpolation="nearest", opacity=1.0)
    drawn = placement_of(both).weights(*where, nearest=True).draw(cells)
    assert set(np.unique(drawn[~np.isnan(drawn)])) <= set(cells.astype(drawn.dtype).ravel())
    assert (
        np.abs(still_of(canvas) - overlay(both.image, drawn, low=low, high=high, opacity=1, colours="magma")).mean() < 2
    )
    other = dcv.Canvas(both, colours="RdBu_r")  # of another kind: the view's own, as in the browser
    assert (still_of(other) == still_of(dcv.Canvas(both))).all()


def test_a_still_shows_the_pinned_cell_and_the_region():
    canvas = dcv.Canvas(both := fake_results.comparison(), pinned=[1, 2], region=[[10, 20], [10, 90], [70, 90]])
    area = next(ax for ax in laid_out(canvas._shown, canvas.state).axes if ax.images)
    marks = {patch.get_gid(): patch for patch in area.patches}
    assert marks["region"].get_xy()[:3].tolist() == [[20, 10], [90, 10], [90, 70]]
    top, left, bottom, right = placement_of(both).box_of([1, 2])
    assert marks["pin"].get_bbox().extents.tolist() == [left, top, right, bottom]
    height, width = both.image.shape[:2]
    assert (area.get_xlim(), area.get_ylim()) == ((0, width), (height, 0))


def test_a_comparison_goes_with_what_it_compares_with():
    canvas = dcv.Canvas(fake_results.comparison(), versus=["prompt", "grass"])
    canvas.show(fake_results.comparison(prompts=["the sun", "grass"]))
    assert canvas.state["versus"] == ["prompt", "grass"]
    canvas.show(fake_results.comparison(prompts=["the sun", "a boat"]))
    assert canvas.state["versus"] is None


@pytest.mark.parametrize("view", ["contribution", "attention", "gap", "segments"])
def test_every_view_has_a_still(view):
    both = fake_results.comparison(layers="vit", size=(480, 960))
    assert still_of(dcv.Canvas(both, view=view)).shape == (224, 448, 3)


def test_a_still_says_what_it_shows_on_which_scale_and_that_there_is_more():
    both = fake_results.comparison(templates=2, prompts=["a red car", "한국어"])
    said = said_by(dcv.Canvas(both, prompt="한국어", template="a photo of {}."))
    scale = dcv.Canvas(both)._shown.meta["stacks"][0]
    assert {"한국어", "a photo of {}.", "cosine", scale["title"], *scale["ticks"]} <= set(said)
    assert {"One of 2 prompts.", NOTE} <= set(said)
    assert NOTE.endswith("run this cell to point, choose and type.")
    assert "head 1" in said_by(dcv.Canvas(both, view="attention", head=1))
    named = set(said_by(dcv.Canvas(both, view="segments")))
    assert "segments" in named and named & set(both.prompt.values)


def test_a_still_is_stored_as_a_png_of_some_kilobytes():
    data, _ = dcv.Canvas(fake_results.comparison(size=(480, 960)))._repr_mimebundle_()
    file = base64.b64decode(data["image/png"])
    assert len(file) < 300_000 and Image.open(io.BytesIO(file)).width > 448


def test_a_still_of_a_narrow_image_and_of_long_names_keeps_its_texts_apart():
    both = fake_results.comparison(size=(900, 120), templates=2, prompts=["a very long prompt " * 9, "grass"])
    figure = laid_out((canvas := dcv.Canvas(both, template=str(both.template.values[1])))._shown, canvas.state)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"path": "sclip"}, "sclip path"),
        ({"path": "sclip", "view": "segments"}, "sclip path"),
        ({"path": "sclip", "versus": ["path", "value"]}, "sclip, value path"),
        ({"path": "sclip", "view": "gap"}, ""),
        ({"view": "attention"}, ""),
    ],
)
def test_the_foot_of_a_still_names_the_path_that_is_shown(state, named):
    both = fake_results.along_paths(fake_results.comparison())
    foot = " ".join(said_by(dcv.Canvas(both, **state))).partition("(3f1d2c4b)")[2]
    assert foot.startswith(f" · {named}") if named else " path" not in foot


def test_absent_prompts_name_nothing_in_the_still_of_segments():
    both = fake_results.comparison(absent=[False, False, False, True])
    both["dense"][:, 3] = 2.0  # above all others
    bare = still_of(dcv.Canvas(both, view="segments"))
    named = still_of(dcv.Canvas(fake_results.comparison(absent=[False] * 4), view="segments"))
    assert np.abs(named - bare).mean() > 1


def test_segmentations_and_maps_without_a_image_have_stills():
    assert still_of(dcv.Canvas(fake_results.segmentation())).std() > 20
    assert still_of(dcv.Canvas(fake_results.similarity())).std() > 20


def test_the_still_can_be_left_out():
    data, _ = dcv.Canvas(fake_results.comparison(), still=False)._repr_mimebundle_()
    assert set(data) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert "dense of 'a red car'" in data["text/plain"]


def test_a_canvas_keeps_neither_result_nor_trace():
    both = fake_results.comparison()
    trace = fake_results.trace(both)
    canvas = dcv.Canvas(both, trace=trace)
    gone = weakref.ref(trace), weakref.ref(both)
    del both, trace
    gc.collect()
    assert [one() for one in gone] == [None, None]
    assert canvas.state["prompt"] == "a red car"


def test_users_text_can_only_become_text():
    """No way from a string to markup or code is in the module, so none can be taken by accident."""
    text = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("*.js"))
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "import("):
        assert way not in text, way
    assert "http" not in module().replace('"http://www.w3.org/2000/svg"', "")  # the name of SVG is no address
    assert len(module().splitlines()) < 2210


def test_the_still_of_masks_gives_a_pixel_to_several_or_to_none():
    both = fake_results.comparison(prompts=fake_results.MANY)
    segmentation = fake_results.segmentation()
    masks = np.stack([segmentation.labels.to_numpy() == i for i in range(30)])
    masks[[25, 1]] |= masks[0]
    names = [f"thing {i}" for i in range(30)]
    several = segmentation.drop_vars("label").assign_coords(label=names)
    canvas = dcv.Canvas(several.assign(masks=(("label", "row", "column"), masks)))
    assert canvas.state["view"] == "masks" and {"masks", "thing 25", "thing 1"} <= set(said_by(canvas))
    assert np.abs(still_of(canvas) - still_of(dcv.Canvas(several))).mean() > 1
    best, all_of_them = (still_of(dcv.Canvas(both, view=view)) for view in ("segments", "masks"))
    assert np.abs(best - all_of_them).mean() > 1
