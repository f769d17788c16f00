"""Text on figures: made visible and harmless, drawn by fonts that have it, measured, broken and shortened to fit."""

import functools
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

import matplotlib
from matplotlib import font_manager, ft2font
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

BUNDLED = "DejaVu Sans"  # matplotlib brings it
TOFU, ELLIPSIS = "□", "…"  # for a character that no font draws, and for what was cut out
NARROWEST = 0.15  # of the font size: hardly a letter is narrower, so far longer texts need not be measured
JOINERS = "\u200c\u200d"
LINE_BREAKS = "\n\r\v\f\x85\u2028\u2029"
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
SCRIPT_OF_WORD = {"HIRAGANA": "kana", "KATAKANA": "kana", "CJK": "Han", "IDEOGRAPHIC": "Han"}
# Scripts whose letters change with their neighbours, stack or run leftwards: a font alone does not draw them.
SHAPED_SCRIPTS = (
    "Arabic Hebrew Syriac Thaana Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam "
    "Sinhala Thai Lao Tibetan Myanmar Khmer"
).split()
# What to install, in Debian's names, for the scripts that people type most.
PACKAGES = {"Hangul": "fonts-nanum", "kana": "fonts-ipafont-gothic", "Han": "fonts-noto-cjk", "emoji": "fonts-symbola"}
OTHER_PACKAGE = "fonts-noto-core"
# Families to take last: they cover much and look out of place beside a regular sans serif.
ODD_WORDS = "mono coding serif myeongjo mincho rashi nastaliq looped condensed".split()
# A family named after a weight has no regular face.
WEIGHT_WORDS = "thin light medium bold black heavy".split()
# Explicit, so that nobody's settings turn a prompt into mathematics or TeX, or a label into bold italics.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False, "style": "normal"}
LITERAL |= {"fontvariant": "normal", "fontstretch": "normal"}


@dataclass(frozen=True)
class Lettering:
    """How the texts of one figure are drawn.

    Attributes:
        base: The families of ordinary text, in the order in which they are tried.
        covering: For each character that the base lacks, the families that draw it; empty when none does.
    """

    base: tuple[str, ...]
    covering: Mapping[str, tuple[str, ...]]

    def families(self, text: str) -> list[str]:
        """Return the base and the fewest further families that draw a text, best first."""
        need = {c for c in text if self.covering.get(c)}
        chosen = list(self.base)
        while need:
            counts = Counter(family for c in need for family in self.covering[c])
            best = min(counts, key=lambda family: (-counts[family], _count_words(family, ODD_WORDS), family))
            chosen.append(best)
            need = {c for c in need if best not in self.covering[c]}
        return chosen

    def shown(self, text: str) -> str:
        """Return a text as it can be drawn: nothing invisible, and a box for what no font has."""
        return "".join(TOFU if self.covering.get(c) == () else c for c in visible(text))

    def width(self, text: str, *, size: float) -> float:
        """Measure one line of text, in points; `size` is that of the font."""
        return _advance(text, tuple(self.families(text)), size) if text else 0.0

    def fit(self, text: str, *, width: float, size: float, lines: int = 1) -> list[str]:
        """Break a text, as `shown`, into lines of a width in points; shorten it in the middle if it needs more."""
        text = self.shown(text).strip()
        high = min(len(text), int(lines * width / (NARROWEST * size)) + 1)
        if high == len(text) and len(broken := self._broken(text, width, size)) <= lines:
            return broken
        low = 1  # characters that stay: between low, which is taken to fit, and high
        while low < high:
            middle = (low + high + 1) // 2
            fits = len(self._broken(_cut(text, middle), width, size)) <= lines
            low, high = (middle, high) if fits else (low, middle - 1)
        return self._broken(_cut(text, low), width, size)[:lines]

    def _broken(self, text: str, width: float, size: float) -> list[str]:
        """Break greedily at spaces, and inside a word only where the word alone is too wide."""
        space = self.width(" ", size=size)
        lines, used = [""], 0.0
        for word in text.split(" "):
            wide = self.width(word, size=size)
            if lines[-1] and used + space + wide > width:
                lines, used = [*lines, ""], 0.0
            lines[-1], used = (f"{lines[-1]} {word}", used + space + wide) if lines[-1] else (word, wide)
            while used > width and len(lines[-1]) > 1:
                head = self._prefix(lines[-1], width, size)
                lines = [*lines[:-1], lines[-1][:head], lines[-1][head:]]
                used = self.width(lines[-1], size=size)
        return lines

    def _prefix(self, word: str, width: float, size: float) -> int:
        """Count the first characters of a word that fit, at least one."""
        ends = accumulate(self.width(c, size=size) for c in word)
        return max(1, sum(1 for _ in takewhile(lambda end: end <= width, ends)))


