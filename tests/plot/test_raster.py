"""Colours mean values: the highest cell is the top colour, the lowest the bottom, the unseen has none."""

import io

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.plot import raster as render
from denseclip_viz.plot.scales import ATTENTION, PALETTE, SEQUENTIAL, label_colour

FINITE = st.floats(-1, 1, allow_nan=False)
MAPS = some.arrays(np.float64, some.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FINITE)
# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB.
EYES = {
    "ordinary": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lightness(colours):
    """OKLab lightness and colour (…, 3) of sRGB in 0..1, after Ottosson 2020."""
    rgb = np.asarray(colours, dtype=float)
    return oklab(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4))


def oklab(linear):
    cones = np.array(
        [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
    )
    mix = np.array(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.9779985, -2.42859221, 0.45059371],
            [0.0259040, 0.78277177, -0.80867577],
        ]
    )
    return np.cbrt(np.clip(linear @ cones.T, 0, None)) @ mix.T


@given(MAPS)
def test_the_highest_cell_gets_the_top_colour_and_the_lowest_the_bottom(values):
    if values.min() == values.max():
        return
    shown = render.colourise(values, low=values.min(), high=values.max())
    table = matplotlib.colormaps["viridis"]([0.0, 1.0], bytes=True)[:, :3]
    assert (shown[values == values.min()] == table[0]).all()
    assert (shown[values == values.max()] == table[1]).all()


@given(MAPS)
def test_a_higher_value_is_never_darker(values):
    shown = render.colourise(values, low=-1, high=1)
    order = np.argsort(values, axis=None)
    light = lightness(shown.reshape(-1, 3)[order] / 255)[:, 0]
    assert (np.diff(light) >= -2e-3).all()


@pytest.mark.parametrize("colours", [SEQUENTIAL, ATTENTION])
def test_the_sequential_colours_grow_lighter_in_even_steps(colours):
    light = lightness(matplotlib.colormaps[colours](np.linspace(0, 1, 64))[:, :3])[:, 0]
    assert (np.diff(light) > 0).all()


def test_what_lies_outside_the_scale_gets_the_end_colours():
    inside = render.colourise([[0.0, 1.0]], low=0, high=1)
    assert (render.colourise([[-5.0, 9.0]], low=0, high=1) == inside).all()


def test_a_cell_without_a_value_is_grey_and_no_colour_of_the_map():
    shown = render.colourise([[np.nan, 0.5]], low=0, high=1)
    assert len(set(shown[0, 0].tolist())) == 1 and len(set(shown[0, 1].tolist())) == 3


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_where_nothing_was_seen_the_image_shows_dimmed_whatever_the_opacity(opacity, seed):
    image = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    values = np.full((3, 4), 0.3)
    values[1, 2] = np.nan
    shown = render.overlay(image, values, low=0, high=1, opacity=opacity)
    assert (shown[1, 2] == render.dimmed(image)[1, 2]).all()


def test_opacity_runs_from_the_softened_image_to_the_bare_colours():
    image, values = np.arange(48, dtype=np.uint8).reshape(4, 4, 3), np.linspace(0, 1, 16).reshape(4, 4)
    low, high = (render.overlay(image, values, low=0, high=1, opacity=o) for o in (0, 1))
    assert (low == render.softened(image)).all()
    assert (high == render.colourise(values, low=0, high=1)).all()


def test_a_softened_image_is_grey_and_keeps_its_order_of_brightness():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    soft = render.softened(ramp)[0].astype(int)
    assert (soft == soft[:, :1]).all() and (np.diff(soft[:, 0]) >= 0).all() and np.ptp(soft[:, 0]) > 200


@given(some.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_a_png_reads_back_as_it_was(pixels):
    assert (np.asarray(Image.open(io.BytesIO(render.png(pixels)))) == pixels).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: render.colourise([1.0, 2.0], low=0, high=1),
        lambda: render.colourise([[1.0]], low=1, high=1),
        lambda: render.colourise([[1.0]], low=0, high=np.nan),
        lambda: render.overlay(np.zeros((2, 2, 3)), [[1.0, 1.0], [1.0, 1.0]], low=0, high=1),
        lambda: render.overlay(np.zeros((2, 2, 3), np.uint8), [[1.0]], low=0, high=1),
        lambda: render.overlay(np.zeros((1, 1, 3), np.uint8), [[1.0]], low=0, high=1, opacity=1.5),
        lambda: render.png(np.zeros((2, 2, 4), np.uint8)),
        lambda: render.png(np.zeros((0, 2, 3), np.uint8)),
    ],
)
def test_what_cannot_be_coloured_rightly_is_refused(call):
    with pytest.raises(ImageError, match=r"Expected .*\. "):
        call()


@pytest.mark.parametrize("eyes", EYES)
def test_twenty_labels_stay_apart_for_every_kind_of_eye(eyes):
    rgb = np.array([label_colour(i) for i in range(len(PALETTE))])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.array(EYES[eyes]).T, 0, 1))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(seen))
    assert len(PALETTE) == 20 and distances.min() > 0.06  # 0.02 is just noticed


def test_sixty_labels_have_sixty_colours():
    assert len({label_colour(i) for i in range(60)}) == 60
