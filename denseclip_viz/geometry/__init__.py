"""Where a grid cell lies in the original image: resize, crop, pad, tiles, and back again."""

from denseclip_viz.geometry.cells import MAX_PIXELS, SIDES, Geometry, blend_weights
from denseclip_viz.geometry.fit import Fit, Native, Preprocess, Tiles, Whole, fit_from, pixels
from denseclip_viz.geometry.placement import Box, Placement, Weights
from denseclip_viz.geometry.resample import downsample_mask, upsample, weights
from denseclip_viz.validation import Size

__all__ = [
    "Box",
    "Fit",
    "Geometry",
    "MAX_PIXELS",
    "Native",
    "Placement",
    "Preprocess",
    "SIDES",
    "Size",
    "Tiles",
    "Weights",
    "Whole",
    "blend_weights",
    "downsample_mask",
    "fit_from",
    "pixels",
    "upsample",
    "weights",
]
