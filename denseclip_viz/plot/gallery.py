"""A gallery of labelled images: each image, what is true of it, and what was said of every pixel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from denseclip_viz.plot.raster import Colour, paint_labels
from denseclip_viz.plot.scales import PALETTE, label_colour
from denseclip_viz.plot.sheet import BODY, ENTRY, LINE, MARGIN, SMALL, Lattice, Sheet

Labels = NDArray[np.integer]
SIDE, HEAD, ROW_HEAD, LEGEND = 1.7, 0.78, 0.26, 1.75  # inches: a panel, above all, above a row, the legend
REST = "other classes"
REST_COLOUR: Colour = (0.62, 0.62, 0.62)
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_FROM_CONES = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_SMALLEST = 0.02  # of a panel: a class that nowhere covers more, and is nowhere true, gets no colour of its own


@dataclass(frozen=True, eq=False)
class Row:
    """An image of a gallery.

    Attributes:
        image: `(row, column, rgb)` uint8.
        caption: What stands above it, at the left.
        note: What stands above it, at the right.
        labels: `(row, column)` classes of its pixels: true ones, given ones, and others.
    """

    image: NDArray[np.uint8]
    caption: str
    note: str
    labels: tuple[Labels, ...]


@dataclass(frozen=True)
class Legend:
    """Colours of classes, in the order of the legend, and which of these are nowhere true."""

    own: Mapping[int, Colour]
    mistaken: tuple[int, ...]

    @property
    def lines(self) -> int:
        """Lines that it takes: the classes, others, and a heading with space above it."""
        return len(self.own) + 1 + 2 * bool(self.mistaken)


def gallery(
    rows: Sequence[Row],
    columns: Sequence[str],
    classes: Sequence[str],
    *,
    title: str,
    subtitle: str,
    attrs: Mapping[str, Any],
    natural: Mapping[str, str] = {},
    figure: Figure | None = None,
) -> Figure:
    """Draw images, a row each, beside their labels, with one legend for all.

    Args:
        rows: Images with their labels: true ones first, then those of a model, then any others.
        columns: Names of the image and of each kind of labels.
        classes: Names of the classes that labels count.
        title: What the figure is.
        subtitle: A line below.
        attrs: Where the labels come from.
        natural: Colours of `PALETTE` that some classes have; they come first in the legend.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> labels = np.zeros((4, 4), int), np.eye(4, dtype=int)
        >>> row = dcv.plot.Row(np.zeros((4, 4, 3), np.uint8), "a lawn", "", labels)
        >>> columns = ["image", "truth", "model"]
        >>> drawn = dcv.plot.gallery([row], columns, ["grass", "sky"], title="x", subtitle="", attrs={})
        >>> len(drawn.axes)
        3
    """
    on, legend = Sheet(attrs, figure=figure), coloured(rows, classes, natural)
    top = on.top + HEAD
    shape = {"columns": len(columns), "rows": len(rows)}
    lattice = Lattice(panel=(SIDE, SIDE), top=top, row_head=ROW_HEAD, gap=(0.1, 0.12), **shape)
    height = max(lattice.bottom, top + ROW_HEAD + legend.lines * ENTRY)
    on.resize(lattice.width + LEGEND + 0.1, height + LINE + MARGIN / 2)
    on.title(title)
    on.note(MARGIN, on.top + 0.23, subtitle)
    for column, name in enumerate(columns):
        on.write(lattice.x(column), on.top + 0.54, name, size=BODY, weight="bold")
    for place, row in enumerate(rows):
        _draw_row(on, lattice, place, row)
        panels = [row.image, *(_painted(labels, row.image, legend.own, len(classes)) for labels in row.labels)]
        for column, panel in enumerate(panels):
            lattice.panel_at(on, place, column).imshow(panel, interpolation="antialiased", gid=columns[column])
    _draw_legend(on, lattice, rows, legend, classes)
    on.footer(height)
    return on.figure


def coloured(rows: Sequence[Row], classes: Sequence[str], natural: Mapping[str, str]) -> Legend:
    """Give a colour to every class that is true somewhere or covers much of a panel, far from those in the same rows.

    Returns:
        Classes that are true somewhere and those that are only named by mistake, natural ones first and larger first.
    """
    true, given = (_shares([row.labels[kind] for row in rows], len(classes)) for kind in (0, 1))
    there: NDArray[np.bool_] = (true > 0) | (given > _SMALLEST)
    largest, somewhere = np.maximum(true, given).max(0), true.max(0) > 0
    order = sorted(
        np.flatnonzero(there.any(0)).tolist(), key=lambda k: (not somewhere[k], classes[k] not in natural, -largest[k])
    )
    fixed = {index: PALETTE.index(natural[classes[index]]) for index in order if classes[index] in natural}
    own = _assigned(order, there, fixed)
    return Legend(own, mistaken=tuple(index for index in order if not somewhere[index]))


def _assigned(order: Sequence[int], there: NDArray[np.bool_], fixed: Mapping[int, int]) -> dict[int, Colour]:
    """Take fixed colours, and for all others, one by one, what lies farthest from all that share a row with them."""
    colours, places = [label_colour(k) for k in range(2 * len(PALETTE))], dict(fixed)
    looks = np.array([_oklab(colour) for colour in colours])
    for index in (index for index in order if index not in places):
        near = [place for other, place in places.items() if (there[:, other] & there[:, index]).any()]
        apart = np.linalg.norm(looks[:, None] - looks[near], axis=-1).min(1, initial=1.0)
        apart[len(PALETTE) :] -= 10  # the lighter ones last
        apart[list(places.values())] = -100
        places[index] = int(apart.argmax())
    return {index: colours[places[index]] for index in order}


def _shares(each: Sequence[Labels], classes: int) -> NDArray[np.float64]:
    """Give the share of every class, `(row, class)`."""
    return np.array([np.bincount(a[a >= 0], minlength=classes) / a.size for a in each])


def _oklab(colour: Colour) -> NDArray[np.float64]:
    """Convert to Björn Ottosson's OKLab, in which distances are about what eyes see."""
    red = np.array(colour)
    linear = np.where(red <= 0.04045, red / 12.92, ((red + 0.055) / 1.055) ** 2.4)
    return np.asarray(_FROM_CONES @ np.cbrt(_TO_CONES @ linear))


