"""What commands print: rows on standard output, for people or for programs, and all else on standard error."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from denseclip_viz.errors import OutputError
from denseclip_viz.files import as_json, written
from denseclip_viz.html import join_names
from denseclip_viz.validation import printable

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Mapping[str, Any]]
# What stands once above a table where every row has the same.
_ABOVE_TABLE = ("image", "template", "path", "number", "cosine_cut", "model", "weights")
_MARKS = ("absent", "background")
_HIDDEN = ("random_weights", "weights_hash")
_PIXELS = ("peak_y", "peak_x", "y", "x")  # of the image; cells are larger than a tenth
RANDOM = "RANDOM WEIGHTS: these numbers only show the mechanics."
UNREAD = 141  # as a process ends whom the system tells that its reader has gone
_TEXT = 24  # letters of a column of text that may be on one line, where columns would be left out for more


@dataclass(frozen=True)
class Style:
    """What was asked of all that a command prints."""

    json: bool = False
    quiet: bool = False


_PLAIN = Style()
STYLE: ContextVar[Style] = ContextVar("STYLE", default=_PLAIN)


@contextmanager
def printing(style: Style) -> Iterator[None]:
    """Print in a style."""
    before = STYLE.set(style)
    try:
        yield
    finally:
        STYLE.reset(before)


def say(what: object) -> None:
    """Say what must not go unnoticed in one line on standard error."""
    typer.echo(printable(" ".join(str(what).split())), err=True)


def notice(what: object) -> None:
    """Say what is only good to know in one line on standard error, unless --quiet."""
    if not STYLE.get().quiet:
        say(what)


def print_written(files: Sequence[object]) -> None:
    """Say which files were written, the first and the last of many."""
    if files:
        notice(f"wrote {join_names([str(file) for file in files], most=4)}")


def print_line(text: str) -> None:
    """Print data; where nobody reads on, that is the end of the command.

    Raises:
        OutputError: Nothing can be written there, as on a full disk.
    """
    try:
        with written("standard output"):
            typer.echo(text)
    except OutputError as error:
        with open(os.devnull, "wb") as nothing:  # what is left to be written is tried again when Python ends
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            raise typer.Exit(UNREAD) from error
        raise


def print_json(value: object) -> bool:
    """Print JSON where that was asked for, and say whether it was."""
    if STYLE.get().json:
        print_line(json.dumps(as_json(value), indent=1, default=str))
    return STYLE.get().json


def print_list(names: Iterable[str]) -> None:
    """Print names, one a line."""
    if not print_json(listed := list(names)):
        for name in listed:
            print_line(printable(name))


def print_rows(rows: Rows, people: Callable[[Rows], Iterable[str]] | None = None) -> None:
    """Print rows: as JSON; on a terminal as lines for people; else parted by tabs, below a header of whole keys."""
    if not print_json(rows):
        lines = (people or _fitted)(rows) if sys.stdout.isatty() else _parted_by_tabs(rows)
        for line in lines:
            print_line(line)


def print_table(
    table: pd.DataFrame, notes: Sequence[str] = (), overview: Callable[[pd.DataFrame], pd.DataFrame] | None = None
) -> None:
    """Print a table, after what must not go unnoticed; weights are spoken of only where they are random.

    Programs get all of it, people what `overview` makes of it.
    """
    if table["random_weights"].any():
        notes = [RANDOM, *notes]
    for note in notes:
        say(note)
    lines = None if overview is None else lambda rows: _fitted(records(overview(table)))
    print_rows(records(table), lines)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table.

    Example:
        >>> import pandas as pd
        >>> records(pd.DataFrame({"prompt": ["grass"], "score": [0.5]}))
        [{'prompt': 'grass', 'score': 0.5}]
    """
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _parted_by_tabs(rows: Rows) -> Iterator[str]:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    yield "\t".join(map(printable, keys))
    for row in rows:
        yield "\t".join(_cell(row[key], "{:.6g}") for key in keys)


def _fitted(rows: Rows) -> Iterator[str]:
    """Lay rows out in the width of the terminal: what all of them say is said once, and what does not fit is named."""
    keys = [key for key in rows[0] if key not in _HIDDEN] if rows else []
    keys = [key for key in keys if key not in _MARKS or any(row[key] for row in rows)]
    columns = {key: [_cell(row[key], "{:.1f}" if key in _PIXELS else "{:.4f}") for row in rows] for key in keys}
    if "weights" in keys:
        from denseclip_viz.clip.summary import weights_of  # it imports torch, which has loaded these weights

        columns["weights"] = [weights_of(row) for row in rows]
    once = [key for key in keys if key in _ABOVE_TABLE and len(set(columns[key])) == 1]
    width = shutil.get_terminal_size().columns
    yield from textwrap.wrap(" · ".join(f"{key} {columns[key][0]}" for key in once), width)
    texts = [key for key in keys if key in _MARKS or any(isinstance(row[key], str) for row in rows)]
    shown = [key for key in sorted(keys, key=lambda key: key not in texts) if key not in once]
    yield from _columns({key: columns[key] for key in shown}, texts, width)


def _columns(columns: dict[str, list[str]], texts: Sequence[str], width: int) -> Iterator[str]:
    """Draw columns; texts and the parts of a key go on in a next line, and the last columns are left out."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    heads = {key: printable(key).replace("_", "_\n").replace(" ", "\n") for key in columns}
    sizes = {key: max(map(cell_len, [*heads[key].split("\n"), *cells])) for key, cells in columns.items()}
    sizes |= {key: min(size, _TEXT) for key, size in sizes.items() if key in texts}
    left_out: list[str] = []
    while len(sizes) > 1 and sum(sizes.values()) + 2 * (len(sizes) - 1) > width:
        left_out.insert(0, sizes.popitem()[0])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for key, size in sizes.items():
        text = key in texts
        table.add_column(
            heads[key], justify="left" if text else "right", overflow="fold", min_width=None if text else size
        )
    for row in zip(*(columns[key] for key in sizes), strict=True):
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as drawn:
        console.print(table)
    yield from (line.rstrip() for line in drawn.get().splitlines())
    if left_out:
        notice(f"too wide for this terminal: {', '.join(left_out)}; --json and a pipe have all")


def _cell(value: object, number: str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else number.format(value)
    return "" if value is None else printable(str(value))
