"""Lines of text that fit: measured, broken at spaces, shortened in the middle."""

from __future__ import annotations

import functools

from denseclip_viz.plot.fonts import Lettering

ELLIPSIS = "…"
NARROWEST = 0.15  # of the font size: hardly a letter is narrower, so far longer texts need not be measured


@functools.lru_cache(maxsize=4096)
def _advance(text: str, families: tuple[str, ...], size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(families), size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def width_of(text: str, letters: Lettering, *, size: float) -> float:
    """Measure a line of text.

    Args:
        text: One line, as drawn.
        letters: The lettering of its figure.
        size: Font size in points.

    Returns:
        The width in points.

    Example:
        >>> from denseclip_viz.plot.fonts import lettering
        >>> letters = lettering([])
        >>> 0 < width_of("a", letters, size=10) < width_of("aa", letters, size=10)
        True
    """
    return _advance(text, tuple(letters.families(text)), size) if text else 0.0


def fit(text: str, letters: Lettering, *, width: float, size: float, lines: int = 1) -> list[str]:
    """Break a text into lines of a width; one that needs more lines than allowed is shortened in the middle.

    Args:
        text: Any text; shown as by `Lettering.shown`.
        letters: The lettering of its figure.
        width: Room in points.
        size: Font size in points.
        lines: The most lines.

    Returns:
        One to `lines` lines.

    Example:
        >>> from denseclip_viz.plot.fonts import lettering
        >>> [line] = fit("a very long prompt", lettering([]), width=60, size=10)
        >>> line[0], line[-1], "…" in line
        ('a', 't', True)
    """
    text = letters.shown(text).strip()
    fits = functools.partial(_broken, letters=letters, width=width, size=size)
    high = min(len(text), int(lines * width / (NARROWEST * size)) + 1)
    if high == len(text) and len(whole := fits(text)) <= lines:
        return whole
    low = 1  # characters kept: between low, which is taken to fit, and high
    while low < high:
        keep = (low + high + 1) // 2
        low, high = (keep, high) if len(fits(_cut(text, keep))) <= lines else (low, keep - 1)
    return fits(_cut(text, low))[:lines]


def _cut(text: str, keep: int) -> str:
    head, tail = (keep + 1) // 2, keep // 2
    return text[:head].rstrip() + ELLIPSIS + (text[-tail:].lstrip() if tail else "")


def _broken(text: str, *, letters: Lettering, width: float, size: float) -> list[str]:
    """Break greedily at spaces, and inside a word only where the word alone is too wide."""
    space = width_of(" ", letters, size=size)
    lines, used = [""], 0.0
    for word in text.split(" "):
        wide = width_of(word, letters, size=size)
        if lines[-1] and used + space + wide > width:
            lines, used = [*lines, ""], 0.0
        lines[-1], used = (f"{lines[-1]} {word}", used + space + wide) if lines[-1] else (word, wide)
        while used > width and len(lines[-1]) > 1:
            kept = _prefix(lines[-1], letters, width, size)
            lines = [*lines[:-1], lines[-1][:kept], lines[-1][kept:]]
            used = width_of(lines[-1], letters, size=size)
    return lines


def _prefix(word: str, letters: Lettering, width: float, size: float) -> int:
    """Count the first characters of a word that fit, at least one."""
    used, count = 0.0, 0
    for c in word:
        used += width_of(c, letters, size=size)
        if used > width:
            break
        count += 1
    return max(count, 1)
