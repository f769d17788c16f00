"""Recorded layers, read in text space."""

from collections.abc import Sequence

import torch
from torch import Tensor

from denseclip_viz.clip.paths import DensePath, read_layer
from denseclip_viz.clip.towers import Tower
from denseclip_viz.trace import Trace


def read_layers(tower: Tower, trace: Trace, layers: Sequence[str], path: DensePath) -> dict[str, tuple[Tensor, Tensor]]:
    """Push each layer's class token and value path through the final norm and projection.

    Args:
        tower: A tower that reads its layers in text space.
        trace: One opened image that holds what `tower.layers_to_record(layers)` says.
        layers: Names of layers.
        path: The way to dense features.

    Returns:
        `{layer: (global (D,), dense (y, x, D))}`, on the CPU, in the trace's precision.

    Raises:
        LayerError: the trace does not hold a layer that is needed.
    """
    parameter = next(tower.visual.parameters())
    streams = {name: trace[name][None].to(parameter.device, parameter.dtype) for name in tower.layers_to_record(layers)}
    with torch.no_grad():
        pairs = {name: read_layer(tower, streams, name, path) for name in layers}
    return {
        name: (_to_trace(pooled[0], trace), _to_trace(dense[0], trace).unflatten(0, trace.geometry.grid))
        for name, (pooled, dense) in pairs.items()
    }


def _to_trace(tensor: Tensor, trace: Trace) -> Tensor:
    return tensor.to("cpu", trace.dense.dtype)
