"""Captions are true, and words become scenes."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip_viz import toyworld
from denseclip_viz.errors import PromptError
from denseclip_viz.toyworld.vocabulary import (
    COLOURS,
    GROUPS,
    KINDS,
    RELATIONS,
    SIZES,
    STUFF,
    SURFACES,
    SYNONYMS,
    plural,
)

parse = toyworld.parse


def stands(relation, a, b, side):
    """Relations between two things, checked on their pixels rather than with the package's own rules."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    middle = ((ax0 + ax1) / 2, (ay0 + ay1) / 2, (bx0 + bx1) / 2, (by0 + by1) / 2)
    if relation == "next to":
        gap = max(bx0 - ax1, ax0 - bx1)
        return gap < 0.15 * side and min(ay1, by1) > max(ay0, by0)
    if relation in ("in front of", "behind"):
        touch = min(ax1, bx1) > max(ax0, bx0) and min(ay1, by1) > max(ay0, by0)
        return touch and (a.depth < b.depth) == (relation == "in front of")
    return {
        "left of": middle[0] < bx0 and ax1 < middle[2],
        "right of": middle[2] < ax0 and bx1 < middle[0],
        "above": middle[1] < by0 and ay1 < middle[3],
        "below": middle[3] < ay0 and by1 < middle[1],
    }[relation]


def called(phrase, thing):
    kinds = [phrase.noun] if phrase.noun in KINDS else GROUPS[phrase.noun]
    said = {"colour": phrase.colour, "surface": phrase.surface, "size": phrase.size}
    return thing.kind in kinds and all(v is None or getattr(thing, k) == v for k, v in said.items())


def rests_on(thing, stuff, scene):
    """The stuff must be seen close to the middle of the thing's lower border."""
    left, _, right, bottom = thing.box
    middle, reach = (left + right) // 2, scene.size // 16
    near = (slice(max(bottom - reach, 0), bottom + reach), slice(max(middle - 2 * reach, 0), middle + 2 * reach))
    seen = {name: mask[near].sum() for name, mask in scene.stuff.items()}
    hidden = max(seen.values(), default=0) < reach
    hidden |= any(other.mask[near].any() for other in scene.things if other.depth < thing.depth)
    return thing.on == stuff and (hidden or seen.get(stuff, 0) > 0.2 * max(seen.values()))


def is_true(text, scene):
    claims = parse(text)
    if not set(claims.stuff) <= set(scene.stuff) or any(name in scene.stuff for name in claims.no_stuff):
        return False
    if any(called(phrase, thing) for phrase in claims.no_things for thing in scene.things):
        return False
    for i, count in claims.counts:
        if sum(called(claims.things[i], thing) for thing in scene.things) != count:
            return False
    return any(
        all(called(p, t) for p, t in zip(claims.things, chosen, strict=True))
        and all(rests_on(chosen[i], stuff, scene) for i, stuff in claims.places)
        and all(stands(word, chosen[i], chosen[j], scene.size) for i, word, j in claims.relations)
        for chosen in permutations(scene.things, len(claims.things))
    )


def test_captions_are_true_of_their_scenes():
    for scene in toyworld.dataset(250, "validation", size=96):
        for seed in range(8):
            text = scene.caption(seed)
            assert is_true(text, scene), (scene.seed, text)
            assert scene.says(text), (scene.seed, text)


def test_brief_captions_name_one_thing_or_stuff_and_are_true():
    for scene in toyworld.dataset(60, "validation", size=64):
        for seed in range(8):
            text = scene.caption(seed, brief=True)
            assert scene.says(text), (scene.seed, text)
            assert len(parse(text).things) + len(parse(text).stuff) == 1


def test_negated_captions_deny_one_thing_or_stuff_and_are_true():
    wordings = set()
    for scene in toyworld.dataset(60, "validation", size=64):
        for seed in range(8):
            text = scene.caption(seed, negated=True)
            claims = parse(text)
            assert is_true(text, scene) and scene.says(text), (scene.seed, text)
            assert len(claims.no_things) + len(claims.no_stuff) == 1, text
            wordings |= {word for word in ("without", "no", "nothing like") if word in text.split() or word in text}
    assert wordings == {"without", "no", "nothing like"}


@pytest.mark.parametrize(
    ("text", "there", "denied"),
    [
        ("a road without a taxi", [], ["taxi"]),
        ("a cat and no red bus", ["cat"], ["bus"]),
        ("a photo of nothing like an oak", [], ["oak"]),
        ("there is no sky in the scene", [], ["sky"]),
        ("a cat without a bear, left of a mug", ["cat", "mug"], ["bear"]),
    ],
)
def test_what_is_denied_is_not_claimed(text, there, denied):
    claims = parse(text)
    assert [phrase.noun for phrase in claims.things] == there
    assert [*(phrase.noun for phrase in claims.no_things), *claims.no_stuff] == denied


def test_a_scene_from_words_leaves_out_what_is_denied():
    made = toyworld.scene("a cat without a road and without grass", 64)
    assert [thing.kind for thing in made.things] == ["cat"] and not {"road", "grass"} & set(made.stuff)
    with pytest.raises(PromptError, match="No place"):
        toyworld.scene("a taxi and no taxi", 64)


