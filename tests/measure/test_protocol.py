"""Segmentation of whole data sets: published windows and rules, integers that no split changes, and kills."""

from __future__ import annotations

import time

import numpy as np
import oracle
import pytest
import torch
import xarray as xr
from PIL import Image
from processes import killed
from torch.nn.functional import interpolate

import denseclip_viz as dcv
from denseclip_viz.datasets import Example
from denseclip_viz.errors import GeometryError, ImageError, LayerError, PromptError
from denseclip_viz.maps.similarity import Formula
from denseclip_viz.measure.pixel_classes import PixelRule
from denseclip_viz.measure.protocol import evaluate_segmentation

CLASSES = ("rest", "dog", "sky")
WORDS = (("wall", "tree", "wood"), ("dog",), ("sky", "cloud"))


class Made:
    """Noise with labels of blobs; its first class is the background, and has three names."""

    classes, names, background, name = CLASSES, WORDS, 0, "made"

    def __init__(self, count=3, size=(50, 71)):
        self.given = []
        for seed in range(count):
            noise = np.random.default_rng(seed)
            image = Image.fromarray(noise.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size[::-1])
            labels = np.kron(noise.integers(-1, 3, (7, 9)), np.ones((8, 8), int))[: size[0], : size[1]]
            self.given.append(Example(f"image {seed}", np.asarray(image), labels=labels))

    def __iter__(self):
        return iter(self.given)


def telling(model, monkeypatch):
    """Have texts that different positions are like: of random towers all texts are nearly one."""
    dense = model.trace(Made().given[0].image, geometry="whole", path="sclip").dense.flatten(0, 1)
    common = torch.nn.functional.normalize(dense.mean(0), dim=0)
    chosen = dense[np.random.default_rng(3).choice(len(dense), 6, replace=False)]
    vectors = torch.nn.functional.normalize(chosen - (chosen @ common)[:, None] * common, dim=-1)
    monkeypatch.setattr(model.texts, "encode", lambda prompts: vectors[None, : len(prompts)])
    return vectors.numpy()


def published(scores, scale, below, area):
    """SCLIP's decision, from scores (name, row, column) of WORDS: softmax, max over names, area, cut."""
    shares = oracle.softmax(scale * scores, axis=0)
    owners = np.array([0, 0, 0, 1, 2, 2])
    classes = np.stack([shares[owners == at].max(0) for at in range(3)])
    first = classes.argmax(0)
    areas = np.array([(first == at).sum() for at in (1, 2)])
    for at in (1, 2):
        if area and not areas[at - 1] > area * areas.sum():
            classes[at] = 0
    labels = classes.argmax(0)
    labels[classes.max(0) < below] = 0
    return labels


