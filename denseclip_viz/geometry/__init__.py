"""Where a grid cell lies in the original picture: resize, crop, pad, tiles, and the way back."""

from __future__ import annotations

from denseclip_viz.geometry.cells import MAX_PIXELS, SIDES, Geometry
from denseclip_viz.geometry.checks import Size
from denseclip_viz.geometry.feed import pixels
from denseclip_viz.geometry.sampling import Weights, downsample_mask, upsample, weights
from denseclip_viz.geometry.ways import Native, Preprocess, Tiles, Way, Whole, geometry_from
from denseclip_viz.geometry.windows import blend_weights

__all__ = [
    "Geometry",
    "MAX_PIXELS",
    "Native",
    "Preprocess",
    "SIDES",
    "Size",
    "Tiles",
    "Way",
    "Weights",
    "Whole",
    "blend_weights",
    "downsample_mask",
    "geometry_from",
    "pixels",
    "upsample",
    "weights",
]
