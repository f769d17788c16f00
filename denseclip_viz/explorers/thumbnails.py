"""Small maps in rows and columns beside a canvas: a click shows one big."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets
from PIL import Image

from denseclip_viz.geometry import Placement
from denseclip_viz.plot.raster import colour_tables, fade_unseen, jpeg, softened
from denseclip_viz.plot.scales import OPACITY, Scale

HERE = Path(__file__).parent  # its files are read here: anywidget keeps every widget that was given a path
THUMB = 192  # pixels of the image beneath, on the longer side: twice the tile


@dataclass(frozen=True, eq=False)
class Tile:
    """One small map.

    Attributes:
        values: (y, x).
        scale: Its colour scale, shared with whatever it is compared with.
        patch: What a click sets in the canvas' state.
        tip: What it is, for those who point at it or cannot see it.
        where: Where it lies; that of the others by default.
    """

    values: npt.NDArray[np.floating[Any]]
    scale: Scale
    patch: Mapping[str, Any]
    tip: str
    where: Placement | None = None


@dataclass(frozen=True)
class Curve:
    """A number for each column, drawn below the maps."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True, eq=False)
class Lattice:
    """Maps in rows and columns.

    Attributes:
        title: What they are.
        columns: Name of each column, and whether it is muted (a prompt that is absent).
        rows: Name of each row; with its number as text and as a share of the most, if there are numbers.
        tiles: (row, column).
        note: One line below the title.
        number_title: What the numbers are.
        curves: Below the maps.
        strip: One row without a name, which goes on in the next line where it is too long.
    """

    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[tuple[str, str, float]]
    tiles: Sequence[Sequence[Tile | None]]
    note: str = ""
    number_title: str = ""
    curves: Sequence[Curve] = ()
    strip: bool = False


@dataclass(frozen=True)
class Bars:
    """Words with a number each, drawn to both sides of a middle line."""

    title: str
    items: Sequence[tuple[str, float]]
    note: str = ""


@dataclass(eq=False)
class _Store:
    """Maps as bytes on their scales, one after the other, and the colour tables that they use."""

    maps: bytearray = field(default_factory=bytearray)
    tables: dict[str, int] = field(default_factory=dict)

    def tile(self, tile: Tile, where: Placement) -> dict[str, Any]:
        place, at = tile.where or where, len(self.maps)
        low, high = tile.scale.low, tile.scale.high
        shares = np.nan_to_num((np.asarray(tile.values, dtype=float) - low) / (high - low)).clip(0, 1)
        self.maps += np.rint(255 * shares).astype(np.uint8).tobytes()
        table = self.tables.setdefault(tile.scale.colours, len(self.tables))
        shape = list(tile.values.shape)
        drawn = {"at": at, "shape": shape, "table": table, "box": list(place.box)}
        return {**drawn, "patch": dict(tile.patch), "tip": tile.tip}


class Tiles(anywidget.AnyWidget):
    """Small maps that are shown big when they are clicked, curves and bars.

    Attributes:
        chosen: What was clicked last: a part of a canvas' state.
        current: The state of the canvas, whose tiles are marked.
    """

    _esm = (HERE / "tiles.js").read_text("utf-8")
    _css = (HERE / "tiles.css").read_text("utf-8")
    _packed = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Dict().tag(sync=True)
    current = traitlets.Dict().tag(sync=True)

    def show(self, lattices: Sequence[Lattice], *, image: npt.ArrayLike, where: Placement) -> None:
        """Show other maps.

        Args:
            lattices: What to show.
            image: uint8 (row, column, rgb), the whole image.
            where: Where the maps lie in it.
        """
        store = _Store()
        sections = [_lattice(lattice, store, where) for lattice in lattices]
        data = {"size": list(where.image), "opacity": OPACITY, "sections": sections}
        packed = {
            "maps": bytes(store.maps),
            "tables": colour_tables(list(store.tables)),
            "image": _beneath(image, where),
        }
        self._packed = {"data": data, **packed}

    def show_bars(self, bars: Bars) -> None:
        """Show words with their numbers."""
        data = {"size": [1, 1], "opacity": OPACITY, "sections": [_bars(bars)]}
        self._packed = {"data": data, "maps": b"", "tables": b"", "image": b""}


def _lattice(lattice: Lattice, store: _Store, where: Placement) -> dict[str, Any]:
    tiles = [[None if tile is None else store.tile(tile, where) for tile in row] for row in lattice.tiles]
    return {
        "kind": "grid",
        "title": lattice.title,
        "note": lattice.note,
        "columns": [{"label": label, "muted": muted} for label, muted in lattice.columns],
        "rows": [{"label": label, "number": number, "share": share} for label, number, share in lattice.rows],
        "number_title": lattice.number_title,
        "cells": tiles,
        "curves": [_curve(curve) for curve in lattice.curves],
        "strip": lattice.strip,
    }


def _curve(curve: Curve) -> dict[str, Any]:
    values = [round(float(value), 4) for value in curve.values]
    return {"label": curve.label, "values": values, "low": min(values), "high": max(values)}


def _bars(bars: Bars) -> dict[str, Any]:
    items = [
        {"label": word, "value": float(value), "text": f"{value:+.3f}".replace("-", "−")} for word, value in bars.items
    ]
    return {"kind": "bars", "title": bars.title, "note": bars.note, "items": items}


def _beneath(image: npt.ArrayLike, where: Placement) -> bytes:
    """The image in light greys as a small JPEG, faded where the model saw nothing."""
    small = Image.fromarray(np.asarray(image, dtype=np.uint8))
    small.thumbnail((THUMB, THUMB))
    return jpeg(fade_unseen(softened(np.asarray(small)), where), quality=90)
