"""The folders of published data sets, as data: where images and masks lie, what their ids mean, how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from denseclip_viz.datasets.name_lists import LISTS, published
from denseclip_viz.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

Ids = tuple[int | None, ...]
"""What each id of a mask's pixels means: a place in the classes, negative: ignored, None: no id of this data set.

An id of 255 that is beyond the end is ignored; any other there is none of this data set.
"""
IGNORED = -1


@dataclass(frozen=True)
class MaskFiles:
    """Masks: `folder/NAME + suffix` belongs to the image NAME, and its pixels are ids; `{split}` is the split's word.

    Without ids they are the classes' places.
    """

    folder: str
    suffix: str = ".png"
    ids: Ids = ()


@dataclass(frozen=True)
class Layout:
    """How a data set lies in a folder.

    Attributes:
        name: What it is called here.
        title: What it is called elsewhere.
        images: Folders of which the first that is there has the images; `{split}` is the split's word.
        masks: Of each image, the first of these that is there counts.
        suffix: How images end; `""` for any that can be read.
        list_file: Names the images of a split, one a line; `""`: all in the folder.
        annotations: Instances as JSON in place of masks; `""` for none.
        splits: The word of each split, and how many images were published.
        names: The class list (`prompts.class_list`) that its classes follow; `""`: what the folder says.
        background: Whether class 0 is all the rest.
        source: What this is known from.
        advice: What to do where masks are not there or of another kind.
    """

    name: str
    title: str
    images: tuple[str, ...]
    masks: tuple[MaskFiles, ...] = ()
    suffix: str = ".jpg"
    list_file: str = ""
    annotations: str = ""
    splits: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    names: str = ""
    background: bool = False
    source: str = ""
    advice: str = "Name each mask as its image is named."

    @property
    def classes(self) -> tuple[str, ...]:
        """List the classes; none where the folder says them."""
        return published("maskclip", self.names, self.background) or () if self.names else ()

    def word(self, split: str) -> str:
        """Give what a split is called in folders."""
        return self.splits.get(split, (split, 0))[0]

    def choices(self, split: str) -> list[tuple[str, ...]]:
        """List what must lie in the folder, each with all places where it may be."""
        every = (self.images, [masks.folder for masks in self.masks], [self.list_file], [self.annotations])
        named = [[place.format(split=self.word(split)).rstrip("/") for place in each if place] for each in every]
        return [tuple(dict.fromkeys(each)) for each in named if each]

    def places(self, split: str) -> str:
        """Say what must lie in the folder."""
        return ", ".join(" or ".join(each) for each in self.choices(split))


def reduced(count: int) -> Ids:
    """Give the ids of masks whose 0 is no class and ignored.

    Example:
        >>> reduced(3)
        (-1, 0, 1, 2)
    """
    return (IGNORED, *range(count))


# 182 numbers of COCO and COCO-Stuff, less one, of which these name no class.
_NO_STUFF = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
_STUFF_IDS = [raw for raw in range(182) if raw not in _NO_STUFF]
_STUFF: Ids = tuple(_STUFF_IDS.index(raw) if raw in _STUFF_IDS else None for raw in range(182))
# Things keep their order, after the background, which is all stuff and what is unlabelled.
_OBJECT: Ids = (*(None if at is None else at + 1 if at < 80 else 0 for at in _STUFF), *(None,) * 73, 0)
_CITY_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITY: Ids = tuple(_CITY_IDS.index(raw) if raw in _CITY_IDS else IGNORED for raw in range(34))

_MMSEG = "mmsegmentation docs/en/user_guides/2_dataset_prepare.md"
_VOC_COUNTS = {"val": ("val", 1449), "train": ("train", 1464), "trainval": ("trainval", 2913)}
_AUG_COUNTS = {**_VOC_COUNTS, "trainaug": ("trainaug", 10582), "aug": ("aug", 9118)}
_CONTEXT_COUNTS = {"val": ("val", 5105), "train": ("train", 4998)}
_COCO_COUNTS = {"val": ("val2017", 5000), "train": ("train2017", 118287)}
_ADE_COUNTS = {"val": ("validation", 2000), "train": ("training", 20210)}
_CITY_COUNTS = {"val": ("val", 500), "train": ("train", 2975)}
_VOC_ADVICE = "Take the PNG files of SegmentationClass as they were published: they have a palette."
_AUG_ADVICE = (
    "Its .mat files are the originals: convert them with mmsegmentation's tools/dataset_converters/voc_aug.py."
)
_CONTEXT_ADVICE = (
    "Its .mat files and trainval_merged.json are the originals, of 459 names: convert them with mmsegmentation's"
    " tools/dataset_converters/pascal_context.py."
)
_STUFF_ADVICE = "Unpack stuffthingmaps_trainval2017.zip into annotations/."


def _voc(*, background: bool, augmented: bool = False) -> Layout:
    ids = () if background else reduced(20)
    folders = ("SegmentationClass", "SegmentationClassAug")[: 1 + augmented]  # as mmsegmentation: its own masks first
    return Layout(
        f"voc{20 + background}{'aug' * augmented}",
        f"PASCAL VOC 2012{' and SBD' * augmented}, background {'a class' if background else 'ignored'}",
        ("JPEGImages",),
        tuple(MaskFiles(folder, ids=ids) for folder in folders),
        list_file="ImageSets/Segmentation/{split}.txt",
        splits=_AUG_COUNTS if augmented else _VOC_COUNTS,
        names="voc20",
        background=background,
        source=f"{_MMSEG}; {'tools/dataset_converters/voc_aug.py' if augmented else 'counts: its development kit'}",
        advice=_AUG_ADVICE if augmented else _VOC_ADVICE,
    )


def _context(name: str, ids: Ids) -> Layout:
    return Layout(
        name,
        f"Pascal Context, {'59 classes' if ids else '59 classes and background'}",
        ("JPEGImages",),
        (MaskFiles("SegmentationClassContext", ids=ids),),
        list_file="ImageSets/SegmentationContext/{split}.txt",
        splits=_CONTEXT_COUNTS,
        names="context59",
        background=not ids,
        source=f"{_MMSEG}; counts: Mottaghi et al., CVPR 2014",
        advice=_CONTEXT_ADVICE,
    )


def _coco(name: str, title: str, converted: str, ids: Ids, *, background: bool) -> Layout:
    raw = tuple(MaskFiles(f"{folder}/{{split}}", ids=ids) for folder in ("annotations", "stuffthingmaps"))
    return Layout(
        name,
        title,
        ("images/{split}", "{split}"),
        (MaskFiles("annotations/{split}", converted), *raw),
        splits=_COCO_COUNTS,
        names="coco-object80" if background else "coco-stuff171",
        background=background,
        source=f"{_MMSEG}; wangf3014/SCLIP datasets/cvt_coco_object.py" if background else _MMSEG,
        advice=_STUFF_ADVICE,
    )


LAYOUTS = {
    layout.name: layout
    for layout in (
        _voc(background=False),
        _voc(background=True),
        _voc(background=False, augmented=True),
        _voc(background=True, augmented=True),
        _context("context59", reduced(59)),
        _context("context60", ()),
        _coco("coco-stuff", "COCO-Stuff 164k", "_labelTrainIds.png", _STUFF, background=False),
        _coco("coco-object", "COCO-Object", "_instanceTrainIds.png", _OBJECT, background=True),
        Layout(
            "ade150",
            "ADE20K, the 150 classes of the scene parsing challenge",
            ("images/{split}",),
            (MaskFiles("annotations/{split}", ids=reduced(150)),),
            splits=_ADE_COUNTS,
            names="ade150",
            source=f"{_MMSEG}; counts: Zhou et al., CVPR 2017",
            advice="Take ADEChallengeData2016.zip: the full data set's masks are colours.",
        ),
        Layout(
            "cityscapes",
            "Cityscapes, fine labels",
            ("leftImg8bit/{split}",),
            (
                MaskFiles("gtFine/{split}", "_gtFine_labelTrainIds.png"),
                MaskFiles("gtFine/{split}", "_gtFine_labelIds.png", _CITY),
            ),
            suffix="_leftImg8bit.png",
            splits=_CITY_COUNTS,
            names="cityscapes19",
            source="mcordts/cityscapesScripts helpers/labels.py at 0bcc4a7",
            advice="Take gtFine_trainvaltest.zip: …_labelIds.png or …_labelTrainIds.png, and no …_color.png.",
        ),
        Layout(
            "coco-json",
            "COCO instances, polygons and RLE",
            ("images/{split}", "{split}"),
            annotations="annotations/instances_{split}.json",
            suffix="",
            splits=_COCO_COUNTS,
            background=True,
            source="cocodataset.org/#format-data",
            advice="Write each instance's segmentation as polygons or RLE.",
        ),
        Layout(
            "folder",
            "Images and index masks, classes.txt beside them",
            ("images/{split}",),
            (MaskFiles("masks/{split}"),),
            suffix="",
            source="denseclip-viz toyworld export",
        ),
    )
}


def layout_named(layout: str | Layout) -> Layout:
    """Find a layout by its name.

    Raises:
        DatasetError: there is none.

    Example:
        >>> layout_named("voc21").places("val")
        'JPEGImages, SegmentationClass, ImageSets/Segmentation/val.txt'
    """
    if isinstance(layout, Layout):
        return layout
    if layout not in LAYOUTS:
        fix = "dcv.datasets.layouts() lists what each has in its folder."
        raise DatasetError(f"There is no layout {layout!r}", expected=f"one of {', '.join(LAYOUTS)}", fix=fix)
    return LAYOUTS[layout]


def layouts() -> pd.DataFrame:
    """List the data sets that `read` knows, with what lies in their folders.

    Returns:
        A row a layout: its name and title, how many classes there are (0: the folder says), whether one is the
        background, what must lie in the folder, the splits with the published number of images, the published lists
        of names, and the source of all that. The paper's preset goes with the names "maskclip", the presets of SCLIP
        and NACLIP with "sclip".

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.datasets.layouts().set_index("name").loc[["voc21", "ade150"], ["classes", "background", "images"]]
                classes  background                               images
        name
        voc21        21        True  val 1449, train 1464, trainval 2913
        ade150      150       False                val 2000, train 20210
    """
    import pandas as pd

    rows = [
        {
            "name": each.name,
            "title": each.title,
            "classes": len(each.classes),
            "background": each.background,
            "folder": each.places("val" if each.splits else ""),
            "images": ", ".join(f"{name} {count}" for name, (_, count) in each.splits.items()),
            "names": ", ".join(x for x in LISTS if each.names and published(x, each.names, each.background)),
            "source": each.source,
        }
        for each in LAYOUTS.values()
    ]
    table: pd.DataFrame = pd.DataFrame(rows)
    return table
