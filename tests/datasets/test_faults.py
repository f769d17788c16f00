"""A fault planted in each miniature is named with its file, before anything runs."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from miniatures import SIZE, instances, made, save, write
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.errors import DatasetError, ImageError

MASK = np.zeros(SIZE, np.uint8)


def remove(file):
    return lambda root: (root / file).unlink()


def put(file, array):
    return lambda root: write(root / file, array)


def text(file, words):
    return lambda root: (root / file).write_text(words)


def cut(file):
    return lambda root: (root / file).write_bytes((root / file).read_bytes()[:60])


def move(old, new):
    return lambda root: shutil.move(root / old, root / new)


def turned(root):
    """The camera lay on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = root / "JPEGImages/a.jpg"
    Image.open(file).save(file, exif=exif)


VOC, CONTEXT = "ImageSets/Segmentation/val.txt", "SegmentationClassContext"
COCO, CITY = "annotations/val2017/000000000139", "gtFine/val/munster/munster_000001_000019_gtFine"
PLANTED = {
    # miniature, fault, file, what is said of it; whether it is known without opening files
    "an image that the list names": ("voc20", remove("JPEGImages/b.jpg"), "JPEGImages/b.jpg", "is missing", True),
    "a mask that the list names": ("voc21", remove("SegmentationClass/b.png"), "SegmentationClass/b.png",
        "is missing; it is the mask of b", True),
    "a name too many in the list": ("voc21", text(VOC, "a\nz\n"), "JPEGImages/z.jpg",
        "is missing, and so is its mask, and ImageSets/Segmentation/val.txt names it", True),
    "a name twice in the list": ("voc21", text(VOC, "a\nb\na\n"), VOC, "names a twice", True),
    "a list that is no text": ("voc21", lambda root: (root / VOC).write_bytes(b"\xff\xfe"), VOC, "not UTF-8", True),
    "an empty list": ("voc21", text(VOC, "\n"), VOC, "names no image", True),
    "a mask in colours": ("voc21", put("SegmentationClass/a.png", np.zeros((*SIZE, 3), np.uint8)),
        "SegmentationClass/a.png", "is an image in mode RGB", False),
    "a mask of another data set": ("voc21", put("SegmentationClass/a.png", MASK + 59), "SegmentationClass/a.png",
        "has the id 59, which is no class", False),
    "an image on its side": ("voc21", turned, "SegmentationClass/a.png",
        "is 5 x 7 pixels, its image a.jpg is 7 x 5, which its EXIF tag turns", False),
    "a mask of SBD": ("voc20aug", remove("SegmentationClassAug/b.png"), "SegmentationClass/b.png", "is missing", True),
    "a broken mask of SBD": ("voc21aug", cut("SegmentationClassAug/c.png"), "SegmentationClassAug/c.png",
        "cannot be read", False),
    "a mask of Context": ("context59", put(f"{CONTEXT}/a.png", MASK + 60), f"{CONTEXT}/a.png",
        "has the id 60, which is no class", False),
    "the masks of Context": ("context60", move(CONTEXT, "trainval"), CONTEXT, "is missing", True),
    "a mask of another size": ("context60", put(f"{CONTEXT}/a.png", MASK.T.copy()), f"{CONTEXT}/a.png",
        "is 7 x 5 pixels, its image a.jpg is 5 x 7$", False),
    "an id that names no stuff": ("coco-stuff, pixel maps", put(f"{COCO}.png", MASK + 11), f"{COCO}.png",
        "has the id 11, which is no class", False),
    "an image of stuff": ("coco-stuff, converted", remove("images/val2017/000000000139.jpg"),
        "images/val2017/000000000139.jpg", "is missing, but its mask .*_labelTrainIds.png is there", True),
    "one of many conversions": ("coco-stuff, converted", remove(f"{COCO}_labelTrainIds.png"),
        f"{COCO}_labelTrainIds.png", "is missing, and so is 000000000139.png", True),
    "a stray mask elsewhere": ("coco-stuff, unpacked elsewhere", put("stuffthingmaps/val2017/7.png", MASK),
        "val2017/7.jpg", "is missing, but its mask", True),
    "an id that is no object": ("coco-object, pixel maps", put(f"{COCO}.png", MASK + 200), f"{COCO}.png",
        "has the id 200", False),
    "a conversion to other ids": ("coco-object, converted", put(f"{COCO}_instanceTrainIds.png", MASK + 90),
        f"{COCO}_instanceTrainIds.png", "has the id 90", False),
    "ids of the full ADE20K": ("ade150", put("annotations/validation/ADE_val_00000001.png", MASK + 151),
        "annotations/validation/ADE_val_00000001.png", "has the id 151", False),
    "a cut image": ("ade150", cut("images/validation/ADE_val_00000002.jpg"),
        "images/validation/ADE_val_00000002.jpg", "", False),
    "a mask of a city": ("cityscapes, labelIds", move(f"{CITY}_labelIds.png", f"{CITY}_color.png"),
        f"{CITY}_labelTrainIds.png", "is missing, and so is munster_000001_000019_gtFine_labelIds.png", True),
    "an id beyond the license plate": ("cityscapes, labelIds", put(f"{CITY}_labelIds.png", MASK + 34),
        f"{CITY}_labelIds.png", "has the id 34", False),
    "labelIds called labelTrainIds": ("cityscapes, labelTrainIds", put(f"{CITY}_labelTrainIds.png", MASK + 33),
        f"{CITY}_labelTrainIds.png", "has the id 33", False),
    "two images of one name": ("folder", put("images/a.jpg", np.zeros((*SIZE, 3), np.uint8)), "images/a.png",
        "has the name of .*a.jpg", True),
    "no classes": ("folder", remove("classes.txt"), "classes.txt", "cannot be read", True),
    "a class without a name": ("folder", text("classes.txt", "sky\n\ncar\n"), "classes.txt", "says nothing", True),
    "no images at all": ("folder", lambda root: [shutil.rmtree(root / kind) or (root / kind).mkdir()
        for kind in ("images", "masks")], "images", "holds no images", True),
}  # fmt: skip


