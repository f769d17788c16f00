"""`denseclip-viz datasets`: the known layouts, and what is wrong with a folder of one."""

import re
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from miniatures import SIZE, made, write
from typer.testing import CliRunner

from denseclip_viz.cli.app import app


def command(*words):
    return CliRunner().invoke(app, ["datasets", *map(str, words)])


def test_the_list_in_a_pipe_is_a_table_of_all_layouts():
    result = command()
    table = pd.read_csv(StringIO(result.stdout), sep="\t")
    assert {"voc21", "context60", "coco-stuff", "ade150", "cityscapes", "folder"} <= set(table["name"])
    assert table.set_index("name").loc["cityscapes", "images"] == "val 500, train 2975" and result.exit_code == 0


def test_a_folder_that_is_all_well_says_so_and_exits_with_0(tmp_path):
    made("voc21", tmp_path)
    result = command("check", "voc21", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "voc21 val: 3 images of 1449 published, all well\n"


def test_faults_are_listed_file_by_file_and_exit_with_1(tmp_path):
    made("voc21", tmp_path)
    (tmp_path / "JPEGImages/b.jpg").unlink()
    write(tmp_path / "SegmentationClass/c.png", np.full(SIZE, 21, np.uint8))
    result = command("check", "voc21", tmp_path, "--split", "val")
    faults = pd.read_csv(StringIO(result.stdout), sep="\t").set_index("file")["fault"]
    assert result.exit_code == 1 and len(faults) == 2
    assert faults["JPEGImages/b.jpg"].startswith("is missing")
    assert faults["SegmentationClass/c.png"] == "has the id 21, which is no class"
    assert result.stderr.endswith(f"2 faults in {tmp_path}\n")


def test_an_unknown_layout_is_refused_in_one_line(tmp_path):
    result = command("check", "voc", tmp_path)
    assert result.exit_code == 2 and re.fullmatch(
        r"There is no layout 'voc'\. .*\. denseclip-viz datasets lists .*\n", result.stderr
    )


@pytest.mark.filterwarnings("default:Within noise")
def test_templates_are_judged_by_the_masks_of_a_data_set(run, here):
    made("voc20", here / "voc")
    words = "--templates", "{}", "-t", "a photo of {}", "--masks", here / "voc/SegmentationClass", "--layout", "voc20"
    run("templates", here / "voc/JPEGImages", *words, "--out", "rank.csv", prompts=["an airplane", "a tv monitor"])
    table = pd.read_csv(here / "rank.csv")
    assert set(table["number"]) == {"shared_precision"} and table["score"].notna().all()


def test_a_layout_without_masks_is_refused(refused):
    assert "--layout voc20 without --masks" in refused("templates", "street.jpg", "-t", "{}", "--layout", "voc20")
