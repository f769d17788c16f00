"""One loop over images, candidates and a metric: what users write for it, and what a kill leaves."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import xarray as xr
from contests import PROMPTS, blobs, images
from PIL import Image
from processes import killed

import denseclip_viz as dcv
from denseclip_viz.errors import ImageError, LayerError, OutputError, PromptError
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.measure.map_methods import MapMethods
from denseclip_viz.measure.protocol import NamedClasses
from denseclip_viz.presets import Preset
from denseclip_viz.prompts import Prompts

SCORE = "shared_precision"


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


@pytest.fixture(scope="module")
def templates(tiny):
    return dcv.measure.template_candidates(tiny, PROMPTS)


def pairs(count):
    return [(image, blobs(image)) for image in images(count)]


class Smoothed:
    """Candidates as a user writes them: the plain maps, and those after key smoothing."""

    names = ("plain", "smoothed")
    prompts = ("grass", "a taxi")
    trace_options = {"keys": "key"}

    def __init__(self, model):
        self.vectors = model.texts.encode(dcv.Prompts(self.prompts))

    def maps(self, trace):
        plain = dcv.maps.cosine_maps(trace.dense, self.vectors)[0]
        return np.stack([plain, dcv.maps.key_smoothing(plain, trace.keys)])


class TwoHalves:
    """A data set as a user writes it: sky above grass."""

    classes = ("sky", "grass")

    def __iter__(self):
        for at in range(3):
            labels = np.repeat([0, 1], 16)[:, None].repeat(32, 1)
            yield dcv.datasets.Example(f"half {at}", images(3)[at], labels=labels)


def test_a_score_is_the_mean_over_prompts_of_the_table_of_each_image(tiny, templates):
    result = dcv.measure.evaluate(tiny, pairs(3), templates, SCORE, progress=False)
    assert result.score.dims == ("image", "candidate") and result.attrs["weights_hash"] and not result.attrs["stopped"]
    for at, image in enumerate(images(3)):
        table = dcv.measure.templates_table(tiny.similarity(image, PROMPTS), blobs(image))
        assert result.score[at].values == pytest.approx(table.groupby("template", sort=False)[SCORE].mean(), abs=1e-6)


def test_a_data_set_candidates_and_a_metric_take_a_few_lines_each(tiny):
    def highest(maps, example, trace):
        assert example.labels.shape == trace.image.shape[:2]
        return maps.max((1, 2, 3))

    one = dcv.measure.evaluate(tiny, TwoHalves(), Smoothed(tiny), highest, progress=False)
    assert (
        one.image.values.tolist() == ["half 0", "half 1", "half 2"] and one.candidate.values.tolist()[1] == "smoothed"
    )
    named = dcv.measure.evaluate(tiny, TwoHalves(), Smoothed(tiny), "average_precision", progress=False)
    assert np.isfinite(named.score).all()  # grass is a class, a taxi is not and is not judged


def test_scenes_know_their_classes(tiny):
    scenes = dcv.toyworld.dataset(2, "test", size=64)
    stuff = np.unique([name for scene in scenes for name in scene.stuff])
    candidates = dcv.measure.template_candidates(tiny, dcv.Prompts([f"the {name}" for name in stuff], ["{}", "no {}"]))
    from_labels = dcv.measure.evaluate(tiny, scenes, candidates, "iou_won", progress=False)
    nothing = np.zeros((64, 64), bool)
    by_hand = [(scene, {f"the {name}": scene.stuff.get(name, nothing) for name in stuff}) for scene in scenes]
    assert np.array_equal(
        from_labels.score, dcv.measure.evaluate(tiny, by_hand, candidates, "iou_won", progress=False).score
    )


def test_several_paths_are_never_taken_for_several_texts(tiny):
    two = dcv.measure.template_candidates(tiny, dcv.Prompts(["a red car", "grass"], ["{}", "no {}"]))
    with pytest.raises(LayerError, match="texts of 2 paths"):
        dcv.measure.evaluate(tiny, pairs(2), two, SCORE, path=["value", "vanilla"], progress=False)

    class Flat(Smoothed):
        def maps(self, trace):
            return super().maps(trace)[0]

    with pytest.raises(PromptError, match="Maps of shape.*with 2 candidates"):
        dcv.measure.evaluate(tiny, pairs(2), Flat(tiny), SCORE, progress=False)


def test_a_metric_may_give_several_numbers_with_axes_of_their_own(tiny, templates):
    def several(maps, example, trace):
        return {
            "peak": (("candidate", "prompt"), maps.max((2, 3))),
            "embedding": (("channel",), trace.global_embedding),
        }

    result = dcv.measure.evaluate(tiny, pairs(2), templates, several, progress=False)
    assert result.peak.dims == ("image", "candidate", "prompt") and result.embedding.shape == (2, 24)

    def by_name(maps, example, trace):
        return {"peak": torch.tensor(maps.max((1, 2, 3)), dtype=torch.bfloat16, requires_grad=True), "one": [1] * 3}

    result = dcv.measure.evaluate(tiny, pairs(2), templates, by_name, progress=False)
    assert result.peak.dims == ("image", "candidate") == result.one.dims and result.peak.dtype == np.float32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (1.0, "gives as score 1.0. Expected numbers .candidate. with 3 candidates"),
        (np.ones(4), r"gives as score of shape \(4,\), float64"),
        (None, "gives as score None"),
        ({}, "gives as score {}"),
        (["a"] * 3, r"gives as score of shape \(3,\), <U1"),
        ([[1], [2, 3]], "gives as score"),
        ({"x": np.ones(2)}, r"gives as x of shape \(2,\)"),
        ({"x": (("candidate", "prompt"), np.ones(3))}, "gives as x .*numbers .candidate, prompt."),
        ({"x": (("k",), np.ones(2)), "y": (("k",), np.ones(5))}, "gives as y"),
        ({"image": np.ones(3)}, "calls a number 'image'"),
    ],
)
def test_what_a_metric_gives_is_checked_at_the_first_image_and_not_kept(tiny, templates, tmp_path, given, message):
    asked = []

    def mine(maps, example, trace):
        asked.append(example)
        return given

    with pytest.raises(PromptError, match=f"The metric mine {message}"):
        dcv.measure.evaluate(tiny, pairs(3), templates, mine, store=tmp_path / "scores.jsonl", progress=False)
    assert len(asked) == 1 and len((tmp_path / "scores.jsonl").read_text().splitlines()) == 1


def test_a_metric_whose_numbers_change_their_shape_is_refused_where_they_do(tiny, templates):
    lengths = iter((2, 3))
    with pytest.raises(PromptError, match="gives .*3.* for array 32 x 32.*2.*, as for the images before"):
        odd = {"progress": False}
        dcv.measure.evaluate(tiny, pairs(2), templates, lambda *_: {"x": (("k",), [0] * next(lengths))}, **odd)


class ByPlace:
    """A data set as many write it for torch: a length and places, and no end of its own."""

    def __len__(self):
        return 3

    def __getitem__(self, place):
        return pairs(3)[place % 3]


def test_a_data_set_of_places_and_a_length_is_gone_through(tiny, templates, tmp_path):
    one, other = (dcv.measure.evaluate(tiny, each, templates, SCORE, progress=False) for each in (pairs(3), ByPlace()))
    assert np.array_equal(one.score, other.score)
    assert dcv.features.encode(tiny, ByPlace(), tmp_path / "features", progress=False) is not None
    with pytest.raises(ImageError, match="one type where several images are due"):
        list(tiny.trace_many(ByPlace))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"metric": "entropy"}, PromptError, "metric='entropy'.*one of peak"),
        ({"dataset": images(2)}, PromptError, "masks of image 0.*without masks"),
        ({"dataset": []}, ImageError, "without an image that can be read"),
        ({"dataset": images(1)[0]}, ImageError, "several images are due"),
        ({"dataset": [(images(1)[0], {"gras": np.zeros((32, 32), bool)})]}, PromptError, "masks of image 0.*'gras'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(tiny, templates, change, error, said):
    given = {"dataset": pairs(2), "metric": SCORE, **change}
    with pytest.raises(error, match=said):
        dcv.measure.evaluate(tiny, given["dataset"], templates, given["metric"], progress=False)


def evaluate_slowly(store):
    model, scenes, candidates = question()
    slowly = (scene for scene in scenes if not time.sleep(0.1))
    dcv.measure.evaluate(model, slowly, candidates, "iou_best", store=store, batch_size=4, progress=False)


def question():
    model = dcv.load()
    prompts = dcv.Prompts(["the grass", "the sky", "a taxi"], ["{}", "a photo of {}"])
    return model, dcv.toyworld.dataset(24, "test", size=128), dcv.measure.template_candidates(model, prompts)


def test_a_killed_run_goes_on_where_it_was_and_gives_the_same_bits(tmp_path):
    store = tmp_path / "scores.jsonl"
    killed(lambda: store.is_file() and store.read_bytes().count(b"\n") >= 5, evaluate_slowly, store)
    known = store.read_bytes().count(b'"values"')
    assert 2 <= known < 24
    with open(store, "ab") as file:  # what a kill in the middle of a line leaves
        file.write(b'{"image": 23, "name": "sc')
    model, scenes, candidates = question()
    options = {"batch_size": 4, "progress": False}
    resumed = dcv.measure.evaluate(model, scenes, candidates, "iou_best", store=store, **options)
    whole = dcv.measure.evaluate(model, scenes, candidates, "iou_best", **options)
    xr.testing.assert_identical(resumed, whole)
    assert resumed.score.values.tobytes() == whole.score.values.tobytes()
    assert [json.loads(line).get("image") for line in store.read_bytes().splitlines()[2:]] == list(range(24))


MEASURED = []


def counted(maps, example, trace):
    MEASURED.append(trace.name)
    if len(MEASURED) == 100:
        raise KeyboardInterrupt
    return maps.max((1, 2, 3))


@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_an_interrupted_run_goes_on_with_the_images_that_are_left(tiny, templates, tmp_path, stop):
    given, options = pairs(7), {"batch_size": 3, "progress": False}
    MEASURED[:] = ["before"] * (99 - stop)
    with pytest.warns(UserWarning, match=f"Interrupted: this is about the {stop} images"):
        first = dcv.measure.evaluate(tiny, given, templates, counted, store=tmp_path / "scores", **options)
    assert first.attrs["stopped"] and first.sizes["image"] == stop
    MEASURED.clear()
    second = dcv.measure.evaluate(tiny, given, templates, counted, store=tmp_path / "scores", **options)
    assert len(MEASURED) == 7 - stop, "no image was measured twice"
    xr.testing.assert_identical(second, dcv.measure.evaluate(tiny, given, templates, counted, **options))


def test_texts_are_told_apart_by_what_is_read_and_not_by_the_last_bits_of_their_vectors(tiny, load_tiny, templates):
    other = Prompts(PROMPTS.prompts, [*PROMPTS.templates[:-1], "not {}"])
    methods, classes = [MapMethods.of(tiny, asked, ["value"]) for asked in (PROMPTS, other)], [("a cat",), ("a dog",)]
    named = [NamedClasses.of(tiny, words, Preset(templates="none"), "as written") for words in (classes, classes[::-1])]
    synonyms = [dcv.measure.synonym_candidates(tiny, [*words, "a puma"], template="{}") for words in classes]
    for one, another in [(templates, dcv.measure.template_candidates(tiny, other)), methods, named, synonyms]:
        assert fingerprint(replace(one, vectors=one.vectors + 1e-7)) == fingerprint(one) != fingerprint(another)
        alone = replace(one, texts="")  # a user's own vectors, of which nobody knows what was read
        assert fingerprint(replace(alone, vectors=one.vectors + 1e-7)) != fingerprint(alone)


def test_a_store_of_another_question_is_refused_by_name(tiny, templates, load_tiny, tmp_path):
    store, given = tmp_path / "scores.jsonl", pairs(2)
    dcv.measure.evaluate(tiny, given, templates, "iou_won", store=store, progress=False)
    others = {
        "metric": (tiny, given, templates, "iou_best", {}),
        "candidates": (tiny, given, Smoothed(tiny), "iou_won", {}),
        "model": (load_tiny("resnet"), given, templates, "iou_won", {}),
        "options": (tiny, given, templates, "iou_won", {"geometry": "whole"}),
        "another image number 1": (tiny, [given[0], pairs(3)[2]], templates, "iou_won", {}),
        "or other masks": (tiny, [given[0], (given[1][0], {})], templates, "iou_won", {}),
    }
    for what, (model, dataset, candidates, metric, options) in others.items():
        with pytest.raises(OutputError, match=what):
            dcv.measure.evaluate(model, dataset, candidates, metric, store=store, progress=False, **options)
    for content in (b"my notes", b"my notes\n", store.read_bytes().replace(b"values", b"value", 1)):
        odd = tmp_path / "odd"
        odd.write_bytes(content)
        with pytest.raises(OutputError, match="no file of results, or a damaged one"):
            dcv.measure.evaluate(tiny, given, templates, "iou_won", store=odd, progress=False)
        assert odd.read_bytes() == content
    with pytest.raises(OutputError, match="cannot be used"):
        dcv.measure.evaluate(tiny, given, templates, "iou_won", store=tmp_path / "no" / "folder", progress=False)


def test_metrics_that_differ_in_what_they_hold_only_are_other_questions():
    class Cut:
        def __init__(self, at):
            self.at = at

        def above(self, maps):
            return maps > self.at

    def above(maps, *, at=1):
        return maps > at

    def higher(maps, *, at=2):
        return maps > at

    higher.__qualname__, higher.__code__ = above.__qualname__, above.__code__
    prints = [*(fingerprint(Cut(at).above) for at in (1, 2)), *(fingerprint(partial(above, at=at)) for at in (1, 2))]
    prints += [fingerprint(partial(above, 1)), fingerprint(above), fingerprint(higher)]
    assert len(set(prints)) == len(prints)
    assert fingerprint(Cut(1).above) == prints[0] and fingerprint(partial(above, at=1)) == prints[2]


def test_an_image_that_cannot_be_read_is_not_tried_again_in_silence(tiny, templates, tmp_path):
    broken, store = tmp_path / "broken.png", tmp_path / "scores.jsonl"
    broken.write_bytes(b"no image")
    given = [pairs(2)[0], (broken, {}), pairs(2)[1]]
    for _ in range(2):
        with pytest.warns(UserWarning, match="Left out: .*broken.png") as told:
            result = dcv.measure.evaluate(tiny, given, templates, SCORE, store=store, progress=False)
        assert result.attrs["unread"] == ["broken.png"] and result.sizes["image"] == 2
        assert told[0].filename == __file__, "a warning names the line that asked"
    assert store.read_bytes().count(b'"unread"') == 1


def test_a_store_of_a_longer_data_set_counts_only_the_images_that_are_asked_about(tiny, templates, tmp_path):
    options = {"progress": False, "batch_size": 2}
    store, few = tmp_path / "scores.jsonl", pairs(5)[:2]
    longer = dcv.measure.evaluate(tiny, pairs(5), templates, SCORE, store=store, **options)
    again = dcv.measure.evaluate(tiny, few, templates, SCORE, store=store, **options)
    xr.testing.assert_identical(again, dcv.measure.evaluate(tiny, few, templates, SCORE, **options))
    assert dcv.measure.evaluate(tiny, pairs(5), templates, SCORE, store=store, **options).equals(longer)
    scenes, counts = dcv.toyworld.dataset(4, "test", size=64), tmp_path / "counts.jsonl"
    summed = dcv.measure.evaluate_segmentation(tiny, scenes, store=counts, **options)
    part = dcv.measure.evaluate_segmentation(tiny, scenes[:2], store=counts, **options)
    xr.testing.assert_identical(part, dcv.measure.evaluate_segmentation(tiny, scenes[:2], **options))
    assert int(part.confusion.sum()) < int(summed.confusion.sum())


def test_an_image_that_two_processes_stored_at_once_counts_once(tiny, tmp_path):
    scenes, store = dcv.toyworld.dataset(4, "test", size=64), tmp_path / "counts.jsonl"
    options = {"progress": False, "batch_size": 2}

    class Overtaken:
        """Two scenes that another run stores first: this one has opened the store, and begins only then."""

        classes, names = scenes.classes, scenes.names

        def __iter__(self):
            dcv.measure.evaluate_segmentation(tiny, scenes, store=store, **options)
            return iter(scenes[:2])

    dcv.measure.evaluate_segmentation(tiny, Overtaken(), store=store, **options)
    records = [json.loads(line) for line in store.read_text().splitlines()]
    assert [record["image"] for record in records if "values" in record] == [0, 1, 2, 3, 0, 1]
    for asked in (scenes, scenes[:3]):
        resumed = dcv.measure.evaluate_segmentation(tiny, asked, store=store, **options)
        xr.testing.assert_identical(resumed, dcv.measure.evaluate_segmentation(tiny, asked, **options))


def test_an_image_in_the_place_of_one_that_could_not_be_read_is_read(tiny, templates, tmp_path):
    options = {"progress": False, "store": tmp_path / "scores.jsonl"}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    mask = blobs(images(1)[0])
    with pytest.warns(UserWarning, match="broken"):
        dcv.measure.evaluate(tiny, [(broken, mask), *pairs(2)], templates, SCORE, **options)
    Image.fromarray(images(1)[0]).save(broken)
    mended = dcv.measure.evaluate(tiny, [(broken, mask), *pairs(2)], templates, SCORE, **options)
    assert mended.sizes["image"] == 3 and mended.attrs["unread"] == []
    once_more = dcv.measure.evaluate(tiny, [(broken, mask), *pairs(2)], templates, SCORE, **options)
    xr.testing.assert_identical(once_more, mended)


def test_other_classes_are_another_truth(tiny, templates, tmp_path):
    """The same ids under names in another order: what was kept would be of other masks."""
    labels = np.repeat([[0], [1]], 16, axis=0).repeat(32, axis=1)
    given = [
        [dcv.datasets.Example(f"image {i}", image, labels=labels, classes=classes) for i, image in enumerate(images(2))]
        for classes in (("grass", "a red car"), ("a red car", "grass"))
    ]
    options = {"progress": False, "store": tmp_path / "scores.jsonl"}
    dcv.measure.evaluate(tiny, given[0], templates, "average_precision", **options)
    with pytest.raises(OutputError, match="image number 0"):
        dcv.measure.evaluate(tiny, given[1], templates, "average_precision", **options)


def test_a_path_for_candidates_that_are_paths_is_refused(tiny):
    paths = dcv.measure.path_candidates(tiny, dcv.Prompts(["grass", "a taxi"]), ["value", "vanilla"])
    with pytest.raises(LayerError, match=r"path='value' for candidates along paths of their own: value, vanilla"):
        dcv.measure.evaluate(tiny, pairs(1), paths, SCORE, path="value", progress=False)


def test_a_template_without_weight_is_never_chosen_and_one_alone_is_no_ensemble(tiny):
    with pytest.raises(PromptError, match="of which 1 is above 0"):
        dcv.measure.rank_templates(tiny, images(3), PROMPTS, blobs, weights=[1, 0, 0], progress=False)
    chosen = dcv.measure.select_templates(tiny, images(6), PROMPTS, blobs, weights=[0, 1, 1], progress=False)
    assert PROMPTS.templates[0] not in chosen.templates


def test_a_ranking_goes_on_too(tiny, tmp_path):
    given, store = images(5), tmp_path / "ranking.jsonl"

    def stream():
        yield from given[:3]
        raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"store": store, "batch_size": 1, "progress": False}
        assert dcv.measure.rank_templates(tiny, stream(), PROMPTS, blobs, **options).stopped
        resumed = dcv.measure.rank_templates(tiny, given, PROMPTS, blobs, **options)
        whole = dcv.measure.rank_templates(tiny, given, PROMPTS, blobs, batch_size=1, progress=False)
    assert resumed.table.equals(whole.table) and not resumed.stopped
    xr.testing.assert_identical(resumed.scores, whole.scores)


def test_a_fingerprint_sees_numbers_texts_and_code_and_nothing_else():
    def one(maps):
        return maps.max()

    def other(maps):
        return maps.min()

    assert fingerprint(one) != fingerprint(other) and fingerprint([1, "1"]) != fingerprint(["1", 1])
    assert (
        fingerprint({"a": np.ones(2)}) == fingerprint({"a": np.ones(2)}) != fingerprint({"a": np.ones(2, np.float32)})
    )
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
