"""A figure laid out in inches from its top left corner, with its text, its provenance line and its stamp."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from denseclip_viz.plot.characters import isolated
from denseclip_viz.plot.fonts import Lettering
from denseclip_viz.plot.text import fit, width_of

INK, GREY, FAINT, ALARM = "#1f1f1f", "#6b6b6b", "#d5d5d5", "#a3190f"
TITLE, BODY, SMALL, TINY = 10.5, 9.5, 7.5, 6.8  # font sizes in points
MARGIN = 0.16  # inches
LINE = 0.15  # inches from one small line of text to the next
STAMP = 0.30  # inches that the stamp of random weights takes
RANDOM = "RANDOM WEIGHTS"
DPI = 110
JPEG: dict[str, Any] = {"quality": 90, "subsampling": 0, "optimize": True}  # 0: small coloured text stays sharp
POINTS = 72.0  # in an inch
CAPITAL = 0.75  # height of a capital letter, of the font size
# Explicit, so that nobody's settings turn a prompt into mathematics or TeX, or a label into bold italics.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False, "style": "normal"}
LITERAL |= {"fontvariant": "normal", "fontstretch": "normal"}


class NotebookFigure(Figure):
    """A figure that pyplot does not know of and that notebooks show; matplotlib's own need a set-up for it.

    Example:
        >>> NotebookFigure(figsize=(1, 1))._repr_png_()[1:4]
        b'PNG'
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def _ipython_display_(self) -> None:
        # A sheet of maps over a grainy image is a quarter as large as JPEG, and notebooks keep every figure. This
        # method, unlike `_repr_jpeg_`, also goes before the formatter that pyplot sets up for all figures.
        from IPython.display import display

        buffer = io.BytesIO()
        self.savefig(buffer, format="jpeg", pil_kwargs=JPEG)
        display({"image/jpeg": buffer.getvalue(), "text/plain": repr(self)}, raw=True)


@dataclass(frozen=True)
class Sheet:
    """A figure and what is needed to place things on it: all lengths in inches, from the top left corner."""

    figure: Figure
    width: float
    height: float
    letters: Lettering


def new_sheet(width: float, height: float, letters: Lettering, *, figure: Figure | None = None) -> Sheet:
    """Make a white sheet of a size, or make a figure of the caller's one.

    Args:
        width: In inches.
        height: In inches.
        letters: The lettering of the texts that will stand on it.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The sheet.

    Example:
        >>> from denseclip_viz.plot.fonts import lettering
        >>> new_sheet(4, 3, lettering([])).figure.get_size_inches().tolist()
        [4.0, 3.0]
    """
    if figure is None:
        figure = NotebookFigure(dpi=DPI)
    figure.set_size_inches(width, height)
    figure.set_facecolor("white")
    return Sheet(figure, width, height, letters)


def place(on: Sheet, left: float, top: float, width: float, height: float) -> Axes:
    """Put bare axes at a place; all lengths in inches."""
    box = (left / on.width, 1 - (top + height) / on.height, width / on.width, height / on.height)
    ax = on.figure.add_axes(box)
    ax.set_facecolor("none")
    ax.set_axis_off()
    return ax


def write(
    on: Sheet,
    left: float,
    top: float,
    text: str,
    *,
    size: float = BODY,
    colour: str = INK,
    weight: Literal["normal", "bold"] = "normal",
    align: Literal["left", "center", "right"] = "left",
    rotation: float = 0.0,
) -> Text:
    """Write a text, literally, with the top of its capitals at a height; `left` is where it is aligned."""
    baseline = top + CAPITAL * size / POINTS  # the top of a text would jump with its letters
    return on.figure.text(
        left / on.width,
        1 - baseline / on.height,
        text,
        size=size,
        color=colour,
        weight=weight,
        ha=align,
        va="baseline",
        rotation=rotation,
        linespacing=1.15,
        family=on.letters.families(text),
        **LITERAL,
    )


def rule(on: Sheet, top: float) -> None:
    """Draw a hairline across the sheet."""
    x, y = MARGIN / on.width, 1 - top / on.height
    line = Line2D([x, 1 - x], [y, y], transform=on.figure.transFigure, color=FAINT, linewidth=0.6)
    on.figure.add_artist(line)


def scored(text: str, score: float, letters: Lettering, *, width: float, size: float) -> str:
    """Write a prompt and its global score in one line; the prompt may be shortened, the score never.

    Args:
        text: The prompt.
        score: The cosine of the global embedding.
        letters: The lettering of its figure.
        width: Room in inches.
        size: Font size in points.

    Returns:
        For example "a red car · 0.241".

    Example:
        >>> from denseclip_viz.plot.fonts import lettering
        >>> scored("a red car", 0.2412, lettering([]), width=3, size=10)
        'a red car · 0.241'
    """
    tail = f" · {number(score, 3)}"
    room = width * POINTS - width_of(tail, letters, size=size)
    return isolated(fit(text, letters, width=room, size=size)[0]) + tail


