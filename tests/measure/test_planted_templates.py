"""Templates that say the wrong thing, planted among good ones: the bundled model knows better, the ranking says so."""

from __future__ import annotations

import warnings

import pytest

import denseclip_viz as dcv
from denseclip_viz.toyworld.vocabulary import CLASSES, KINDS, noun_phrase

GOOD = ("{}", "a photo of {}", "there is {} in the scene", "a picture of {}")
NEGATED, UNLIKE = "a photo without {}", "a photo of nothing like {}"
RIGHT, WRONG = "a photo of a {}", "a photo of an {}"
SCENES = 60


@pytest.fixture(scope="module")
def rank():
    """Rank templates of names on the same scenes, masks of nothing for what is not in one; by the score by default."""
    model = dcv.load()
    scenes = dcv.toyworld.dataset(SCENES, "test", size=model.preprocess.size[0])

    def ranked(names, templates):
        def masks(scene):
            labels = scene.labels()
            return {name: labels == CLASSES.index(kind) for name, kind in names.items()}

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Within noise")  # the good ones may well be
            return dcv.measure.rank_templates(model, scenes, dcv.Prompts(list(names), templates), masks, progress=False)

    return ranked


@pytest.fixture(scope="module")
def planted(rank):
    return rank({noun_phrase(kind): kind for kind in CLASSES}, (*GOOD, NEGATED, UNLIKE))


@pytest.mark.parametrize("bad", [NEGATED, UNLIKE])
def test_a_template_that_denies_what_it_names_ranks_last_by_more_than_noise(planted, bad):
    rows = planted.table[planted.table["template"].isin([*GOOD, bad])]
    assert rows["template"].iloc[-1] == bad and planted.best in GOOD
    assert rows["to_best_high"].iloc[-1] < 0 and bad not in planted.within_noise


def test_a_wrong_article_is_never_said_to_be_better(rank):
    """Things alone, and those that begin with a consonant: "an taxi" is wrong for each of them."""
    names = {kind: kind for kind in KINDS if kind[0] not in "aeiou"}
    ranking = rank(names, (RIGHT, WRONG))
    assert RIGHT in ranking.within_noise
