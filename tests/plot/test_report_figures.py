"""The report for people: what the bars, matrices, galleries and tables say is what was measured."""

import json

import numpy as np
import pytest
from drawn import everything_said, texts, with_gid
from matplotlib.colors import to_hex
from typer.testing import CliRunner

import denseclip_viz as dcv
from denseclip_viz.cli.app import app
from denseclip_viz.cli.toyworld_report import (
    COLUMNS,
    FILES,
    NATURAL,
    lines_of,
    miou_bars,
    scene_gallery,
    sibling_matrices,
    with_things,
)
from denseclip_viz.clip.load.bundled import MODELS
from denseclip_viz.measure.candidates import VALUE
from denseclip_viz.measure.segmentation import most_confused, share_right
from denseclip_viz.plot.gallery import Row, coloured
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES, KINDS, STUFF
from denseclip_viz.train import report as report_module
from denseclip_viz.train.report import CEILING, FIRST, PARTS, PRESENT, RETRIEVAL, block, scene_labels

SCORES = {CEILING: 0.8, VALUE: 0.4, PRESENT: 0.7, "value + both (official)": 0.123, "patch tokens": 0.05}


@pytest.fixture
def found():
    """A report as it could be."""
    matrix = np.zeros((len(KINDS), len(KINDS)), int)
    matrix[KINDS.index("oak"), [KINDS.index(kind) for kind in FAMILIES["tree"]]] = 3, 0, 1
    matrix[KINDS.index("pine"), KINDS.index("pine")] = 2
    naming = {
        "scenes": 2,
        "top-1": 0.5,
        "among siblings": {family: share_right(block(matrix, family)) for family in FAMILIES},
        "most confused": {family: most_confused(block(matrix, family), kinds) for family, kinds in FAMILIES.items()},
        "matrix": matrix.tolist(),
    }
    miou = {method: {part: score for part in PARTS} | {"scenes": 40} for method, score in SCORES.items()}
    miou |= {
        VALUE + FIRST: miou[VALUE] | {"scenes": 8},
        "Grad-CAM" + FIRST: miou[VALUE] | {"scenes": 8, "things": None},
    }
    ways = {"caption": 0.75, "image": 0.5}
    pairs = {"scenes": 1, "IoU alone": 0.375, "IoU together": 0.5, "given to the other": 0.25}
    return {
        "scenes": 40,
        "model": {
            "model": "bundled-vit",
            "weights": "weights.safetensors",
            "weights_hash": "0" * 16,
            "random_weights": 0,
        },
        RETRIEVAL: ways | {"groups": 2},
        f"{RETRIEVAL}, oracle": ways,
        f"{RETRIEVAL}, one truth": ways | {"groups": 2, "dropped": 3},
        "naming": naming,
        "mIoU": miou,
        "share of the ceiling": {method: {part: score / 0.8 for part in PARTS} for method, score in SCORES.items()},
        "characters mIoU": None,
        "two siblings": pairs | {"by family": {family: pairs for family in FAMILIES}},
    }


@pytest.fixture(scope="module")
def model():
    return dcv.load(str(MODELS / "vit"), pretrained="random", device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return with_things(2, 168)


def test_every_method_has_a_bar_of_its_score_in_each_part(found):
    drawn = miou_bars(found)
    for method, scores in found["mIoU"].items():
        for part in PARTS:
            (one,) = with_gid(drawn, f"{method}/{part}")
            if method == CEILING:
                assert list(one.get_xdata()) == [scores[part]] * 2
            else:
                assert one.get_width() == (scores[part] or 0.0)
    assert sum(len(ax.patches) for ax in drawn.axes) == 3 * (len(found["mIoU"]) - 1)


def test_bars_write_their_numbers_and_say_where_fewer_scenes_were_used(found):
    said = everything_said(miou_bars(found))
    assert said.count("0.40") == 8 and said.count("ceiling 0.80") == 3 and said.count("0.12") == 3
    assert said.count("first 8 scenes") == 2 and "40 scenes" in said
    assert "–" in said.splitlines()  # a score that there is not


def test_bars_say_what_the_ceiling_is_and_no_more_than_that(found):
    found["mIoU"][VALUE]["things"] = 0.9  # as it may be where things are smaller than a cell
    note = [text for text in texts(miou_bars(found)) if text.startswith("Dashed")]
    assert "true masks of all scenes averaged over its cells" in note[0] and "can pass it." in note[0]
    assert "best" not in note[0]


def test_bars_stand_in_one_order_and_never_on_each_other(found):
    drawn = miou_bars(found)
    for ax in drawn.axes:
        middles = [patch.get_y() + patch.get_height() / 2 for patch in ax.patches]
        assert middles == sorted(middles) and min(np.diff(middles)) >= 1
    assert [text for text in texts(drawn) if text in SCORES][0] == VALUE


def test_a_matrix_cell_holds_its_scenes_and_the_colour_of_its_share_of_the_row(found):
    drawn = sibling_matrices(found)
    assert len([image for ax in drawn.axes for image in ax.images if image.get_gid()]) == len(FAMILIES)
    (tree,) = [ax for ax in drawn.axes for image in ax.images if image.get_gid() == "tree"]
    shares = tree.images[0].get_array()
    assert shares[0].tolist() == [0.75, 0.0, 0.25] and shares[1].tolist() == [0.0, 1.0, 0.0]
    assert shares.mask[2].all() and not shares.mask[:2].any()  # no palm was seen: no share, not zero
    written = {text.get_position(): text.get_text() for text in tree.texts}
    assert written == {(0, 0): "3", (2, 0): "1", (1, 1): "2"}
    assert tree.images[0].get_clim() == (0.0, 1.0)


def test_matrices_name_every_kind_twice_and_every_family_with_its_share(found):
    said = texts(sibling_matrices(found))
    assert all(said.count(kind) == 2 for kind in KINDS)
    assert all(family in said for family in FAMILIES)
    assert said.count("83% right") == 1 and sum(text.endswith(" right") for text in said) == 1  # five of six trees


@pytest.mark.parametrize("draw", [miou_bars, sibling_matrices])
def test_no_text_lies_on_another_or_leaves_the_sheet(draw, found):
    drawn = draw(found)
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn.texts if not text.get_rotation()]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    inside = drawn.bbox
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 for box in boxes)


