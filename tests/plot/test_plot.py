"""What holds for every figure: provenance, no overlaps, nothing global touched; and how figures are saved."""

import io
import itertools
import re

import fake_results
import matplotlib
import numpy as np
import pytest
import xarray as xr
from drawn import everything_said, texts
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from denseclip_viz import plot
from denseclip_viz.errors import ImageError, LayerError, OutputError, PromptError
from denseclip_viz.plot.sheet import NotebookFigure

FIGURES = {
    "compare": lambda **o: plot.compare(fake_results.comparison(**o)),
    "grid": lambda **o: plot.grid(fake_results.similarity(**o)),
    "layers of a vit": lambda **o: plot.layers(fake_results.comparison(layers="vit", **o)),
    "layers of a resnet": lambda **o: plot.layers(fake_results.comparison(layers="resnet", **o)),
    "heads": lambda **o: plot.heads(fake_results.comparison(**o)),
    "segments": lambda **o: plot.segments(fake_results.segmentation(**o)),
}
MANY, LONG = {"prompts": fake_results.MANY}, {"prompts": (fake_results.LONG, "W" * 300)}
ONE, CELL = {"prompts": ("a red car",)}, {"size": (224, 224), "cell": 224}
WIDE, TALL = {"size": (100, 400)}, {"size": (400, 100)}
CROPPED = {"mode": "native", "cell": 32, "random_weights": 1}
ODD = [
    *(("compare", odd) for odd in (MANY, LONG, ONE, CELL, WIDE, TALL, CROPPED)),
    *(("grid", odd) for odd in (MANY, LONG, ONE, TALL, CROPPED)),
    *(("layers of a vit", odd) for odd in (LONG, ONE | WIDE)),
    *(("layers of a resnet", odd) for odd in (ONE | TALL, LONG | CROPPED)),
    *(("heads", odd) for odd in (CELL, WIDE, TALL, CROPPED)),
]


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


@pytest.fixture(scope="module")
def both():
    return fake_results.comparison()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_random_weights_when_they_are_and_only_then(name):
    few = {} if name == "segments" else ONE
    assert "RANDOM WEIGHTS" in everything_said(FIGURES[name](random_weights=1, **few))
    learned = everything_said(FIGURES[name](**few))
    assert "RANDOM" not in learned and "RN50 · weights openai (3f1d2c4b)" in learned


@pytest.mark.parametrize("name", FIGURES)
def test_no_setting_and_no_registry_of_matplotlib_is_touched(name):
    import matplotlib.pyplot as plt

    before, open_figures = dict(matplotlib.rcParams), plt.get_fignums()  # dict: also settles the backend
    drawn = FIGURES[name](**({} if name == "segments" else ONE))
    assert isinstance(drawn, NotebookFigure) and drawn._repr_png_().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before and plt.get_fignums() == open_figures


def test_a_notebook_keeps_a_figure_once_as_a_jpeg_that_looks_like_its_png(monkeypatch):
    kept = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: kept.append(data))
    formatter = DisplayFormatter()
    formatter.formatters["image/png"].for_type(Figure, lambda _figure: b"what pyplot sets up for every figure")
    drawn = FIGURES["compare"](**ONE)
    assert formatter.format(drawn) == ({}, {})
    assert len(kept) == 1 and set(kept[0]) == {"image/jpeg", "text/plain"}
    png, jpeg = drawn._repr_png_(), kept[0]["image/jpeg"]
    ours, theirs = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float) for data in (png, jpeg))
    assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1


@pytest.mark.parametrize("name", FIGURES)
def test_nobodys_settings_change_a_figure(name):
    few = {} if name == "segments" else ONE
    odd = {"text.usetex": True, "image.origin": "lower", "image.aspect": "auto", "image.interpolation": "nearest"}
    odd |= {"axes.facecolor": "black", "figure.facecolor": "black", "text.color": "white", "font.size": 30}
    odd |= {"image.cmap": "gray", "axes.grid": True, "font.weight": "bold", "font.style": "italic"}
    with matplotlib.rc_context(odd):
        changed = pixels(FIGURES[name](**few))
    assert (pixels(FIGURES[name](**few)) == changed).all()


@pytest.mark.parametrize(("name", "odd"), ODD)
def test_no_texts_overlap_and_none_leaves_the_sheet(name, odd):
    drawn = FIGURES[name](**odd)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    written = [t for t in [*drawn.texts, *(t for ax in drawn.axes for t in ax.texts)] if t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in written]
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y1 <= drawn.bbox.y1, text
    for (text, a), (other, b) in itertools.combinations(boxes, 2):
        inside = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
        assert not inside, (text, other)


