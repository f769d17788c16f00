"""A figure laid out in inches from its top left corner: its texts, panels, provenance and stamp, and its file."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from denseclip_viz.clip.summary import is_random, weights_of
from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.files import FIGURES, check_target, save_bytes, written
from denseclip_viz.plot.raster import BEHIND, LABEL_OPACITY, Colour
from denseclip_viz.plot.text import LITERAL, fonts_for, isolated, number

INK, GREY, FAINT, ALARM = "#1f1f1f", "#6b6b6b", "#d5d5d5", "#a3190f"
TITLE, BODY, SMALL, TINY = 10.5, 9.5, 7.5, 6.8  # font sizes in points
MARGIN = 0.16  # inches
LINE = 0.15  # inches from one small line of text to the next
ENTRY = 0.23  # inches from one line of a legend to the next
STAMP = 0.30  # inches that the stamp of random weights takes
RANDOM = "RANDOM WEIGHTS"
DPI, SAVED_DPI = 110, 200  # on a screen, and of pixels in a saved figure: paper needs more
JPEG: dict[str, Any] = {"quality": 90, "subsampling": 0, "optimize": True}  # 0: small coloured text stays sharp
# 850 panels, 170 prompts in `compare`, took 24 s to draw and 42 s and 1.6 GB to save. No side may have 2^16 pixels.
MOST_PANELS, MOST_INCHES = 800, 320
POINTS = 72.0  # in an inch
BOLD = 1.2  # bold letters are wider than those that are measured
CAPITAL = 0.75  # height of a capital letter, of the font size


class NotebookFigure(Figure):
    """A figure that pyplot does not know of and that notebooks show; matplotlib's own need a set-up for it."""

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