def number(value: float, decimals: int) -> str:
    """Write a number with a true minus sign.

    Example:
        >>> number(-0.25, 2)
        '−0.25'
    """
    return f"{value:.{decimals}f}".replace("-", "−")


def provenance(attrs: Mapping[str, Any]) -> str:
    """Say in one line which model, weights and path made a result.

    Args:
        attrs: The result's attributes.

    Returns:
        What is known, parted by dots.

    Example:
        >>> provenance({"model": "RN50", "weights": "openai", "weights_hash": "0123456789ab"})
        'RN50 · weights openai (01234567)'
    """
    keys = ("image_name", "model", "weights", "path", "weights_hash")
    known = {key: str(attrs[key]) for key in keys if attrs.get(key)}
    hashed = "weights_hash" in known and not is_random(attrs)
    digest = f" ({known['weights_hash'][:8]})" if hashed else ""
    parts = [known.get("image_name", ""), known.get("model", "")]
    parts += [f"weights {known['weights']}{digest}"] if "weights" in known else []
    parts += [f"{known['path']} path"] if "path" in known else []
    return " · ".join(part for part in parts if part)


def is_random(attrs: Mapping[str, Any]) -> bool:
    """Say whether a result was made with random weights."""
    return bool(int(attrs.get("random_weights", 0)))


def stamp(on: Sheet, attrs: Mapping[str, Any]) -> float:
    """Stamp the top of the sheet if the weights are random; return the height that it took, in inches."""
    if not is_random(attrs):
        return 0.0
    text = write(on, MARGIN, MARGIN, f"{RANDOM} · nothing here was learned", size=SMALL, colour="white", weight="bold")
    text.set_bbox({"facecolor": ALARM, "edgecolor": "none", "boxstyle": "square,pad=0.35"})
    text.set_x((MARGIN + 0.04) / on.width)
    return STAMP


def footer(on: Sheet, top: float, lines: list[str]) -> None:
    """Write captions and provenance at the foot, each shortened to the sheet's width."""
    room = (on.width - 2 * MARGIN) * POINTS
    for i, line in enumerate(filter(None, lines)):
        write(
            on,
            MARGIN,
            top + i * LINE,
            fit(line, on.letters, width=room, size=TINY)[0],
            size=TINY,
            colour=GREY,
        )


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Where panels lie: each in a slot of its column, below the line of text that heads its row.

    Attributes:
        panel: Size (width, height) of a panel.
        columns: How many.
        rows: How many.
        top: Where the first row's text begins.
        left: Where the first column begins.
        least: Narrowest column, for its texts; a panel stands at the left of its column.
        row_head: Height of the text above each row.
        gap: Between (columns, rows).

    Example:
        >>> lattice = Lattice(panel=(2, 1), columns=3, rows=1, top=0.5)
        >>> lattice.x(1), lattice.bottom
        (2.36, 1.66)
    """

    panel: tuple[float, float]
    columns: int
    rows: int
    top: float
    left: float = MARGIN
    least: float = 0.0
    row_head: float = 0.0
    gap: tuple[float, float] = (0.2, 0.16)

    @property
    def slot(self) -> float:
        """Width of a column: the panel's, but never less than its texts need."""
        return max(self.panel[0], self.least)

    def x(self, column: int) -> float:
        """Left edge of a column."""
        return round(self.left + column * (self.slot + self.gap[0]), 6)

    def y(self, row: int) -> float:
        """Top edge of a row, its text included."""
        return round(self.top + row * (self.row_head + self.panel[1] + self.gap[1]), 6)

    @property
    def width(self) -> float:
        """Width of a sheet that holds all columns."""
        return self.x(self.columns - 1) + self.slot + MARGIN

    @property
    def bottom(self) -> float:
        """Where the next thing below the last row may begin."""
        return self.y(self.rows)

    def height(self, *, lines: int) -> float:
        """Height of a sheet that holds all rows and lines at its foot."""
        return self.bottom + lines * LINE + MARGIN / 2

    def panel_at(self, on: Sheet, row: int, column: int) -> Axes:
        """Make the axes of a panel; what is drawn keeps to the top left of its slot."""
        ax = place(on, self.x(column), self.y(row) + self.row_head, self.slot, self.panel[1])
        ax.set_anchor("NW")
        return ax
