"""Which of 64 captions belongs to an image, and which of 64 images to a caption: for training and for the report."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.toyworld.claims import Claims, holds, parse
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.world import dataset
from denseclip_viz.train.batches import tokens_of
from denseclip_viz.train.loss import encode_tokens, mixed_precision, normalized

AMONG = 64
_TRIES = 20  # captions of a scene that are tried before it is dropped


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


def find_nearest(group: Group, embed: Embed) -> Retrieval:
    """Find by the highest cosine of what embeds a group's images and its captions, `(AMONG, D)` each, of any length.

    Example:
        >>> group = next(distinct(endless(64, "test"), among=4))
        >>> find_nearest(group, lambda group: (torch.eye(4), torch.eye(4).roll(1, 0))).caption
        0.0
    """
    images, texts = (F.normalize(vectors.float(), dim=-1) for vectors in embed(group))
    cosines = images @ texts.T
    return Retrieval(_top(cosines), _top(cosines.T))


def _top(cosines: Tensor) -> float:
    target = torch.arange(len(cosines), device=cosines.device)
    return float((cosines.argmax(1) == target).float().mean())


def oracle(group: Group) -> Retrieval:
    """Compute what one could expect who knows which caption is true of which image, and picks at random among the true.

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
    return Retrieval(*(float(np.mean([getattr(one, direction) for one in each])) for direction in ("caption", "image")))


@torch.no_grad()
def measure_retrieval(
    model: nn.Module, size: int, *, groups: int = 6, split: str = "validation", device: str = "cpu"
) -> Retrieval:
    """Measure top-1 retrieval among 64 scenes with distinct captions, both ways, over groups, as fast as the device is.

    Example:
        >>> str(Retrieval(0.5, 0.25))
        'caption 0.500 image 0.250 of 64'
    """
    model.eval()

    def embed(group: Group) -> tuple[Tensor, Tensor]:
        with mixed_precision(device):
            images = model.get_submodule("visual")(normalized(group.images, device))
            tokens = torch.from_numpy(tokens_of([list(group.captions)])[0]).to(device)
            return images, encode_tokens(model, tokens)

    return averaged([find_nearest(group, embed) for group in _groups(size, groups, split)])


@lru_cache(maxsize=4)
def _groups(size: int, groups: int, split: str) -> list[Group]:
    """Draw the groups that training asks for again and again."""
    return list(islice(distinct(endless(size, split)), groups))


@dataclass(frozen=True)
class _Caption:
    text: str
    claims: Claims

    def of(self, scene: Scene) -> bool:
        """Tell whether it is true of a scene."""
        return holds(self.claims, scene.things, list(scene.stuff), side=scene.size)


Extend = Callable[[Sequence[Scene], Sequence[_Caption], Scene], list[_Caption] | None]


def endless(size: int, split: str) -> Iterator[Scene]:
    """Draw the scenes of a split in order, one when it is asked for."""
    return iter(dataset(1 << 40, split, size=size))


def distinct(stream: Iterable[Scene], *, among: int = AMONG) -> Iterator[Group]:
    """Group scenes, in order, each once, whose first captions differ; many of these are true of several images.

    Example:
        >>> group = next(distinct(endless(64, "test"), among=8))
        >>> len(set(group.captions)), bool(group.true.diagonal().all())
        (8, True)
    """
    return _grouped(stream, among, _differing)


def unambiguous(stream: Iterable[Scene], *, among: int = AMONG) -> Iterator[Group]:
    """Group scenes with captions that are true of their own image and of no other one in the group.

    Scenes are taken in order. Each gets the first of its captions that sets it apart, and those before it get another
    one where theirs is true of the newcomer; a newcomer for which that cannot be done is dropped.

    Example:
        >>> next(unambiguous(endless(64, "test"), among=8)).true.sum(0).tolist()
        [1, 1, 1, 1, 1, 1, 1, 1]
    """
    return _grouped(stream, among, _set_apart)


def _grouped(stream: Iterable[Scene], among: int, extend: Extend) -> Iterator[Group]:
    """Group scenes in order; one whose captions cannot be extended is dropped."""
    scenes, captions, dropped = list[Scene](), list[_Caption](), 0
    for scene in stream:
        longer = extend(scenes, captions, scene)
        if longer is None:
            dropped += 1
            continue
        scenes, captions = [*scenes, scene], longer
        if len(scenes) == among:
            yield _fill_group(scenes, captions, dropped)
            scenes, captions, dropped = [], [], 0


def _differing(_: Sequence[Scene], captions: Sequence[_Caption], new: Scene) -> list[_Caption] | None:
    """Add the first caption of a scene, or None where it is there already."""
    first = _caption_of(new, 0)
    return None if any(first.text == other.text for other in captions) else [*captions, first]


def _set_apart(scenes: Sequence[Scene], captions: Sequence[_Caption], new: Scene) -> list[_Caption] | None:
    """Find words for all scenes and a new one that are true of one each, or None."""
    all_scenes, apart = [*scenes, new], list(captions)
    own = _own(new, all_scenes)
    if own is None:
        return None
    for place in [k for k, words in enumerate(captions) if words.of(new)]:
        another = _own(scenes[place], all_scenes)
        if another is None:
            return None
        apart[place] = another
    return [*apart, own]


def _own(scene: Scene, scenes: Sequence[Scene]) -> _Caption | None:
    rivals = [other for other in scenes if other is not scene]
    tries = (_caption_of(scene, seed) for seed in range(_TRIES))
    return next((words for words in tries if not any(words.of(other) for other in rivals)), None)


def _caption_of(scene: Scene, seed: int) -> _Caption:
    text = scene.caption(seed).lower().rstrip(".")
    return _Caption(text, _parsed(text))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Claims:
    return parse(text)


def _fill_group(scenes: Sequence[Scene], captions: Sequence[_Caption], dropped: int) -> Group:
    return Group(
        seeds=tuple(scene.seed for scene in scenes),
        images=np.stack([scene.image for scene in scenes]),
        captions=tuple(words.text for words in captions),
        true=np.array([[words.of(scene) for words in captions] for scene in scenes]),
        dropped=dropped,
    )
