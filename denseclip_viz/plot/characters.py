"""Single characters of a text: made visible and harmless, named by script, kept in their direction."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
SCRIPT_OF_WORD = {"HIRAGANA": "kana", "KATAKANA": "kana", "CJK": "Han", "IDEOGRAPHIC": "Han"}
# Scripts whose letters change with their neighbours, stack or run leftwards: a font alone does not draw them.
SHAPED_SCRIPTS = (
    "Arabic Hebrew Syriac Thaana Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam "
    "Sinhala Thai Lao Tibetan Myanmar Khmer"
).split()


def visible(text: str) -> str:
    r"""Make control characters harmless and visible, and drop what only changes an emoji's dress.

    Args:
        text: Any text.

    Returns:
        One line in Unicode's composed form: a line break is ⏎, a tab ⇥; other control, format (the
        right-to-left overrides among them), private and lone surrogate characters are escaped.

    Example:
        >>> visible("a\nb\u202ec")
        'a⏎b\\u202ec'
    """
    composed = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    return "".join(_visible_character(composed, i) for i in range(len(composed)))


def _visible_character(text: str, index: int) -> str:
    c, kind = text[index], unicodedata.category(text[index])
    if c in JOINERS:
        # Between letters a joiner shapes the script; between emoji it asks for an image no outline font has.
        around = text[max(index - 1, 0) : index] + text[index + 1 : index + 2]
        return c if around and all(unicodedata.category(a)[0] in "LM" for a in around) else ""
    if "\ufe00" <= c <= "\ufe0f" or 0xE0000 <= ord(c) <= 0xE01EF:
        return ""  # variation selectors and tags
    if c in LINE_BREAKS:
        return "⏎"
    if c == "\t":
        return "⇥"
    if kind in ("Cc", "Cf", "Cs", "Co"):
        return c.encode("unicode_escape", "surrogatepass").decode("ascii")
    return " " if kind == "Zs" else c


def script_of(character: str) -> str:
    """Name the script of a character as people call it.

    Args:
        character: One character.

    Returns:
        "Hangul", "kana", "Han", "Arabic", "emoji", …; "unassigned" for what Unicode does not name.

    Example:
        >>> script_of("고"), script_of("ね"), script_of("猫"), script_of("🐱")
        ('Hangul', 'kana', 'Han', 'emoji')
    """
    code = ord(character)
    if 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF:
        return "emoji"
    word = unicodedata.name(character, "UNASSIGNED").split()[0].split("-")[0]
    if word == "UNASSIGNED":
        return "unassigned"
    return SCRIPT_OF_WORD.get(word, word.title())


def shapes_text() -> bool:
    """Say whether this matplotlib joins and orders complex scripts itself (3.11 and later do, by libraqm).

    Example:
        >>> isinstance(shapes_text(), bool)
        True
    """
    from matplotlib import ft2font

    return hasattr(ft2font, "__libraqm_version__")


def isolated(text: str) -> str:
    """Keep the direction of a right-to-left text from turning round what stands beside it.

    Args:
        text: A text as drawn.

    Returns:
        The text within Unicode's first-strong isolate (Unicode Standard Annex 9) if it has right-to-left
        characters and this matplotlib orders them; else as it came.

    Example:
        >>> isolated("a cat")
        'a cat'
    """
    turns = any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text)
    return f"{ISOLATE}{text}{END_ISOLATE}" if turns and shapes_text() else text
