"""A few pixels of each published data set, laid out in its folder as a user has it, and what its labels are.

What ids mean is written here anew, from each data set's own documents, pixel by pixel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (5, 7)
VOC, CONTEXT = list(range(21)), list(range(60))
# cocodataset/cocostuff labels.txt, counted from 1: these of 182 numbers are of no label.
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
COCO = [number - 1 for number in range(1, 183) if number not in COCO_GAPS]
CITY = dict(zip([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], range(19), strict=True))


def background_ignored(raw):
    return -1 if raw in (0, 255) else raw - 1


def as_it_is(raw):
    return -1 if raw == 255 else raw


def stuff(raw):
    return -1 if raw == 255 else COCO.index(raw)


def things(raw):
    return 0 if raw == 255 or COCO.index(raw) >= 80 else COCO.index(raw) + 1


def train_id(raw):
    return CITY.get(raw, -1)


@dataclass(frozen=True)
class Miniature:
    """Where images and masks of a layout lie, which ids its masks have, and what each means."""

    layout: str
    image: str
    mask: str
    ids: list
    meaning: object
    names: tuple = ("a", "b", "c")
    listed: str = ""
    split: str = "val"
    count: int = 0
    palette: bool = False

    def make(self, root: Path) -> dict[str, np.ndarray]:
        """Write it, and give the ids of each image's mask."""
        raw = {name: pixels(self.ids, seed) for seed, name in enumerate(self.names)}
        for name, mask in raw.items():
            write(root / self.image.format(name), np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
            write(root / self.mask.format(name), mask, palette=self.palette)
        if self.listed:
            (root / self.listed).parent.mkdir(parents=True, exist_ok=True)
            (root / self.listed).write_text("".join(f"{name}\n" for name in self.names))
        return raw


def pixels(ids, seed):
    """A mask that has 255 in it."""
    mask = np.random.default_rng(seed).choice([*ids, 255], SIZE).astype(np.uint8)
    mask[0, :2] = 255, ids[-1]
    return mask


def write(file, array, palette=False):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = Image.frombytes("P", image.size, array.tobytes())
        image.putpalette([(7 * value) % 256 for value in range(768)])
    image.save(file)


def voc(layout, meaning, mask="SegmentationClass", **more):
    lists = "ImageSets/Segmentation/{}.txt".format(more.get("split", "val"))
    count = 20 if meaning is background_ignored else 21
    files = "JPEGImages/{}.jpg", f"{mask}/{{}}.png"
    return Miniature(layout, *files, VOC, meaning, listed=lists, palette=True, count=count, **more)


def context(layout, meaning, count):
    folders = "JPEGImages/{}.jpg", "SegmentationClassContext/{}.png"
    return Miniature(layout, *folders, CONTEXT, meaning, listed="ImageSets/SegmentationContext/val.txt", count=count)


def coco(layout, mask, ids, meaning, count, images="images/val2017"):
    names = ("000000000139", "000000000285", "000000000632")
    return Miniature(layout, images + "/{}.jpg", mask + ".png", ids, meaning, names, count=count)


def city(mask, ids, meaning):
    names = tuple(f"frankfurt/frankfurt_000000_00{at}294" for at in range(2)) + ("munster/munster_000001_000019",)
    files = "leftImg8bit/val/{}_leftImg8bit.png", f"gtFine/val/{{}}_gtFine_{mask}.png"
    return Miniature("cityscapes", *files, ids, meaning, names, count=19)


RAW, TRAIN, OBJECT = "annotations/val2017/{}", "annotations/val2017/{}_labelTrainIds", "_instanceTrainIds"
MINIATURES = {
    "voc20": voc("voc20", background_ignored),
    "voc21": voc("voc21", as_it_is),
    "voc20aug": voc("voc20aug", background_ignored, "SegmentationClassAug", split="trainaug"),
    "voc21aug": voc("voc21aug", as_it_is, "SegmentationClassAug", split="trainaug"),
    "context59": context("context59", background_ignored, 59),
    "context60": context("context60", as_it_is, 60),
    "coco-stuff, pixel maps": coco("coco-stuff", RAW, COCO, stuff, 171),
    "coco-stuff, converted": coco("coco-stuff", TRAIN, list(range(171)), as_it_is, 171),
    "coco-stuff, unpacked elsewhere": coco("coco-stuff", "stuffthingmaps/val2017/{}", COCO, stuff, 171, "val2017"),
    "coco-object, pixel maps": coco("coco-object", RAW, COCO, things, 81),
    "coco-object, converted": coco("coco-object", RAW + OBJECT, list(range(81)), as_it_is, 81),
    "ade150": Miniature(
        "ade150", "images/validation/{}.jpg", "annotations/validation/{}.png", list(range(151)), background_ignored,
        ("ADE_val_00000001", "ADE_val_00000002"), count=150,
    ),
    "cityscapes, labelIds": city("labelIds", list(range(34)), train_id),
    "cityscapes, labelTrainIds": city("labelTrainIds", list(range(19)), as_it_is),
    "folder": Miniature("folder", "images/{}.png", "masks/{}.png", [0, 1, 2], as_it_is, split=None, count=3),
}  # fmt: skip


def made(name, root):
    """Make a miniature; give what it is and its masks' ids."""
    miniature = MINIATURES[name]
    raw = miniature.make(root)
    if name == "folder":
        (root / "classes.txt").write_text("ground, soil\ntree\na car, an automobile\n")
    return miniature, raw


def instances(root):
    """COCO's JSON of two images: polygons, both kinds of RLE, a crowd, and two things that lie over each other."""
    height, width = SIZE
    # By columns, as COCO counts: column 5, and columns 0 and 1 less their first rows.
    plain = {"size": [height, width], "counts": [5 * height, height, height]}
    crowd = {"size": [height, width], "counts": [1, height - 1, 1, height - 1, (width - 2) * height]}
    square = [[1, 1, 4, 1, 4, 4, 1, 4]]
    annotations = [
        {"id": 1, "image_id": 11, "category_id": 3, "iscrowd": 0, "segmentation": square},
        {"id": 2, "image_id": 11, "category_id": 90, "iscrowd": 0, "segmentation": [[3, 3, 6, 3, 6, 5, 3, 5]]},
        {"id": 3, "image_id": 11, "category_id": 3, "iscrowd": 0, "segmentation": plain},
        {"id": 4, "image_id": 11, "category_id": 3, "iscrowd": 1, "segmentation": crowd},
    ]
    images = [{"id": number, "file_name": f"{number:012}.jpg", "height": height, "width": width} for number in (11, 12)]
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}]
    for each in images:
        write(root / "val2017" / each["file_name"], np.zeros((*SIZE, 3), np.uint8))
    save(root, {"images": images, "annotations": annotations, "categories": categories})
    expected = np.zeros(SIZE, int)
    expected[1:4, 1:4] = 1
    expected[3:5, 3:6] = 2
    expected[3, 3] = -1  # a car and a toothbrush
    expected[:, 5] = np.where(expected[:, 5] == 2, -1, 1)
    for column in (0, 1):
        expected[1:, column] = np.where(expected[1:, column] == 0, -1, expected[1:, column])
    return {"000000000011": expected, "000000000012": np.zeros(SIZE, int)}


def save(root, parsed):
    file = root / "annotations/instances_val2017.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(parsed))
