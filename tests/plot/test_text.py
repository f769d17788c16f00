"""Prompts in any script are drawn where a font has it; one warning says what to install where none has."""

import os
import warnings

import fake_results
import matplotlib.font_manager as manager
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from denseclip_viz import plot
from denseclip_viz.plot import text as typesetting

SCRIPTS = {
    "Hangul": ("고양이 한 마리", "fonts-nanum"),
    "kana": ("ねこ", "fonts-ipafont-gothic"),
    "Han": ("貓", "fonts-noto-cjk"),
    "Devanagari": ("एक लाल कार", "fonts-noto-core"),
    "Thai": ("รถสีแดง", "fonts-noto-core"),
    "emoji": ("🐫", "fonts-symbola"),
    "Cuneiform": ("𒀀", "fonts-noto-core"),
}
BUNDLED = ("سيارة حمراء", "חתול", "кошка", "γάτα", "🐱")  # matplotlib's own font has them


def draw(text, letters):
    figure = Figure(figsize=(3, 1))
    shown = typesetting.isolated(letters.shown(text))
    figure.text(0, 0.5, shown, family=letters.families(shown), parse_math=False)
    figure.canvas.draw()


def has_font(text):
    """Ask every installed file, by another way than the package does."""
    wanted = {ord(c) for c in text if not c.isspace()}
    for entry in manager.fontManager.ttflist:
        if not os.path.exists(entry.fname):
            continue  # matplotlib's list is older than the removal of the font
        face = FT2Font(entry.fname)
        if "Last Resort" not in entry.name and face.scalable and wanted <= set(face.get_charmap()):
            return True
    return False


@pytest.fixture
def no_fonts(monkeypatch):
    monkeypatch.setattr(typesetting, "_installed", lambda: iter(()))
    monkeypatch.setattr(typesetting, "_known", dict)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_drawn_where_a_font_has_it_and_else_named_in_one_warning(script):
    text, package = SCRIPTS[script]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        letters = typesetting.fonts_for([text])
        draw(text, letters)
    told = " ".join(str(warning.message) for warning in caught)
    unshaped = script in typesetting.SHAPED_SCRIPTS and not typesetting.shapes_text()
    assert len(caught) == (unshaped or not has_font(text))
    assert ("matplotlib>=3.11" in told) == unshaped
    if has_font(text):
        assert typesetting.TOFU not in letters.shown(text) and package not in told
        assert len(letters.families(text)) == len(letters.base) + 1
    else:
        assert script in told and package in told


@pytest.mark.filterwarnings("ignore:This matplotlib neither joins")
@pytest.mark.parametrize("text", BUNDLED)
def test_what_the_bundled_font_has_needs_no_search(text, monkeypatch):
    monkeypatch.setattr(typesetting, "_installed", lambda: pytest.fail("the fonts were searched"))
    draw(text, typesetting.fonts_for([text]))


def test_without_fonts_one_warning_a_figure_names_scripts_characters_and_packages(no_fonts):
    prompts = ("고양이", "ねこ", "猫", "🐫")
    both = fake_results.comparison(prompts=prompts)
    with pytest.warns(UserWarning) as caught:
        plot.compare(both).canvas.draw()
    assert len(caught) == 1 and caught[0].filename == __file__
    message = str(caught[0].message)
    for word in (
        "Hangul (고 양 이)",
        "kana (こ ね)",
        "Han (猫)",
        "emoji (🐫)",
        "fonts-nanum",
        "fonts-symbola",
        typesetting.TOFU,
    ):
        assert word in message


def test_without_fonts_each_missing_character_is_one_box_and_the_rest_is_drawn(no_fonts):
    with pytest.warns(UserWarning):
        letters = typesetting.fonts_for(["a 고양 cat"])
    assert letters.shown("a 고양 cat") == f"a {typesetting.TOFU * 2} cat"


def test_what_was_found_is_not_searched_again(monkeypatch):
    text = "가"
    if not has_font(text):
        pytest.skip("no Hangul font here")
    first = typesetting.fonts_for([text])
    monkeypatch.setattr(typesetting, "_installed", lambda: pytest.fail("the fonts were searched again"))
    assert typesetting.fonts_for([text]) == first


