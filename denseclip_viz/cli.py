"""The command line: `denseclip-viz compare street.jpg -m ViT-B-16 -w openai -p "a red car" -p grass --out street.png`.

Bad input is one line on standard error and exit code 2; never a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from denseclip_viz.errors import DenseclipVizError, OutputError, PictureError
from denseclip_viz.output import FIGURES, check_target, save_data, save_table

if TYPE_CHECKING:
    import pandas as pd

    from denseclip_viz.model import Model
    from denseclip_viz.prompts import Prompts

app = typer.Typer(
    help="See and measure what CLIP's pooled answer leaves out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

Pictures = Annotated[list[Path], typer.Argument(help="Picture files, or folders of them.")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="An open_clip name, or a folder with a configuration.")]
Weights = Annotated[
    Optional[str],  # noqa: UP045  typer reads this at run time, also on Python 3.10
    typer.Option("--weights", "-w", help="A pretrained tag, a checkpoint file, or 'random'."),
]
PromptList = Annotated[list[str], typer.Option("--prompt", "-p", help="What to look for; repeat for more.")]
Templates = Annotated[list[str], typer.Option("--template", "-t", help="A set (imagenet-80) or templates with {}.")]
Absent = Annotated[list[str], typer.Option("--absent", "-a", help="A prompt known not to be there: the baseline.")]
Feed = Annotated[str, typer.Option("--geometry", "-g", help="native, whole, tiles; or whole:512 for the short side.")]
Out = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--out", "-o", help="png, svg, pdf: figure; nc: all data; csv: table. {name} for many pictures."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Device = Annotated[Optional[str], typer.Option("--device", help="cpu, cuda, …")]  # noqa: UP045
LayerList = Annotated[list[str], typer.Option("--layer", "-l", help="Layers: names, wildcards, -1 from the end.")]


@dataclass(frozen=True)
class Kind:
    """What a command does with one picture, and how its result is drawn and tabled."""

    work: Callable[[Any], Any]
    figure: Callable[[Any], Any]
    table: Callable[[Any], pd.DataFrame]


@app.command()
def compare(
    pictures: Pictures,
    model: ModelName,
    prompt: PromptList,
    weights: Weights = None,
    template: Templates = [],  # noqa: B006  typer copies it
    absent: Absent = [],  # noqa: B006
    geometry: Feed = "native",
    out: Out = None,
    force: Force = False,
    device: Device = None,
) -> None:
    """Take CLIP's answer apart: global score, dense, contribution, attention and gap maps for each prompt."""
    from denseclip_viz.maps.tables import compare_table

    with _one_line_errors():
        prompts, way, files = _prompts(prompt, template, absent), _way(geometry), _files(pictures)
        _check_out(out, files, figures=True, force=force)
        loaded = _load(model, weights, device)
        kind = Kind(lambda trace: loaded.compare(trace, prompts), _plot("compare"), compare_table)
        _run(loaded, files, kind, out=out, force=force, geometry=way)


@app.command()
def segment(
    pictures: Pictures,
    model: ModelName,
    prompt: PromptList,
    weights: Weights = None,
    template: Templates = [],  # noqa: B006
    geometry: Feed = "native",
    background: Annotated[list[str], typer.Option(help="Background prompts, or one probability.")] = [],  # noqa: B006
    denoise: Annotated[float, typer.Option(help="Threshold of prompt denoising; 0 for none.")] = 0.0,
    smooth: Annotated[str, typer.Option(help="Key smoothing: cosine, official, or none.")] = "none",
    out: Out = None,
    force: Force = False,
    device: Device = None,
) -> None:
    """Name every pixel by its best prompt."""
    from denseclip_viz.maps.tables import segment_table

    with _one_line_errors():
        prompts, way, files = _prompts(prompt, template, []), _way(geometry), _files(pictures)
        _check_out(out, files, figures=True, force=force)
        loaded, keys = _load(model, weights, device), "" if smooth == "none" else "key"
        options: dict[str, Any] = {
            "background": _background(background),
            "denoise": denoise,
            "smooth": "" if not keys else smooth,
        }
        kind = Kind(lambda trace: loaded.segment(trace, prompts, **options), _plot("segments"), segment_table)
        _run(loaded, files, kind, out=out, force=force, geometry=way, keys=keys)


@app.command()
def classify(
    pictures: Pictures,
    model: ModelName,
    prompt: PromptList,
    weights: Weights = None,
    template: Templates = [],  # noqa: B006
    out: Out = None,
    force: Force = False,
    device: Device = None,
) -> None:
    """Give CLIP's ordinary zero-shot probabilities."""
    from denseclip_viz.maps.tables import classify_table

    with _one_line_errors():
        prompts, files = _prompts(prompt, template, []), _files(pictures)
        _check_out(out, files, figures=False, force=force)
        loaded = _load(model, weights, device)
        kind = Kind(lambda trace: loaded.classify(trace, prompts), _no_figure, classify_table)
        _run(loaded, files, kind, out=out, force=force)


@app.command()
def layers(
    pictures: Pictures,
    model: ModelName,
    prompt: PromptList,
    weights: Weights = None,
    layer: LayerList = [],  # noqa: B006
    geometry: Feed = "native",
    out: Out = None,
    force: Force = False,
    device: Device = None,
) -> None:
    """Compare global and dense layer by layer."""
    from denseclip_viz.maps.tables import layers_table

    with _one_line_errors():
        prompts, way, files = _prompts(prompt, [], []), _way(geometry), _files(pictures)
        _check_out(out, files, figures=True, force=force)
        loaded = _load(model, weights, device)
        wanted: Any = layer or "all"
        kind = Kind(lambda trace: loaded.compare(trace, prompts, layers=wanted), _plot("layers"), layers_table)
        _run(loaded, files, kind, out=out, force=force, geometry=way, layers=loaded.needs(wanted))


