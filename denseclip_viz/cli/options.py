"""The options that commands have in common, and what some of them mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

if TYPE_CHECKING:
    from denseclip_viz.prompts import Prompts

DEFAULT = "bundled-resnet"
Images = Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="bundled-resnet, bundled-vit, an open_clip name, or a folder.")
]
Weights = Annotated[
    Optional[str],  # noqa: UP045  typer reads this at run time, also on Python 3.10
    typer.Option("--weights", "-w", help="A pretrained tag, a checkpoint file, or 'random'."),
]
PromptList = Annotated[list[str], typer.Option("--prompt", "-p", help="What to look for; repeat for more.")]
Templates = Annotated[list[str], typer.Option("--template", "-t", help="A set (imagenet-80) or templates with {}.")]
Absent = Annotated[list[str], typer.Option("--absent", "-a", help="A prompt known not to be there: the baseline.")]
Formula = Annotated[
    Literal["softmax", "sigmoid"] | None,
    typer.Option(help="Shares of the prompts given, or each by itself (SigLIP); by default as the model was trained."),
]
Articles = Annotated[str, typer.Option(help="In templates: 'as written', or 'right' (an oak, one article not two).")]
Fit = Annotated[str, typer.Option("--geometry", "-g", help="native, whole, tiles; or whole:512 for the short side.")]
Out = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--out", "-o", help="png, svg, pdf: figure; nc: all data; csv: table. {name} for many images."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Device = Annotated[Optional[str], typer.Option("--device", help="cpu, cuda, …")]  # noqa: UP045
LayerList = Annotated[list[str], typer.Option("--layer", "-l", help="Layers: names, wildcards, -1 from the end.")]


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


def fit_of(text: str) -> Any:
    """Read how an image is fitted to the input.

    Raises:
        GeometryError: There is no such fit.

    Example:
        >>> fit_of("whole:512").short
        512
    """
    from denseclip_viz.geometry import Tiles, Whole, fit_from

    name, _, side = text.partition(":")
    fits: dict[str, Any] = {"whole": Whole, "tiles": Tiles}
    if name in fits and re.fullmatch(r"[0-9]{1,9}", side):
        return fits[name](short=int(side))
    return fit_from(text)
