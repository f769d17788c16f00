"""`denseclip-viz plus train voc20aug RUN STUDENT --folder VOC2012 --schedule voc20`: segmenters taught by CLIP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from denseclip_viz.cli import evaluate_commands as measured_commands
from denseclip_viz.cli import image_commands as runs
from denseclip_viz.cli import options as opt
from denseclip_viz.cli.command import command
from denseclip_viz.cli.completion import SCHEDULES, completing, datasets
from denseclip_viz.cli.printed import STYLE, print_written
from denseclip_viz.errors import ImageError, OutputError
from denseclip_viz.files import check_target
from denseclip_viz.html import join_names
from denseclip_viz.validation import short_name

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.plus.student import Student
    from denseclip_viz.prompts import Prompts

app = typer.Typer(help="DenseCLIP+: teach a segmenter by CLIP's maps, with no label; measure it.", no_args_is_help=True)

DataSet = Annotated[
    str,
    typer.Argument(
        help="voc20aug, … (denseclip-viz datasets lists them), or toyworld.", autocompletion=completing(datasets)
    ),
]
Folder = Annotated[Optional[Path], typer.Option(help="The data set's; toyworld has none.")]  # noqa: UP045
Limit = Annotated[Optional[int], typer.Option(min=1, help="The first so many images alone.")]  # noqa: UP045
SCENES = 3000


@command(app, data=False)
def train(
    dataset: DataSet,
    run: Annotated[Path, typer.Argument(help="Where the checkpoint is kept; a later call goes on to the same bits.")],
    student: Annotated[Path, typer.Argument(help="A new folder for the student.")],
    model: opt.ModelOptions,
    folder: Folder = None,
    split: Annotated[Optional[str], typer.Option(help="Which images; train by default.")] = None,  # noqa: UP045
    limit: Limit = None,
    schedule: Annotated[
        str,
        typer.Option(
            help="toyworld, voc20, context59, cityscapes, coco-stuff, ade150; NAME-zero-shot.",
            autocompletion=completing(lambda: SCHEDULES),
        ),
    ] = "toyworld",
    network: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="clip-fpn, deeplabv3-resnet50, smp:Unet:resnet18, …; the schedule's by default."),
    ] = None,
    backbone: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A file of the network's backbone weights; nothing is downloaded."),
    ] = None,
    labels: Annotated[
        Literal["none", "ignored", "seen"] | None, typer.Option(help="Which labels are read; the schedule's.")
    ] = None,
    unseen: Annotated[list[str], typer.Option(help="A class whose labels are not used; repeat for more.")] = [],  # noqa: B006
    steps: Annotated[Optional[int], typer.Option(help="How many.")] = None,  # noqa: UP045
    guided: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="How many of them CLIP leads; then the student teaches itself."),
    ] = None,
    batch: Annotated[Optional[int], typer.Option(help="Images a step.")] = None,  # noqa: UP045
    crop: Annotated[Optional[int], typer.Option(help="Pixels a side.")] = None,  # noqa: UP045
    path: opt.PathOfSchedule = [],  # noqa: B006
    template: opt.Templates = [],  # noqa: B006
    confidence: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Pixels whose best name has a lower probability are not learned from."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights, the order, the crops.")] = 0,
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="bf16: products in bfloat16.")] = "fp32",
    on: Annotated[str, typer.Option(help="Where the student learns: cpu, or a GPU such as cuda.")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Start over, whatever RUN holds.")] = False,
) -> None:
    """Teach a segmenter by CLIP's own maps; without labels unless asked. A killed run goes on by the same command."""
    from denseclip_viz.plus.learning import train as learn

    if os.path.lexists(student):
        got, fix = f"{short_name(student)} is there already", "Name another one, or remove it first."
        raise OutputError(got, expected="a new folder for the student", fix=fix)
    one = opt.paths_of(path)
    images = measured_commands.images_of(dataset, folder, split or _training(dataset), None, scenes=SCENES)
    images, loaded = images[:limit] if limit else images, model.load()
    skipped = runs.Skipped(len(images))
    options: dict[str, Any] = {"labels": labels, "unseen": unseen or None, "steps": steps, "guided": guided}
    options |= {"batch": batch, "crop": crop, "path": one, "confidence": confidence, "network": network}
    options |= {"templates": opt.templates_of(template), "weights": backbone}
    options |= {"seed": seed, "precision": precision, "device": on, "resume": not restart}
    taught = learn(loaded, images, run, preset=schedule, unreadable=skipped, **options)
    print_written([taught.save(student)])
    skipped.end()


