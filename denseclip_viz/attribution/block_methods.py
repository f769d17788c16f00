"""Attributions that are read off the transformer blocks in front of a class token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from denseclip_viz.attribution.opening import Pass
from denseclip_viz.attribution.pool_methods import Gradients, cosines, reduced_gradients
from denseclip_viz.clip.towers.attention_record import merge_heads
from denseclip_viz.clip.towers.linearize import Step, apply, flatten
from denseclip_viz.clip.towers.tower import BlockPass

LEGRAD_BLOCKS = 2
"""How many of the last blocks LeGrad sums, as its released code does (`layer_index=-2`)."""


def legrad(run: Pass, texts: Tensor, _gradients: Gradients) -> Tensor:
    """Sum over the last two blocks how each block's own answer grows with its attention.

    Of each: a score of the mean token, the gradient of it by the attention, ReLU, the mean over heads and queries
    (Bousselham et al., arXiv 2404.03214).
    """
    blocks = run.streams.blocks
    chosen = [blocks[number] for number in sorted(blocks)[-LEGRAD_BLOCKS:]]
    return run.positions(torch.stack([_growth(block, run.streams.head, texts) for block in chosen]).sum(0))


def _growth(block: BlockPass, head: Sequence[Step], texts: Tensor) -> Tensor:
    weights = block.weights.detach().requires_grad_()
    with torch.enable_grad():
        stream = block.entering.detach() + apply(block.out, merge_heads(weights @ block.value.detach()))
        mean = stream.mean(1) + _mean_of(flatten(*block.mlp), stream)
        scores = cosines(apply(head, mean), texts)
        return reduced_gradients(scores, [weights], lambda taken: taken[0].relu_().mean((-3, -2))[:, 0])


def _mean_of(steps: Sequence[Step], stream: Tensor) -> Tensor:
    """Average what all tokens become; affine steps at the end take the mean itself, a row where there were many."""
    affine = next((n for n, step in enumerate(reversed(steps)) if not _is_affine(step)), len(steps))
    last = len(steps) - affine
    return apply(steps[last:], apply(steps[:last], stream).mean(1))


def _is_affine(step: Step) -> bool:
    return isinstance(step, nn.Linear | Tensor) or isinstance(getattr(step, "gamma", None), Tensor)


def rollout(run: Pass, texts: Tensor, _gradients: Gradients) -> Tensor:
    """Multiply (A + I)/2, heads averaged, over all blocks; the class token's row, the same for every text.

    Abnar and Zuidema, arXiv 2005.00928.
    """
    row = _class_row(run, 1)
    for block in _from_the_last(run):
        row = (row + (row[:, None] @ block.weights.mean(1))[:, 0]) / 2
    return run.positions(row).expand(len(texts), *run.grid)


def relevance_all(run: Pass, texts: Tensor, _gradients: Gradients) -> Tensor:
    """Follow R ← R + (mean over heads of (∂s/∂A ⊙ A)₊) R through all blocks; the class token's row.

    Chefer et al., arXiv 2103.15679, eq. 5 and 6, from the first block on.
    """
    blocks = _from_the_last(run)
    with torch.enable_grad():
        scores, weights = cosines(run.embedding, texts), [block.weights for block in blocks]
        return run.positions(reduced_gradients(scores, weights, partial(_followed, run, weights)))


def _followed(run: Pass, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    row = _class_row(run, len(gradients[0]))
    for attention, gradient in zip(weights, gradients, strict=True):
        row = row + (row[:, None] @ (gradient * attention.detach()).relu().mean(2)[:, 0])[:, 0]
    return row


def _from_the_last(run: Pass) -> list[BlockPass]:
    return [run.streams.blocks[number] for number in sorted(run.streams.blocks, reverse=True)]


def _class_row(run: Pass, rows: int) -> Tensor:
    like = run.pool.weights
    row = torch.zeros(rows, like.shape[-1], dtype=like.dtype, device=like.device)
    row[:, 0] = 1
    return row
