"""What the gap says of scenes whose truth is known: what gets less than an even look, and no halo around things."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

import denseclip_viz as dcv

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gap.py"


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(BENCHMARK))


@pytest.fixture(scope="module")
def regions(benchmark):
    return pd.DataFrame(benchmark["regions"](dcv.load(), dcv.toyworld.dataset(12, "test", size=256)))


def test_the_gap_of_a_region_tells_whether_the_pool_looked_at_it_less_than_evenly(benchmark, regions):
    assert regions.less.sum() > 10 and (~regions.less).sum() > 10
    assert benchmark["area_under_curve"](regions) > 0.9


def test_the_gap_leaves_no_halo_around_things(regions):
    things = regions[regions.thing]
    assert regions.ring.mean() < 0.15 and things.ring.mean() < 0.05 and things.halo.mean() < 0.05


def test_no_thing_gets_less_than_an_even_look(regions):
    """This pool looks at things more than evenly, always: what gets less is background."""
    things = regions[regions.thing]
    assert len(things) > 15 and not things.less.any() and (things.gap <= 0).all()


@pytest.mark.parametrize("name", ["bundled-resnet", "bundled-vit"])
@pytest.mark.parametrize("words", ["a taxi", "a whale", "a red balloon"])
def test_a_thing_is_crowded_more_where_another_shares_the_vector(name, words):
    model = dcv.load(name)
    scenes = (dcv.toyworld.scene(asked, 256) for asked in (words, f"{words} and a wizard"))
    alone, crowded = (model.compare(scene, [words]).crowding.item() for scene in scenes)
    assert crowded > alone
