"""Global against dense: maps that share one unit, and numbers that say how far the two agree.

All maps are in cosine units: dense is cos(F_j, t), contribution is C_j·t/‖e‖, and contributions and rest sum to the
score cos(e, t) exactly. So does the gap, to what an even look would change:

    gap_j = Σ_h (1/L − A_hj) (W_h v_hj · t) / ‖e‖        Σ_j gap_j + Σ gap_rest = even_score − score

L counts the tokens that the pool attends to; what stands behind the pool, and ‖e‖, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.errors import GeometryError
from denseclip_viz.maps.similarity import DENSE, attributes, coordinates, cosine_maps, named, wording
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr

TEXTS = ("template", "prompt")
MAPS = (*TEXTS, "y", "x")
ABOUT = {
    "dense": DENSE,
    "contribution": named("what a position adds to the score"),
    "gap": named("what it would add under an even look, minus what it adds"),
    "attention": named("pooling weight, mean over heads", "1"),
    "attention_heads": named("pooling weight", "1"),
    "score": named("global embedding against text"),
    "even_score": named("score under an even look"),
    "rest": named("what a term of no position adds to the score"),
    "gap_rest": named("what it would add under an even look, minus what it adds"),
    "crowding": named("score of the best position alone, minus the score"),
    "global_vs_mean_dense": named("global embedding against the mean of dense features"),
    "global_vs_attended_dense": named("global embedding against dense features weighed by attention"),
    "spearman": named("rank correlation of dense and contribution", "1"),
    "same_peak": named("dense and contribution have one peak", "1"),
    "attention_in_top_decile": named("share of the attention on the top tenth of dense", "1"),
}
Labelled = tuple[tuple[str, ...], Tensor]


def compare(trace: Trace, vectors: Tensor, prompts: Prompts) -> xr.Dataset:
    """Put the pooled answer and the dense map of every text side by side.

    Args:
        trace: One opened image.
        vectors: `(template, prompt, D)`, the texts' vectors, of any length.
        prompts: Their names.

    Returns:
        `dense, contribution, gap` (template, prompt, y, x), `score, even_score` (template, prompt), `rest, gap_rest`
        (template, prompt, term), `attention` (y, x), `attention_heads` (head, y, x), `crowding` (template, prompt), the
        agreement numbers, and `image`. Each map can be taken out and used as what `similarity` returns. Of a trace of a
        list of paths, what hangs on dense features (`dense`, `crowding`, the agreement numbers) has an axis `path`
        before the others.

    The gap is what a position would add to the score if the pool looked everywhere alike, minus what it adds: positive
    where the pool makes less of it than an even look would. It is zero where the pool is a mean. It sees a thing only
    if the pool looks at it less than evenly, which the bundled models do to background alone.

    A thing can score low all the same, because others share the one vector. Crowding is what the image would score if
    the pool looked at the prompt's best position alone, minus what it scores: the peak of dense minus the score. A
    peak is the highest of many, so it is judged beside that of absent prompts.
    """
    import xarray as xr

    texts = F.normalize(vectors.to(trace.dense.dtype), dim=-1)
    contribution, rest = _added(trace, texts, trace.contributions, trace.rest)
    even, even_rest = _added(trace, texts, trace.even, {**trace.rest, **trace.even_rest})
    score = texts @ F.normalize(trace.global_embedding, dim=0)
    views = _along_paths(trace, vectors, contribution, score)
    data = {
        "dense": views.pop("dense"),
        "contribution": (MAPS, contribution),
        "gap": (MAPS, even - contribution),
        "attention": (("y", "x"), trace.attention.mean(0)),
        "attention_heads": (("head", "y", "x"), trace.attention),
        "score": (TEXTS, score),
        "even_score": (TEXTS, even.sum((-2, -1)) + even_rest.sum(-1)),
        "rest": ((*TEXTS, "term"), rest),
        "gap_rest": ((*TEXTS, "term"), even_rest - rest),
        **views,
    }
    # maps carry it too, so that one taken out still says where it lies and whose it is
    attrs = attributes(trace) | wording(prompts)
    variables = {
        name: (dims, np.asarray(values), (attrs if "y" in dims else {}) | ABOUT[name])
        for name, (dims, values) in data.items()
    }
    variables["image"] = (("row", "column", "rgb"), trace.image, {})
    names = {"term": list(trace.rest), "head": np.arange(trace.attention.shape[0])}
    names |= {"path": list(trace.paths)} if trace.has_path_axis else {}
    return xr.Dataset(variables, coords={**coordinates(trace, prompts), **names}, attrs=attrs)


def _along_paths(trace: Trace, vectors: Tensor, contribution: Tensor, score: Tensor) -> dict[str, Labelled]:
    """Compute what hangs on dense features: their map, crowding and the agreement numbers, each for every path."""

    def views(features: Tensor) -> dict[str, Labelled]:
        dense = cosine_maps(features, vectors)  # as `similarity` does, to the last bit
        numbers = agreement(trace, features, dense, contribution)
        highest = dense[..., torch.from_numpy(trace.geometry.in_sight)].amax(-1)
        return {"dense": (MAPS, dense), "crowding": (TEXTS, highest - score), **numbers}

    if not trace.has_path_axis:
        return views(trace.dense)
    every = [views(features) for features in trace.dense]
    return {
        name: (("path", *dims), torch.stack([views[name][1] for views in every]))
        for name, (dims, _) in every[0].items()
    }


def _added(trace: Trace, texts: Tensor, positions: Tensor, rest: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Say what positions, and the terms of the rest, add to each text's score."""
    along = texts / trace.global_embedding.norm()
    return torch.einsum("yxd,tpd->tpyx", positions, along), torch.stack([along @ t for t in rest.values()], dim=-1)


