"""Where a grid cell lies in the original image: resize, crop, pad, tiles, and the way back."""

from __future__ import annotations

from denseclip_viz.geometry.cells import MAX_PIXELS, SIDES, Geometry, blend_weights
from denseclip_viz.geometry.fit import Native, Preprocess, Tiles, Way, Whole, geometry_from, pixels
from denseclip_viz.geometry.resample import Weights, downsample_mask, upsample, weights
from denseclip_viz.validation import Size

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
