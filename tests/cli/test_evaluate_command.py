"""`denseclip-viz evaluate`, as people type it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from denseclip_viz.cli.printed import RANDOM
from denseclip_viz.measure import evaluation
from denseclip_viz.measure.ray_workers import Ray
from denseclip_viz.toyworld import export


@pytest.fixture
def evaluate(run):
    return lambda *words, **options: run("evaluate", *words, prompts=(), **options)


def test_a_folder_is_measured_and_written_in_three_formats(evaluate, here):
    folder = export(here / "toy", 3, size=64)
    line = ("folder", "--folder", folder, "--path", "value", "--path", "vanilla", "-g", "whole:64")
    first = evaluate(*line, "--out", "scores.csv")
    (mious,) = (row.split("\t")[1:] for row in first.stdout.splitlines() if row.startswith("mIoU\t"))
    assert json.loads(evaluate(*line, "--json").stdout)["candidates"][1]["path"] == "vanilla"
    evaluate(*line, "--out", "scores.json")
    evaluate(*line, "--out", "counts.nc")
    table, scores = pd.read_csv(here / "scores.csv"), json.loads((here / "scores.json").read_text())
    with xr.open_dataset(here / "counts.nc") as counts:
        assert counts.confusion.sum().item() == 2 * 3 * 64 * 64
        assert [each["path"] for each in scores["candidates"]] == ["value", "vanilla"]
        for each, miou in zip(scores["candidates"], counts.miou.values, strict=True):
            assert each["miou"] == miou and f"{miou:.6g}" in mious
            ious = table[table["candidate"] == each["path"]].set_index("class")["iou"]
            assert np.nanmean(ious) == pytest.approx(miou) and None in each["iou"].values()
    assert "3 images, 12288 pixels" in first.stderr and "IoU 0, counted in mIoU" in first.stderr


def test_the_bundled_world_needs_no_folder_and_a_store_goes_on(evaluate, here):
    line = (
        "toyworld",
        "--limit",
        "2",
        "-g",
        "whole:64",
        "--store",
        "counts.jsonl",
        "--denoise",
        "1",
        "--smooth",
        "official",
    )
    first = evaluate(*line)
    assert (here / "counts.jsonl").read_bytes().count(b'"confusion"') == 2
    again = evaluate(*line)
    assert again.stdout == first.stdout and "2 images, 51200 pixels" in first.stderr
    assert "value: in 2 images denoising left no name" in again.stderr


def test_what_a_reader_must_know_is_said_beside_json_too(evaluate):
    line = ("toyworld", "--limit", "1", "-g", "whole:64", "-w", "random", "--denoise", "1")
    plain, programs = (evaluate(*line, *more).stderr.splitlines() for more in ((), ("--json",)))
    assert plain == programs and RANDOM in plain
    assert any(text.startswith("1 image, ") for text in plain) and any("in 1 image denoising" in text for text in plain)


def test_a_store_of_another_question_is_refused_in_the_words_of_the_command_line(evaluate, refused):
    line = ("toyworld", "--limit", "1", "-g", "whole:64", "--store", "counts.jsonl")
    evaluate(*line)
    other = refused("evaluate", *line, "--path", "vanilla", prompts=())
    assert "holds results of another question" in other and other.endswith("Name another file as --store.\n")


def test_a_corruption_is_done_to_the_images_and_named_in_what_is_kept(evaluate, here):
    line = ("toyworld", "--limit", "2", "-g", "whole:64")
    plain = evaluate(*line)
    noisy = evaluate(*line, "--corruption", "gaussian_noise:5", "--out", "noisy.json")
    assert noisy.stdout != plain.stdout
    assert json.loads((here / "noisy.json").read_text())["split"] == "test, gaussian_noise 5"


def test_a_finer_grid_is_a_column_beside_the_own(evaluate, refused):
    measured = evaluate("toyworld", "--limit", "1", "-g", "whole:64", "--finer", "guided", "--finer", "shifted")
    assert measured.stdout.splitlines()[0].split("\t") == ["class", "value", "value, guided", "value, shifted"]
    assert "guided or shifted, each once" in refused("evaluate", "toyworld", "--finer", "sharp", prompts=())


def test_stored_features_give_the_same_lines_and_are_encoded_only_where_that_is_asked(evaluate, refused, monkeypatch):
    line = ("toyworld", "--limit", "2", "-g", "whole:64", "--path", "value", "--path", "vanilla")
    missing = refused("evaluate", *line, "--features", "store", prompts=())
    assert "store is no store of features" in missing
    assert "--encode without --features" in refused("evaluate", *line, "--encode", "float16", prompts=())
    first = evaluate(*line, "--features", "store", "--encode", "float32")
    assert first.stdout == evaluate(*line).stdout
    monkeypatch.setattr("denseclip_viz.clip.tracing.run", lambda *_: pytest.fail("encoded again"))
    assert evaluate(*line, "--features", "store").stdout == first.stdout
    lacking = refused("evaluate", *line, "--path", "value-positional", "--features", "store", prompts=())
    assert "which holds value, vanilla" in lacking and "by the same command with --encode float16" in lacking


def test_workers_of_the_command_line_are_those_of_the_loop(evaluate, monkeypatch):
    asked = []
    monkeypatch.setattr(evaluation, "engine_of", asked.append)  # which then measures here
    evaluate("toyworld", "--limit", "1", "-g", "whole:64", "--engine", "ray", "--workers", "3")
    assert asked == [Ray(workers=3)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("voc21",), "voc21 without a folder.*Pass --folder FOLDER"),
        (("toyworld", "--folder", "."), "--folder for toyworld"),
        (("voc22", "--folder", "."), "no layout 'voc22'"),
        (("toyworld", "--preset", "sclp"), "--preset.*sclp"),
        (("toyworld", "--out", "scores.txt"), "ends in '.txt'"),
        (("toyworld", "--path", "sclp"), "path 'sclp' is unknown"),
        (("toyworld", "--workers", "0"), "--workers 0"),
        (("toyworld", "--corruption", "gaussian_noise:6"), "--corruption gaussian_noise:6.*a level from 1 to 5"),
        (("toyworld", "--limit", "1", "--scale", "0"), "--scale 0.*above 0"),
        (("toyworld", "--limit", "1", "--background", "2"), "background 2.*a probability"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(refused, words, said):
    import re

    assert re.search(said, refused("evaluate", *words, prompts=()))