def faults(name, root):
    miniature, _ = made(name, root / "data")
    return miniature, lambda: dcv.datasets.check(miniature.layout, root / "data", miniature.split, progress=False)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_named_with_its_file(planted, tmp_path):
    name, plant, file, message, cheap = PLANTED[planted]
    miniature, check = faults(name, tmp_path)
    assert check().empty
    plant(tmp_path / "data")
    table = check()
    assert table["file"].tolist() == [file]
    assert re.search(message, table["fault"][0]) and table["fix"][0].endswith(".")
    if cheap:
        with pytest.raises(DatasetError, match=f"has 1 fault: {re.escape(file)} "):
            dcv.datasets.read(miniature.layout, tmp_path / "data", miniature.split)
    else:
        assert len(dcv.datasets.read(miniature.layout, tmp_path / "data", miniature.split))


def test_a_mask_that_was_not_checked_is_refused_when_it_is_asked_for(tmp_path):
    made("voc21", tmp_path)
    write(tmp_path / "SegmentationClass/b.png", MASK + 59)
    dataset = iter(dcv.datasets.read("voc21", tmp_path))
    assert next(dataset).labels is not None
    unchecked = next(dataset)
    for _ in range(2):
        with pytest.raises(ImageError, match=r"b.png has the id 59, which is no class. Expected ids from 0 to 20"):
            _ = unchecked.labels


@pytest.mark.parametrize("inside", [".", "VOCdevkit", "VOCdevkit/VOC2012/JPEGImages"])
def test_a_folder_too_high_or_too_low_is_told_where_it_seems_to_be(inside, tmp_path):
    root = tmp_path / "VOCdevkit/VOC2012"
    made("voc21", root)
    with pytest.raises(DatasetError, match=re.escape(f"It seems to be in {root.resolve()}: pass that.")):
        dcv.datasets.read("voc21", tmp_path / inside)


def test_the_originals_of_context_and_sbd_are_told_how_they_are_converted(tmp_path):
    (tmp_path / "trainval").mkdir()
    (tmp_path / "trainval/2008_000002.mat").write_bytes(b"MATLAB")
    for layout, script in (("context59", "pascal_context.py"), ("voc21aug", "voc_aug.py")):
        with pytest.raises(DatasetError, match=rf"\.mat files.*{script}"):
            dcv.datasets.read(layout, tmp_path)


def test_a_split_that_is_not_there_is_told_which_are(tmp_path):
    made("voc21", tmp_path / "voc")
    made("ade150", tmp_path / "ade")
    with pytest.raises(DatasetError, match=r"Segmentation/test.txt is missing.*Splits there: val\."):
        dcv.datasets.read("voc21", tmp_path / "voc", "test")
    with pytest.raises(DatasetError, match=r"images/test is missing.*Splits there: val, train\."):
        dcv.datasets.read("ade150", tmp_path / "ade", "test")