class Sheet:
    """A white figure and what is needed to place things on it: all lengths in inches, from the top left corner.

    Its size follows from its texts, so it is made first and gets its size by `resize`.

    Args:
        attrs: Of the result that is drawn: they tell whether it is stamped, and its line of provenance.
        texts: Everything on it that people wrote; a warning names what no font draws.
        also: Said behind the provenance, such as the template.
        figure: An empty figure of the caller's; its size is set. A new one by default, unknown to pyplot.

    Attributes:
        letters: The lettering of its texts.
        top: Where its title begins, below the stamp and the first line of a caution if there is one.
        lower: How much lower all is for a caution's further lines, which the width tells.
    """

    def __init__(
        self, attrs: Mapping[str, Any], texts: Iterable[str] = (), *, also: str = "", figure: Figure | None = None
    ) -> None:
        if figure is not None and not isinstance(figure, Figure):
            got, fix = f"figure of type {type(figure).__name__}", "Of axes pass their figure: ax.figure."
            raise ImageError(got, expected="an empty matplotlib figure", fix=fix)
        self.figure = NotebookFigure(dpi=DPI) if figure is None else figure
        self.is_random, self.provenance = is_random(attrs), " · ".join(filter(None, [provenance(attrs), also]))
        self.letters = fonts_for([*texts, self.provenance], stacklevel=3)  # the line of the figure's caller
        self.caution = str(attrs.get("caution", ""))
        self.top = MARGIN + STAMP * (self.is_random + bool(self.caution))
        self.width = self.height = self.lower = 0.0

    def resize(self, width: float, height: float) -> None:
        """Give it its size, and say at its top if the weights are random or not made for such images.

        A caution of several lines makes it taller, and everything below them lower.
        """
        cautions = self.fit(self.caution, width=width - 2 * MARGIN, size=SMALL, lines=4) if self.caution else []
        further = max(len(cautions) - 1, 0) * LINE * 0.9
        self.width, self.height, self.lower = width, height + further, 0.0
        self.figure.set_size_inches(width, self.height)
        self.figure.set_facecolor("white")
        if self.is_random:
            text = f"{RANDOM} · nothing here was learned"
            stamp = self.write(MARGIN, MARGIN, text, size=SMALL, colour="white", weight="bold")
            stamp.set_bbox({"facecolor": ALARM, "edgecolor": "none", "boxstyle": "square,pad=0.35"})
            stamp.set_x((MARGIN + 0.04) / width)
        for i, line in enumerate(cautions):
            self.write(MARGIN, self.top - STAMP + i * LINE * 0.9, line, size=SMALL, colour=ALARM)
        self.lower = further

    def at_height(self, top: float) -> float:
        """Return where a height lies on the figure, from 0 at its bottom to 1."""
        return 1 - (top + self.lower) / self.height

    def place(self, left: float, top: float, width: float, height: float) -> Axes:
        """Put bare axes at a place."""
        y = self.at_height(top + height)
        box = (left / self.width, y, width / self.width, height / self.height)
        ax = self.figure.add_axes(box)
        ax.set_facecolor("none")
        ax.set_axis_off()
        return ax

    def write(
        self,
        left: float,
        top: float,
        text: str,
        *,
        size: float = BODY,
        colour: str = INK,
        weight: Literal["normal", "bold"] = "normal",
        align: Literal["left", "center", "right"] = "left",
    ) -> Text:
        """Write a text, literally, with the top of its capitals at a height; `left` is where it is aligned."""
        baseline = top + CAPITAL * size / POINTS  # the top of a text would jump with its letters
        style: dict[str, Any] = {"size": size, "color": colour, "weight": weight, "ha": align, **LITERAL}
        families = self.letters.families(text)
        at = left / self.width, self.at_height(baseline)
        return self.figure.text(*at, text, va="baseline", linespacing=1.15, family=families, **style)

    def title(self, text: str) -> None:
        """Write what the figure is, in bold at its top, shortened to the sheet's width."""
        shown = self.fit(text, width=(self.width - 2 * MARGIN) / BOLD, size=TITLE)[0]
        self.write(MARGIN, self.top, shown, size=TITLE, weight="bold")

    def note(self, left: float, top: float, text: str, *, align: Literal["left", "right"] = "left") -> None:
        """Write something small and grey."""
        self.write(left, top, text, size=SMALL, colour=GREY, align=align)

    def rule(self, top: float) -> None:
        """Draw a hairline across."""
        x, y = MARGIN / self.width, self.at_height(top)
        line = Line2D([x, 1 - x], [y, y], transform=self.figure.transFigure, color=FAINT, linewidth=0.6)
        self.figure.add_artist(line)

    def footer(self, top: float, *lines: str, of_two_lines: bool = False) -> None:
        """Write captions, and last the provenance, at the foot, each shortened to the sheet's width.

        On a narrow sheet the provenance may have two lines.
        """
        width = self.width - 2 * MARGIN
        shown = [self.fit(line, width=width, size=TINY)[0] for line in filter(None, lines)]
        shown += self.fit(self.provenance, width=width, size=TINY, lines=1 + of_two_lines) if self.provenance else []
        for i, line in enumerate(shown):
            self.write(MARGIN, top + i * LINE, line, size=TINY, colour=GREY)

    def entry(
        self,
        left: float,
        top: float,
        name: str,
        colour: Colour | None,
        note: str,
        *,
        width: float,
        opacity: float = LABEL_OPACITY,
    ) -> None:
        """Write one line of a legend: a swatch as the colour looks over a middle grey, the name, a note at the end.

        A name without a colour is that of what has no label.
        """
        corner = (left / self.width, self.at_height(top + 0.115))
        swatch = Rectangle(corner, 0.16 / self.width, 0.13 / self.height, transform=self.figure.transFigure)
        grey = to_rgb(BEHIND)
        mixed = [opacity * c + (1 - opacity) * g for c, g in zip(colour or grey, grey, strict=True)]
        swatch.set(facecolor=mixed if colour else "white", edgecolor=FAINT, linewidth=0.6)
        self.figure.add_artist(swatch)
        room = width - 0.25 - self.width_of(note, size=BODY) - 0.1 * bool(note)
        shown = isolated(self.fit(name, width=room, size=BODY)[0])
        self.write(left + 0.25, top, shown, colour=INK if colour else GREY)
        if note:
            self.write(left + width, top, note, colour=GREY, align="right")

    def width_of(self, text: str, *, size: float) -> float:
        """Measure one line of text."""
        return self.letters.width(text, size=size) / POINTS

    def fit(self, text: str, *, width: float, size: float, lines: int = 1) -> list[str]:
        """Break a text into lines of a width, as `Lettering.fit`."""
        return self.letters.fit(text, width=width * POINTS, size=size, lines=lines)

    def scored(self, text: str, score: float, *, width: float, size: float) -> str:
        """Put a prompt and its global score into one line; the prompt may be shortened, the score never."""
        tail = f" · {number(score, 3)}"
        return isolated(self.fit(text, width=width - self.width_of(tail, size=size), size=size)[0]) + tail


