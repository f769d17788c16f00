"""`denseclip-viz toyworld …`: make the bundled models again, measure them, write scenes to files."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from denseclip_viz.cli.command import command
from denseclip_viz.cli.completion import BUNDLED, completing
from denseclip_viz.cli.printed import notice, print_json, print_rows, print_written

app = typer.Typer(help="The bundled world: train its models, measure them, export its scenes.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="resnet, vit or vit-cls; for a report also a folder with a model of this world.",
        autocompletion=completing(lambda: BUNDLED),
    ),
]


@command(app, data=False)
def train(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where the checkpoint and the log are kept; a later call goes on.")],
    minutes: Annotated[Optional[float], typer.Option(help="Stop after so many minutes.")] = None,  # noqa: UP045
    scenes: Annotated[Optional[int], typer.Option(help="Stop after so many images.")] = None,  # noqa: UP045
    restart: Annotated[bool, typer.Option("--restart", help="Start over, whatever the folder holds.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or a GPU such as cuda.")] = "cpu",
) -> None:
    """Train a bundled model from images and captions alone."""
    from denseclip_viz.train.contrastive import train as run

    notice(run(name, folder, minutes=minutes, scenes=scenes, resume=not restart, device=device))


@command(app, data=False)
def pack(
    run: Annotated[Path, typer.Argument(help="The folder of a training.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes to measure on.")] = 500,
    slow: Annotated[int, typer.Option(min=0, help="How many of them Grad-CAM is measured on.")] = 100,
    machine: Annotated[str, typer.Option(help="What it was trained on.")] = "",
    note: Annotated[Optional[list[str]], typer.Option(help="What else people should know.")] = None,  # noqa: UP045
) -> None:
    """Turn a training into a model to ship: weights, and a card with everything measured."""
    from denseclip_viz.train.card import pack as packed

    card = packed(run, folder, scenes=scenes, slow=slow, machine=machine, notes=note or (), progress=_step)
    print_written([card])


def _step(step: str) -> None:
    notice(f"… {step}")


@command(app)
def report(
    name: Name = "resnet",
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes.")] = 500,
    slow: Annotated[int, typer.Option(min=0, help="How many of them Grad-CAM is measured on.")] = 100,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="A .json with every number.")] = None,  # noqa: UP045
    figures: Annotated[Optional[Path], typer.Option(help="A folder for figures; made if missing.")] = None,  # noqa: UP045
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Measure a bundled model on scenes that it has never seen."""
    from denseclip_viz.cli.toyworld_report import check_folder, draw, flat, lines_of
    from denseclip_viz.clip.load.bundled import load_compact
    from denseclip_viz.files import check_target, save_bytes
    from denseclip_viz.loading import load
    from denseclip_viz.model import Model
    from denseclip_viz.train.report import report as measure

    if out is not None:
        check_target(out, [".json"], force=force)
    if figures is not None:
        check_folder(figures, force=force)
    model = Model(load_compact(name), cache=False) if os.path.isdir(name) else load(f"bundled-{name}")
    size = model.preprocess.size[0]
    numbers = measure(model, n=scenes, slow=slow, size=size, progress=_step)
    if out is not None:
        save_bytes(json.dumps(numbers, indent=1).encode(), out, [".json"], force=force)
    if figures is not None:
        for file in draw(model, numbers, figures, size=size, force=force):
            print_written([file])
    if not print_json(numbers):
        print_rows(list(flat(numbers)), lambda _: lines_of(numbers))


@command(app, data=False)
def scene(
    words: Annotated[str, typer.Argument(help="What is in it: 'a red taxi left of an oak on grass'.")],
    out: Annotated[Path, typer.Argument(help="Where to write it, ending in .jpg.")],
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 256,
    variant: Annotated[int, typer.Option(min=0, help="Another scene of the same words.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Draw a scene of words: an image to try commands on, which the bundled models understand."""
    write_scene(words, out, size=size, variant=variant, force=force)
    print_written([out])


@command(app, data=False)
def demo(folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("demo")) -> None:
    """Compare global and dense on a scene, with each bundled model: figures and tables."""
    for file in write_demo(folder):
        print_written([file])


@command(app, data=False)
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    n: Annotated[int, typer.Argument(help="How many scenes.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 160,
) -> None:
    """Write scenes, masks and captions as files, in the layout that the evaluation reads."""
    from denseclip_viz.toyworld import export as write

    print_written([write(folder, n, split=split, size=size)])


@command(app)
def vocabulary() -> None:
    """List the words that the bundled models know, things by their families."""
    from denseclip_viz.toyworld import vocabulary as words

    rows = [{"kind": kind, "words": listed} for kind, listed in words().rows()]
    print_rows(rows, lambda rows: (f"{row['kind']}: {row['words']}" for row in rows))


WORDS = "a red taxi left of a limousine on a road"
PROMPTS, ABSENT = ["a taxi", "a limousine", "a road"], ["a whale"]


def write_scene(words: str, out: Path, *, size: int, variant: int = 0, force: bool = False) -> None:
    """Write a scene as JPEG, marked as drawn."""
    from PIL import Image

    from denseclip_viz.files import atomic_write
    from denseclip_viz.toyworld import scene as draw
    from denseclip_viz.toyworld.scenes import DRAWN

    with atomic_write(out, [".jpg"], force=force) as part:
        image = Image.fromarray(draw(words, size, variant=variant).image)
        image.save(part, "JPEG", quality=95, comment=DRAWN)


def write_demo(folder: Path) -> Iterator[Path]:
    """Write a scene as JPEG, read it back, and compare global and dense with each bundled model.

    The folder is made if missing, its files are replaced, and each is given when it is written.
    """
    from denseclip_viz import plot
    from denseclip_viz.clip.load.bundled import NAMES
    from denseclip_viz.files import make_folder, save_table
    from denseclip_viz.loading import load
    from denseclip_viz.maps.tables import compare_table
    from denseclip_viz.prompts import Prompts

    image = make_folder(folder) / "scene.jpg"
    write_scene(WORDS, image, size=320, force=True)
    yield image
    for name in NAMES:
        both = load(f"bundled-{name}").compare(image, Prompts(PROMPTS, absent=ABSENT))
        yield plot.save(plot.compare(both), folder / f"compare-{name}.png", force=True)
        yield save_table(compare_table(both), folder / f"compare-{name}.csv", force=True)
