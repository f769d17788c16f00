"""What one attention layer of a pass leaves behind, while the tower runs as it is."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, active_in, on_forward
from denseclip_viz.clip.towers.linearize import Step, apply, propagate_terms
from denseclip_viz.clip.towers.pool_row import PoolRow
from denseclip_viz.clip.towers.tower import refuse_unfused


class AttentionRecord:
    """One attention layer of one pass: what enters and leaves its module, and the first query's answer.

    Args:
        alone: Answer the tower's call: the first query as it is, every other token by its own value alone.
        answers: Answer it as it asks, so that what somebody wants to see is projected once.
        queries: All queries are wanted.
        gradients: What attention makes of what it reads is to hang on it.
        weighed: Answer by weights that are kept, so that what comes behind hangs on them.
    """

    reads: Tensor
    normed: Tensor

    entering: Tensor
    leaving: Tensor
    weights: Tensor
    values: Tensor
    call: AttentionCall

    def __init__(
        self,
        *,
        alone: bool = False,
        answers: bool = False,
        queries: bool = False,
        gradients: bool = False,
        weighed: bool = False,
    ) -> None:
        self.alone, self.answers, self.gradients, self.weighed = alone, answers, gradients, weighed
        self.projects = ("query", "key", "value") if queries else ("key", "value")

    def listen(self, stack: ExitStack, module: nn.Module, attention: nn.Module, norm: nn.Module | None = None) -> None:
        """Observe a module and the attention in it, and a norm of the pool's own, until `stack` closes."""
        if norm is not None:
            stack.enter_context(on_forward(norm, self._on_norm))
        stack.enter_context(on_forward(module, self._on_forward))
        mode = InterceptAttention(self._on_attention, shown=self.weighed and not self.answers)
        stack.enter_context(active_in(attention, mode, on_entry=self._on_entry))

    def check(self) -> None:
        """Refuse a module that ran without an attention call."""
        if not hasattr(self, "call"):
            refuse_unfused()

    def heads_alone(self) -> Tensor:
        """Give `(image, head, token, channel)`: the first query's answer, and every other token's own value."""
        return torch.cat([self.weights[:, :, None] @ self.values, self.values[:, :, 1:]], dim=2)

    def shared_out(self, behind: Sequence[Step], grid: tuple[int, int], *, shared: bool) -> dict[str, Any]:
        """Share the first query's answer out: `attention, contributions, even, rest, even_rest` of a `Pooling`.

        Args:
            behind: What stands behind the heads.
            grid: The positions, `(y, x)`, which are the last of the tokens.
            shared: More than the attention is wanted.
        """
        count = self.values.shape[2]
        prefix = count - grid[0] * grid[1]
        attention = self.weights[..., prefix:].unflatten(-1, grid)
        if not shared:
            return {"attention": attention}
        own, alike = self.weights[..., None] * self.values, self.values / count
        rows = merge_heads(torch.cat([own, alike], dim=2))  # one product for both: reading the weight is what costs
        rows, rest = propagate_terms(rows, behind, true=merge_heads(own.sum(2, keepdim=True)))
        terms, even = rows.split(count, dim=1)
        before, even_before = ({"class token": t[:, :prefix].sum(1)} if prefix else {} for t in (terms, even))
        return {
            "attention": attention,
            "contributions": terms[:, prefix:].unflatten(1, grid),
            "even": even[:, prefix:].unflatten(1, grid),
            "rest": {**before, **rest},
            "even_rest": even_before,
        }

    def keys(self, first: int, project: Step, kind: str) -> Tensor:
        """Give the keys of the tokens from `first` on, `(image, token, C)`."""
        keys = merge_heads(self.call.part("key", slice(None))[:, :, first:])
        return apply((project,), keys) if kind == "projected" else keys

    def row(self, **behind: Any) -> PoolRow:
        """Give the first query's row; `behind` is what `PoolRow` says of the parts behind it."""

        def look() -> tuple[Tensor, Tensor]:
            return self.call.part("query", slice(0, 1))[:, :, 0], self.call.part("key", slice(None))

        return PoolRow(self.reads, self.normed, self.weights, self.values, look=look, **behind)

    def _on_forward(self, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.entering, self.leaving = inputs[0], output

    def _on_entry(self, inputs: tuple[Any, ...]) -> None:
        self.reads, self.keeps_graph = inputs[0], torch.is_grad_enabled()
        self.normed = self.reads
        if self.gradients:
            torch.set_grad_enabled(True)
            self.reads.requires_grad_()

    def _on_norm(self, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self.normed = output

    def _on_attention(self, call: AttentionCall) -> Tensor | None:
        answered = self.alone or self.answers and not call.whole
        self.call = call = call.projected(*self.projects) if answered or self.weighed else call
        if self.weighed:
            self.call = call = replace(call, weighed=call.weights(slice(None)))
        self.weights, self.values = call.weights(slice(0, 1))[:, :, 0], call.part("value", slice(None))
        torch.set_grad_enabled(self.keeps_graph)  # what was made of `reads` hangs on it, and nothing behind
        if self.alone:
            return self.heads_alone()
        if self.weighed:
            return call.weights(slice(None)) @ self.values
        return call.attended() if answered else None


def merge_heads(heads: Tensor) -> Tensor:
    """Lay `(image, head, token, channel)` out as `(image, token, C)`."""
    return heads.transpose(1, 2).flatten(2)