def test_random_weights_are_stamped_on_every_figure(found, model, scenes):
    found["model"]["random_weights"] = 1
    for drawn in (miou_bars(found), sibling_matrices(found), scene_gallery(model, scenes)):
        assert "RANDOM WEIGHTS" in everything_said(drawn)


def test_a_gallery_shows_image_truth_value_path_and_ceiling_of_each_scene(model, scenes):
    drawn = scene_gallery(model, scenes)
    images = [image for ax in drawn.axes for image in ax.images]
    assert [image.get_gid() for image in images] == [*COLUMNS] * 2
    for scene, image in zip(scenes, images[::4], strict=True):
        assert np.array_equal(image.get_array(), scene.image)
    for scene, (_, grid), place in zip(scenes, scene_labels(model, scenes), (0, 4), strict=True):
        truth, labels = images[place + 1].get_array().astype(int), scene.labels()
        means = [truth[labels == index].mean(0) for index in np.unique(labels)]
        apart = [abs(a - b).sum() for i, a in enumerate(means) for b in means[:i]]
        assert min(apart) > 40  # classes of one image are told apart by colour
        assert f"ceiling {(grid == labels).mean():.0%}" in everything_said(drawn)


def test_the_legend_names_all_that_is_true_and_gives_no_colour_twice(model, scenes):
    labels = [(scene.labels(), *both) for scene, both in zip(scenes, scene_labels(model, scenes), strict=True)]
    legend = coloured([Row(np.zeros((1, 1, 3), np.uint8), "", "", kinds) for kinds in labels], CLASSES, NATURAL)
    true = {index for kinds in labels for index in np.unique(kinds[0]).tolist()}
    assert true == set(legend.own) - set(legend.mistaken)
    assert len({to_hex(colour) for colour in legend.own.values()}) == len(legend.own)
    assert {CLASSES[index] for index in legend.own} <= set(texts(scene_gallery(model, scenes)))
    assert list(legend.own)[: len(true)] == [index for index in legend.own if index in true]


def test_every_stuff_has_a_colour_of_its_own_in_the_palette():
    assert set(NATURAL) == set(STUFF) and len(set(NATURAL.values())) == len(STUFF)
    assert set(NATURAL.values()) <= set(PALETTE)


def test_gallery_scenes_are_the_first_ones_with_things_not_the_best_ones():
    scenes = with_things(3, 64)
    first = dcv.toyworld.dataset(scenes[-1].seed - scenes[0].seed + 8, "test", size=64)
    assert [s.seed for s in scenes] == [s.seed for s in first if len(s.things) > 1][:3]


def test_tables_fit_eighty_columns_and_hold_the_numbers(found):
    said = "\n".join(lines_of(found))
    assert max(map(len, said.splitlines())) <= 80 and "…" not in said
    for method in found["mIoU"]:
        assert method in said
    assert "oak taken for palm, 1 of 4" in said and "expected of an oracle" in said and "0.123" in said


def test_the_command_writes_numbers_and_figures_and_replaces_none_unasked(found, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(report_module, "report", lambda _, **options: asked.append(options) or found)
    monkeypatch.chdir(tmp_path)
    call = [
        "toyworld",
        "report",
        "vit",
        "--scenes",
        "7",
        "--slow",
        "2",
        "--out",
        "all.json",
        "--figures",
        "deep/figures",
    ]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert asked[0]["n"] == 7 and asked[0]["slow"] == 2 and asked[0]["size"] == 168
    assert json.loads((tmp_path / "all.json").read_text()) == found
    assert {path.name for path in (tmp_path / "deep/figures").iterdir()} == set(FILES)
    (tmp_path / "all.json").unlink()
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 2 and "miou.png is there already" in again.output and len(asked) == 1
    assert CliRunner().invoke(app, [*call, "--force"]).exit_code == 0


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(report_module, "report", lambda *_, **__: pytest.fail("measured all the same"))
    done = CliRunner().invoke(app, ["toyworld", "report", "--figures", str(tmp_path / "file" / "figures")])
    assert done.exit_code == 2 and "cannot be made" in done.output