def _training(dataset: str) -> str | None:
    """Name the images to learn from, where a data set has others too."""
    from denseclip_viz.datasets.layouts import LAYOUTS

    return "train" if dataset not in LAYOUTS or "train" in LAYOUTS[dataset].splits else None


@command(app, data=False)
def predict(
    student: Annotated[Path, typer.Argument(help="The folder of a student.")],
    images: opt.Images,
    model: opt.ModelOptions,
    labels: Annotated[
        str, typer.Option(help="png of the image's size: 1 the first class; json: COCO's RLE. {name} for many.")
    ] = "{name}-labels.png",
    geometry: opt.WholeOrPreset = None,
    force: opt.Force = False,
) -> None:
    """Name every pixel of images by the best of a student's classes, and write label images."""
    from denseclip_viz.plot.save_labels import ENDINGS, save_labels
    from denseclip_viz.plus.student import load

    fit, files = _one_window(model.preset, geometry), runs.find(images)
    runs.check_out(labels, files, ENDINGS, force=force)
    taught, loaded, skipped = load(student), model.load(), runs.Skipped(len(files))
    for file in files:
        try:
            (named,) = taught.predict(loaded, [file], geometry=fit, preset=model.preset)
        except ImageError as error:
            skipped(file, error)
        else:
            print_written([save_labels(named, runs.named(labels, file), force=force)])
    skipped.end()


def _one_window(preset: str | None, geometry: str | None) -> Any:
    """Read how an image is fitted to the input; None stays so, for the preset's; a student takes no windows apart."""
    return opt.one_grid(preset, geometry, fix="Pass --geometry whole too.")


@command(app)
def evaluate(
    student: Annotated[Path, typer.Argument(help="The folder of a student.")],
    dataset: DataSet,
    model: opt.ModelOptions,
    folder: Folder = None,
    split: Annotated[Optional[str], typer.Option(help="Which images; val by default.")] = None,  # noqa: UP045
    limit: Limit = None,
    geometry: opt.FitOfPreset = None,
    path: opt.OnePath = [],  # noqa: B006
    finer: opt.Finer = [],  # noqa: B006
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 8,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--out", "-o", help="csv: a row a class; json: all scores; nc: those and the confusion."),
    ] = None,
    force: opt.Force = False,
) -> None:
    """Measure a student beside its teacher: IoU of every class, mIoU, and of zero-shot training seen, unseen, hIoU."""
    from denseclip_viz.plus.student import load
    from denseclip_viz.plus.student_scores import evaluate as measure

    if out is not None:
        check_target(out, measured_commands.ENDINGS, force=force)
    fit, one, grids = _one_window(model.preset, geometry), opt.paths_of(path), opt.finer_of(finer)
    images = measured_commands.images_of(dataset, folder, split, None)
    taught, loaded = load(student), model.load()
    images = images[:limit] if limit else images
    skipped = runs.Skipped(len(images))
    options: dict[str, Any] = {"path": one, "geometry": fit, "preset": model.preset, "finer": grids}
    options |= {"batch_size": batch_size, "unreadable": skipped, "progress": not STYLE.get().quiet}
    result = measure(taught, loaded, images, **options)
    result.attrs.setdefault("published", "")
    measured_commands.show(result, out, force=force)
    skipped.end()


@command(app, data=False)
def export(
    student: Annotated[Path, typer.Argument(help="The folder of a student.")],
    file: Annotated[Path, typer.Argument(help="Where to write it, ending in .onnx.")],
    force: opt.Force = False,
) -> None:
    """Write a student as an ONNX file: pixels to features and cosines, checked against the student's own answers."""
    from denseclip_viz.plus.onnx_export import ENDINGS, export_onnx
    from denseclip_viz.plus.student import load

    check_target(file, ENDINGS, force=force)
    print_written([export_onnx(load(student), file, force=force)])