def test_captions_of_another_scene_are_mostly_false():
    scenes = list(toyworld.dataset(60, size=64))
    wrong = [other.says(one.caption(1)) for one in scenes for other in scenes if one is not other]
    assert sum(wrong) / len(wrong) < 0.05


def test_many_captions_leave_the_background_out_and_many_name_only_part():
    background = part = number = 0
    texts = set()
    for scene in toyworld.dataset(400, size=64):
        if len(scene.things) < 2:
            continue
        claims = parse(scene.caption(3))
        texts.add(scene.caption(3))
        number += 1
        background += not claims.stuff
        part += len(claims.things) < len(scene.things)
    assert 0.35 < background / number < 0.75
    assert 0.4 < part / number < 0.8
    assert len(texts) > 0.95 * number


def test_a_caption_is_not_always_the_same():
    assert len(toyworld.scene("a red taxi left of a cat, on grass", 64).captions(20)) == 20


@pytest.mark.parametrize(
    ("text", "things", "relations", "places"),
    [
        ("a blue fish next to a taxi, on grass", 2, [(0, "next to", 1)], [(0, "grass"), (1, "grass")]),
        ("there is a taxi in the scene", 1, [], []),
        ("grass and sky", 0, [], []),
        ("a cat on grass and a cab on a street", 2, [], [(0, "grass"), (1, "road")]),
        ("A cat left of a mug and in front of a bus.", 3, [(0, "left of", 1), (0, "in front of", 2)], []),
        ("an owl in front of a brick wall", 1, [], [(0, "brick wall")]),
        ("two polka-dot limos", 2, [], []),
        ("a taxi with stripes, mountains in the background", 1, [], []),
    ],
)  # fmt: skip
def test_captions_are_read_as_meant(text, things, relations, places):
    claims = parse(text)
    assert len(claims.things) == things
    assert list(claims.relations) == relations and list(claims.places) == places


def test_every_word_and_synonym_can_be_read():
    for name, synonyms in SYNONYMS.items():
        for word in synonyms:
            if name in STUFF:
                assert parse(f"a {word}") == parse(name)
            elif name in (*KINDS, *GROUPS):
                assert parse(f"a {word}") == parse(f"the {name}")
            else:
                assert parse(f"a {word} cat") == parse(f"a {name} cat")
    for name in (*KINDS, *GROUPS):
        assert len(parse(f"two {plural(name)}").things) == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a giraffe on grass", "giraffe"),
        ("a limosine", "limousine"),
        ("", "''"),
        ("a red blue taxi", "colour"),
        ("a red", "noun"),
        ("left of a cat", "without a thing before"),
        ("a cat on cabs", '"on" before "cabs"'),
        ("a photo of", "no thing and no stuff"),
        ("green lawn", 'adjective before "lawn"'),
        ("a cat left of grass", '"left of" before "grass"'),
        ("a lighthouse by the sea", '"by" before "sea"'),
        ("by the sea", '"by" without a thing before'),
        ("a road without", "without their noun"),
        ("a red no taxi", "in the middle"),
        ("a red without any taxi", '"without any" in the middle'),
    ],
)
def test_words_that_cannot_be_read_are_named(text, named):
    with pytest.raises(PromptError) as refused:
        parse(text)
    assert named.lower() in str(refused.value).lower()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a cat, a fox, a bear, an owl, a duck and a mug", "6 things"),
        ("sky, grass, sand and snow", "4 stuffs"),
        ("three cats and a cat", "No place"),
    ],
)
def test_words_that_cannot_be_drawn_are_refused(text, named):
    with pytest.raises(PromptError, match=named):
        toyworld.scene(text, 64)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(["a", "cat", "on", "red", "grass", "and", "two"])).map(" ".join))
def test_any_text_is_read_or_refused_in_words(text):
    try:
        parse(text)
    except PromptError as refused:
        assert "Expected" in str(refused)


phrases = st.tuples(
    st.sampled_from(sorted(SIZES)), st.sampled_from(SURFACES), st.sampled_from(sorted(COLOURS)), st.sampled_from(KINDS)
).map(lambda words: "a " + " ".join(words))


@settings(max_examples=25, deadline=None)
@given(phrases, st.sampled_from(sorted(STUFF)))
def test_a_scene_has_what_was_asked_for(phrase, stuff):
    text = f"{phrase} {STUFF[stuff]} {stuff}"
    scene = toyworld.scene(text, 64)
    assert len(scene.things) == 1 and is_true(text, scene)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("pair", [("a limousine", "a taxi"), ("a castle", "a knight"), ("a mug", "an oak")])
def test_a_relation_asked_for_is_drawn(relation, pair):
    text = f"{pair[0]} {relation} {pair[1]}"
    for variant in range(2):
        scene = toyworld.scene(text, 96, variant=variant)
        assert is_true(text, scene)
        if relation in ("left of", "above"):
            assert not is_true(f"{pair[1]} {relation} {pair[0]}", scene)


def test_the_same_words_give_the_same_scene_and_variants_differ():
    one, same, other = (toyworld.scene(t, 64, variant=v) for t, v in (("a fox", 0), ("A  fox", 0), ("a fox", 1)))
    assert (one.image == same.image).all() and (one.image != other.image).any()
