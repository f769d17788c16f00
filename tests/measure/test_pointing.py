"""Maps on what they are of, held against slow loops over random maps."""

import numpy as np
import pytest

from denseclip_viz.measure.map_scores import GroundTruth
from denseclip_viz.measure.pointing import above, energy, pointing, right_object

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(3, 2, 20)).round(1)
SHARES = RNG.random((2, 20)) * (RNG.random((2, 20)) > 0.5) / 2
TRUTH = GroundTruth(SHARES, SHARES > 0.2)
AREAS = RNG.random(20)


def each():
    return ((method, prompt, MAPS[method, prompt]) for method in range(3) for prompt in range(2))


def test_a_peak_hits_or_misses_and_equal_peaks_count_by_their_share():
    for method, prompt, cells in each():
        peaks = [at for at in range(20) if cells[at] == max(cells)]
        by_hand = np.mean([TRUTH.centred[prompt, at] for at in peaks])
        assert pointing(MAPS, TRUTH)[method, prompt] == pytest.approx(by_hand)
    assert pointing(np.zeros((1, 2, 20)), TRUTH)[0] == pytest.approx(TRUTH.centred.mean(-1))


def test_energy_is_the_share_of_what_is_positive():
    for method, prompt, cells in each():
        mass = [max(value, 0) * area for value, area in zip(cells, AREAS, strict=True)]
        by_hand = sum(m * share for m, share in zip(mass, SHARES[prompt], strict=True)) / sum(mass)
        assert energy(MAPS, TRUTH, AREAS)[method, prompt] == pytest.approx(by_hand)
    assert (energy(-np.ones((1, 2, 20)), TRUTH, AREAS) == 0).all()


def test_the_right_object_has_its_share_of_the_mass_on_objects():
    for method, prompt, cells in each():
        mass = [max(value, 0) * area for value, area in zip(cells, AREAS, strict=True)]
        on = [sum(m * share for m, share in zip(mass, shares, strict=True)) for shares in SHARES]
        assert right_object(MAPS, TRUTH, AREAS)[method, prompt] == pytest.approx(on[prompt] / sum(on))
    alone = GroundTruth(SHARES[:1], TRUTH.centred[:1])
    assert np.isnan(right_object(MAPS[:, :1], alone, AREAS)).all()


def test_present_is_above_absent_as_often_as_pairs_say():
    present, absent = MAPS[:, 0, :6], MAPS[:, 1, :9]
    for row in range(3):
        pairs = [(p > a) + (p == a) / 2 for p in present[row] for a in absent[row]]
        assert above(present, absent)[row] == pytest.approx(np.mean(pairs))
    assert np.isnan(above(present, absent[:, :0])).all()
