"""Scenes as folders of PNG files, in the layout that the evaluation reads."""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from denseclip_viz.errors import OutputError
from denseclip_viz.toyworld.rng import stream
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES
from denseclip_viz.toyworld.world import dataset

_CAPTIONS = 5


def export(folder: str | Path, n: int, *, split: str = "test", size: int = 160, first: int = 0) -> Path:
    """Write scenes as ``images/*.png``, ``masks/*.png``, ``captions.jsonl`` and ``classes.txt``.

    A mask is a palette PNG of class indices; line i of ``classes.txt``, counted from 0, names class i.
    The folder appears when all of it is written, and not before.

    Returns:
        The folder.

    Raises:
        OutputError: If the folder exists, or its parent does not.
        PromptError: On a split or numbers that do not exist.
        ImageError: On a size that cannot be drawn.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     sorted(p.name for p in export(f"{place}/toy", 2, size=64).iterdir())
        ['captions.jsonl', 'classes.txt', 'images', 'masks']
    """
    target = Path(folder)
    scenes = dataset(n, split, size=size, first=first)
    if target.exists():
        raise OutputError(f"{target} exists", expected="a new folder", fix="Name another one, or remove it first.")
    if not target.parent.is_dir():
        raise OutputError(f"{target.parent} is not a folder", expected="a folder to write into", fix="Make it first.")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        work = Path(place) / target.name
        for part in (work, work / "images", work / "masks"):
            part.mkdir()
        (work / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        with (work / "captions.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
            for number, scene in enumerate(scenes):
                lines.write(json.dumps(_write(work, f"{number:06d}.png", scene)) + "\n")
        work.rename(target)
    return target


def _write(work: Path, name: str, scene: Scene) -> dict[str, object]:
    """Write a scene's files; return its line of ``captions.jsonl``."""
    Image.fromarray(scene.image).save(work / "images" / name)
    mask = Image.fromarray(scene.labels().astype(np.uint8)).convert("P")
    mask.putpalette(_palette())
    mask.save(work / "masks" / name)
    facts = ("kind", "colour", "surface", "size", "box", "depth")
    things = [{fact: getattr(thing, fact) for fact in facts} for thing in scene.things]
    return {
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "seed": scene.seed,
        "captions": scene.captions(_CAPTIONS),
        "things": things,
        "stuff": list(scene.stuff),
    }


def _palette() -> list[int]:
    """Return red, green and blue of every class, so that masks can be looked at."""
    shades = 60 + 190 * stream(21).random((len(CLASSES), 3))
    return [int(value) for value in shades.ravel()]
