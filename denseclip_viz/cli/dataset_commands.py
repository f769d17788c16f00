"""`denseclip-viz datasets`: what data sets are known, and what is wrong with a folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from denseclip_viz.cli.command import command, with_options
from denseclip_viz.cli.completion import completing, layouts
from denseclip_viz.cli.listings import dataset_lines, fault_lines
from denseclip_viz.cli.printed import STYLE, notice, print_rows, records, say
from denseclip_viz.validation import many

app = typer.Typer(help="Data sets in local folders: list the known layouts, check a folder.")


def listed(context: typer.Context) -> None:
    """List the data sets that can be read, with what must lie in their folders."""
    from denseclip_viz.datasets import layouts

    if context.invoked_subcommand is None:
        print_rows(records(layouts()), dataset_lines)


app.callback(invoke_without_command=True)(with_options(listed))


@command(app)
def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A layout: voc21, ade150, … (denseclip-viz datasets lists them).", autocompletion=completing(layouts)
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="The folder that has what the list says.")],
    split: Annotated[Optional[str], typer.Option(help="Which images; val by default.")] = None,  # noqa: UP045
) -> None:
    """Open every image and mask, and list what is missing or does not match; exit code 1 if anything is."""
    from denseclip_viz.datasets import check as checked
    from denseclip_viz.datasets import read
    from denseclip_viz.datasets.layouts import LAYOUTS

    faults = checked(name, folder, split)
    if len(faults) or STYLE.get().json:
        print_rows(records(faults), fault_lines)
    for fix in dict.fromkeys(faults["fix"]):
        say(fix)
    if len(faults):
        say(f"{many(len(faults), 'fault')} in {folder}")
        raise typer.Exit(1)
    dataset = read(name, folder, split)
    named = " ".join(filter(None, (name, dataset.split)))
    _, published = LAYOUTS[name].splits.get(dataset.split, ("", 0))
    of = f" of {published} published" if published not in (0, len(dataset)) else ""
    notice(f"{named}: {many(len(dataset), 'image')}{of}, all well")
