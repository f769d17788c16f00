"""A report for people: tables for a terminal, figures for a folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.measure.baselines import VALUE
from denseclip_viz.train.report import PARTS, PRESENT, RETRIEVAL, block
from denseclip_viz.train.retrieval import AMONG

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Numbers = Mapping[str, Any]
"""What `report` returns."""


def show(numbers: Numbers, console: Console | None = None) -> None:
    """Print what was measured, no wider than 80 columns.

    Args:
        numbers: What `report` returns.
        console: Where to; the terminal by default.
    """
    from rich.console import Console

    console = console or Console()
    naming = numbers["naming"]
    kinds, right = len(naming["matrix"]), _number(naming["top-1"])
    parts = {
        f"mIoU on {numbers['scenes']} scenes never seen": _methods(numbers),
        f"Characters, mIoU of the value path: {_number(numbers['characters mIoU'])}": None,
        f"Retrieval, top-1 of {AMONG}": _retrieval(numbers),
        f"The main thing of {naming['scenes']} scenes, out of {kinds} kinds: {right} right": None,
        "The main thing, out of its siblings": _families(numbers),
        "Two siblings in one image: IoU, and pixels given to the other": _pairs(numbers),
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


def _methods(numbers: Numbers) -> Table:
    table = _table("method", "scenes", *PARTS)
    for method, scores in numbers["mIoU"].items():
        table.add_row(method, str(scores["scenes"]), *(_number(scores[part]) for part in PARTS))
    table.add_section()
    for name, method in {"value": VALUE, "present only": PRESENT}.items():
        shares = numbers["share of the ceiling"][method]
        table.add_row(f"share of ceiling: {name}", "", *(_number(shares[part]) for part in PARTS))
    return table


def _retrieval(numbers: Numbers) -> Table:
    table = _table("captions", "groups", "caption of an image", "image of a caption")
    kinds = {
        "all distinct": numbers[RETRIEVAL],
        "  expected of an oracle": {**numbers[f"{RETRIEVAL}, oracle"], "groups": ""},
        "true of one image": numbers[f"{RETRIEVAL}, one truth"],
    }
    for name, shares in kinds.items():
        table.add_row(name, str(shares["groups"]), _number(shares["caption"]), _number(shares["image"]))
    return table


def _families(numbers: Numbers) -> Table:
    table = _table("family", "right")
    table.add_column("most confused")
    naming = numbers["naming"]
    for family, right in naming["among siblings"].items():
        worst = naming["most confused"][family]
        mistake = "–" if worst is None else "{kind} taken for {taken for}, {times} of {of}".format(**worst)
        there = block(np.array(naming["matrix"]), family).any()
        table.add_row(family, _number(right if there else None), mistake)
    return table


def _pairs(numbers: Numbers) -> Table:
    table = _table("family", "scenes", "alone", "together", "given")
    two = numbers["two siblings"]
    for family, one in {"all": two, **two["by family"]}.items():
        shares = (one[name] for name in ("IoU alone", "IoU together", "given to the other"))
        table.add_row(family, str(one["scenes"]), *map(_number, shares))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
