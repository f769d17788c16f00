"""A label image: numbers that come back, colours of the figure, names in its text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import denseclip_viz as dcv


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
