"""What was reported with a preset, a data set and a model, to be read beside a run of the same: with what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from denseclip_viz.datasets.layouts import LAYOUTS
from denseclip_viz.datasets.name_lists import parse, published
from denseclip_viz.presets import PRESETS, Preset

Words = Sequence[Sequence[str]]
SWITCHES = ("templates", "denoise", "smooth", "scale", "below", "area")


@dataclass(frozen=True)
class Figures:
    """Figures of one table.

    Attributes:
        preset: By its name.
        model: The name of open_clip; with OpenAI's weights.
        miou: In percent, by data set.
        names: Which published list of names classes are called by.
        source: Where they stand.
        switches: Where they were made with other switches than the preset.
        split: Of all images of which split.
    """

    preset: str
    model: str
    miou: Mapping[str, float]
    names: str
    source: str
    switches: Mapping[str, Any] = field(default_factory=dict)
    split: str = "val"


_README = ("maskclip", "chongzhou96/MaskCLIP, configs/maskclip/README.md at 245d31f", {"denoise": 0.0, "smooth": ""})
_REFINED = ("maskclip", "arXiv 2112.01071v2, its table with key smoothing and prompt denoising, second-hand")
FIGURES = (
    Figures("maskclip-paper", "RN50", {"voc20": 41.5, "context59": 18.5, "coco-stuff": 10.2}, *_README),
    Figures("maskclip-paper", "RN50", {"voc20": 30.9}, *_README, split="val, speckle_noise 1"),
    Figures("maskclip-paper", "RN50x16", {"voc20": 50.9, "context59": 20.3, "coco-stuff": 13.6}, *_README),
    Figures("maskclip-paper", "ViT-B-16", {"voc20": 49.5, "context59": 21.7, "coco-stuff": 12.5}, *_README),
    Figures("maskclip-paper", "RN50", {"context59": 21.8, "coco-stuff": 12.8}, *_REFINED),
    Figures("maskclip-paper", "ViT-B-16", {"context59": 25.5, "coco-stuff": 14.6}, *_REFINED),
    Figures(
        "sclip",
        "ViT-B-16",
        {
            "voc20": 81.54, "voc21": 59.63, "context59": 34.46, "context60": 31.74, "coco-object": 33.52,
            "coco-stuff": 22.77, "ade150": 16.45, "cityscapes": 32.34,
        },
        "sclip",
        "wangf3014/SCLIP, README.md at b56bd30; fp16",
    ),
    Figures(
        "sc-clip",
        "ViT-B-16",
        {
            "voc20": 84.3, "voc21": 64.6, "context59": 40.1, "context60": 36.8, "coco-object": 37.7,
            "coco-stuff": 26.6, "ade150": 20.1, "cityscapes": 41.0,
        },
        "sclip",
        "arXiv 2411.15869; fp16",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What was run, as far as figures of others may differ from it.

    Attributes:
        asked: What its preset came to.
        family: The tower's.
        images: How many.
        words: What each class is called.
        provenance: The model's.
        preset: By its name; `""` for none, or one that is no row of the table.
        articles: As for `Prompts`.
        dataset: By its name.
        split: Which images of it.
    """

    asked: Preset
    family: str
    images: int
    words: Words
    provenance: Mapping[str, Any]
    preset: str
    articles: str
    dataset: str
    split: str


def beside(run: Run, paths: Sequence[str]) -> Iterator[str]:
    """Say, for each path of a run, what was published with the same preset, data set and model, and what differs."""
    name = run.dataset.replace("aug", "", 1) if run.dataset.startswith("voc") else run.dataset
    for figures in FIGURES:
        model = str(run.provenance["model"]).removesuffix("-quickgelu")
        other = (figures.preset, figures.model, _corruption(figures.split)) != (
            run.preset,
            model,
            _corruption(run.split),
        )
        if other or name not in figures.miou:
            continue
        for path in paths:
            differing = list(_differing(run, figures, path))
            otherwise = f"; here otherwise: {', '.join(differing)}" if differing else "; all the same here"
            yield f"{path}: published mIoU {figures.miou[name]:g} ({figures.source}){otherwise}"


def _corruption(split: str) -> str:
    """Say what was done to the images of a split."""
    return split.partition(", ")[2]


def _differing(run: Run, figures: Figures, path: str) -> Iterator[str]:
    """Name what a run has otherwise than what figures were made with, in the order of the work."""
    theirs = replace(PRESETS[figures.preset].on(run.dataset), **figures.switches)
    layout = LAYOUTS[run.dataset]
    _, images = layout.splits[figures.split.partition(",")[0]]
    if "openai" not in str(run.provenance["weights"]):
        yield f"weights {run.provenance['weights']}, there openai"
    if run.provenance.get("preset") != figures.preset:
        yield f"a model that was not loaded with preset={figures.preset!r}"
    if (run.split, run.images) != (figures.split, images):
        yield f"{run.images} images of {run.split or 'no split'}, there {images} of {figures.split}"
    if [list(each) for each in run.words] != _named(figures.names, layout.names, background=layout.background):
        yield f"other names of classes, there the list {figures.names!r}"
    if path != theirs.path:
        yield f"path {path}, there {theirs.path}"
    if run.asked.fit(run.family) != theirs.fit(run.family):
        yield f"geometry {run.asked.fit(run.family)}, there {theirs.fit(run.family)}"
    if run.articles != "as written":
        yield f"articles {run.articles}, there as written"
    for switch in SWITCHES:
        mine, other = getattr(run.asked, switch), getattr(theirs, switch)
        if mine != other:
            yield f"{switch} {mine or 'none'}, there {other or 'none'}"


def _named(names: str, classes: str, *, background: bool) -> list[list[str]]:
    return [list(each) for each in parse(published(names, classes, background) or (), names)]
