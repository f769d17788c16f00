"""What the browser gets of a result. A first cut: names only, so that others can build on the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xarray as xr

from denseclip_viz.errors import LayerError
from denseclip_viz.trace import Trace
from denseclip_viz.view.canvas.state import ENSEMBLE, MEAN, OUTPUT


@dataclass(frozen=True)
class Payload:
    """What the browser gets: names and numbers as JSON, maps and picture as bytes."""

    meta: dict[str, Any]
    buffers: dict[str, bytes]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """What the state may name."""
        choices: dict[str, list[Any]] = self.meta["choices"]
        return choices


def payload(result: xr.Dataset | xr.DataArray, *, features: Trace | None = None) -> Payload:
    """Pack a result for the browser."""
    if isinstance(result, xr.DataArray):
        result = result.to_dataset(name="dense")
    if not isinstance(result, xr.Dataset) or not ({"dense", "labels"} & set(result)):
        came = f"A {type(result).__name__}"
        expected = "what model.compare, model.similarity or model.segment return"
        raise LayerError(came, expected=expected, fix="Pass the result itself.")
    axis = "prompt" if "dense" in result else "label"
    templates = [str(name) for name in result["template"].to_numpy()] if "template" in result.coords else ["{}"]
    views = [name for name in ("dense", "contribution", "attention", "gap") if name in result] + ["segments"]
    choices: dict[str, list[Any]] = {
        "prompt": [str(name) for name in result[axis].to_numpy()],
        "template": [*templates, *([ENSEMBLE] if len(templates) > 1 else [])],
        "layer": [OUTPUT, *(map(str, result["layer"].to_numpy()) if "layer" in result.coords else [])],
        "view": views,
        "head": [MEAN, *(result["head"].to_numpy().tolist() if "head" in result.coords else [])],
    }
    return Payload({"choices": choices}, {})