def test_a_caution_of_several_lines_has_the_room_that_it_takes():
    gaps, tops = [], []
    for caution in ("Mind this.", "Mind this, " * 18):
        drawn = plot.segments(fake_results.segmentation().assign_attrs(caution=caution))
        renderer = FigureCanvasAgg(drawn).get_renderer()
        cautions = [t.get_window_extent(renderer) for t in drawn.texts if "Mind" in t.get_text()]
        title = next(t for t in drawn.texts if t.get_text() == "segments").get_window_extent(renderer)
        gaps.append(min(box.y0 for box in cautions) - title.y1)
        tops.append(title.y0 - max(ax.bbox.y1 for ax in drawn.axes))
    assert len(cautions) == 2 and gaps[1] > gaps[0] - 3 and tops == pytest.approx(tops[:1] * 2)


def test_the_highest_cell_of_a_map_is_drawn_in_the_top_colour_at_its_place():
    one = fake_results.similarity().isel(template=0, prompt=0)
    ax = plot.map(one, interpolation="nearest")
    drawn = pixels(ax.figure)
    at = one.argmax(("y", "x"))
    column, row = ax.transData.transform((float(one.x[at["x"]]), float(one.y[at["y"]])))
    shown = drawn[drawn.shape[0] - 1 - int(row), int(column), :3] / 255
    assert np.allclose(shown, matplotlib.colormaps["viridis"](1.0)[:3], atol=0.02)


def test_one_map_is_drawn_on_the_axes_given_and_returned():
    one = fake_results.similarity(random_weights=1).isel(template=0, prompt=0)
    axes = Figure().subplots(1, 2)
    for ax in axes:
        assert plot.map(one, ax=ax, limits=(0, 0.3), image=fake_results.image()) is ax
        assert ax.images[1].get_clim() == (0, 0.3) and "RANDOM WEIGHTS" in [text.get_text() for text in ax.texts]
    with pytest.raises(PromptError, match="axes template, y, x"):
        plot.map(fake_results.similarity().isel(prompt=0))


