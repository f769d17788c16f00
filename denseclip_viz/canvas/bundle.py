"""What a canvas shows as one file, which opens as the same canvas: numbers as netCDF, and all else as JSON."""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from traitlets import TraitError

from denseclip_viz.canvas.map_stacks import Key
from denseclip_viz.canvas.payload import Result, as_dataset
from denseclip_viz.errors import DenseclipVizError, OutputError
from denseclip_viz.files import netcdf, save_bytes
from denseclip_viz.geometry import Geometry
from denseclip_viz.plot.scales import Limits, Scale
from denseclip_viz.trace import PARTS, Trace
from denseclip_viz.validation import check_path, readable, short_name

FORMAT = 1
ENDINGS = (".zip",)
_RESULT, _TRACE, _ABOUT = "result.nc", "trace.nc", "canvas.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, TraitError, DenseclipVizError)
_LARGEST = 1 << 30  # bytes of a part: what unpacks to more is no canvas


@dataclass(frozen=True)
class Shown:
    """What a canvas was given.

    Attributes:
        result: The result.
        trace: Its trace, or none.
        scales: Of all its maps, those of other results that they cover too included.
        limits: That were chosen instead.
        leave_out: Parts that were left out.
    """

    result: Result
    trace: Trace | None
    scales: Mapping[Key, Scale]
    limits: Limits
    leave_out: tuple[str, ...]


def write(shown: Shown, file: str | os.PathLike[str], *, force: bool, **looks: Any) -> Path:
    """Write it, with `looks`, the state and the like, beside it."""
    parts = {_RESULT: bytes(netcdf(as_dataset(shown.result)))}
    if shown.trace is not None:
        parts[_TRACE] = bytes(netcdf(_dataset(shown.trace)))
    about = {
        "denseclip_viz_canvas": FORMAT,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
        "scales": [[key, asdict(scale)] for key, scale in shown.scales.items()],
        "limits": shown.limits,
        "leave_out": shown.leave_out,
        **looks,
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_ABOUT, json.dumps(about, indent=1))
        for name, content in parts.items():
            archive.writestr(name, content)
    return save_bytes(packed.getbuffer(), file, ENDINGS, force=force)


def read(file: str | os.PathLike[str]) -> tuple[Shown, dict[str, Any]]:
    """Read what `write` wrote, and the looks, within `refused`; nothing in it is run."""
    with zipfile.ZipFile(readable(check_path(file))) as archive:
        about = json.loads(_part(archive, _ABOUT))
        if about["denseclip_viz_canvas"] != FORMAT:
            raise ValueError(f"of format {about['denseclip_viz_canvas']!r}, not {FORMAT}")
        parts = {name: _part(archive, name) for name in about["sha256"]}
    changed = [name for name, part in parts.items() if hashlib.sha256(part).hexdigest() != about["sha256"][name]]
    if changed:
        raise ValueError(f"{changed[0]} is not what was written: its SHA-256 is another")
    sets = {name: xr.load_dataset(io.BytesIO(part), engine="h5netcdf") for name, part in parts.items()}
    shown = Shown(
        sets[_RESULT],
        _trace(sets[_TRACE]) if _TRACE in sets else None,
        {tuple(key): Scale(**{**scale, "cut": tuple(scale["cut"])}) for key, scale in about["scales"]},
        about["limits"],
        tuple(about["leave_out"]),
    )
    return shown, {name: about[name] for name in ("state", "locked", "still")}


@contextmanager
def refused(file: str | os.PathLike[str]) -> Iterator[None]:
    """Make of whatever is wrong with a file one error that names it."""
    try:
        yield
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, *_DAMAGED) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)[:150] or type(error).__name__
        got, fix = f"{short_name(file)} holds no canvas ({why})", "Save it again: canvas.save(file, result)."
        raise OutputError(got, expected="a file that Canvas.save wrote", fix=fix) from error


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} unpacks to more than {_LARGEST / 1e9:.1f} GB")
    return archive.read(name)


def _dataset(trace: Trace) -> xr.Dataset:
    """Take of a trace what a canvas asks of it: dense features, their geometry, the image."""
    axes = ("path",) * trace.has_path_axis
    data: dict[str, Any] = {"dense": ((*axes, "y", "x", "feature"), trace.dense.detach().cpu().numpy())}
    if "image" in trace.parts:
        data["image"] = (("row", "column", "rgb"), trace.image)
    about = {"geometry": trace.geometry.to_json(), "name": trace.name, "paths": json.dumps(trace.paths)}
    return xr.Dataset(data, attrs={**about, "provenance": json.dumps(dict(trace.provenance))})


def _trace(read: xr.Dataset) -> Trace:
    fields: dict[str, Any] = dict.fromkeys(name for names in PARTS.values() for name in names)
    fields |= {"dense": torch.from_numpy(read["dense"].to_numpy())}
    fields |= {"image": read["image"].to_numpy().astype(np.uint8)} if "image" in read else {}
    return Trace(
        **fields,
        geometry=Geometry.from_json(read.attrs["geometry"]),
        name=read.attrs["name"],
        provenance=json.loads(read.attrs["provenance"]),
        paths=tuple(json.loads(read.attrs["paths"])),
        parts=frozenset({"dense", "image"} & set(read)),
    )
