"""What people type, and what comes of it."""

import subprocess
import sys
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import TEMPLATE_SETS, Prompts, template_set

visible = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=30
).filter(str.strip)
distinct = st.lists(visible, min_size=1, max_size=6, unique_by=lambda text: normalize("NFC", " ".join(text.split())))


def test_a_prompt_is_said_as_it_was_typed_unless_templates_are_asked_for():
    assert Prompts("a red car").texts == [["a red car"]]
    assert Prompts([" two  spaces "]).prompts == (" two  spaces ",)


@pytest.mark.parametrize("prompts", [["a cat", "a photo of a {}"], {"cat": ["cat", "a {}"]}])
def test_a_prompt_that_looks_like_a_template_is_taken_as_it_is_with_a_word(prompts):
    with pytest.warns(UserWarning, match=r"looks like a template.*Pass it as templates="):
        assert Prompts(prompts).templates == ("{}",)
    assert Prompts(prompts, ["{}", "look: {}"]).texts  # whoever has templates knows what they are


@pytest.mark.filterwarnings("ignore:.*article too many")
@given(distinct, distinct)
def test_every_prompt_is_said_in_every_template(prompts, around):
    around = [text.replace("{", "(").replace("}", ")") for text in around]
    templates = [f"{number} {text} {{}}!" for number, text in enumerate(around)]
    texts = Prompts(prompts, templates).texts
    assert texts == [[f"{number} {text} {prompt}!" for prompt in prompts] for number, text in enumerate(around)]


@pytest.mark.filterwarnings("ignore:.*looks like a template")
@given(distinct)
def test_prompts_survive_a_second_look(prompts):
    ours = Prompts(prompts)
    assert Prompts.of(ours) is ours and Prompts.of(prompts) == ours and hash(ours) == hash(Prompts.of(prompts))
    assert len(ours) == len(prompts) == len(ours.absent)
    assert repr(ours) and ours._repr_html_()


def test_one_word_with_its_accent_written_in_two_ways_is_there_twice():
    for prompts, marked in ((["caf\u00e9", "cafe\u0301"], {}), (["caf\u00e9"], {"absent": ["cafe\u0301"]})):
        with pytest.raises(PromptError, match="which prompts.0. is already"):
            Prompts(prompts, **marked)


@pytest.mark.parametrize("prompt", ["{}", "{0}", "{name}", "{", "}}", "%s", "{prompt!r:>{width}}"])
def test_braces_in_a_prompt_are_only_braces(prompt):
    assert Prompts(prompt, "a photo of a {}.").texts == [[f"a photo of a {prompt}."]]


def test_the_named_sets_are_open_clips_and_five_about_the_scene():
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    for name, says in (("imagenet-80", OPENAI_IMAGENET_TEMPLATES), ("imagenet-7", SIMPLE_IMAGENET_TEMPLATES)):
        texts = Prompts(IMAGENET_CLASSNAMES[:3], name).texts
        assert texts == [[say(word) for word in IMAGENET_CLASSNAMES[:3]] for say in says]
    paper = template_set("maskclip-85")
    assert paper[:80] == template_set("imagenet-80") and len(set(paper)) == 85
    assert all(text.endswith(" {} in the scene.") for text in paper[80:])
    assert [len(template_set(name)) for name in TEMPLATE_SETS] == [1, 1, 7, 80, 85, 5]
    assert template_set("scene") == paper[80:]


def test_absent_prompts_are_marked_and_stand_last():
    ours = Prompts(["a red car", "grass"], absent=["sky", "a giraffe"], background="a road")
    assert ours.prompts == ("a red car", "grass", "a road", "sky", "a giraffe")
    assert ours.absent == (False, False, False, True, True)


@pytest.mark.parametrize("options", [{}, {"background": "sky"}])
def test_a_prompt_is_absent_or_it_is_not(options):
    with pytest.raises(PromptError, match=r"absent\[0\] is 'grass', which prompts\[1\] is already"):
        Prompts(["a red car", "grass"], absent=["grass"], **options)
    with pytest.raises(PromptError, match=r"absent\[0\] is 'sky'"):
        Prompts(["a red car"], absent=["sky"], background="sky")


