"""What people pass by mistake to measurements: refused by its name, before the work that would meet it."""

import numpy as np
import pytest

import denseclip_viz as dcv
from denseclip_viz.errors import LayerError, OutputError, PromptError
from denseclip_viz.measure import (
    evaluate,
    evaluate_segmentation,
    ladder,
    path_candidates,
    rank_synonyms,
    rank_templates,
    synonym_candidates,
    template_candidates,
)

PROMPTS = dcv.Prompts(["a taxi", "grass"], ["{}", "a photo of {}"])


@pytest.fixture(scope="module")
def scenes():
    return dcv.toyworld.dataset(2, "test", size=64)


@pytest.fixture(scope="module")
def model():
    return dcv.load()


@pytest.mark.parametrize("error, names, options", [
    (PromptError, "metric='5'", {"metric": 5}), (PromptError, "metric='None'", {"metric": None}),
    (PromptError, "metric=''", {"metric": ""}), (LayerError, "unreadable='skip'", {"unreadable": "skip"}),
    (OutputError, "store is of type int", {"store": 5}), (OutputError, "store is ''", {"store": ""}),
])  # fmt: skip
def test_options_of_evaluate(model, scenes, error, names, options):
    candidates = template_candidates(model, PROMPTS)
    with pytest.raises(error, match=names):
        evaluate(model, scenes, candidates, **{"metric": "peak", "progress": False, **options})


@pytest.mark.parametrize("masks", [5, "masks", True])
def test_masks_that_are_none(model, scenes, masks):
    with pytest.raises(PromptError, match=f"masks={masks!r}.*a dict of masks for each image"):
        rank_templates(model, scenes, PROMPTS, masks, progress=False)


@pytest.mark.parametrize("score", ["", 0, [], False])
def test_a_score_that_is_nothing_is_no_default(model, scenes, score):
    with pytest.raises(PromptError, match="score="):
        rank_templates(model, scenes, PROMPTS, score=score, progress=False)


def test_one_path_is_not_read_letter_by_letter(model, scenes):
    assert path_candidates(model, PROMPTS, "value").names == ("value",)
    with pytest.raises(LayerError, match="at least two rungs"):
        ladder(model, scenes, paths="value", progress=False)
    with pytest.raises(LayerError, match="path=5"):
        path_candidates(model, PROMPTS, 5)
    with pytest.raises(LayerError, match="path=5"):
        ladder(model, scenes, paths=5, progress=False)


def test_plain_prompts_are_taken_as_everywhere(model):
    assert path_candidates(model, ["a taxi", "grass"], ["value"]).prompts == ("a taxi", "grass")
    with pytest.raises(PromptError, match="One template only"):
        template_candidates(model, ["a taxi"])


@pytest.mark.parametrize("others", [{"grass", "sky"}, {"grass": 1}, 5, [5]])
def test_others_are_named_as_others_and_have_an_order(model, others):
    with pytest.raises(PromptError, match="others"):
        synonym_candidates(model, ["a taxi", "a cab"], others=others, template="none")


def test_synonyms_are_named_as_synonyms_and_get_no_advice_about_templates(model, scenes):
    with pytest.raises(PromptError, match=r"synonyms\[0\] is 5"):
        rank_synonyms(model, scenes, [5], progress=False)
    with pytest.raises(PromptError, match=r"Add another synonym\.$"):
        rank_synonyms(model, scenes, ["a taxi"], progress=False)


@pytest.mark.parametrize("options", [
    {"names": "abc"}, {"names": 5}, {"names": iter(["a", "b"])}, {"templates": []}, {"templates": 5}, {"articles": ""},
])  # fmt: skip
def test_words_of_evaluate_segmentation(model, scenes, options):
    with pytest.raises(PromptError, match="names|templates|articles"):
        evaluate_segmentation(model, scenes, **options, progress=False)


def test_templates_of_evaluate_segmentation_may_be_an_array(model, scenes):
    measured = [
        evaluate_segmentation(model, scenes, templates=templates, progress=False)
        for templates in (["a {}"], np.array(["a {}"]))
    ]
    assert measured[0].identical(measured[1])


@pytest.mark.parametrize("options", [{"unreadable": "skip"}, {"keep": None}, {"keep": 5}])
def test_options_of_encode(model, scenes, tmp_path, options):
    with pytest.raises((LayerError, OutputError), match=next(iter(options))):
        dcv.features.encode(model, scenes, tmp_path / "store", **options, progress=False)
    assert not list(tmp_path.iterdir())


def test_unreadable_of_trace_many_is_refused_before_an_image_is_opened(model):
    with pytest.raises(LayerError, match="unreadable='skip'"):
        next(model.trace_many(["nowhere.png"], unreadable="skip"))
