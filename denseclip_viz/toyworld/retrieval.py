"""Which of 64 captions belongs to a picture, and which of 64 pictures to a caption."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.toyworld.batches import tokens_of
from denseclip_viz.toyworld.contrast import encode_tokens, normalized
from denseclip_viz.toyworld.world import dataset

AMONG = 64


@dataclass(frozen=True)
class Retrieval:
    """Top-1 shares: the caption found for a picture, the picture found for a caption."""

    caption: float
    picture: float

    def __str__(self) -> str:
        return f"caption {self.caption:.3f} picture {self.picture:.3f} of {AMONG}"


@lru_cache(maxsize=4)
def _groups(size: int, groups: int, split: str) -> list[tuple[NDArray[np.uint8], list[str]]]:
    """Pictures with captions that all differ."""
    made = []
    scenes = iter(dataset(groups * AMONG * 2, split, size=size))
    for _ in range(groups):
        found: dict[str, NDArray[np.uint8]] = {}
        while len(found) < AMONG:
            scene = next(scenes)
            found.setdefault(scene.caption().lower().rstrip("."), scene.picture)
        made.append((np.stack(list(found.values())), list(found)))
    return made


@torch.no_grad()
def retrieval(
    model: nn.Module, size: int, *, groups: int = 6, split: str = "validation", device: str = "cpu"
) -> Retrieval:
    """Top-1 retrieval among 64 scenes with distinct captions, both ways, mean over groups of scenes.

    Example:
        >>> str(Retrieval(0.5, 0.25))
        'caption 0.500 picture 0.250 of 64'
    """
    model.eval()
    hits: list[tuple[float, float]] = []
    for pictures, captions in _groups(size, groups, split):
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            images = model.get_submodule("visual")(normalized(pictures, device))
            texts = encode_tokens(model, torch.from_numpy(tokens_of([captions])[0]).to(device))
        cosines = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
        hits.append((_top(cosines), _top(cosines.T)))
    return Retrieval(*(float(np.mean(values)) for values in zip(*hits, strict=True)))


def _top(cosines: Tensor) -> float:
    target = torch.arange(len(cosines), device=cosines.device)
    return float((cosines.argmax(1) == target).float().mean())