def _draw_row(on: Sheet, lattice: Lattice, place: int, row: Row) -> None:
    top, end = lattice.y(place), lattice.width - MARGIN
    room = end - MARGIN - on.width_of(row.note, size=SMALL) - 1 / 6
    on.write(MARGIN, top + 0.08, on.fit(row.caption, width=room, size=SMALL + 0.5)[0], size=SMALL + 0.5)
    on.note(end, top + 0.085, row.note, align="right")


def _painted(labels: Labels, image: NDArray[np.uint8], own: Mapping[int, Colour], classes: int) -> NDArray[np.uint8]:
    """Paint labels in the legend's colours, and all classes that are not in it in one grey."""
    places = np.full(classes + 1, len(own), np.int16)  # the last one is for -1, no class
    places[list(own)] = np.arange(len(own))
    places[-1] = -1
    return paint_labels(places[labels], image, [*own.values(), REST_COLOUR])


def _draw_legend(on: Sheet, lattice: Lattice, rows: Sequence[Row], legend: Legend, classes: Sequence[str]) -> None:
    left, top = lattice.width + 0.05, lattice.top + ROW_HEAD
    for index, colour in legend.own.items():
        if legend.mistaken and index == legend.mistaken[0]:
            on.note(left, top + 1.2 * ENTRY, "only by mistake")
            top += 2 * ENTRY
        on.entry(left, top, classes[index], colour, "", width=LEGEND)
        top += ENTRY
    if any(not np.isin(row.labels[1], list(legend.own)).all() for row in rows):
        on.entry(left, top, REST, REST_COLOUR, "", width=LEGEND)
