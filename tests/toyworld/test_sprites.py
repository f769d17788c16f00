"""Silhouettes, surfaces and textures."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from denseclip_viz.toyworld.art import ART
from denseclip_viz.toyworld.art.stuff import PAINTERS
from denseclip_viz.toyworld.sprites import draw_sprite, frame_of
from denseclip_viz.toyworld.textures import VARIANTS, draw_texture
from denseclip_viz.toyworld.vocabulary import FAMILIES, KINDS, STUFF


def silhouette(kind):
    alpha = draw_sprite(kind, "plain", 90).fixed.getchannel("K")
    return np.asarray(alpha.resize((64, 64))) > 127


def test_every_kind_and_every_stuff_is_drawn():
    assert set(ART) == set(KINDS) and set(PAINTERS) == set(STUFF)
    assert len(KINDS) >= 24 and len(STUFF) >= 10


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_siblings_differ_in_shape(family):
    for one, other in combinations(FAMILIES[family], 2):
        a, b = silhouette(one), silhouette(other)
        overlap = max((a & c).sum() / (a | c).sum() for c in (b, b[:, ::-1]))
        stretched = max(frame_of(one).width, frame_of(other).width) / min(frame_of(one).width, frame_of(other).width)
        assert overlap < 0.86 or stretched > 1.2, (one, other, overlap)


@pytest.mark.parametrize("kind", KINDS)
def test_the_colour_covers_the_main_part_of_a_thing(kind):
    drawn = draw_sprite(kind, "plain", 90)
    alpha = np.asarray(drawn.fixed)[..., 3].sum()
    assert np.asarray(drawn.weights)[..., 0].sum() > 0.29 * alpha


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("surface", ["striped", "striped across", "dotted", "checked"])
def test_a_surface_shows_and_leaves_the_silhouette_alone(kind, surface):
    plain, other = draw_sprite(kind, "plain", 90), draw_sprite(kind, surface, 90)
    assert (np.asarray(plain.fixed) == np.asarray(other.fixed)).all()
    assert np.asarray(plain.weights)[..., 1].max() == 0
    share = (np.asarray(other.weights)[..., 1] > 127).sum() / (np.asarray(other.fixed)[..., 3] > 127).sum()
    assert 0.03 < share < 0.55


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_fixed_colours_never_exceed_their_alpha(kind):
    drawn = draw_sprite(kind, "checked", 60)
    fixed, weights = (np.asarray(plane, int) for plane in (drawn.fixed, drawn.weights))
    brightest = fixed[..., :3].max(2) + weights.sum(2)
    assert (brightest <= fixed[..., 3] + 3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_off_at_the_border(kind):
    alpha = np.asarray(draw_sprite(kind, "plain", 200).fixed)[..., 3]
    assert not (alpha[0].any() or alpha[-1].any() or alpha[:, 0].any() or alpha[:, -1].any())


@pytest.mark.parametrize("kind", ["taxi", "palm", "knight"])
def test_a_sprite_is_the_same_at_every_resolution(kind):
    small, large = (draw_sprite(kind, "plain", level) for level in (60, 240))
    cut = [
        sheet.fixed.crop((m, m, *(side - m for side in sheet.fixed.size)))
        for sheet in (small, large)
        for m in [sheet.margin]
    ]
    shrunk = np.asarray(cut[1].resize(cut[0].size, Image.Resampling.BOX), float)
    assert np.abs(shrunk - np.asarray(cut[0], float)).mean() < 6


@pytest.mark.parametrize("stuff", STUFF)
def test_a_texture_is_not_flat_and_its_variants_differ(stuff):
    cuts = [draw_texture(stuff, variant, 64).rgb.astype(float) for variant in range(VARIANTS)]
    assert all(cut[:64, :64].std((0, 1)).max() > 4 for cut in cuts)
    assert all(np.abs(a - b).mean() > 2 for a, b in combinations(cuts, 2))


@pytest.mark.parametrize("stuff", ["grass", "brick wall", "mountains"])
def test_a_texture_is_the_same_at_every_resolution(stuff):
    small, large = draw_texture(stuff, 1, 64), draw_texture(stuff, 1, 256)
    shrunk = np.asarray(Image.fromarray(large.rgb).resize(small.rgb.shape[1::-1], Image.Resampling.BOX), float)
    assert np.abs(shrunk - small.rgb).mean() < 16
    if stuff == "mountains":
        assert small.ridge is not None and large.ridge is not None
        assert np.abs(large.ridge[2::4][: len(small.ridge)] / 4 - small.ridge[: len(large.ridge[2::4])]).max() < 2
