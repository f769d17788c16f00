"""Every number by which a map is held to account, of one image: the measure that `faithfulness` gives to the loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.datasets.example import Example
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.maps.comparison import spearman
from denseclip_viz.measure.changed_inputs import embed_inputs, flipped, redrawn, shifted, trace_inputs
from denseclip_viz.measure.map_methods import MapMethod, MapMethods, one_input
from denseclip_viz.measure.map_scores import Floats, GroundTruth, cell_areas, truth_on_grid
from denseclip_viz.measure.perturbation import (
    ORDERS,
    Bools,
    area_under,
    on_input,
    perturbed,
    pixel_ranks,
    replacement,
    visible_pixels,
)
from denseclip_viz.measure.pointing import above, energy, pointing, right_object
from denseclip_viz.measure.store import Values
from denseclip_viz.trace import Trace

HALF = 0.5  # of the image that Grad-ECLIP's protocol takes away


class Column(NamedTuple):
    """A number of each image and method: which question it answers, its better end, what it needs, what it says."""

    asks: str
    better: str
    needs: str
    says: str
    within: tuple[float, float] = (0.0, 1.0)  # no mean can lie outside


_FOLLOWS, _LIES, _PROMPT = "does the score follow the map?", "does it lie on the thing?", "does it hang on the prompt?"
_MODEL, _STILL, _COST = "on the model?", "does it hold still?", "what does it cost?"
_COSINE = (-1.0, 1.0)
_ELSEWHERE = "prompts known not to be in the image"
OF_FILLS = {
    "deletion": Column(_FOLLOWS, "lower", "", "cosine while the highest pixels become {}", _COSINE),
    "insertion": Column(_FOLLOWS, "higher", "", "cosine while the highest pixels come back from {}", _COSINE),
    "deletion_top1": Column(_FOLLOWS, "lower", _ELSEWHERE, "share still first while half the image becomes {}"),
    "insertion_top1": Column(_FOLLOWS, "higher", _ELSEWHERE, "share first while half the image comes back from {}"),
}
_OF_MAPS = {
    "pointing": Column(_LIES, "higher", "masks", "the peak lies in the mask"),
    "energy": Column(_LIES, "higher", "masks", "share of the positive mass in the mask"),
    "right_object": Column(_LIES, "higher", "masks of two prompts in one image", "share of the mass on objects"),
    "absent_peak": Column(_PROMPT, "higher", _ELSEWHERE, "peak of a present above that of an absent prompt (AUROC)"),
    "absent_mean": Column(_PROMPT, "higher", _ELSEWHERE, "mean of a present above that of an absent prompt (AUROC)"),
    "random_text": Column(_PROMPT, "lower", "", "rank variance shared with the map of a random text"),
    "random_weights": Column(_MODEL, "lower", "", "rank variance shared with the map of random weights"),
    "flip": Column(_STILL, "higher", "", "rank correlation with the flipped image's map, flipped back", _COSINE),
    "shift": Column(
        _STILL, "higher", "a grid of 3 cells a side", "rank correlation with the map after a move by a cell", _COSINE
    ),
    "seconds": Column(_COST, "lower", "", "seconds an image, each method alone", (0.0, math.inf)),
}


def columns_of(fills: tuple[str, ...]) -> dict[str, Column]:
    """Name all columns, those of perturbation once for each fill.

    Example:
        >>> columns_of(("grey",))["deletion_grey"].better
        'lower'
    """
    replaced = {
        f"{name}_{fill}": column._replace(says=column.says.format(fill))
        for fill in fills
        for name, column in OF_FILLS.items()
    }
    return replaced | _OF_MAPS


@dataclass(frozen=True)
class Shown:
    """What is known of an image: which prompts are in it, which are surely not, and where they are."""

    present: Bools
    absent: Bools
    truth: GroundTruth | None

    @classmethod
    def of(cls, methods: MapMethods, example: Example, trace: Trace) -> Shown:
        """Read masks; without any, prompts are present unless they are marked absent."""
        marked = np.asarray(methods.absent, dtype=bool)
        names = [name for name, away in zip(methods.prompts, marked, strict=True) if not away]
        masks = example.masks_of(names)
        if masks is None:
            return cls(~marked, marked, None)
        truth = truth_on_grid(masks, trace.geometry, methods.prompts, marked)
        covered = truth.shares.sum(-1)
        present = covered > 0
        return cls(present, marked | (covered == 0), GroundTruth(truth.shares[present], truth.centred[present]))

    @property
    def rivals(self) -> Bools:
        """`(present prompt, prompt)`, which prompts one competes with: those that are not there, else all others."""
        known = self.absent if self.truth is not None or self.absent.any() else np.ones_like(self.absent)
        others = ~np.eye(len(self.present), dtype=bool)[self.present]
        return np.asarray(others & known)


@dataclass(frozen=True)
class MapChecks:
    """A measure for `evaluate`: every column of every method, of one image, averaged over the prompts that are there.

    Attributes:
        methods: The ways to a map.
        fills: What pixels are replaced by.
        steps: How many equal steps the whole image is taken away in.
        seed: Of all that is by chance, together with the image.
        batch_size: Changed images in one forward pass.
    """

    methods: MapMethods
    fills: tuple[str, ...]
    steps: int
    seed: int
    batch_size: int

    @cached_property
    def fractions(self) -> Floats:
        """Shares of the image that are replaced, from 0 to 1."""
        return np.arange(self.steps + 1) / self.steps

    def __call__(self, maps: Floats, example: Example, trace: Trace) -> Values:
        """Give `value` (candidate, column) and `curve` (candidate, fill, order, score, fraction)."""
        one_input(trace)
        shown, columns = Shown.of(self.methods, example, trace), columns_of(self.fills)
        axes = ("candidate", "fill", "order", "score", "fraction")
        if not shown.present.any():
            nothing = (len(maps), len(self.fills), len(ORDERS), 2, self.steps + 1), (len(maps), len(columns))
            curves, table = (np.full(shape, np.nan) for shape in nothing)
            return {"value": (("candidate", "column"), table), "curve": (axes, curves)}
        curves = self._curves(maps[:, shown.present], shown, trace)
        values = self._areas(curves) | _of_masks(maps[:, shown.present], shown, trace) | _of_absent(maps, shown, trace)
        values |= self._of_changes(maps[:, shown.present], shown, trace)
        values["seconds"] = np.array([self._seconds(method, shown, trace) for method in self.methods.methods])
        table = np.stack([values[name] for name in columns], axis=1)
        return {"value": (("candidate", "column"), table), "curve": (axes, curves)}

    def _chance(self, trace: Trace) -> int:
        """Give a seed that belongs to the image: its numbers do not hang on the images before it."""
        return int(fingerprint([trace.pixels, self.seed]), 16) % 2**62

    def _curves(self, maps: Floats, shown: Shown, trace: Trace) -> Floats:
        """Take pixels away and put them back: `(method, fill, order, score, fraction)`, mean over prompts.

        The scores are the cosine with the prompt, and whether the prompt is first among its rivals.
        """
        visible, seed = visible_pixels(trace.geometry), self._chance(trace)
        ranks = pixel_ranks(on_input(maps, trace.geometry), visible, seed).reshape(-1, *visible.shape)
        counts = np.rint(self.fractions * visible.sum()).astype(int)
        assert trace.pixels is not None
        curves = []
        for fill in self.fills:
            blank = replacement(fill, trace.pixels, visible, self.methods.model.preprocess, seed)
            blank = torch.where(torch.from_numpy(visible), blank, trace.pixels)
            cosines = self._scored(trace.pixels, blank, ranks, counts[1:-1].tolist())
            curves.append(_scores(cosines.reshape(*maps.shape[:2], *cosines.shape[1:]), shown))
        return np.stack(curves, axis=1)

    def _scored(self, pixels: Tensor, blank: Tensor, ranks: np.ndarray, counts: list[int]) -> Floats:
        """Score all changed images: cosines with all prompts, `(map, order, fraction, prompt)`, both ends included."""
        batches = perturbed(pixels, blank, ranks, counts, self.batch_size)
        inner = torch.cat([self._cosines(torch.stack([pixels, blank])), *map(self._cosines, batches)]).numpy()
        ends, inner = inner[:2], inner[2:].reshape(len(ranks), len(ORDERS), len(counts), -1)
        first = np.broadcast_to(ends[None, :, None], (len(ranks), 2, 1, inner.shape[-1]))
        return np.concatenate([first, inner, first[:, ::-1]], axis=2)

    def _cosines(self, inputs: Tensor) -> Tensor:
        embedding = F.normalize(embed_inputs(self.methods.model, inputs).double(), dim=-1)
        return embedding @ self.methods.vectors.double().T

    def _areas(self, curves: Floats) -> dict[str, Floats]:
        """Take the areas: of the cosine over all pixels, and of being first over half of them."""
        half = self.fractions <= HALF
        areas = {}
        for at, fill in enumerate(self.fills):
            for turn, order in enumerate(ORDERS):
                cosine, first = curves[:, at, turn, 0], curves[:, at, turn, 1]
                areas[f"{order}_{fill}"] = area_under(cosine, self.fractions)
                areas[f"{order}_top1_{fill}"] = area_under(first[:, half], self.fractions[half])
        return areas

    def _of_changes(self, maps: Floats, shown: Shown, trace: Trace) -> dict[str, Floats]:
        """Compare maps with those of random weights, of random texts, and of the image flipped and moved."""
        methods, chance = self.methods, self._chance(trace)
        assert trace.pixels is not None
        vectors = methods.vectors[torch.from_numpy(shown.present)]
        down, right = trace.geometry.cell
        across = trace.geometry.grid[1] * right
        changed = torch.stack([flipped(trace.pixels, across), shifted(trace.pixels, down, right)])
        mirror, moved = trace_inputs(methods.model, trace, changed, methods.paths)
        twin = redrawn(methods.model, chance)
        (blind,) = trace_inputs(twin, trace, trace.pixels[None], methods.paths)
        noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(chance), dtype=torch.float64)
        texts = F.normalize(noise, dim=-1).to(vectors.dtype)
        back = np.flip(methods.drawn(methods.model, mirror, vectors), -1)
        inner = methods.drawn(methods.model, moved, vectors)[..., 1:, 1:]
        visible, wide = trace.geometry.in_sight, min(trace.geometry.grid) >= 3
        return {
            "random_weights": _mean(_alike(maps, methods.drawn(twin, blind, vectors), visible) ** 2),
            "random_text": _mean(_alike(maps, methods.drawn(methods.model, trace, texts), visible) ** 2),
            "flip": _mean(_alike(maps, back, visible)),
            "shift": _mean(_alike(maps[..., :-1, :-1], inner, visible[:-1, :-1]))
            if wide
            else np.full(len(maps), np.nan),
        }

    def _seconds(self, method: MapMethod, shown: Shown, trace: Trace) -> float:
        """Time a method by itself, from the tower's input to the maps of the prompts that are there."""
        model, vectors = self.methods.model, self.methods.vectors[torch.from_numpy(shown.present)]
        assert trace.pixels is not None
        start = perf_counter()
        if method.traced:
            (trace,) = trace_inputs(model, trace, trace.pixels[None], [method.path or self.methods.paths[0]])
        method.maps(model, trace, vectors)
        return perf_counter() - start


