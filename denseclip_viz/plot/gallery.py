"""Held-out scenes: the image, what is true, what the value path says of each pixel, and what the grid could say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.segmentation import Texts, ceiling, pixels, texts_of
from denseclip_viz.model import Model
from denseclip_viz.plot.raster import Colour, paint_labels
from denseclip_viz.plot.scales import PALETTE, label_colour
from denseclip_viz.plot.sheet import BODY, ENTRY, LINE, MARGIN, SMALL, Lattice, Sheet
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, STUFF
from denseclip_viz.toyworld.world import dataset

Labels = NDArray[np.int16]
COLUMNS = ("image", "truth", "value path", "grid ceiling")
SIDE, HEAD, ROW_HEAD, LEGEND = 1.7, 0.78, 0.26, 1.75  # inches: a panel, above all, above a row, the legend
REST = "other classes"
REST_COLOUR: Colour = (0.62, 0.62, 0.62)
# Of the palette that colour-blind eyes tell apart, what stuff looks like as far as there is such a colour.
NATURAL = {
    "sky": "#56b4e9", "night sky": "#0f1e78", "mountains": "#691ea5", "brick wall": "#5a0f00", "grass": "#009e73",
    "sand": "#f0e442", "water": "#0072b2", "snow": "#a5d2ff", "road": "#784b4b", "leaves": "#d55e00",
    "wooden floor": "#e69f00", "tiles": "#cc79a7",
}  # fmt: skip
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
    """A scene with the labels `(row, column)` of its pixels: true ones, those of the value path, of the grid."""

    scene: Scene
    truth: Labels
    value: Labels
    grid: Labels

    def right(self, labels: Labels) -> float:
        """Share of pixels that have their true name."""
        return float((labels == self.truth).mean())


@dataclass(frozen=True)
class Legend:
    """Colours of classes, in the order of the legend, and which of these are nowhere true."""

    own: Mapping[int, Colour]
    mistaken: tuple[int, ...]

    @property
    def lines(self) -> int:
        """Lines that it takes: the classes, others, and a heading with space above it."""
        return len(self.own) + 1 + 2 * bool(self.mistaken)


def with_things(n: int, size: int) -> list[Scene]:
    """Take the first `n` held-out scenes with at least two things, not the best ones.

    Example:
        >>> [len(scene.things) > 1 for scene in with_things(2, 64)]
        [True, True]
    """
    found: list[Scene] = []
    for scene in dataset(1 << 40, "test", size=size):
        if len(found) == n:
            break
        if len(scene.things) > 1:
            found.append(scene)
    return found


def rows_of(model: Model, scenes: Sequence[Scene], texts: Texts | None = None) -> list[Row]:
    """Name the pixels of scenes, all classes competing."""
    vectors = (texts or texts_of(model)).ensembled[None]
    rows = []
    for scene, trace in zip(scenes, model.trace_many(scenes), strict=True):
        value = pixels(cosine_maps(trace.dense, vectors)[0], trace, scene.size)
        rows.append(Row(scene, scene.labels(), value, pixels(ceiling(trace, scene), trace, scene.size)))
    return rows


def gallery(model: Model, scenes: Sequence[Scene], *, figure: Figure | None = None) -> Figure:
    """Draw scenes, a row each: image | truth | value path | grid ceiling, with one legend for all.

    Args:
        model: A model of the bundled world.
        scenes: Some scenes, for example `with_things(6, 256)`.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure. Each row says its caption, and the share of pixels that the value path and the grid name right.
    """
    on, rows = Sheet(model.provenance, figure=figure), rows_of(model, scenes)
    legend, top = coloured(rows), on.top + HEAD
    shape = {"columns": len(COLUMNS), "rows": len(rows)}
    lattice = Lattice(panel=(SIDE, SIDE), top=top, row_head=ROW_HEAD, gap=(0.1, 0.12), **shape)
    height = max(lattice.bottom, top + ROW_HEAD + legend.lines * ENTRY)
    on.resize(lattice.width + LEGEND + 0.1, height + LINE + MARGIN / 2)
    on.title("what the value path says of each pixel")
    said = f"scenes never seen; all {len(CLASSES)} classes compete for every pixel"
    on.note(MARGIN, on.top + 0.23, said)
    for column, name in enumerate(COLUMNS):
        on.write(lattice.x(column), on.top + 0.54, name, size=BODY, weight="bold")
    for place, row in enumerate(rows):
        _draw_row(on, lattice, place, row, legend.own)
    _draw_legend(on, lattice, rows, legend)
    on.footer(height)
    return on.figure


def coloured(rows: Iterable[Row]) -> Legend:
    """Give a colour to every class that is true somewhere or covers much of a panel, far from those in the same rows.

    Returns:
        Classes that are true somewhere and those that are only named by mistake, stuff first and larger first.
    """
    true, given = (_shares([getattr(row, kind) for row in rows]) for kind in ("truth", "value"))
    there: NDArray[np.bool_] = (true > 0) | (given > _SMALLEST)
    largest, somewhere = np.maximum(true, given).max(0), true.max(0) > 0
    order = sorted(
        np.flatnonzero(there.any(0)).tolist(),
        key=lambda k: (not somewhere[k], CLASSES[k] not in STUFF, -largest[k]),
    )
    own = _assigned(order, there)
    return Legend(own, mistaken=tuple(index for index in order if not somewhere[index]))


def _assigned(order: Sequence[int], there: NDArray[np.bool_]) -> dict[int, Colour]:
    """Natural colours for stuff; for things, one by one, what lies farthest from all that share a row with them."""
    colours = [label_colour(k) for k in range(2 * len(PALETTE))]
    looks = np.array([_oklab(colour) for colour in colours])
    places = {index: PALETTE.index(NATURAL[CLASSES[index]]) for index in order if CLASSES[index] in NATURAL}
    for index in (index for index in order if index not in places):
        near = [place for other, place in places.items() if (there[:, other] & there[:, index]).any()]
        apart = np.linalg.norm(looks[:, None] - looks[near], axis=-1).min(1, initial=1.0)
        apart[len(PALETTE) :] -= 10  # the lighter ones last
        apart[list(places.values())] = -100
        places[index] = int(apart.argmax())
    return {index: colours[places[index]] for index in order}


def _shares(each: Sequence[Labels]) -> NDArray[np.float64]:
    """Share of every class, `(row, class)`."""
    return np.array([np.bincount(a[a >= 0], minlength=len(CLASSES)) / a.size for a in each])


def _oklab(colour: Colour) -> NDArray[np.float64]:
    """Björn Ottosson's OKLab, in which distances are about what eyes see."""
    red = np.array(colour)
    linear = np.where(red <= 0.04045, red / 12.92, ((red + 0.055) / 1.055) ** 2.4)
    return np.asarray(_FROM_CONES @ np.cbrt(_TO_CONES @ linear))


