"""The command line: `denseclip-viz compare street.jpg -m ViT-B-16 -w openai -p "a red car" -p grass --out street.png`.

Bad input is one line on standard error and exit code 2, never a traceback; code 1 says that only some images failed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from denseclip_viz.cli import feature_commands
from denseclip_viz.cli import options as opt
from denseclip_viz.cli.command import SayLoading, command
from denseclip_viz.cli.dataset_commands import app as datasets
from denseclip_viz.cli.evaluate_commands import evaluate
from denseclip_viz.cli.image_commands import (
    TABLES,
    WITH_FIGURES,
    Command,
    check_out,
    find,
    named,
    no_figure,
    paths_beside,
    plotted,
    run,
)
from denseclip_viz.cli.listings import model_lines
from denseclip_viz.cli.plus_commands import app as plus
from denseclip_viz.cli.printed import notice, print_json, print_line, print_list, print_rows, records
from denseclip_viz.cli.template_commands import templates
from denseclip_viz.cli.toyworld_commands import app as world
from denseclip_viz.cli.usage import Commands
from denseclip_viz.errors import OutputError, PromptError
from denseclip_viz.validation import is_number

if TYPE_CHECKING:
    from denseclip_viz.maps.segment import Background
    from denseclip_viz.prompts import Prompts

app = typer.Typer(
    cls=Commands,
    epilog="Exit codes: 0 all done; 1 some images could not be read, each is named and all else is done; 2 refused, "
    "with the reason in one line; 130 stopped, and what was written is whole; "
    "141 nobody reads what is printed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(world, name="toyworld")
app.add_typer(datasets, name="datasets")
app.add_typer(plus, name="plus")

FOLDER = Path("denseclip-viz-notebooks")


def _say_version(wanted: bool) -> None:
    if wanted:
        from denseclip_viz import __version__

        typer.echo(f"denseclip-viz {__version__}")
        raise typer.Exit


@app.callback()
def of_all(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and exit.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """See and measure what CLIP's pooled answer leaves out."""


@command(app)
def compare(
    images: opt.Images,
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    template: opt.Templates = [],  # noqa: B006  typer copies it
    articles: opt.Articles = "as written",
    absent: opt.Absent = [],  # noqa: B006
    geometry: opt.FitOfPreset = None,
    path: opt.PathList = [],  # noqa: B006
    out: opt.Out = None,
    force: opt.Force = False,
) -> None:
    """Take CLIP's answer apart: global score, dense, contribution, attention and gap maps for each prompt.

    Of several paths the figure has their dense maps side by side, a row a prompt; of several templates the first.
    """
    prompts, fit, files = (
        opt.prompts_of(prompt, template, absent, articles),
        opt.one_grid(model.preset, geometry),
        find(images),
    )
    paths = opt.paths_of(path, several=True)
    check_out(out, files, WITH_FIGURES, force=force)
    from denseclip_viz.maps.tables import compare_table

    loaded, figure = model.load(), paths_beside if isinstance(paths, list) else plotted("compare")
    work = Command(lambda trace: loaded.compare(trace, prompts), figure, compare_table)
    run(loaded, files, work, out=out, force=force, preset=model.preset, geometry=fit, path=paths)


