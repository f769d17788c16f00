"""The command line, used as people use it: images in, files out."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.cli.listings import model_lines
from denseclip_viz.cli.options import ModelOptions
from denseclip_viz.cli.printed import records

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
COMMANDS = ("compare", "segment", "layers", "classify")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_a_table_is_printed_without_any_file(run, here, command, kind):
    result = run(command, "street.jpg", model=kind)
    assert "street.jpg" in result.stdout and "grass" in result.stdout and result.stderr == ""
    assert [path.name for path in here.iterdir()] == ["street.jpg"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
@pytest.mark.parametrize("command", ["compare", "segment", "layers"])
def test_figures_are_written_by_their_ending(run, here, command, ending):
    run(command, "street.jpg", "--out", f"figure.{ending}")
    assert (here / f"figure.{ending}").read_bytes().startswith(STARTS[ending.lower()])


@pytest.mark.parametrize("ending", ["nc", "NC"])
@pytest.mark.parametrize("command", COMMANDS)
def test_all_data_is_written_as_netcdf(run, here, command, ending):
    run(command, "street.jpg", "--out", f"data.{ending}")
    load = xr.load_dataarray if command == "classify" else xr.load_dataset
    data = load(here / f"data.{ending}", engine="h5netcdf")
    assert data.attrs["image_name"] == "street.jpg" and data.attrs["geometry"] and data.attrs["versions"]
    wanted = {"compare": "gap", "segment": "labels", "layers": "layer_dense"}
    assert data.name == "probability" if command == "classify" else wanted[command] in data


@pytest.mark.parametrize("ending", ["csv", "CSV"])
@pytest.mark.parametrize("command", COMMANDS)
def test_tables_are_written_as_csv(run, here, command, ending):
    run(command, "street.jpg", "--out", f"table.{ending}", prompts=["a red car", "고양이, so"])
    table = pd.read_csv(here / f"table.{ending}")
    names = table["label" if command == "segment" else "prompt"]
    assert {"a red car", "고양이, so"} <= set(names) and set(table["image"]) == {"street.jpg"}


def test_a_folder_gives_a_file_for_each_image(run, many, here):
    result = run("compare", many, "--out", "{name}-dense.png")
    assert {"a-dense.png", "b-dense.png", "c-dense.png"} < {path.name for path in here.iterdir()}
    assert all(name in result.stdout for name in ("a.png", "b.JPG", "c.webp"))
    run("classify", many, "--out", "{name}.csv")
    assert set(pd.read_csv(here / "b.csv")["image"]) == {"b.JPG"}


def test_a_folder_and_a_image_give_one_table(run, many, here):
    run("classify", many, "street.jpg", "--out", "all.csv")
    table = pd.read_csv(here / "all.csv")
    assert table["image"].unique().tolist() == ["a.png", "b.JPG", "c.webp", "street.jpg"] and len(table) == 8


def test_a_image_of_a_folder_gives_the_numbers_that_it_gives_alone(run, many, here):
    run("compare", many, "-o", "all.csv"), run("compare", many / "b.JPG", "-o", "one.csv")
    all_of_them, one = pd.read_csv("all.csv"), pd.read_csv("one.csv")
    both = all_of_them[all_of_them["image"] == "b.JPG"].reset_index(drop=True)
    pd.testing.assert_frame_equal(both, one, rtol=1e-4, atol=1e-6)


def test_templates_absent_prompts_and_geometry_reach_the_result(run, here):
    words = ["-t", "a photo of {}.", "-t", "{}", "-a", "a giraffe", "-g", "whole:64", "-o", "data.nc"]
    run("compare", "street.jpg", *words)
    data = xr.load_dataset(here / "data.nc", engine="h5netcdf")
    assert data.template.values.tolist() == ["a photo of {}.", "{}"] and data.absent.values.tolist() == [0, 0, 1]
    assert (data.sizes["y"], data.sizes["x"]) == (8, 12)
    run("compare", "street.jpg", "-t", "imagenet-7", "--articles", "right", "-g", "tiles:40", "-o", "set.nc")
    assert xr.load_dataset(here / "set.nc", engine="h5netcdf").sizes["template"] == 7


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("command", ["compare", "segment", "classify"])
def test_an_article_too_many_is_said_and_can_be_set_right(run, command):
    words = [command, "street.jpg", "-t", "a photo of a {}."]
    assert "'a photo of a a red car.'" in run(*words).stderr
    assert run(*words, "--articles", "right").stderr == ""
    assert "'as written' or 'right'" in run(*words, "--articles", "wrong", code=2).stderr


@pytest.mark.parametrize(("words", "rule"), [
    ([], "no background"), (["--background", "0.3"], "below 0.3"), (["--background", ".5"], "below 0.5"),
    (["--background", "1"], "below 1"), (["--background", "grass"], "is grass"),
    (["--background", "grass", "--background", "7"], "is grass, 7"), (["--background", "7"], "is 7"),
])  # fmt: skip
def test_a_background_is_a_probability_or_names(run, here, words, rule):
    run("segment", "street.jpg", *words, "-o", "data.nc", prompts=["a red car", "grass", "7"])
    assert rule in xr.load_dataset(here / "data.nc", engine="h5netcdf").attrs["background"]


def test_absent_prompts_and_a_cosine_cut_what_is_named(run, here):
    run("segment", "street.jpg", "--absent", "a whale", "--cosine", "-0.9", "-o", "data.nc")
    data = xr.load_dataset(here / "data.nc", engine="h5netcdf")
    assert "a whale" not in data.label and data.attrs["absent"] == '["a whale"]' and data.attrs["cosine_cut"] > -0.9
    run("segment", "street.jpg", "--cosine", "1", "-o", "data.csv")
    assert pd.read_csv(here / "data.csv")["share"].tolist()[0] == 1


def test_shares_stand_beside_cosines_and_the_baseline(run, here):
    run("classify", "street.jpg", "--absent", "a whale", "--formula", "softmax", "-o", "data.csv")
    table = pd.read_csv(here / "data.csv")
    assert {"softmax_share", "cosine", "absent_baseline"} < set(table) and "a whale" not in set(table["prompt"])


def test_shares_are_of_the_fit_that_is_named(run, here):
    for fit in ("native", "whole:64"):
        run("classify", "street.jpg", "-g", fit, "-o", f"{fit[:6]}.nc")
    native, whole = (xr.load_dataarray(f"{fit}.nc", engine="h5netcdf") for fit in ("native", "whole:"))
    assert native.attrs["geometry"] != whole.attrs["geometry"] and not np.allclose(native, whole)


def test_a_scene_is_an_image_that_the_bundled_models_know(run, here, recwarn):
    done = run("toyworld", "scene", "a red taxi on a road", "taxi.jpg", model=None, prompts=())
    assert (done.stdout, done.stderr) == ("", "wrote taxi.jpg\n")
    line = ("classify", "taxi.jpg", "-p", "a taxi", "-p", "a whale", "--json")
    rows = json.loads(run(*line, model=None, prompts=()).stdout)
    assert rows[0]["prompt"] == "a taxi" and not recwarn.list
    refused = run("toyworld", "scene", "a taxi", "taxi.jpg", model=None, prompts=(), code=2)
    assert "--force" in refused.stderr


def test_refinements_reach_the_segmentation(run, here):
    run("segment", "street.jpg", "--smooth", "official", "--denoise", "0.1", "-o", "data.nc")
    data = xr.load_dataset(here / "data.nc", engine="h5netcdf")
    assert data.attrs["refinement"] == "prompt denoising 0.1, key smoothing (official)"


@pytest.mark.filterwarnings("default")
def test_what_was_done_to_a_image_is_one_line_too(run, here):
    Image.new("RGBA", (20, 20), (9, 9, 9, 9)).save("glass.png")
    assert run("classify", "glass.png").stderr == "glass.png is transparent in places: drawn over white.\n"


def test_layers_can_be_picked(run, here):
    run("layers", "street.jpg", "-l", "blocks.-1", "-l", "blocks.0", "-o", "table.csv")
    assert pd.read_csv("table.csv")["layer"].unique().tolist() == ["blocks.0", "blocks.2"]


def test_random_weights_are_announced_and_in_every_table(run, here):
    result = run("compare", "street.jpg", "-w", "random", "-o", "table.csv", "--quiet")
    assert result.stderr.startswith("RANDOM WEIGHTS") and result.stderr.count("\n") == 1
    assert pd.read_csv("table.csv")["random_weights"].all()
    assert "random" in result.stdout
    assert "RANDOM" not in run("compare", "street.jpg").stderr


def test_what_load_knows_of_a_model_has_an_option(run, here):
    words = "--mean 0.5,0.25,0.5 --std 1,1,0.5 --interpolation bilinear --resize-mode squash --dtype fp64"
    run("compare", "street.jpg", *words.split(), "--activation", "quickgelu", "--layer-norm-eps", "0.001", "-o", "d.nc")
    attrs = xr.load_dataset(here / "d.nc", engine="h5netcdf").attrs
    assert attrs["preprocess"].endswith("squash, bilinear, mean 0.5 0.25 0.5, std 1 1 0.5")
    assert (attrs["activation"], attrs["dtype"]) == ("quickgelu", "float64")
    assert "layer_norm_eps 0.001" in " ".join(map(str, attrs.values()))


def test_every_argument_of_load_that_can_be_typed_is_an_option():
    objects, places = {"tokenizer", "preprocess"}, {"cache", "cache_dir"}
    arguments = set(inspect.signature(dcv.load).parameters)
    assert {field.name for field in dataclasses.fields(ModelOptions)} == arguments - objects - places


def test_taps_lists_every_place(run):
    result = run("taps", "-m", "RN50", model=None, prompts=())
    assert {"stem", "layer4", "layer3.2", "pool.attention"} <= set(result.stdout.split())
    assert {"embed", "blocks.0"} <= set(run("taps", model="vit", prompts=()).stdout.split())
    assert run("taps", "-m", "nothing", model=None, prompts=(), code=2).stderr.count("\n") == 1


def test_models_lists_names_families_and_tags(run):
    result = run("models", model=None, prompts=())
    assert "RN50" in result.stdout and "ResNet" in result.stdout


def test_in_a_pipe_each_model_is_a_line_with_its_whole_name_and_tags(run):
    head, *lines = run("models", "ViT-B-*", model=None, prompts=()).stdout.splitlines()
    listed = {line.split("\t")[0]: dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines}
    rows = dcv.models("ViT-B-*")
    assert list(listed) == list(rows.index) and "ViT-B-16-SigLIP2-256" in listed
    assert all(listed[name]["tags"] == row.tags for name, row in rows.iterrows())


@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal_models_keep_their_whole_names_and_no_line_is_wider(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = list(model_lines(records(dcv.models().reset_index(names="name"))))
    assert max(map(len, lines)) <= width
    for name in dcv.models().index:
        assert any(line.startswith(f"{name} ") for line in lines)


def test_what_was_written_is_said_beside_the_data(run, many):
    assert run("compare", "street.jpg", "-o", "x.csv").stderr == "wrote x.csv\n"
    assert run("segment", "street.jpg", "-o", "x.nc", "--labels", "l.png").stderr == "wrote x.nc, l.png\n"
    assert run("classify", many, "-o", "{name}.nc").stderr == "wrote a.nc, b.nc, c.nc\n"
    assert run("compare", "street.jpg", "-o", "y.csv", "--quiet").stderr == ""


def test_versions_names_what_is_installed(run):
    assert {"denseclip_viz", "torch", "python"} <= set(run("versions", model=None, prompts=()).stdout.split())


def test_the_words_of_the_bundled_world_are_listed(run):
    listed = run("toyworld", "vocabulary", model=None, prompts=()).stdout
    assert "taxi (cab / taxicab)" in listed and "colours\tred, orange" in listed


@pytest.mark.parametrize("command", [*COMMANDS, "taps", "models", "versions", ""])
def test_help_is_there(run, command):
    for option in ("--help", "-h"):
        assert "Usage" in run(*([command] if command else []), option, model=None, prompts=()).stdout


def test_help_says_what_the_exit_codes_mean_and_version_which_this_is(run):
    said = run("--help", model=None, prompts=()).stdout
    assert "1 some images could not be read" in said and said.index("compare") < said.index("templates")
    assert run("--version", model=None, prompts=()).stdout == f"denseclip-viz {dcv.__version__}\n"


def test_as_a_process_of_its_own(here, model_folder):
    """In a terminal that cannot write the prompt; the second call is refused before anything heavy is imported."""
    line = [sys.executable, "-m", "denseclip_viz", "classify", "street.jpg", "-m", str(model_folder("vit"))]
    root = str(Path(dcv.__file__).parents[1])
    shell = {"PYTHONPATH": root, "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    options = {"env": shell, "capture_output": True, "text": True, "encoding": "latin-1"}
    done = subprocess.run([*line, "-p", "고양이", "-p", "grass", "-o", "t.csv"], **options)
    assert done.returncode == 0 and "\\uace0" in done.stdout
    loading, warning, wrote = done.stderr.splitlines()
    assert loading.startswith("loading") and warning.startswith("CLIP's tokenizer reads '\\uace0")
    assert set(pd.read_csv("t.csv")["prompt"]) == {"고양이", "grass"}
    again = subprocess.run([*line, "-p", "고양이", "-p", "grass", "-o", "t.csv"], **options)
    assert (again.returncode, again.stdout) == (2, "") and again.stderr.count("\n") == 1
