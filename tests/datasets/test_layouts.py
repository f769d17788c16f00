"""Miniatures of published data sets, laid out as a user has them, are read to the labels that they mean."""

import pickle

import numpy as np
import pytest
from miniatures import MINIATURES, SIZE, instances, made, write

import denseclip_viz as dcv
from denseclip_viz.datasets.layouts import LAYOUTS
from denseclip_viz.errors import DatasetError, PromptError


def loop(raw, meaning):
    """The class of every pixel, one at a time."""
    labels = np.zeros(raw.shape, int)
    for row in range(raw.shape[0]):
        for column in range(raw.shape[1]):
            labels[row, column] = meaning(int(raw[row, column]))
    return labels


@pytest.mark.parametrize("name", MINIATURES)
def test_a_data_set_is_read_to_the_labels_that_it_means(name, tmp_path):
    miniature, raw = made(name, tmp_path)
    dataset = dcv.datasets.read(miniature.layout, tmp_path, miniature.split)
    assert [example.name for example in dataset] == list(miniature.names) and len(dataset) == len(raw)
    for example in dataset:
        assert np.array_equal(example.labels, loop(raw[example.name], miniature.meaning))
        assert example.classes == dataset.classes and example.image.is_file()
        assert example.labels.max() < len(dataset.classes)
    assert len(dataset.classes) == miniature.count == len(dataset.names)
    assert dataset.background == (0 if dataset.classes[0] == "background" else None)
    assert dcv.datasets.check(miniature.layout, tmp_path, miniature.split).empty


def test_every_layout_has_a_miniature():
    assert {each.layout for each in MINIATURES.values()} | {"coco-json"} == set(LAYOUTS)


def test_a_background_is_the_first_class_or_ignored():
    backgrounds = {name: "background" in layout.classes for name, layout in LAYOUTS.items() if layout.classes}
    assert [name for name, there in backgrounds.items() if there] == ["voc21", "voc21aug", "context60", "coco-object"]
    assert all(layout.classes[0] == "background" for name, layout in LAYOUTS.items() if backgrounds.get(name))


def test_augmented_voc_takes_its_own_masks_first_and_the_others_where_it_has_none(tmp_path):
    miniature, raw = made("voc21aug", tmp_path)
    write(tmp_path / "SegmentationClass/b.png", np.full(SIZE, 9, np.uint8))
    dataset = dcv.datasets.read("voc21aug", tmp_path, "trainaug")
    assert (dataset[1].labels == 9).all() and np.array_equal(dataset[0].labels, loop(raw["a"], miniature.meaning))


def test_converted_masks_and_pixel_maps_side_by_side_give_the_same_labels(tmp_path):
    _, raw = made("cityscapes, labelIds", tmp_path)
    before = [example.labels for example in dcv.datasets.read("cityscapes", tmp_path)]
    for name, mask in raw.items():
        labels = loop(mask, MINIATURES["cityscapes, labelIds"].meaning)
        converted = np.where(labels < 0, 255, labels).astype(np.uint8)
        write(tmp_path / f"gtFine/val/{name}_gtFine_labelTrainIds.png", converted)
        write(tmp_path / f"gtFine/val/{name}_gtFine_color.png", np.zeros((*SIZE, 3), np.uint8))
    dataset = dcv.datasets.read("cityscapes", tmp_path)
    assert all(np.array_equal(a, b.labels) for a, b in zip(before, dataset, strict=True))
    assert dataset.items[0].truth.name.endswith("_gtFine_labelTrainIds.png")


def test_the_conversions_of_coco_stuff_and_coco_object_share_a_folder(tmp_path):
    for name in ("coco-stuff, pixel maps", "coco-stuff, converted", "coco-object, converted"):
        made(name, tmp_path)
    assert len(dcv.datasets.read("coco-stuff", tmp_path)) == len(dcv.datasets.read("coco-object", tmp_path)) == 3


def test_instances_become_labels_by_coco_s_own_filling(tmp_path):
    expected = instances(tmp_path)
    dataset = dcv.datasets.read("coco-json", tmp_path)
    assert dataset.classes == ("background", "car", "toothbrush") and dataset.background == 0
    assert {example.name: example.labels.tolist() for example in dataset} == {
        name: labels.tolist() for name, labels in expected.items()
    }
    assert dcv.datasets.check("coco-json", tmp_path).empty


