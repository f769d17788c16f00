"""Commands over images: find them, check where results go, work, write."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from denseclip_viz.cli.command import stop
from denseclip_viz.cli.printed import STYLE, print_table, print_written, say
from denseclip_viz.cli.wording import in_options
from denseclip_viz.errors import ImageError, OutputError
from denseclip_viz.files import FIGURES, IMAGES, check_target, save_data, save_table

if TYPE_CHECKING:
    import pandas as pd

    from denseclip_viz.model import Model

TABLES = (".nc", ".csv")
WITH_FIGURES = (*FIGURES, *TABLES)


@dataclass(frozen=True)
class Command:
    """What a command does with one image, and how its result is drawn and tabled."""

    work: Callable[[Any], Any]
    figure: Callable[[Any], Any]
    table: Callable[[Any], pd.DataFrame]
    also: Callable[[Any, Path], object] = lambda result, image: None
    """What else is written, of a result and the path of its image; gives the file."""
    overview: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """What people see of the table of several images."""


def find(paths: Sequence[Path]) -> list[Path]:
    """List the images that paths name: files as they are, and what lies in folders, by name.

    Raises:
        ImageError: a path that is not there, or a folder without images.

    Example:
        >>> find([Path("nothing.jpg")])
        Traceback (most recent call last):
        denseclip_viz.errors.ImageError: nothing.jpg does not exist. Expected a file. Check the path.
    """
    from denseclip_viz.images import read

    files: list[Path] = []
    for path in paths:
        inside = _inside(path) if os.path.isdir(path) else [path]
        if not inside:
            raise ImageError(f"{path} holds no images", expected=f"{', '.join(IMAGES)} files", fix="Name files.")
        if inside == [path] and not os.path.isfile(path):
            read(path)  # which says what is wrong with it
        files += inside
    return files


def _inside(folder: Path) -> list[Path]:
    """List the images in a folder, but no hidden ones, such as the halves that some systems leave beside them."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        got = f"{folder} cannot be looked into ({error.strerror})"
        raise ImageError(got, expected="a folder of images", fix="Check its permissions.") from error
    named = [folder / name for name in names if name.lower().endswith(IMAGES)]
    return [path for path in named if not os.path.isdir(path)]


def check_out(out: str | None, files: Sequence[Path], endings: Sequence[str], *, force: bool) -> None:
    """Refuse, before any work, results that could not be kept, with `{name}` in `out` for the image's name.

    Raises:
        OutputError: another ending, no such folder, a file that is there, or one file for several results.
    """
    if out is None:
        return
    targets = [named(out, path) for path in files]
    for target in dict.fromkeys(targets):
        check_target(target, endings, force=force)
        refuse_input(target, files, fix="Choose another name, such as '{name}-dense.png'.")
    if len(files) > 1 and "{name}" not in out and _ending(out) != ".csv":
        raise OutputError(
            f"one file {out} for {len(files)} images",
            expected=f"a name with {{name}} in it{', or a .csv for one table' if '.csv' in endings else ''}",
            fix=f"Try '{Path(out).with_name('{name}' + Path(out).suffix)}'.",
        )
    if "{name}" in out and len(set(targets)) < len(targets):
        target, count = Counter(targets).most_common(1)[0]
        got = f"{count} images whose result would be {target}"
        raise OutputError(got, expected="different names", fix="Run them in two calls.")


def named(out: str, image: Path) -> str:
    """Put the name of an image in the place for it."""
    return out.replace("{name}", image.stem)


def refuse_input(target: str, files: Sequence[Path], *, fix: str) -> None:
    """Refuse to write a result over an image that it is of."""
    if any(os.path.exists(target) and os.path.samefile(target, path) for path in files):
        raise OutputError(f"{target} is one of the images", expected="a name for the result", fix=fix)


@dataclass
class Skipped:
    """Images, `of` so many, that cannot be read: each is named and skipped, and the command ends with code 1."""

    of: int
    paths: list[Path] = field(default_factory=list)

    def __call__(self, path: Path, error: ImageError) -> None:
        """Name it and go on; where it is the only image, that is the end."""
        if self.of == 1:
            raise error
        self.paths.append(path)
        say(in_options(f"left out: {error}"))

    def end(self) -> None:
        """End the command, when all else is written."""
        if self.paths:
            stop(f"{len(self.paths)} of {self.of} images could not be read: {self.paths[0]}", 1)


def run(
    loaded: Model, files: Sequence[Path], command: Command, *, out: str | None, force: bool, **options: Any
) -> None:
    """Trace images, do a command's work on each, and write results one by one; print one table at the end.

    Of several images, one that cannot be read is named and skipped, and the exit code is 1 in the end. After another
    error or an interrupt, what was done until then is written and printed all the same. Options are those of
    `Model.trace_many`.
    """
    from denseclip_viz.progress import bar, traced_beside

    tables, skipped, written = [], Skipped(len(files)), list[object]()
    fed = ((path, path) for path in files)
    traces = traced_beside(loaded, [fed], skipped, batch_size=1 if len(files) == 1 else 8, **options)
    shown = len(files) > 1 and not STYLE.get().quiet
    try:
        with bar("images", wanted=shown, total=len(files)) as advance:
            for at, (path, trace) in enumerate(traces, 1):
                result = command.work(trace)
                tables.append(command.table(result))
                if out and ("{name}" in out or _ending(out) != ".csv"):
                    written.append(_write(result, tables[-1], command, named(out, path), force=force))
                written += filter(None, [command.also(result, path)])
                advance(at, len(files))
    finally:
        if tables:  # also after an interrupt: what was computed is kept
            _finish(tables, command.overview if len(files) > 1 else None, out, written, force=force)
    skipped.end()


def _finish(
    tables: Sequence[pd.DataFrame],
    overview: Callable[[pd.DataFrame], pd.DataFrame] | None,
    out: str | None,
    written: list[object],
    *,
    force: bool,
) -> None:
    import pandas as pd

    table = pd.concat(tables, ignore_index=True)
    if out and "{name}" not in out and _ending(out) == ".csv":
        written.append(save_table(table, out, force=force))
    print_table(table, overview=overview)
    print_written(written)


def _ending(out: str) -> str:
    return Path(out).suffix.lower()


def _write(result: Any, table: pd.DataFrame, command: Command, path: str, *, force: bool) -> Path:
    if _ending(path) == ".nc":
        return save_data(result, path, force=force)
    if _ending(path) == ".csv":
        return save_table(table, path, force=force)
    from denseclip_viz.plot import save

    return save(command.figure(result), path, force=force)


def plotted(name: str, **options: Any) -> Callable[[Any], Any]:
    """Name a figure of `plot`, which is imported only when one is drawn."""

    def draw(result: Any) -> Any:
        from denseclip_viz import plot

        return getattr(plot, name)(result, **options)

    return draw


def paths_beside(both: Any) -> Any:
    """Draw dense maps of a comparison of several paths: a row a prompt, a column a path, in the first template."""
    from denseclip_viz import plot

    dense, first = both["dense"].assign_attrs({**both.attrs, "path": ""}), str(both["template"][0].item())
    return plot.grid(dense, rows="prompt", cols="path", template=first, image=both["image"])


def no_figure(result: Any) -> NoReturn:
    """Refuse a figure of what has none."""
    raise OutputError("a figure of probabilities", expected=".nc or .csv", fix="Choose another ending.")
