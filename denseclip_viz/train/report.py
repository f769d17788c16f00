"""What a model of the bundled world can do, measured on scenes it has never seen.

Every method names every pixel out of all classes of the world at once; the score is mIoU over the images together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice, tee
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.measure.baselines import CEILING, VALUE, methods, views
from denseclip_viz.measure.confusable import Names, two_siblings
from denseclip_viz.measure.segmentation import Tally, Texts, mean, pixels, texts_of
from denseclip_viz.model import Model
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES
from denseclip_viz.toyworld.world import Scenes, dataset, sibling_scenes
from denseclip_viz.train.retrieval import (
    AMONG,
    Group,
    Retrieval,
    averaged,
    distinct,
    endless,
    found,
    oracle,
    unambiguous,
)

Say = Callable[[str], None]
Embedded = dict[int, Tensor]
RETRIEVAL = "retrieval top-1 of 64"
_MADE_WITH = ("model", "weights", "weights_hash", "random_weights")
_SAY_EVERY = 100


def report(
    model: Model, *, n: int = 500, slow: int = 100, size: int = 256, progress: Say = lambda _: None
) -> dict[str, Any]:
    """Measure everything, on the held-out test split; the same numbers every time.

    Args:
        model: A model of the bundled world.
        n: Scenes for segmentation and naming; retrieval takes one group of 64 for each 64 of them, at least two.
        slow: Scenes for Grad-CAM.
        size: Pixels a side of the scenes.
        progress: Called with what begins.

    Returns:
        Plain numbers by name, ready for JSON.
    """
    texts, embedded = texts_of(model), Embedded()
    seen = _segmentation(model, dataset(n, "test", size=size), texts, embedded, slow=slow, progress=progress)
    progress("retrieval")
    ways = _retrieval(model, max(2, n // AMONG), size, embedded)
    progress("two siblings in one image")
    pairs = two_siblings(model, sibling_scenes(max(1, n // 4), "test", size=size), texts)
    return {
        "scenes": n,
        "model": {key: model.provenance[key] for key in _MADE_WITH if key in model.provenance},
        **ways,
        **seen,
        "two siblings": pairs,
    }


def _segmentation(
    model: Model, scenes: Scenes, texts: Texts, embedded: Embedded, *, slow: int, progress: Say
) -> dict[str, Any]:
    """One look at each scene, for everything that needs no other scenes."""
    tally, names = Tally(), Names()
    for number, view in enumerate(views(model, scenes, texts, slow=slow)):
        if number % _SAY_EVERY == 0:
            progress(f"segmentation and naming, from scene {number} of {len(scenes)}")
        truth = view.scene.labels()
        for method, scores in methods(view, texts):
            tally.add(method, truth, pixels(scores, view.trace, view.scene.size))
        names.add(view.scene, view.trace.global_embedding, texts)
        embedded[view.scene.seed] = view.trace.global_embedding
    return {"naming": names.summary(), **_scores(tally)}


def _scores(tally: Tally) -> dict[str, Any]:
    value = tally.iou(VALUE)
    by_class = {name: mean([score]) for name, score in zip(CLASSES, value, strict=True)}
    on_all = [method for method, count in tally.scenes.items() if count == tally.scenes[CEILING]]
    return {
        "mIoU": {method: {**tally.miou(method), "scenes": count} for method, count in tally.scenes.items()},
        "share of the ceiling": {method: tally.share(method, CEILING) for method in on_all},
        "IoU by class": by_class,
        "characters mIoU": mean(value[[CLASSES.index(kind) for kind in FAMILIES["character"]]]),
    }


def _retrieval(model: Model, groups: int, size: int, embedded: Embedded) -> dict[str, Any]:
    """Measure both ways on distinct captions, beside what the truth could tell, and on captions true of one image."""

    def embed(group: Group) -> tuple[Tensor, Tensor]:
        return _images(model, group, embedded), model.encode_text(group.captions)

    plain, truth, posed, dropped = [], [], [], 0
    one, other = tee(endless(size, "test"))  # the two go through the same scenes side by side
    for group, apart in islice(zip(distinct(one), unambiguous(other), strict=True), groups):
        plain.append(found(group, embed))
        truth.append(oracle(group))
        posed.append(found(apart, embed))
        dropped += apart.dropped
    return {
        RETRIEVAL: {**_shares(plain), "groups": groups},
        f"{RETRIEVAL}, oracle": _shares(truth),
        f"{RETRIEVAL}, one truth": {**_shares(posed), "groups": groups, "dropped": dropped},
    }


def _images(model: Model, group: Group, embedded: Embedded) -> Tensor:
    """Global embeddings `(image, D)`; those that were looked at before need no second look."""
    new = [k for k, seed in enumerate(group.seeds) if seed not in embedded]
    for k, trace in zip(new, model.trace_many(group.images[new]), strict=True):
        embedded[group.seeds[k]] = trace.global_embedding
    return torch.stack([embedded[seed] for seed in group.seeds])


def _shares(each: Sequence[Retrieval]) -> dict[str, float]:
    return {way: round(share, 4) for way, share in asdict(averaged(each)).items()}
