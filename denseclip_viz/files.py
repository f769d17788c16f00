"""Files that people keep: whole or not at all, and never over one that is there unless told to."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip_viz.errors import OutputError
from denseclip_viz.validation import check_path, is_on, short_name

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FIGURES = (".png", ".svg", ".pdf")
_PART = re.compile(r"\..+\.([0-9]{1,10})\.part", re.DOTALL)
_NAMELESS = "__xarray_dataarray_variable__"  # what xarray reads back as an array without a name
_UNTOUCHED = 60  # seconds, after which a part whose process is not on this machine is nobody's


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False, fsync: bool = False
) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and move it there when all went well.

    With `fsync` wait until the content is on the disk, so that a power cut leaves the old file or the new one. What a
    process that was killed has left half-written in the folder is removed.

    Raises:
        OutputError: another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> with atomic_write("result.xyz", [".csv"]):
        ...     pass
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: result.xyz ends in '.xyz'. Expected one of .csv. Choose the format by ...
    """
    target = check_target(path, endings, force=force)
    part = _part(target)
    try:
        with written(target):
            yield part
            if fsync:
                with open(part, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(part, target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend an empty folder beside `path`, and move it there when all went well; else as `atomic_write`.

    Raises:
        OutputError: something is there already, or the place around it is no folder.
    """
    target = check_path(path, "the folder")
    if os.path.lexists(target):
        fix = "Name another one, or remove it first."
        raise OutputError(f"{short_name(target)} exists", expected="a new folder", fix=fix)
    if not os.path.isdir(target.parent):
        got, expected = f"{short_name(target.parent)} is not a folder", "a folder to write into"
        raise OutputError(got, expected=expected, fix="Make it first.")
    part = _part(target)
    with written(target):
        part.mkdir()
    try:
        with written(target):
            yield part
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make of what a file system refuses an error that names the file."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)[:150] or type(error).__name__
        got, fix = f"{short_name(path)} cannot be written ({why})", "Write elsewhere, or free some space."
        raise OutputError(got, expected="a place that can be written", fix=fix) from error


def _part(target: Path) -> Path:
    """Name what is written in the place of `target` until it is whole, when those of dead processes are removed."""
    _sweep(target.parent)
    return target.with_name(f".{target.name}.{os.getpid()}.part")


def _sweep(folder: Path) -> None:
    """Remove the parts of processes that are no more."""
    with suppress(OSError):
        for part in folder.iterdir():
            named = _PART.fullmatch(part.name)
            if named and not _is_running(int(named[1])) and time.time() - _touched(part) > _UNTOUCHED:
                shutil.rmtree(part) if _is_folder(part) else part.unlink()


def _is_folder(part: Path) -> bool:
    return part.is_dir() and not part.is_symlink()


def _touched(part: Path) -> float:
    """Say when a file was last written, or a folder or anything just below it."""
    inside = part.iterdir() if _is_folder(part) else ()
    return float(max(path.lstat().st_mtime for path in (part, *inside)))


def _is_running(process: int) -> bool:
    """Say whether a process may be alive; elsewhere than on POSIX, asking would end it."""
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError):
            pass
    return True


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder, with those around it, if it is not there; or say why it cannot be made.

    Raises:
        OutputError: A file stands in the way, nobody may write there, or no file system takes the name.
    """
    place = check_path(folder, "the folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"the folder {short_name(place)} cannot be made ({error.strerror or error})"
        fix = "Name another one."
        raise OutputError(got, expected="a folder, or a place where one can be made", fix=fix) from error
    return place


def check_target(path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False) -> Path:
    """Refuse a path that cannot or should not be written; before the work, not after it."""
    target, shown = check_path(path), short_name(path)
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
    if not is_on(force, "force", error=OutputError) and os.path.lexists(target):
        fix = "Pass force=True to replace it."
        raise OutputError(f"{shown} is there already", expected="a name that is free", fix=fix)
    return target


def save_bytes(
    content: bytes | memoryview, path: str | os.PathLike[str], endings: Sequence[str], *, force: bool = False
) -> Path:
    """Write what a library made in memory: not every library lives through a disk that is full."""
    with atomic_write(path, endings, force=force) as part:
        part.write_bytes(content)
    return Path(path)


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
    check_target(path, [".nc"], force=force)
    return save_bytes(netcdf(result), path, [".nc"], force=force)


def netcdf(result: xr.Dataset | xr.DataArray) -> memoryview:
    """Return what a netCDF file of a result holds; HDF5 ends the process where it writes to a disk that fills.

    Raises:
        OutputError: Text that netCDF cannot hold.
    """
    import h5netcdf
    import xarray as xr
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO()
    dataset = result if isinstance(result, xr.Dataset) else result.to_dataset(name=result.name or _NAMELESS)
    try:
        with h5netcdf.File(buffer, "w") as file:
            dataset.dump_to_store(H5NetCDFStore(file))
    except (ValueError, TypeError) as error:  # the null character in a text, say
        got, fix = f"the result does not fit into netCDF ({error})", "Change that, or keep a table as .csv."
        raise OutputError(got, expected="texts, numbers and arrays", fix=fix) from error
    return buffer.getbuffer()


def save_table(table: pd.DataFrame, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a table as CSV in UTF-8, with every text as it is: what is read back is what was written.

    So a prompt that begins with `=` stays one, and a spreadsheet may take it for a formula.

    Raises:
        OutputError: another ending than .csv, no such folder, or a file that is there already and no `force`.
    """
    with atomic_write(path, [".csv"], force=force) as part:
        table.to_csv(part, index=False, errors="backslashreplace")
    return Path(path)


def as_json(value: Any) -> Any:
    """Give a value as JSON knows it, which has no number for "none" and none that is infinite: null.

    Example:
        >>> as_json({"loss": [0.5, float("nan")]})
        {'loss': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(file: Path, **otherwise: Any) -> dict[str, Any]:
    """Read what a file says: nothing where that is no names and values, and `otherwise` where there is no file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON, or no text.
    """
    read = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else otherwise
    return read if isinstance(read, dict) else {}
