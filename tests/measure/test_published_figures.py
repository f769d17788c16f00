"""Figures of papers stand beside a run of the same preset, data set and model, and say in what it is another."""

from dataclasses import replace

import pytest

import denseclip_viz as dcv
from denseclip_viz.datasets.layouts import LAYOUTS
from denseclip_viz.datasets.name_lists import parse, published
from denseclip_viz.measure.published_figures import FIGURES, Run, beside
from denseclip_viz.presets import PRESETS


def run_as_published(figures, dataset):
    layout = LAYOUTS[dataset]
    return Run(
        asked=replace(PRESETS[figures.preset].on(dataset), **figures.switches),
        family="ViT class token" if "ViT" in figures.model else "ResNet attention pool",
        images=layout.splits["val"][1],
        words=parse(published(figures.names, layout.names, layout.background), ""),
        provenance={"model": f"{figures.model}-quickgelu", "weights": "openai", "preset": figures.preset},
        preset=figures.preset,
        articles="as written",
        dataset=dataset,
        split=figures.split,
    )


@pytest.mark.parametrize(("figures", "dataset"), [(each, name) for each in FIGURES for name in each.miou])
def test_of_the_same_run_nothing_differs(figures, dataset):
    run = run_as_published(figures, dataset)
    lines = list(beside(run, [run.asked.path]))
    alike = [line for line in lines if line.endswith("all the same here")]
    assert len(alike) == 1 and f"published mIoU {figures.miou[dataset]:g} (" in alike[0]


SCLIP = next(each for each in FIGURES if each.preset == "sclip")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": 100}, "100 images of val, there 1449 of val"),
        ({"split": "train"}, "1449 images of train, there 1449 of val"),
        ({"words": [["a"]] * 21}, "other names of classes, there the list 'sclip'"),
        ({"articles": "right"}, "articles right, there as written"),
        ({"asked": replace(PRESETS["sclip"].on("voc21"), below=0.0)}, "below none, there 0.1"),
        ({"asked": replace(PRESETS["sclip"].on("voc21"), scale=40.0)}, "scale 40.0, there 65.0"),
        ({"asked": replace(PRESETS["sclip"].on("voc21"), geometry="native")}, "geometry native, there Tiles"),
        ({"asked": replace(PRESETS["sclip"].on("voc21"), templates="single")}, "templates single, there imagenet-80"),
        ({"provenance": {"model": "ViT-B-16", "weights": "laion2b", "preset": "sclip"}}, "laion2b, there openai"),
        (
            {"provenance": {"model": "ViT-B-16", "weights": "openai", "preset": "none"}},
            "a model that was not loaded with preset='sclip'",
        ),
    ],
)
def test_whatever_differs_is_named(change, said):
    (line,) = beside(replace(run_as_published(SCLIP, "voc21"), **change), ["sclip"])
    assert "published mIoU 59.63" in line and f"here otherwise: {said}" in line.replace("weights ", "")


def test_figures_of_corrupted_images_stand_beside_the_same_corruption_alone():
    clean = run_as_published(FIGURES[0], "voc20")
    noisy = replace(clean, split="val, speckle_noise 1")
    assert not any("30.9" in line for line in beside(clean, ["value-maskclip"]))
    assert "30.9" in "".join(beside(noisy, ["value-maskclip"]))
    assert list(beside(replace(clean, split="val, speckle_noise 2"), ["value-maskclip"])) == []


def test_a_path_of_ones_own_stands_beside_as_another_and_other_models_have_no_figures():
    run = run_as_published(SCLIP, "voc21aug")
    first, second = beside(run, ["sclip", "value"])
    assert first.endswith("all the same here") and "here otherwise: path value, there sclip" in second
    for other in ({"preset": "clip"}, {"dataset": "folder"}, {"provenance": {**run.provenance, "model": "RN50"}}):
        assert list(beside(replace(run, **other), ["sclip"])) == []


def test_figures_are_kept_with_what_was_measured(monkeypatch, load_tiny):
    from denseclip_viz.measure import protocol

    monkeypatch.setattr(protocol, "beside", lambda run, paths: [f"{run.dataset} {run.images} {paths}"])
    measured = dcv.measure.evaluate_segmentation(
        load_tiny("vit"), dcv.toyworld.dataset(2, "test", size=64), preset="clip", progress=False
    )
    assert measured.attrs["published"] == "toyworld 2 ('value',)"
    assert measured.attrs["templates"] == "imagenet-80" and measured.attrs["dataset"] == "toyworld"
