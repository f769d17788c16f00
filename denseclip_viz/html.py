"""What a notebook shows of an object: its name, its facts, the next step; at most one image, and no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# No colours: text and lines are those of the page, in its light and its dark theme.
_ROW = "text-align:left;vertical-align:top;padding:0 .8em 0 0;border:0;background:none"
_FRAME = "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start;line-height:1.45"


def repr_html(
    title: str, facts: Mapping[str, str], *, after: str = "", image: str = "", warning: str = "", width: int = 160
) -> str:
    """Lay out a name, facts (those that have a value), what must not be overlooked, and the next line of code.

    Everything is escaped. `image` is a source as `thumbnail` makes it, `width` its pixels on the page.

    Example:
        >>> page = repr_html("<Model>", {"layers": "4 & more", "keys": ""}, after="model.trace(image)")
        >>> "<b>&lt;Model&gt;</b>" in page, "4 &amp; more" in page, "keys" in page
        (True, True, False)
    """
    img = f'<img alt="" src="{escape(image)}" style="width:{width}px;border-radius:4px">' if image else ""
    alert = f"<div><strong>{escape(warning)}</strong></div>" if warning else ""
    rows = "".join(_row(name, value) for name, value in facts.items() if value)
    table = f'<table style="margin:.2em 0;border-collapse:collapse">{rows}</table>' if rows else ""
    then = f"<div>next: <code>{escape(after)}</code></div>" if after else ""
    return f'<div style="{_FRAME}">{img}<div><b>{escape(title)}</b>{alert}{table}{then}</div></div>'


def thumbnail(image: NDArray[np.uint8], *, longest: int = 160, quality: int = 85) -> str:
    """Shrink an image (row, column, rgb) to a source for `repr_html`, a few kilobytes.

    Example:
        >>> import numpy as np
        >>> thumbnail(np.zeros((400, 300, 3), np.uint8))[:23]
        'data:image/jpeg;base64,'
    """
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def format_shape(sizes: Sequence[Any]) -> str:
    """Join sizes as they are read aloud.

    Example:
        >>> format_shape((8, 8, 128))
        '8 × 8 × 128'
    """
    return " × ".join(map(str, sizes))


def join_names(names: Sequence[str], *, most: int = 8) -> str:
    """Join names, those in the middle left out where there are many.

    Example:
        >>> join_names(["stem", "layer1"]), join_names("abcdefghijklmnopqrstuvwxyz", most=5)
        ('stem, layer1', 'a, b, c, … z (26 in all)')
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 2])}, … {names[-1]} ({len(names)} in all)"


def _row(name: str, value: str) -> str:
    head = f'<th style="{_ROW};font-weight:normal;opacity:.7">{escape(name)}</th>'
    return f'<tr>{head}<td style="{_ROW}">{escape(value)}</td></tr>'
