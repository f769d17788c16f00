"""The first minute: a scene, the bundled models, a figure and a table, with no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from denseclip_viz.loading import load
from denseclip_viz.maps.tables import compare_table
from denseclip_viz.output import save_table
from denseclip_viz.prompts import Prompts
from denseclip_viz.toyworld.recipes import NAMES
from denseclip_viz.toyworld.world import scene
from denseclip_viz.view import plot

WORDS = "a red taxi left of a limousine on a road"
PROMPTS = Prompts(["a taxi", "a limousine", "a road"], absent=["a whale"])


def demo(folder: Path) -> Iterator[Path]:
    """Write a scene as JPEG, read it back, and compare global and dense with each bundled model.

    Args:
        folder: Where to; made if missing, and its files replaced.

    Returns:
        The files, one after the other as they are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "scene.jpg"
    Image.fromarray(scene(WORDS, 320).picture).save(picture, quality=95)
    yield picture
    for name in NAMES:
        both = load(f"bundled-{name}").compare(picture, PROMPTS)
        yield plot.save(plot.compare(both), folder / f"compare-{name}.png", force=True)
        yield save_table(compare_table(both), folder / f"compare-{name}.csv", force=True)