@app.command()
def taps(model: ModelName) -> None:
    """List every place of a tower that can be recorded."""
    with _one_line_errors():
        for name in _load(model, "random", "cpu").taps:
            typer.echo(name)


@app.command()
def models() -> None:
    """List open_clip's models: family, size, pretrained tags."""
    from rich.console import Console
    from rich.table import Table

    from denseclip_viz.encode.checkpoints import known_models

    table = Table("model", "family", "pixels", "D", "pretrained tags")
    for known in known_models():
        size = " x ".join(str(side) for side in known["image_size"])
        table.add_row(known["name"], known["family"], size, str(known["embed_dim"]), ", ".join(known["tags"]))
    Console().print(table)


@app.command()
def versions() -> None:
    """Say what is installed; the first thing to paste into a report."""
    from denseclip_viz.versions import show_versions

    typer.echo(show_versions())


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except DenseclipVizError as error:
        _stop(str(error), 2)
    except KeyboardInterrupt:
        _stop("stopped; what was written is whole", 130)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(code)


def _load(name: str, weights: str | None, device: str | None) -> Model:
    from denseclip_viz.model import load

    return load(name, pretrained=weights, device=device)


def _prompts(prompts: Sequence[str], templates: Sequence[str], absent: Sequence[str]) -> Prompts:
    from denseclip_viz.prompts import Prompts

    said: Any = "none" if not templates else templates[0] if len(templates) == 1 else templates
    return Prompts(prompts, said, absent=absent)


def _way(text: str) -> Any:
    from denseclip_viz.geometry import Tiles, Whole, geometry_from

    name, _, side = text.partition(":")
    ways: dict[str, Any] = {"whole": Whole, "tiles": Tiles}
    if side.isdigit() and name in ways:
        return ways[name](short=int(side))
    return geometry_from(text)


def _background(rules: Sequence[str]) -> None | float | list[str]:
    if len(rules) == 1 and rules[0].replace(".", "", 1).isdigit():
        return float(rules[0])
    return list(rules) or None


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES) if path.is_dir() else [path]
        if not found:
            raise PictureError(f"{path} holds no pictures", expected=f"{', '.join(PICTURES)} files", fix="Name files.")
        files += found
    return files


def _check_out(out: str | None, files: Sequence[Path], *, figures: bool, force: bool) -> None:
    if out is None:
        return
    endings = [*(FIGURES if figures else ()), ".nc", ".csv"]
    if len(files) > 1 and "{name}" not in out and not out.endswith(".csv"):
        raise OutputError(
            f"one file {out} for {len(files)} pictures",
            expected="a name with {name} in it, or a .csv for one table",
            fix=f"Try --out '{Path(out).with_name('{name}' + Path(out).suffix)}'.",
        )
    targets = [out.replace("{name}", path.stem) for path in files]
    if "{name}" in out and len(set(targets)) < len(targets):
        raise OutputError("two pictures of the same name", expected="different names", fix="Run them in two calls.")
    for target in dict.fromkeys(targets):
        check_target(target, endings, force=force)


def _run(loaded: Model, files: Sequence[Path], kind: Kind, *, out: str | None, force: bool, **options: Any) -> None:
    from rich.console import Console
    from rich.progress import track

    progress = Console(stderr=True)
    tables = []
    traces = loaded.trace_many(files, batch_size=1 if len(files) == 1 else 8, **options)
    steps = track(zip(files, traces, strict=True), "pictures", len(files), console=progress, disable=len(files) == 1)
    try:
        for path, trace in steps:
            result = kind.work(trace)
            tables.append(kind.table(result))
            if out and not out.endswith(".csv"):
                _write(result, kind, out.replace("{name}", path.stem), force=force)
            elif out and "{name}" in out:
                save_table(tables[-1], out.replace("{name}", path.stem), force=force)
    finally:
        if tables:  # also after an interrupt: what was computed is kept
            _finish(tables, out, force=force)


def _finish(tables: Sequence[pd.DataFrame], out: str | None, *, force: bool) -> None:
    import pandas as pd

    whole = pd.concat(tables, ignore_index=True)
    if out and out.endswith(".csv") and "{name}" not in out:
        save_table(whole, out, force=force)
    shown = whole.drop(columns=["weights_hash"]).rename(columns={"attention_in_top_decile": "att_top_decile"})
    if (whole["weights"].str.startswith("random")).any():
        typer.echo("RANDOM WEIGHTS: these numbers only show the mechanics.", err=True)
    typer.echo(shown.to_string(index=False, float_format=lambda v: f"{v:.4f}"))


def _write(result: Any, kind: Kind, path: str, *, force: bool) -> None:
    if path.endswith(".nc"):
        save_data(result, path, force=force)
        return
    from denseclip_viz.view.plot import save

    save(kind.figure(result), path, force=force)


def _plot(name: str) -> Callable[[Any], Any]:
    def draw(result: Any) -> Any:
        from denseclip_viz.view import plot

        return getattr(plot, name)(result)

    return draw


def _no_figure(result: Any) -> NoReturn:
    raise OutputError("a figure of probabilities", expected=".nc or .csv", fix="Choose another ending.")


if __name__ == "__main__":
    main()
