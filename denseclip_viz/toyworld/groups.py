"""Groups of held-out pictures with a caption each, among which a caption and a picture are to be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.toyworld.reading import Claims, parse
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.truth import holds
from denseclip_viz.toyworld.world import dataset

AMONG = 64
_WORDINGS = 20  # captions of a scene that are tried before it is dropped


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures and as many captions, in one order.

    Attributes:
        seeds: The scenes' seeds.
        pictures: `(picture, row, column, rgb)` uint8.
        captions: One of each picture, all different.
        true: `(picture, caption)` bool, which caption is true of which picture; its own always is.
        dropped: Scenes that were passed over on the way to these.
    """

    seeds: tuple[int, ...]
    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]
    true: NDArray[np.bool_]
    dropped: int


@dataclass(frozen=True)
class _Said:
    text: str
    claims: Claims

    def of(self, scene: Scene) -> bool:
        return holds(self.claims, scene.things, list(scene.stuff), side=scene.size)


def endless(size: int, split: str) -> Iterator[Scene]:
    """Draw the scenes of a split in order, one when it is asked for."""
    return iter(dataset(1 << 40, split, size=size))


def distinct(stream: Iterable[Scene], *, among: int = AMONG) -> Iterator[Group]:
    """Group scenes whose first captions differ; many of these are true of several pictures.

    Args:
        stream: Scenes; they are taken in order, each once.
        among: Pictures in a group.

    Example:
        >>> group = next(distinct(endless(64, "test"), among=8))
        >>> len(set(group.captions)), bool(group.true.diagonal().all())
        (8, True)
    """
    scenes, said, dropped = _emptied()
    for scene in stream:
        words = _said(scene, 0)
        if any(words.text == other.text for other in said):
            dropped += 1
            continue
        scenes, said = [*scenes, scene], [*said, words]
        if len(scenes) == among:
            yield _group(scenes, said, dropped)
            scenes, said, dropped = _emptied()


def unambiguous(stream: Iterable[Scene], *, among: int = AMONG) -> Iterator[Group]:
    """Group scenes with captions that are true of their own picture and of no other one in the group.

    Scenes are taken in order. Each gets the first of its captions that sets it apart, and those before it get another
    one where theirs is true of the newcomer; a newcomer for which that cannot be done is dropped.

    Args:
        stream: Scenes.
        among: Pictures in a group.

    Example:
        >>> next(unambiguous(endless(64, "test"), among=8)).true.sum(0).tolist()
        [1, 1, 1, 1, 1, 1, 1, 1]
    """
    scenes, said, dropped = _emptied()
    for scene in stream:
        apart = _set_apart(scenes, said, scene)
        if apart is None:
            dropped += 1
            continue
        scenes, said = [*scenes, scene], apart
        if len(scenes) == among:
            yield _group(scenes, said, dropped)
            scenes, said, dropped = _emptied()


def _emptied() -> tuple[list[Scene], list[_Said], int]:
    return [], [], 0


def _set_apart(scenes: Sequence[Scene], said: Sequence[_Said], new: Scene) -> list[_Said] | None:
    """Find words for all scenes and a new one that are true of one each, or None."""
    every, apart = [*scenes, new], list(said)
    own = _own(new, every)
    if own is None:
        return None
    for place in [k for k, words in enumerate(said) if words.of(new)]:
        another = _own(scenes[place], every)
        if another is None:
            return None
        apart[place] = another
    return [*apart, own]


def _own(scene: Scene, every: Sequence[Scene]) -> _Said | None:
    rivals = [other for other in every if other is not scene]
    wordings = (_said(scene, seed) for seed in range(_WORDINGS))
    return next((words for words in wordings if not any(words.of(other) for other in rivals)), None)


def _said(scene: Scene, seed: int) -> _Said:
    text = scene.caption(seed).lower().rstrip(".")
    return _Said(text, _parsed(text))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Claims:
    return parse(text)


def _group(scenes: Sequence[Scene], said: Sequence[_Said], dropped: int) -> Group:
    return Group(
        seeds=tuple(scene.seed for scene in scenes),
        pictures=np.stack([scene.picture for scene in scenes]),
        captions=tuple(words.text for words in said),
        true=np.array([[words.of(scene) for words in said] for scene in scenes]),
        dropped=dropped,
    )
