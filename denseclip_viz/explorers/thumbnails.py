"""Small maps in rows and columns beside a canvas: a click shows one big."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import traitlets
from PIL import Image

from denseclip_viz.canvas import script
from denseclip_viz.canvas.messages import CheckedWidget
from denseclip_viz.geometry import Placement
from denseclip_viz.plot.raster import colour_tables, fade_unseen, jpeg, softened
from denseclip_viz.plot.scales import OPACITY, Scale

HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path
THUMB = 192  # pixels of the image beneath, on the longer side: twice a thumbnail's


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """One small map (y, x), on a colour scale that it shares with whatever it is compared with.

    A click sets `patch` in the canvas' state; `tip` says what the map is to those who point at it or cannot see it. It
    lies where the others do by default. The note stands below it.
    """

    values: npt.NDArray[np.floating[Any]]
    scale: Scale
    patch: Mapping[str, Any]
    tip: str
    where: Placement | None = None
    note: str = ""


@dataclass(eq=False)
class _Store:
    """Maps as bytes on their scales, one after the other, and the colour tables that they use."""

    maps: bytearray = field(default_factory=bytearray)
    tables: dict[str, int] = field(default_factory=dict)

    def pack(self, one: Thumbnail, where: Placement) -> dict[str, Any]:
        at, box, scale = len(self.maps), (one.where or where).box, one.scale
        shares = np.nan_to_num((np.asarray(one.values, dtype=float) - scale.low) / (scale.high - scale.low)).clip(0, 1)
        self.maps += np.rint(255 * shares).astype(np.uint8).tobytes()
        drawn = {"at": at, "shape": list(one.values.shape), "box": list(box), "patch": dict(one.patch), "tip": one.tip}
        drawn["note"] = one.note
        return {**drawn, "table": self.tables.setdefault(scale.colours, len(self.tables))}


@dataclass(frozen=True, eq=False)
class ThumbnailGrid:
    """Maps (row, column), with one line below the title and curves below the maps.

    A column has a name and may be muted (a prompt that is absent). A row has a name and what it says to those who point
    at it, for each prompt that may be shown (the first for all others), and its number as text and as a share of the
    most, if there are numbers. A curve is a number for each column, by its label. So many of the last columns as
    `apart` says hold another quantity: they stand apart, and no curve goes up to them. A strip is one row without a
    name. What is too long for one line goes on in the next.
    """

    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[tuple[Mapping[str, tuple[str, str]], str, float]]
    thumbnails: Sequence[Sequence[Thumbnail | None]]
    note: str = ""
    number_title: str = ""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    apart: int = 0
    strip: bool = False

    def pack(self, store: _Store, where: Placement) -> dict[str, Any]:
        """Describe it for the browser, its maps in the store."""
        cells = [[None if one is None else store.pack(one, where) for one in row] for row in self.thumbnails]
        rows = [dict(zip(("names", "number", "share"), row, strict=True)) for row in self.rows]
        columns = [{"label": label, "muted": muted} for label, muted in self.columns]
        about: dict[str, Any] = {"kind": "grid", "title": self.title, "note": self.note}
        lines = {label: [round(float(value), 4) for value in values] for label, values in self.curves.items()}
        curves = [{"label": name, "values": at, "low": min(at), "high": max(at)} for name, at in lines.items()]
        about |= {"number_title": self.number_title, "apart": self.apart, "strip": self.strip}
        return {**about, "columns": columns, "rows": rows, "cells": cells, "curves": curves}


class Thumbnails(CheckedWidget):
    """Small maps that are shown big when they are clicked, curves and bars.

    Attributes:
        current: The state of the canvas, whose thumbnails are marked.
    """

    _esm = script("base") + (HERE / "thumbnails.js").read_text("utf-8")
    _css = (HERE / "thumbnails.css").read_text("utf-8")
    _packed = traitlets.Dict().tag(sync=True)
    current = traitlets.Dict().tag(sync=True)
    _link = traitlets.Unicode("").tag(sync=True)  # one of those of the canvas, which a click moves in the page

    def show(self, grids: Sequence[ThumbnailGrid], *, image: npt.ArrayLike, where: Placement) -> None:
        """Show other maps of an image, uint8 (row, column, rgb), and where they lie in it."""
        store = _Store()
        sections = [grid.pack(store, where) for grid in grids]
        data = {"size": list(where.image), "opacity": OPACITY, "sections": sections}
        tables, beneath = colour_tables(list(store.tables)), _beneath(image, where)
        self._packed = {"data": data, "maps": bytes(store.maps), "tables": tables, "image": beneath}

    def show_bars(self, words: Sequence[tuple[str, float]], note: str) -> None:
        """Show what each word does: a number each, drawn to both sides of a middle line."""
        values = [(word, float(value), f"{value:+.3f}".replace("-", "−")) for word, value in words]
        items = [dict(zip(("label", "value", "text"), one, strict=True)) for one in values]
        section = {"kind": "bars", "title": "what each word does", "note": note, "items": items}
        data = {"size": [1, 1], "opacity": OPACITY, "sections": [section]}
        self._packed = {"data": data, "maps": b"", "tables": b"", "image": b""}


def _beneath(image: npt.ArrayLike, where: Placement) -> bytes:
    """Draw the image in light greys as a small JPEG, faded where the model saw nothing."""
    small = Image.fromarray(np.asarray(image, dtype=np.uint8))
    small.thumbnail((THUMB, THUMB))
    return jpeg(fade_unseen(softened(np.asarray(small)), where), quality=90)
