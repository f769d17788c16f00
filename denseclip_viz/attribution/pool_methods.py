"""Attributions that are read off the query that pools: its graph is one row long, however deep the tower is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.attribution.opening import Pass
from denseclip_viz.clip.towers.attention_record import merge_heads

BYTES = 2**28
"""Gradients of many texts are taken in groups of rows that stay below this."""

Gradients = Mapping[str, Tensor]


def gradients_of_rows(scores: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Take the gradients of each score, `(row,)`, in one way back for all: `(row, *input)` for each input."""
    return [torch.cat(parts) for parts in zip(*_in_groups(scores, inputs), strict=True)]


def reduced_gradients(
    scores: Tensor, inputs: Sequence[Tensor], reduce: Callable[[tuple[Tensor, ...]], Tensor]
) -> Tensor:
    """Make something small of the gradients of each group of rows, before the next are taken: one is held at a time."""
    return torch.cat(list(map(reduce, _in_groups(scores, inputs))))


def _in_groups(scores: Tensor, inputs: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    each = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    per_row = sum(x.nelement() * x.element_size() for x in inputs)
    # to look for anomalies in every gradient has no batched form
    is_watched = torch.is_anomaly_enabled() and torch.is_anomaly_check_nan_enabled()
    for rows in each.split(max(1, BYTES // max(1, per_row))):
        if is_watched:
            alone = [torch.autograd.grad(scores, inputs, row, retain_graph=True) for row in rows]
            yield tuple(torch.stack(parts) for parts in zip(*alone, strict=True))
        else:
            yield torch.autograd.grad(scores, inputs, rows, is_grads_batched=True, retain_graph=True)


def cosines(embedding: Tensor, texts: Tensor) -> Tensor:
    """Score one image, `(1, D)`, against unit vectors `(row, D)`."""
    scores: Tensor = texts @ F.normalize(embedding, dim=-1)[0]
    return scores


def pool_gradients(run: Pass, texts: Tensor, of: Sequence[str]) -> dict[str, Tensor]:
    """Take the gradients of each text's score by parts of the pool: `reads`, `normed`, `weights`, merged `heads`."""
    if not of:
        return {}
    with torch.enable_grad():
        heads = run.pool.heads()
        scores = cosines(run.pool.embedding(heads), texts)
        parts = {"reads": run.pool.reads, "normed": run.pool.normed, "weights": run.pool.weights, "heads": heads}
        return dict(zip(of, gradients_of_rows(scores, [parts[name] for name in of]), strict=True))


def gradient_x_activation(run: Pass, _texts: Tensor, gradients: Gradients) -> Tensor:
    """Sum a ⊙ ∂s/∂a over the channels of what the pool reads (Shrikumar et al., arXiv 1605.01713).

    Where it reads through a norm of its own, a stands behind that: before it the product is 0 at every position, since
    a norm does not care how large its input is.
    """
    return run.positions((gradients["normed"] * run.pool.normed).sum(-1)[:, 0])


def grad_cam(run: Pass, _texts: Tensor, gradients: Gradients) -> Tensor:
    """Weigh the channels of what the pool reads by their mean gradient (Selvaraju et al., arXiv 1610.02391)."""
    gradient, reads = (run.positions(part.transpose(-1, -2)) for part in (gradients["reads"], run.pool.reads))
    return (gradient.mean((-2, -1), keepdim=True) * reads).sum(-3)[:, 0].relu()


def relevance(run: Pass, _texts: Tensor, gradients: Gradients) -> Tensor:
    """Average (∂s/∂A ⊙ A)₊ of the pool over heads (Chefer et al., arXiv 2103.15679, from the last block on)."""
    return run.positions((gradients["weights"] * run.pool.weights).relu().mean(-2)[:, 0])


def grad_eclip(run: Pass, _texts: Tensor, gradients: Gradients) -> Tensor:
    """Weigh values by the gradient of the heads' output, and by how alike key and query are.

    ReLU(Σ_c (∂s/∂o)_c v_jc) w_j, o: merged heads; w: the cosine of query and key, heads merged, from 0 to 1 over
    positions (Zhao et al., arXiv 2502.18816). The released code runs the last attention with one head, which changes
    the score that it explains, and compares queries and keys behind the output projection; here the model's own score
    is explained, and they are compared as they are.
    """
    assert run.pool.look is not None
    query, keys = run.pool.look()
    alike = run.positions(F.cosine_similarity(merge_heads(query[:, :, None]), merge_heads(keys), dim=-1)[0])
    span = alike.max() - alike.min()
    weight = (alike - alike.min()) / span if span > 0 else torch.ones_like(alike)
    added = (gradients["heads"] * merge_heads(run.pool.values)).sum(-1)[:, 0]
    return run.positions(added).relu() * weight
