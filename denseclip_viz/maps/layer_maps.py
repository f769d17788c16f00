"""Inner layers beside a comparison: read in text space where a tower allows it, by gradients elsewhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import choose_path, read_layer
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import LayerError
from denseclip_viz.maps.comparison import with_gradients, with_layer_readout
from denseclip_viz.maps.gradients import gradient_maps
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr


def with_layers(both: "xr.Dataset", tower: Tower, trace: Trace, vectors: Tensor, layers: Sequence[str]) -> "xr.Dataset":
    """Add layers to a comparison.

    Args:
        both: What `maps.comparison.compare` returned.
        tower: The tower of the trace.
        trace: One opened image of one path; with the taps that `tower.layers_to_record` names.
        vectors: `(template, prompt, D)`.
        layers: Names of layers.

    Raises:
        LayerError: several paths, a layer that was not recorded, or gradients of a tiled image.
    """
    path = choose_path(trace.one_path("a readout of layers").paths[0])
    if tower.layers_to_record(layers):
        return with_layer_readout(both, _read_layers(tower, trace, layers, path), vectors, tower.layer_readout)
    if trace.pixels is None:
        raise LayerError("layers of a tiled image", expected="a single window", fix="Take geometry='whole'.")
    maps = gradient_maps(tower, trace.pixels, vectors, layers=layers, path=path)
    return with_gradients(both, maps, tower.layer_readout, shifts=[tower.shift(name) for name in maps])


def _read_layers(
    tower: Tower, trace: Trace, layers: Sequence[str], path: DensePath
) -> dict[str, tuple[Tensor, Tensor]]:
    """Push class token and value path of each layer through norm and projection: (D,) and (y, x, D), on the CPU."""
    parameter = next(tower.visual.parameters())
    streams = {name: trace[name][None].to(parameter.device, parameter.dtype) for name in tower.layers_to_record(layers)}
    with torch.no_grad():
        pairs = {name: read_layer(tower, streams, name, path) for name in layers}
    kind, grid = trace.dense.dtype, trace.geometry.grid
    return {
        name: (pooled[0].to("cpu", kind), dense[0].to("cpu", kind).unflatten(0, grid))
        for name, (pooled, dense) in pairs.items()
    }
