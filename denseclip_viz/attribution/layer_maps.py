"""Inner layers beside a comparison: read in text space where a tower allows it, by gradients elsewhere."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from denseclip_viz.attribution.gradients import gradient_maps
from denseclip_viz.clip.paths import choose_path
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import LayerError
from denseclip_viz.maps.comparison import with_gradients, with_layer_readout
from denseclip_viz.maps.layer_readout import read_layers
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
        return with_layer_readout(both, read_layers(tower, trace, layers, path), vectors, tower.layer_readout)
    if trace.pixels is None:
        raise LayerError("layers of a tiled image", expected="a single window", fix="Trace with 'whole'.")
    maps = gradient_maps(tower, trace.pixels, vectors, layers=layers, path=path)
    return with_gradients(both, maps, tower.layer_readout, shifts=[tower.shift(name) for name in maps])
