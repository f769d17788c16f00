"""`encode` and `search`: what people type, what is printed and written, and how it ends."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

import denseclip_viz as dcv


def test_encode_then_search_writes_a_table_and_a_sheet(run, many, model_folder):
    assert "FeatureStore(3 images" in run("encode", many, "-o", "store", prompts=()).stderr
    done = run("search", "store", "--top", "2", "-o", "table.csv")
    table = pd.read_csv("table.csv")
    assert "wrote table.csv" in done.stderr and len(table) == 4
    assert list(table["rank"]) == [1, 2, 1, 2] and {"image", "score", "y", "x", "file"} <= set(table)
    store, prompt = dcv.features.open_store("store"), table.prompt[0]
    maps = store.similarity(table.file[0], dcv.load(str(model_folder("vit")), device="cpu"), [prompt])
    assert abs(float(maps.max()) - table.score[0]) < 1e-5
    run("search", "store", "-p", "grass", "-o", "sheet.png", prompts=())
    with Image.open("sheet.png") as sheet:
        assert sheet.size[0] > 500


def test_an_image_that_cannot_be_read_is_named_and_the_rest_is_encoded(run, many):
    (many / "d.png").write_bytes(b"no image")
    done = run("encode", many, "-o", "store", prompts=(), code=1)
    assert "d.png" in done.stderr and "1 of 4 images" in done.stderr and len(dcv.features.open_store("store")) == 3


def test_a_stopped_encode_says_how_to_go_on(run, many, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("denseclip_viz.features.encoding_images.traced_beside", stop)
    assert "the same command goes on" in run("encode", many, "-o", "store", prompts=(), code=130).stderr


@pytest.mark.parametrize("options", [
    ["-p", "grass", "-p", "sky", "-o", "sheet.png"], ["-p", "grass", "--by", "global", "-o", "sheet.png"],
    ["-p", "grass", "-o", "table.xyz"], ["-p", "grass", "--top", "0"], ["-p", "grass", "--page", "9", "-o", "s.png"],
])  # fmt: skip
def test_what_cannot_be_is_one_line(run, many, options):
    run("encode", many, "-o", "store", prompts=())
    assert run("search", "store", *options, prompts=(), code=2).stderr.count("\n") == 1


def test_a_folder_of_something_else_is_no_store(run, many):
    assert "is no store of features" in run("search", many, "-p", "grass", prompts=(), code=2).stderr
    assert "holds other files" in run("encode", many, "-o", many, prompts=(), code=2).stderr