def test_two_full_stops_are_warned_of():
    with pytest.warns(UserWarning, match=r"'a photo of a cat\.\.' has a full stop too many"):
        assert Prompts(["grass", "a cat."], ["{}", "a photo of {}."]).texts[1] == [
            "a photo of grass.",
            "a photo of a cat..",
        ]
    Prompts(["a cat."], ["{}", "{} in the scene."])


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ([], "empty list"),
        ("", "says nothing"),
        ([" \t\u3000"], r"prompts\[0\].*says nothing"),
        (["grass", 5], r"prompts\[1\] is 5 of type int"),
        ([None], "of type NoneType"),
        ([b"grass"], "of type bytes"),
        (b"grass", "came as bytes"),
        (7, "came as int"),
        (None, "came as NoneType"),
        ({"a", "b"}, "came as set"),
        ({"a": 1}, "came as dict"),
        (["grass", "sky", "grass"], r"prompts\[2\] is 'grass', which prompts\[0\]"),
        (["a  red car", "a red car"], r"prompts\[1\]"),
        (["\ud83d"], "surrogate"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused_by_name(prompts, said):
    with pytest.raises(PromptError, match=said):
        Prompts(prompts)


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ([], "No templates"),
        ("", "says nothing"),
        (["a photo."], "'a photo.' has no place"),
        ("{} and {}", "2 places"),
        ("a {0}.", "other braces"),
        ("a {thing}.", "other braces"),
        ("a {} {", "other braces"),
        ("{{}}", "other braces"),
        ("a } {", "other braces"),
        (["a {}.", "the {}.", "a {}."], r"templates\[2\]"),
        (["a {}.", 3], r"templates\[1\] is 3"),
        (3, "templates came as int"),
        ("imagenet80", "closest: imagenet-80"),
        ("Imagenet-80", "closest: imagenet-80"),
        ("quetzal", "There is no template set 'quetzal'"),
    ],
)
def test_templates_that_cannot_be_used_are_refused_by_name(templates, said):
    with pytest.raises(PromptError, match=said) as caught:
        Prompts("grass", templates)
    assert caught.value.fix.endswith(".")


def test_absent_prompts_are_checked_like_the_others():
    with pytest.raises(PromptError, match=r"absent\[0\]"):
        Prompts("grass", absent=[3])
    with pytest.raises(PromptError, match=r"absent\[1\]"):
        Prompts("grass", absent=["sky", "sky"])
    with pytest.raises(PromptError, match=r"absent\[0\] is 'a  car', which prompts\[0\]"):
        Prompts("a car", absent="a  car")


@pytest.mark.filterwarnings("ignore:.*looks like a template")
@given(
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(), st.lists, max_leaves=4)
)
def test_whatever_comes_is_prompts_or_an_error_of_ours(anything):
    try:
        assert all(isinstance(text, str) and text.strip() for text in Prompts(anything).prompts)
    except PromptError as error:
        assert error.got and error.expected and error.fix


def test_the_html_is_short_escaped_and_marks_what_is_absent():
    html = Prompts([f"<b>{number}</b> & co" for number in range(400)], "imagenet-80", absent="no & where")._repr_html_()
    assert "<b>0" not in html and "&lt;b&gt;0" in html and "401 prompts × 80 templates = 32080 texts" in html
    assert len(html) < 2000 and "model.similarity(trace, prompts)" in html
    few = Prompts("grass", absent="a <giraffe>")
    assert "&#x27;a &lt;giraffe&gt;&#x27; (absent)" in few._repr_html_() and "absent: 'a <giraffe>'" in repr(few)


def test_prompts_cannot_be_changed():
    with pytest.raises(AttributeError):
        Prompts("grass").prompts = ("sky",)


def test_prompts_alone_load_neither_torch_nor_open_clip():
    code = "import sys, denseclip_viz.prompts as p; p.Prompts('grass', 'single'); "
    code += "assert not {'torch', 'open_clip'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [None, 80, ["imagenet-80"], "imagenet80"])
def test_what_names_no_template_set_is_refused_with_those_there_are(name):
    with pytest.raises(PromptError, match="no template set .*one of none, single, imagenet-7"):
        template_set(name)


@pytest.mark.parametrize("template, prompt", [("a photo", "car"), ("{}", "cars"), (None, "car"), ("{}", None)])
def test_texts_of_another_template_or_prompt_are_refused(template, prompt):
    with pytest.raises(PromptError, match="Expected"):
        Prompts({"car": ["a car", "an automobile"]}).sent(template, prompt)
