"""Synonyms, background, files of templates, class lists, articles and plurals."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import CLASS_LISTS, TEMPLATE_SETS, Prompts, class_list, template_set
from denseclip_viz.prompts.articles import article_of, fill, is_plural, plural_of

CAR = {"car": ["car", "automobile"], "grass": "grass"}

AN = (
    "orange tree, hour, honest man, heir, MRI scan, SUV, HDTV, X-ray, x-ray, F-16, 8-ball, 18-wheeler, 11th hour,"
    " 80s car, urn, umbrella, usher, uninhabited island, unidentified object, utter mess, airplane, école, LED lamp"
)
A = (
    "unicorn, uniform, European road, eucalyptus, ewe, UFO, U-boat, T-shirt, NASA rocket, RAM module, utensil, urinal,"
    " one-way street, once-grand house, used car, ukulele, house, tv monitor, yacht, 7-seater, 118 bus, 고양이, !"
)
PLURALS = {
    "person": "people", "wine glass": "wine glasses", "bus": "buses", "bench": "benches", "box": "boxes",
    "berry": "berries", "toy": "toys", "knife": "knives", "shelf": "shelves", "snowman": "snowmen",
    "ottoman": "ottomans", "policewoman": "policewomen", "mouse": "mice", "sheep": "sheep", "fish": "fish",
    "chest of drawers": "chests of drawers", "man with a hat": "men with a hat", "hot dog": "hot dogs",
    "umbrella": "umbrellas", "zebra": "zebras", "Orange Tree": "Orange Trees", "lens": "lenses", "canvas": "canvases",
    "water": "water", "stairs": "stairs", "skis": "skis", "people": "people", "leaves": "leaves",
    "specimen": "specimens",
}  # fmt: skip


def test_a_prompt_with_synonyms_is_said_in_each_of_its_wordings_under_one_name():
    ours = Prompts(CAR, ["a {}.", "{}"])
    assert ours.prompts == ("car", "grass") and len(ours) == 2
    assert ours.synonyms == (("car", "automobile"), ("grass",)) and ours.prompt_index == (0, 0, 1)
    assert ours.texts == [["a car.", "a automobile.", "a grass."], ["car", "automobile", "grass"]]
    assert "2 prompts (3 wordings) × 2 templates = 6 texts" in repr(ours) and "car&#x27; (2 wordings)" in (
        ours._repr_html_()
    )
    assert Prompts.of(CAR) == Prompts(CAR) != Prompts(["car", "grass"])
    assert hash(ours) == hash(Prompts(CAR, ours.templates))


def test_without_synonyms_every_prompt_has_itself_for_wording():
    ours = Prompts(["car", "grass"], absent="sky")
    assert ours.synonyms == (("car",), ("grass",), ("sky",)) and ours.prompt_index == (0, 1, 2)


def test_two_prompts_may_share_a_wording():
    both = Prompts({"car": ["car", "vehicle"], "bus": ["bus", "vehicle"]})
    assert both.texts == [["car", "vehicle", "bus", "vehicle"]]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({}, "empty list"),
        ({"car": []}, "whose 'car' has no wordings"),
        ({"car": ["car", "car "]}, r"whose 'car'\[1\] is 'car ', which .*whose 'car'\[0\]"),
        ({"car": ["car", 3]}, r"whose 'car'\[1\] is 3 of type int"),
        ({"car": {"car", "auto"}}, "whose 'car' came as set"),
        ({3: "car"}, "a key is 3 of type int"),
        ({"": "car"}, "says nothing"),
        ({"car": "auto", "car ": "van"}, r"prompts\[1\]"),
    ],
)
def test_synonyms_that_cannot_be_used_are_refused_by_name(prompts, said):
    with pytest.raises(PromptError, match=said):
        Prompts(prompts)


def test_background_prompts_are_marked_and_added_like_absent_ones():
    ours = Prompts(CAR, absent=["giraffe"], background=["grass", "sky"])
    assert ours.prompts == ("car", "grass", "sky", "giraffe")
    assert ours.absent == (False, False, False, True) and ours.background == (False, True, True, False)
    assert ours.synonyms[1] == ("grass",) and ours.synonyms[0] == ("car", "automobile")
    assert "background: 'grass', 'sky'" in repr(ours)
    assert "&#x27;sky&#x27; (background)" in ours._repr_html_()


def test_marked_prompts_may_have_synonyms_but_only_one_list_of_them():
    assert Prompts("car", background={"sky": ["sky", "clouds"]}).synonyms == (("car",), ("sky", "clouds"))
    assert Prompts(CAR, background="car").synonyms[0] == ("car", "automobile")
    with pytest.raises(PromptError, match="background says 'car' in other words"):
        Prompts(CAR, background={"car": ["van", "bus"]})


def test_templates_come_from_a_file_with_comments(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\ufeff# my templates\na photo of {}.\n\n   the {}, from above \n#{}\n", encoding="utf-8")
    for name in (file, str(file)):
        assert Prompts("grass", name).templates == ("a photo of {}.", "the {}, from above")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a {}.\na photo.\n", "mine.txt:2: the template 'a photo.' has no place"),
        (b"# one\n\n{} and {}\n", "mine.txt:3: the template .* 2 places"),
        (b"a {}.\nthe {}.\na {}.\n", "mine.txt:3 is 'a {}.', which mine.txt:1 is already"),
        (b"a {\x00}.\n", "mine.txt:1 .*null"),
        (b"# nothing\n\n", "holds no template"),
        (b"", "holds no template"),
        (b"\xff\xfe\x00{}", "it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, content, said):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(PromptError, match=said) as caught:
        Prompts("grass", tmp_path / "mine.txt")
    assert caught.value.fix.endswith(".")


@pytest.mark.parametrize("name", ["missing.txt", "folder.txt", "a\0b.txt", "m" * 5000 + ".txt"])
def test_a_file_that_is_not_there_is_refused_by_name(tmp_path, name):
    if name == "folder.txt":
        (tmp_path / name).mkdir()
    with pytest.raises(PromptError, match="cannot be read"):
        Prompts("grass", str(tmp_path / name))


def test_class_lists_have_as_many_names_as_their_data_sets():
    counts = {"voc20": 20, "context59": 59, "coco-stuff171": 171, "ade150": 150, "cityscapes19": 19, "imagenet": 1000}
    assert {name: len(class_list(name)) for name in CLASS_LISTS} == counts
    for name in CLASS_LISTS[:-1]:
        names = class_list(name)
        assert Prompts(names, "maskclip-85").prompts == names and all(text == text.strip().lower() for text in names)
    assert len(Prompts(list(dict.fromkeys(class_list("imagenet"))), "imagenet-7")) == 998, "two names are there twice"


def test_class_lists_share_what_their_data_sets_share():
    stuff, voc = set(class_list("coco-stuff171")), set(class_list("voc20"))
    assert voc - stuff == {"motorbike", "sofa", "tv monitor"} and voc - set(class_list("context59")) == {"dining table"}
    assert class_list("context59") == tuple(sorted(class_list("context59")))
    assert class_list("ade150")[12] == "person" and class_list("cityscapes19")[11] == "person"


@pytest.mark.parametrize("name", ["voc", "coco_stuff", "", 3, None, ["voc20"]])
def test_an_unknown_class_list_is_refused_with_those_there_are(name):
    with pytest.raises(PromptError, match="There is no class list .*voc20.*imagenet"):
        class_list(name)


@pytest.mark.parametrize("name", TEMPLATE_SETS)
def test_published_templates_are_said_to_the_letter_unless_asked_otherwise(name):
    assert Prompts("orange tree", name).texts == [[text.replace("{}", "orange tree")] for text in template_set(name)]


@pytest.mark.parametrize("phrase", AN.split(", "))
def test_an_stands_before_the_sound_of_a_vowel(phrase):
    assert article_of(phrase) == "an"


@pytest.mark.parametrize("phrase", A.split(", "))
def test_a_stands_before_the_sound_of_a_consonant(phrase):
    assert article_of(phrase) == "a"


@pytest.mark.parametrize(
    ("template", "prompt", "said"),
    [
        ("a photo of a {}.", "orange tree", "a photo of an orange tree."),
        ("an image of an {}.", "car", "an image of a car."),
        ("A {} in a video game.", "hour", "An hour in a video game."),
        ("a photo of a {}.", "a red car", "a photo of a red car."),
        ("a photo of the {}.", "a red car", "a photo of the red car."),
        ("a photo of a {}.", "the Eiffel Tower", "a photo of the Eiffel Tower."),
        ("a photo of my {}.", "an old car", "a photo of my old car."),
        ("the plastic {}.", "a red car", "the plastic red car."),
        ("a photo of the hard to see {}.", "the car", "a photo of the hard to see car."),
        ("a photo of {}.", "a red car", "a photo of a red car."),
        ("a photo showing {}.", "a red car", "a photo showing a red car."),
        ("an owl next to {}", "a red car", "an owl next to a red car"),
        ("a cat on top of the {}", "a red car", "a cat on top of the red car"),
        ("the hard to see {}", "a red car", "the hard to see red car"),
        ("a dog near {}", "the red car", "a dog near the red car"),
        ("there is {} in the scene.", "a red car", "there is a red car in the scene."),
        ("a {}.", "grass", "grass."),
        ("A {}.", "stairs", "Stairs."),
        ("a {}.", "wine glass", "a wine glass."),
        ("a {}.", "two dogs", "two dogs."),
        ("a origami {}.", "unicorn", "an origami unicorn."),
        ("a {} and a umbrella", "cat", "a cat and an umbrella"),
        ("{}", "a orange tree", "a orange tree"),
    ],
)
def test_articles_are_set_right_on_request(template, prompt, said):
    assert Prompts(prompt, template, articles="right").texts == [[said]]


@pytest.mark.parametrize(("one", "more"), PLURALS.items())
def test_nouns_are_put_into_the_plural_once(one, more):
    assert plural_of(one) == more and plural_of(more) == more


def test_plurals_are_said_where_the_template_asks_for_them():
    ours = Prompts(["a wine glass", "person", "grass"], ["a photo of many {}.", "a photo of {}."], plural=True)
    assert ours.texts[0] == ["a photo of many wine glasses.", "a photo of many people.", "a photo of many grass."]
    assert ours.texts[1] == ["a photo of a wine glass.", "a photo of person.", "a photo of grass."]
    assert not is_plural("grass") and is_plural("many small birds")


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip))
def test_whatever_is_named_can_be_said(prompt):
    for template in ("a {}", "many {}!", "the toy {}", "{}"):
        text = fill(template, prompt, articles=True, plural=True)
        assert text and "{}" not in text.replace(prompt, "")


@pytest.mark.parametrize(
    ("prompt", "template", "options"),
    [("a car", "a photo of {}.", {}), ("a car", "an owl next to {}", {}),
     ("car", "a photo of a {}.", {}), ("a car", "many {}", {"plural": True}),
     ("a car", "a photo of a {}.", {"articles": "right"}), ("another car", "a photo of a {}.", {})],
)  # fmt: skip
def test_one_article_is_no_reason_to_warn(prompt, template, options):
    Prompts(prompt, template, **options)


@pytest.mark.parametrize("template", ["a photo of a {}.", "itap of the {}.", "the plastic {}.", "A bad {}", "many {}"])
def test_two_articles_in_one_text_are_kept_as_written_with_a_warning_that_shows_them(template):
    said = template.replace("{}", "a car")
    with pytest.warns(UserWarning, match=re.escape(f'{said!r} has an article too many. Pass articles="right"')):
        prompts = Prompts(["grass", "a car"], ["{}", template])
    assert prompts.texts[1] == [template.replace("{}", "grass"), said]


@pytest.mark.parametrize("switch", [{"articles": "wrong"}, {"articles": True}, {"plural": "yes"}, {"plural": 1}])
def test_switches_that_there_are_not_are_refused(switch):
    with pytest.raises(PromptError, match=next(iter(switch))):
        Prompts("grass", **switch)
