"""What the tests of geometry share: any image size and fit, ramps, plain preprocessing."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, settings
from hypothesis import strategies as st
from PIL import Image

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Native, Preprocess, Tiles, Whole, blend_weights

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # pixels come out as 0..1

quick = settings(deadline=None, max_examples=50)
thorough = settings(deadline=None, max_examples=120)

sides = st.integers(1, 400)
cells = st.sampled_from([(8, 8), (14, 14), (16, 16), (32, 32), (16, 8)])
modes = st.sampled_from(["shortest", "longest", "squash"])


@st.composite
def fits(draw):
    kind = draw(st.sampled_from(["native", "whole", "stretch", "tiles"]))
    side = draw(st.none() | st.integers(32, 160))
    key = draw(st.sampled_from(["short", "long"]))
    if kind == "tiles":
        return Tiles(overlap=draw(st.floats(0, 0.9)), **{key: side})
    return Native() if kind == "native" else Whole(**{key: side}, stretch=kind == "stretch")


@st.composite
def geometries(draw, fit=None):
    """Any image size and fit, with an input that the test can afford."""
    cell = draw(cells)
    size = (cell[0] * draw(st.integers(1, 6)), cell[1] * draw(st.integers(1, 6)))
    clip = Preprocess(size, resize_mode=draw(modes), **PLAIN)
    try:
        planned = (fit or draw(fits())).plan((draw(sides), draw(sides)), preprocess=clip, cell=cell)
    except GeometryError as error:
        assert "million pixels" in str(error)
        assume(False)
    assume(max(planned.input) < 2000 and len(planned.windows) < 500)
    return planned, clip


def ramp(height, width):
    """An image whose red rises with its row and green with its column, and by how much a pixel."""
    slopes = [max(1, 255 // max(1, n - 1)) for n in (height, width)]
    rows, columns = np.mgrid[:height, :width]
    values = np.stack([rows * slopes[0], columns * slopes[1], 0 * rows], axis=-1)
    return Image.fromarray(values.astype(np.uint8)), slopes


def cell_means(values, geometry):
    (tall, wide), (y, x) = geometry.cell, geometry.grid
    return values[..., : y * tall, : x * wide].reshape(*values.shape[:-2], y, tall, x, wide).mean(axis=(-3, -1))


def window_cells(geometry):
    return tuple(w // c for w, c in zip(geometry.window, geometry.cell, strict=True))


def laid(values, geometry, weight):
    """Windows (window, y, x, ...) times a weight (y, x), summed on the grid one by one."""
    out = np.zeros((*geometry.grid, *values[0].shape[2:]))
    for (top, left), value in zip(geometry.windows, values, strict=True):
        y, x = top // geometry.cell[0], left // geometry.cell[1]
        weighted = value * weight.reshape(weight.shape + (1,) * (value.ndim - 2))
        out[y : y + weight.shape[0], x : x + weight.shape[1]] += weighted
    return out


def blend(values, geometry):
    """Mean over the windows, weighted by the product's weights: a plain second way for what tiling does."""
    weight = np.outer(*blend_weights(geometry))
    share = laid([np.ones((*weight.shape, 1))] * len(geometry.windows), geometry, weight)
    total = laid(values, geometry, weight)
    return total / share.reshape(share.shape[:2] + (1,) * (total.ndim - 2))
