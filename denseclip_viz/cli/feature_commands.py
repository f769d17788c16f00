"""`denseclip-viz encode FOLDER --out STORE` and `denseclip-viz search STORE -p "a red car"`: texts over many images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from denseclip_viz.cli import image_commands as runs
from denseclip_viz.cli import options as opt
from denseclip_viz.cli.printed import STYLE, notice, print_table, print_written, say
from denseclip_viz.errors import OutputError
from denseclip_viz.files import FIGURES, check_target, save_table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ENDINGS = (".csv", *FIGURES)


def encode(
    images: opt.Images,
    out: Annotated[Path, typer.Option("--out", "-o", help="The store: a new folder, or one to go on with.")],
    model: opt.ModelOptions,
    geometry: opt.FitOfPreset = None,
    path: opt.PathList = [],  # noqa: B006  typer copies it
    keep: Annotated[
        list[str], typer.Option(help="global or dense; both by default. Global alone is some hundred times smaller.")
    ] = [],  # noqa: B006
    numbers: Annotated[
        Literal["float16", "float32"], typer.Option(help="What features are stored in; the error is stated.")
    ] = "float16",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in one pass, and in one file.")] = 8,
) -> None:
    """Encode images once, into a store that `search` works on without the images.

    The same call goes on where a stopped or killed one was, and adds images that are new.
    """
    from denseclip_viz.features import encode as encode_images

    fit, files, paths = opt.fit_of(geometry), runs.find(images), opt.paths_of(path, several=True)
    loaded, skipped = model.load(), runs.Skipped(len(files))
    options: dict[str, Any] = {
        "preset": model.preset,
        "geometry": fit,
        "path": paths,
        "dtype": numbers,
        "batch_size": batch_size,
    }
    options |= {"keep": keep} if keep else {}
    options |= {"unreadable": skipped, "progress": not STYLE.get().quiet}
    try:
        store = encode_images(loaded, files, out, **options)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on behind the batches that are in {out}")
        raise
    notice(store)
    skipped.end()


def remove(
    store: Annotated[Path, typer.Argument(help="What `encode` wrote.")],
    images: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Images by their paths, or by their names where no other has it."),
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Those whose files are there no more.")] = False,
) -> None:
    """Take images out of a store: their features, and every line that names them, leave the disk."""
    from denseclip_viz.features import open_store
    from denseclip_viz.features import remove as remove_images

    opened, named = open_store(store), list(images or ())
    if not named and not missing:
        raise OutputError("No image to remove", expected="some", fix="Name images, or pass --missing.")
    if missing:
        files = [image.file for image in (*opened.images, *opened.unread) if image.file]
        named += [file for file in files if not os.path.lexists(file)]
    left = remove_images(store, named)
    say(f"{len(opened.known) - len(left.known)} removed")
    notice(left)


def search(
    store: Annotated[Path, typer.Argument(help="What `encode` wrote.")],
    prompt: opt.PromptList,
    model: opt.ModelOptions,
    template: opt.Templates = [],  # noqa: B006
    articles: opt.Articles = "as written",
    absent: opt.Absent = [],  # noqa: B006
    top: Annotated[int, typer.Option(min=1, help="How many images.")] = 20,
    by: Annotated[
        Literal["global", "dense"], typer.Option(help="The cosine with the whole image, or at the peak of its map.")
    ] = "dense",
    page: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Which page of a contact sheet, and of its ranks; the first by default."),
    ] = None,
    out: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--out", "-o", help="csv: table; png, svg, pdf: a contact sheet of one prompt's maps."),
    ] = None,
    force: opt.Force = False,
) -> None:
    """Find the images of a store in which prompts score highest, and where; no image is encoded."""
    from denseclip_viz.features import open_store
    from denseclip_viz.features import search as search_store

    prompts, opened = opt.prompts_of(prompt, template, absent, articles), open_store(store)
    if out is not None:
        check_target(out, ENDINGS, force=force)
    has_sheet = out is not None and not out.lower().endswith(".csv")
    if has_sheet:
        _check_sheet(prompt, prompts.templates, by)
    elif page is not None:
        got, fix = f"--page {page} without a contact sheet", "Leave it out, or write a sheet: --out sheet.png."
        raise OutputError(got, expected="a sheet that it is of", fix=fix)
    loaded, written, page = model.load(), list[Path](), page or 1
    table = table_of(search_store(opened, loaded, prompts, k=top * page, by=by))
    table = table[table["rank"] > top * (page - 1)]
    if has_sheet:
        from denseclip_viz import plot

        options: dict[str, Any] = {"template": prompts.templates[0], "absent": absent, "articles": articles}
        options |= {"page": page, "per_page": top}
        written.append(plot.save(plot.contact_sheet(opened, loaded, prompt[0], **options), str(out), force=force))
    elif out is not None:
        written.append(save_table(table, out, force=force))
    print_table(table, overview=overview)  # after what is kept: it may be read by nobody
    print_written(written)


def table_of(hits: xr.Dataset) -> pd.DataFrame:
    """Lay the hits of a search out, a line each, without those of absent prompts."""
    columns = ["prompt", "template", "rank", "image", "score", *(name for name in ("y", "x") if name in hits)]
    frame = hits.isel(prompt=~hits.absent.to_numpy()).to_dataframe(dim_order=["prompt", "template", "rank"])
    facts = {name: hits.attrs.get(name, "") for name in ("model", "weights", "weights_hash")}
    facts["random_weights"] = bool(hits.attrs.get("random_weights", 0))
    table: pd.DataFrame = frame.reset_index()[[*columns, "file", "number"]].assign(**facts)
    return table


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out where images lie, for people, unless it is all that tells two of them apart."""
    apart = table.groupby("image")["file"].nunique().max() < 2
    shown: pd.DataFrame = table.drop(columns=["number", "file"] if apart else ["number"])
    return shown


def _check_sheet(prompt: list[str], templates: tuple[str, ...], by: str) -> None:
    """Refuse, before any work, a sheet of several prompts or templates, or one that is not of maps."""
    if len(prompt) > 1 or len(templates) > 1:
        got, fix = f"a contact sheet of {len(prompt)} prompts in {len(templates)} templates", "Make one for each."
        raise OutputError(got, expected="one prompt in one template", fix=fix)
    if by != "dense":
        got, fix = f"a contact sheet by {by}", "Leave --by out, or write a table."
        raise OutputError(got, expected="one by dense: it shows maps", fix=fix)
