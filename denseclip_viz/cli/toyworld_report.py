"""A report for people: tables for a terminal, figures for a folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz import plot
from denseclip_viz.files import FIGURES, check_target, make_folder
from denseclip_viz.measure.candidates import VALUE
from denseclip_viz.model import Model
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES
from denseclip_viz.toyworld.world import dataset
from denseclip_viz.train.report import CEILING, FIRST, PARTS, PRESENT, RETRIEVAL, block, scene_labels
from denseclip_viz.train.retrieval import AMONG
from denseclip_viz.validation import many

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

Numbers = Mapping[str, Any]
"""What `report` returns."""
FILES = ("miou.png", "siblings.png", "gallery.png")
SHOWN = 6  # scenes in the gallery
COLUMNS = ("image", "truth", "value path", "grid ceiling")
OWN, VARIANT, OTHER = PALETTE[0], "#8fbcdb", "#a9a9a9"  # the value path, its variants, other methods
# Of the palette that colour-blind eyes tell apart, what stuff looks like as far as there is such a colour.
NATURAL = {
    "sky": "#56b4e9", "night sky": "#0f1e78", "mountains": "#691ea5", "brick wall": "#5a0f00", "grass": "#009e73",
    "sand": "#f0e442", "water": "#0072b2", "snow": "#a5d2ff", "road": "#784b4b", "leaves": "#d55e00",
    "wooden floor": "#e69f00", "tiles": "#cc79a7",
}  # fmt: skip


def check_folder(folder: Path, *, force: bool) -> None:
    """Make the folder, and refuse figures that could not be written; before the work, not after it.

    Raises:
        OutputError: No folder can be made there, or a figure is there already and no `force`.
    """
    make_folder(folder)
    for name in FILES:
        check_target(folder / name, FIGURES, force=force)


def draw(model: Model, numbers: Numbers, folder: Path, *, size: int = 256, force: bool = False) -> Iterator[Path]:
    """Write the figures of a report to a folder that is there, and give each file when it is written.

    The gallery's scenes have `size` pixels a side.
    """
    figures: Sequence[Callable[[], Figure]] = (
        lambda: miou_bars(numbers),
        lambda: sibling_matrices(numbers),
        lambda: scene_gallery(model, with_things(SHOWN, size)),
    )
    for name, figure in zip(FILES, figures, strict=True):
        yield plot.save(figure(), folder / name, force=force)


def miou_bars(numbers: Numbers) -> Figure:
    """Draw mIoU by method: the value path with its variants, other methods, and what was measured on fewer scenes."""
    blocks: list[list[plot.Bar]] = [[], [], []]
    for method, scores in numbers["mIoU"].items():
        few = scores["scenes"] < numbers["scenes"]
        label, note = (method.removesuffix(FIRST), f"first {many(scores['scenes'], 'scene')}") if few else (method, "")
        colour = OWN if method == VALUE else VARIANT if method.startswith(VALUE) else OTHER
        bar = plot.Bar(method, scores, colour, label=label, note=note, bold=method == VALUE)
        if method != CEILING:
            blocks[2 if few else not method.startswith(VALUE)].append(bar)
    ceiling = {part: score for part, score in numbers["mIoU"][CEILING].items() if part != "scenes"}
    return plot.bars(
        [rows for rows in blocks if rows],
        plot.Bar(CEILING, ceiling, label="ceiling"),
        title=f"mIoU on {many(numbers['scenes'], 'scene')} never seen",
        subtitle=f"all {len(CLASSES)} classes compete for every pixel, unless it says otherwise",
        note="Dashed: the grid’s ceiling, the true masks of all scenes averaged over its cells. "
        "Small things are outvoted there, so a map that makes much of them can pass it.",
        attrs=numbers["model"],
    )


def sibling_matrices(numbers: Numbers) -> Figure:
    """Draw which sibling is taken for which: the main thing of scenes, with only its siblings to choose from."""
    matrix = np.array(numbers["naming"]["matrix"])
    scenes = numbers["naming"]["scenes"]
    return plot.confusion(
        {family: (kinds, block(matrix, family)) for family, kinds in FAMILIES.items()},
        title="which sibling is taken for which",
        subtitle=f"main thing of {scenes} scenes never seen, named from the global embedding",
        unit="share of a row’s scenes",
        note="Numbers are scenes. Only siblings compete; a grey row is a kind that was no scene’s main thing.",
        attrs=numbers["model"],
    )


def scene_gallery(model: Model, scenes: Sequence[Scene]) -> Figure:
    """Draw scenes beside their true labels, those of the value path, and those of the grid's ceiling."""
    rows = []
    for scene, (value, grid) in zip(scenes, scene_labels(model, scenes), strict=True):
        truth = scene.labels()
        right = [f"{float((labels == truth).mean()):.0%}" for labels in (value, grid)]
        note = f"right: value path {right[0]} · ceiling {right[1]}"
        rows.append(plot.Row(scene.image, scene.caption(), note, (truth, value, grid)))
    return plot.gallery(
        rows,
        COLUMNS,
        CLASSES,
        title="what the value path says of each pixel",
        subtitle=f"scenes never seen; all {len(CLASSES)} classes compete for every pixel",
        attrs=model.provenance,
        natural=NATURAL,
    )


def with_things(n: int, size: int) -> list[Scene]:
    """Take the first `n` held-out scenes with at least two things, not the best ones.

    Example:
        >>> [len(scene.things) > 1 for scene in with_things(2, 64)]
        [True, True]
    """
    return list(islice((scene for scene in dataset(1 << 40, "test", size=size) if len(scene.things) > 1), n))


def flat(numbers: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """Give every number with the names that lead to it.

    Example:
        >>> list(flat({"mIoU": {"value": 0.5, "ceiling": 0.7}}))
        [{'name': 'mIoU / value', 'value': 0.5}, {'name': 'mIoU / ceiling', 'value': 0.7}]
    """
    parts = numbers.items() if isinstance(numbers, Mapping) else enumerate(numbers)
    for key, value in parts:
        inner = f"{name} / {key}".removeprefix(" / ")
        if isinstance(value, Mapping | list | tuple):
            yield from flat(value, inner)
        else:
            yield {"name": inner, "value": value}


def lines_of(numbers: Numbers) -> list[str]:
    """Lay what was measured out for people, no wider than 80 columns."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, color_system=None)
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
    with console.capture() as drawn:
        for title, table in parts.items():
            console.print(title, style="bold", highlight=False)
            if table is not None:
                console.print(table)
            console.print()
    return [line.rstrip() for line in drawn.get().splitlines()]


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