@functools.lru_cache(maxsize=4096)
def _advance(text: str, families: tuple[str, ...], size: float) -> float:
    font = font_manager.FontProperties(family=list(families), size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def _cut(text: str, length: int) -> str:
    head, tail = (length + 1) // 2, length // 2
    return text[:head].rstrip() + ELLIPSIS + (text[-tail:].lstrip() if tail else "")


def fonts_for(texts: Iterable[str], *, stacklevel: int = 2) -> Lettering:
    """Choose the fonts for everything on one figure that people wrote, and warn once if some cannot be drawn.

    Installed fonts are searched only when the base lacks a character. The warning names a line as `warnings.warn` does.
    """
    base = base_families()
    characters = {c for text in texts for c in visible(text)} - set(JOINERS)
    lacking = {c for c in characters if not any(_drawn_by(family, c) for family in base)}
    covering = _search(lacking) if lacking else {}
    problems = [*_missing(covering), *_unshaped(characters)]
    if problems:
        warnings.warn(" ".join(problems), UserWarning, stacklevel=stacklevel + 1)
    return Lettering(base, covering)


def base_families() -> tuple[str, ...]:
    """Return the families that matplotlib is set to draw ordinary text with, and last the one that it brings."""
    wanted = matplotlib.rcParams["font.family"]
    paths = [_path_of(family) for family in ([wanted] if isinstance(wanted, str) else wanted)]
    return tuple(dict.fromkeys([*(font_manager.get_font(path).family_name for path in paths if path), BUNDLED]))


def plain(size: float, colour: str) -> dict[str, Any]:
    """Return options of matplotlib's `text` for a number or a word of ours, whatever anybody's settings are."""
    return {"size": size, "color": colour, "weight": "normal", "family": list(base_families()), **LITERAL}


def _path_of(family: str) -> str | None:
    try:
        return font_manager.findfont(font_manager.FontProperties(family=[family]), fallback_to_default=False)
    except ValueError:  # so matplotlib tells that there is no such family
        return None


def _drawn_by(family: str, character: str) -> bool:
    """Ask the very file that matplotlib will take for a family."""
    path = _path_of(family)
    return path is not None and _draws(font_manager.get_font(path), character)


def _draws(font: FT2Font, character: str) -> bool:
    """Say whether a font has an outline for a character; colour fonts have bitmaps or nothing."""
    if not font.scalable or not font.get_char_index(ord(character)):
        return False
    if character.isspace():
        return True
    font.set_size(12, 72)
    font.load_char(ord(character))
    return len(font.get_path()[0]) > 0


def _search(characters: Collection[str]) -> dict[str, tuple[str, ...]]:
    """List the families that draw each character; what was successful once is not looked for again."""
    new = [c for c in characters if c not in _known()]
    if new:
        candidates: dict[str, list[str]] = {c: [] for c in new}
        for family, font in _installed():
            for c in new:
                if _draws(font, c):
                    candidates[c].append(family)
        for c, families in candidates.items():
            regular = [family for family in families if not _count_words(family, WEIGHT_WORDS)] or families
            drawn = tuple(family for family in regular if _drawn_by(family, c))
            if drawn:  # a failure is not remembered: a font may be installed while a notebook is open
                _known()[c] = drawn
    return {c: _known().get(c, ()) for c in characters}


@functools.cache
def _known() -> dict[str, tuple[str, ...]]:
    return {}


def _installed() -> Iterator[tuple[str, FT2Font]]:
    """Open one regular face of each installed family, also of those newer than matplotlib's list."""
    fonts = font_manager.fontManager
    for path in set(font_manager.findSystemFonts()) - {entry.fname for entry in fonts.ttflist}:
        if _face(path, 0) is not None:
            fonts.addfont(path)
    faces: dict[str, tuple[bool, bool, str, int]] = {}
    for entry in fonts.ttflist:
        slanted, heavy = entry.style != "normal", str(entry.weight) not in ("400", "normal", "regular")
        face = (slanted, heavy, entry.fname, int(getattr(entry, "index", 0)))
        faces[entry.name] = min(face, faces.get(entry.name, face))
    for family, (_, _, path, index) in faces.items():
        font = _face(path, index)
        # The last resort draws the name of a block: a box by another name.
        if font is not None and "last resort" not in family.lower():
            yield family, font


def _face(path: str, index: int) -> FT2Font | None:
    """Open a face that has outlines; None for bitmaps and for files that are no longer there or broken."""
    try:
        font = FT2Font(path, face_index=index) if index else FT2Font(path)
    except (OSError, RuntimeError):
        return None
    return font if font.scalable else None


def _count_words(family: str, words: Collection[str]) -> int:
    return sum(word in family.lower() for word in words)


def _missing(covering: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Say which scripts have no font here, with some of the characters and what to install."""
    by_script: dict[str, list[str]] = {}
    for c in sorted(c for c, families in covering.items() if not families):
        by_script.setdefault(script_of(c), []).append(c)
    if by_script:
        named = ", ".join(f"{script} ({' '.join(cs[:5])})" for script, cs in by_script.items())
        packages = sorted({PACKAGES.get(script, OTHER_PACKAGE) for script in by_script})
        yield f"No font on this machine draws {named}; each such character is shown as {TOFU}."
        yield f"Install fonts, for example the Debian packages {', '.join(packages)}, and draw again."


def _unshaped(characters: Collection[str]) -> Iterator[str]:
    """Say which scripts this matplotlib draws letter by letter and from the left."""
    scripts = sorted({script_of(c) for c in characters} & set(SHAPED_SCRIPTS))
    if scripts and not shapes_text():
        yield f"This matplotlib neither joins nor orders the letters of {', '.join(scripts)}. Install matplotlib>=3.11."


def visible(text: str) -> str:
    r"""Make control characters harmless and visible, in one line, and drop what only changes an emoji's dress.

    In Unicode's composed form. A line break is ⏎, a tab ⇥; other control, format (the right-to-left overrides among
    them), private and lone surrogate characters are escaped.

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
    """Name the script of a character as people call it; "unassigned" for what Unicode does not name."""
    code = ord(character)
    if 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF:
        return "emoji"
    word = unicodedata.name(character, "UNASSIGNED").split()[0].split("-")[0]
    return "unassigned" if word == "UNASSIGNED" else SCRIPT_OF_WORD.get(word, word.title())


def shapes_text() -> bool:
    """Say whether this matplotlib joins and orders complex scripts itself (3.11 and later do, by libraqm)."""
    return hasattr(ft2font, "__libraqm_version__")


def isolated(text: str) -> str:
    """Keep the direction of a right-to-left text from turning round what stands beside it.

    By Unicode's first-strong isolate (Unicode Standard Annex 9), where this matplotlib orders such texts.
    """
    turns = any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text)
    return f"{ISOLATE}{text}{END_ISOLATE}" if turns and shapes_text() else text


def number(value: float, decimals: int) -> str:
    """Write a number with a true minus sign, and none before a zero.

    Example:
        >>> number(-0.25, 2), number(-0.001, 2)
        ('−0.25', '0.00')
    """
    digits = f"{value:.{decimals}f}"
    return digits.replace("-", "−" if float(digits) else "")