def test_a_font_installed_while_the_notebook_is_open_is_found(monkeypatch):
    text = "각"
    if not has_font(text):
        pytest.skip("no Hangul font here")
    known = [e for e in manager.fontManager.ttflist if os.path.exists(e.fname)]
    without = [e for e in known if not FT2Font(e.fname).get_char_index(ord(text))]
    monkeypatch.setattr(manager.fontManager, "ttflist", without)
    found = {}
    monkeypatch.setattr(typesetting, "_known", lambda: found)
    draw(text, typesetting.fonts_for([text]))


def test_a_colour_bitmap_font_is_never_chosen():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        letters = typesetting.fonts_for(["🐫🦓🫠"])
    assert not any("color" in family.lower() for families in letters.covering.values() for family in families)


def test_letters_that_this_matplotlib_cannot_join_are_told_once(monkeypatch):
    monkeypatch.setattr(typesetting, "shapes_text", lambda: False)
    with pytest.warns(UserWarning, match=r"Arabic, Hebrew.*matplotlib>=3\.11") as caught:
        typesetting.fonts_for(["سيارة", "חתול"])
    assert len(caught) == 1


def test_the_users_own_font_comes_first(monkeypatch):
    monkeypatch.setitem(manager.mpl.rcParams, "font.family", ["DejaVu Serif"])
    assert typesetting.base_families() == ("DejaVu Serif", "DejaVu Sans")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a⏎b"),
        ("a\r\nb", "a⏎b"),
        ("a\tb", "a⇥b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("abc\u202edcb", "abc\\u202edcb"),
        ("\ud800", "\\ud800"),
        ("\ue000", "\\ue000"),
        ("a\u200bb", "a\\u200bb"),
        ("❤\ufe0f", "❤"),
        ("👨\u200d👩", "👨👩"),
        ("क\u094d\u200dष", "क\u094d\u200dष"),
        ("\u1100\u1161", "가"),
    ],
)
def test_characters_that_do_something_are_made_harmless_and_visible(text, shown):
    assert typesetting.visible(text) == shown


def test_mathematics_in_a_prompt_is_drawn_as_it_was_typed():
    figure = plot.compare(fake_results.comparison(prompts=("$x_1$ \\frac", "100% {grass}")))
    texts = {text.get_text(): text for text in figure.texts}
    heading = next(text for name, text in texts.items() if name.startswith("$x_1$ \\frac ·"))
    assert not heading.get_parse_math() and not heading.get_usetex()
    figure.canvas.draw()


def test_a_right_to_left_prompt_leaves_its_score_on_the_right():
    shown = typesetting.isolated("قطة")
    assert shown == ("\u2068قطة\u2069" if typesetting.shapes_text() else "قطة")
    assert typesetting.isolated("cat 1.5") == "cat 1.5"


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_any_text_draws_with_one_warning_at_the_most(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw(text, typesetting.fonts_for([text]))
    assert len(caught) <= 1


@settings(max_examples=40, deadline=None)
@given(st.text("ab WMi…고", max_size=60), st.floats(30, 200), st.integers(1, 3))
def test_fitted_lines_fit_and_keep_both_ends(text, width, lines):
    letters = typesetting.Lettering(("DejaVu Sans",), {"고": ()})
    fitted = letters.fit(text, width=width, size=10, lines=lines)
    assert 1 <= len(fitted) <= lines
    assert all(letters.width(line, size=10) <= width + 1 for line in fitted)
    whole, shown = letters.shown(text).strip(), " ".join(fitted)
    assert shown[:1] == whole[:1] and shown[-1:] in (whole[-1:], "…")


def test_a_text_that_fits_is_left_alone():
    letters = typesetting.fonts_for([])
    assert letters.fit("a red car", width=500, size=10) == ["a red car"]
    assert letters.fit("a red car", width=30, size=10, lines=3) == ["a red", "car"]


def test_a_text_of_a_hundred_thousand_letters_is_shortened_at_once():
    [line] = typesetting.fonts_for([]).fit("W" * 100_000, width=200, size=10)
    assert line.count("…") == 1 and len(line) < 60