@pytest.mark.parametrize(("below", "area"), [(0.0, 0.0), (0.19, 0.0), (0.19, 0.45)])
def test_windows_names_and_background_are_decided_as_sclip_decides_them(load_tiny, monkeypatch, below, area):
    model = load_tiny("vit", dtype="fp64", interpolation="bilinear-opencv")
    texts, dataset, scale = telling(model, monkeypatch), Made(), 20.0
    fit = dcv.Tiles(window=32, overlap=0.5, short=45, long=200, apart=True)
    options = {"path": "sclip", "geometry": fit, "scale": scale, "background": below, "area": area}
    ours = evaluate_segmentation(model, dataset, progress=False, **options).confusion[0].values

    counts = np.zeros((3, 4), int)
    for example in dataset:
        size = (45, int(example.image.shape[1] * 45 / example.image.shape[0] + 0.5))
        small = oracle.bilinear(example.image.transpose(2, 0, 1).astype(float), size)
        small = np.floor(small + 0.5 + 1e-9).astype(np.uint8)
        total, times = np.zeros((6, *size)), np.zeros(size)
        tops, lefts = ([min(16 * i, side - 32) for i in range(-(-(side - 32) // 16) + 1)] for side in size)
        for top in tops:
            for left in lefts:
                crop = small[:, top : top + 32, left : left + 32].transpose(1, 2, 0)
                dense = model.trace(crop, path="sclip").dense.numpy()
                drawn = oracle.bilinear(oracle.similarity(dense, texts), (32, 32))
                total[:, top : top + 32, left : left + 32] += drawn
                times[top : top + 32, left : left + 32] += 1
        labels = published(oracle.bilinear(total / times, example.labels.shape), scale, below, area)
        for true in range(3):
            counts[true, :3] += np.bincount(labels[example.labels == true], minlength=3)
    assert (counts[:, :3].sum(0) > 0).sum() >= (2 if area else 3)
    assert np.array_equal(ours, counts), "pixel by pixel"


def test_windows_apart_are_drawn_as_mmseg_sums_them(load_tiny):
    clip = load_tiny("vit").preprocess
    fit = dcv.Tiles(window=64, short=100, long=500, apart=True)
    geometry = fit.plan((75, 133), preprocess=clip, cell=(16, 16))
    assert geometry.resized == (100, 177) and geometry.starts(0) == [0, 32, 36]
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *geometry.grid)))
    total, times = torch.zeros(2, *geometry.resized, dtype=torch.float64), torch.zeros(geometry.resized)
    for at, (top, left) in enumerate(geometry.windows):
        y, x = geometry.first_cell((top, left))
        assert (y // 4, x // 4) == divmod(at, len(geometry.starts(1)))
        window = interpolate(maps[None, :, y : y + 4, x : x + 4], (64, 64), mode="bilinear", align_corners=False)[0]
        total[:, top : top + 64, left : left + 64] += window
        times[top : top + 64, left : left + 64] += 1
    drawn = interpolate((total / times)[None], geometry.image, mode="bilinear", align_corners=False)[0]
    from denseclip_viz.geometry import Geometry, upsample

    np.testing.assert_allclose(upsample(maps.numpy(), geometry), drawn, atol=1e-12)
    assert Geometry.from_json(geometry.to_json()) == geometry
    with pytest.raises(GeometryError, match="kept apart.*Take Tiles"):
        geometry.placement()


def test_contributions_of_windows_apart_still_sum_to_the_embedding(load_tiny):
    image = Made().given[0].image
    fit, model = dcv.Tiles(window=32, short=45, apart=True), load_tiny("vit")
    trace = model.trace(image, geometry=fit)
    total = trace.contributions.sum((0, 1)) + sum(trace.rest.values())
    assert torch.allclose(total, trace.global_embedding, atol=1e-5)
    maps = model.similarity(trace, ["dog", "sky"])
    assert maps.shape[2:] == trace.geometry.grid == (8, 12)
    assert model.segment(trace, ["dog", "sky"]).labels.shape == image.shape[:2]
    with pytest.raises(LayerError, match="windows that are kept apart"):
        model.segment(image, ["dog", "sky"], geometry=fit, smooth="cosine")


def test_any_order_and_any_split_give_the_same_integers(load_tiny):
    model, dataset = load_tiny("resnet"), Made(6)
    options = {"path": ["value", "vanilla"], "background": 0.2, "progress": False}
    whole = evaluate_segmentation(model, dataset, batch_size=1, **options)
    backwards, first, second = Made(6), Made(6), Made(6)
    backwards.given.reverse()
    assert np.array_equal(evaluate_segmentation(model, backwards, batch_size=1, **options).confusion, whole.confusion)
    # batches of three begin at the same images in both halves
    first.given, second.given = first.given[:3], second.given[3:]
    parts = [evaluate_segmentation(model, part, batch_size=3, **options) for part in (first, second)]
    assert np.array_equal(
        sum(part.confusion.values for part in parts),
        evaluate_segmentation(model, dataset, batch_size=3, **options).confusion,
    )
    pixels = sum(int((example.labels >= 0).sum()) for example in dataset)
    assert whole.confusion.sum(("true", "given")).values.tolist() == [pixels, pixels]
    assert whole.confusion.dtype == np.int64


class Slow:
    """A data set whose images take their time."""

    def __init__(self, scenes):
        self.scenes, self.classes, self.name = scenes, scenes.classes, scenes.name

    def __iter__(self):
        return (scene for scene in self.scenes if not time.sleep(0.05))


def evaluate_slowly(store):
    model, scenes, options = question()
    evaluate_segmentation(model, Slow(scenes), store=store, **options)


def question():
    options = {"path": ["value", "vanilla"], "geometry": dcv.Whole(short=64), "batch_size": 2, "progress": False}
    return dcv.load("bundled-resnet"), dcv.toyworld.dataset(10, "test", size=64), options


@pytest.mark.slow  # a process of its own
def test_a_killed_run_goes_on_to_the_same_integers(tmp_path):
    store = tmp_path / "counts.jsonl"
    killed(lambda: store.is_file() and store.read_bytes().count(b"\n") >= 4, evaluate_slowly, store)
    assert 1 <= store.read_bytes().count(b'"confusion"') < 10
    model, scenes, options = question()
    resumed = evaluate_segmentation(model, scenes, store=store, **options)
    xr.testing.assert_identical(resumed, evaluate_segmentation(model, scenes, **options))


def rule(**options):
    return PixelRule(owners=(0, 1, 1), formula=Formula("softmax", 10.0), **options)


@pytest.fixture
def two_by_two():
    """One cell a pixel: names win 0, 1, 2, 1."""
    geometry = dcv.Whole(short=32).plan((2, 2), preprocess=dcv.load().preprocess, cell=(16, 16))
    scores = np.array([[[0.9, 0.1], [0.0, 0.2]], [[0.1, 0.8], [0.1, 0.3]], [[0.0, 0.1], [0.7, 0.2]]])
    return scores, geometry


def test_a_class_is_as_high_as_the_highest_of_its_names(two_by_two):
    assert rule().labels(*two_by_two).tolist() == [[0, 1], [1, 1]]


def test_unsure_pixels_are_background_or_of_no_class(two_by_two):
    assert rule(below=0.6).labels(*two_by_two).tolist() == [[0, 1], [1, -1]]
    assert rule(below=0.6, background=0).labels(*two_by_two).tolist() == [[0, 1], [1, 0]]
    assert rule(cosine=0.75, background=0).labels(*two_by_two).tolist() == [[0, 1], [0, 0]]


def test_a_class_with_little_area_is_taken_away_but_not_the_background(two_by_two):
    assert rule(area=0.25).labels(*two_by_two).tolist() == [[1, 1], [1, 1]]
    assert rule(area=0.25, background=0).labels(*two_by_two).tolist() == [[0, 1], [1, 1]]
    assert rule(area=1.0, background=0).labels(*two_by_two).tolist() == [[0, 0], [0, 0]]


def test_where_denoising_leaves_no_name_the_first_class_is_everywhere_and_counted(load_tiny):
    measured = evaluate_segmentation(load_tiny("vit"), Made(2), denoise=1.0, smooth="official", progress=False)
    assert measured.emptied.values.tolist() == [2]
    assert measured.confusion[0, :, 0].sum() == measured.confusion.sum()


def test_a_class_that_is_nowhere_has_no_iou_and_one_that_is_only_given_has_none_at_all():
    from denseclip_viz.measure.class_scores import divided

    counts = np.array([[[5, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
    scores = {name: values for name, (_, values) in divided(counts).items()}
    assert scores["iou"][0].tolist()[:2] == [5 / 6, 0.0] and np.isnan(scores["iou"][0, 2])
    assert scores["miou"].tolist() == [5 / 12] and scores["mean_accuracy"].tolist() == [5 / 6]


def test_the_table_reads_counts_by_the_names_of_their_axes():
    counts = np.array([[[5, 1, 0], [2, 3, 4]]] * 2)
    axes = {"candidate": ["a", "b"], "true": ["rest", "dog"], "given": ["rest", "dog", "no class"]}
    data = {"confusion": (tuple(axes), counts), "iou": (("candidate", "class"), np.full((2, 2), 0.5))}
    measured = xr.Dataset(data, coords={**axes, "class": axes["true"], "image": ["x"]})
    for turned in (measured, measured.transpose("given", "true", "candidate", ...), measured.transpose("true", ...)):
        table = dcv.measure.segmentation_table(turned)
        assert table["pixels"].tolist() == [6, 9] * 2
        assert table["accuracy"].tolist() == [5 / 6, 3 / 9] * 2


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({"classes": ()}, {}, PromptError, "names no classes"),
        ({"names": WORDS[:2]}, {}, PromptError, "a name or more for each of 3"),
        ({"background": 3}, {}, PromptError, "dataset.background=3.*0 to 2"),
        ({}, {"names": {"cat": "cat"}}, PromptError, "'cat', which is no class.*rest, dog, sky"),
        ({}, {"scale": 0}, PromptError, "scale=0.*a number above 0"),
        ({}, {"area": 2}, PromptError, "area=2.*from 0 to 1"),
        ({}, {"background": ["dog"]}, PromptError, "background prompts dog"),
        ({}, {"smooth": "cosine", "background": dcv.maps.Background(cosine=0.2)}, PromptError, "one of the two"),
        ({}, {"preset": "sclp"}, PromptError, "preset 'sclp' is unknown.*clip, maskclip-paper, sclip, sc-clip"),
    ],
)
def test_what_cannot_be_is_refused_before_any_image(load_tiny, change, options, error, message):
    dataset = Made()
    for name, value in change.items():
        setattr(dataset, name, value)
    with pytest.raises(error, match=message):
        evaluate_segmentation(load_tiny("vit"), dataset, progress=False, **options)


def test_a_list_of_examples_has_their_classes_where_all_agree(load_tiny):
    listed = [Example(each.name, each.image, labels=each.labels, classes=CLASSES) for each in Made(2).given]
    model, whole = load_tiny("vit"), Made(2)
    whole.names, whole.background, whole.name = CLASSES, None, ""
    one, other = (evaluate_segmentation(model, each, progress=False) for each in (whole, listed))
    assert np.array_equal(one.confusion, other.confusion) and one["class"].equals(other["class"])
    for others in (("rest", "cat", "sky"), ()):
        apart = [listed[0], Example("odd", listed[1].image, labels=listed[1].labels, classes=others)]
        with pytest.raises(PromptError, match=r"examples of the classes \('rest', 'dog', 'sky'\) and \("):
            evaluate_segmentation(model, apart, progress=False)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.uint64])
def test_labels_may_be_of_any_whole_numbers(load_tiny, kind):
    kept, dataset = Made(2), Made(2)
    dataset.given = [Example(each.name, each.image, labels=each.labels.clip(0).astype(kind)) for each in kept.given]
    kept.given = [Example(each.name, each.image, labels=each.labels.clip(0)) for each in kept.given]
    one, other = (evaluate_segmentation(load_tiny("vit"), each, progress=False) for each in (kept, dataset))
    assert np.array_equal(one.confusion, other.confusion)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, PromptError, "masks of image 0.*without labels"),
        (np.zeros((50, 70), int), ImageError, "masks of image 0.*shape \\(50, 70\\).*\\(50, 71\\)"),
        (np.zeros((50, 71)), ImageError, "float64.*whole numbers"),
        (np.full((50, 71), 3), ImageError, "label 3 of 3 classes"),
        (np.full((50, 71), 255, np.uint8), ImageError, "label 255 of 3 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_their_image(load_tiny, labels, error, message):
    dataset = Made(1)
    dataset.given = [Example("street", dataset.given[0].image, labels=labels)]
    with pytest.raises(error, match=message):
        evaluate_segmentation(load_tiny("vit"), dataset, progress=False)