@command(app)
def segment(
    images: opt.Images,
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    template: opt.Templates = [],  # noqa: B006
    articles: opt.Articles = "as written",
    absent: opt.Absent = [],  # noqa: B006
    geometry: opt.FitOfPreset = None,
    path: opt.OnePath = [],  # noqa: B006
    background: Annotated[
        list[str], typer.Option(help="Background prompts, or the least probability (in a softmax: share).")
    ] = [],  # noqa: B006
    cosine: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Name no pixel whose best prompt has no higher cosine."),
    ] = None,
    formula: opt.Formula = None,
    denoise: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Threshold of prompt denoising, 0 for none; by default the preset's, or none."),
    ] = None,
    smooth: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Key smoothing: cosine, official, or none; by default the preset's, or none."),
    ] = None,
    finer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Draw on a finer grid: guided, shifted, or with a factor, as in guided:8."),
    ] = None,
    labels: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="png: of the image's size, 0 background, 1 the first prompt, …; 255 not seen. json: COCO's RLE."
        ),
    ] = None,
    palette: Annotated[Literal["own", "voc"], typer.Option(help="The colours of such a png.")] = "own",
    out: opt.Out = None,
    force: opt.Force = False,
) -> None:
    """Name every pixel by its best prompt; with absent prompts only above their highest cosine."""
    prompts, fit, files = opt.prompts_of(prompt, template, absent, articles), opt.fit_of(geometry), find(images)
    rule, one = _background(background, cosine, prompts), opt.paths_of(path)
    grid = next(iter(opt.finer_of([finer] if finer else [])), None)
    check_out(out, files, WITH_FIGURES, force=force)
    also = _label_writer(labels, out, files, prompts, palette=palette, force=force)
    from denseclip_viz.maps.tables import segment_table
    from denseclip_viz.presets import preset_named

    loaded, preset = model.load(), preset_named(model.preset)
    smooth = preset.smooth if smooth is None else "" if smooth == "none" else smooth
    denoise = preset.denoise if denoise is None else denoise
    options: dict[str, Any] = {"denoise": denoise, "smooth": smooth, "background": rule, "formula": formula}
    segmented = partial(loaded.segment, prompts=prompts, finer=grid, **options)
    work = Command(segmented, plotted("segments"), segment_table, also)
    keys = preset.keys_for(loaded.tower.family, smooth)
    run(loaded, files, work, out=out, force=force, preset=model.preset, geometry=fit, path=one, keys=keys)


@command(app)
def classify(
    images: opt.Images,
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    template: opt.Templates = [],  # noqa: B006
    articles: opt.Articles = "as written",
    absent: opt.Absent = [],  # noqa: B006
    geometry: opt.FitOfPreset = None,
    formula: opt.Formula = None,
    out: opt.OutTable = None,
    force: opt.Force = False,
) -> None:
    """Give each prompt's share of all prompts (of SigLIP its own probability), and cosines beside those of absent ones.

    It is of CLIP's own answer, which no --path changes.
    """
    prompts, fit, files = opt.prompts_of(prompt, template, absent, articles), opt.fit_of(geometry), find(images)
    check_out(out, files, TABLES, force=force)
    from denseclip_viz.maps.tables import classify_overview, classify_table

    loaded = model.load()
    classified = partial(loaded.classify, prompts=prompts, formula=formula)
    work = Command(classified, no_figure, classify_table, overview=classify_overview)
    run(loaded, files, work, out=out, force=force, preset=model.preset, geometry=fit)


@command(app)
def layers(
    images: opt.Images,
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    layer: opt.LayerList = [],  # noqa: B006
    template: opt.Templates = [],  # noqa: B006
    articles: opt.Articles = "as written",
    absent: opt.Absent = [],  # noqa: B006
    geometry: opt.FitOfPreset = None,
    path: opt.OnePath = [],  # noqa: B006
    out: opt.Out = None,
    force: opt.Force = False,
) -> None:
    """Compare global and dense layer by layer; along a --path that one layer gives by itself, such as vanilla."""
    prompts, fit, files = (
        opt.prompts_of(prompt, template, absent, articles),
        opt.one_grid(model.preset, geometry),
        find(images),
    )
    one = opt.paths_of(path)
    check_out(out, files, WITH_FIGURES, force=force)
    from denseclip_viz.maps.tables import layers_table

    loaded = model.load()
    wanted: Any = layer or "all"
    work = Command(lambda trace: loaded.compare(trace, prompts, layers=wanted), plotted("layers"), layers_table)
    recorded = loaded.layers_to_record(wanted)
    run(loaded, files, work, out=out, force=force, preset=model.preset, geometry=fit, path=one, layers=recorded)


