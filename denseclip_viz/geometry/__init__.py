"""Where a grid cell lies in the original image: resize, crop, pad, tiles, and back again."""

from denseclip_viz.geometry.cells import Geometry, blend_weights
from denseclip_viz.geometry.fit import Fit, Native, Preprocess, Tiles, Whole, fit_from, pixels
from denseclip_viz.geometry.placement import Box, Placement
from denseclip_viz.geometry.resample import downsample_mask, upsample, weights

__all__ = [
    "Box",
    "Fit",
    "Geometry",
    "Native",
    "Placement",
    "Preprocess",
    "Tiles",
    "Whole",
    "blend_weights",
    "downsample_mask",
    "fit_from",
    "pixels",
    "upsample",
    "weights",
]
