"""Masks that cannot be read: the image is left out by name, as one that cannot be read itself, and nothing is lost."""

import numpy as np
import pytest
from contests import PROMPTS, blobs, images
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.clip import tracing
from denseclip_viz.errors import ImageError


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


@pytest.fixture
def folder(tmp_path):
    """Seven scenes on disk of which one has a broken mask."""
    place = dcv.toyworld.export(tmp_path / "toy", 7, size=64)
    dataset = dcv.datasets.read("folder", place)
    dataset.items[2].truth.write_bytes(b"no image")
    return dataset


def masks_of(image):
    if image[0, 0, 0] == images(4)[1][0, 0, 0]:
        raise ImageError("masks of the second", expected="a file", fix="Mend it.")
    return blobs(image)


def test_an_image_whose_mask_cannot_be_read_is_left_out_and_its_batch_is_cut_as_if_it_were_broken_itself(
    tiny, folder, tmp_path, monkeypatch
):
    passes, plain = [], tracing.run
    monkeypatch.setattr(tracing, "run", lambda *given: (passes.append(len(given[1])), plain(*given))[1])
    store, name = tmp_path / "store", folder.items[2].name
    options = {"path": ["value"], "batch_size": 3, "progress": False}
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"Left out: .*{folder.items[2].truth.name} cannot be read") as warned:
            measured = dcv.measure.evaluate_segmentation(tiny, folder, store=store, **options)
        assert measured.attrs["unread"] == [name] and measured.sizes["image"] == 6
        assert [one.filename for one in warned] == [__file__]
    assert passes == [2, 3, 1], "all others were measured, once"
    folder.items[2].image.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="Left out"):
        other = dcv.measure.evaluate_segmentation(tiny, folder, **options)
    assert passes == 2 * [2, 3, 1] and np.array_equal(other.confusion, measured.confusion)


@pytest.mark.slow  # a worker process that loads a model
def test_workers_leave_it_out_too(tiny, folder):
    options = {"path": ["value"], "batch_size": 3, "progress": False, "unreadable": lambda *_: None}
    here, there = (dcv.measure.evaluate_segmentation(tiny, folder, engine=engine, **options) for engine in (None, 1))
    assert np.array_equal(here.confusion, there.confusion) and there.attrs["unread"] == [folder.items[2].name]


def test_a_ranking_goes_on_without_masks_that_a_function_cannot_read(tiny):
    named = []
    ranking = dcv.measure.rank_templates(
        tiny, images(4), PROMPTS, masks_of, progress=False, unreadable=lambda image, error: named.append(str(error))
    )
    assert ranking.scores.sizes["image"] == 3 and len(named) == 1 and "masks of the second" in named[0]


def test_a_mask_that_was_mended_or_broken_since_is_another_question(tiny, folder, tmp_path):
    options = {"progress": False, "store": tmp_path / "store", "unreadable": lambda *_: None}
    dcv.measure.evaluate_segmentation(tiny, folder, **options)
    folder.items[4].truth.write_bytes(b"no image")
    with pytest.raises(dcv.DenseclipVizError, match="image number 4, or other masks"):
        dcv.measure.evaluate_segmentation(tiny, folder, **options)


def test_masks_are_read_when_they_are_asked_for_and_once(folder):
    read = []
    example = dcv.datasets.Example("one", "one.png", labels=lambda: read.append(1) or np.zeros((2, 2), np.int16))
    (other,) = dcv.datasets.example.examples([example])
    assert not read and other.labels.shape == other.labels.shape == (2, 2) and len(read) == 1
    assert folder[2].name == folder.items[2].name
    with pytest.raises(ImageError, match="cannot be read"):
        _ = folder[2].labels
    noisy = dcv.datasets.corrupted(folder, "gaussian_noise", 1)
    assert noisy[2].image.shape == (64, 64, 3) and len(list(noisy)) == 7


def test_an_id_that_is_no_class_leaves_its_image_out_by_the_name_of_its_file(tiny, folder):
    wrong = np.full((64, 64), 200, np.uint8)
    Image.fromarray(wrong).save(folder.items[5].truth)
    errors = []
    options = {"progress": False, "unreadable": lambda image, error: errors.append(str(error))}
    measured = dcv.measure.evaluate_segmentation(tiny, folder, **options)
    assert measured.sizes["image"] == 5 and folder.items[5].truth.name in errors[1] and "id 200" in errors[1]
