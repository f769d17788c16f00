"""Evaluations out of a store of features: the integers of a plain run, and an image tower that nobody calls."""

import numpy as np
import pytest
import xarray as xr
from cloudpickle import loads
from feature_stores import quietly
from judge import held

import denseclip_viz as dcv
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.datasets import Example
from denseclip_viz.errors import ImageError, LayerError, OutputError
from denseclip_viz.maps import upsampled
from denseclip_viz.measure import evaluation
from denseclip_viz.measure.remote_work import packed
from denseclip_viz.measure.segmentation import pixel_areas

FIT = dcv.Whole(short=64)
PATHS = ["value", "vanilla"]
OPTIONS = {"geometry": FIT, "batch_size": 2, "progress": False}
evaluate, segmented = dcv.measure.evaluate, dcv.measure.evaluate_segmentation


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three images as files, and their masks."""
    return dcv.datasets.read("folder", dcv.toyworld.export(tmp_path_factory.mktemp("world") / "toy", 3, size=64))


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.fixture(scope="module")
def store(model, images, tmp_path_factory):
    place = tmp_path_factory.mktemp("features")
    return quietly(model, images, place / "exact", dtype="float32", path=PATHS, geometry=FIT, batch_size=2)


@pytest.fixture
def silent(monkeypatch):
    """A model whose image tower nobody may call."""
    model = dcv.load()
    monkeypatch.setattr(model.clip.visual, "forward", lambda *_: pytest.fail("an image was encoded"))
    with pytest.raises(pytest.fail.Exception):
        model.trace(np.zeros((64, 64, 3), np.uint8))
    return model


def templates(model, images):
    return dcv.measure.template_candidates(model, dcv.Prompts(list(images.classes), ["{}", "a photo of {}"]))


def nearest(trace):
    return upsampled(trace, lambda image, dense: dense.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_paths_are_counted_as_by_passes_to_the_integer_and_no_image_is_encoded(model, silent, images, store):
    plain = segmented(model, images, path=PATHS, **OPTIONS)
    stored = segmented(silent, images, path=PATHS, features=store, **OPTIONS)
    assert stored.attrs.pop("features") == "stored as float32"
    xr.testing.assert_identical(stored, plain)
    assert segmented(silent, images, path="vanilla", features=store.folder, **OPTIONS).confusion.sum() == 3 * 64 * 64


def test_templates_and_finer_grids_that_look_at_pixels_alone_are_scored_too(model, silent, images, store):
    options = {"finer": {"guided": "guided:2", "mine": nearest}, "path": "value", **OPTIONS}
    plain = evaluate(model, images, templates(model, images), pixel_areas, **options)
    stored = evaluate(silent, images, templates(silent, images), pixel_areas, features=store, **options)
    assert stored.attrs.pop("features") == "stored as float32"
    xr.testing.assert_identical(stored, plain)


def test_half_precision_is_off_by_no_more_than_the_store_states(model, silent, images, tmp_path):
    store = quietly(model, images, tmp_path / "half", geometry=FIT, batch_size=2)
    options = {"metric": "margin_runner_up", "features": None, **OPTIONS}
    plain = evaluate(model, images, templates(model, images), **options)
    stored = evaluate(silent, images, templates(silent, images), **options | {"features": store})
    off = float(abs(stored.score - plain.score).max())
    assert 0 < off <= 2 * store.error  # a margin is a difference of two cosines
    assert stored.attrs["features"] == f"stored as float16, cosines within {store.error:.1e}"


def test_workers_and_files_of_results_give_the_same_integers(silent, images, store, tmp_path, monkeypatch):
    options = {"path": PATHS, "features": store, **OPTIONS}
    here = segmented(silent, images, store=tmp_path / "counts.jsonl", **options)
    xr.testing.assert_identical(segmented(silent, images, store=tmp_path / "counts.jsonl", **options), here)
    monkeypatch.setattr(evaluation, "results_of", lambda _, work, groups, **__: loads(packed(work, "it"))(groups))
    xr.testing.assert_identical(segmented(silent, images, engine=1, **options), here)


def test_results_of_features_and_of_passes_are_not_mixed(model, images, store, tmp_path):
    half = quietly(model, images, tmp_path / "half", path=PATHS, geometry=FIT, batch_size=2)
    for first, then in ((None, store), (store, None), (store, half)):
        results = tmp_path / f"{id(first)} {id(then)}.jsonl"
        segmented(model, images[:1], path="value", features=first, store=results, **OPTIONS)
        with pytest.raises(OutputError, match="results of another question: other features"):
            segmented(model, images[:1], path="value", features=then, store=results, **OPTIONS)


def test_an_unreadable_image_is_left_out_as_by_passes(model, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    many = [images[0], Example("torn", tmp_path / "broken.png", labels=images[1].labels), images[2]]
    store, left = quietly(model, many, tmp_path / "store", geometry=FIT), []
    options = {"metric": "margin_runner_up", "unreadable": lambda image, error: left.append(str(error)), **OPTIONS}
    stored = evaluate(model, many, templates(model, images), features=store, **options)
    plain = evaluate(model, many, templates(model, images), **options)
    assert stored.attrs["unread"] == plain.attrs["unread"] == ["torn"] and left[0] == left[1]


def test_scenes_and_corrupted_images_are_known_by_their_pixels(model, silent, tmp_path):
    scenes = dcv.toyworld.dataset(2, "test", size=64)
    noisy = dcv.datasets.corrupted(scenes, "shot_noise", 3)
    for name, every in {"plain": scenes, "noisy": noisy}.items():
        store = quietly(model, every, tmp_path / name, dtype="float32", geometry=FIT, batch_size=2)
        assert segmented(silent, every, features=store, **OPTIONS).confusion.sum() == 2 * 64 * 64
    with pytest.raises(ImageError, match="2 images not in .*plain as they are now: .*Encode them into the same folder"):
        segmented(silent, noisy, features=tmp_path / "plain", **OPTIONS)


def test_images_that_were_not_encoded_or_have_changed_are_named(model, images, store, tmp_path):
    other = dcv.datasets.read("folder", dcv.toyworld.export(tmp_path / "toy", 7, size=64))
    expected = "7 images not in .*exact as they are now: 000000.png, 000001.png, .* and 2 more"
    with pytest.raises(ImageError, match=expected):
        segmented(model, other, path="value", features=store, **OPTIONS)
    mine = quietly(model, other[:2], tmp_path / "mine", geometry=FIT)
    other[1].image.write_bytes(other[0].image.read_bytes())
    with pytest.raises(ImageError, match=r"1 image not in .*mine as they are now: 000001\.png\. Expected images that"):
        segmented(model, other[:2], features=mine, **OPTIONS)


OTHERS = {
    "geometry": ({"geometry": "native"}, "holds features of another geometry: .*Whole.*Expected Native"),
    "path": ({"path": "value-positional"}, "path 'value-positional' of .*exact, which holds value, vanilla"),
    "switches": ({"path": DensePath("value", residual=False)}, "path 'value', of other switches, of .*exact"),
    "keys": ({"smooth": "cosine"}, "keys of a store of global, dense.*forward pass: leave features out"),
    "shifted": ({"finer": "shifted"}, "shifted of stored features. Expected what dense features alone give"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_a_store_lacks_is_refused_with_what_it_has(silent, images, store, what):
    options, message = OTHERS[what]
    with pytest.raises((LayerError, OutputError), match=message):
        segmented(silent, images, features=store, **{"path": "value", **OPTIONS, **options})


def test_another_models_features_and_candidates_that_take_a_pass_are_refused(model, silent, images, store, tmp_path):
    other = dcv.load("bundled-vit")
    with pytest.raises(OutputError, match="another preparation of images, model, weights"):
        segmented(other, images, path="value", features=store, **OPTIONS)
    prompts = dcv.Prompts(["grass", "sky"])
    ways = dcv.measure.attribution_candidates(silent, prompts, ["grad-cam"])
    with pytest.raises(LayerError, match="grad-cam of stored features"):
        evaluate(silent, images, ways, "margin_runner_up", features=store, **OPTIONS)
    paths = dcv.measure.path_candidates(silent, prompts, PATHS)
    assert evaluate(silent, images, paths, "margin_runner_up", features=store, **OPTIONS).sizes["candidate"] == 2
    small = quietly(model, images, tmp_path / "global", keep="global", geometry=FIT)
    with pytest.raises(LayerError, match="dense of a store of global.*Encode into another folder"):
        segmented(silent, images, features=small, **OPTIONS)


def test_a_metric_that_looks_for_what_is_not_stored_is_told(silent, images, store):
    with pytest.raises(LayerError, match="attention of a trace of 000000.png that did not keep it.*is not stored"):
        evaluate(
            silent,
            images,
            templates(silent, images),
            lambda m, e, trace: trace.attention,
            features=store,
            path="value",
            **OPTIONS,
        )


def test_a_preset_is_encoded_as_it_is_evaluated(load_tiny, images, tmp_path):
    vit = load_tiny("vit")
    store = quietly(vit, images, tmp_path / "store", preset="sclip", geometry=None, dtype="float32", batch_size=8)
    plain = segmented(vit, images, preset="sclip", progress=False)
    stored = segmented(vit, images, preset="sclip", features=store, progress=False)
    np.testing.assert_array_equal(stored.confusion, plain.confusion)


def test_a_store_of_an_older_format_is_refused_with_advice(store, tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"denseclip_viz_features": 1, "question": {}, "paths": []}\n')
    held(lambda: dcv.features.open_store(tmp_path), OutputError)
    with pytest.raises(OutputError, match="a store of format 1. Expected format 2, .* Encode into another folder"):
        dcv.features.open_store(tmp_path)
