"""Which images of a store a text is listed in best, and where."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import PromptError
from denseclip_viz.features.best_rows import COLUMNS, BestRows
from denseclip_viz.features.feature_rows import Block
from denseclip_viz.features.feature_store import FeatureStore, Texts
from denseclip_viz.maps.similarity import PLACES, named
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import is_whole, one_of

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import PromptsLike


@guarded
def search(
    store: FeatureStore, texts: Texts, prompts: PromptsLike, *, k: int = 20, by: str = "global", path: str | None = None
) -> xr.Dataset:
    """Find the images in which each prompt scores highest, in each template; no forward pass is made.

    The answer is that of sorting all scores; equal ones are in the order of the images. Scores are made and let go
    block by block: memory does not grow with the number of images.

    Args:
        store: A store of features.
        texts: The model that encoded the images, or the prompts' vectors `(template, prompt, D)`.
        prompts: Texts, or `Prompts`.
        k: How many images.
        by: `"global"` for the cosine with the global embedding, `"dense"` for that at the peak of the dense map.
        path: Whose dense features; the first path's by default.

    Returns:
        `score` `(template, prompt, rank)`, a raw cosine, with the `image` (its name), its `number` in the store, and
        its `file`; by `"dense"` also `y` and `x`, the peak's centre in pixels of the image.

    Raises:
        PromptError: vectors that do not fit, or no such `by` or `k`.
        LayerError: another model, or features that are not kept.
        OutputError: a damaged file.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, names = dcv.load(), ("a red car on grass", "a blue house on grass")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scenes = [dcv.toyworld.scene(name, size=128) for name in names]
        ...     store = dcv.features.encode(model, scenes, folder, progress=False)
        ...     dcv.features.search(store, model, ["a house"], k=1).number.values.tolist()
        [[[1]]]
    """
    one_of(by, ("global", "dense"), "by", error=PromptError)
    if not is_whole(k, 1):
        raise PromptError(f"k={k!r}", expected="a whole number of images, at least 1", fix="Pass for example k=20.")
    chosen = Prompts.of(prompts)
    vectors = store.vectors(texts, chosen)
    flat = vectors.flatten(0, 1)
    bests = [BestRows(len(part), min(k, len(store))) for part in flat.split(COLUMNS)]
    room = torch.empty(0)  # for scores, used again: new memory takes a third as long as the product that fills it
    for block in store.rows.blocks(by, path):
        padding = _padding(store, block)
        if room.numel() < len(block.rows) * COLUMNS:
            room = torch.empty(len(block.rows) * COLUMNS)
        for best, part in zip(bests, flat.split(COLUMNS), strict=True):
            best.add(**_scored(block, part, room, padding))
    scores, numbers, places = (
        np.concatenate([getattr(best, name) for best in bests]).reshape(*vectors.shape[:2], -1)
        for name in ("scores", "numbers", "places")
    )
    return _labelled(store, chosen, by, scores.clip(-1, 1), numbers, places)


def lowest(store: FeatureStore, vectors: Tensor, path: str | None = None) -> float:
    """Find the lowest cosine of texts, unit vectors `(text, D)`, with any position of any image, not of padding."""
    lows = []
    for block in store.rows.blocks("dense", path):
        padding = _padding(store, block)
        rows = block.rows if padding is None else block.rows[~padding.ravel()]
        lows.append((rows @ vectors.T).min())
    return float(min(lows))


def _padding(store: FeatureStore, block: Block) -> np.ndarray | None:
    """Mark the positions `(image, cell)` of nothing but padding; None where there are none."""
    if block.grid == (1, 1):
        return None
    geometries = [store.images[number].geometry for number in block.images]
    in_sight = np.stack([_in_sight(geometry) for geometry in geometries])
    return None if in_sight.all() else ~in_sight


@lru_cache(maxsize=256)
def _in_sight(geometry: Any) -> np.ndarray:
    """Mark the cells of a geometry that were seen, in one row: kept, as most images of a store have one of a few."""
    cells: np.ndarray = geometry.in_sight.ravel()
    return cells


def _scored(block: Block, texts: Tensor, room: Tensor, padding: np.ndarray | None) -> dict[str, Any]:
    """Score the images of a block: their rows, or the highest of their positions, with its place on the grid."""
    shape = (len(block.rows), len(texts))
    scores = torch.mm(block.rows, texts.T, out=room[: shape[0] * shape[1]].view(shape)).numpy()
    cells = block.grid[0] * block.grid[1]
    if cells == 1:
        return {"scores": scores, "first": block.images.start}
    maps = scores.reshape(len(block.images), cells, -1)
    if padding is not None:
        maps[padding] = -np.inf
    places = maps.argmax(1)
    return {"scores": np.take_along_axis(maps, places[:, None], 1)[:, 0], "first": block.images.start, "places": places}


def _labelled(store: FeatureStore, prompts: Prompts, by: str, scores: Any, numbers: Any, places: Any) -> xr.Dataset:
    import xarray as xr

    dims = ("template", "prompt", "rank")
    data: dict[str, Any] = {"score": (dims, scores, named(f"{by} features against text")), "number": (dims, numbers)}
    for name, field in {"image": "name", "file": "file"}.items():
        data[name] = (dims, np.array(list(map(attrgetter(field), store.images)), dtype=object)[numbers])
    if by == "dense":
        pairs = zip(numbers.ravel(), places.ravel(), strict=True)
        centres = np.array([_centre(store.images[number].geometry, place) for number, place in pairs])
        for axis, name in enumerate(("y", "x")):
            data[name] = (dims, centres[:, axis].reshape(numbers.shape), PLACES[name])
    coords: dict[str, Any] = {"template": list(prompts.templates), "prompt": list(prompts.prompts)}
    coords |= {"rank": np.arange(1, scores.shape[-1] + 1), "absent": ("prompt", np.array(prompts.absent, dtype=bool))}
    attrs = {**store.provenance, "by": by, "images": len(store), "error": store.error}
    return xr.Dataset(data, coords=coords, attrs=attrs)


def _centre(geometry: Any, place: int) -> tuple[float, float]:
    """Find the middle of what was seen of a cell, as `peak_place` does; windows kept apart have no padding."""
    y, x = divmod(int(place), geometry.grid[1])
    if not geometry.apart and (middle := geometry.placement().middle_of((y, x))):
        return middle[0] - 0.5, middle[1] - 0.5
    return float(geometry.y[y]), float(geometry.x[x])
