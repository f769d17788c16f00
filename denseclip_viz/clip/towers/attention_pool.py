"""ResNets with CLIP's attention pool: RN50, RN101, RN50x4, RN50x16, RN50x64.

    e   = b_c + Σ_j Σ_h A_hj Wc_h v_hj        j = 0 is the mean token, v_j = W_v (x_j + pos_j) + b_v
    F_j = Wc (W_v x_j + b_v) + b_c             no positional embedding, no mean token (the official code)

Source: DenseCLIP (arXiv 2112.01071v1) section 3; open_clip/modified_resnet.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in, has_hooks, on_forward, record
from denseclip_viz.clip.towers.tower import Decomposition, DensePath, ForwardOptions, grid_of, resize_positional

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class AttentionPoolTower:
    """A `ModifiedResNet`: four stages, then one attention layer whose query is the mean position."""

    visual: nn.Module
    family: str = "ResNet attention pool"
    cell: tuple[int, int] = (32, 32)
    layers: tuple[str, ...] = ("stem", *STAGES)
    last_map: str = "layer4"
    layer_readout: str = "gradient × activation of the score"

    def shift(self, layer: str) -> tuple[float, float]:
        """No cell sees beside its middle."""
        return 0.0, 0.0

    def at(self, pixels: Tensor) -> AttentionPoolTower:
        """Read any size as it is; positions are resized by function."""
        return self

    def taps(self) -> dict[str, Tap]:
        """Name the stem, the stages, their blocks and the parts of the pool."""
        visual: Any = self.visual
        taps = {"stem": Tap(visual.avgpool)}
        for stage in STAGES:
            blocks = getattr(visual, stage)
            taps |= {f"{stage}.{i}": Tap(block) for i, block in enumerate(blocks)}
            taps[stage] = Tap(blocks)
        pool = visual.attnpool
        taps |= {f"pool.{part}": Tap(pool, part, pooled=True) for part in ("query", "key", "value", "attention")}
        return taps | {"pool.output": Tap(pool)}

    def decompose(self, pixels: Tensor, options: ForwardOptions) -> Decomposition:
        """Run the tower once; its pool is computed for the one query whose answer it keeps."""
        visual: Any = self.visual
        pool, grid = visual.attnpool, grid_of(pixels, self.cell)
        positional = resize_positional(pool.positional_embedding, grid, antialias=options.path.antialias)
        parts = AttentionPoolPass(pool, positional)
        with ExitStack() as stack:
            recorded = stack.enter_context(record(self.taps(), options.layers))
            parts.stand_in = not has_hooks(*pool.modules())
            stack.enter_context(on_forward(visual.layer4, lambda _inputs, output: parts.feed(output)))
            mode = InterceptAttention(parts.on_attention, swap={id(pool.positional_embedding): positional})
            stack.enter_context(active_in(pool, mode))
            embedding = visual(pixels)
        return parts.decomposition(embedding, grid, options, dict(recorded))

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need no recorded layer: inner channels differ from the pool's, so layers are read by gradients."""
        return ()

    def read(self, streams: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
        """Refuse: inner layers of a ResNet have no way into text space."""
        raise TypeError("a ResNet's inner layers are read by gradients")


class AttentionPoolPass:
    """The attention pool of one pass: fed with layer4's output, asked for heads, then for everything else.

    Where nobody else listens it stands in for the tower's own call, which would compute every query and throw all
    but one away.
    """

    stand_in: bool
    tokens: Tensor
    placed: Tensor
    plain: Tensor
    values: Tensor
    weights: Tensor

    def __init__(self, pool: Any, positional: Tensor) -> None:
        self.pool, self.positional = pool, positional

    def feed(self, features: Tensor) -> None:
        """Take layer4's output `(image, C, y, x)`; `placed` is what the pool sees: mean first, positions added."""
        self.tokens = features.flatten(2).transpose(1, 2)
        self.placed = torch.cat([self.tokens.mean(1, keepdim=True), self.tokens], dim=1) + self.positional

    def on_attention(self, call: AttentionCall) -> Tensor | None:
        """Answer the tower's attention call for the one query that it keeps."""
        heads = self.heads()
        if not self.stand_in:
            return None
        return torch.cat([heads, self.values[:, :, 1:]], dim=2) if call.whole else heads

    def heads(self) -> Tensor:
        """Compute attention and values; return the pooled heads `(image, head, 1, channel)`."""
        pool, heads = self.pool, self.pool.num_heads
        # values without positional embedding are what F needs; the embedding's own share is added for A and C
        plain, offset = _project_together(pool.v_proj.weight, self.tokens, self.positional)
        self.plain = plain + pool.v_proj.bias
        values = torch.cat([self.plain.mean(1, keepdim=True), self.plain], dim=1) + offset
        self.values = values.unflatten(-1, (heads, -1)).transpose(1, 2)
        self.weights = self._attention()
        return self.weights[:, :, None] @ self.values

    def _attention(self) -> Tensor:
        pool, heads = self.pool, self.pool.num_heads
        query = pool.q_proj.forward(self.placed[:, 0]).unflatten(-1, (heads, -1))
        # one query: q·(W_k x + b_k) = (q W_k)·x + a constant per head, so keys are never built
        key_weights = pool.k_proj.weight.unflatten(0, (heads, -1))
        query = torch.einsum("bhd,hdc->bhc", query * query.shape[-1] ** -0.5, key_weights)
        return torch.softmax(query @ self.placed.transpose(1, 2), dim=-1)

    def decomposition(
        self, embedding: Tensor, grid: tuple[int, int], options: ForwardOptions, layers: dict[str, Tensor]
    ) -> Decomposition:
        """Take everything apart, once the tower has run."""
        project: nn.Linear = self.pool.c_proj
        terms = (self.weights[..., None] * self.values).transpose(1, 2).flatten(2)
        plain = self._mixed(options.path)
        terms, dense = _project_together(project.weight, terms, plain)
        return Decomposition(
            embedding=embedding,
            dense=(dense + project.bias).unflatten(1, grid),
            attention=self.weights[..., 1:].unflatten(-1, grid),
            contributions=terms[:, 1:].unflatten(1, grid),
            rest={"mean token": terms[:, 0], "bias": project.bias.detach().expand_as(embedding)},
            keys=self.pool.k_proj.forward(self.tokens).unflatten(1, grid) if options.keys else None,
            layers=layers,
        )

    def _mixed(self, path: DensePath) -> Tensor:
        """What the output projection gets at every position: its own value, or values mixed by its own query."""
        if not path.one_hot:
            heads = (self.pool.num_heads, -1)
            query = self.pool.q_proj.forward(self.placed[:, 1:]).unflatten(-1, heads).transpose(1, 2)
            key = self.pool.k_proj.forward(self.placed).unflatten(-1, heads).transpose(1, 2)
            weights = torch.softmax(query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2), dim=-1)
            return (weights @ self.values).transpose(1, 2).flatten(2)
        return self.values[:, :, 1:].transpose(1, 2).flatten(2) if path.positional else self.plain


def _project_together(weight: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Multiply several inputs in one go: for few rows, reading the weight is what costs."""
    rows = [x.flatten(0, -2) for x in inputs]
    outputs = F.linear(torch.cat(rows), weight).split([len(r) for r in rows])
    return [out.unflatten(0, x.shape[:-1]) for out, x in zip(outputs, inputs, strict=True)]
