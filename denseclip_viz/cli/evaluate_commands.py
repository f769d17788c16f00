"""`denseclip-viz evaluate voc21 --folder VOC2012 -m ViT-B-16 -w openai --preset sclip`: mIoU as papers report it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from denseclip_viz.cli import image_commands as runs
from denseclip_viz.cli import options as opt
from denseclip_viz.cli.completion import completing, datasets
from denseclip_viz.cli.printed import RANDOM, STYLE, print_json, print_rows, print_written, records, say
from denseclip_viz.errors import DatasetError, OutputError, PromptError
from denseclip_viz.files import as_json, check_target, save_bytes, save_data, save_table
from denseclip_viz.validation import is_number, many

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.datasets import Dataset
    from denseclip_viz.model import Model
    from denseclip_viz.toyworld import Scenes

ENDINGS = (".csv", ".json", ".nc")
TOYWORLD, SCENES = "toyworld", 200
MEANS = {
    "miou": "mIoU", "accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy",
    "seen": "seen", "unseen": "unseen", "hiou": "hIoU",
}  # fmt: skip


def evaluate(
    dataset: Annotated[
        str,
        typer.Argument(
            help="voc21, ade150, … (denseclip-viz datasets lists them), or toyworld.",
            autocompletion=completing(datasets),
        ),
    ],
    model: opt.ModelOptions,
    folder: Annotated[Optional[Path], typer.Option(help="The data set's; toyworld has none.")] = None,  # noqa: UP045
    split: Annotated[Optional[str], typer.Option(help="Which images; val by default.")] = None,  # noqa: UP045
    names: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What classes are called: maskclip, sclip, proxyclip, or a text file, a class a line."),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="The first so many images alone.")] = None,  # noqa: UP045
    corruption: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Corrupt the images first: KIND:LEVEL, as in gaussian_noise:3; levels are 1 to 5."),
    ] = None,
    path: opt.PathList = [],  # noqa: B006  typer copies it
    template: opt.Templates = [],  # noqa: B006
    geometry: opt.FitOfPreset = None,
    background: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Pixels whose best name has a lower probability are background."),
    ] = None,
    scale: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="What cosines are multiplied by before that softmax."),
    ] = None,
    denoise: Annotated[Optional[float], typer.Option(help="Threshold of prompt denoising.")] = None,  # noqa: UP045
    smooth: Annotated[
        Literal["cosine", "official", "none"] | None, typer.Option(help="Key smoothing; the preset's by default.")
    ] = None,
    finer: opt.Finer = [],  # noqa: B006
    features: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A store of the images' features: they are taken from there, and no image is encoded."),
    ] = None,
    encode: Annotated[
        Literal["float16", "float32"] | None,
        typer.Option(help="Encode first what is not in --features, in these numbers."),
    ] = None,
    store: Annotated[Optional[Path], typer.Option(help="A file from which a killed run goes on.")] = None,  # noqa: UP045
    batch_size: Annotated[int, typer.Option(min=1, help="Images in one forward pass.")] = 8,
    engine: opt.Engine = None,
    workers: opt.Workers = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--out", "-o", help="csv: a row a class; json: all scores; nc: those and the confusion."),
    ] = None,
    force: opt.Force = False,
) -> None:
    """Measure segmentation on a data set: IoU of every class, mIoU, accuracies, and what was published beside them."""
    from denseclip_viz.measure.protocol import evaluate_segmentation

    if out is not None:
        check_target(out, ENDINGS, force=force)
    if background is not None and not is_number(background, 0, 1):
        got, fix = f"--background {background:g}", "Try --background 0.3."
        raise PromptError(got, expected="a probability from 0 to 1", fix=fix)
    paths, fit = opt.paths_of(path, several=True), opt.fit_of(geometry)
    where, grids = opt.engine_of(engine, workers), opt.finer_of(finer)
    images: Any = images_of(dataset, folder, split, names)
    images = _corrupted(images[:limit] if limit else images, corruption)
    if encode is not None and features is None:
        raise OutputError("--encode without --features", expected="where to", fix="Pass --features FOLDER.")
    loaded = model.load()
    skipped = runs.Skipped(len(images))
    traced: dict[str, Any] = {"path": paths, "geometry": fit, "preset": model.preset, "batch_size": batch_size}
    traced["progress"] = not STYLE.get().quiet
    options: dict[str, Any] = {"background": background, "scale": scale, "templates": opt.templates_of(template)}
    options |= {"denoise": denoise, "smooth": "" if smooth == "none" else smooth, "store": store}
    options |= {"unreadable": skipped, "engine": where, "finer": grids}
    if features is not None:
        options["features"] = _stored(loaded, images, features, encode, traced)
    measured = evaluate_segmentation(loaded, images, **traced, **options)
    show(measured, out, force=force)
    skipped.end()


def _stored(loaded: Model, images: Any, folder: Path, numbers: str | None, options: dict[str, Any]) -> Any:
    """Open a store of features, after what is missing was encoded if that is wanted; the unreadable is told later."""
    from denseclip_viz.features import encode, open_store

    if numbers is None:
        return open_store(folder)
    return encode(loaded, images, folder, dtype=numbers, unreadable=lambda *_: None, **options)


def images_of(
    name: str, folder: Path | None, split: str | None, names: str | None, *, scenes: int = SCENES
) -> Dataset | Scenes:
    """Open the data set that is named, or so many scenes of the bundled world."""
    if name == TOYWORLD:
        from denseclip_viz.toyworld import dataset

        if folder is not None or names is not None:
            got, fix = f"--{'names' if folder is None else 'folder'} for toyworld", "Leave it out."
            raise DatasetError(got, expected="none: its scenes are drawn, their classes have names", fix=fix)
        return dataset(scenes, split or "test")
    from denseclip_viz.datasets import read

    if folder is None:
        raise DatasetError(f"{name} without a folder", expected="where it is", fix="Pass --folder FOLDER.")
    return read(name, folder, split, names=names)


def _corrupted(images: Dataset | Scenes, corruption: str | None) -> Sequence[Any]:
    from denseclip_viz.datasets import corrupted

    if corruption is None:
        return images
    kind, _, level = corruption.partition(":")
    try:
        return corrupted(images, kind, int(level) if level.isdecimal() else 0)
    except DatasetError as error:
        fix = "Try --corruption gaussian_noise:3."
        raise DatasetError(f"--corruption {corruption}", expected=error.expected, fix=fix) from error


def show(measured: xr.Dataset, out: str | None, *, force: bool) -> None:
    """Write what was measured, if there is to be a file; then print it, which nobody may read to its end."""
    written = [] if out is None else [keep(measured, out, force=force)]
    print_measured(measured)
    print_written(written)
    if measured.attrs["stopped"]:
        for file in written:
            say(f"{file} is of the {many(measured.sizes['image'], 'image')} until then: --force writes it anew")
        raise KeyboardInterrupt


def print_measured(measured: xr.Dataset) -> None:
    """Print IoU by class, a column a path, with the means below; say how many images, and what was published."""
    table = measured["iou"].to_pandas().T.rename_axis(columns=None).reset_index()
    table = table[measured["confusion"].isel(candidate=0).sum("given").to_numpy() > 0]
    paths = [str(name) for name in measured["candidate"].to_numpy()]
    means = [dict(zip(["class", *paths], [noun, *measured[name].to_numpy().tolist()], strict=True))
             for name, noun in means_of(measured).items()]  # fmt: skip
    if measured.attrs.get("random_weights"):
        say(RANDOM)
    if not print_json(_all_scores(measured)):
        print_rows([*records(table), *means])
    for line in _remarks(measured, paths, len(table)):
        say(line)


def means_of(measured: xr.Dataset) -> dict[str, str]:
    """Name the means that there are, by what they are in the data."""
    return {name: noun for name, noun in MEANS.items() if name in measured}


def _remarks(measured: xr.Dataset, paths: Sequence[str], classes: int) -> Iterator[str]:
    """Say what a reader of the numbers must know."""
    counts = measured["confusion"].sum(["true", "given"])
    yield f"{many(measured.sizes['image'], 'image')}, {int(counts[0])} pixels of {classes} classes"
    for path, ious in zip(paths, measured["iou"].to_numpy(), strict=True):
        if over := sum(iou == iou for iou in ious.tolist()) - classes:  # nan: neither true nor given
            yield f"{path}: {over} more classes given that no image has: IoU 0, counted in mIoU"
    for path, count in zip(paths, measured["emptied"].to_numpy().tolist(), strict=True):
        if count:
            yield f"{path}: in {many(count, 'image')} denoising left no name; all their pixels are of the first class."
    yield from measured.attrs["published"].splitlines()


def keep(measured: xr.Dataset, out: str, *, force: bool) -> Path:
    """Write what was measured, in the format of the ending."""
    from denseclip_viz.measure.class_scores import segmentation_table

    if out.lower().endswith(".nc"):
        return save_data(measured, out, force=force)
    if out.lower().endswith(".csv"):
        return save_table(segmentation_table(measured), out, force=force)
    text = json.dumps(as_json(_all_scores(measured)), indent=1, ensure_ascii=False)
    return save_bytes(text.encode(), out, ENDINGS, force=force)


def _all_scores(measured: xr.Dataset) -> dict[str, Any]:
    scores = [_scores(measured.sel(candidate=path)) for path in measured["candidate"].to_numpy()]
    return {"candidates": scores, **measured.attrs}


def _scores(measured: xr.Dataset) -> dict[str, Any]:
    """List what one candidate has; NaN where a class is neither true nor given."""
    ious = zip(measured["class"].to_numpy(), measured["iou"].to_numpy().tolist(), strict=True)
    means = {name: float(measured[name]) for name in means_of(measured)}
    return {"path": str(measured["candidate"].item()), **means, "iou": {str(c): v for c, v in ious}}
