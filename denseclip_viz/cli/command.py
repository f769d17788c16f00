"""What every command has: options of a model by their own names, --json, --quiet, and errors in one line."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache, wraps
from importlib.abc import MetaPathFinder
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from denseclip_viz.cli.options import ModelOptions
from denseclip_viz.cli.printed import Style, notice, printing, say
from denseclip_viz.cli.wording import in_options
from denseclip_viz.errors import DenseclipVizError

Work = TypeVar("Work", bound=Callable[..., None])
STYLES = {
    "json": Annotated[bool, typer.Option("--json", help="Print JSON.")],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and what is wrong.")],
}


def command(app: typer.Typer, *, data: bool = True) -> Callable[[Work], Work]:
    """Register a function as a command; with `--json` where what it prints is data."""

    def register(work: Work) -> Work:
        app.command()(with_options(work, data=data))
        return work

    return register


def with_options(work: Callable[..., None], *, data: bool = True) -> Callable[..., None]:
    """Give a command every option of `ModelOptions` in the place of its parameter `model`, and how it prints."""
    own, styles = inspect.signature(work, eval_str=True).parameters, [name for name in STYLES if data or name != "json"]

    @wraps(work)
    def run(**given: Any) -> None:
        style = Style(**{name: given.pop(name) for name in styles})
        if "model" in own:
            given["model"] = ModelOptions(**{field.name: given.pop(field.name) for field in fields(ModelOptions)})
        with printing(style), one_line_errors():
            work(**given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        parameters += _of_a_model().values() if name == "model" else [parameter]
    keywords = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
    for name in styles:
        keywords.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=STYLES[name]))
    vars(run)["__signature__"] = inspect.Signature(keywords)  # which typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


@cache
def _of_a_model() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(ModelOptions, eval_str=True).parameters


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line and exit code 2 on our own errors; say warnings in one line too."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(in_options(str(message)))
            yield
    except DenseclipVizError as error:
        stop(in_options(str(error)), 2)
    except KeyboardInterrupt:
        stop("stopped; what was written is whole", 130)


def stop(message: str, code: int) -> NoReturn:
    """Say why, and end the command."""
    say(message)
    raise typer.Exit(code)


class SayLoading(MetaPathFinder):
    """Says that something is loading when torch is first asked for, whatever needs it: it takes seconds."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find nothing, so that others do."""
        if name == "torch":
            sys.meta_path.remove(self)
            notice("loading torch …")
