"""Vectors of a store as points: which they are, and all of them again, some at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.features.feature_rows import FeatureRows
from denseclip_viz.features.feature_store import FeatureStore
from denseclip_viz.validation import is_whole, many, one_of

if TYPE_CHECKING:
    import xarray as xr

MOST = 2_000_000  # points that are held and drawn at once: 16 MB of coordinates, and 8 in the browser
FEWEST = 3  # so that each has a neighbour, and one that is none
SEED = 0  # of samples, so that the same call gives the same points
Images = Sequence[int | str | os.PathLike[str]] | None


@dataclass(frozen=True, eq=False)
class Points:
    """Which vectors of a store are points, in the order of its images, and within an image of its cells.

    Attributes:
        store: The store.
        of: `"global"` or `"dense"`.
        path: Whose dense features.
        numbers: Of the image of each point.
        cells: Each point's position on the grid of its image, counted row by row; 0 of a global embedding.
        total: How many there are to choose from.
    """

    store: FeatureStore
    of: str
    path: str | None
    numbers: NDArray[np.int64]
    cells: NDArray[np.int64]
    total: int

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Go through all points, image by image: which they are, and their unit vectors `(point, D)` in fp32."""
        order = np.argsort(self.numbers, kind="stable")  # a layout may be sorted by anything
        images, at = np.unique(self.numbers[order], return_inverse=True)
        known = self.store.rows
        rows = FeatureRows(tuple(known.images[i] for i in images), known.keep, known.paths, known.reader)
        for block in rows.blocks(self.of, self.path):
            start, stop = np.searchsorted(at, [block.images.start, block.images.stop]).tolist()
            cells = block.grid[0] * block.grid[1]
            which = order[start:stop]
            yield which, block.rows[(at[start:stop] - block.images.start) * cells + self.cells[which]]

    def __len__(self) -> int:
        return len(self.numbers)


def choose_points(store: FeatureStore, of: str, images: Images, path: str | None, sample: int | None) -> Points:
    """Choose all vectors of images, or so many at random; never fewer than was asked for.

    Raises:
        LayerError: no such kind, path, or features that are not kept.
        ImageError: an image that there is not, or one named twice; too few points, or too many.
        PromptError: a sample that is no whole number.
    """
    one_of(of, ("global", "dense"), "of", error=LayerError)
    store.rows.check(of, path)
    if sample is not None and not is_whole(sample, FEWEST):
        got, expected = f"sample={sample!r}", f"a whole number of points, at least {FEWEST}"
        raise PromptError(got, expected=expected, fix="Pass for example sample=20000.")
    chosen = np.arange(len(store)) if images is None else _numbers_of(store, images)
    counts = np.array([1 if of == "global" else store.images[i].positions for i in chosen], dtype=np.int64)
    total = int(counts.sum())
    size = total if sample is None else min(sample, total)
    if not FEWEST <= size <= MOST:
        more = "Pass sample=20000, which is drawn at random and said, or images=."
        fix = more if size > MOST else "Encode more images, or take of='dense'."
        raise ImageError(f"{many(size, 'point')}", expected=f"{FEWEST} to {MOST:,} points", fix=fix)
    rows = np.arange(total)
    if size < total:
        rows = np.sort(np.random.default_rng(SEED).choice(total, size, replace=False, shuffle=False))
    ends = counts.cumsum()
    at = np.searchsorted(ends, rows, side="right")
    path = None if of == "global" else path or store.paths[0]
    return Points(store, of, path, chosen[at], rows - (ends - counts)[at], total)


def points_of(store: FeatureStore, layout: xr.Dataset) -> Points:
    """Take the points that `project` laid out again.

    Raises:
        LayerError: the layout of another store, or none.
    """
    try:
        numbers, cells, names = (layout[key].to_numpy() for key in ("number", "cell", "image"))
        of, path, total = (layout.attrs[key] for key in ("of", "path", "points_in_all"))
    except (KeyError, TypeError, AttributeError) as error:
        got, expected = f"a layout of type {type(layout).__name__}", "what features.project returned"
        raise LayerError(got, expected=expected, fix="Take layout = dcv.features.project(store).") from error
    model = all(layout.attrs.get(key) == store.provenance.get(key) for key in ("model", "weights_hash"))
    known = np.array(store.names, dtype=object)
    if not model or numbers.max() >= len(store) or (known[numbers] != names).any():
        got, expected = "the layout of other images or of another model", f"one of {store!r}"
        raise LayerError(got, expected=expected, fix="Take layout = dcv.features.project(store).")
    return Points(store, of, path or None, numbers, cells, int(total))


def _numbers_of(store: FeatureStore, images: Sequence[int | str | os.PathLike[str]]) -> NDArray[np.int64]:
    listed = [images] if is_whole(images) or isinstance(images, str | os.PathLike) else list(images)
    numbers = np.array([store.find(image) for image in listed], dtype=np.int64)
    unique, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        twice = store.names[int(unique[counts.argmax()])]
        raise ImageError(f"{twice} is named twice", expected="each image once", fix="Take it out.")
    return unique