@command(app, data=False)
def show(
    student: Annotated[Path, typer.Argument(help="The folder of a student.")],
    image: Annotated[Path, typer.Argument(help="An image file.")],
    out: Annotated[str, typer.Option("--out", "-o", help="html: one page, which opens anywhere without a network.")],
    model: opt.ModelOptions,
    prompt: Annotated[
        list[str], typer.Option("--prompt", "-p", help="Any words; the student's classes by default; repeat for more.")
    ] = [],  # noqa: B006
    template: opt.Templates = [],  # noqa: B006
    absent: opt.Absent = [],  # noqa: B006
    geometry: opt.WholeOrPreset = None,
    path: opt.OnePath = [],  # noqa: B006
    force: opt.Force = False,
) -> None:
    """Show a teacher's maps and its student's of the same words: one page, side by side, on one colour scale."""
    from denseclip_viz.canvas.page import save_html
    from denseclip_viz.maps.regions import visible_part
    from denseclip_viz.plus.student import load, whole_by_default

    runs.check_out(out, runs.find([image]), (".html",), force=force)
    fit, one, taught = _one_window(model.preset, geometry), opt.paths_of(path), load(student)
    fit = whole_by_default(fit, model.preset)
    words = _words(taught, prompt, template, absent)
    loaded = model.load()
    trace = loaded.trace(image, geometry=fit, path=one, preset=model.preset, keep=("dense", "pixels", "image"))
    traces = [trace, taught.trace(trace)]
    maps = [loaded.similarity(each, words) for each in traces]
    _check_size(maps)
    options: dict[str, Any] = {"notes": _notes(taught, words, trace.paths[0]), "prompt": words.prompts[0]}
    if not prompt:  # of many classes begin with one that is likely there
        peaks = visible_part(maps[1]).max(("template", "y", "x")).where(~maps[1]["absent"])
        options["prompt"] = str(peaks.idxmax("prompt").item())
    options |= {"trace": traces, "leave_out": ["cells"], "limit_mb": 2 * _PAGE, "force": force}
    print_written([save_html(maps, runs.named(out, image), **options)])


_PAGE = 8.0  # MB of the maps of a page: more is slow to open


def _words(taught: Student, prompt: list[str], template: list[str], absent: list[str]) -> Prompts:
    """Say words as the student's classes were said, unless templates are given; by default those classes."""
    from denseclip_viz.prompts import Prompts

    own = taught.prompts
    named: Any = prompt or dict(zip(own.prompts, own.synonyms, strict=True))
    if template:
        return Prompts(named, opt.templates_of(template), absent=absent)
    return Prompts(named, own.templates, absent=absent, articles=own.articles, plural=own.plural)


def _notes(taught: Student, words: Prompts, path: str) -> str:
    """Say which maps are whose, and which words the student did not learn, in whatever name it knows them."""
    taught_texts = {text for texts in taught.prompts.texts for text in texts}
    new = [name for name in words.prompts if taught_texts.isdisjoint(words.sent(words.templates[0], name))]
    known = f"First the teacher along its {path} path, then the student ({taught.built.facts['name']})."
    learned = f"Not among the {len(taught.prompts)} classes that it learned"
    return f"{known}\n{learned}: {join_names(new, most=12)}." if new else known


def _check_size(maps: Sequence[xr.DataArray]) -> None:
    """Refuse a page of too many maps in the words of the command line: two bytes a number, in base64."""
    size = sum(each.size for each in maps) * 2 * 4 / 3 / 1e6
    if size > _PAGE:
        got = f"{maps[0].sizes['prompt']} prompts in {maps[0].sizes['template']} templates, {size:.1f} MB in a page"
        fix = "Name some of them by --prompt, one way of saying them by --template, or a smaller --geometry."
        raise OutputError(got, expected=f"at most {_PAGE:g} MB", fix=fix)