def _draw_row(on: Sheet, lattice: Lattice, place: int, row: Row, own: Mapping[int, Colour]) -> None:
    top = lattice.y(place)
    note = f"right: value path {row.right(row.value):.0%} · ceiling {row.right(row.grid):.0%}"
    end = lattice.width - MARGIN
    room = end - MARGIN - on.width_of(note, size=SMALL) - 1 / 6
    caption = on.fit(row.scene.caption(), width=room, size=SMALL + 0.5)[0]
    on.write(MARGIN, top + 0.08, caption, size=SMALL + 0.5)
    on.note(end, top + 0.085, note, align="right")
    panels = [row.scene.image, *(_painted(labels, row, own) for labels in (row.truth, row.value, row.grid))]
    for column, panel in enumerate(panels):
        lattice.panel_at(on, place, column).imshow(panel, interpolation="antialiased", gid=COLUMNS[column])


def _painted(labels: Labels, row: Row, own: Mapping[int, Colour]) -> NDArray[np.uint8]:
    """Paint labels in the legend's colours, and all classes that are not in it in one grey."""
    places = np.full(len(CLASSES) + 1, len(own), np.int16)  # the last one is for -1, no class
    places[list(own)] = np.arange(len(own))
    places[-1] = -1
    return paint_labels(places[labels], row.scene.image, [*own.values(), REST_COLOUR])


def _draw_legend(on: Sheet, lattice: Lattice, rows: Sequence[Row], legend: Legend) -> None:
    left, top = lattice.width + 0.05, lattice.top + ROW_HEAD
    for index, colour in legend.own.items():
        if legend.mistaken and index == legend.mistaken[0]:
            on.note(left, top + 1.2 * ENTRY, "only by mistake")
            top += 2 * ENTRY
        on.entry(left, top, CLASSES[index], colour, "", width=LEGEND)
        top += ENTRY
    if any(not np.isin(row.value, list(legend.own)).all() for row in rows):
        on.entry(left, top, REST, REST_COLOUR, "", width=LEGEND)
