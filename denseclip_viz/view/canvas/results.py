"""Which results a canvas can show."""

from __future__ import annotations

import xarray as xr

from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.trace import Trace
from denseclip_viz.view.canvas.stacks import TEXT, with_axes


def known(result: object) -> xr.Dataset:
    """Take a comparison, similarities as a comparison of dense maps only, or a segmentation; LayerError for the rest.

    Example:
        >>> known(3)
        Traceback (most recent call last):
        denseclip_viz.errors.LayerError: A canvas cannot show an object of type int. Expected what model.compare, ...
    """
    if isinstance(result, xr.DataArray) and {"y", "x"} <= set(result.dims):
        result = result.to_dataset(name="dense").assign_attrs(result.attrs)
    if isinstance(result, xr.Dataset):
        whole = with_axes(result)
        dims = {name: set(whole[name].dims) for name in ("dense", "labels") if name in whole}
        if dims.get("labels") == {"row", "column"} or dims.get("dense") == {*TEXT, "y", "x"}:
            return whole
    raise LayerError(
        f"A canvas cannot show {_said(result)}",
        expected="what model.compare, model.similarity or model.segment return",
        fix="Pass the result itself, with its axes template, prompt, y, x.",
    )


def check_trace(features: Trace | None, whole: xr.Dataset) -> None:
    """Refuse a trace of another grid. A segmentation has pixels of its own: any trace of its picture will do."""
    if features is None or "labels" in whole:
        return
    grid = (whole.sizes["y"], whole.sizes["x"])
    other = "geometry" in whole.attrs and whole.attrs["geometry"] != features.geometry.to_json()
    if grid != features.geometry.grid or other:
        came = f"A trace of {features.name!r} with the grid {features.geometry.grid} for a result with the grid {grid}"
        raise GeometryError(came, expected="the trace that the result came from", fix="Pass that one, or none.")


def _said(result: object) -> str:
    if isinstance(result, xr.DataArray):
        return f"a DataArray with axes {', '.join(map(str, result.dims)) or 'none'}"
    if isinstance(result, xr.Dataset):
        return f"a Dataset of {', '.join(map(str, result.data_vars)) or 'nothing'}"
    return f"an object of type {type(result).__name__}"
