"""The figures of a report: mIoU by method, confused siblings, and a gallery of scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denseclip_viz.cli.toyworld_report import Numbers
from denseclip_viz.errors import OutputError
from denseclip_viz.files import FIGURES, check_target
from denseclip_viz.measure.baselines import VALUE
from denseclip_viz.model import Model
from denseclip_viz.plot.bars import Bar, bars
from denseclip_viz.plot.confusion import confusion
from denseclip_viz.plot.gallery import Row, gallery
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES
from denseclip_viz.toyworld.world import dataset
from denseclip_viz.train.report import CEILING, FIRST, block, scene_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"the folder {folder} cannot be made ({os.strerror(error.errno or 0)})"
        raise OutputError(got, expected="a place that can be written", fix="Name another folder.") from error
    for name in FILES:
        check_target(folder / name, FIGURES, force=force)


def draw(model: Model, numbers: Numbers, folder: Path, *, size: int = 256, force: bool = False) -> Iterator[Path]:
    """Write the figures of a report.

    Args:
        model: The model that was measured.
        numbers: What `report` returned for it.
        folder: Where to; it must be there.
        size: Pixels a side of the gallery's scenes.
        force: Replace files that are there.

    Returns:
        The files, one after the other as they are written.
    """
    from denseclip_viz import plot

    figures: Sequence[Callable[[], Figure]] = (
        lambda: miou_bars(numbers),
        lambda: sibling_matrices(numbers),
        lambda: scene_gallery(model, with_things(SHOWN, size)),
    )
    for name, figure in zip(FILES, figures, strict=True):
        yield plot.save(figure(), folder / name, force=force)


def miou_bars(numbers: Numbers) -> Figure:
    """Draw mIoU by method: the value path with its variants, other methods, and what was measured on fewer scenes."""
    blocks: list[list[Bar]] = [[], [], []]
    for method, scores in numbers["mIoU"].items():
        few = scores["scenes"] < numbers["scenes"]
        label, note = (method.removesuffix(FIRST), f"first {scores['scenes']} scenes") if few else (method, "")
        colour = OWN if method == VALUE else VARIANT if method.startswith(VALUE) else OTHER
        bar = Bar(method, scores, colour, label=label, note=note, bold=method == VALUE)
        if method != CEILING:
            blocks[2 if few else not method.startswith(VALUE)].append(bar)
    ceiling = {part: score for part, score in numbers["mIoU"][CEILING].items() if part != "scenes"}
    return bars(
        [rows for rows in blocks if rows],
        Bar(CEILING, ceiling, label="ceiling"),
        title=f"mIoU on {numbers['scenes']} scenes never seen",
        subtitle=f"all {len(CLASSES)} classes compete for every pixel, unless it says otherwise",
        note="Dashed: the grid’s ceiling, the true masks averaged over its cells: the best that this grid can say.",
        attrs=numbers["model"],
    )


def sibling_matrices(numbers: Numbers) -> Figure:
    """Draw which sibling is taken for which: the main thing of scenes, with only its siblings to choose from."""
    matrix = np.array(numbers["naming"]["matrix"])
    scenes = numbers["naming"]["scenes"]
    return confusion(
        {family: (kinds, block(matrix, family)) for family, kinds in FAMILIES.items()},
        title="which sibling is taken for which",
        subtitle=f"main thing of {scenes} scenes never seen, named from the global embedding",
        unit="share of a row’s scenes",
        note="Numbers are scenes. Only siblings compete; a grey row is a kind that was no scene’s main thing.",
        attrs=numbers["model"],
    )


def scene_gallery(model: Model, scenes: Sequence[Scene]) -> Figure:
    """Draw scenes beside their true labels, those of the value path, and what the grid could say."""
    rows = []
    for scene, (value, grid) in zip(scenes, scene_labels(model, scenes), strict=True):
        truth = scene.labels()
        right = [f"{float((labels == truth).mean()):.0%}" for labels in (value, grid)]
        note = f"right: value path {right[0]} · ceiling {right[1]}"
        rows.append(Row(scene.image, scene.caption(), note, (truth, value, grid)))
    return gallery(
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
