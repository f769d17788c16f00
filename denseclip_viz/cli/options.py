"""The options that commands have in common, and what some of them mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from denseclip_viz.cli.completion import DTYPES, FITS, PATHS, completing, model_names, preset_names, template_sets

if TYPE_CHECKING:
    from denseclip_viz.model import Model
    from denseclip_viz.prompts import Prompts

Images = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]
PromptList = Annotated[list[str], typer.Option("--prompt", "-p", help="What to look for; repeat for more.")]
Templates = Annotated[
    list[str],
    typer.Option(
        "--template", "-t", help="A set (imagenet-80) or templates with {}.", autocompletion=completing(template_sets)
    ),
]
Absent = Annotated[list[str], typer.Option("--absent", "-a", help="A prompt known not to be there: the baseline.")]
Formula = Annotated[
    Literal["softmax", "sigmoid"] | None,
    typer.Option(help="Shares of the prompts given, or each by itself (SigLIP); by default as the model was trained."),
]
Articles = Annotated[str, typer.Option(help="In templates: 'as written', or 'right' (an oak, one article not two).")]


def _fit(more: str = "") -> Any:
    words = f"native, whole, tiles; or whole:512 for the short side{more}."
    return typer.Option("--geometry", "-g", help=words, autocompletion=completing(lambda: FITS))


def _path(more: str) -> Any:
    words = f"How dense features are made: value, sclip, …{more}"
    return typer.Option("--path", help=words, autocompletion=completing(lambda: PATHS))


Fit = Annotated[str, _fit()]
FitOfPreset = Annotated[Optional[str], _fit("; by default the preset's, or native")]  # noqa: UP045
WholeOrPreset = Annotated[Optional[str], _fit("; by default the preset's, or whole")]  # noqa: UP045
PathList = Annotated[list[str], _path("; by default the preset's, or value; repeat to compare.")]
OnePath = Annotated[list[str], _path("; by default the preset's, or value.")]
PathOfSchedule = Annotated[list[str], _path("; by default the schedule's.")]
Finer = Annotated[
    list[str], typer.Option("--finer", help="A finer grid beside the own: guided, shifted, guided:8; repeat for more.")
]
Out = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--out", "-o", help="png, svg, pdf: figure; nc: all data; csv: table. {name} for many images."),
]
OutTable = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--out", "-o", help="nc: all data; csv: table. {name} for many images."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Engine = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Where images are measured: here by default; processes, ray, or ray://HOST:PORT.",
        rich_help_panel="Workers",
    ),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(help="How many worker processes, or workers of Ray.", rich_help_panel="Workers"),
]
LayerList = Annotated[
    list[str], typer.Option("--layer", "-l", help="Layers: names, wildcards, blocks.-1 where they are numbered.")
]


def _model_option(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel="Model", **more)


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and how it is loaded: arguments of `load` by their names there, options by their names here."""

    name: Annotated[
        str,
        _model_option(
            "--model",
            "-m",
            text="bundled-resnet, -vit or -vit-cls, a name of open_clip, a folder, or a file.",
            autocompletion=completing(model_names),
        ),
    ] = "bundled-resnet"
    pretrained: Annotated[
        str | None, _model_option("--weights", "-w", text="A pretrained tag, a checkpoint file, or 'random'.")
    ] = None
    device: Annotated[str | None, _model_option("--device", text="cpu, cuda, …")] = None
    dtype: Annotated[
        str | None,
        _model_option("--dtype", text="fp32 (default), bf16, fp16 or fp64.", autocompletion=completing(lambda: DTYPES)),
    ] = None
    preset: Annotated[
        str | None,
        _model_option(
            "--preset",
            text="maskclip-paper, sclip, sc-clip: what published code does.",
            autocompletion=completing(preset_names),
        ),
    ] = None
    activation: Annotated[
        str | None, _model_option("--activation", text="gelu, quickgelu; image-gelu, image-quickgelu for one tower.")
    ] = None
    layer_norm_eps: Annotated[
        float | None, _model_option("--layer-norm-eps", text="The epsilon of the image tower's LayerNorms.")
    ] = None
    mean: Annotated[
        str | None, _model_option("--mean", text="What is taken off each channel, of pixels 0..1.", metavar="R,G,B")
    ] = None
    std: Annotated[str | None, _model_option("--std", text="What each channel is divided by.", metavar="R,G,B")] = None
    interpolation: Annotated[
        str | None, _model_option("--interpolation", text="How images are resized: bicubic, bilinear, bilinear-opencv.")
    ] = None
    resize_mode: Annotated[
        str | None,
        _model_option("--resize-mode", text="shortest (the rest cropped), longest (the rest padded) or squash."),
    ] = None

    def load(self) -> Model:
        """Load it; what cannot be is refused there."""
        from denseclip_viz import loading

        return loading.load(**{**vars(self), "mean": _channels(self.mean), "std": _channels(self.std)})


def _channels(text: str | None) -> Any:
    """Read "0.5,0.5,0.5"; what is no such thing stays as it is, for `load` to refuse."""
    with suppress(ValueError):
        return text and tuple(float(number) for number in text.split(","))
    return text


