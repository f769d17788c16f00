"""A few templates instead of all: chosen on some images, judged on others, and what an interrupt leaves."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from contests import PROMPTS, TEMPLATES, blobs, images, quietly

import denseclip_viz as dcv
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure import candidates, ensemble_selection, evaluation


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def test_a_selection_is_judged_where_it_was_not_chosen(tiny):
    some = images(10)
    small = quietly(dcv.measure.select_templates, tiny, some, PROMPTS, blobs, most=2)
    assert small.validation == small.held_out == 5 and 1 <= len(small.templates) <= 2
    assert small.steps.iloc[:, 1].is_monotonic_increasing and tuple(small.steps["template"]) == small.templates
    order = np.random.default_rng(0).permutation(10)[:5]
    members = [TEMPLATES.index(name) for name in small.templates]
    gains = []
    for at in order:
        vectors = tiny.texts.encode(PROMPTS)
        trace = tiny.trace(some[at])
        sets = torch.stack([ensemble(vectors[members]), ensemble(vectors)])
        maps = tiny.similarity(trace, dcv.Prompts(PROMPTS.prompts[:2], ["{}", "now {}"], absent=["a giraffe"]))
        maps.values[:] = cosine_maps(trace.dense, sets).numpy()
        table = dcv.measure.templates_table(maps, blobs(some[at]))
        gains.append(-table.groupby("template", sort=False)["shared_precision"].mean().diff().iloc[1])
    assert small.gain == pytest.approx(np.mean(gains), abs=1e-6) == pytest.approx(small.small - small.full)
    assert small.low <= small.gain <= small.high and "held-out images" in small.verdict
    assert ("no gain was shown" in small.verdict) == (small.low <= 0 <= small.high)
    with pytest.raises(ImageError, match="1 images to choose on and 1 to judge on"):
        quietly(dcv.measure.select_templates, tiny, some[:2], PROMPTS)
    for odd in ({"most": 0}, {"held_out": 1.0}):
        with pytest.raises(PromptError, match=next(iter(odd))):
            dcv.measure.select_templates(tiny, some, PROMPTS, **odd)


@pytest.mark.parametrize(("when", "chosen"), [("looking", None), ("choosing", 1)])
def test_an_interrupt_of_a_selection_goes_on_with_what_was_done(tiny, monkeypatch, when, chosen):
    def stream():
        yield from images(8)
        if when == "looking":
            raise KeyboardInterrupt

    steps = iter(range(100))
    plain = ensemble_selection._with_each

    def tried(*arguments):
        if when == "choosing" and next(steps) == 1:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(ensemble_selection, "_with_each", tried)
    with pytest.warns(UserWarning, match="Interrupted: this is about the"):
        small = dcv.measure.select_templates(tiny, stream(), PROMPTS, blobs, progress=False, batch_size=2, most=2)
    assert small.stopped and small.verdict.startswith("Interrupted; so far ")
    assert small.validation + small.held_out in ((6, 8) if when == "looking" else (8,))
    assert len(small.steps) == len(small.templates) == (chosen or len(small.templates))


@pytest.mark.parametrize("when", ["looking", "choosing"])
def test_an_interrupt_before_anything_was_done_stops(tiny, monkeypatch, when):
    def stream():
        yield from images(4 if when == "choosing" else 3)
        if when == "looking":
            raise KeyboardInterrupt

    def never(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble_selection, "_with_each", never)
    with pytest.raises(KeyboardInterrupt):
        dcv.measure.select_templates(tiny, stream(), PROMPTS, blobs, progress=False, batch_size=1)


def test_a_image_that_comes_twice_is_on_one_side_only():
    kept = [(name, at) for at, name in enumerate(b"abcabdefgh")]
    for seed in range(20):
        choosing, judging = ensemble_selection._parts(kept, 0.5, seed)
        assert sorted(choosing + judging) == list(range(10)) and 4 <= len(judging) <= 6
        assert not {kept[at][0] for at in choosing} & {kept[at][0] for at in judging}


def test_long_work_shows_how_far_it_is(tiny, monkeypatch):
    shown = []

    @contextmanager
    def bar(what, **_):
        yield lambda done, every: shown.append((what, done, every))

    for module in (ensemble_selection, candidates, evaluation):
        monkeypatch.setattr(module, "bar", bar)
    tiny.texts.clear()
    quietly(dcv.measure.select_templates, tiny, images(4), PROMPTS, blobs, most=2)
    assert ("texts", 9, 9) in shown and [one for one in shown if one[0] == "images"][-1] == ("images", 4, 4)
    assert ("templates", 1, 2) in shown
