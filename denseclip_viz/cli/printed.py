"""What commands print: tables that fit a terminal, and lines that other programs can read."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from denseclip_viz.html import join_names
from denseclip_viz.validation import printable

if TYPE_CHECKING:
    import pandas as pd

# Said once where it is the same in every row.
_SAID_ONCE = ("image", "template", "path", "number", "cosine_cut", "model", "weights")
_MARKS = ("absent", "background")
_COLUMNS = {"name": 28, "pooling": 21, "pixels": 9, "grid": 7, "image_parameters": 6}


def say(what: object) -> None:
    """Say something in one line on standard error."""
    typer.echo(printable(" ".join(str(what).split())), err=True)


def print_table(table: pd.DataFrame, notes: Sequence[str] = ()) -> None:
    """Print a table, after what must not go unnoticed; weights are spoken of only where they are random.

    What every row says is said once, above. A table that is wider than the terminal is turned: a line a column. What
    would steer a terminal is escaped; `save_table` keeps every text as it is.
    """
    if table["random_weights"].any():
        notes = ["RANDOM WEIGHTS: these numbers only show the mechanics.", *notes]
    for note in notes:
        say(note)
    texts = table.drop(columns=["random_weights", "weights_hash"], errors="ignore")
    texts = texts.drop(columns=[name for name in _MARKS if name in texts and not texts[name].any()])
    texts = texts.apply(lambda column: column.map(_cell))
    once = [name for name in _SAID_ONCE if name in texts and texts[name].nunique() == 1]
    if once:
        typer.echo(" · ".join(f"{name} {texts[name].iloc[0]}" for name in once))
    texts = texts.drop(columns=once)
    lines, width = texts.to_string(index=False), shutil.get_terminal_size().columns
    if sys.stdout.isatty() and max(map(len, lines.splitlines())) > width:
        lines = texts.T.to_string(header=False, line_width=width)
    typer.echo(lines)


def print_written(files: Sequence[object]) -> None:
    """Say which files were written, the first and the last of many."""
    if files:
        typer.echo(printable(f"wrote {join_names([str(file) for file in files], most=4)}"))


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))


def print_models(rows: pd.DataFrame) -> None:
    """List models: on a terminal their tags below each, else a line each, parted by tabs; no name is shortened."""
    for line in _for_people(rows) if sys.stdout.isatty() else _for_programs(rows):
        typer.echo(line)


def _for_people(rows: pd.DataFrame) -> Iterator[str]:
    width = shutil.get_terminal_size().columns
    for name, row in rows.iterrows():
        facts = {"name": name, **row, "image_parameters": f"{row.image_parameters:.0f} M"}
        yield " ".join(f"{facts[column]:<{size}}" for column, size in _COLUMNS.items()).rstrip()
        yield from textwrap.wrap(
            row.tags or "no pretrained tags", width, initial_indent="    ", subsequent_indent="    "
        )


def _for_programs(rows: pd.DataFrame) -> Iterator[str]:
    yield "\t".join(["name", "pooling", "pixels", "grid", "million parameters", "trimmed", "tags"])
    for name, row in rows.iterrows():
        size, trimmed = f"{row.image_parameters:.0f}", "yes" if row.trimmed else "no"
        yield "\t".join([str(name), row.pooling, row.pixels, row.grid, size, trimmed, row.tags])
