"""Maps that spread over positions which another model finds alike: LPOSS (arXiv 2503.19777), on the grid.

    (I - α W) X = Y,   W = D^-1/2 (S + Sᵀ) D^-1/2 without its diagonal
    S_ij = max(cos(f_i, f_j), 0)³ exp(-decay · |p_i - p_j|)   for the 400 nearest j of each i

Written from the formulas; its second half, a graph of pixels, is left out.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.given import features_on
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import LayerError
from denseclip_viz.validation import is_number, is_whole

_ROWS = 1024  # of the graph that are compared at once


@guarded
def propagate(
    scores: ArrayLike | Tensor,
    features: ArrayLike | Tensor,
    *,
    share: float = 0.95,
    neighbours: int = 400,
    power: float = 3.0,
    decay: float = 0.16,
    steps: int = 10,
) -> Tensor:
    """Let positions that another model finds alike share their scores, by conjugate gradients.

    Args:
        scores: `(…, y, x)`, raw cosines, such as `model.similarity(…)`.
        features: `(y, x, C)` of the same image by another model; they are resized to the grid.
        share: α, from 0, which leaves scores as they are, to below 1.
        neighbours: Positions that each is tied to.
        power: Of the cosines of features.
        decay: How fast ties fall off with the distance in positions; the published 0.01 a pixel is 0.16 a patch of 16.
        steps: Conjugate gradients at most; they stop before at a relative residual of 1e-6.

    Returns:
        `(…, y, x)`, scores and no cosines any more: up to 1 / (1 - α) times as large.

    Raises:
        LayerError: Features of other proportions, or numbers that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> features = torch.tensor([[[1.0, 0], [1, 0], [0, 1]]])
        >>> dcv.maps.propagate(torch.tensor([[1.0, 0.0, 0.0]]), features).round(decimals=1)
        tensor([[10.3000,  9.7000,  0.0000]])
    """
    numbers = is_number(share, 0, 1) and share < 1 and is_number(power, 0) and is_number(decay, 0)
    maps = _tensor(scores)
    if not (numbers and is_whole(neighbours, 1) and is_whole(steps, 1) and maps.ndim >= 2 and maps.is_floating_point()):
        got = f"scores {tuple(maps.shape)}, {share=}, {neighbours=}, {power=}, {decay=}, {steps=}"
        expected = (
            "scores (…, y, x), 0 <= share < 1, whole numbers from 1 of neighbours and steps, power and decay from 0"
        )
        raise LayerError(got, expected=expected, fix="Leave numbers out for the published ones.")
    grid = int(maps.shape[-2]), int(maps.shape[-1])
    graph = _graph(features_on(_tensor(features), grid)[0].double(), grid, neighbours, power, decay)
    solved = [_solve(graph, share, y, steps) for y in maps.detach().cpu().double().reshape(-1, graph.shape[0]).numpy()]
    return torch.from_numpy(np.stack(solved)).to(maps.dtype).view_as(maps)


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))  # xarray's go by NumPy


def _graph(features: Tensor, grid: tuple[int, int], neighbours: int, power: float, decay: float) -> Any:
    """Tie each position to those whose features are nearest; ties are shared out over both ends."""
    from scipy import sparse

    unit, count = F.normalize(features.cpu(), dim=-1), len(features)
    axes = [torch.arange(size, dtype=torch.float64) for size in grid]
    places = torch.cartesian_prod(*axes).view(-1, 2)
    ties, ends = [], []
    for start in range(0, count, _ROWS):
        nearest = (unit[start : start + _ROWS] @ unit.T).topk(min(neighbours, count))
        away = (places[start : start + _ROWS, None] - places[nearest.indices]).norm(dim=-1)
        ties.append(nearest.values.clamp_min(0) ** power * torch.exp(-decay * away))
        ends.append(nearest.indices)
    data, columns = torch.cat(ties).numpy(), torch.cat(ends).numpy()
    rows = np.repeat(np.arange(count), data.shape[1])
    graph = sparse.coo_array((data.ravel(), (rows, columns.ravel())), shape=(count, count)).tocsr()
    graph = graph + graph.T
    graph.setdiag(0)
    sums = graph.sum(1)
    root = sparse.diags_array(np.where(sums > 0, sums, 1) ** -0.5)
    return root @ graph @ root


def _solve(graph: Any, share: float, scores: np.ndarray, steps: int) -> np.ndarray:
    from scipy import sparse
    from scipy.sparse.linalg import cg

    system = sparse.eye_array(len(scores)) - share * graph
    solved: np.ndarray = cg(system, scores, rtol=1e-6, maxiter=steps)[0]
    return solved
