"""What a model of the bundled world can do, measured on scenes it has never seen.

Every method names every pixel out of all classes of the world at once; the score is mIoU over the pictures together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.encode.gradients import grad_cam
from denseclip_viz.encode.text import ensemble
from denseclip_viz.geometry import downsample_mask
from denseclip_viz.maps.labels import label
from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
from denseclip_viz.maps.scoring import Counts, confusion, intersection_over_union
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES, FAMILY_OF, KINDS, STUFF
from denseclip_viz.toyworld.world import dataset, sibling_scenes
from denseclip_viz.trace import Trace

TEMPLATES = ("{}", "a photo of {}", "there is {} in the scene", "a picture of {}", "an illustration of {}")
THINGS = np.array([name in KINDS for name in CLASSES])
SHARP = 100.0


def said(name: str) -> str:
    """Name a class as captions do: things and countable stuff with an article.

    Example:
        >>> said("oak"), said("grass"), said("road")
        ('an oak', 'grass', 'a road')
    """
    if name in STUFF and name not in ("brick wall", "road", "wooden floor", "night sky"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def mean(values: Iterable[float]) -> float | None:
    """Average what there is, to four decimals; `None` where there is nothing.

    Example:
        >>> mean([0.5, float("nan"), 1.0]), mean([])
        (0.75, None)
    """
    found = np.array([value for value in values if np.isfinite(value)])
    return round(float(found.mean()), 4) if len(found) else None


@dataclass
class Tally:
    """Pixels by method: `(true, given)` counts summed over scenes."""

    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, method: str, truth: NDArray[np.int16], labels: NDArray[np.int16]) -> None:
        """Add a scene."""
        new = confusion(truth, labels, len(CLASSES))
        self.counts[method] = self.counts.get(method, np.zeros_like(new)) + new

    def miou(self, method: str) -> dict[str, float | None]:
        """Mean IoU over all classes, things, and stuff."""
        scores = intersection_over_union(self.counts[method])
        return {"all": mean(scores), "things": mean(scores[THINGS]), "stuff": mean(scores[~THINGS])}


@dataclass(frozen=True)
class Texts:
    """Vectors of all classes, `(class, D)`: one template, and the ensemble."""

    single: Tensor
    ensembled: Tensor


def texts_of(model: Model) -> Texts:
    """Encode the names of all classes."""
    vectors = model.texts.encode(Prompts([said(name) for name in CLASSES], TEMPLATES))
    return Texts(vectors[0], ensemble(vectors))


def methods(trace: Trace, texts: Texts, scene: Scene) -> Iterator[tuple[str, Tensor]]:
    """Score every class at every cell, by method, from one trace with keys."""
    value = cosine_maps(trace.dense, texts.ensembled[None])[0]
    assert trace.keys is not None
    yield "grid ceiling", ceiling(trace, scene)
    yield "value", value
    yield "value, one template", cosine_maps(trace.dense, texts.single[None])[0]
    yield "value + key smoothing (cosine)", key_smoothing(value, trace.keys) / SHARP
    yield "value + key smoothing (official)", key_smoothing(value, trace.keys, normalisation="official") / SHARP
    denoised, kept = prompt_denoising(value, 0.5)
    if kept.any():
        yield "value + prompt denoising", denoised
        yield "value + both (official)", key_smoothing(denoised, trace.keys, normalisation="official") / SHARP
    score = F.normalize(trace.global_embedding, dim=-1) @ texts.ensembled.T
    yield "attention × global score", score[:, None, None] * trace.attention.mean(0)


def ceiling(trace: Trace, scene: Scene) -> Tensor:
    """Average the true masks over the cells: the best that this grid can say."""
    truth = scene.labels()
    shares = np.zeros((len(CLASSES), *trace.geometry.grid))
    for index in np.unique(truth):
        shares[index] = np.nan_to_num(downsample_mask(truth == index, trace.geometry))
    return torch.from_numpy(shares)


def segmentation(model: Model, scenes: Iterable[Scene], *, slow: int = 100) -> Tally:
    """Tally all methods over scenes; the slow ones (Grad-CAM) on the first `slow`."""
    texts, tally = texts_of(model), Tally()
    for number, scene in enumerate(scenes):
        truth = scene.labels()
        trace = model.trace(scene, keys="key")
        named = dict(methods(trace, texts, scene))
        named["patch tokens"] = cosine_maps(model.trace(scene, path="vanilla").dense, texts.ensembled[None])[0]
        if number < slow:
            named["value, first scenes"] = named["value"]
            named["Grad-CAM, first scenes"] = _cam(model, trace, texts.ensembled)
        for method, scores in named.items():
            tally.add(method, truth, pixels(scores, trace, scene.size))
    return tally


def _cam(model: Model, trace: Trace, vectors: Tensor) -> Tensor:
    assert trace.pixels is not None
    return grad_cam(model.tower, trace.pixels, vectors)


def pixels(scores: Tensor, trace: Trace, size: int) -> NDArray[np.int16]:
    """Name every pixel by its best class."""
    none = [False] * len(scores)
    return label(scores.numpy(), trace.geometry, rows=size, columns=size, scale=1.0, background=none, below=0.0)[0]


def naming(model: Model, scenes: Iterable[Scene]) -> dict[str, Any]:
    """Name the main thing of a scene from its global embedding, out of all kinds; and among its siblings alone."""
    vectors = texts_of(model).ensembled[[CLASSES.index(kind) for kind in KINDS]]
    families = np.array([FAMILY_OF[kind] for kind in KINDS])
    hits: list[bool] = []
    matrix = np.zeros((len(KINDS), len(KINDS)), np.int64)
    for scene in scenes:
        main = max(scene.things, key=lambda thing: int(thing.mask.sum()), default=None)
        if main is None:
            continue
        scores = (F.normalize(model.trace(scene).global_embedding, dim=-1) @ vectors.T).numpy()
        hits.append(KINDS[int(scores.argmax())] == main.kind)
        siblings = np.where(families == FAMILY_OF[main.kind], scores, -np.inf)
        matrix[KINDS.index(main.kind), int(siblings.argmax())] += 1
    right = {name: _share_right(matrix, kinds) for name, kinds in FAMILIES.items()}
    return {"top-1": mean(hits), "among siblings": right, "matrix": matrix.tolist()}


def _share_right(matrix: Counts, kinds: Sequence[str]) -> float:
    rows = [KINDS.index(kind) for kind in kinds]
    return round(float(np.diag(matrix)[rows].sum() / max(1, matrix[rows].sum())), 4)


def siblings(model: Model, scenes: Iterable[Scene]) -> dict[str, float | None]:
    """Ask for two siblings in one picture: each alone against the stuff, and both together.

    Returns:
        Mean IoU of a sibling when it is asked for alone, and when both compete; and the share of each one's pixels
        that goes to the other.
    """
    texts = texts_of(model).ensembled
    alone, together, given, truth_pixels = [], [], 0, 0
    for scene in scenes:
        one, other = scene.things[:2]
        trace = model.trace(scene)
        stuff = [CLASSES.index(name) for name in STUFF]
        both = [CLASSES.index(one.kind), CLASSES.index(other.kind)]
        pair = pixels(cosine_maps(trace.dense, texts[None, both + stuff])[0], trace, scene.size)
        for place, thing in enumerate((one, other)):
            single = cosine_maps(trace.dense, texts[None, [both[place], *stuff]])[0]
            alone.append(_iou(pixels(single, trace, scene.size) == 0, thing.mask))
            together.append(_iou(pair == place, thing.mask))
            given += int((pair[thing.mask] == 1 - place).sum())
            truth_pixels += int(thing.mask.sum())
    return {
        "IoU alone": mean(alone),
        "IoU together": mean(together),
        "given to the other": round(given / max(1, truth_pixels), 4),
    }


def _iou(guess: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((guess & truth).sum() / max(1, (guess | truth).sum()))


def retrieval(model: Model, scenes: Sequence[Scene], *, among: int = 64) -> dict[str, float | None]:
    """Find the caption of a picture, and the picture of a caption, among 64 with distinct captions."""
    hits: dict[str, list[float]] = {"caption": [], "picture": []}
    found: dict[str, Scene] = {}
    for scene in scenes:
        found.setdefault(scene.caption().lower().rstrip("."), scene)
        if len(found) == among:
            images = torch.stack([t.global_embedding for t in model.trace_many(found.values())])
            cosines = F.normalize(images, dim=-1) @ model.encode_text(list(found)).T
            target = torch.arange(among)
            hits["caption"].append(float((cosines.argmax(1) == target).float().mean()))
            hits["picture"].append(float((cosines.argmax(0) == target).float().mean()))
            found = {}
    return {name: mean(values) for name, values in hits.items()}


def report(
    model: Model, *, n: int = 500, slow: int = 100, size: int = 256, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure everything, on the held-out test split.

    Args:
        model: A model of the bundled world.
        n: Scenes for segmentation, naming and retrieval.
        slow: Scenes for Grad-CAM.
        size: Pixels a side of the scenes.
        progress: Called with what begins.

    Returns:
        Plain numbers by name, ready for JSON.
    """
    scenes = dataset(n, "test", size=size)
    progress("retrieval")
    found = retrieval(model, dataset(max(n, 130), "test", size=size))
    progress("naming")
    names = naming(model, scenes)
    progress("segmentation")
    tally = segmentation(model, scenes, slow=slow)
    progress("siblings")
    pairs = siblings(model, sibling_scenes(max(1, n // 4), "test", size=size))
    value = intersection_over_union(tally.counts["value"])
    characters = [CLASSES.index(kind) for kind in FAMILIES["character"]]
    return {
        "scenes": n,
        "retrieval top-1 of 64": found,
        "naming": names,
        "mIoU": {method: tally.miou(method) for method in tally.counts},
        "characters mIoU": mean(value[characters]),
        "two siblings": pairs,
    }
