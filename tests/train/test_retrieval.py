"""Retrieval: groups of images and captions that are what they say, and shares that mean what they say."""

from itertools import islice

import numpy as np
import pytest
import torch

from denseclip_viz.toyworld import dataset, scene, seed_of
from denseclip_viz.train.recipes import build, recipe_of
from denseclip_viz.train.retrieval import (
    AMONG,
    Group,
    Retrieval,
    averaged,
    distinct,
    endless,
    find_nearest,
    measure_retrieval,
    oracle,
    unambiguous,
)

SIZE = 64


def scenes_of(group):
    """The scenes of a group, drawn again from their seeds."""
    return [scene(seed - seed_of(0, "test"), SIZE, split="test") for seed in group.seeds]


def says(group):
    """Which caption is true of which image, asked of the scenes themselves."""
    return np.array([[each.says(caption) for caption in group.captions] for each in scenes_of(group)])


@pytest.fixture(scope="module")
def posed():
    return list(islice(unambiguous(endless(SIZE, "test"), among=24), 2))


def test_an_unambiguous_caption_is_true_of_its_own_image_and_of_no_other(posed):
    for group in posed:
        assert (says(group) == np.eye(24, dtype=bool)).all()
        assert (group.true == np.eye(24, dtype=bool)).all()


def test_an_unambiguous_group_holds_scenes_with_captions_of_theirs(posed):
    for group in posed:
        for each, image, caption in zip(scenes_of(group), group.images, group.captions, strict=True):
            assert np.array_equal(each.image, image)
            assert caption in {each.caption(seed).lower().rstrip(".") for seed in range(40)}


def test_scenes_are_taken_in_order_and_each_once_and_those_left_out_are_counted(posed):
    for groups in (posed, list(islice(distinct(endless(SIZE, "test"), among=24), 2))):
        seeds = [seed for group in groups for seed in group.seeds]
        assert seeds == sorted(set(seeds))
        assert seeds[-1] - seed_of(0, "test") + 1 == len(seeds) + sum(group.dropped for group in groups)


def test_groups_come_out_the_same_twice(posed):
    again = list(islice(unambiguous(endless(SIZE, "test"), among=24), 2))
    assert [(g.seeds, g.captions) for g in again] == [(g.seeds, g.captions) for g in posed]


def test_scenes_that_no_caption_sets_apart_are_dropped():
    scenes = dataset(12, "test", size=SIZE)
    twice = (scenes[number // 2] for number in range(24))
    group = next(unambiguous(twice, among=6))
    assert len(set(group.seeds)) == 6 and group.dropped >= 5


def test_distinct_captions_differ_and_know_of_which_images_they_are_true():
    group = next(distinct(endless(SIZE, "test"), among=24))
    assert len(set(group.captions)) == 24
    assert (group.true == says(group)).all() and group.true.diagonal().all()
    assert group.true.sum() > 24  # which is why this measure has no right answer at times


def test_an_oracle_that_picks_at_random_among_the_true_reaches_what_is_said():
    group = next(distinct(endless(SIZE, "test"), among=24))
    rng, hits, rounds = np.random.default_rng(0), np.zeros(2), 400
    for _ in range(rounds):
        noise = np.where(group.true, rng.random(group.true.shape), -1)
        hits += [(noise.argmax(axis) == np.arange(24)).mean() for axis in (1, 0)]
    said = oracle(group)
    assert abs(hits / rounds - [said.caption, said.image]).max() < 0.02


def test_an_oracle_of_unambiguous_captions_is_always_right(posed):
    assert averaged([oracle(group) for group in posed]) == Retrieval(1.0, 1.0)


def test_what_is_found_is_the_nearest_whatever_the_lengths():
    group = Group((0, 1, 2), np.zeros((3, 8, 8, 3), np.uint8), ("a", "b", "c"), np.eye(3, dtype=bool), 0)
    images, texts = (
        torch.eye(3) * 7,
        torch.tensor([[2.0, 0, 0], [0, 3, 0], [0, 4, 1]]),
    )  # the last is nearest to the second image
    assert find_nearest(group, lambda _: (images, texts)) == Retrieval(caption=1.0, image=pytest.approx(2 / 3))
    assert find_nearest(group, lambda _: (images, torch.eye(3))) == Retrieval(1.0, 1.0)


def test_training_asks_with_a_plain_model_and_gets_the_same_twice():
    model = build(recipe_of("tiny"), SIZE)
    one, other = (measure_retrieval(model, SIZE, groups=1, device="cpu") for _ in range(2))
    assert one == other and 0 <= one.caption <= 0.3
    assert str(one).endswith(f"of {AMONG}")
