"""Which class a pixel is of, as published pipelines decide it: scores of names, drawn at the image's own size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from denseclip_viz.geometry import Geometry
from denseclip_viz.maps.refine import is_removed
from denseclip_viz.maps.segment import NO_CUT, strips
from denseclip_viz.maps.similarity import Formula
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.segmentation import contenders

NO_CLASS = -1


@dataclass(frozen=True)
class PixelRule:
    """How pixels get their class: that of the name with the highest score, but for what is background.

    Attributes:
        owners: `(name,)`, the class that each name is of; of equal scores the first one wins.
        formula: How scores become the probabilities that `below` is of, of names and not of classes.
        background: The class that is all the rest; -1 for none, where such pixels are of no class.
        below: Pixels whose best name has a lower probability are background.
        cosine: Pixels whose best name has no higher cosine are background.
        area: A class with no more than this share of all pixels that are no background is taken away: its pixels go
            to the best of the other names, their probabilities as they are.

    Source: mmseg's `simple_test`; wangf3014/SCLIP at b56bd30, clip_segmentor.py, `postprocess_result`.
    """

    owners: tuple[int, ...]
    formula: Formula
    background: int = NO_CLASS
    below: float = 0.0
    cosine: float = NO_CUT
    area: float = 0.0

    def labels(self, scores: Floats, geometry: Geometry) -> NDArray[np.int16]:
        """Give each pixel of the image its class, `(row, column)`, by scores `(name, y, x)`; -1 for none.

        Where denoising removed every name, all pixels are of the first class, as in MaskCLIP's code.
        """
        owners, barred = np.array(self.owners), None
        if is_removed(scores):
            return np.full(geometry.image, owners[0], np.int16)
        if self.area:
            barred = self._small(scores, geometry)[owners]
        labels = np.full(geometry.image, NO_CLASS, np.int16)
        for strip, values, names, best, visible in self._winners(scores, geometry, barred):
            top = np.take_along_axis(values, best[None], 0)[0]
            is_named = top > self.cosine
            if self.below:
                is_named &= self._probability(values, top) >= self.below
            given = np.where(is_named, owners[names[best]], self.background)
            labels[strip] = np.where(visible, given, NO_CLASS)
        return labels

    def _winners(
        self, scores: Floats, geometry: Geometry, barred: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[slice, Floats, NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]]:
        """Give strip by strip the scores of names that count, which these are, which is best, and what was seen."""
        names = np.arange(len(scores))
        if not (self.below or self.area):
            names = contenders(torch.from_numpy(scores), geometry).numpy()
        for strip, values, visible in strips(scores[names], geometry, *geometry.image):
            ranked = values if barred is None else np.where(barred[:, None, None], -np.inf, values)
            yield strip, values, names, ranked.argmax(0), visible

    def _small(self, scores: Floats, geometry: Geometry) -> NDArray[np.bool_]:
        """Tell which classes have too little of what is no background."""
        owners = np.array(self.owners)
        counts = np.zeros(owners.max() + 1, dtype=np.int64)
        for _, _, names, best, visible in self._winners(scores, geometry):
            counts += np.bincount(owners[names[best]][visible], minlength=len(counts))
        others = np.arange(len(counts)) != self.background
        small: NDArray[np.bool_] = others & (counts <= self.area * counts[others].sum())
        return small

    def _probability(self, values: Floats, top: Floats) -> Floats:
        """Compute the probability of scores `(row, column)` among those of all names."""
        if self.formula.name == "sigmoid":
            return self.formula.probabilities(top)
        shares: Floats = 1 / np.exp(self.formula.scale * (values - top)).sum(0)
        return shares