def test_a_data_set_is_a_sequence_and_goes_to_another_process(tmp_path):
    made("voc21", tmp_path)
    dataset = dcv.datasets.read("voc21", tmp_path)
    assert [example.name for example in dataset[1:]] == ["b", "c"] and dataset[-1].name == "c"
    back = pickle.loads(pickle.dumps(dataset))  # noqa: S301  its own
    assert np.array_equal(back[2].labels, dataset[2].labels) and back.names == dataset.names


def test_a_list_of_one_s_own_is_a_split(tmp_path):
    made("voc21", tmp_path)
    (tmp_path / "ImageSets/Segmentation/mine.txt").write_text("\ufeffc\r\n\r\na\r\n", encoding="utf-8")
    dataset = dcv.datasets.read("voc21", tmp_path, "mine")
    assert [example.name for example in dataset] == ["c", "a"] and dataset.split == "mine"


def test_a_folder_of_one_s_own_has_splits_if_its_folders_have(tmp_path):
    made("folder", tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / kind / "train").mkdir()
        (tmp_path / kind / "a.png").rename(tmp_path / kind / "train/a.png")
    assert [example.name for example in dcv.datasets.read("folder", tmp_path)] == ["b", "c", "train/a"]
    assert [example.name for example in dcv.datasets.read("folder", tmp_path, "train")] == ["a"]
    assert dcv.datasets.read("folder", tmp_path).names[2] == ("a car", "an automobile")


def test_a_layout_of_one_s_own_is_read_like_the_others(tmp_path):
    write(tmp_path / "rgb/x.png", np.zeros((*SIZE, 3), np.uint8))
    write(tmp_path / "gt/x.png", np.full(SIZE, 9, np.uint8))
    (tmp_path / "classes.txt").write_text("water\nland\n")
    mine = dcv.datasets.Layout("mine", "Mine", ("rgb",), (dcv.datasets.MaskFiles("gt", ids=(*[-1] * 9, 1)),), "")
    assert (dcv.datasets.read(mine, tmp_path)[0].labels == 1).all()


@pytest.mark.parametrize(
    ("name", "names", "place", "expected"),
    [
        ("voc21", None, 0, ("background",)),
        ("voc21", "sclip", 0, ("sky", "wall", "tree")),
        ("voc21", "sclip", 15, ("person", "person in shirt", "person in jeans")),
        ("voc21", "maskclip", 1, ("airplane",)),
        ("voc20", "proxyclip", 19, ("tvmonitor",)),
        ("coco-object, pixel maps", "sclip", 1, ("person", "person in shirt", "person in jeans")),
        ("coco-stuff, pixel maps", "sclip", 159, ("wall-brick",)),
        ("ade150", "sclip", 44, ("chestofdrawers",)),
        ("cityscapes, labelIds", "sclip", 6, ("trafficlight",)),
        ("context60", "sclip", 1, ("aeroplane",)),
    ],
)
def test_classes_are_called_as_a_published_list_calls_them(name, names, place, expected, tmp_path):
    miniature, _ = made(name, tmp_path)
    dataset = dcv.datasets.read(miniature.layout, tmp_path, names=names)
    assert dataset.names[place][: len(expected)] == expected and len(dataset.names) == len(dataset.classes)


def test_names_of_one_s_own_come_from_a_file_or_a_list(tmp_path):
    made("folder", tmp_path)
    file = tmp_path / "mine.txt"
    file.write_text("sky; wall\nan oak, tall\na car\n", encoding="utf-8")
    expected = (("sky", "wall"), ("an oak, tall",), ("a car",))
    assert dcv.datasets.read("folder", tmp_path, names=file).names == expected
    assert dcv.datasets.read("folder", tmp_path, names=str(file)).names == expected
    assert dcv.datasets.read("folder", tmp_path, names=["sky, wall", "oak", "car"]).names[0] == ("sky", "wall")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sky", "tree"], "names has 2 lines. Expected 3, from 'ground' to 'a car'"),
        (["sky, ,", "tree", "car"], "Line 1 of names"),
        (["sky, sky", "tree", "car"], "Line 1 of names"),
        ("sclip", "none for these classes"),
        ("nowhere.txt", "nowhere.txt cannot be read"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message, tmp_path):
    made("folder", tmp_path)
    with pytest.raises(PromptError, match=message):
        dcv.datasets.read("folder", tmp_path, names=names)


def test_a_layout_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(DatasetError, match="no layout 'voc'. Expected one of voc20, voc21"):
        dcv.datasets.read("voc", ".")


def test_the_bundled_world_says_what_data_sets_say():
    scenes = dcv.toyworld.dataset(2, "test", size=64)
    assert scenes.name == "toyworld" and scenes.background is None
    assert [names[0] for names in scenes.names] == list(scenes.classes)
