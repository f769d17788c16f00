"""Nothing is overwritten, nothing is lost: where results go, and what an interrupt leaves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz import model as model_module
from denseclip_viz.cli.image_commands import paths_beside
from denseclip_viz.maps.tables import classify_overview

COMMANDS = ("compare", "segment", "layers", "classify")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["there.csv", "there.nc", "{name}.nc", "{name}.csv"])
def test_a_file_that_is_there_is_refused_before_any_work(refused, here, no_model, command, out):
    for name in ("there.csv", "there.nc", "street.nc", "street.csv"):
        (here / name).write_text("kept")
    assert "there already" in refused(command, "street.jpg", "--out", out)


def test_force_replaces(run, here):
    (here / "table.csv").write_text("old")
    run("compare", "street.jpg", "-o", "table.csv", "--force")
    assert len(pd.read_csv("table.csv")) == 2


def test_a_image_is_never_replaced_by_its_figure(refused, many, no_model):
    assert "is one of the images" in refused("compare", many, "-o", many / "{name}.png", "--force")


@pytest.mark.parametrize("out", [
    "nowhere/x.png", "x", "x.gif", ".png", "", "x.tar.gz", "images", "{name}", "nowhere/{name}.csv",
])  # fmt: skip
def test_places_that_cannot_be_written_are_refused_before_any_work(refused, many, no_model, out):
    refused("compare", "street.jpg", "--out", out)
    refused("compare", many, "street.jpg", "--out", out)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_probabilities_have_no_figure(refused, no_model, ending):
    assert "Expected one of .nc, .csv" in refused("classify", "street.jpg", "--out", f"shares.{ending}")


def test_one_file_for_many_images_is_refused_with_the_name_that_would_do(refused, many, no_model):
    assert "{name}.nc" in refused("compare", many, "--out", "all.nc")


def test_images_of_one_name_in_two_folders_are_refused_but_make_one_table(run, refused, many, here):
    shutil.copytree(many, here / "others")
    assert "2 images whose result would be a.nc" in refused("classify", many, "others", "--out", "{name}.nc")
    run("classify", many, "others", "--out", "all.csv")
    assert len(pd.read_csv("all.csv")) == 12


@pytest.fixture
def broken_after(monkeypatch):
    """After so many images, something happens."""

    def arrange(count, error):
        plain, done = model_module.comparison.compare, []

        def compare(*arguments):
            done.append(1)
            if len(done) > count:
                raise error
            return plain(*arguments)

        monkeypatch.setattr(model_module.comparison, "compare", compare)

    return arrange


@pytest.mark.parametrize("out", ["{name}.nc", "{name}.png", "{name}.csv", "all.csv"])
def test_an_interrupt_keeps_what_was_done_and_ends_with_130(run, many, here, broken_after, out):
    broken_after(2, KeyboardInterrupt())
    result = run("compare", many, "--out", out, code=130)
    made = {path.name for path in here.iterdir()} - {"street.jpg", "images"}
    ending = out.rpartition(".")[2]
    assert made == ({"all.csv"} if out == "all.csv" else {f"a.{ending}", f"b.{ending}"})
    if out == "all.csv":
        assert pd.read_csv(out)["image"].unique().tolist() == ["a.png", "b.JPG"]
    *wrote, last = result.stderr.splitlines()
    assert last.startswith("stopped") and len(wrote) == 1 and "a.png" in result.stdout


def test_images_that_cannot_be_read_are_said_and_left_out_and_the_others_keep_their_names(run, here):
    (here / "many").mkdir()
    for number in (1, 3, 4):
        Image.new("RGB", (20, 20), (60 * number, 0, 0)).save(here / "many" / f"{number}.png")
    for number in (0, 2, 5):
        (here / "many" / f"{number}.png").write_bytes(b"broken" * (number > 0))
    run("classify", "many/3.png", "many/4.png", "-o", "{name}.csv")
    result = run("classify", "many", "-o", "all.csv", code=1)
    said = result.stderr.splitlines()
    assert said[0].startswith("left out: many/0.png is empty") and said[1].startswith("left out: many/2.png is not")
    assert said[3:] == ["wrote all.csv", "3 of 6 images could not be read: many/0.png"]
    shares = pd.read_csv("all.csv").set_index("image")["softmax_share"]
    assert shares.index.unique().tolist() == ["1.png", "3.png", "4.png"]
    for number in (3, 4):
        one = pd.read_csv(f"{number}.csv")["softmax_share"].tolist()
        assert shares[f"{number}.png"].tolist() == pytest.approx(one, abs=1e-5)


def test_a_prompt_steers_no_terminal_and_is_kept_as_it_is(run, here):
    steering = "\x1b[2J\u202ered 고양이"
    result = run("compare", "street.jpg", "--out", "table.csv", prompts=(steering, "=1+1"))
    assert "\x1b" not in result.output and r"\x1b[2J\u202ered 고양이" in result.stdout
    assert pd.read_csv(here / "table.csv")["prompt"].tolist() == [steering, "=1+1"]


@pytest.mark.parametrize("rule", [[], ["--background", "0.5"], ["--absent", "a whale"]])
def test_a_label_image_holds_the_labels_at_image_size_and_their_names(run, here, rule):
    run("segment", "street.jpg", *rule, "--labels", "labels.png", "-o", "all.nc", prompts=["a red car", "고양이"])
    labels = xr.load_dataset("all.nc", engine="h5netcdf").labels.values
    with Image.open("labels.png") as written, Image.open("street.jpg") as image:
        numbers = np.array(written)
        assert written.mode == "P" and written.size == image.size
    assert (np.where(numbers == 255, -1, numbers.astype(int) - 1) == labels).all()
    names = {"0": "background", "1": "a red car", "2": "고양이", "255": "not seen"}
    assert json.loads(written.text["labels"]) == names and written.text["source"].startswith("street.jpg")


def test_labels_can_be_drawn_on_a_finer_grid(run, refused):
    for name, finer in {"fine": ["--finer", "guided:2"], "plain": []}.items():
        run("segment", "street.jpg", *finer, "-o", f"{name}.nc")
    fine, plain = (xr.load_dataset(f"{name}.nc", engine="h5netcdf") for name in ("fine", "plain"))
    assert fine.attrs["finer"].startswith("guided, 2 x 2") and "finer" not in plain.attrs
    assert "--finer guided" in refused("segment", "street.jpg", "--finer", "sharp")


def test_label_images_of_a_folder_have_the_names_of_their_images(run, many, here):
    run("segment", many, "--labels", "{name}-labels.png")
    assert {"a-labels.png", "b-labels.png", "c-labels.png"} < {path.name for path in here.iterdir()}


def test_where_label_images_cannot_go_is_refused_before_any_work(refused, many, here, no_model):
    (here / "there.png").write_bytes(b"kept")
    assert "there already" in refused("segment", "street.jpg", "--labels", "there.png")
    assert "Expected one of .png" in refused("segment", "street.jpg", "--labels", "labels.npy")
    assert "two names" in refused("segment", "street.jpg", "--labels", "x.png", "--out", "x.png")
    same = ("--labels", "./{name}.png", "--out", "x.png", "--force")
    (here / "x.jpg").write_bytes((here / "street.jpg").read_bytes())
    assert "two names" in refused("segment", "x.jpg", *same)
    assert "two names" in refused("segment", "street.jpg", "--labels", here / "x.png", "--out", "x.png")
    assert "'{name}.png'" in refused("segment", many, "--labels", "all.png")
    assert "at most 254" in refused("segment", "street.jpg", "--labels", "x.png", prompts=map(str, range(255)))


def test_on_a_terminal_classify_prints_an_image_a_line_and_a_prompt_a_column(run, many, on_a_terminal):
    run("classify", many, "-o", "all.csv")
    long = pd.read_csv("all.csv")
    lines = on_a_terminal(long, overview=classify_overview)
    assert any("number softmax_share" in line for line in lines) and "image" in " ".join(lines[:6])
    wide = [line.split() for line in lines if " 0." in line]
    assert len(wide) == long.image.nunique() and len(long) == 2 * len(wide)
    for image, *shares in wide:
        known = long[long.image == image].set_index("prompt").softmax_share
        assert sorted(map(float, shares)) == pytest.approx(sorted(known.tolist()), abs=1e-4)


def test_images_of_one_name_keep_a_line_each(run, many):
    assert len(run("classify", "street.jpg", "street.jpg").stdout.splitlines()) == 1 + 4


def test_several_paths_are_compared_of_one_pass_and_each_is_as_alone(run, here):
    run("compare", "street.jpg", "--path", "value", "--path", "sclip", "-o", "both.nc")
    run("compare", "street.jpg", "--path", "sclip", "-o", "sclip.nc")
    both, one = (xr.load_dataset(name, engine="h5netcdf") for name in ("both.nc", "sclip.nc"))
    assert both.path.values.tolist() == ["value", "sclip"] and "path" not in one.dims
    assert np.allclose(both.dense.sel(path="sclip"), one.dense, atol=1e-6)
    assert not np.allclose(both.dense.sel(path="value"), one.dense, atol=1e-3)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "csv"])
def test_several_paths_make_a_figure_and_a_table(run, here, ending):
    result = run("compare", "street.jpg", "--path", "value", "--path", "sclip", "-t", "see {}", "-o", f"x.{ending}")
    assert (here / f"x.{ending}").stat().st_size > 100 and "sclip" in result.stdout
    if ending == "csv":
        assert pd.read_csv("x.csv")["path"].tolist() == ["value", "value", "sclip", "sclip"]


def test_a_figure_of_several_paths_names_the_template_that_it_shows(run, here):
    words = ("--path", "value", "--path", "sclip", "-o", "both.nc")
    for templates, shown in ((["of {}", "see {}"], "template “of {}” (1 of 2)"), (["see {}"], "template “see {}”")):
        run("compare", "street.jpg", *words, *(word for each in templates for word in ("-t", each)), "--force")
        both = xr.load_dataset("both.nc", engine="h5netcdf")
        texts = "\n".join(text.get_text() for text in paths_beside(both).texts)
        assert " ".join(shown.split()) in " ".join(texts.split())


def test_pixels_and_templates_are_judged_along_the_path_that_is_named(run, here):
    for command, more in (("segment", []), ("templates", ["-t", "{}"])):
        tables = []
        for path in ([], ["--path", "value"], ["--path", "clearclip"]):
            run(command, "street.jpg", *more, *path, "-o", "x.csv", "--force")
            tables.append(pd.read_csv("x.csv"))
        assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])


@pytest.mark.filterwarnings("default")  # three images do not tell two templates apart
def test_templates_are_ranked_on_a_folder_along_the_path_that_is_named(run, many):
    scores = []
    for path in ("value", "clearclip"):
        run("templates", many, "-t", "{}", "-t", "a photo of {}", "--path", path, "-o", "x.csv", "--force")
        scores.append(pd.read_csv("x.csv").score.tolist())
    assert scores[0] != scores[1]


def test_layers_are_read_along_the_path_and_in_the_templates_that_are_named(run, here):
    tables = []
    for path in ([], ["--path", "value"], ["--path", "vanilla"]):
        more = ["-t", "{}", "-t", "see {}", "--absent", "the sky"]
        run("layers", "street.jpg", "-l", "blocks.1", *more, *path, "-o", "x.csv", "--force")
        tables.append(pd.read_csv("x.csv"))
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])
    assert set(tables[0].template) == {"{}", "see {}"} and set(tables[0].prompt) == {"a red car", "grass", "the sky"}


def test_layers_refuse_a_path_of_several_blocks_with_one_that_they_can_be_read_along(refused):
    assert "Trace the layers with --path value." in refused("layers", "street.jpg", "--path", "sclip")


def test_classify_says_why_it_takes_no_path(run):
    assert "which no --path changes" in " ".join(run("classify", "--help", model="", prompts=()).stdout.split())


@pytest.mark.parametrize("command", ["compare", "segment", "layers"])
def test_a_path_that_there_is_not_is_refused_before_any_work(refused, no_model, command):
    assert "path 'nothing' is unknown" in refused(command, "street.jpg", "--path", "nothing")


def test_a_path_that_the_tower_does_not_offer_is_refused_with_those_that_it_does(refused):
    assert "Pass --path value." in refused("compare", "street.jpg", "--path", "gem", model="resnet")


def test_where_one_path_is_due_several_are_refused_before_any_work(refused, no_model):
    assert "Run it once for each" in refused("segment", "street.jpg", "--path", "value", "--path", "sclip")


def test_a_preset_is_all_of_it_and_an_option_wins(run, here, model_folder):
    prompts, asked = ["a red car", "grass"], ("segment", "street.jpg", "--preset", "maskclip-paper")
    model = dcv.load(str(model_folder("vit")), device="cpu", preset="maskclip-paper")
    whole, plain = (model.segment("street.jpg", prompts, preset=preset) for preset in ("maskclip-paper", None))
    run(*asked, "-o", "whole.nc")
    run(*asked, "-o", "plain.nc", "--path", "value", "-g", "native", "--denoise", 0, "--smooth", "none")
    for name, found in {"whole.nc": whole, "plain.nc": plain}.items():
        kept = xr.open_dataset(name)
        np.testing.assert_array_equal(kept.probability, found.probability)
        assert all(kept.attrs[fact] == found.attrs[fact] for fact in ("path", "geometry", "refinement"))
    assert whole.attrs["refinement"] != plain.attrs["refinement"]


@pytest.mark.parametrize("words", [("compare",), ("classify",), ("templates", "-t", "{}", "-t", "see {}")])
def test_the_geometry_of_a_preset_is_that_of_every_command(run, here, words):
    run(*words, "street.jpg", "--preset", "maskclip-paper", "-o", "preset.csv")
    run(*words, "street.jpg", "--preset", "maskclip-paper", "-g", "native", "-o", "own.csv")
    assert not pd.read_csv("preset.csv").equals(pd.read_csv("own.csv"))


@pytest.mark.parametrize("words", [("compare",), ("layers",), ("templates", "-t", "{}")])
def test_windows_kept_apart_are_refused_before_any_work_where_one_grid_is_needed(refused, no_model, words):
    assert "--preset sclip keeps windows apart" in refused(*words, "street.jpg", "--preset", "sclip")
