"""Siblings: which is taken for which, and what happens where two of them stand in one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.segmentation import Counts, Texts, mean, pixels
from denseclip_viz.model import Model
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES, FAMILY_OF, KINDS, STUFF
from denseclip_viz.trace import Trace

_FAMILY = np.array([FAMILY_OF[kind] for kind in KINDS])
_KIND_ROWS = [CLASSES.index(kind) for kind in KINDS]
_STUFF_ROWS = [CLASSES.index(name) for name in STUFF]


@dataclass
class Names:
    """The main thing of scenes, named from the global embedding: out of all kinds, and among its siblings alone.

    Attributes:
        hits: Of each scene with a thing, whether it was named right out of all kinds.
        matrix: `(kind, given kind)` counts where only siblings compete, in the order of `KINDS`.
    """

    hits: list[bool] = field(default_factory=list)
    matrix: Counts = field(default_factory=lambda: np.zeros((len(KINDS), len(KINDS)), np.int64))

    def add(self, scene: Scene, embedding: Tensor, texts: Texts) -> None:
        """Add a scene; one without things says nothing."""
        main = max(scene.things, key=lambda thing: int(thing.mask.sum()), default=None)
        if main is None:
            return
        scores = (F.normalize(embedding, dim=-1) @ texts.ensembled[_KIND_ROWS].T).numpy()
        self.hits.append(KINDS[int(scores.argmax())] == main.kind)
        siblings = np.where(_FAMILY == FAMILY_OF[main.kind], scores, -np.inf)
        self.matrix[KINDS.index(main.kind), int(siblings.argmax())] += 1

    def summary(self) -> dict[str, Any]:
        """Everything as plain numbers, ready for JSON."""
        right = {family: share_right(self.matrix, kinds) for family, kinds in FAMILIES.items()}
        return {
            "scenes": len(self.hits),
            "top-1": mean(self.hits),
            "among siblings": right,
            "most confused": {family: most_confused(self.matrix, kinds) for family, kinds in FAMILIES.items()},
            "matrix": self.matrix.tolist(),
        }


def block(matrix: Counts, kinds: Sequence[str]) -> Counts:
    """Cut a family out of the matrix of all kinds."""
    rows = [KINDS.index(kind) for kind in kinds]
    return matrix[np.ix_(rows, rows)]


def share_right(matrix: Counts, kinds: Sequence[str]) -> float:
    """Share of a family that was given its own kind; 0 for a family that was in no scene."""
    own = block(matrix, kinds)
    return round(float(np.trace(own) / max(1, own.sum())), 4)


def most_confused(matrix: Counts, kinds: Sequence[str]) -> dict[str, Any] | None:
    """Find the most frequent confusion of a family, the first of equal ones; `None` without any.

    Example:
        >>> names = Names()
        >>> names.matrix[KINDS.index("oak"), [KINDS.index("oak"), KINDS.index("pine")]] = 3, 2
        >>> most_confused(names.matrix, FAMILIES["tree"])
        {'kind': 'oak', 'taken for': 'pine', 'times': 2, 'of': 5}
    """
    own = block(matrix, kinds)
    wrong = own - np.diag(np.diag(own))
    kind, given = divmod(int(wrong.argmax()), len(kinds))
    times = int(wrong[kind, given])
    if not times:
        return None
    return {"kind": kinds[kind], "taken for": kinds[given], "times": times, "of": int(own[kind].sum())}


@dataclass
class Pairs:
    """Scenes with two siblings: IoU of each asked for alone and against the other, and pixels that went wrong."""

    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    given: int = 0
    pixels: int = 0

    def add(self, scene: Scene, trace: Trace, texts: Texts) -> None:
        """Ask for the two things of a scene, against all stuff: each alone, then both at once."""
        things = scene.things[:2]
        both = [CLASSES.index(thing.kind) for thing in things]
        pair = _named(trace, texts, both, scene.size)
        for place, thing in enumerate(things):
            single = _named(trace, texts, [both[place]], scene.size)
            self.alone.append(_iou(single == 0, thing.mask))
            self.together.append(_iou(pair == place, thing.mask))
            self.given += int((pair[thing.mask] == 1 - place).sum())
            self.pixels += int(thing.mask.sum())

    def summary(self) -> dict[str, Any]:
        """Mean IoU alone and together, and the share of each one's pixels that goes to the other."""
        return {
            "scenes": len(self.alone) // 2,
            "IoU alone": mean(self.alone),
            "IoU together": mean(self.together),
            "given to the other": round(self.given / self.pixels, 4) if self.pixels else None,
        }


def two_siblings(model: Model, scenes: Iterable[Scene], texts: Texts) -> dict[str, Any]:
    """Ask for two siblings in one image, over all scenes and family by family.

    Scenes of which only one thing is seen say nothing about two, and are left out.
    """
    families: Mapping[str, Pairs] = {family: Pairs() for family in FAMILIES}
    shown, traced = tee(scene for scene in scenes if len(scene.things) > 1)
    for scene, trace in zip(shown, model.trace_many(traced), strict=True):
        families[FAMILY_OF[scene.things[0].kind]].add(scene, trace, texts)
    return {
        **_together(families.values()).summary(),
        "by family": {family: pairs.summary() for family, pairs in families.items()},
    }


def _together(parts: Iterable[Pairs]) -> Pairs:
    whole = Pairs()
    for part in parts:
        whole.alone += part.alone
        whole.together += part.together
        whole.given += part.given
        whole.pixels += part.pixels
    return whole


def _named(trace: Trace, texts: Texts, asked: Sequence[int], size: int) -> NDArray[np.int16]:
    """Places among the things asked for; higher numbers are stuff."""
    vectors = texts.ensembled[[*asked, *_STUFF_ROWS]]
    return pixels(cosine_maps(trace.dense, vectors[None])[0], trace, size)


def _iou(guess: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((guess & truth).sum() / max(1, (guess | truth).sum()))