def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path, monkeypatch):
    made("voc21", tmp_path)
    plain = os.scandir

    def scandir(folder):
        if str(folder).endswith("JPEGImages"):
            raise PermissionError(13, "Permission denied", str(folder))
        return plain(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    table = dcv.datasets.check("voc21", tmp_path, progress=False)
    assert table[["file", "fault"]].values.tolist() == [["JPEGImages", "cannot be looked into (Permission denied)"]]


def test_a_file_in_the_place_of_a_folder_is_none(tmp_path):
    made("voc21", tmp_path)
    shutil.rmtree(tmp_path / "JPEGImages")
    (tmp_path / "JPEGImages").write_text("a link that Git has checked out as text")
    assert dcv.datasets.check("voc21", tmp_path)["fault"].tolist() == ["is missing"]


def test_of_many_faults_the_first_ten_are_listed_and_the_rest_counted(tmp_path):
    made("voc21", tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("".join(f"{at:03}\n" for at in range(13)))
    with pytest.raises(DatasetError, match="has 13 faults: ") as error:
        dcv.datasets.read("voc21", tmp_path)
    assert str(error.value).count("is missing") == 10 and "; and 3 more." in str(error.value)


def spoil(**changes):
    def plant(root):
        file = root / "annotations/instances_val2017.json"
        parsed = json.loads(file.read_text())
        parsed["annotations"][0] |= changes
        save(root, parsed)

    return plant


def add(kind, **entry):
    def plant(root):
        file = root / "annotations/instances_val2017.json"
        parsed = json.loads(file.read_text())
        parsed[kind].append(entry)
        save(root, parsed)
        if kind == "images":
            write(root / "val2017" / entry["file_name"], np.zeros((*SIZE, 3), np.uint8))

    return plant


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (add("images", id=12, file_name="a.png", height=SIZE[0], width=SIZE[1]),
         "has two images of id 12: 000000000012.jpg and a.png"),
        (add("images", id=12, file_name="000000000012.jpg", height=SIZE[0], width=SIZE[1]),
         "has two images of id 12: 000000000012.jpg and 000000000012.jpg"),
        (add("images", id=13, file_name="000000000012.png", height=SIZE[0], width=SIZE[1]),
         "has two images named 000000000012: 000000000012.jpg and 000000000012.png"),
        (add("images", id=13, file_name="000000000012.jpg", height=SIZE[0], width=SIZE[1]),
         "has two images named 000000000012: 000000000012.jpg and 000000000012.jpg"),
        (add("categories", id=3, name="dog"), "has two categories of id 3: car and dog"),
        (add("categories", id=4, name="car"), "has two categories named car: id 3 and id 4"),
        (add("categories", id=4, name="background"),
         "has a category named background, which is the class of pixels of no category"),
    ],
)  # fmt: skip
def test_images_and_categories_of_one_id_or_name_are_no_data_set(plant, message, tmp_path):
    instances(tmp_path)
    plant(tmp_path)
    table = dcv.datasets.check("coco-json", tmp_path, progress=False)
    assert table[["file", "fault"]].values.tolist() == [["annotations/instances_val2017.json", message]]
    assert table["fix"][0].endswith(".")
    with pytest.raises(DatasetError, match="has 1 fault: "):
        dcv.datasets.read("coco-json", tmp_path)


@pytest.mark.parametrize(
    ("plant", "file", "message"),
    [
        (spoil(image_id=99), "annotations/instances_val2017.json", "annotation 1 is of image 99, which is not there"),
        (spoil(category_id=4), "annotations/instances_val2017.json", "annotation 1 is of category 4"),
        (spoil(segmentation=[]), "annotations/instances_val2017.json", "annotation 1 has no segmentation"),
        (spoil(segmentation=[[1, 2]]), "annotations/instances_val2017.json", "segmentation that cannot be read"),
        (spoil(segmentation={"size": [2, 2], "counts": [4]}), "annotations/instances_val2017.json", "of size"),
        (remove("val2017/000000000012.jpg"), "val2017/000000000012.jpg", "is missing, but"),
        (text("annotations/instances_val2017.json", "{"), "annotations/instances_val2017.json", "JSONDecodeError"),
        (lambda root: save(root, {"images": [], "categories": [], "annotations": [7]}),
         "annotations/instances_val2017.json", "AttributeError"),
        (lambda root: save(root, {"images": ["a.jpg"], "categories": [], "annotations": []}),
         "annotations/instances_val2017.json", "TypeError"),
        (text("annotations/instances_val2017.json", "{}"), "annotations/instances_val2017.json", "KeyError"),
        (text("annotations/instances_val2017.json", "[]"), "annotations/instances_val2017.json", "TypeError"),
        (put("val2017/000000000011.jpg", np.zeros((2, 2, 3), np.uint8)), "annotations/instances_val2017.json",
         "is 5 x 7 pixels, its image"),
    ],
)  # fmt: skip
def test_a_fault_in_coco_s_json_is_named(plant, file, message, tmp_path):
    instances(tmp_path)
    plant(tmp_path)
    table = dcv.datasets.check("coco-json", tmp_path, progress=False)
    assert table["file"].tolist() == [file] and message in table["fault"][0]
