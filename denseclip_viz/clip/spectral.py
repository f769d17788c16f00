"""Attention by the graph that another model's features make of an image, head by head: CASS (arXiv 2411.17150).

    A_h = s k_h k_hᵀ                CLIP's graph of a head, of its keys k
    B_g = s k'_g k'_gᵀ              the other's, of the features given, all of them moved into the range of all k
    D_gh = Σ |λ(B_g) - λ(A_h)|      of the 20 largest eigenvalues, divided by their sum
    g → h                           the pairs that differ most in all: a head gets the structure that it lacks
    B_g ← Σ_i λ'_i u_i u_iᵀ         its largest eigenvalues, which hold 0.95 of the sum, stretched from [a, b] to
                                    [a / 2, 3 b / 2]; then without its diagonal, moved into the range of A_h
    logits_h = (10 D_gh B_g + A_h) / (10 D_gh + 1)

Written from the formulas. The released code differs in two ways: pairs are read the other way round, graph h for head
g, and every graph keeps ten eigenvalues, for their sum is compared with itself. That is a kind of attention of its own.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.errors import LayerError

_COMPARED, _RANK, _HELD, _SHARE = 20, 10, 0.95, 10.0
_TIED = 1e-9  # less than distances differ by where they do
_NOTHING = 1e-12  # of the largest eigenvalue: below it there is no direction


def spectral_logits(keys: Tensor, features: Tensor, scale: float, *, released: bool) -> Tensor:
    """Make the logits of positions for each other, `(head, position, position)`.

    Args:
        keys: CLIP's, `(head, position, channel)`.
        features: Another model's, such as its keys, `(position, C)`; heads share its channels out.
        scale: What products are multiplied by.
        released: As the released code does it.

    Raises:
        LayerError: Channels that heads cannot share out, or keys that overflowed.

    Example:
        >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
        >>> spectral_logits(keys, torch.tensor([[1.0], [1.0], [0.0]]), 1.0, released=False)[0].round(decimals=2)
        tensor([[0.1300, 0.8700, 0.0000],
                [0.8700, 0.1300, 0.1300],
                [0.0000, 0.1300, 0.1300]])
    """
    heads = keys.shape[0]
    if features.shape[-1] % heads:
        got, expected = f"given features of {features.shape[-1]} channels", f"a multiple of {heads}, one for each head"
        raise LayerError(got, expected=expected, fix="Give the keys of the other model, all of its heads in a row.")
    if not bool(keys.isfinite().all()):
        fix = "Load the model in single precision."
        raise LayerError(f"keys of {keys.dtype} beyond what it holds", expected="finite keys", fix=fix)
    # eigenvalues turn far in single precision, and some devices have no double
    own, other = keys.to("cpu", torch.float64), features.to("cpu", torch.float64)
    other = into_range(other.unflatten(-1, (heads, -1)).movedim(1, 0), own)
    values, turns = _eigen(other, scale)
    apart = torch.cdist(_shape(values), _shape(_eigen(own, scale)[0]), p=1)
    logits = keys.new_empty(heads, keys.shape[1], keys.shape[1])
    for graph, head in _pairs(apart):
        share = _SHARE * apart[graph, head]
        taken, into = (head, graph) if released else (graph, head)
        part = _largest(other[taken], values[taken], turns[taken], scale, _RANK if released else None)
        plain = scale * own[into] @ own[into].mT
        logits[into] = ((share * into_range(part, plain) + plain) / (share + 1)).to(keys)
    return logits


def into_range(values: Tensor, like: Tensor) -> Tensor:
    """Move numbers linearly into the range of others.

    Example:
        >>> into_range(torch.tensor([0.0, 1.0, 4.0]), torch.tensor([10.0, 18.0]))
        tensor([10., 12., 18.])
    """
    return _moved(values, like.min(), like.max())


def _moved(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    least, most = values.min(), values.max()
    tiny = torch.finfo(values.dtype).tiny  # all alike: all are lowest
    return (values - least) / (most - least).clamp_min(tiny) * (high - low) + low


def _eigen(tokens: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Give the eigenvalues of s k kᵀ, largest first, and what turns k to their vectors.

    Those of s kᵀ k, smaller as a rule, are the same, and as many as there are positions: the others are 0.
    """
    values, turns = torch.linalg.eigh(scale * tokens.mT @ tokens)
    channels, positions = tokens.shape[-1], tokens.shape[-2]
    others = (0, positions - channels)  # below 0: those that are cut off
    return F.pad(values.flip(-1).clamp_min(0), others), F.pad(turns.flip(-1), others)


def _shape(values: Tensor) -> Tensor:
    """Give the largest eigenvalues as shares of their sum."""
    compared = values[:, :_COMPARED]
    return compared / compared.sum(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)


def _pairs(apart: Tensor) -> list[tuple[int, int]]:
    """Pair graphs with heads.

    Spectra that cross each other at one place have distances which are a number of the graph less one of the head, so
    that many pairings sum to the same. The order of heads decides between these, and not the rounding of a machine.
    """
    from scipy.optimize import linear_sum_assignment

    order = torch.arange(len(apart), dtype=apart.dtype)
    rows, columns = linear_sum_assignment(apart.detach() + _TIED * order[:, None] * order, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _largest(tokens: Tensor, values: Tensor, turns: Tensor, scale: float, rank: int | None) -> Tensor:
    """Give the part of a graph that is of its largest eigenvalues, stretched, without its diagonal."""
    if rank is None:
        rank = int((values.cumsum(0) < _HELD * values.sum()).sum()) + 1
    values, turns = values[:rank], turns[:, :rank]
    is_some = values > _NOTHING * values[0]
    length = torch.where(is_some, values / scale, torch.ones_like(values)).sqrt()
    vectors = torch.where(is_some, tokens @ turns / length, 0.0)
    part = vectors * _moved(values, values.min() / 2, 1.5 * values.max()) @ vectors.mT
    return part.fill_diagonal_(0)
