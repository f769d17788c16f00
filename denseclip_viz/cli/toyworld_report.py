"""A report for people: tables for a terminal, figures for a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import OutputError
from denseclip_viz.files import FIGURES, check_target
from denseclip_viz.measure.baselines import PRESENT, VALUE
from denseclip_viz.measure.confusable import block
from denseclip_viz.measure.segmentation import PARTS
from denseclip_viz.model import Model
from denseclip_viz.toyworld.vocabulary import FAMILIES
from denseclip_viz.train.report import RETRIEVAL
from denseclip_viz.train.retrieval import AMONG

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

Found = Mapping[str, Any]
FILES = ("miou.png", "siblings.png", "gallery.png")
SHOWN = 6  # scenes in the gallery


def show(found: Found, console: Console | None = None) -> None:
    """Print what was measured, no wider than 80 columns.

    Args:
        found: What `report` returns.
        console: Where to; the terminal by default.
    """
    from rich.console import Console

    console = console or Console()
    naming = found["naming"]
    kinds, right = len(naming["matrix"]), _number(naming["top-1"])
    parts = {
        f"mIoU on {found['scenes']} scenes never seen": _methods(found),
        f"Characters, mIoU of the value path: {_number(found['characters mIoU'])}": None,
        f"Retrieval, top-1 of {AMONG}": _retrieval(found),
        f"The main thing of {naming['scenes']} scenes, out of {kinds} kinds: {right} right": None,
        "The main thing, out of its siblings": _families(found),
        "Two siblings in one image: IoU, and pixels given to the other": _pairs(found),
    }
    for title, table in parts.items():
        console.print(title, style="bold", highlight=False)
        if table is not None:
            console.print(table)
        console.print()


def _table(first: str, *numbers: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _methods(found: Found) -> Table:
    table = _table("method", "scenes", *PARTS)
    for method, scores in found["mIoU"].items():
        table.add_row(method, str(scores["scenes"]), *(_number(scores[part]) for part in PARTS))
    table.add_section()
    for name, method in {"value": VALUE, "present only": PRESENT}.items():
        shares = found["share of the ceiling"][method]
        table.add_row(f"share of ceiling: {name}", "", *(_number(shares[part]) for part in PARTS))
    return table


def _retrieval(found: Found) -> Table:
    table = _table("captions", "groups", "caption of an image", "image of a caption")
    said = {
        "all distinct": found[RETRIEVAL],
        "  expected of an oracle": {**found[f"{RETRIEVAL}, oracle"], "groups": ""},
        "true of one image": found[f"{RETRIEVAL}, one truth"],
    }
    for name, ways in said.items():
        table.add_row(name, str(ways["groups"]), _number(ways["caption"]), _number(ways["image"]))
    return table


def _families(found: Found) -> Table:
    table = _table("family", "right")
    table.add_column("most confused")
    naming = found["naming"]
    for family, right in naming["among siblings"].items():
        worst = naming["most confused"][family]
        said = "–" if worst is None else "{kind} taken for {taken for}, {times} of {of}".format(**worst)
        seen = block(np.array(naming["matrix"]), FAMILIES[family]).any()
        table.add_row(family, _number(right if seen else None), said)
    return table


def _pairs(found: Found) -> Table:
    table = _table("family", "scenes", "alone", "together", "given")
    two = found["two siblings"]
    for family, one in {"all": two, **two["by family"]}.items():
        numbers = (one[name] for name in ("IoU alone", "IoU together", "given to the other"))
        table.add_row(family, str(one["scenes"]), *map(_number, numbers))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def check_folder(folder: Path, *, force: bool) -> None:
    """Make the folder, and refuse figures that could not be written; before the work, not after it.

    Raises:
        OutputError: No folder can be made there, or a figure is there already and no `force`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"the folder {folder} cannot be made ({os.strerror(error.errno or 0)})"
        raise OutputError(got, expected="a place that can be written", fix="Name another folder.") from error
    for name in FILES:
        check_target(folder / name, FIGURES, force=force)


def draw(model: Model, found: Found, folder: Path, *, size: int = 256, force: bool = False) -> Iterator[Path]:
    """Write the figures of a report: mIoU by method, confused siblings, and a gallery of scenes.

    Args:
        model: The model that was measured.
        found: What `report` returned for it.
        folder: Where to; it must be there.
        size: Pixels a side of the gallery's scenes.
        force: Replace files that are there.

    Returns:
        The files, one after the other as they are written.
    """
    from denseclip_viz import plot
    from denseclip_viz.plot.bars import bars, confusions
    from denseclip_viz.plot.gallery import gallery, with_things

    made: Sequence[Callable[[], Figure]] = (
        lambda: bars(found),
        lambda: confusions(found),
        lambda: gallery(model, with_things(SHOWN, size)),
    )
    for name, figure in zip(FILES, made, strict=True):
        yield plot.save(figure(), folder / name, force=force)
