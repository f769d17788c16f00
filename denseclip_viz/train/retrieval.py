"""Which of 64 captions belongs to an image, and which of 64 images to a caption: for training and for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.toyworld.claims_check import holds
from denseclip_viz.toyworld.parser import Claims, parse
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.world import dataset
from denseclip_viz.train.batches import tokens_of
from denseclip_viz.train.loss import encode_tokens, normalized

AMONG = 64
_WORDINGS = 20  # captions of a scene that are tried before it is dropped


@dataclass(frozen=True, eq=False)
class Group:
    """Images and as many captions, in one order.

    Attributes:
        seeds: The scenes' seeds.
        images: `(image, row, column, rgb)` uint8.
        captions: One of each image, all different.
        true: `(image, caption)` bool, which caption is true of which image; its own always is.
        dropped: Scenes that were passed over on the way to these.
    """

    seeds: tuple[int, ...]
    images: NDArray[np.uint8]
    captions: tuple[str, ...]
    true: NDArray[np.bool_]
    dropped: int


Embed = Callable[[Group], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Retrieval:
    """Top-1 shares: the caption found for an image, the image found for a caption."""

    caption: float
    image: float

    def __str__(self) -> str:
        return f"caption {self.caption:.3f} image {self.image:.3f} of {AMONG}"


def found(group: Group, embed: Embed) -> Retrieval:
    """Find by the highest cosine.

    Args:
        group: Images and captions.
        embed: Gives the embeddings of its images and of its captions, `(AMONG, D)` each, of any length.

    Example:
        >>> group = next(distinct(endless(64, "test"), among=4))
        >>> found(group, lambda group: (torch.eye(4), torch.eye(4).roll(1, 0))).caption
        0.0
    """
    images, texts = (F.normalize(vectors.float(), dim=-1) for vectors in embed(group))
    cosines = images @ texts.T
    return Retrieval(_top(cosines), _top(cosines.T))


def _top(cosines: Tensor) -> float:
    target = torch.arange(len(cosines), device=cosines.device)
    return float((cosines.argmax(1) == target).float().mean())


def oracle(group: Group) -> Retrieval:
    """What one could expect who knows which caption is true of which image, and picks at random among the true.

    Example:
        >>> images = np.zeros((2, 8, 8, 3), np.uint8)
        >>> true = np.array([[True, True], [False, True]])  # "an oak" of the first, "grass" of both
        >>> oracle(Group((0, 1), images, ("an oak", "grass"), true, 0))
        Retrieval(caption=0.75, image=0.75)
    """
    own = group.true.diagonal()
    shares = (own / np.maximum(group.true.sum(axis), 1) for axis in (1, 0))
    return Retrieval(*(float(share.mean()) for share in shares))


def averaged(each: Sequence[Retrieval]) -> Retrieval:
    """Average over groups.

    Example:
        >>> averaged([Retrieval(0.5, 0.25), Retrieval(1.0, 0.75)])
        Retrieval(caption=0.75, image=0.5)
    """
    return Retrieval(*(float(np.mean([getattr(one, way) for one in each])) for way in ("caption", "image")))


@torch.no_grad()
def retrieval(
    model: nn.Module, size: int, *, groups: int = 6, split: str = "validation", device: str = "cpu"
) -> Retrieval:
    """Top-1 retrieval among 64 scenes with distinct captions, both ways, mean over groups; fast, in bfloat16.

    Example:
        >>> str(Retrieval(0.5, 0.25))
        'caption 0.500 image 0.250 of 64'
    """
    model.eval()

    def embed(group: Group) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            images = model.get_submodule("visual")(normalized(group.images, device))
            tokens = torch.from_numpy(tokens_of([list(group.captions)])[0]).to(device)
            return images, encode_tokens(model, tokens)

    return averaged([found(group, embed) for group in _kept(size, groups, split)])


@lru_cache(maxsize=4)
def _kept(size: int, groups: int, split: str) -> list[Group]:
    """Groups that training asks for again and again."""
    return list(islice(distinct(endless(size, split)), groups))


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
    """Group scenes whose first captions differ; many of these are true of several images.

    Args:
        stream: Scenes; they are taken in order, each once.
        among: Images in a group.

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
    """Group scenes with captions that are true of their own image and of no other one in the group.

    Scenes are taken in order. Each gets the first of its captions that sets it apart, and those before it get another
    one where theirs is true of the newcomer; a newcomer for which that cannot be done is dropped.

    Args:
        stream: Scenes.
        among: Images in a group.

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
        images=np.stack([scene.image for scene in scenes]),
        captions=tuple(words.text for words in said),
        true=np.array([[words.of(scene) for words in said] for scene in scenes]),
        dropped=dropped,
    )
