"""Files that people keep: whole or not at all, and never over one that is there unless told to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from denseclip_viz.errors import OutputError
from denseclip_viz.validation import short_name

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FIGURES = (".png", ".svg", ".pdf")


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False, fsync: bool = False
) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and move it there when all went well.

    With `fsync` wait until the content is on the disk, so that a power cut leaves the old file or the new one.

    Raises:
        OutputError: another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> with atomic_write("result.xyz", [".csv"]):
        ...     pass
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: result.xyz ends in '.xyz'. Expected one of .csv. Choose the format by ...
    """
    target = check_target(path, endings, force=force)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        if fsync:
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)[:150] or type(error).__name__
        got, fix = f"{short_name(target)} cannot be written ({why})", "Write elsewhere, or free some space."
        raise OutputError(got, expected="a place that can be written", fix=fix) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False) -> Path:
    """Refuse a path that cannot or should not be written; before the work, not after it."""
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        got = f"the path {path!r}" if isinstance(path, str) else f"a path of type {type(path).__name__}"
        raise OutputError(got, expected="the name of a file, as text", fix="Pass a file's path.")
    target, shown = Path(path), short_name(path)
    if os.path.isdir(target):
        raise OutputError(f"{shown} is a folder", expected="the name of a file", fix="Add a name and an ending.")
    if target.suffix.lower() not in endings:
        got = f"{short_name(target.name)} ends in {short_name(target.suffix)!r}"
        fix = "Choose the format by the ending of the file."
        raise OutputError(got, expected=f"one of {', '.join(endings)}", fix=fix)
    if not os.path.isdir(target.parent) or not os.access(target.parent, os.W_OK):
        what = "no writing into" if os.path.isdir(target.parent) else "no folder"
        got = f"there is {what} {short_name(target.parent)}"
        raise OutputError(got, expected="a folder that is there and can be written", fix="Make it first.")
    if os.path.lexists(target) and not force:
        fix = "Pass force=True to replace it (--force on the command line)."
        raise OutputError(f"{shown} is there already", expected="a name that is free", fix=fix)
    return target


def save_data(result: xr.Dataset | xr.DataArray, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a result as netCDF, with everything that it holds.

    Raises:
        OutputError: another ending than .nc, no such folder, a file that is there already and no `force`, or
            text that netCDF cannot hold.
    """
    import xarray as xr

    if not isinstance(result, xr.Dataset | xr.DataArray):
        got, expected = f"a {type(result).__name__}", "what model.compare, similarity, segment or classify return"
        raise OutputError(got, expected=expected, fix="Pass the result itself.")
    with atomic_write(path, [".nc"], force=force) as part:
        try:
            result.to_netcdf(part, engine="h5netcdf")
        except (ValueError, TypeError) as error:  # the null character in a text, say
            got, fix = f"the result does not fit into netCDF ({error})", "Change that, or keep a table as .csv."
            raise OutputError(got, expected="texts, numbers and arrays", fix=fix) from error
    return Path(path)


def save_table(table: pd.DataFrame, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a table as CSV in UTF-8.

    Raises:
        OutputError: another ending than .csv, no such folder, or a file that is there already and no `force`.
    """
    with atomic_write(path, [".csv"], force=force) as part:
        table.to_csv(part, index=False, errors="backslashreplace")
    return Path(path)
