"""What a student learns from where nobody labelled: the class that CLIP's own maps of the same crop name.

    S = cos(F, t) of unlabelled classes alone  →  denoised, smoothed  →  drawn on the labels' grid  →  argmax

Source: MaskCLIP+ (arXiv 2112.01071), and chongzhou96/MaskCLIP at 245d31f, decode_heads/maskclip_plus_head.py.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.arguments import choose_paths
from denseclip_viz.clip.forward import ForwardOptions, check_once, run
from denseclip_viz.clip.towers import tower_of
from denseclip_viz.maps.finer import guided_filter
from denseclip_viz.maps.refine import REMOVED, key_smoothing, left_by_denoising
from denseclip_viz.plus.schedules import Schedule

if TYPE_CHECKING:
    from denseclip_viz.model import Model

IGNORED, OPEN = -1, -2
"""Labels that are no class: not learned from, and to be filled by whoever teaches."""


class Teacher:
    """A model that labels crops; frozen, and never changed.

    Args:
        model: The model.
        vectors: `(class, D)`, unit vectors.
        classes: Which of them compete.
        schedule: By which path and with which refinements it labels.
        device: Where crops come from and labels go to; a copy of the model goes there too, where it is elsewhere.
    """

    def __init__(
        self, model: Model, vectors: Tensor, classes: Sequence[int], schedule: Schedule, device: torch.device
    ) -> None:
        here = next(model.tower.visual.parameters()).device
        self.tower = model.tower if here == device else tower_of(copy.deepcopy(model.clip).to(device))
        self.checked, self.native, self.scale = model.checked, model.preprocess.size, model.logit_scale
        self.classes = torch.tensor(list(classes), device=device)
        self.vectors = vectors.to(device)[self.classes]
        self.schedule, parts = schedule, frozenset(["global", "dense"])
        keys = "key" if schedule.smooth else ""
        self.options = ForwardOptions(path=choose_paths(schedule.path), parts=parts, keys=keys)

    def labels(self, pixels: Tensor) -> Tensor:
        """Label crops `(image, 3, H, W)`, the tower's input: `(image, Y, X)` classes, -1 where it is not sure."""
        native = tuple(pixels.shape[-2:]) == self.native
        check_once(self.tower, pixels[:1], self.options, self.checked, native=native)
        result, _ = run(self.tower, pixels, self.options)
        assert result.dense is not None
        cosines = torch.einsum("nyxd,cd->ncyx", F.normalize(result.dense.float(), dim=-1), self.vectors)
        keys = [None] * len(pixels) if result.keys is None else result.keys
        # one image at a time: scores of 171 classes at every pixel of a batch would fill a GPU
        return torch.stack([self._label(*each) for each in zip(pixels, cosines, keys, strict=True)])

    def _label(self, pixels: Tensor, cosines: Tensor, keys: Tensor | None) -> Tensor:
        scores, scale = cosines, self.scale
        if self.schedule.denoise:
            is_left = left_by_denoising(cosines, self.schedule.denoise)
            scores = cosines.masked_fill(~is_left[:, None, None], REMOVED)
        if keys is not None:  # smoothed scores are sums of probabilities already
            scores, scale = key_smoothing(scores, keys, normalisation=self.schedule.smooth), 1.0
        drawn = self._drawn(pixels[None].to(scores), scores[None])[0]
        best, place = drawn.max(0)
        labels = self.classes[place]
        if self.schedule.confidence:
            share = 1 / (scale * (drawn - best)).exp().sum(0)
            labels = labels.masked_fill(share < self.schedule.confidence, IGNORED)
        if self.schedule.denoise and not is_left.any():  # the official code gives all pixels to the first class
            labels = torch.full_like(labels, IGNORED)
        return labels

    def _drawn(self, pixels: Tensor, scores: Tensor) -> Tensor:
        """Bring scores `(1, class, y, x)` to the grid of labels."""
        size = [side // self.schedule.grid for side in pixels.shape[-2:]]
        if not self.schedule.refinement:
            return F.interpolate(scores, size, mode="bilinear", align_corners=False)
        fine = F.avg_pool2d(pixels, self.schedule.grid) if self.schedule.grid > 1 else pixels
        coarse = F.adaptive_avg_pool2d(pixels, (scores.shape[-2], scores.shape[-1]))
        return guided_filter(coarse, fine, scores, radius=self.schedule.radius, epsilon=self.schedule.epsilon)


def own_labels(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """Label by a student's own `(image, class, Y, X)` logits, among these classes alone.

    Example:
        >>> own_labels(torch.tensor([[[[9.0]], [[1.0]], [[2.0]]]]), [1, 2]).tolist()
        [[[2]]]
    """
    chosen = torch.tensor(list(classes), device=logits.device)
    return chosen[logits[:, chosen].argmax(1)]


def filled(target: Tensor, labels: Tensor) -> Tensor:
    """Put labels where a target is open; what is labelled or ignored there stays.

    Example:
        >>> filled(torch.tensor([OPEN, IGNORED, 3]), torch.tensor([7, 7, 7])).tolist()
        [7, -1, 3]
    """
    return torch.where(target == OPEN, labels, target)
