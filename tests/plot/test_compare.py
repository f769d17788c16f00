"""The main figure: shared scales, the absent baseline, scores, everything where it lies in the image."""

import fake_results
import numpy as np
import pytest
import xarray as xr
from drawn import everything_said, maps, texts, with_gid
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from denseclip_viz import plot
from denseclip_viz.errors import GeometryError, PromptError
from denseclip_viz.geometry import Geometry
from denseclip_viz.plot.panels import placement


@pytest.fixture(scope="module")
def both():
    return fake_results.comparison()


@pytest.fixture(scope="module")
def figure(both):
    return plot.compare(both)


@pytest.mark.parametrize(("name", "colours"), [("dense", "viridis"), ("contribution", "RdBu_r"), ("gap", "PuOr_r")])
def test_each_column_has_one_scale_for_all_its_rows(both, figure, name, colours):
    images = maps(figure, colours, both[name].shape[2:])
    assert len(images) == both.sizes["prompt"] and len({image.get_clim() for image in images}) == 1
    low, high = images[0].get_clim()
    assert low <= float(both[name].min()) and high >= float(both[name].max())
    for image, values in zip(images, both[name].to_numpy()[0], strict=True):
        assert (image.get_array() == values).all()


@pytest.mark.parametrize("colours", ["RdBu_r", "PuOr_r"])
def test_signed_maps_are_centred_at_zero(both, figure, colours):
    low, high = maps(figure, colours, both.dense.shape[2:])[0].get_clim()
    assert low == -high


def test_the_bar_shows_the_scale_of_its_maps(both, figure):
    for colours in ("viridis", "RdBu_r", "PuOr_r", "magma"):
        [bar] = maps(figure, colours, (1, 256))
        assert bar.get_clim() == maps(figure, colours, both.dense.shape[2:])[0].get_clim()
        assert tuple(bar.get_extent()[:2]) == bar.get_clim()


def test_the_absent_baseline_is_the_highest_dense_cosine_of_all_absent_prompts(both, figure):
    highest = float(both.dense.isel(prompt=np.flatnonzero(both.absent)).max())
    [line] = with_gid(figure, "baseline")
    assert set(line.get_xdata()) == {highest} and "absent" in everything_said(figure)
    [elsewhere] = with_gid(plot.compare(both, prompts="a red car"), "baseline")
    assert set(elsewhere.get_xdata()) == {highest}


def test_there_is_no_baseline_when_no_prompt_is_known_to_be_absent():
    assert not with_gid(plot.compare(fake_results.comparison(absent=[False] * 4)), "baseline")


def test_each_row_is_headed_by_prompt_and_score_and_the_image_by_the_answer(both, figure):
    for name, score in zip(both.prompt.values, both.score.values[0], strict=True):
        assert f"{name} · {score:.3f}" in texts(figure)
    best = int(both.score.values[0].argmax())
    answer = f"{both.prompt.values[best]} · {both.score.values[0, best]:.3f}"
    assert texts(figure).count(answer) == 2  # over the image and over its row


def test_an_absent_prompt_is_no_answer():
    both = fake_results.comparison(prompts=["a red car", "grass"], absent=[False, True])
    both["score"].values[:] = [[0.2, 0.3]]
    drawn = texts(plot.compare(both))
    assert drawn.count("a red car · 0.200") == 2 and drawn.count("grass · 0.300") == 1
    assert not any("one answer" in text for text in texts(plot.compare(both.assign_coords(absent=both.absent | True))))


def test_prompts_are_shown_in_the_order_asked_for_and_the_scale_is_theirs(both):
    picked = plot.compare(both, prompts=["grass", "a red car"])
    first, second = maps(picked, "viridis", both.dense.shape[2:])
    assert (first.get_array() == both.dense.sel(prompt="grass").values[0]).all()
    assert (second.get_array() == both.dense.sel(prompt="a red car").values[0]).all()


def test_the_template_shown_is_named_and_never_a_mean():
    both = fake_results.comparison(templates=3)
    first, third = plot.compare(both), plot.compare(both, template="{}")
    assert "template “a photo of {}.” (1 of 3)" in everything_said(first)
    assert "template “{}” (3 of 3)" in everything_said(third)
    assert (maps(third, "viridis", both.dense.shape[2:])[0].get_array() == both.dense.values[2, 0]).all()


