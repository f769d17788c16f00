"""`encode` and `search`: what people type, what is printed and written, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.cli.feature_commands import overview


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
    ["-p", "grass", "--page", "1"], ["-p", "grass", "--page", "2", "-o", "table.csv"],
    ["-p", "grass", "--page", "0", "-o", "s.png"],
])  # fmt: skip
def test_what_cannot_be_is_one_line(run, many, options):
    run("encode", many, "-o", "store", prompts=())
    assert run("search", "store", *options, prompts=(), code=2).stderr.count("\n") == 1


@pytest.fixture
def sheets(monkeypatch):
    """The contact sheets that are drawn."""
    drawn, plain = [], dcv.plot.contact_sheet
    monkeypatch.setattr(dcv.plot, "contact_sheet", lambda *a, **b: drawn.append(plain(*a, **b)) or drawn[-1])
    return drawn


def shown(result, sheet):
    """The rows of a table; each must be on the sheet with the same number, in the same order."""
    rows = json.loads(result.stdout)
    words = [text.get_text().replace("−", "-") for text in sheet.texts]
    places = [words.index(f"{row['score']:.3f}", words.index(row["image"])) for row in rows]
    assert places == sorted(places) and sum(row["image"] in words for row in rows) == len(rows)
    return rows


@pytest.mark.parametrize("articles", ["as written", "right"])
def test_a_sheet_has_the_numbers_of_the_table_that_is_printed_with_it(run, many, sheets, articles):
    run("encode", many, "-o", "store", prompts=())
    words = ("-p", "oak", "-t", "a photo of a {}", "--articles", articles, "-a", "orange", "-o", "sheet.png", "--json")
    assert len(shown(run("search", "store", *words, prompts=()), sheets[0])) == 3
    title = {"as written": "a photo of a oak", "right": "a photo of an oak"}[articles]
    assert title in [text.get_text() for text in sheets[0].texts]


def test_a_page_is_of_the_ranks_that_are_printed(run, many, sheets):
    run("encode", many, "-o", "store", prompts=())
    for page, ranks in (("1", [1, 2]), ("2", [3])):
        words = ("-p", "grass", "--top", "2", "--page", page, "-o", f"{page}.png", "--json")
        rows = shown(run("search", "store", *words, prompts=()), sheets[-1])
        assert [row["rank"] for row in rows] == ranks
    assert "--page 1 without a contact sheet" in run("search", "store", "--page", "1", code=2).stderr


def test_images_of_one_name_are_told_apart(run, many, here):
    (here / "others").mkdir()
    Image.new("RGB", (30, 40), "red").save(here / "others" / "a.png")
    run("encode", many, "others", "-o", "store", prompts=())
    rows = json.loads(run("search", "store", "-p", "grass", "--json", prompts=()).stdout)
    head = run("search", "store", "-p", "grass", prompts=()).stdout.splitlines()[0].split("\t")
    assert len({row["file"] for row in rows}) == len({row["number"] for row in rows}) == 4
    assert {"file", "number"} <= set(head)


def test_people_are_shown_files_only_where_names_do_not_tell_images_apart():
    table = pd.DataFrame({"image": ["a.png", "b.png"], "file": ["x/a.png", "y/b.png"], "number": [1, 2]})
    assert list(overview(table)) == ["image"]
    assert list(overview(table.assign(image="a.png"))) == ["image", "file"]


def test_a_folder_of_something_else_is_no_store(run, many):
    assert "is no store of features" in run("search", many, "-p", "grass", prompts=(), code=2).stderr
    names = sorted(path.name for path in many.iterdir())
    assert "holds other files" in run("encode", many, "-o", many, prompts=(), code=2).stderr
    assert sorted(path.name for path in many.iterdir()) == names


def test_images_are_removed_by_path_name_or_because_their_files_are_gone(run, many):
    remove = partial(run, "remove", prompts=(), model=None)
    run("encode", many, "-o", "store", prompts=())
    files = [Path(image.file) for image in dcv.features.open_store("store").images]
    assert "1 removed" in remove("store", str(files[0])).stderr
    files[1].unlink()
    done = remove("store", "--missing")
    assert "1 removed" in done.stderr and "FeatureStore(1 image" in done.stderr
    assert "0 removed" in remove("store", "--missing").stderr
    files[2].unlink()  # a disk that is not mounted, perhaps
    for wrong, why in ((["--missing"], "one that stays"), ([], "pass --missing"), (["nobody.png"], "not in the store")):
        assert why in remove("store", *wrong, code=2).stderr
    assert len(dcv.features.open_store("store")) == 1