def _scores(cosines: Floats, shown: Shown) -> Floats:
    """From `(method, present prompt, order, fraction, prompt)` to `(method, order, score, fraction)`."""
    at = np.flatnonzero(shown.present)[:, None, None, None]
    own = np.take_along_axis(cosines, np.broadcast_to(at, (*cosines.shape[:-1], 1)), -1)[..., 0]
    rivals = shown.rivals[:, None, None]
    best = np.where(rivals, cosines, -np.inf).max(-1)
    first = np.where(rivals.any(-1), own > best, np.nan)
    return np.stack([own.mean(1), _mean(np.moveaxis(first, 1, -1))], axis=2)


def _of_masks(maps: Floats, shown: Shown, trace: Trace) -> dict[str, Floats]:
    if shown.truth is None:
        return dict.fromkeys(("pointing", "energy", "right_object"), np.full(len(maps), np.nan))
    areas = cell_areas(trace.geometry).ravel()
    there = areas > 0
    truth = GroundTruth(shown.truth.shares[:, there], shown.truth.centred[:, there])
    flat, areas = maps.reshape(*maps.shape[:2], -1)[..., there], areas[there]
    return {
        "pointing": pointing(flat, truth).mean(1),
        "energy": energy(flat, truth, areas).mean(1),
        "right_object": right_object(flat, truth, areas).mean(1),
    }


def _of_absent(maps: Floats, shown: Shown, trace: Trace) -> dict[str, Floats]:
    visible = maps[..., trace.geometry.in_sight]
    numbers = {"absent_peak": visible.max(-1), "absent_mean": visible.mean(-1)}
    return {name: above(each[:, shown.present], each[:, shown.absent]) for name, each in numbers.items()}


def _alike(maps: Floats, others: Floats, visible: Bools) -> Floats:
    """Rank correlation of maps `(method, prompt, y, x)` where visible: NaN of a flat map, 0 with a flat one."""
    maps, others = (np.ascontiguousarray(each[..., visible]) for each in (maps, others))
    alike = spearman(torch.from_numpy(maps), torch.from_numpy(others)).numpy()
    return np.where(np.isnan(alike) & (np.ptp(maps, axis=-1) > 0), 0.0, alike)


def _mean(values: Floats) -> Floats:
    """Average the last axis over what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(-1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)