command(app)(templates)
command(app)(evaluate)
command(app, data=False)(feature_commands.encode)
command(app)(feature_commands.search)
command(app, data=False)(feature_commands.remove)


@command(app)
def taps(model: opt.ModelOptions) -> None:
    """List every place of a tower that can be recorded."""
    brings_weights = model.name.startswith("bundled-") or os.path.isdir(model.name)
    weights = model.pretrained or (None if brings_weights else "random")
    loaded = replace(model, pretrained=weights, device=model.device or "cpu").load()
    print_list(loaded.taps)


@command(app)
def models(pattern: Annotated[str, typer.Argument(help="A name, with wildcards: 'ViT-B*'.")] = "*") -> None:
    """List open_clip's models: pooling, pixels, grid, sizes, pretrained tags."""
    from denseclip_viz.clip.load.models import models as listed

    print_rows(records(listed(pattern).reset_index(names="name")), model_lines)


@command(app, data=False)
def lab(
    folder: Annotated[Path, typer.Argument(help="Where your copy of the notebooks lies; made if not there.")] = FOLDER,
    options: Annotated[list[str], typer.Argument(help="For JupyterLab, after --: -- --no-browser --port 8890")] = [],  # noqa: B006
    no_open: Annotated[bool, typer.Option("--no-open", help="Only copy.")] = False,
) -> None:
    """Copy the notebooks to a folder of yours and open JupyterLab there; what you changed stays yours."""
    from denseclip_viz.cli.notebooks import check_jupyterlab, copy_notebooks, open_lab

    if str(folder).startswith("-"):  # no folder was named, and what stands behind -- is all for JupyterLab
        folder, options = FOLDER, [str(folder), *options]
    if not no_open:
        check_jupyterlab()
    for line in str(copy_notebooks(folder)).splitlines():
        notice(line)
    if not no_open:
        open_lab(folder, options)


@command(app)
def versions() -> None:
    """Say what is installed; the first thing to paste into a report."""
    from denseclip_viz.versions import show_versions, versions

    if not print_json(versions()):
        print_line(show_versions())


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before the start
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a prompt that the terminal cannot show stops nothing
    sys.meta_path.insert(0, SayLoading())
    app()


def _label_writer(
    labels: str | None, out: str | None, files: Sequence[Path], prompts: Prompts, *, palette: str, force: bool
) -> Callable[[Any, Path], object]:
    """Check, before any work, where label images go; give what writes that of an image."""
    if labels is None:
        return lambda result, image: None
    from denseclip_viz.plot.save_labels import ENDINGS, check_count, save_labels

    if not labels.lower().endswith(".json"):
        check_count(len(prompts.named(absent=False)))
    check_out(labels, files, ENDINGS, force=force)
    outs = set() if out is None else {os.path.realpath(named(out, path)) for path in files}
    if outs & {os.path.realpath(named(labels, path)) for path in files}:
        raise OutputError(f"--labels {labels} and --out {out}", expected="two names", fix="Change one of them.")
    return lambda result, image: save_labels(result, named(labels, image), palette=palette, force=force)


def _background(rules: Sequence[str], cosine: float | None, prompts: Prompts) -> Background:
    """Read a background rule; a prompt may be a number too, and then it is that prompt."""
    from denseclip_viz.maps.segment import Background

    if cosine is not None and not is_number(cosine, -1, 1):
        raise PromptError(f"--cosine {cosine:g}", expected="a cosine from -1 to 1", fix="Try --cosine 0.2.")
    names, number = prompts.named(absent=False), None
    if len(rules) == 1 and rules[0] not in names:
        with suppress(ValueError):
            number = float(rules[0])
    if number is None:
        rule = Background(prompts=tuple(rules), cosine=cosine)
    elif is_number(number, 0, 1):
        rule = Background(below=number, cosine=cosine)
    else:
        expected, fix = "a probability from 0 to 1, or prompts", "Try --background 0.3."
        raise PromptError(f"--background {rules[0]}", expected=expected, fix=fix)
    rule.hidden(names)
    return rule
