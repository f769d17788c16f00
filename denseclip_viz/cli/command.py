"""What every command has: options of a model by their own names, --json, --quiet, and errors in one line."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import fields
from functools import cache, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn, TypeVar, get_args

import typer

from denseclip_viz.cli.options import ModelOptions
from denseclip_viz.cli.printed import Style, notice, printing, say
from denseclip_viz.cli.wording import in_options
from denseclip_viz.errors import DenseclipVizError, OutputError
from denseclip_viz.validation import check_path, short_name

INTERRUPTED = 130
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
    keywords = [
        parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=_checked(parameter.annotation))
        for parameter in parameters
    ]
    for name in styles:
        keywords.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=STYLES[name]))
    vars(run)["__signature__"] = inspect.Signature(keywords)  # which typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return run


def _checked(annotation: Any) -> Any:
    """Let paths be read by `place`."""
    kind, option = (*get_args(annotation), None, None)[:2]
    if kind is not Path and Path not in get_args(kind):
        return annotation
    option = copy(option)
    option.parser = place
    return Annotated[kind, option]


def place(text: str) -> Path:
    """Read a path; what no file system takes is refused, and nothing is not the folder that one is in.

    Raises:
        ValueError: Nothing, a null character, or a name that is too long.

    Example:
        >>> str(Path("")), place("street.jpg").suffix
        ('.', '.jpg')
    """
    try:
        return check_path(text)
    except OutputError as error:
        raise ValueError(f"{short_name(text)!r} is not {error.expected}") from error


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
        stop("stopped; what was written is whole", INTERRUPTED)


def stop(message: str, code: int) -> NoReturn:
    """Say why, and end the command."""
    say(message)
    raise typer.Exit(code)


class SayLoading(MetaPathFinder):
    """Says that something is loading when torch is first asked for, whatever needs it: it takes seconds."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find what others find, so that its loading can be stopped: an interrupt inside is a crash of torch."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        notice("loading torch …")
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            vars(spec.loader)["exec_module"] = ended_by_interrupts(spec.loader.exec_module)
        return spec


def ended_by_interrupts(load: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """Let an interrupt end the process at once while something loads, when nothing can be half-written."""

    def loaded(module: ModuleType) -> None:
        if threading.current_thread() is not threading.main_thread():
            return load(module)
        before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        try:
            load(module)
        finally:
            signal.signal(signal.SIGINT, before)

    return loaded
