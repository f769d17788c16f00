"""ResNets with CLIP's attention pool: RN50, RN101, RN50x4, RN50x16, RN50x64.

    e   = b_c + Σ_j Σ_h A_hj Wc_h v_hj        j = 0 is the mean token, v_j = W_v (x_j + pos_j) + b_v
    F_j = Wc (W_v x_j + b_v) + b_c             no positional embedding, no mean token (the official code)
    F_i = Wc Σ_j A_ij v_j + b_c                paths that mix: of all tokens as the pool sees them, j = 0 among them

Source: DenseCLIP (arXiv 2112.01071v1) section 3; open_clip/modified_resnet.py.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in, has_hooks, on_forward, record
from denseclip_viz.clip.towers.attention_record import merge_heads
from denseclip_viz.clip.towers.pool_row import PoolRow
from denseclip_viz.clip.towers.tower import LEAN, BlockPass, Pooling, Streams, Wanted, pooled_of, resize_positional
from denseclip_viz.errors import GeometryError

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class AttentionPoolTower:
    """A `ModifiedResNet`: four stages, then one attention layer whose query is the mean position."""

    visual: nn.Module
    family: str = "ResNet attention pool"
    cell: tuple[int, int] = (32, 32)
    layers: tuple[str, ...] = ("stem", *STAGES)
    layer_readout: str = "gradient × activation of the score"
    switches: frozenset[str] = frozenset({"attention", "positional", "antialias", "layer"})

    def shift(self, layer: str) -> tuple[float, float]:
        """Return zero: no cell sees beside its middle."""
        return 0.0, 0.0

    def at(self, pixels: Tensor) -> "AttentionPoolTower":
        """Read any size as it is; positions are resized by function."""
        return self

    def resizes_positions(self, pixels: Tensor) -> bool:
        """Resize the pool's table where the grid is not its own square."""
        rows, columns = _grid_of(pixels)
        pool: Any = self.visual.get_submodule("attnpool")
        return rows != columns or rows * columns + 1 != len(pool.positional_embedding)

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

    def forward(self, pixels: Tensor, wanted: Wanted = LEAN) -> tuple[Pooling, Streams]:
        """Run the tower once; its pool is computed for the one query whose answer it keeps."""
        visual: Any = self.visual
        pool, grid = visual.attnpool, _grid_of(pixels)
        positional = resize_positional(pool.positional_embedding, grid, antialias=wanted.antialias)
        parts = PoolPass(pool, positional, gradients=wanted.gradients)
        with ExitStack() as stack:
            recorded = stack.enter_context(record(self.taps(), wanted.layers))
            parts.stand_in = not has_hooks(*pool.modules())
            stack.enter_context(on_forward(visual.layer4, lambda _inputs, output: parts.feed(output)))
            mode = InterceptAttention(parts.on_attention, swap={id(pool.positional_embedding): positional})
            stack.enter_context(active_in(pool, mode))
            embedding = pooled_of(visual(pixels))
        pooling = Pooling(
            embedding=embedding,
            attention=parts.weights[..., 1:].unflatten(-1, grid),
            keys=pool.k_proj.forward(parts.tokens).unflatten(1, grid) if wanted.keys else None,
            layers=dict(recorded),
        )
        if not wanted.shared:
            return pooling, parts.streams(parts.projected(parts.plain), wanted.blocks)
        terms, dense, even = parts.shared_out()
        pooling = replace(
            pooling,
            contributions=terms[:, 1:].unflatten(1, grid),
            even=even[:, 1:].unflatten(1, grid),
            rest={"mean token": terms[:, 0], "bias": pool.c_proj.bias.detach().expand_as(embedding)},
            even_rest={"mean token": even[:, 0]},
        )
        return pooling, parts.streams(dense, wanted.blocks)

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need no recorded layer: inner channels differ from the pool's, so layers are read by gradients."""
        return ()

    def reads(self, features: Tensor) -> Tensor:
        """Give what the pool reads of layer4's output `(image, C, y, x)`: positions added."""
        table = self.visual.get_submodule("attnpool").get_parameter("positional_embedding").detach()
        grid = int(features.shape[-2]), int(features.shape[-1])
        placed: Tensor = features + resize_positional(table, grid)[1:].T.unflatten(-1, grid).to(features)
        return placed

    def neurons(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Say what a unit of each channel that the pool reads adds to e · t through each head, all attention on it.

        Returns:
            `(text, head, C)`, W_VO · t; and `(text, head)`, what the bias of values adds.
        """
        pool: Any = self.visual.get_submodule("attnpool")
        out, value, bias = (p.detach().to(texts) for p in (pool.c_proj.weight, pool.v_proj.weight, pool.v_proj.bias))
        heads = (texts @ out).unflatten(-1, (pool.num_heads, -1))
        per_head = value.unflatten(0, (pool.num_heads, -1))
        return torch.einsum("thd,hdc->thc", heads, per_head), (heads * bias.view_as(heads[0])).sum(-1)

    def read(self, recorded: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Streams]:
        """Refuse: inner layers of a ResNet have no way into text space."""
        raise TypeError("a ResNet's inner layers are read by gradients")


def _grid_of(pixels: Tensor) -> tuple[int, int]:
    """Count cells as five halvings do: the first rounds up, the others down."""
    rows, columns = ((side + side % 2) // 32 for side in pixels.shape[-2:])
    if not rows or not columns:
        got, expected = f"an input of {pixels.shape[-2]} x {pixels.shape[-1]} pixels", "at least one cell of 32 x 32"
        raise GeometryError(got, expected=expected, fix="Resize the image to more pixels.")
    return rows, columns


class PoolPass:
    """The attention pool of one pass: fed with layer4's output, asked for heads, then for everything else.

    Where nobody else listens it stands in for the tower's own call, which would compute every query and throw all
    but one away.
    """

    stand_in: bool
    tokens: Tensor
    placed: Tensor
    plain: Tensor
    offset: Tensor
    values: Tensor
    weights: Tensor

    def __init__(self, pool: Any, positional: Tensor, *, gradients: bool = False) -> None:
        self.pool, self.positional, self.gradients = pool, positional, gradients

    def feed(self, features: Tensor) -> None:
        """Take layer4's output `(image, C, y, x)`; `placed` is what the pool sees: mean first, positions added."""
        self.tokens = features.flatten(2).transpose(1, 2)
        if self.gradients:
            self.tokens = self.tokens.detach().requires_grad_()
        with self._graph():
            self.placed = _with_mean(self.tokens) + self.positional

    def on_attention(self, call: AttentionCall) -> Tensor | None:
        """Answer the tower's attention call for the one query that it keeps."""
        with self._graph():
            heads = self.heads()
        if not self.stand_in:
            return None
        return torch.cat([heads, self.values[:, :, 1:]], dim=2) if call.whole else heads

    def _graph(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(self.gradients or torch.is_grad_enabled())

    def heads(self) -> Tensor:
        """Compute attention and values; return the pooled heads `(image, head, 1, channel)`."""
        pool, heads = self.pool, self.pool.num_heads
        # values without positional embedding are what F needs; the embedding's own share is added for A and C
        plain, self.offset = _project_together(pool.v_proj.weight, self.tokens, self.positional)
        self.plain = plain + pool.v_proj.bias
        values = _with_mean(self.plain) + self.offset
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

    def shared_out(self) -> tuple[Tensor, Tensor, Tensor]:
        """Project each token's term, mean token first, dense features, and the terms under an even look."""
        project: nn.Linear = self.pool.c_proj
        own = merge_heads(self.weights[..., None] * self.values)
        terms, plain, offset = _project_together(project.weight, own, self.plain, self.offset)
        return terms, plain + project.bias, (_with_mean(plain) + offset) / own.shape[1]

    def projected(self, merged: Tensor) -> Tensor:
        """Project heads as `shared_out` does, the bias behind the product: to the same last bits."""
        project: nn.Linear = self.pool.c_proj
        return F.linear(merged, project.weight) + project.bias

    def streams(self, dense: Tensor, blocks: Sequence[int]) -> Streams:
        """Give values as they were projected beside the terms; others go the same way when they are asked for.

        Of `blocks` there is one, number 0: the pool itself.
        """
        project: nn.Linear = self.pool.c_proj
        call = self._call(self.placed)

        def attended(_path: str) -> Tensor:
            return self.projected(merge_heads(call.attended()[:, :, 1:]))

        def placed() -> Tensor:
            return self.projected(merge_heads(self.values[:, :, 1:]))

        def look() -> tuple[Tensor, Tensor]:
            return call.part("query", slice(0, 1))[:, :, 0], call.part("key", slice(None))

        row = PoolRow(self.tokens, self.tokens, self.weights, self.values, out=(project,), look=look)
        layer = BlockPass(self.placed, call, entry=(), out=(project,), mlp=(), call_on=self._call)
        own = dict.fromkeys(blocks, layer)
        return Streams(values=dense, head=(), attended=attended, placed=placed, pool=row, blocks=own)

    def _call(self, tokens: Tensor) -> AttentionCall:
        """Give the pool's attention call of all tokens, mean first; the tower itself asks for one query of it."""
        pool, own = self.pool, tokens is self.placed
        project = {"query": pool.q_proj, "key": pool.k_proj, "value": pool.v_proj}

        def part(name: str, rows: slice) -> Tensor:
            if own and name == "value":
                return self.values[:, :, rows]
            projected: Tensor = project[name].forward(tokens[:, rows])
            heads: Tensor = projected.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
            return heads

        scale = (pool.q_proj.out_features // pool.num_heads) ** -0.5
        return AttentionCall(part, scale, merge_heads, whole=False)


def _with_mean(tokens: Tensor) -> Tensor:
    return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)


def _project_together(weight: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Multiply several inputs in one go: for few rows, reading the weight is what costs."""
    rows = [x.flatten(0, -2) for x in inputs]
    outputs = F.linear(torch.cat(rows), weight).split([len(r) for r in rows])
    return [out.unflatten(0, x.shape[:-1]) for out, x in zip(outputs, inputs, strict=True)]
