"""Corrupted images: the published formulas, the same pixels in any order, and labels as they were."""

import io

import numpy as np
import pytest
from miniatures import made
from PIL import Image
from scipy.ndimage import gaussian_filter

import denseclip_viz as dcv
from denseclip_viz.datasets.corruptions import CORRUPTIONS, corrupt
from denseclip_viz.datasets.spatter import _distances, _relief, edges
from denseclip_viz.errors import DatasetError

IMAGE = np.array(dcv.toyworld.scene(3, 64).image)
GREY = np.full((64, 96, 3), 128, np.uint8)


def mirrored(at, size):
    """The place of a pixel beyond the edge, which is not counted twice."""
    at = abs(at)
    return 2 * (size - 1) - at if at >= size else at


def defocused(image, radius):
    """A disk of so many pixels around each pixel, one pixel at a time, where its edge is not smoothed."""
    out = np.zeros(image.shape)
    around = [(y, x) for y in range(-8, 9) for x in range(-8, 9) if y * y + x * x <= radius**2]
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            for y, x in around:
                out[row, column] += image[mirrored(row + y, image.shape[0]), mirrored(column + x, image.shape[1])]
    return out / len(around)


def test_what_has_no_chance_in_it_is_the_published_formula():
    small = IMAGE[:20, :24]
    assert np.abs(corrupt(small, "defocus_blur", 1, 0) - defocused(small, 3)).max() <= 1 + 1e-9
    blurred = [gaussian_filter(small[..., at] / 255, 4, mode="nearest", truncate=4) for at in range(3)]
    assert np.array_equal(corrupt(small, "gaussian_blur", 4, 0), (np.stack(blurred, -1) * 255).astype(np.uint8))
    stored = io.BytesIO()
    Image.fromarray(small).save(stored, "JPEG", quality=15)
    assert np.array_equal(corrupt(small, "jpeg", 3, 0), np.asarray(Image.open(stored)))


@pytest.mark.parametrize("level", range(1, 6))
def test_noise_has_the_size_that_was_published(level):
    def spread(name):
        return (corrupt(GREY, name, level, 1) / 255).std()

    at = level - 1
    grey, uniform = 128 / 255, (0.08, 0.12, 0.18, 0.26, 0.38)[at]
    if level < 4:  # beyond, black and white cut it off
        assert spread("gaussian_noise") == pytest.approx(uniform, rel=0.03)
        assert spread("shot_noise") == pytest.approx((grey / (60, 25, 12)[at]) ** 0.5, rel=0.05)
        assert spread("speckle_noise") == pytest.approx(grey * (0.15, 0.2, 0.35)[at], rel=0.03)
    hit = corrupt(GREY, "impulse_noise", level, 1)
    assert (hit != 128).mean() == pytest.approx((0.03, 0.06, 0.09, 0.17, 0.27)[at], rel=0.1)
    assert set(np.unique(hit)) == {0, 128, 255} and (hit == 255).sum() == pytest.approx((hit == 0).sum(), rel=0.2)


def test_drops_have_the_edges_and_the_light_that_opencv_gives_them():
    """Numbers of OpenCV 5.0: Canny, distanceTransform, blur, equalizeHist, filter2D, blur."""
    layer = gaussian_filter(np.random.RandomState(0).normal(0.65, 0.3, (64, 96)), 2, mode="nearest", truncate=4)
    layer[layer < 0.68] = 0
    drops = (layer * 255).astype(np.uint8)
    edge = edges(drops)
    lit = drops * _relief(drops)
    assert (edge.sum(), edge.any(0).sum()) == (712, 96)
    assert np.minimum(_distances(edge), 20).sum() == pytest.approx(16655.2, abs=0.1)
    assert (lit.sum(), lit.max(), np.flatnonzero(lit == lit.max()).tolist()) == (20878462, 48450, [6083])


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_higher_level_changes_more_and_keeps_the_size(corruption):
    noisy = [corrupt(IMAGE, corruption, level, 0).astype(float) for level in (1, 3 if corruption == "spatter" else 5)]
    changes = [np.abs(each - IMAGE).mean() for each in noisy]
    assert 0 < changes[0] < changes[1] and noisy[0].shape == IMAGE.shape


def test_mud_hides_what_is_behind_it_and_an_image_without_a_drop_stays():
    muddy = corrupt(GREY, "spatter", 5, 0)
    assert (muddy == np.array([63, 42, 20])).all(-1).any() and (muddy == 128).all(-1).any()
    assert np.array_equal(corrupt(GREY[:1, :1], "spatter", 1, 0), GREY[:1, :1])


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_any_part_in_any_order_gives_the_same_pixels(corruption, tmp_path):
    made("voc21", tmp_path / "here")
    made("voc21", tmp_path / "there")
    clean = dcv.datasets.read("voc21", tmp_path / "here")
    noisy = dcv.datasets.corrupted(clean, corruption, 2)
    whole = [example.image for example in noisy]
    assert np.array_equal(noisy[2].image, whole[2]) and np.array_equal(noisy[-1].image, whole[2])
    assert np.array_equal(next(iter(noisy[1:])).image, whole[1])
    moved = dcv.datasets.corrupted(dcv.datasets.read("voc21", tmp_path / "there"), corruption, 2)
    assert np.array_equal(moved[1].image, whole[1])
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(clean, noisy, strict=True))
    assert (noisy.name, noisy.classes, noisy.names, noisy.background) == ("voc21", clean.classes, clean.names, 0)
    assert noisy.split == f"val, {corruption} 2"
    with pytest.raises(IndexError):
        noisy[3]


def test_images_and_levels_have_chances_of_their_own(tmp_path):
    made("voc21", tmp_path)
    for name in "ab":
        Image.fromarray(GREY[:8, :8]).save(tmp_path / f"JPEGImages/{name}.jpg")
    noisy = dcv.datasets.corrupted(dcv.datasets.read("voc21", tmp_path), "gaussian_noise", 1)
    assert not np.array_equal(noisy[0].image, noisy[1].image)
    scenes = dcv.datasets.corrupted(dcv.toyworld.dataset(3, "test", size=64), "gaussian_noise", 1)
    assert np.array_equal(scenes[2].image, list(scenes)[2].image) and scenes.background is None


def test_an_image_is_corrupted_upright(tmp_path):
    made("voc21", tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IMAGE[:32]).save(tmp_path / "JPEGImages/a.jpg", exif=exif)
    assert dcv.datasets.corrupted(dcv.datasets.read("voc21", tmp_path), "jpeg", 1)[0].image.shape == (64, 32, 3)


def test_what_is_no_corruption_or_level_is_refused():
    scenes = dcv.toyworld.dataset(1, "test", size=64)
    for corruption, level, message in (
        ("fog", 1, "one of gaussian_noise"),
        ("jpeg", 0, "1 to 5"),
        ("jpeg", 2.0, "1 to 5"),
    ):
        with pytest.raises(DatasetError, match=message):
            dcv.datasets.corrupted(scenes, corruption, level)
    assert list(dcv.datasets.corruptions().columns) == [1, 2, 3, 4, 5]