def agreement(trace: Trace, features: Tensor, dense: Tensor, contribution: Tensor) -> dict[str, Labelled]:
    """Count how far global and dense agree, as a whole and for each text.

    - `global_vs_mean_dense`, `global_vs_attended_dense`: cosine of the global embedding with the plain and with the
      attention-weighted mean of the dense features,
    - `spearman`: rank correlation of dense and contribution (NaN for a constant map),
    - `same_peak`: whether the peak is the same,
    - `attention_in_top_decile`: share of the positions' attention that falls in the top tenth of the dense map.

    Ranks, peaks and the top tenth are of positions where the model saw something of the image, not of padding.
    """
    attention, in_sight = trace.attention.mean(0), torch.from_numpy(trace.geometry.in_sight)
    visible, added = dense[..., in_sight], contribution[..., in_sight]
    attended = (features * attention[..., None]).sum((0, 1))
    shares = (attention[in_sight] * (visible >= _top_decile(visible))).sum(-1) / attention.sum()
    per_text = ("template", "prompt")
    return {
        "global_vs_mean_dense": ((), _cosine(trace.global_embedding, features.mean((0, 1)))),
        "global_vs_attended_dense": ((), _cosine(trace.global_embedding, attended)),
        "spearman": (per_text, spearman(visible, added)),
        "same_peak": (per_text, visible.argmax(-1) == added.argmax(-1)),
        "attention_in_top_decile": (per_text, shares),
    }


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation along the last axis; ties share their mean rank; NaN where either is constant.

    Example:
        >>> spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 9.0])).item()
        1.0
    """
    a, b = (_ranks(values) for values in (a, b))
    a, b = (ranks - ranks.mean(-1, keepdim=True) for ranks in (a, b))
    return ((a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()).clamp(-1, 1)


def _ranks(values: Tensor) -> Tensor:
    import pandas as pd

    rows = values.reshape(-1, values.shape[-1]).numpy()
    return torch.from_numpy(pd.DataFrame(rows).rank(axis=1).to_numpy(copy=True)).reshape(values.shape)


def _top_decile(maps: Tensor) -> Tensor:
    count = max(1, round(maps.shape[-1] / 10))
    return maps.topk(count, dim=-1).values[..., -1:]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a, b, dim=0)


def with_layer_readout(
    both: xr.Dataset, readouts: Mapping[str, tuple[Tensor, Tensor]], vectors: Tensor, layer_readout: str
) -> xr.Dataset:
    """Add layers that were read in text space.

    Args:
        both: What `compare` returned.
        readouts: `{layer: (global (D,), dense (y, x, D))}`.
        vectors: `(template, prompt, D)`.
        layer_readout: One line that says how they were read, printed on figures.
    """
    pooled = torch.stack([embedding for embedding, _ in readouts.values()])
    dense = torch.stack([positions for _, positions in readouts.values()])
    texts = F.normalize(vectors.to(dense.dtype), dim=-1)
    data = {
        "layer_dense": (("layer", *MAPS), cosine_maps(dense, texts).numpy(), both["dense"].attrs),
        "layer_score": (("layer", "template", "prompt"), _scores(pooled, texts).numpy()),
        "layer_agreement": (("layer",), F.cosine_similarity(pooled, dense.mean((1, 2)), dim=-1).numpy()),
    }
    return _with(both, data, list(readouts), layer_readout)


def _scores(pooled: Tensor, texts: Tensor) -> Tensor:
    return torch.einsum("ld,tpd->ltp", F.normalize(pooled, dim=-1), texts)


def with_gradients(
    both: xr.Dataset,
    maps: Mapping[str, tuple[Tensor, Tensor]],
    layer_readout: str,
    *,
    shifts: Sequence[tuple[float, float]] = (),
) -> xr.Dataset:
    """Add layers that were read by gradients; coarser grids repeat their cells up to the finest.

    GeometryError where they cannot: of an input that is not padded to whole cells, a rest fills cells of some layers
    alone.

    `layer_cells` (layer) is how many cells each has itself: mean of a map x cells is its sum in cosine units.
    `layer_shift` (layer, axis) is there where cells see beside their middle: a layer's own `Geometry.shift`.

    Args:
        both: What `compare` returned.
        maps: `{layer: (global (template, prompt, y, x), dense (template, prompt, y, x))}`, in cosine units.
        layer_readout: One line that says how they were read, printed on figures.
        shifts: The shift of each layer; none where no cell sees beside its middle.
    """
    finest = max((pooled.shape[-2:] for pooled, _ in maps.values()), key=lambda grid: grid[0] * grid[1])
    for name, (pooled, _) in maps.items():
        _check_grid(name, pooled.shape[-2:], finest)
    dims = ("layer", "template", "prompt", "fine_y", "fine_x")
    fine = [np.stack([_repeat(pair[i], finest) for pair in maps.values()]) for i in (0, 1)]
    cells = np.array([pooled.shape[-2] * pooled.shape[-1] for pooled, _ in maps.values()])
    data: dict[str, tuple[Any, ...]] = {
        "layer_global_gradient": (dims, fine[0]),
        "layer_dense_gradient": (dims, fine[1]),
    }
    data |= {"layer_cells": (("layer",), cells)}
    data |= {"layer_shift": (("layer", "axis"), np.array(shifts))} if np.any(shifts) else {}
    return _with(both, data, list(maps), layer_readout)


def _with(both: xr.Dataset, data: Mapping[str, tuple[Any, ...]], layers: list[str], layer_readout: str) -> xr.Dataset:
    added: xr.Dataset = both.assign(data).assign_coords(layer=layers).assign_attrs(layer_readout=layer_readout)
    return added


def _check_grid(name: str, grid: tuple[int, ...], finest: tuple[int, ...]) -> None:
    """Refuse cells that would be repeated unequally: means would not be sums, and cells lie beside their place."""
    if finest[0] % grid[0] or finest[1] % grid[1]:
        got = f"{name} has {grid[0]} x {grid[1]} cells, the finest layer {finest[0]} x {finest[1]}"
        fix = "Trace with geometry='whole', which pads the image to whole cells."
        raise GeometryError(got, expected="a multiple, so that layers can be laid over each other", fix=fix)


def _repeat(maps: Tensor, grid: tuple[int, ...]) -> np.ndarray:
    rows, columns = grid[0] // maps.shape[-2], grid[1] // maps.shape[-1]
    return np.asarray(maps.repeat_interleave(rows, -2).repeat_interleave(columns, -1))


def own_cells(maps: np.ndarray, cells: int) -> np.ndarray:
    """Undo the repetition of a coarse layer's cells up to the finest grid, by how many it has: `layer_cells`."""
    rows, columns = maps.shape[-2:]
    times = round((rows * columns / cells) ** 0.5)
    coarse = maps[..., ::times, ::times]
    same = np.array_equal(coarse.repeat(times, -2).repeat(times, -1), maps)
    return coarse if same else maps