def prompts_of(
    prompts: Sequence[str], templates: Sequence[str], absent: Sequence[str], articles: str = "as written"
) -> Prompts:
    """Make prompts of what was typed: one template may be the name of a set, none leaves prompts as they are.

    Raises:
        PromptError: As for `Prompts`.

    Example:
        >>> prompts_of(["an oak"], ["a photo of {}"], []).texts
        [['a photo of an oak']]
    """
    from denseclip_viz.prompts import Prompts

    chosen: Any = "none" if not templates else templates[0] if len(templates) == 1 else templates
    return Prompts(prompts, chosen, absent=absent, articles=articles)


def templates_of(templates: Sequence[str]) -> Any:
    """Read which templates there are to be: None for the default, one or a set by its name, or a list.

    Example:
        >>> templates_of([]), templates_of(["imagenet-80"]), templates_of(["{}", "a {}"])
        (None, 'imagenet-80', ['{}', 'a {}'])
    """
    return (templates[0] if len(templates) == 1 else templates) or None


def paths_of(paths: Sequence[str], *, several: bool = False) -> Any:
    """Read which paths to dense features there are to be: None for the default, one by its name, or a list.

    Raises:
        LayerError: No such path, one twice, or more than one where only one can be.

    Example:
        >>> paths_of([]), paths_of(["sclip"]), paths_of(["value", "sclip"], several=True)
        (None, 'sclip', ['value', 'sclip'])
    """
    if not paths:
        return None
    from denseclip_viz.arguments import choose_paths
    from denseclip_viz.errors import LayerError

    choose_paths(list(paths))
    if len(paths) > 1 and not several:
        got, fix = f"--path {' --path '.join(paths)}", "Run it once for each, or compare them: denseclip-viz compare."
        raise LayerError(got, expected="one path here", fix=fix)
    return list(paths) if len(paths) > 1 else paths[0]


def finer_of(finer: Sequence[str]) -> list[str]:
    """Read which finer grids there are to be.

    Raises:
        GeometryError: There is no such grid.

    Example:
        >>> finer_of(["guided", "shifted:4"])
        ['guided', 'shifted:4']
    """
    if not finer:
        return []
    from denseclip_viz.errors import GeometryError
    from denseclip_viz.maps.finer_choice import choose_finer

    try:
        return [one.name for one in choose_finer(list(finer))]
    except GeometryError as error:
        expected = "guided or shifted, each once, with a factor where one is wanted: guided:8"
        raise GeometryError(
            f"--finer {' --finer '.join(finer)}", expected=expected, fix="Try --finer guided."
        ) from error


def engine_of(engine: str | None, workers: int | None) -> Any:
    """Read where images are measured: `--workers` alone are processes.

    Raises:
        WorkerError: There is no such engine, or number.

    Example:
        >>> engine_of(None, None), engine_of(None, 4), engine_of("ray", 4).workers
        (None, Processes(workers=4, threads=None), 4)
    """
    if engine is None and workers is None:
        return None
    from denseclip_viz.measure.engines import engine_of as read

    name = "processes" if engine is None else engine
    kind: Any = read(int(name) if re.fullmatch("[0-9]{1,9}", name) else name)
    return kind if workers is None else replace(kind, workers=workers)


def one_grid(
    preset: str | None, geometry: str | None, *, fix: str = "Pass --geometry whole or tiles too, or run segment."
) -> Any:
    """Read how an image is fitted to the input, where a result is of one grid; None stays so, for the preset's.

    Raises:
        GeometryError: There is no such fit, or the preset's are windows kept apart.

    Example:
        >>> one_grid("sclip", "native"), one_grid("maskclip-paper", None)
        (Native(), None)
    """
    from denseclip_viz.errors import GeometryError
    from denseclip_viz.presets import PRESETS

    known = PRESETS.get(preset or "")  # another one is refused where the model is loaded
    if geometry is None and known and getattr(known.geometry, "apart", False):
        got, expected = f"--preset {preset} keeps windows apart", "one grid, to draw or to measure cell by cell"
        raise GeometryError(got, expected=expected, fix=fix)
    return fit_of(geometry)


def fit_of(text: str | None) -> Any:
    """Read how an image is fitted to the input; None stays so, for the preset's.

    Raises:
        GeometryError: There is no such fit.

    Example:
        >>> fit_of("whole:512").short
        512
    """
    from denseclip_viz.errors import GeometryError
    from denseclip_viz.geometry import Tiles, Whole, fit_from

    if text is None:
        return None
    name, _, side = text.partition(":")
    fits: dict[str, Any] = {"whole": Whole, "tiles": Tiles}
    if name not in fits or not re.fullmatch(r"[0-9]{1,9}", side):
        return fit_from(text)
    try:
        return fits[name](short=int(side))
    except GeometryError as error:
        fix = f"Try --geometry {name}:512."
        raise GeometryError(f"--geometry {text}", expected=error.expected, fix=fix) from error
