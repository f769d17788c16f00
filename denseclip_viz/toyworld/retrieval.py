"""Which of 64 captions belongs to a picture, and which of 64 pictures to a caption: for training and for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.toyworld.batches import tokens_of
from denseclip_viz.toyworld.contrast import encode_tokens, normalized
from denseclip_viz.toyworld.groups import AMONG, Group, distinct, endless

Embed = Callable[[Group], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Retrieval:
    """Top-1 shares: the caption found for a picture, the picture found for a caption."""

    caption: float
    picture: float

    def __str__(self) -> str:
        return f"caption {self.caption:.3f} picture {self.picture:.3f} of {AMONG}"


def found(group: Group, embed: Embed) -> Retrieval:
    """Find by the highest cosine.

    Args:
        group: Pictures and captions.
        embed: Gives the embeddings of its pictures and of its captions, `(AMONG, D)` each, of any length.

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
    """What one could expect who knows which caption is true of which picture, and picks at random among the true.

    Example:
        >>> pictures = np.zeros((2, 8, 8, 3), np.uint8)
        >>> true = np.array([[True, True], [False, True]])  # "an oak" of the first, "grass" of both
        >>> oracle(Group((0, 1), pictures, ("an oak", "grass"), true, 0))
        Retrieval(caption=0.75, picture=0.75)
    """
    own = group.true.diagonal()
    shares = (own / np.maximum(group.true.sum(axis), 1) for axis in (1, 0))
    return Retrieval(*(float(share.mean()) for share in shares))


def averaged(each: Sequence[Retrieval]) -> Retrieval:
    """Average over groups.

    Example:
        >>> averaged([Retrieval(0.5, 0.25), Retrieval(1.0, 0.75)])
        Retrieval(caption=0.75, picture=0.5)
    """
    return Retrieval(*(float(np.mean([getattr(one, way) for one in each])) for way in ("caption", "picture")))


@torch.no_grad()
def retrieval(
    model: nn.Module, size: int, *, groups: int = 6, split: str = "validation", device: str = "cpu"
) -> Retrieval:
    """Top-1 retrieval among 64 scenes with distinct captions, both ways, mean over groups; fast, in bfloat16.

    Example:
        >>> str(Retrieval(0.5, 0.25))
        'caption 0.500 picture 0.250 of 64'
    """
    model.eval()

    def embed(group: Group) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            images = model.get_submodule("visual")(normalized(group.pictures, device))
            tokens = torch.from_numpy(tokens_of([list(group.captions)])[0]).to(device)
            return images, encode_tokens(model, tokens)

    return averaged([found(group, embed) for group in _kept(size, groups, split)])


@lru_cache(maxsize=4)
def _kept(size: int, groups: int, split: str) -> list[Group]:
    """Groups that training asks for again and again."""
    return list(islice(distinct(endless(size, split)), groups))
