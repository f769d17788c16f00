"""The bundled world: scenes, their truth, and the splits."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from denseclip_viz import toyworld
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.toyworld.draw import draw
from denseclip_viz.toyworld.layout import paints, sample
from denseclip_viz.toyworld.rng import stream
from denseclip_viz.toyworld.vocabulary import CLASSES, COLOURS, FAMILIES, FAMILY_OF, KINDS, SIZES, STUFF, SURFACES

numbers = st.integers(0, 2**40 - 1)


@settings(max_examples=12, deadline=None)
@given(numbers, st.sampled_from(toyworld.SPLITS))
def test_the_same_number_gives_the_same_scene_bit_for_bit(number, split):
    one, other = (toyworld.scene(number, 64, split=split) for _ in range(2))
    assert one.image.tobytes() == other.image.tobytes()
    assert one.labels().tobytes() == other.labels().tobytes()
    assert one.captions(3) == other.captions(3)


def test_what_was_drawn_before_does_not_change_a_scene():
    first = toyworld.scene(41, 96).image.copy()
    for number in range(30):
        toyworld.scene(number, 96)
    assert (toyworld.scene(41, 96).image == first).all()


@settings(max_examples=10, deadline=None)
@given(numbers)
def test_a_number_is_one_scene_at_every_size(number):
    small, large = toyworld.scene(number, 128), toyworld.scene(number, 256)
    assert small.plan == large.plan
    shrunk = large.labels()[::2, ::2]
    assert (shrunk == small.labels()).mean() > 0.9
    enlarged = np.asarray(Image.fromarray(small.image).resize((256, 256)), float)
    assert np.abs(enlarged - large.image).mean() < 22
    assert (small.resized(256).image == large.image).all()


def test_the_splits_share_no_scene():
    seeds = {split: set() for split in toyworld.SPLITS}
    plans = {split: set() for split in toyworld.SPLITS}
    for split in toyworld.SPLITS:
        for scenes in (toyworld.dataset(40, split, size=64), toyworld.sibling_scenes(10, split, size=64)):
            for scene in scenes:
                seeds[split].add(scene.seed)
                plans[split].add(repr(scene.plan))
        worded = toyworld.scene("a taxi", 64, split=split)
        seeds[split].add(worded.seed)
        plans[split].add(repr(worded.plan))
        assert len(seeds[split]) == len(plans[split]) == 51
    for table in (seeds, plans):
        assert len(set.union(*table.values())) == sum(map(len, table.values()))


def test_the_seed_ranges_of_the_splits_do_not_touch():
    ends = [
        (toyworld.seed_of(0, split, kind), toyworld.seed_of(2**40 - 1, split, kind))
        for split in toyworld.SPLITS
        for kind in range(3)
    ]
    assert all(before[1] < after[0] for before, after in zip(ends, ends[1:], strict=False))


@settings(max_examples=15, deadline=None)
@given(numbers)
def test_every_pixel_belongs_to_one_thing_or_stuff(number):
    scene = toyworld.scene(number, 96)
    masks = [thing.mask for thing in scene.things] + list(scene.stuff.values())
    assert (np.sum(masks, axis=0) == 1).all()
    names = [thing.kind for thing in scene.things] + list(scene.stuff)
    for name, mask in zip(names, masks, strict=True):
        assert {CLASSES[k] for k in np.unique(scene.labels()[mask])} == {name}


@settings(max_examples=15, deadline=None)
@given(numbers)
def test_boxes_are_the_tightest_around_the_masks(number):
    for thing in toyworld.scene(number, 96).things:
        left, top, right, bottom = thing.box
        outside = thing.mask.copy()
        outside[top:bottom, left:right] = False
        assert not outside.any()
        inside = thing.mask[top:bottom, left:right]
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


@pytest.mark.parametrize("number", range(0, 60, 3))
def test_what_a_thing_loses_it_loses_to_nearer_things(number):
    scene = toyworld.scene(number, 128)
    layers = len(scene.plan.stuff)
    for place in range(len(scene.plan.things)):
        alone = draw(replace(scene.plan, things=scene.plan.things[place : place + 1]), 128).owner == layers
        whole = draw(scene.plan, 128).owner
        owned = whole == layers + place
        # Edges are half transparent: where two meet, the pixel may fall to either.
        assert not (owned & ~_grown(alone)).any()
        lost = whole[alone & ~_grown(owned)]
        assert (lost > layers + place).mean() > 0.95 if lost.size > 20 else True


def _grown(mask):
    """The mask and the pixels that touch it."""
    padded = np.pad(mask, 1)
    steps = [np.roll(padded, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.any(steps, axis=0)[1:-1, 1:-1]


@pytest.mark.parametrize("number", [1, 2, 5, 8, 13, 21])
def test_a_mask_is_where_the_colour_of_the_thing_matters(number):
    plan = sample(stream(number), kinds=["bear", "castle", "sailing boat"])
    plain = replace(plan, light=replace(plan.light, blur=0.0, noise=0.0))
    for place, item in enumerate(plan.things):
        black, white = (
            draw(replace(plain, things=_with(plan.things, place, replace(item, main=c, second=c))), 128)
            for c in ((0, 0, 0), (255, 255, 255))
        )
        change = np.abs(black.image.astype(int) - white.image).max(2)
        owned = black.owner == len(plan.stuff) + place
        assert owned[change > 160].all()
        assert change[~owned].max(initial=0) < 150


def _with(things, place, item):
    return (*things[:place], item, *things[place + 1 :])


def test_a_image_without_a_thing_differs_only_near_it():
    plan = sample(stream(3), kinds=["owl", "mug"])
    plan = replace(plan, light=replace(plan.light, blur=0.0))
    whole, less = draw(plan, 128), draw(replace(plan, things=plan.things[:1]), 128)
    changed = np.argwhere((whole.image != less.image).any(2)) / 128
    left, top, right, bottom = plan.things[1].box
    assert (changed >= (top - 0.06, left - 0.08)).all() and (changed <= (bottom + 0.06, right + 0.08)).all()


def test_everything_that_may_be_named_occurs():
    plans = [sample(stream(number)) for number in range(1500)]
    things = [thing for plan in plans for thing in plan.things]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.surface for thing in things} == set(SURFACES)
    assert {thing.size for thing in things} == set(SIZES)
    assert {layer.name for plan in plans for layer in plan.stuff} == set(STUFF)
    assert {len(plan.things) for plan in plans} == set(range(6))
    assert {len(plan.stuff) for plan in plans} == {1, 2, 3}


def test_neither_place_nor_colour_gives_a_thing_away():
    pairs = {"stuff": [], "colour": []}
    for number in range(5000):
        plan = sample(stream(10_000 + number))
        for thing in plan.things:
            family = list(FAMILIES).index(FAMILY_OF[thing.kind])
            pairs["colour"].append((family, list(COLOURS).index(thing.colour)))
            pairs["stuff"] += [(family, list(STUFF).index(layer.name)) for layer in plan.stuff]
    for found in pairs.values():
        table = np.zeros((len(FAMILIES), len(STUFF)))
        np.add.at(table, tuple(np.transpose(found)), 1)
        table = table[:, table.any(0)] / table.sum()
        expected = table.sum(1, keepdims=True) * table.sum(0)
        assert (table * np.log(table / expected)).sum() < 0.01


def test_a_colour_is_nearest_to_its_own_name():
    rng = stream(1)
    tones = [(name, np.array(tone)) for name, those in COLOURS.items() for tone in those]
    right = total = 0
    for name in COLOURS:
        for _ in range(200):
            main = np.array(paints(rng, name)[0])
            right += min(tones, key=lambda pair: np.abs(pair[1] - main).sum())[0] == name
            total += 1
    assert right / total > 0.99


def test_sizes_are_what_they_are_called():
    for number in range(200):
        for thing in sample(stream(number)).things:
            left, top, right, bottom = thing.box
            low, high = SIZES[thing.size]
            assert 0.9 * low < np.sqrt((right - left) * (bottom - top)) <= high + 1e-9


def test_sibling_scenes_show_two_different_members_of_one_family():
    for scene in toyworld.sibling_scenes(25, "test", size=64):
        one, other = scene.things
        assert one.kind != other.kind and FAMILY_OF[one.kind] == FAMILY_OF[other.kind]
        assert min(one.visible, other.visible) > 0.6


def test_a_dataset_draws_when_asked_and_slices_like_a_list():
    scenes = toyworld.dataset(10**9, "validation", size=64)
    assert len(scenes) == 10**9 and len(scenes[5:8]) == 3
    assert (scenes[5:8][-1].image == scenes[7].image).all()
    assert scenes[-1].seed == toyworld.seed_of(10**9 - 1, "validation")
    assert [scene.seed for scene in toyworld.dataset(2, size=64, first=6)] == [6, 7]
    with pytest.raises(IndexError):
        scenes[10**9]


@pytest.mark.parametrize("size", [63, 513, 0, -1])
def test_a_size_that_cannot_be_drawn_is_refused(size):
    with pytest.raises(ImageError, match=f"{size} pixels.*64 to 512"):
        toyworld.scene(1, size)


def test_the_smallest_and_the_largest_size_can_be_drawn():
    for size in (64, 512):
        assert toyworld.scene(12, size).image.shape == (size, size, 3)


@pytest.mark.parametrize("bad", [-1, 2**40])
def test_a_number_outside_of_its_range_is_refused(bad):
    with pytest.raises(PromptError, match="Scene number"):
        toyworld.scene(bad, 64)


@pytest.mark.parametrize("bad", [1.5, None, [1], "160"])
def test_what_is_no_whole_number_is_refused_by_name(bad):
    with pytest.raises(PromptError, match="The size .* whole number"):
        toyworld.scene(1, bad)
    if not isinstance(bad, str):
        with pytest.raises(PromptError, match="Scene number .* whole number"):
            toyworld.scene(bad, 64)
    with pytest.raises(PromptError, match="The seed .* whole number"):
        toyworld.scene(1, 64).caption(bad)


def test_a_split_that_does_not_exist_is_refused():
    with pytest.raises(PromptError, match="'dev'.*train or validation or test"):
        toyworld.dataset(3, "dev")
    with pytest.raises(PromptError, match="-3 scenes"):
        toyworld.dataset(-3)


def test_nothing_of_a_scene_can_be_changed_by_accident():
    scene = next(s for s in toyworld.dataset(50, size=64) if s.things)
    arrays = [scene.image, scene.things[0].mask, *scene.stuff.values()]
    assert not any(array.flags.writeable for array in arrays)
    with pytest.raises(AttributeError):
        scene.seed = 3


def test_a_notebook_shows_the_image_and_the_words_that_were_asked_for():
    scene = toyworld.scene("a red taxi on a road", 64)
    assert (np.asarray(Image.open(io.BytesIO(scene._repr_png_()))) == scene.image).all()
    for drawn in (scene, scene.resized(96)):
        html = drawn._repr_html_()
        assert html.count("<img") == 1 and "<b>a red taxi on a road</b>" in html and "red taxi" in html


def test_a_numbered_scene_is_headed_by_a_caption():
    scene = toyworld.scene(1, 64)
    assert scene.words == "" and f"<b>{scene.caption()}</b>" in scene._repr_html_()


def test_words_are_escaped_in_a_notebook(monkeypatch):
    monkeypatch.setattr(toyworld.Scene, "caption", lambda self, seed=0: "<script>\"'&")
    html = toyworld.scene(1, 64)._repr_html_()
    assert "<script>" not in html and "\"'&" not in html
    assert "<table>" in toyworld.vocabulary()._repr_html_()


def test_the_world_is_the_one_that_the_bundled_models_were_trained_on():
    """What scenes hold and say, to the letter; their colours as means, since pixels may round otherwise elsewhere."""
    words, means = hashlib.sha256(), []
    for split in toyworld.SPLITS:
        for scene in toyworld.dataset(4, split, size=96):
            texts = *scene.captions(3), scene.caption(1, brief=True), scene.caption(1, brief=True, negated=True)
            words.update(" | ".join(texts).encode() + scene.labels().tobytes())
            means.append(scene.image.mean())
    assert words.hexdigest()[:16] == "e9affd3ca6aab14a"
    before = [139.28, 175.55, 177.18, 121.51, 126.07, 167.12, 168.46, 186.84, 110.85, 185.12, 135.04, 125.49]
    np.testing.assert_allclose(means, before, atol=0.02)


def test_a_variant_of_a_number_and_yes_for_a_number_are_refused():
    with pytest.raises(PromptError, match="variant=2 for a numbered scene"):
        toyworld.scene(3, 64, variant=2)
    with pytest.raises(PromptError, match="Scene number True"):
        toyworld.scene(True, 64)


@pytest.mark.parametrize("call", [lambda scene: scene.caption(-1), lambda scene: scene.captions(-1),
                                  lambda scene: scene.captions(None), lambda scene: scene.captions(2.0)])  # fmt: skip
def test_captions_are_counted_from_nothing(call):
    with pytest.raises(PromptError, match="a whole number from 0"):
        call(toyworld.scene(7, 64))