@pytest.mark.parametrize(
    ("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_a_figure_is_saved_by_its_ending_and_never_replaced_by_accident(tmp_path, both, ending, magic):
    path = tmp_path / f"figure.{ending}"
    small = plot.compare(both, prompts="grass")
    assert plot.save(small, path) == path and path.read_bytes().startswith(magic)
    with pytest.raises(OutputError, match="is there already.*force"):
        plot.save(small, path)
    plot.save(small, str(path), force=True)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_svg_has_outlines_or_text_as_its_help_says(tmp_path):
    drawn, path = plot.segments(fake_results.segmentation(), title="streets"), tmp_path / "figure.svg"
    plot.save(drawn, path)
    assert ">streets<" not in path.read_text() and '{"svg.fonttype": "none"}' in plot.save.__doc__
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot.save(drawn, path, force=True)
    assert ">streets<" in path.read_text()


@pytest.mark.parametrize("name", ["figure.jpg", "figure", "nowhere/figure.png", "folder.png"])
def test_a_place_where_no_figure_can_go_is_refused(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="Expected"):
        plot.save(Figure(), tmp_path / name, force=True)


@pytest.mark.parametrize(("failure", "said"), [(OSError, OutputError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_failure_while_saving_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch, failure, said):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fails(self, target, **options):
        target.write(b"half")
        raise failure

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(said):
        plot.save(Figure(), path, force=True)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_result_that_went_through_a_file_draws_the_same(tmp_path, both):
    both.to_netcdf(tmp_path / "both.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "both.nc", engine="h5netcdf") as again:
        assert texts(plot.compare(again)) == texts(plot.compare(both))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: plot.compare(fake_results.similarity()), LayerError),
        (lambda: plot.compare(fake_results.comparison().drop_vars("gap")), LayerError),
        (lambda: plot.compare(fake_results.comparison(), interpolation="cubic"), ImageError),
        (lambda: plot.heads(fake_results.segmentation()), LayerError),
        (lambda: plot.segments(fake_results.comparison()), LayerError),
        (lambda: plot.grid(fake_results.similarity(), normalise="minmax"), ImageError),
        (lambda: plot.grid(fake_results.similarity(), rows="prompt"), PromptError),
        (lambda: plot.map(fake_results.similarity()[0, 0], limits=(1, 0)), ImageError),
        (lambda: plot.map(fake_results.similarity()[0, 0], kind="rainbow"), ImageError),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_was_expected(call, error):
    with pytest.raises(error, match="Expected"):
        call()


@pytest.mark.parametrize("draw", [plot.grid, plot.disagreement])
@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (fake_results.comparison(), r"A Dataset.*result\.dense; plot\.compare"),
        (fake_results.segmentation(), r"A Dataset\..*model\.similarity"),
        (xr.DataArray(np.ones(2), dims="prompt"), r"A DataArray \(prompt \d\)"),
        (np.ones((2, 2)), "A ndarray"),
        (None, "A NoneType"),
    ],
)
def test_what_is_no_array_of_maps_is_refused_by_what_it_is(draw, thing, message):
    with pytest.raises(LayerError, match=message):
        draw(thing)


def test_an_axis_too_many_is_named_in_the_order_of_the_maps():
    maps = fake_results.similarity().expand_dims({"path": 2, "layer": 3})
    with pytest.raises(PromptError, match=r"maps.isel\(path=0\)"):
        plot.grid(maps)


@pytest.mark.parametrize("draw", [plot.compare, lambda both: plot.grid(both.dense)], ids=["compare", "grid"])
def test_more_panels_than_anybody_looks_at_are_refused_and_how_to_select_is_said(draw):
    both = fake_results.comparison(prompts=tuple(f"thing {number}" for number in range(900)))
    with pytest.raises(LayerError, match=r"900.*at most 800 in one figure.*isel\(prompt=slice\(50\)\)"):
        draw(both)


def test_a_map_has_its_unit_below_and_a_figure_of_its_own_the_prompt_above():
    one = fake_results.similarity().isel(template=0, prompt=0)
    ax = plot.map(one, kind="attention")
    assert "weight" in [text.get_text() for bar in ax.child_axes for text in bar.texts] and ax.get_title() == str(
        one.prompt.item()
    )
    assert ax.images[-1].get_cmap().name == "magma" and ax.images[-1].get_clim()[0] <= 0
    assert plot.map(one, ax=Figure().add_subplot()).get_title() == ""


@pytest.mark.parametrize(("bottom", "said"), [(0.11, "0.* cosine"), (0.3, "cosine")])
def test_the_unit_of_a_map_on_somebodys_axes_is_inside_of_a_plain_save(bottom, said):
    figure, one = Figure(figsize=(8, 3)), fake_results.comparison(size=(224, 224)).dense[0, 0]
    for ax in figure.subplots(1, 2, gridspec_kw={"bottom": bottom}):
        written = plot.map(one, ax=ax).child_axes[0].texts
        assert sum(bool(re.fullmatch(said, text.get_text())) for text in written) == 1
        renderer = FigureCanvasAgg(figure).get_renderer()
        assert min(text.get_window_extent(renderer).y0 for text in written) >= 0


def test_absent_prompts_are_marked_wherever_names_stand():
    """In rows and columns of grids, over layers, and where templates disagree."""
    maps = fake_results.similarity()
    away = str(maps.prompt.values[np.flatnonzero(maps.absent.values)[0]])
    grids = [plot.grid(maps.isel(template=[0]), **axes) for axes in ({}, {"rows": "prompt", "cols": "template"})]
    layered = fake_results.comparison(layers="resnet")
    for figure in (*grids, plot.disagreement(maps), plot.layers(layered)):
        said = everything_said(figure)
        assert f"{away} (absent)" in said or "(absent)" in texts(figure), texts(figure)


def test_what_no_pixel_has_is_named_below_a_segmentation():
    both = fake_results.segmentation()
    names = [str(name) for name in both.label.values]
    bare = both.assign(labels=both.labels.where(both.labels != 0, -1))
    assert f"nowhere: {names[0]}" in everything_said(plot.segments(bare))


@pytest.mark.parametrize("kind", ["floats", "file turned by EXIF", "grey", "trace", "labelled, in another order"])
def test_an_image_beneath_may_be_whatever_can_be_traced(tmp_path, kind):
    drawn, one = Image.fromarray(fake_results.image()), fake_results.similarity().isel(template=0, prompt=0)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    drawn.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    images = {
        "floats": np.asarray(drawn) / 255,
        "file turned by EXIF": tmp_path / "turned.png",
        "grey": drawn.convert("L"),
        "trace": fake_results.trace(fake_results.comparison()),
        "labelled, in another order": fake_results.comparison().image.transpose("rgb", "column", "row"),
    }
    beneath = [plot.map(one, image=image).images[0].get_array() for image in (drawn, images[kind])]
    assert np.allclose(*(np.asarray(each, dtype=float) for each in beneath), atol=1.5)


@pytest.mark.parametrize("image", [fake_results.image((360, 240)), fake_results.image() * 2.0, "nowhere.png", 5])
def test_an_image_beneath_that_is_another_or_none_is_refused(image):
    with pytest.raises(ImageError, match="Expected"):
        plot.map(fake_results.similarity().isel(template=0, prompt=0), image=image)


@pytest.mark.parametrize("opacity", [64, -0.1, float("nan"), "0.64", None])
def test_an_opacity_that_cannot_be_is_refused(opacity):
    with pytest.raises(ImageError, match="opacity=.*a number from 0 to 1"):
        plot.map(fake_results.similarity()[0, 0], image=fake_results.image(), opacity=opacity)


@pytest.mark.parametrize("prompts", [5, [5], {"grass"}])
def test_prompts_that_are_none_are_refused(prompts):
    with pytest.raises(PromptError, match="prompts"):
        plot.compare(fake_results.comparison(), prompts=prompts)
