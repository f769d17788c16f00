"""Whatever measures a data set takes one that was read from a folder, and gives what it gives for scenes in memory."""

import numpy as np
import pytest
from contests import quietly
from miniatures import made

import denseclip_viz as dcv


@pytest.fixture(scope="module")
def vit(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def scenes():
    return dcv.toyworld.dataset(4, "test", size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same scenes as files."""
    return dcv.datasets.read("folder", dcv.toyworld.export(tmp_path_factory.mktemp("toy") / "toy", 4, size=64))


@pytest.fixture(scope="module")
def prompts(folder):
    """The classes that most of the scenes hold."""
    counts = sum(np.bincount(np.unique(example.labels), minlength=len(folder.classes)) for example in folder)
    return [f"a {folder.classes[at]}" for at in np.argsort(-counts)[:3]]


def test_a_folder_is_judged_as_the_scenes_that_it_was_made_of(vit, scenes, folder, prompts):
    templates = dcv.measure.template_candidates(vit, dcv.Prompts(prompts, ["{}", "a photo of {}"]))
    ours, theirs = (
        quietly(dcv.measure.evaluate, vit, each, templates, "shared_precision") for each in (folder, scenes)
    )
    assert np.array_equal(ours.score, theirs.score, equal_nan=True) and bool(ours.score.notnull().any())


def test_pixels_are_counted_as_in_memory_and_ignored_ones_are_not(vit, scenes, folder, tmp_path):
    ours, theirs = (dcv.measure.evaluate_segmentation(vit, each, progress=False) for each in (folder, scenes))
    assert np.array_equal(ours.confusion, theirs.confusion) and ours.confusion.sum() == 4 * 64 * 64
    made("voc21", tmp_path)
    voc = dcv.datasets.read("voc21", tmp_path, names="sclip")
    noisy = dcv.datasets.corrupted(voc, "shot_noise", 1)
    counted = sum((example.labels >= 0).sum() for example in voc)
    for dataset in (voc, noisy):  # the preset knows either by its name
        measured = dcv.measure.evaluate_segmentation(vit, dataset, preset="clip", progress=False)
        assert measured.confusion.sum() == counted and measured.attrs["background"] == 0


def test_an_image_that_cannot_be_read_is_left_out_by_name_also_of_a_corrupted_data_set(vit, tmp_path):
    made("voc21", tmp_path)
    (tmp_path / "JPEGImages/b.jpg").write_bytes(b"")
    dataset = dcv.datasets.corrupted(dcv.datasets.read("voc21", tmp_path), "jpeg", 1)
    with pytest.warns(UserWarning, match="Left out: .*b.jpg is empty"):
        measured = dcv.measure.evaluate_segmentation(vit, dataset, progress=False)
    assert measured.attrs["unread"] == ["b"]


def test_templates_are_ranked_and_chosen_by_a_data_set_s_own_masks(vit, folder, prompts):
    asked = dcv.Prompts(prompts, ["{}", "a photo of {}", "{} there"])
    ranking = quietly(dcv.measure.rank_templates, vit, folder, asked)
    by_hand = quietly(
        dcv.measure.rank_templates, vit, [example.image for example in folder], asked,
        [example.masks_of(prompts) for example in folder],
    )  # fmt: skip
    assert ranking.score == by_hand.score == "shared_precision"
    assert np.array_equal(ranking.table["score"], by_hand.table["score"])
    assert quietly(dcv.measure.select_templates, vit, folder, asked, most=2).score == "shared_precision"


def test_ladder_and_faithfulness_go_over_a_data_set(vit, folder, prompts):
    climbed = quietly(dcv.measure.ladder, vit, folder, prompts, None, time=0)
    assert climbed.sizes["image"] == 4
    checked = quietly(dcv.measure.faithfulness, vit, folder[:2], "value", prompts=prompts, fills="mean", steps=2)
    assert checked.sizes["image"] == 2
