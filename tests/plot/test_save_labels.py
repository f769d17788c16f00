"""A label image: numbers that come back, colours of the figure, names in its text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.plot.coco_rle import encode


@pytest.fixture(scope="module")
def wide():
    """A segmentation of an image whose ends the model's own crop leaves out."""
    image = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    return dcv.load(device="cpu").segment(image, ["a taxi", "grass", "a road"], background=["grass"])


def test_background_labels_and_the_unseen_have_numbers_of_their_own(wide, tmp_path):
    numbers = np.array(Image.open(dcv.plot.save_labels(wide, tmp_path / "labels.png")))
    seen = np.isfinite(wide.probability.values)
    assert not seen.all() and (numbers[~seen] == 255).all()
    assert (numbers[seen].astype(int) - 1 == wide.labels.values[seen]).all() and 2 not in numbers


def test_colours_are_those_of_the_figure(wide, tmp_path):
    written = Image.open(dcv.plot.save_labels(wide, tmp_path / "labels.png"))
    palette = np.array(written.getpalette("RGB")).reshape(-1, 3)
    first = np.round(np.array(dcv.plot.scales.label_colour(0)) * 255)
    assert palette[0].tolist() == [0, 0, 0] and palette[1].tolist() == first.tolist()
    assert json.loads(written.text["labels"])["3"] == "a road" and "best prompt is grass" in written.text["background"]


def test_what_is_no_segmentation_and_what_has_too_many_labels_is_refused(wide, tmp_path):
    with pytest.raises(dcv.DenseclipVizError, match=r"model\.segment"):
        dcv.plot.save_labels(wide.drop_vars("labels"), tmp_path / "labels.png")
    many = wide.drop_dims("label").assign_coords(label=[str(number) for number in range(255)])
    with pytest.raises(dcv.DenseclipVizError, match="at most 254"):
        dcv.plot.save_labels(many, tmp_path / "labels.png")
    assert list(tmp_path.iterdir()) == []


def test_voc_colours_are_those_of_its_masks(wide, tmp_path):
    written = Image.open(dcv.plot.save_labels(wide, tmp_path / "labels.png", palette="voc"))
    palette = np.array(written.getpalette("RGB")).reshape(-1, 3)
    # aeroplane, bicycle, car, person, tv monitor, and what is not counted, as in VOCdevkit's files
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {at: tuple(palette[at].tolist()) for at in known} == known and palette[255].tolist() == [224, 224, 192]
    assert np.array_equal(np.array(written), np.array(Image.open(dcv.plot.save_labels(wide, tmp_path / "own.png"))))
    with pytest.raises(dcv.DenseclipVizError, match="palette='ade'.*own, voc"):
        dcv.plot.save_labels(wide, tmp_path / "third.png", palette="ade")


def test_masks_come_back_from_cocos_json(wide, tmp_path):
    from pycocotools import mask as coco

    content = json.loads(dcv.plot.save_labels(wide, tmp_path / "labels.json").read_text())
    assert [each["name"] for each in content["categories"]] == ["a taxi", "grass", "a road"]
    assert content["images"][0]["height"] == 40 and content["images"][0]["width"] == 90
    back = np.full((40, 90), -1)
    for each in content["annotations"]:
        mask = np.asarray(coco.decode(each["segmentation"])) > 0
        assert each["area"] == mask.sum() and each["bbox"] == coco.toBbox(each["segmentation"]).tolist()
        back[mask] = each["category_id"] - 1
    assert np.array_equal(back, wide.labels.values)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]))
def test_runs_are_written_as_coco_writes_them(rows, columns, seed, share):
    from pycocotools import mask as coco

    mask = np.kron(np.random.default_rng(seed).random((rows, columns)) < share, np.ones((1 + seed % 9, 1))).astype(bool)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode(mask) == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}


def test_labels_of_windows_kept_apart_are_drawn_and_kept_all_of_them_seen(tmp_path):
    model, image = dcv.load(device="cpu"), np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    where = dcv.Tiles(window=64, overlap=0.5, apart=True)
    found = model.segment(model.trace(image, geometry=where), ["a taxi", "grass"])
    numbers = np.array(Image.open(dcv.plot.save_labels(found, tmp_path / "labels.png")))
    assert np.array_equal(numbers, found.labels + 1) and 255 not in numbers
    drawn = [text.get_text() for text in dcv.plot.segments(found).texts]
    assert {"a taxi", "grass"} & set(drawn) and not [text for text in drawn if "not see" in text]
    with pytest.raises(dcv.DenseclipVizError, match="keep_attrs"):
        dcv.plot.segments(found.drop_attrs())
