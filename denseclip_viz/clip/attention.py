"""One attention call as the tower made it, whatever function it went through."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.errors import UnsupportedTowerError


@dataclass(frozen=True)
class AttentionCall:
    """Queries, keys and values of one call, and the way back to what the caller waits for.

    Attributes:
        part: `part("query" | "key" | "value", rows)` gives `(image, head, row, channel)`; nothing is projected
            before it is asked for.
        scale: What query · key is multiplied by before the softmax.
        output: Turns heads' outputs `(image, head, row, channel)` into the caller's return value.
        whole: True where the caller needs as many rows back as it sent queries.
        bias: What is added to every logit, such as relative positions: `(…, row, token)`.
        weighed: The weights of all queries, where they were made once for all.
    """

    part: Callable[[str, slice], Tensor]
    scale: float
    output: Callable[[Tensor], Any]
    whole: bool
    bias: Tensor | None = None
    weighed: Tensor | None = None

    def weights(self, rows: slice) -> Tensor:
        """Return the attention weights of some queries: `(image, head, row, token)`, each row sums to 1."""
        if self.weighed is not None:
            return self.weighed if rows == slice(None) else self.weighed[:, :, rows]  # all of them: the very tensor
        query, key = self.part("query", rows), self.part("key", slice(None))
        logits = (query * self.scale) @ key.transpose(-1, -2)
        return torch.softmax(logits if self.bias is None else logits + self.bias[..., rows, :], dim=-1)

    def projected(self, *names: str) -> AttentionCall:
        """Project these parts once, for whoever asks for them again."""
        parts = {name: self.part(name, slice(None)) for name in names}
        return replace(
            self, part=lambda name, rows: parts[name][:, :, rows] if name in parts else self.part(name, rows)
        )

    def attended(self) -> Tensor:
        """Answer the call as it asks: what every query attends to, `(image, head, row, channel)`."""
        query, key, value = (self.part(name, slice(None)) for name in ("query", "key", "value"))
        return F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias, scale=self.scale)


def attention_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AttentionCall | None:
    """Read an attention call off a torch function and its arguments; `None` for any other function.

    Raises:
        UnsupportedTowerError: a call with yes-or-no masks, causal masks or dropout, which no image tower known makes.

    Example:
        >>> q = torch.randn(1, 2, 3, 4)
        >>> call = attention_call(F.scaled_dot_product_attention, (q, q, q), {})
        >>> call.weights(slice(0, 1)).shape
        torch.Size([1, 2, 1, 3])
        >>> attention_call(torch.add, (q, q), {}) is None
        True
    """
    if func is F.scaled_dot_product_attention:
        return _fused(*args, **kwargs)
    if func is F.multi_head_attention_forward:
        return _multi_head(_signature().bind(*args, **kwargs).arguments)
    return None


@functools.cache
def _signature() -> inspect.Signature:
    return inspect.signature(F.multi_head_attention_forward)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    masked = attn_mask is not None and not (attn_mask.is_floating_point() and attn_mask.shape[-2] == query.shape[-2])
    _refuse(attn_mask=masked, dropout_p=dropout_p, is_causal=is_causal, enable_gqa=enable_gqa)
    parts = {"query": query, "key": key, "value": value}  # projected already: picking rows costs nothing
    return AttentionCall(
        part=lambda name, rows: parts[name][:, :, rows],
        scale=query.shape[-1] ** -0.5 if scale is None else scale,
        output=lambda heads: heads,
        whole=True,
        bias=attn_mask,
    )


def _multi_head(call: dict[str, Any]) -> AttentionCall:
    masks = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "attn_mask", "static_k", "static_v", "is_causal")
    _refuse(dropout=call.get("training", True) and call["dropout_p"], **{name: call.get(name) for name in masks})
    heads, width = call["num_heads"], call["embed_dim_to_check"]
    weights, biases = _projections(call)

    # The function projects inside, so parts are projected here, and only those rows that somebody asks for: the query
    # of one token, and not of all, is what makes a trace cost no more than the plain pass.
    def part(name: str, rows: slice) -> Tensor:
        tokens: Tensor = call[name][rows].transpose(0, 1)  # (row, image, width), as the function wants them
        projected: Tensor = F.linear(tokens, weights[name], biases[name]).unflatten(-1, (heads, -1))
        return projected.transpose(1, 2)

    def output(outputs: Tensor) -> tuple[Tensor, None]:
        merged = outputs.transpose(1, 2).flatten(2)
        return F.linear(merged, call["out_proj_weight"], call["out_proj_bias"]).transpose(0, 1), None

    return AttentionCall(part=part, scale=(width // heads) ** -0.5, output=output, whole=False)


def _projections(call: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor | None]]:
    names = ("query", "key", "value")
    bias = call["in_proj_bias"]
    if call.get("use_separate_proj_weight"):
        weights = [call[f"{name[0]}_proj_weight"] for name in names]
    else:
        weights = call["in_proj_weight"].chunk(3)
    biases = bias.chunk(3) if bias is not None else [None, None, None]
    return dict(zip(names, weights, strict=True)), dict(zip(names, biases, strict=True))


def _refuse(**unsupported: object) -> None:
    used = [name for name, value in unsupported.items() if isinstance(value, Tensor) or value]
    if used:
        raise UnsupportedTowerError(
            f"the image tower calls attention with {', '.join(used)}",
            expected="plain softmax attention without masks or dropout",
            fix="Put the model in eval mode (model.eval()); towers with masked attention are not supported.",
        )
