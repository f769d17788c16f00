"""Files that people keep: whole or not at all, and never over one that is there unless told to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from denseclip_viz.errors import OutputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

FIGURES = (".png", ".svg", ".pdf")


@contextmanager
def writing(path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and move it there when all went well.

    Raises:
        OutputError: another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> with writing("result.xyz", [".csv"]):
        ...     pass
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: result.xyz ends in '.xyz'. Expected one of .csv. Choose the format by ...
    """
    target = check_target(path, endings, force=force)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False) -> Path:
    """Refuse a path that cannot or should not be written; before the work, not after it."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder", expected="the name of a file", fix="Add a name and an ending.")
    if target.suffix.lower() not in endings:
        raise OutputError(
            f"{target.name} ends in {target.suffix!r}",
            expected=f"one of {', '.join(endings)}",
            fix="Choose the format by the ending of the file.",
        )
    if not target.parent.is_dir():
        raise OutputError(
            f"there is no folder {target.parent}", expected="a folder that is there", fix="Make it first."
        )
    if target.exists() and not force:
        raise OutputError(
            f"{target} is there already",
            expected="a name that is free",
            fix="Pass force=True to replace it (--force on the command line).",
        )
    return target


def save_data(result: xr.Dataset | xr.DataArray, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a result as netCDF, with everything that it holds.

    Raises:
        OutputError: another ending than .nc, no such folder, or a file that is there already and no `force`.
    """
    with writing(path, [".nc"], force=force) as part:
        result.to_netcdf(part, engine="h5netcdf")
    return Path(path)


def save_table(table: pd.DataFrame, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a table as CSV in UTF-8.

    Raises:
        OutputError: another ending than .csv, no such folder, or a file that is there already and no `force`.
    """
    with writing(path, [".csv"], force=force) as part:
        table.to_csv(part, index=False)
    return Path(path)