@pytest.mark.parametrize("mode", ["whole", "native", "tiles"])
@pytest.mark.parametrize("size", [(240, 360), (150, 100), (100, 401)])
def test_maps_and_image_lie_where_the_geometry_says(mode, size):
    both = fake_results.comparison(prompts=("a red car",), mode=mode, size=size, cell=32)
    where = Geometry.from_json(both.attrs["geometry"])
    figure = plot.compare(both)
    panels = [ax for ax in figure.axes if ax.images and ax.get_ylim()[0] > ax.get_ylim()[1]]
    assert len(panels) == 5
    for ax in panels:
        assert tuple(ax.images[0].get_extent()) == (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
        assert ax.get_xlim() == (-0.5, size[1] - 0.5) and ax.get_ylim() == (size[0] - 0.5, -0.5)
    for ax in panels[1:]:
        assert tuple(ax.images[1].get_extent()) == where.placement().extent
    boxes = [patch.get_bbox() for patch in with_gid(figure, "visible")]
    top, left, bottom, right = where.visible
    assert bool(boxes) == (mode == "native" and size != (224, 224))
    for box in boxes:
        assert box.extents == pytest.approx((left - 0.5, top - 0.5, right - 0.5, bottom - 0.5))


@pytest.mark.parametrize("size", [(240, 360), (360, 240)])
def test_the_outline_of_what_was_seen_has_all_four_edges(size):
    """Two of them lie on the edges of the image, where they are cut off by what clips the image."""
    both = fake_results.comparison(prompts=("a red car",), mode="native", size=size)
    figure = plot.compare(both.assign(image=xr.full_like(both.image, 255)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dark = np.asarray(canvas.buffer_rgba())[::-1, :, :3].mean(-1) < 160
    for patch in with_gid(figure, "visible")[:2]:  # of the image alone, where nothing else is dark
        (left, bottom), (right, top) = patch.get_transform().transform([(0, 0), (1, 1)]).round().astype(int)
        (bottom, top), middle = sorted((bottom, top)), ((left + right) // 2, (bottom + top) // 2)
        for x in (left, right):
            assert dark[middle[1], x - 2 : x + 3].any()
        for y in (bottom, top):
            assert dark[y - 2 : y + 3, middle[0]].any()


def test_a_result_without_geometry_is_placed_by_its_coordinates(both):
    bare = both.drop_attrs()
    assert placement(bare).extent == pytest.approx(placement(both).extent)
    with pytest.raises(GeometryError, match="does not say where its cells lie"):
        placement(bare.isel(y=[0]))


def test_peaks_are_marked_at_the_centres_of_the_strongest_cells(both, figure):
    crosses = [line for line in with_gid(figure, "peak x") if line.get_markeredgewidth() < 2]
    for cross, values in zip(crosses, both.dense[0], strict=True):
        at = values.argmax(("y", "x"))
        assert cross.get_xdata() == [values.x[at["x"]]] and cross.get_ydata() == [values.y[at["y"]]]


def test_a_prompt_or_template_that_is_not_there_is_named_with_the_nearest(both):
    with pytest.raises(PromptError, match="'a red cat' is not in this result.*Did you mean 'a red car'"):
        plot.compare(both, prompts="a red cat")
    with pytest.raises(PromptError, match="The template 'xyz'"):
        plot.compare(both, template="xyz")
    with pytest.raises(PromptError, match="No prompt to show"):
        plot.compare(both, prompts=[])
    with pytest.raises(PromptError, match="no axis prompt"):
        plot.compare(both.sel(prompt="grass"))


def test_a_figure_of_the_callers_own_is_drawn_into(both):
    mine = Figure()
    assert plot.compare(both, figure=mine) is mine and mine.get_size_inches()[0] > 9


def test_a_map_without_values_in_some_cells_leaves_them_uncoloured(both):
    holes = both.copy(deep=True)
    holes["dense"][..., 0, :] = np.nan
    image = maps(plot.compare(holes), "viridis", both.dense.shape[2:])[0]
    assert image.get_array().mask[0].all() and not image.get_array().mask[1:].any()