def provenance(attrs: Mapping[str, Any]) -> str:
    """Say in one line which model, weights and path made a result, as far as its attributes tell.

    Example:
        >>> provenance({"model": "RN50", "weights": "openai", "weights_hash": "0123456789ab"})
        'RN50 · weights openai (01234567)'
    """
    known = {key: str(attrs[key]) for key in ("image_name", "model", "weights", "path") if attrs.get(key)}
    parts = [known.get("image_name", ""), known.get("model", "")]
    parts += [f"weights {weights_of(attrs)}"] if "weights" in known else []
    parts += [f"{known['path']} path"] if "path" in known else []
    return " · ".join(part for part in parts if part)


def in_common(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the provenance that results share; one with random weights, or one caution, is enough to be said.

    Example:
        >>> in_common([{"model": "RN50", "path": "value"}, {"model": "RN50", "random_weights": 1}])
        {'model': 'RN50', 'random_weights': True, 'caution': ''}
    """
    first, *others = several
    shared = {key: value for key, value in first.items() if all(attrs.get(key) == value for attrs in others)}
    cautions = (attrs.get("caution", "") for attrs in several)
    return {**shared, "random_weights": any(map(is_random, several)), "caution": next(filter(None, cautions), "")}


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Where panels lie: each in a slot of its column, below the line of text that heads its row.

    A panel has a size (width, height) and stands at the left of its column, which is never narrower than `least`, for
    its texts. The first row's text begins at `top`, the first column at `left`; `gap` is between (columns, rows).
    """

    panel: tuple[float, float]
    columns: int
    rows: int
    top: float
    left: float = MARGIN
    least: float = 0.0
    row_head: float = 0.0
    gap: tuple[float, float] = (0.2, 0.16)

    def __post_init__(self) -> None:
        """Refuse, by a LayerError, more than can be drawn and saved."""
        count = self.rows * self.columns
        if count > MOST_PANELS or max(self.width, self.height(lines=0)) > MOST_INCHES:
            got = f"A figure of {count} panels, {self.rows} rows of {self.columns}"
            fix = "Select some, such as result.isel(prompt=slice(50)) or .sel(template=…), or draw several figures."
            expected = f"at most {MOST_PANELS} in one figure, and {MOST_INCHES} inches a side"
            raise LayerError(got, expected=expected, fix=fix)

    @property
    def slot(self) -> float:
        """Width of a column: the panel's, but never less than its texts need."""
        return max(self.panel[0], self.least)

    def x(self, column: int) -> float:
        """Return the left edge of a column."""
        return round(self.left + column * (self.slot + self.gap[0]), 6)

    def y(self, row: int) -> float:
        """Return the top edge of a row, its text included."""
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
        """Return the height of a sheet that holds all rows and lines at its foot."""
        return self.bottom + lines * LINE + MARGIN / 2

    def panel_at(self, sheet: Sheet, row: int, column: int) -> Axes:
        """Make the axes of a panel; what is drawn keeps to the top left of its slot."""
        ax = sheet.place(self.x(column), self.y(row) + self.row_head, self.slot, self.panel[1])
        ax.set_anchor("NW")
        return ax


def save(figure: Figure, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a figure as png, svg or pdf, by the ending; whole or not at all.

    Text of an SVG is outlines, so it looks alike everywhere and cannot be searched. For text, drawn with the fonts of
    whoever opens it, save inside `with matplotlib.rc_context({"svg.fonttype": "none"}):`.

    Args:
        figure: What a function of this module returned, or any matplotlib figure.
        path: Where to; its folder must be there.
        force: Replace a file that is there.

    Returns:
        The path.

    Raises:
        OutputError: Another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> import denseclip_viz as dcv
        >>> from matplotlib.figure import Figure
        >>> dcv.plot.save(Figure(), "figure.xyz")
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: figure.xyz ends in '.xyz'. Expected one of .png, .svg, .pdf. ...
    """
    target, buffer = check_target(path, FIGURES, force=force), io.BytesIO()
    with written(target):
        figure.savefig(buffer, format=target.suffix[1:].lower(), dpi=SAVED_DPI)
    return save_bytes(buffer.getbuffer(), target, FIGURES, force=force)
