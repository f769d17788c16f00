"""Attributions side by side: one pass an image for all, and each number what the method alone gets."""

import numpy as np
import pytest
from contests import PROMPTS, blobs, images

import denseclip_viz as dcv
from denseclip_viz.errors import GeometryError, LayerError


@pytest.fixture(scope="module")
def tiny(load_tiny):
    return load_tiny("vit")


def scores(model, pairs, methods, **options):
    candidates = dcv.measure.attribution_candidates(model, PROMPTS, methods)
    return dcv.measure.evaluate(model, pairs, candidates, "average_precision", progress=False, **options).score


def test_each_method_scores_as_it_does_alone_from_one_pass_for_all(tiny):
    pairs = [(image, blobs(image)) for image in images(2)]
    methods = dcv.attribution.methods(tiny)
    tiny.trace(pairs[0][0])  # the first trace checks the tower by a pass of its own
    runs = []
    hook = tiny.clip.visual.conv1.register_forward_hook(lambda *_: runs.append(1))
    together = scores(tiny, pairs, None, batch_size=1)
    hook.remove()
    assert len(runs) == 2 * len(pairs)  # the trace, and what all methods are made of
    assert tuple(together.candidate.values) == methods and len(methods) == 7
    for method in methods:
        np.testing.assert_allclose(scores(tiny, pairs, method).values[:, 0], together.sel(candidate=method), rtol=1e-5)


def test_maps_are_those_of_attribute(tiny):
    trace = tiny.trace(images(1)[0])
    candidates = dcv.measure.attribution_candidates(tiny, PROMPTS, ["relevance", "legrad"])
    maps = dcv.attribution.attribute(tiny, trace, PROMPTS, ["relevance", "legrad"])
    assert candidates.absent == PROMPTS.absent and candidates.prompts == PROMPTS.prompts
    if len(PROMPTS.templates) == 1:
        np.testing.assert_allclose(candidates.maps(trace), maps[:, 0], rtol=1e-4, atol=1e-8)


def test_what_cannot_be_is_refused(tiny):
    with pytest.raises(LayerError, match="some of gradient-x-activation"):
        dcv.measure.attribution_candidates(tiny, PROMPTS, ["saliency"])
    candidates = dcv.measure.attribution_candidates(tiny, PROMPTS, "relevance")
    with pytest.raises(GeometryError, match="geometry='whole'"):
        candidates.maps(tiny.trace(images(1)[0], geometry="tiles"))
