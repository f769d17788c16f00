"""The ways to say where a class is: the value path with its variants, beside what is used today."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.attribution.gradients import grad_cam
from denseclip_viz.maps.refine import REMOVED, key_smoothing, prompt_denoising
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.segmentation import Texts, ceiling
from denseclip_viz.model import Model
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.trace import Trace

CEILING, VALUE, PRESENT = "grid ceiling", "value", "value, present classes only"
BARE, PLAIN, ATTENTION = "value, no residual", "patch tokens", "attention × global score"
FEW, CAM = "value, first scenes", "Grad-CAM, first scenes"
OTHERS = {PLAIN: "vanilla", BARE: "value-attention-only"}
_BATCH = 8


@dataclass(frozen=True)
class View:
    """A scene as a model sees it.

    Attributes:
        scene: The scene.
        trace: Of the value path, with keys.
        others: Dense features `(y, x, D)` of other paths, by method.
        cams: Grad-CAM `(class, y, x)`, where it was asked for.
    """

    scene: Scene
    trace: Trace
    others: Mapping[str, Tensor] = field(default_factory=dict)
    cams: Tensor | None = None


def views(model: Model, scenes: Sequence[Scene], texts: Texts, *, slow: int = 0) -> Iterator[View]:
    """Look at scenes, a few at a time; one forward pass for the value path, and one for all others.

    Args:
        model: A model of the bundled world.
        scenes: Drawn when their turn comes.
        texts: Vectors of all classes.
        slow: How many of the first scenes get Grad-CAM.
    """
    paths = {name: path for name, path in OTHERS.items() if path in model.paths}
    for start in range(0, len(scenes), _BATCH):
        batch = list(scenes[start : start + _BATCH])
        traces = list(model.trace_many(batch, keys="key", batch_size=_BATCH))
        others = model.trace_many(batch, path=list(paths.values()), batch_size=_BATCH) if paths else traces
        cams = _cams(model, traces[: max(0, slow - start)], texts)
        for k, (scene, trace, other) in enumerate(zip(batch, traces, others, strict=True)):
            dense = dict(zip(paths, other.dense, strict=True)) if paths else {}
            yield View(scene, trace, dense, cams[k] if k < len(cams) else None)


def _cams(model: Model, traces: Sequence[Trace], texts: Texts) -> Sequence[Tensor]:
    inputs = [trace.pixels for trace in traces if trace.pixels is not None]
    return list(grad_cam(model.tower, torch.stack(inputs), texts.ensembled)) if inputs else []


def methods(view: View, texts: Texts) -> Iterator[tuple[str, Tensor]]:
    """Score every class at every cell, `(class, y, x)`, by method."""
    trace = view.trace
    value = _cosines(trace.dense, texts.ensembled)
    yield CEILING, ceiling(trace, view.scene)
    yield VALUE, value
    yield PRESENT, _present(value, view.scene)
    yield "value, one template", _cosines(trace.dense, texts.single)
    yield from _refined(value, trace)
    for name, dense in view.others.items():
        yield name, _cosines(dense, texts.ensembled)
    score = F.normalize(trace.global_embedding, dim=-1) @ texts.ensembled.T
    yield ATTENTION, score[:, None, None] * trace.attention.mean(0)
    if view.cams is not None:
        yield FEW, value
        yield CAM, view.cams


def _cosines(dense: Tensor, vectors: Tensor) -> Tensor:
    return cosine_maps(dense, vectors[None])[0]


def _present(scores: Tensor, scene: Scene) -> Tensor:
    """Remove all classes that are nowhere in a scene."""
    kept = torch.full_like(scores, REMOVED)
    there = np.unique(scene.labels()).tolist()
    kept[there] = scores[there]
    return kept


def _refined(value: Tensor, trace: Trace) -> Iterator[tuple[str, Tensor]]:
    """The two refinements of the paper; where denoising removes every class, no pixel gets a name."""
    assert trace.keys is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="prompt denoising removed every prompt")
        denoised, kept = prompt_denoising(value, 0.5)
    yield "value + key smoothing (cosine)", key_smoothing(value, trace.keys)
    yield "value + key smoothing (official)", key_smoothing(value, trace.keys, normalisation="official")
    yield "value + prompt denoising", denoised
    both = key_smoothing(denoised, trace.keys, normalisation="official")
    yield "value + both (official)", both if kept.any() else denoised
