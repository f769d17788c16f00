"""An image that a bundled model was not made for: one line says so on every surface, and nowhere else."""

import warnings

import numpy as np
import pytest
from drawn import everything_said
from PIL import Image
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.errors import UntrainedImageWarning
from denseclip_viz.toyworld.scenes import DRAWN

LINE = "bundled-resnet was trained on drawn scenes only: of other images its maps and scores mean nothing."


@pytest.fixture
def model():
    return dcv.load()


@pytest.fixture
def photograph():
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def test_a_photograph_is_warned_of_once_for_a_model_in_the_line_that_asked(model, photograph):
    with pytest.warns(UntrainedImageWarning, match=LINE) as heard:
        model.compare(photograph, ["a cat"])
        model.trace(photograph)
    assert len(heard) == 1 and heard[0].filename == __file__


def test_a_scene_and_its_files_are_not_warned_of(model, tmp_path):
    folder = dcv.toyworld.export(tmp_path / "world", 1, size=64)
    scene = dcv.toyworld.scene("a taxi", 64)
    Image.fromarray(scene.image).save(tmp_path / "x.jpg", comment=DRAWN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = (scene, folder / "images" / "000000.png", tmp_path / "x.jpg")
        assert ["caution" in model.trace(image).provenance for image in images] == [False] * 3


def test_models_that_know_photographs_say_nothing(load_tiny, photograph):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "caution" not in load_tiny("vit").compare(photograph, ["a cat"]).attrs


def test_figures_canvases_and_pages_say_it_and_those_of_scenes_do_not(model, photograph, tmp_path):
    scene = model.compare(dcv.toyworld.scene("a taxi", 64), ["a cat"])
    for both, said in ((model.compare(photograph, ["a cat"]), True), (scene, False)):
        one = both.dense.isel(template=0, prompt=0)
        figures = dcv.plot.compare(both), dcv.plot.grid(both.dense), dcv.plot.map(one).figure
        assert [LINE in everything_said(figure).replace("\n", " ") for figure in figures] == [said] * 3
        assert (LINE == dcv.Canvas(both)._payload["meta"]["caution"]) == said
        page = dcv.save_html(both, tmp_path / f"{said}.html").read_text("utf-8")
        assert (LINE in page) == said
    assert LINE in everything_said(dcv.plot.compare([scene, model.compare(photograph, ["a cat"])]))


def test_sheets_maps_and_atlases_of_many_images_say_it_where_they_show_such_an_one(model, photograph, tmp_path):
    scenes = [dcv.toyworld.scene(text, 64) for text in ("a taxi", "a house", "a cat", "a fish")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedImageWarning)
        mixed = dcv.features.encode(model, [*scenes, photograph], tmp_path / "mixed", progress=False)
    drawn = dcv.features.encode(model, scenes, tmp_path / "drawn", progress=False)
    for store, said in ((mixed, True), (drawn, False)):
        figures = dcv.plot.contact_sheet(store, model, "a taxi"), dcv.plot.embedding_map(store, model, "a taxi")
        assert [LINE in everything_said(figure).replace("\n", " ") for figure in figures] == [said] * 2
        atlas = dcv.atlas(store, model, "a taxi")
        assert (atlas._described()["caution"] == LINE) == said
        atlas.close()
    pages = [everything_said(dcv.plot.contact_sheet(mixed, model, "a taxi", page=at, per_page=1)) for at in range(1, 6)]
    assert sum(LINE in page.replace("\n", " ") for page in pages) == 1  # the page that shows it, and no other


def test_explorers_say_it_in_their_notice_and_not_on_standard_error_too(model, photograph):
    explorer = dcv.explore(model, dcv.toyworld.scene("a taxi", 64), ["a taxi"])
    assert explorer.status.text == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer.look_at(photograph)
    assert (explorer.status.text, explorer.status.kind) == (LINE, "warning")
    explorer.look_at(dcv.toyworld.scene("a taxi", 64))
    assert explorer.status.text == ""
    explorer.close()


def test_the_command_line_says_it_on_standard_error(photograph, tmp_path):
    Image.fromarray(photograph).save(tmp_path / "cat.png")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(app, ["classify", str(tmp_path / "cat.png"), "-p", "a cat", "-p", "a road"])
    assert (result.exit_code, result.stderr.strip()) == (0, LINE)


def test_it_is_kept_with_the_result_on_disk(model, photograph, tmp_path):
    import xarray as xr

    path = tmp_path / "x.nc"
    model.similarity(photograph, ["a cat"]).to_netcdf(path)
    assert xr.load_dataarray(path).attrs["caution"] == LINE
