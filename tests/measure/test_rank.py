"""Rankings over images: what they are made of, what is noise, and what is refused."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import state
import torch
from contests import PROMPTS, TEMPLATES, blobs, images, quietly
from torch.nn import functional as F

import denseclip_viz as dcv
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.candidates import template_candidates


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def test_scores_are_means_over_prompts_of_the_table_of_each_image(tiny):
    some = images(5)
    before = state.fingerprint(tiny.clip)
    ranking = quietly(dcv.measure.rank_templates, tiny, iter(some), PROMPTS, map(blobs, some), batch_size=2)
    assert state.fingerprint(tiny.clip) == before
    for at, image in enumerate(some):
        table = dcv.measure.templates_table(tiny.similarity(image, PROMPTS), blobs(image))
        mean = table.groupby("template", sort=False)["shared_precision"].mean()
        assert ranking.scores.score[at].values == pytest.approx(mean.to_numpy(), abs=1e-6)
    assert ranking.score == "shared_precision" and ranking.scores.attrs["weights_hash"]
    table = ranking.table.set_index("template")
    assert table.loc[TEMPLATES, "score"].to_numpy() == pytest.approx(ranking.scores.score.mean("image").values)
    assert table["score"].is_monotonic_decreasing and table["to_best"].iloc[0] == 0
    assert (table["low"] <= table["score"]).all() and (table["score"] <= table["high"]).all()
    assert (table["within_noise"] == (table["to_best_high"] == 0)).all() and ranking.best == table.index[0]
    assert (table["to_best_low"] <= table["to_best"]).all() and (table["to_best"] <= table["to_best_high"]).all()
    assert "5 images" in repr(ranking) and "<table" in ranking._repr_html_()


@pytest.mark.parametrize(
    ("options", "chosen"), [({}, "margin_absent"), ({"score": "peak"}, "peak"), ({"score": "margin_runner_up"}, None)]
)
def test_without_masks_margins_rank(tiny, options, chosen):
    ranking = quietly(dcv.measure.rank_templates, tiny, images(3), PROMPTS, **options)
    assert ranking.score == (chosen or "margin_runner_up")
    table = dcv.measure.templates_table(tiny.similarity(images(1)[0], PROMPTS)).query("not absent")
    mean = table.groupby("template", sort=False)[ranking.score].mean()
    assert ranking.scores.score[0].values == pytest.approx(mean.to_numpy(), abs=1e-6)


def test_the_ensemble_and_it_without_each_template_are_those_of_the_mean_vectors(tiny):
    candidates, dense = template_candidates(tiny, PROMPTS), torch.randn(4, 4, 24)
    maps = cosine_maps(dense, candidates.vectors).numpy()
    whole = cosine_maps(dense, ensemble(candidates.vectors)[None])[0].numpy()
    assert np.abs(candidates.ensembled(maps) - whole).max() < 1e-6
    for at in range(3):
        rest = [other for other in range(3) if other != at]
        mean = F.normalize(candidates.vectors[rest].mean(0), dim=-1)[None]
        assert np.abs(candidates.left_out(maps)[at] - cosine_maps(dense, mean)[0].numpy()).max() < 1e-6
        assert np.abs(candidates.ensembled(maps, rest) - candidates.left_out(maps)[at]).max() < 1e-6


def test_templates_that_say_the_same_are_within_noise_and_a_warning_says_so(tiny):
    same = dcv.Prompts(["a red car", "grass"], ["a photo of {}", "A PHOTO of {}"])
    with pytest.warns(UserWarning, match="Within noise of the best template.*A PHOTO.*More images") as told:
        ranking = dcv.measure.rank_templates(tiny, images(4), same, progress=False)
    assert told[0].filename == __file__, "a warning names the line that asked"
    assert len(ranking.within_noise) == 2 and ranking.table["to_best"].tolist() == [0, 0]


def test_a_difference_that_every_image_shows_is_no_noise(tiny):
    same = dcv.Prompts(["grass"], ["{}", "no {}"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ranking = dcv.measure.rank_templates(tiny, [images(1)[0]] * 6, same, score="peak", progress=False)
    assert told == [] and ranking.within_noise == [ranking.best] and "ahead of all" in repr(ranking)


def test_an_interrupt_keeps_what_was_done(tiny):
    def stream():
        yield from images(6)
        raise KeyboardInterrupt

    with pytest.warns(UserWarning) as told:
        ranking = dcv.measure.rank_templates(tiny, stream(), PROMPTS, progress=False, batch_size=2)
    assert ranking.stopped and 2 <= ranking.scores.sizes["image"] <= 6
    assert any("Interrupted: this is about the" in str(one.message) for one in told)

    def nothing():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        dcv.measure.rank_templates(tiny, nothing(), PROMPTS, progress=False)


def test_a_image_that_cannot_be_read_is_left_out_with_its_masks(tiny, tmp_path):
    some, broken = images(5), tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    masks = [blobs(image) for image in some]
    whole = quietly(dcv.measure.rank_templates, tiny, some, PROMPTS, masks)
    with pytest.warns(UserWarning) as told:
        mixed = [broken, *some[:3], broken, *some[3:]]
        ranking = dcv.measure.rank_templates(tiny, mixed, PROMPTS, [{}, *masks[:3], {}, *masks[3:]], progress=False)
    assert sum("Left out: " in str(one.message) and "broken.png" in str(one.message) for one in told) == 2
    np.testing.assert_allclose(ranking.scores["score"], whole.scores["score"], atol=1e-6)
    failed = []
    unreadable = lambda image, error: failed.append(image)  # noqa: E731
    quietly(dcv.measure.rank_templates, tiny, [*some, broken], PROMPTS, [*masks, {}], unreadable=unreadable)
    assert failed == [broken]


def test_images_are_let_go_one_after_the_other(tiny):
    read = 0

    def stream():
        nonlocal read
        for image in images(9):
            read += 1
            yield image

    seen = []

    def masks(image):
        seen.append(read)
        return blobs(image)

    ranking = quietly(dcv.measure.rank_templates, tiny, stream(), PROMPTS, masks, batch_size=2)
    assert seen == list(range(1, 10)) and ranking.scores.sizes["image"] == 9


def test_images_without_a_mask_that_holds_something_are_not_judged(tiny):
    some = images(4)
    masks = [blobs(some[0]), {}, {"grass": np.zeros((32, 32), dtype=bool)}, blobs(some[3])]
    ranking = quietly(dcv.measure.rank_templates, tiny, some, PROMPTS, masks)
    assert ranking.scores.sizes["image"] == 2 and ranking.scores.attrs["images_not_judged"] == 2
    with pytest.raises(ImageError, match="1 images that can be judged"):
        quietly(dcv.measure.rank_templates, tiny, some[:3], PROMPTS, masks[:3])


def test_synonyms_are_ranked_beside_the_same_rivals(tiny):
    some = images(3)
    words, others = ["a red car", "a car, red", "an automobile"], ["grass"]
    masks = [{"a red car": blobs(image)["a red car"]} for image in some]
    options = {"others": others, "absent": ["a giraffe"], "template": "a photo of {}."}
    ranking = quietly(dcv.measure.rank_synonyms, tiny, some, words, masks, **options, score="iou")
    for at, word in enumerate(words):
        prompts = dcv.Prompts([word, *others], "a photo of {}.", absent=["a giraffe"])
        table = dcv.measure.templates_table(tiny.similarity(some[0], prompts), {word: masks[0]["a red car"]})
        assert ranking.scores.score[0, at].item() == pytest.approx(table["iou"].iloc[0], abs=1e-6)
    assert ranking.noun == "synonym" and set(ranking.table["synonym"]) == set(words)
    with pytest.raises(PromptError, match="One synonym only"):
        dcv.measure.rank_synonyms(tiny, some, ["a red car"])
    with pytest.raises(PromptError, match=r"'grass', which prompts\[1\] is already"):
        dcv.measure.rank_synonyms(tiny, some, ["a lawn", "grass"], others=["grass"])
    with pytest.raises(PromptError, match="3 templates for synonyms"):
        dcv.measure.rank_synonyms(tiny, some, words, template=["{}", "a photo of {}.", "{}, far away"])


def test_templates_may_count_differently_in_the_ensemble_that_all_are_compared_with(tiny):
    weights, some = [3, 1, 0.5], images(4)
    candidates, dense = template_candidates(tiny, PROMPTS, weights=weights), torch.randn(4, 4, 24)
    maps = cosine_maps(dense, candidates.vectors).numpy()
    for members in ([0, 1, 2], [0, 2], [1]):
        mean = ensemble(candidates.vectors[members], [weights[at] for at in members])
        found = candidates.ensembled(maps, members)
        assert np.abs(found - cosine_maps(dense, mean[None])[0].numpy()).max() < 1e-6
        assert np.abs(candidates.joined(maps, members[:-1], members[-1:])[0] - found).max() < 1e-6
    assert np.abs(candidates.left_out(maps)[1] - candidates.ensembled(maps, [0, 2])).max() < 1e-6
    plain, weighed = (
        quietly(dcv.measure.rank_templates, tiny, some, PROMPTS, blobs, weights=given) for given in (None, weights)
    )
    assert np.array_equal(plain.scores.score, weighed.scores.score)
    assert not np.array_equal(plain.scores.ensemble, weighed.scores.ensemble)
    small = quietly(dcv.measure.select_templates, tiny, some, PROMPTS, blobs, weights=weights, most=3)
    assert small.held_out == 2
    for odd in ([1, 1], [1, -1, 1], "many", [0, 0, 0]):
        with pytest.raises(PromptError, match="weights="):
            dcv.measure.rank_templates(tiny, some, PROMPTS, blobs, weights=odd)


def test_templates_that_cancel_out_have_no_ensemble(tiny):
    candidates = template_candidates(tiny, PROMPTS)
    against = dataclasses.replace(candidates, vectors=torch.stack([candidates.vectors[0], -candidates.vectors[0]]))
    with pytest.raises(PromptError, match="mean vector is zero"):
        against.ensembled(np.zeros((2, 3, 4)), [0, 1])


ABSENT = {"prompts": dcv.Prompts(["grass", "sky"], TEMPLATES)}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"prompts": dcv.Prompts(["grass"], "single")}, PromptError, "One template only.*no ranking.*imagenet-7"),
        ({"score": "entropy"}, PromptError, "score='entropy'.*one of peak"),
        ({"score": "iou_best"}, PromptError, "without masks"),
        ({"threshold": 0.2, "masks": blobs}, PromptError, "threshold=0.2 for the score 'shared_precision'"),
        ({**ABSENT, "score": "margin_absent"}, PromptError, "without absent prompts"),
        ({**ABSENT, "score": "iou", "masks": blobs}, PromptError, "without absent prompts"),
        ({"prompts": dcv.Prompts(["grass"], TEMPLATES)}, PromptError, "without a second prompt"),
        ({"masks": {"grass": np.zeros((32, 32), dtype=bool)}}, PromptError, "One dict of masks for several"),
        ({"masks": [{}]}, PromptError, "More images than masks"),
        ({"masks": [{}] * 4}, PromptError, "More masks than images"),
        ({"masks": [{}, {"grass": np.zeros((3, 3), dtype=bool)}, {}]}, ImageError, "masks of image 1.*'grass'"),
        ({"masks": [{}, {"gras": np.zeros((32, 32), dtype=bool)}, {}]}, PromptError, "masks of image 1.*'gras'"),
        ({"images": images(1)[0]}, ImageError, "several images are due"),
        ({"images": images(1)}, ImageError, "at least two"),
        ({"images": []}, ImageError, "0 images that can be judged"),
        ({"interval": 1}, PromptError, "interval=1"),
        ({"resamples": 5}, PromptError, "resamples=5"),
        ({"seed": -1}, PromptError, "seed=-1. Expected a whole number from 0 on"),
    ],
)
def test_what_cannot_be_ranked_is_refused(tiny, given, error, said):
    options = {"images": images(3), "prompts": PROMPTS, "masks": None, "progress": False, **given}
    first = [options.pop(name) for name in ("images", "prompts", "masks")]
    with pytest.raises(error, match=said):
        dcv.measure.rank_templates(tiny, *first, **options)
