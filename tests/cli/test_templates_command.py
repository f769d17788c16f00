"""`denseclip-viz templates`, as people type it: one image, or a folder with masks."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from denseclip_viz.cli import template_commands as commands
from denseclip_viz.toyworld import export, vocabulary

# On a few images of noise, random weights cannot be told apart.
pytestmark = [pytest.mark.filterwarnings("default:Within noise"), pytest.mark.filterwarnings("default:Interrupted")]
SAID = ("--templates", "{}", "--templates", "a photo of {}", "-t", "no {} <b>&")


@pytest.fixture
def toy(here):
    """Four scenes with masks."""
    return export(here / "toy", 4, size=64)


@pytest.fixture
def there(toy):
    """Two classes that most of the scenes hold, with articles."""
    masks = [np.asarray(Image.open(file)) for file in sorted((toy / "masks").iterdir())]
    counts = np.bincount(np.concatenate([np.unique(mask) for mask in masks]), minlength=256)
    return [f"a {vocabulary().classes[at]}" for at in np.argsort(-counts)[:3]]


def test_one_image_gives_a_table_of_numbers_for_each_template_and_prompt(run, here):
    result = run("templates", "street.jpg", *SAID, "-a", "a giraffe", "--out", "table.csv")
    table = pd.read_csv(here / "table.csv")
    assert len(table) == 9 and set(table["template"]) == {"{}", "a photo of {}", "no {} <b>&"}
    assert {"peak", "margin_absent", "entropy", "pearson", "text_distance"} <= set(table) and "iou" not in table
    assert table[table["absent"]]["prompt"].unique().tolist() == ["a giraffe"]
    assert "a photo of {}" in result.stdout and result.stderr == "wrote table.csv\n"


def test_a_folder_with_masks_gives_a_ranking(run, here, toy, there):
    result = run("templates", toy / "images", *SAID, "--masks", toy / "masks", "--out", "rank.csv", prompts=there)
    table = pd.read_csv(here / "rank.csv")
    assert len(table) == 3 and table["score"].is_monotonic_decreasing and set(table["number"]) == {"shared_precision"}
    assert set(table["images"]) <= {2, 3, 4} and {"low", "high", "to_best", "within_noise", "left_out"} <= set(table)
    assert table["template"].iloc[0] in result.stdout


def test_a_threshold_is_for_the_number_it_is_for(run, here, toy, there):
    ious = []
    for threshold in ("-0.5", "0.9"):
        given = (*SAID, "--masks", toy / "masks", "--threshold", threshold, "--force", "--out")
        run("templates", toy / "images", *given, "rank.csv", "--score", "iou", prompts=there)
        run("templates", sorted((toy / "images").iterdir())[0], *given, "one.csv", prompts=there)
        one = pd.read_csv(here / "one.csv")["iou"].dropna()
        ious.append((pd.read_csv(here / "rank.csv")["score"].max(), one.max()))
    assert min(ious[0]) > 0 and max(ious[1]) == 0  # everything is named, nothing is


def test_a_prompt_that_is_no_class_is_said_not_to_be_judged(run, here, toy, there):
    result = run("templates", toy / "images", *SAID, "--masks", toy / "masks", prompts=[*there, "a taxy"])
    assert "Not judged, as no class of the masks has these names: a taxy." in result.stderr
    names = (toy / "classes.txt").read_text(encoding="utf-8").replace(there[0][2:], "cafe\u0301")
    (toy / "classes.txt").write_text("\ufeff" + names, encoding="utf-8")
    spelt = ["Caf\u00e9", *there[1:]]
    assert "Not judged" not in run("templates", toy / "images", *SAID, "--masks", toy / "masks", prompts=spelt).stderr


def test_two_images_with_one_mask_are_refused(run, toy, there):
    image = sorted((toy / "images").iterdir())[0]
    Image.open(image).save(image.with_suffix(".jpg"))
    result = run("templates", toy / "images", *SAID, "--masks", toy / "masks", prompts=there, code=2)
    assert "both have the mask" in result.stderr


def test_a_page_is_one_file_with_nothing_from_elsewhere_and_nothing_typed_runs(run, here, many):
    odd = "<script>alert(1)</script>"
    for what in ("street.jpg", many):
        run("templates", what, *SAID, "-w", "random", "--out", "page.html", "--force", prompts=[odd, "고양이"])
        page = (here / "page.html").read_text(encoding="utf-8")
        assert "<script" not in page and "<b>" not in page and "no {} &lt;b&gt;&amp;" in page
        assert not re.search(r'(src|href)="(?!data:image/png;base64,)', page) and page.count("data:image/png") >= 1
        assert "RANDOM WEIGHTS" in page and "고양이" in page
    run("templates", "street.jpg", *SAID, "--out", "page.html", code=2)


def test_the_table_of_a_page_is_for_people_and_keeps_what_was_typed():
    rows = {"template": ["-{}", "<b>{}"], "absent": [False, True], "margin_absent": [-0.25, np.nan], "images": [3, 4]}
    page = commands.page("x", [], [], pd.DataFrame(rows))
    assert re.findall("<th.*?>(.*?)</th>", page) == ["template", "absent", "above all absent", "images"]
    assert re.findall("<td.*?>(.*?)</td>", page) == ["-{}", "no", "−0.2500", "3", "&lt;b&gt;{}", "yes", "–", "4"]
    assert page.count('<td class="number">') == 4 and "prefers-color-scheme: dark" in page


def test_figures_are_written_by_their_ending(run, here, many):
    run("templates", "street.jpg", *SAID, "--out", "one.png")
    run("templates", many, *SAID, "--out", "many.svg")
    assert (here / "one.png").read_bytes().startswith(b"\x89PNG")
    assert (here / "many.svg").read_bytes().startswith(b"<?xml")


def test_a_image_that_cannot_be_read_is_said_and_left_out_of_the_ranking(run, here, many):
    (many / "d.png").write_bytes(b"broken")
    result = run("templates", many, *SAID, "--out", "rank.csv", code=1)
    assert set(pd.read_csv(here / "rank.csv")["images"]) == {3}
    assert "left out: " in result.stderr and "1 of 4 images could not be read" in result.stderr.splitlines()[-1]


def test_an_interrupt_writes_what_was_done_and_says_so(run, here, many, monkeypatch):
    from denseclip_viz.measure import group_work

    plain = group_work.traced_beside

    def stopped(*arguments, **options):
        for at, one in enumerate(plain(*arguments, **options)):
            if at == 2:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(group_work, "traced_beside", stopped)
    result = run("templates", many, *SAID, "--out", "rank.csv", code=130)
    assert set(pd.read_csv(here / "rank.csv")["images"]) == {2} and "Interrupted" in result.stderr
    assert list(here.glob(".*part")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("IMAGES", "-t", "{}"), "One template only.*no ranking"),
        (("IMAGES", "-t", "imagenet-8"), "no template set"),
        (("IMAGES", "-t", "no place", "-t", "{}"), "has no place for the prompt"),
        (("IMAGES", *SAID, "--out", "table.xlsx"), "one of .csv, .html, .png"),
        (("IMAGES", *SAID, "--masks", "nowhere"), "nowhere is no folder"),
        (("IMAGES", *SAID, "--masks", "images"), "has no classes.txt"),
        (("IMAGES", *SAID, "--masks", "masks"), "None of the prompts 'a red car', 'grass' is a class.*taxi"),
        (("IMAGES", *SAID, "--masks", "masks", "-p", "a taxi"), r"a\.png has no mask"),
        (("street.jpg", *SAID, "--out", "street.jpg"), "ends in '.jpg'"),
        (("street.jpg", *SAID, "--score", "iou"), "--score iou for one image"),
        (("street.jpg", *SAID, "--threshold", "0.2"), "--threshold 0.2 without --masks"),
        (("IMAGES", *SAID, "--masks", "masks", "-p", "a taxi", "--threshold", "0.2"), "without --score iou"),
        (("IMAGES", *SAID, "--masks", "twice", "-p", "a taxi"), "two classes that 'a taxi' names"),
        (("IMAGES", *SAID, "--masks", "latin", "-p", "a taxi"), "classes.txt cannot be read .it is not UTF-8"),
    ],
)
def test_bad_input_is_one_line_before_any_model_is_loaded(refused, here, many, no_model, words, said):
    (here / "masks").mkdir()
    (here / "masks" / "classes.txt").write_text("taxi\nbus\n")
    for name, held in {"twice": b"taxi\nbus\nA taxi", "latin": "caf\u00e9".encode("latin-1")}.items():
        (here / name).mkdir()
        (here / name / "classes.txt").write_bytes(held)
    assert re.search(said, refused("templates", *(many if word == "IMAGES" else word for word in words)))


MASKS = [("RGB", "in mode RGB", 1), ("L", "of shape", 2), ("text", "cannot be read", 1)]


@pytest.mark.parametrize(("odd", "said", "code"), MASKS)
def test_masks_that_cannot_be_read_are_left_out_and_those_that_do_not_fit_refused(run, toy, there, odd, said, code):
    file = sorted((toy / "masks").iterdir())[1]
    if odd == "text":
        file.write_text("no image")
    else:
        Image.new(odd, (64, 60)).save(file)
    result = run("templates", toy / "images", *SAID, "--masks", toy / "masks", prompts=there, code=code)
    assert said in result.stderr and "Traceback" not in result.stderr
    assert ("left out: " in result.stderr and "images could not be read" in result.stderr) == (code == 1)


def test_the_command_is_light_until_it_is_run():
    import subprocess
    import sys

    heavy = "('torch', 'pandas', 'matplotlib')"
    code = f"import sys, {commands.__name__}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_workers_give_the_ranking_of_one_process(run, here, toy, there):
    given = (*SAID, "--masks", toy / "masks", "--out")
    run("templates", toy / "images", *given, "here.csv", prompts=there)
    run("templates", toy / "images", *given, "workers.csv", "--workers", "1", prompts=there)
    assert (here / "here.csv").read_bytes() == (here / "workers.csv").read_bytes()


def test_workers_that_cannot_be_are_refused_before_the_model_is_loaded(run, here, toy):
    for options, words in (
        (("--engine", "dask"), ("--engine dask", "ray://HOST:PORT", "Try --engine 2")),
        (("--workers", "0"), ("--workers 0", "a whole number from 1")),
    ):
        result = run("templates", toy / "images", *SAID, *options, "--model", "nobody", code=2, model=None)
        assert all(word in result.stderr for word in words)
    result = run("templates", "street.jpg", *SAID, "--workers", "2", code=2)
    assert "Workers for one image" in result.stderr
