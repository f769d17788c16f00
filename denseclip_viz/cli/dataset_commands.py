"""`denseclip-viz datasets`: what data sets are known, and what is wrong with a folder of one."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Optional

import typer

from denseclip_viz.cli.image_commands import one_line_errors
from denseclip_viz.cli.printed import say
from denseclip_viz.validation import many, printable

app = typer.Typer(help="Data sets in local folders: list the known layouts, check a folder.")


@app.callback(invoke_without_command=True)
def listed(context: typer.Context) -> None:
    """List the data sets that can be read, with what must lie in their folders; in a pipe a line each."""
    from denseclip_viz.datasets import layouts

    if context.invoked_subcommand is not None:
        return
    table = layouts()
    if not sys.stdout.isatty():
        typer.echo(table.to_csv(sep="\t", index=False).rstrip())
        return
    for row in table.to_dict("records"):
        typer.echo(f"{row['name']:<12} {row['title']}")
        facts = f"{row['classes'] or 'the folder says which'} classes"
        lines = [facts + f"; images: {row['images']}" * bool(row["images"]), f"folder: {row['folder']}"]
        lines += [f"names: {row['names']}"] * bool(row["names"])
        for line in lines:
            width = shutil.get_terminal_size().columns
            typer.echo(textwrap.fill(line, width, initial_indent=" " * 13, subsequent_indent=" " * 13))


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A layout: voc21, ade150, … (denseclip-viz datasets lists them).")],
    folder: Annotated[Path, typer.Argument(help="The folder that has what the list says.")],
    split: Annotated[Optional[str], typer.Option(help="Which images; val by default.")] = None,  # noqa: UP045
) -> None:
    """Open every image and mask, and list what is missing or does not match; exit code 1 if anything is."""
    from denseclip_viz.datasets import check as checked
    from denseclip_viz.datasets import read
    from denseclip_viz.datasets.layouts import LAYOUTS

    with one_line_errors():
        faults = checked(name, folder, split)
        for fault in faults.itertuples():
            typer.echo(printable(f"{fault.file} {fault.fault}"))
        for fix in dict.fromkeys(faults["fix"]):
            say(fix)
        if len(faults):
            say(f"{many(len(faults), 'fault')} in {folder}")
            raise typer.Exit(1)
        dataset = read(name, folder, split)
        named = " ".join(filter(None, (name, dataset.split)))
        _, published = LAYOUTS[name].splits.get(dataset.split, ("", 0))
        of = f" of {published} published" if published not in (0, len(dataset)) else ""
        typer.echo(f"{named}: {many(len(dataset), 'image')}{of}, all well")
