"""Which installed fonts draw a text: coverage, fall-back families, and one clear warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denseclip_viz.plot.characters import JOINERS, SHAPED_SCRIPTS, script_of, shapes_text, visible

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

BUNDLED = "DejaVu Sans"
TOFU = "□"  # stands for a character that no font draws; matplotlib's own fonts have it
# What to install, in Debian's names, for the scripts that people type most.
PACKAGES = {
    "Hangul": "fonts-nanum",
    "kana": "fonts-ipafont-gothic",
    "Han": "fonts-noto-cjk",
    "emoji": "fonts-symbola",
}
OTHER_PACKAGE = "fonts-noto-core"
# Families to take last: they cover much and look out of place beside a regular sans serif.
ODD_WORDS = "mono coding serif myeongjo mincho rashi nastaliq looped condensed".split()
# A family named after a weight has no regular face.
WEIGHT_WORDS = "thin light medium bold black heavy".split()


@dataclass(frozen=True)
class Lettering:
    """How the texts of one figure are drawn.

    Attributes:
        base: The families of ordinary text, in the order in which they are tried.
        covering: For each character that the base lacks, the families that draw it; empty when none does.

    Example:
        >>> letters = lettering(["a red car"])
        >>> letters.families("a red car") == list(letters.base), letters.shown("a$b")
        (True, 'a$b')
    """

    base: tuple[str, ...]
    covering: Mapping[str, tuple[str, ...]]

    def families(self, text: str) -> list[str]:
        """Return the base and the fewest further families that draw a text, best first."""
        need = {c for c in text if self.covering.get(c)}
        chosen = list(self.base)
        while need:
            counts: dict[str, int] = {}
            for c in need:
                for family in self.covering[c]:
                    counts[family] = counts.get(family, 0) + 1
            best = min(counts, key=lambda family: (-counts[family], _named(family, ODD_WORDS), family))
            chosen.append(best)
            need = {c for c in need if best not in self.covering[c]}
        return chosen

    def shown(self, text: str) -> str:
        """Return a text as it can be drawn: nothing invisible, and a box for what no font has."""
        return "".join(TOFU if self.covering.get(c) == () else c for c in visible(text))


def lettering(texts: Iterable[str], *, stacklevel: int = 2) -> Lettering:
    """Find the fonts for all texts of one figure, and warn once if some cannot be drawn.

    Args:
        texts: Everything that people wrote: prompts, templates, names.
        stacklevel: Whose line the warning names, as in `warnings.warn`.

    Returns:
        The lettering; installed fonts are searched only when the base lacks a character.

    Example:
        >>> lettering(["a red car"]).covering
        {}
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
    """Return the families that matplotlib is set to draw ordinary text with, and last the one that it brings.

    Example:
        >>> len(base_families()) >= 1
        True
    """
    import matplotlib
    from matplotlib.font_manager import get_font

    wanted = matplotlib.rcParams["font.family"]
    paths = [_path_of(family) for family in ([wanted] if isinstance(wanted, str) else wanted)]
    return tuple(dict.fromkeys([*(get_font(path).family_name for path in paths if path), BUNDLED]))


def _path_of(family: str) -> str | None:
    from matplotlib.font_manager import FontProperties, findfont

    try:
        return findfont(FontProperties(family=[family]), fallback_to_default=False)
    except ValueError:  # matplotlib's way of saying that there is no such family
        return None


def _drawn_by(family: str, character: str) -> bool:
    """Ask the very file that matplotlib will take for a family."""
    from matplotlib.font_manager import get_font

    path = _path_of(family)
    return path is not None and _draws(get_font(path), character)


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
    """Find the families that draw each character; what was found once is not looked for again."""
    new = [c for c in characters if c not in _found()]
    if new:
        candidates: dict[str, list[str]] = {c: [] for c in new}
        for family, font in _installed():
            for c in new:
                if _draws(font, c):
                    candidates[c].append(family)
        for c, families in candidates.items():
            regular = [family for family in families if not _named(family, WEIGHT_WORDS)] or families
            drawn = tuple(family for family in regular if _drawn_by(family, c))
            if drawn:  # a failure is not remembered: a font may be installed while a notebook is open
                _found()[c] = drawn
    return {c: _found().get(c, ()) for c in characters}


@functools.cache
def _found() -> dict[str, tuple[str, ...]]:
    return {}


def _installed() -> Iterator[tuple[str, FT2Font]]:
    """Open one regular face of each installed family, also of those newer than matplotlib's list."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:
        if _decomposed(path, 0) is not None:
            fontManager.addfont(path)
    faces: dict[str, tuple[bool, bool, str, int]] = {}
    for entry in fontManager.ttflist:
        slanted, heavy = entry.style != "normal", str(entry.weight) not in ("400", "normal", "regular")
        face = (slanted, heavy, entry.fname, int(getattr(entry, "index", 0)))
        faces[entry.name] = min(face, faces.get(entry.name, face))
    for family, (_, _, path, index) in faces.items():
        font = _decomposed(path, index)
        # The last resort draws the name of a block: a box by another name.
        if font is not None and "last resort" not in family.lower():
            yield family, font


def _decomposed(path: str, index: int) -> FT2Font | None:
    """Open a face that has outlines; None for bitmaps and for files that are no longer there or broken."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path, face_index=index) if index else FT2Font(path)
    except (OSError, RuntimeError):
        return None
    return font if font.scalable else None


def _named(family: str, words: Collection[str]) -> int:
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
        named = ", ".join(scripts)
        yield f"This matplotlib neither joins nor orders the letters of {named}. Install matplotlib>=3.11."
