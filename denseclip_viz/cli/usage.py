"""Wrong usage in one line as all else that is wrong: what came, what was expected, what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from denseclip_viz.cli.command import stop
from denseclip_viz.validation import short, short_name

UsageError: Any = typer.BadParameter.__mro__[1]  # of click, or of what typer brings in its place
_FRAME = re.compile(r"^(Value error, )?(Input should be |.* is not )|, unable to .*|\.$", re.DOTALL)
_TERMS = {"a valid integer": "a whole number", "a valid number": "a number", "greater than": "a number greater than"}


class Commands(TyperGroup):
    """Commands whose wrong usage is one line."""

    def make_context(self, info_name: str | None, *given: Any, **more: Any) -> Any:
        """Read the words before the command."""
        with usage_in_one_line(lambda: info_name):
            return super().make_context(info_name, *given, **more)

    def invoke(self, ctx: Any) -> Any:
        """Read the words behind the command, and run it."""
        with usage_in_one_line(lambda: f"{ctx.command_path} {ctx.invoked_subcommand or ''}".rstrip()):
            return super().invoke(ctx)


@contextmanager
def usage_in_one_line(where: Callable[[], str | None]) -> Iterator[None]:
    """End the command, `where` names it, with one line and exit code 2 where it is not called as it can be."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        command = error.ctx.command_path if error.ctx else str(where())
        stop(f"{_mistake(error, command)}. Run {command} --help for all that it takes.", 2)


def _mistake(error: Any, command: str) -> str:
    """Say what came and what was expected."""
    kind: str = type(error).__name__
    parameter: Any = getattr(error, "param", None)
    if kind == "MissingParameter":
        about = (parameter.help or "a value").rstrip(".")
        return f"{command} without {_named(parameter)}. Expected {about[0].lower()}{about[1:]}"
    if parameter is not None:
        return f"{_named(parameter)}{_value(error)}. Expected {_expected(error.message)}"
    known: Any = error.ctx.command if error.ctx else None
    if kind == "NoSuchOption":
        options = [option for each in known.params for option in each.opts if option.startswith("--")]
        likely = _likely(error.option_name, options) or "one of its own"
        return f"{command} has no option {short_name(error.option_name)}. Expected {likely}"
    if commands := getattr(known, "commands", None):
        word = re.sub("^[^']*'|'[^']*$", "", error.message.split("'. ")[0])
        return f"There is no {command} {short_name(word)}. Expected {_likely(word, commands) or _one_of(commands)}"
    expected = "a value behind it" if "requires" in error.message else "no more than that"
    return f"{short_name(error.message.rstrip('.'))}. Expected {expected}"


def _named(parameter: Any) -> str:
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper())


def _value(error: Any) -> str:
    """Give what came, as the error has it: apart, or in its text before what it is not."""
    listed: Any = getattr(error.__cause__, "errors", list)()
    return f" {short(listed[0]['input'])}" if listed else f" {error.message.split(' is not ')[0]}"


def _expected(message: str) -> str:
    text = _FRAME.sub("", message)
    for term, plain in _TERMS.items():
        text = text.replace(term, plain)
    return text or "another value"


def _likely(wanted: str, names: Iterable[str]) -> str:
    close = get_close_matches(wanted, names, cutoff=0.7)
    return f"one such as {', '.join(close)}" if close else ""


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"
