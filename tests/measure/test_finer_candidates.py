"""Candidates on finer grids: each measured on the grid it has, all of one pass, the same by any engine and store."""

from functools import partial

import numpy as np
import pytest
import xarray as xr
from cloudpickle import loads

import denseclip_viz as dcv
from denseclip_viz.clip import tracing
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.maps import guided, shifted, upsampled
from denseclip_viz.measure import evaluation
from denseclip_viz.measure.evaluation import run
from denseclip_viz.measure.remote_work import packed
from denseclip_viz.measure.segmentation import pixel_areas

OPTIONS = {"geometry": dcv.Whole(short=64), "progress": False}


def nearest(trace):
    """An upsampler of somebody's own."""
    return upsampled(trace, lambda image, dense: dense.repeat_interleave(2, -1).repeat_interleave(2, -2))


class Successor:
    """Who answers in the model's place, along a path of its own."""

    def trace(self, trace):
        fine = nearest(trace.with_path(trace.paths[0]))
        return fine.on_grid(-fine.dense, fine.geometry, "the opposite", path="opposite")


@pytest.fixture(scope="module")
def world():
    return dcv.load(), dcv.toyworld.dataset(3, "test", size=64)


def labels(model, trace, scenes):
    """Name pixels as `segment` does, of a trace on any grid."""
    prompts = dcv.Prompts(list(scenes.classes), "a photo of a {}.", articles="right")
    return model.segment(trace, prompts).labels.values


def test_every_path_is_counted_on_every_grid_as_segment_draws_it_there(world):
    model, scenes = world
    ways = {"guided": guided, "wide": partial(guided, factor=8, radius=2), "mine": nearest}
    measured = dcv.measure.evaluate_segmentation(model, scenes, path=["value", "vanilla"], finer=ways, **OPTIONS)
    names = [f"{path}{way}" for way in ("", *(f", {way}" for way in ways)) for path in ("value", "vanilla")]
    assert measured.candidate.values.tolist() == names
    right = dict.fromkeys(names, 0)
    for scene in scenes:
        trace = model.trace(scene, geometry=OPTIONS["geometry"], path=["value", "vanilla"])
        for path in trace.paths:
            one = trace.with_path(path)
            views = {"": one} | {f", {way}": make(one) for way, make in ways.items()}
            for way, view in views.items():
                right[path + way] += int((labels(model, view, scenes) == scene.labels()).sum())
    assert {name: int(np.trace(measured.confusion.sel(candidate=name))) for name in names} == right


def test_one_pass_serves_all_grids_but_for_what_shifts_look_at_again(world, monkeypatch):
    model, scenes = world
    passes, plain = [], tracing.run
    monkeypatch.setattr(tracing, "run", lambda *given: passes.append(1) or plain(*given))
    dcv.measure.evaluate_segmentation(model, scenes, finer=["guided", nearest, Successor()], batch_size=2, **OPTIONS)
    assert len(passes) == 2


def test_who_answers_in_the_models_place_takes_the_place_of_the_path(world):
    model, scenes = world
    measured = dcv.measure.evaluate_segmentation(model, scenes, finer={"student": Successor()}, **OPTIONS)
    assert measured.candidate.values.tolist() == ["value", "student"]
    with pytest.raises(LayerError, match="successor, which takes the place of a path, beside 2 paths.*path='value'"):
        dcv.measure.evaluate_segmentation(model, scenes, path=["value", "vanilla"], finer=Successor(), **OPTIONS)


def test_templates_are_scored_on_a_finer_grid_too(world):
    model, scenes = world
    prompts = dcv.Prompts(list(scenes.classes), ["{}", "a photo of {}"])
    templates = dcv.measure.template_candidates(model, prompts)
    both = dcv.measure.evaluate(model, scenes, templates, pixel_areas, finer="shifted", **OPTIONS)
    assert both.candidate.values[2:].tolist() == ["{}, shifted", "a photo of {}, shifted"]
    trace = shifted(model, model.trace(scenes[0], geometry=OPTIONS["geometry"]))
    alone = pixel_areas(templates.maps(trace), both_example(scenes), trace)["areas"][1]
    assert np.array_equal(both.areas[0, 2:], alone)


def both_example(scenes):
    return next(iter(dcv.datasets.Example(scene.caption, scene, labels=scene.labels()) for scene in scenes))


def test_what_is_sent_to_workers_and_a_store_give_the_same_integers(world, tmp_path, monkeypatch):
    model, scenes = world
    options = {"finer": ["guided", partial(guided, factor=2)], "batch_size": 2, **OPTIONS}
    with pytest.raises(GeometryError, match="finer grid 'guided' twice"):
        dcv.measure.evaluate_segmentation(model, scenes, **options)
    options["finer"] = {"guided": "guided", "half": partial(guided, factor=2)}
    here = dcv.measure.evaluate_segmentation(model, scenes, store=tmp_path / "counts.jsonl", **options)
    again = dcv.measure.evaluate_segmentation(model, scenes, store=tmp_path / "counts.jsonl", **options)
    xr.testing.assert_identical(again, here)
    monkeypatch.setattr(evaluation, "results_of", lambda _, work, groups, **__: loads(packed(work, "it"))(groups))
    xr.testing.assert_identical(dcv.measure.evaluate_segmentation(model, scenes, engine=1, **options), here)


def test_what_cannot_be_is_refused_in_words_of_the_option(world):
    model, scenes = world
    measure = partial(dcv.measure.evaluate_segmentation, model, scenes, **OPTIONS)
    with pytest.raises(GeometryError, match="finer='sharp'.*'guided', 'shifted'.*finer='guided'"):
        measure(finer="sharp")
    with pytest.raises(PromptError, match="smoothed by keys.*keys are those of the coarse grid"):
        measure(finer="guided", smooth="cosine")
    with pytest.raises(GeometryError, match="<lambda> of a trace that gave a Tensor.*maps.upsampled"):
        measure(finer=lambda trace: trace.dense)
    with pytest.raises(GeometryError, match="a trace of value that gave one of opposite.*Pass the student"):
        measure(finer=Successor().trace)
    with pytest.raises(LayerError, match="in tiles.*geometry='whole'"):
        dcv.measure.evaluate_segmentation(model, scenes, finer="guided", geometry="tiles", progress=False)


def test_a_number_of_all_candidates_together_is_not_one_of_several_grids(world):
    model, scenes = world
    templates = dcv.measure.template_candidates(model, dcv.Prompts(["grass", "sky"], ["{}", "a photo of {}"]))

    def spread(maps, example, trace):
        return {"spread": ((), maps.std())}

    with pytest.raises(PromptError, match="spread, a number of all candidates together.*Leave finer out"):
        dcv.measure.evaluate(model, scenes, templates, spread, finer="guided", **OPTIONS)


def test_counts_of_a_data_set_take_the_memory_of_one_sum(world):
    model, scenes = world
    held = []

    def sums(results, names, stopped):
        held.extend(values for _, values in results.images.values())
        return xr.Dataset({"areas": results.sums["areas"]}, attrs={"stopped": stopped})

    templates = dcv.measure.template_candidates(model, dcv.Prompts(list(scenes.classes), ["{}", "a photo of {}"]))
    summed = run(model, scenes, templates, pixel_areas, OPTIONS | {"progress": None}, collect=sums, progress=False)
    each = run(model, scenes, templates, pixel_areas, OPTIONS | {"progress": None}, progress=False)
    assert np.array_equal(summed.areas, each.areas.sum("image")) and held == [{}] * 3
