"""Two siblings in one image: what stays and what leaks; four things in a mosaic, asked for one by one or at once."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from contests import images
from drawn import everything_said, with_gid
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

import denseclip_viz as dcv
from denseclip_viz.errors import DenseclipVizError, LayerError, PromptError
from denseclip_viz.geometry import Native, Preprocess
from denseclip_viz.measure import leakage
from denseclip_viz.measure.arrangements import PAIR, Arrangement, Arrangements, Photos, World, levels_of, two_places
from denseclip_viz.toyworld.rng import stream

GEOMETRY = Native().plan((40, 40), preprocess=Preprocess((40, 40), (0.5,) * 3, (0.5,) * 3), cell=(4, 4))
TAXIS = [("taxi", "limousine"), ("an oak", "a pine")]
QUICK = {"scenes": 3, "mosaics": 2, "progress": False}


def box(top, left, side=12):
    mask = np.zeros((40, 40), bool)
    mask[top : top + side, left : left + side] = True
    return mask


MASKS = {"a taxi": box(4, 4), "a limousine": box(21, 23)}  # the second lies across cells
QUADRANTS = {name: box(*at, 20) for name, at in zip("abcd", [(0, 0), (0, 20), (20, 0), (20, 20)], strict=True)}


def on_cells(*masks):
    """The best map of masks that a grid can draw: the share of each cell that they cover."""
    return np.any(masks, axis=0).reshape(10, 4, 10, 4).mean((1, 3))


def measured(draw, masks=MASKS, *, mosaics=0, pairs=1):
    """What `evaluate` would bring home of maps that `draw(names in the text, what is shown)` makes."""
    trace, shown = SimpleNamespace(geometry=GEOMETRY), [*PAIR * pairs, *[3] * mosaics]
    rows = []
    for at, shows in enumerate(shown):
        example = Arrangement("", None, masks, shows=shows, number=at // 3, distance=0.1, size=0.3)
        words = [text.replace(", ", " and ").split(" and ") for text in example.texts]
        maps = np.stack([draw(names, shows) for names in words])[None]
        rows.append(leakage.regions(maps, example, trace))
    data = {name: (("image", *axes), np.stack([row[name][1] for row in rows])) for name, (axes, _) in rows[0].items()}
    return leakage.answers(xr.Dataset(data, coords={"candidate": ["mine"]}, attrs={"stopped": 0}))


def shown_of(masks, shows):
    return dict(list(masks.items())[slice(*[(0, 2), (0, 1), (1, 2), (0, 4)][shows])])


def perfect(masks):
    def draw(names, shows):
        there = [mask for name, mask in shown_of(masks, shows).items() if name in names]
        return on_cells(*there) if there else np.zeros((10, 10))

    return draw


def test_a_map_that_is_right_leaks_nothing_and_one_of_the_sibling_alone_is_all_leak():
    right = measured(perfect(MASKS))
    assert right.leakage.sel(condition="alone").values == pytest.approx(0, abs=0.02)
    swapped = dict(zip(MASKS, reversed(MASKS.values()), strict=True))
    wrong = measured(lambda names, _: on_cells(*[swapped[name] for name in names]))
    assert right.leakage.sel(condition="together").max() < 0.02 and wrong.leakage.sel(condition="together").min() > 0.98
    assert right.peak.sel(part="own").values.min() > 0.99 and wrong.peak.sel(part="sibling").values.min() > 0.99


@pytest.mark.parametrize("level", [0.0, 0.3, -2.5, 1e-9, 1e7])
def test_a_map_that_is_flat_is_at_chance(level):
    flat = measured(lambda *_: np.full((10, 10), level), pairs=2)
    assert np.all(flat.leakage == 0.5) and np.all(flat.rise == 0)
    assert flat.peak[0, 0, 0].values == pytest.approx([144 / 1600, 144 / 1600, 1312 / 1600])
    mosaic = measured(lambda *_: np.full((10, 10), level), QUADRANTS, pairs=0, mosaics=2)
    for share in ("share", "share_positive", "hit"):
        assert mosaic[share].values == pytest.approx(0.25)


def test_in_a_mosaic_a_map_each_has_all_in_its_quadrant_and_one_map_for_n_things_an_nth():
    mosaic = measured(perfect(QUADRANTS), QUADRANTS, pairs=0, mosaics=2)
    for name in ("share", "share_positive", "hit"):
        each, joint = mosaic[name].mean(("mosaic", "candidate")).values
        assert each == pytest.approx([1, 1, 1, 1]) and joint == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_leakage_is_the_rise_on_the_sibling_as_a_share_pixel_by_pixel():
    rng = np.random.default_rng(0)
    maps = {shows: {name: rng.normal(size=(10, 10)) for name in MASKS} for shows in PAIR}
    result = measured(lambda names, shows: maps[shows][names[0]])
    rest = ~np.any(list(MASKS.values()), axis=0)
    names, alone = list(MASKS), (1, 2)
    for prompt, other in ((0, 1), (1, 0)):
        images_of = {"together": (0, 0), "alone": (alone[prompt], alone[other]), "empty place": (alone[prompt],) * 2}
        for condition, shown in images_of.items():
            rises = []
            for shows, name in zip(shown, (names[prompt], names[other]), strict=True):
                pixels = np.kron(maps[shows][names[prompt]], np.ones((4, 4)))
                rises.append(pixels[MASKS[name]].mean() - pixels[rest].mean())
            own, sibling = np.maximum(rises, 0)
            expected = sibling / (own + sibling) if own + sibling else 0.5
            here = result.sel(condition=condition).isel(scene=0, candidate=0, prompt=prompt)
            assert float(here.leakage) == pytest.approx(expected, abs=1e-12)
            assert here.rise.values == pytest.approx(rises, abs=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(-5, 5))
def test_leakage_and_shares_hang_on_neither_unit_nor_zero_of_a_map(unit, zero):
    seeds = {(name, shows): number for number, (name, shows) in enumerate((n, s) for n in MASKS for s in PAIR)}

    def draw(names, shows):
        return np.random.default_rng(seeds[names[0], shows]).random((10, 10))

    plain, other = measured(draw), measured(lambda *of: unit * draw(*of) + zero)
    assert other.leakage.values == pytest.approx(plain.leakage.values, abs=1e-6)


def test_siblings_are_drawn_on_one_ground_at_their_distance_together_and_alone():
    levels = levels_of((0.02, 0.3), (0.2, 0.36))
    for both, first, second in zip(*[iter(Arrangements(World.of(None, 128), 8, 0, levels))] * 3, strict=True):
        assert both.masks is first.masks is second.masks and [one.shows for one in (both, first, second)] == list(PAIR)
        masks = list(both.masks.values())
        assert not (masks[0] & masks[1]).any() and all(mask.sum() > 60 for mask in masks)
        assert {thing.kind for thing in both.image.things} == {name.split(" ", 1)[1] for name in both.masks}
        same = (first.image.image == second.image.image).all(-1)
        assert same[~masks[0] & ~masks[1]].mean() > 0.8, "but for shadows and blur, nothing else changes"
        for mask, alone in zip(masks, (first, second), strict=True):
            assert (alone.image.image[mask] == both.image.image[mask]).mean() > 0.9


@given(st.integers(0, 999), st.floats(0, 0.3), st.floats(0.3, 1.6), st.floats(0.3, 1.6), st.floats(0.1, 0.3))
def test_two_boxes_lie_as_far_apart_as_was_asked_inside_the_image(seed, distance, one, other, size):
    shapes = [(size * stretch, size / stretch) for stretch in (one, other)]
    try:
        middles = two_places(stream(seed), shapes, distance)
    except PromptError as error:
        assert "No room" in str(error) and max(map(max, shapes)) > 0.4
        return
    for (x, y), (width, height) in zip(middles, shapes, strict=True):
        assert width / 2 <= x <= 1 - width / 2 and height / 2 <= y <= 1 - height / 2
    gaps = [max(0, abs(a - b) - (c + d) / 2) for a, b, c, d in zip(*middles, *shapes, strict=True)]
    assert np.hypot(*gaps) == pytest.approx(distance, abs=0.021)


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def test_the_tower_runs_once_an_image_and_its_prompts_are_its_own(tiny):
    tiny.trace(images(1)[0])  # the first trace checks the tower by a pass of its own
    runs = []
    hook = tiny.clip.visual.conv1.register_forward_hook(lambda _, inputs, __: runs.append(len(inputs[0])))
    result = dcv.measure.copresence(tiny, methods=["value", "sclip"], pairs=TAXIS, **QUICK)
    hook.remove()
    assert sum(runs) == 3 * 3 + 2
    assert dict(result.leakage.sizes) == {"scene": 3, "candidate": 2, "condition": 3, "prompt": 2}
    assert dict(result.share.sizes) == {"mosaic": 2, "candidate": 2, "wording": 2, "named": 4}
    assert {tuple(pair) for pair in result.thing.values} == {("a taxi", "a limousine"), ("an oak", "a pine")}
    alone = dcv.measure.copresence(tiny, methods=["sclip"], pairs=TAXIS, **QUICK)
    xr.testing.assert_allclose(alone, result.sel(candidate=["sclip"]))
    assert np.isfinite(result.leakage).all() and np.isfinite(result.share).all()


def test_attributions_and_a_users_own_maps_are_asked_too_and_a_map_without_a_prompt_takes_no_side(tiny):
    def mine(model, trace, vectors):
        return trace.attention.mean(0).expand(len(vectors), -1, -1)

    methods = ["contribution", "attention", "grad-cam", mine]
    result = dcv.measure.copresence(tiny, methods=methods, pairs=TAXIS, **QUICK)
    assert result.candidate.values.tolist() == ["contribution", "attention", "grad-cam", "mine"]
    attention, own = (result.sel(candidate=name) for name in ("attention", "mine"))
    assert attention.equals(own.assign_coords(candidate="attention"))
    assert attention.leakage.sel(condition="together").sum("prompt").values == pytest.approx(1)
    assert attention.share.sel(named=4).values == pytest.approx(0.25)


def test_a_run_that_is_interrupted_keeps_whole_pairs_and_goes_on_to_the_same_numbers(tiny, tmp_path, monkeypatch):
    store, options = tmp_path / "pairs.jsonl", {"methods": ["value"], "pairs": TAXIS, "batch_size": 1, **QUICK}
    whole, regions, calls = dcv.measure.copresence(tiny, **options), leakage.regions, []

    def stopping(*given):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return regions(*given)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="about 1 pairs and 0 mosaics"):
        patch.setattr(leakage, "regions", stopping)
        part = dcv.measure.copresence(tiny, **options)
    assert part.sizes["scene"] == 1 and part.attrs["stopped"]
    xr.testing.assert_equal(part.leakage, whole.leakage.isel(scene=[0]))
    for _ in range(2):
        assert dcv.measure.copresence(tiny, store=store, **options).identical(whole)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(leakage, "regions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        dcv.measure.copresence(tiny, **options)


def test_a_users_own_images_are_laid_out_and_their_boxes_are_the_masks():
    own = {"a cat": images(2, (20, 40)), "a dog": images(1, (30, 30))[0]}
    cast = Photos.of(own, None, 96, (0.5, 0.5, 0.5))
    (both, masks), (first, _), (second, _) = cast.pair(0, ("a cat", "a dog"), 0.1, 0.3)
    ground = [np.asarray(image) == 128 for image in (both, first, second)]
    cat, dog = masks.values()
    assert ground[0][~cat & ~dog].all() and ground[1][~cat].all() and ground[2][~dog].all()
    assert cat.sum() == pytest.approx((0.3 * 96) ** 2, rel=0.1) and not ground[0][cat].all()
    assert np.ptp(np.flatnonzero(cat.any(0))) == pytest.approx(2 * np.ptp(np.flatnonzero(cat.any(1))), rel=0.15)
    mosaic, quarters = cast.mosaic(0)
    assert [mask.mean() for mask in quarters.values()] == [0.25, 0.25]
    assert (np.asarray(mosaic)[~np.any(list(quarters.values()), axis=0)] == 128).all()


def test_a_users_own_images_by_prompt_or_as_pairs_are_the_same_question(tiny):
    one, other, third = images(3)
    options = {"methods": ["value"], **QUICK}
    named = dcv.measure.copresence(tiny, {"a cat": [one, third], "a dog": other}, **options)
    listed = dcv.measure.copresence(tiny, [(one, "a cat"), (other, "a dog"), (third, "a cat")], **options)
    assert named.identical(listed) and np.isnan(named.share.sel(named=[3, 4])).all()
    assert np.isfinite(dcv.measure.copresence_table(named).select_dtypes("number").to_numpy()).all()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"pairs": [("taxi", "giraffe")]}, PromptError, "two kinds of the bundled world"),
        ({"pairs": [("taxi", "a taxi")]}, PromptError, "two kinds of the bundled world"),
        ({"pairs": []}, PromptError, "two kinds"),
        ({"pairs": 5}, PromptError, "pairs=5. Expected a list of pairs"),
        ({"pairs": ["ab"]}, PromptError, "a list of pairs"),
        ({"pairs": [(1, 2)]}, PromptError, "a list of pairs"),
        ({"methods": 5}, LayerError, "method 5. Expected some of value"),
        ({"images": 5}, PromptError, "Images without their prompts"),
        ({"scenes": 0, "mosaics": 0}, PromptError, "not both 0"),
        ({"scenes": 2.5}, PromptError, "whole numbers"),
        ({"mosaics": None}, PromptError, "whole numbers"),
        ({"distances": []}, PromptError, "0 to 1"),
        ({"sizes": (20,)}, PromptError, "0 to 1"),
        ({"sizes": [0.2, 0]}, PromptError, "sizes=.0.2, 0.. Expected a list of numbers from 0 to 1, none of them 0"),
        ({"sizes": [1e-4]}, PromptError, "of size 0.0001, without a pixel"),
        ({"distances": 0.2}, PromptError, "distances=0.2. Expected a list of numbers"),
        ({"distances": np.array(0.2)}, PromptError, "Expected a list of numbers"),
        ({"distances": (0.9,)}, PromptError, "No room"),
        ({"methods": ["no such path"]}, LayerError, "path"),
        ({"images": {"a cat": images(1)}}, PromptError, "two prompts with images"),
        ({"images": {"a taxi": [], "a cat": images(1)}}, PromptError, "No image of 'a taxi'"),
        ({"images": {"a taxi": images(1), "a cat": images(1)}, "sizes": [1e-3]}, PromptError, "without a pixel"),
        ({"images": images(2)}, PromptError, "without their prompts"),
        ({"images": {"a cat": images(1), "a dog": images(1)}, "pairs": [("a cat", "a cow")]}, PromptError, "a cow"),
    ],
)
def test_what_cannot_be_drawn_or_asked_is_refused(tiny, options, kind, words):
    with pytest.raises(kind, match=words):
        dcv.measure.copresence(tiny, **{**QUICK, **options})


def test_the_table_averages_over_scenes_and_refuses_one_image(tiny):
    result = measured(perfect(MASKS), pairs=3)
    table = dcv.measure.copresence_table(result)
    assert (table.together_low[0], table.together_high[0]) == pytest.approx((table.together[0],) * 2)
    assert {"candidate", "alone", "together", "empty place"} <= set(table) and "each" not in table
    with pytest.raises(DenseclipVizError, match="one image"):
        dcv.measure.copresence_table(result.isel(scene=[0]))


def test_the_figure_says_what_the_numbers_say(tiny):
    result = dcv.measure.copresence(tiny, methods=["value", "vanilla"], pairs=TAXIS, **QUICK)
    figure = dcv.plot.copresence(result)
    dots = [line for ax in figure.axes for line in ax.lines if line.get_marker() not in ("None", None, "")]
    assert dots and not any(dot.get_clip_on() for dot in dots)  # one that lies at 0 or 1 is whole
    mean = result.leakage.mean(("scene", "prompt"))
    order = np.argsort(mean.sel(condition="together").values)
    for condition in leakage.CONDITIONS:
        drawn = [float(line.get_xdata()[0]) for line in with_gid(figure, condition)]
        assert drawn == pytest.approx(mean.sel(condition=condition).values[order].tolist())
    for wording in leakage.WORDINGS:
        drawn = np.array([line.get_ydata() for line in with_gid(figure, wording)])
        assert drawn == pytest.approx(result.share.sel(wording=wording).mean("mosaic").values[order])
    said = everything_said(figure)
    assert "3 pairs, 2 mosaics" in said and "value" in said and "vanilla" in said
    for part in (result.isel(scene=[]), result.isel(mosaic=[]), result.isel(scene=[0], mosaic=[0])):
        assert dcv.plot.copresence(part).axes
    with pytest.raises(LayerError, match="copresence"):
        dcv.plot.copresence(result.drop_vars("share"))


def test_axes_go_by_their_names_where_there_are_as_many_methods_as_scenes_and_mosaics(tiny):
    result = dcv.measure.copresence(tiny, methods=["value", "vanilla", "random"], pairs=TAXIS, **QUICK | {"mosaics": 3})
    assert result.sizes["scene"] == result.sizes["mosaic"] == result.sizes["candidate"]
    turned = result.transpose(*reversed(list(result.dims)))
    pd.testing.assert_frame_equal(dcv.measure.copresence_table(turned), dcv.measure.copresence_table(result))
    drawn = [
        [line.get_xydata().tolist() for ax in dcv.plot.copresence(one).axes for line in ax.lines]
        for one in (result, turned)
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("distances", [[0.02, 0.15, 0.3], np.linspace(0, 0.3, 13), np.linspace(0, 1 / 3, 40), [0.1]])
def test_of_many_distances_as_many_are_named_as_fit_evenly(distances):
    result = measured(perfect(MASKS), pairs=len(distances)).assign(distance=("scene", distances))
    drawn = dcv.plot.copresence(result)
    (ax,) = [ax for ax in drawn.axes if any(text.get_text().startswith("share of the side") for text in ax.texts)]
    named = [text for text in ax.texts if text.get_va() == "top"][:-1]
    places = [text.get_position()[0] for text in named]
    assert [float(text.get_text()) for text in named] == pytest.approx(np.take(distances, places), abs=5e-4)
    assert len(named) >= min(3, len(distances)) and len(set(np.diff(places))) <= 1
    boxes = [text.get_window_extent(FigureCanvasAgg(drawn).get_renderer()) for text in named]
    assert all(one.x1 < other.x0 for one, other in zip(boxes, boxes[1:], strict=False))
