"""Lists for people: what each entry is below its name, in the width of the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from denseclip_viz.cli.printed import Rows
from denseclip_viz.validation import printable

_COLUMNS = {"name": 28, "pooling": 21, "pixels": 9, "grid": 7, "image_parameters": 6}


def model_lines(rows: Rows) -> Iterator[str]:
    """List models, with the tags of each below it."""
    for row in rows:
        facts = {**row, "image_parameters": f"{row['image_parameters']:.0f} M"}
        yield " ".join(f"{facts[column]:<{size}}" for column, size in _COLUMNS.items()).rstrip()
        yield from _below(row["tags"] or "no pretrained tags", 4)


def dataset_lines(rows: Rows) -> Iterator[str]:
    """List data sets, with what lies in the folder of each below it."""
    for row in rows:
        yield f"{row['name']:<12} {row['title']}"
        images = f"; images: {row['images']}" * bool(row["images"])
        yield from _below(f"{row['classes'] or 'the folder says which'} classes{images}", 13)
        yield from _below(f"folder: {row['folder']}", 13)
        yield from _below(f"names: {row['names']}" * bool(row["names"]), 13)


def fault_lines(rows: Rows) -> Iterator[str]:
    """List faults of a data set, a line each."""
    yield from (printable(f"{row['file']} {row['fault']}") for row in rows)


def _below(text: str, indent: int) -> list[str]:
    width, space = shutil.get_terminal_size().columns, " " * indent
    return textwrap.wrap(text, width, initial_indent=space, subsequent_indent=space)
