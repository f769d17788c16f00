"""Towers that pool with a learned query: SigLIP, PE-Core, CoCa.

    u   = O(Σ_j Σ_h A_hj v_hj)      one query for all images; O: the pool's output projection
    e   = H(u + MLP(LN(u)))          no MLP in CoCa; H: a projection, behind a norm in CoCa, nothing in SigLIP
    F_j = H(u_j + MLP(LN(u_j))),    u_j = O(v_j)          "attend to j alone"

In PE and CoCa the class token is one of the keys: a term of its own. Source: timm's attention_pool.py
(`AttentionPoolLatent`), eva.py; open_clip/transformer.py (`AttentionalPooler`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in, on_forward, record
from denseclip_viz.clip.towers.linearize import Branch, Step, apply, flatten, propagate_terms
from denseclip_viz.clip.towers.shadow import shared_copy
from denseclip_viz.clip.towers.tower import Decomposition, DensePath, ForwardOptions, unseen
from denseclip_viz.clip.towers.transformer import TransformerTower
from denseclip_viz.errors import LayerError


@dataclass(frozen=True)
class LatentQueryTower(TransformerTower):
    """A transformer whose tokens are pooled by attention with a learned query."""

    family: str = "latent query"
    layer_readout: str = "tokens of each block through the final norm, the pool and the projection"

    @property
    def last_map(self) -> str:
        """What the pool reads."""
        return "pool.input"

    def taps(self) -> dict[str, Tap]:
        """Name the embedding, the blocks with their attention and MLP, and the parts of the pool."""
        pool = pool_of(self.visual)
        parts = {f"pool.{part}": Tap(pool, part, pooled=True) for part in ("query", "key", "value", "attention")}
        return self.trunk.taps() | {"pool.input": Tap(pool, "input")} | parts | {"pool.output": Tap(self.visual)}

    def decompose(self, pixels: Tensor, options: ForwardOptions) -> Decomposition:
        """Run the tower once, listen to its pool, and take that apart."""
        trunk = self.trunk
        grid = trunk.grid(pixels)
        pool_record, pool = PoolRecord(), pool_of(self.visual)
        with ExitStack() as stack:
            trunk.place(stack, grid, antialias=options.path.antialias)
            recorded = stack.enter_context(record(self.taps() if options.layers else {}, options.layers))
            pool_record.listen(stack, pool)
            embedding = self.visual(pixels)
        pool_record.check()
        embedding = embedding[0] if isinstance(embedding, tuple) else embedding
        return self._decomposed(pool_record, embedding, grid, options, dict(recorded))

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream behind each layer."""
        return tuple(layers)

    def read(self, streams: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
        """Pool a block's tokens as the last ones are pooled: what they would answer, and the value path."""
        pool, pool_record, prefix = shared_copy(pool_of(self.visual), hooks=False), PoolRecord(), self.trunk.prefix
        left_out = 0 if _pools_prefix(self.visual) else prefix
        with ExitStack() as stack:
            pool_record.listen(stack, pool)
            pool(apply(_entry(self.visual), streams[layer])[:, left_out:])
        behind = self._behind(pool)
        whole = (pool_record.weights[:, :, None] @ pool_record.values).transpose(1, 2).flatten(2)
        patches = self._patches(pool_record, pool, prefix - left_out, path)
        return apply(behind, whole)[:, 0], patches

    def _behind(self, pool: Any, *, mlp: bool = True) -> tuple[Step, ...]:
        project, branch = _anatomy(pool)
        added = [Branch("mlp", lambda x: apply(branch, x))] if branch and mlp else []
        head = self.trunk.project if hasattr(self.visual, "trunk") else (*self.trunk.norm, *self.trunk.project)
        return flatten(project, *added, *head)

    def _patches(self, pool_record: PoolRecord, pool: Any, prefix: int, path: DensePath) -> Tensor:
        behind = self._behind(pool, mlp=path.mlp)
        if not path.one_hot:  # plain tokens: they skip the pool's value and output projections
            if pool_record.tokens.shape[-1] != pool_record.values.shape[1] * pool_record.values.shape[-1]:
                raise LayerError(
                    f"path {path.name!r} takes tokens as they are, and this pool reads {pool_record.tokens.shape[-1]} "
                    f"channels and answers with {pool_record.values.shape[1] * pool_record.values.shape[-1]}",
                    expected="a path with one_hot=True, or a tower whose tokens are as wide as its pool",
                    fix="Trace with path='value'.",
                )
            return apply(behind[1:], pool_record.tokens[:, prefix:])
        return apply(behind, pool_record.values[:, :, prefix:].transpose(1, 2).flatten(2))

    def _decomposed(
        self,
        pool_record: PoolRecord,
        embedding: Tensor,
        grid: tuple[int, int],
        options: ForwardOptions,
        layers: dict[str, Tensor],
    ) -> Decomposition:
        pool = shared_copy(pool_of(self.visual), hooks=False)
        prefix = pool_record.values.shape[2] - grid[0] * grid[1]
        own = (pool_record.weights[..., None] * pool_record.values).transpose(1, 2).flatten(2)
        terms, rest = propagate_terms(own, {}, self._behind(pool))
        named = {name: term[:, 0] for name, term in rest.items()}
        return Decomposition(
            embedding=embedding,
            dense=self._patches(pool_record, pool, prefix, options.path).unflatten(1, grid),
            attention=pool_record.weights[..., prefix:].unflatten(-1, grid),
            contributions=terms[:, prefix:].unflatten(1, grid),
            rest={"class token": terms[:, :prefix].sum(1), **named} if prefix else named,
            keys=self._keys(pool_record, pool, prefix, options.keys).unflatten(1, grid) if options.keys else None,
            layers=layers,
        )

    def _keys(self, pool_record: PoolRecord, pool: Any, prefix: int, kind: str) -> Tensor:
        keys = pool_record.call.part("key", slice(None))[:, :, prefix:].transpose(1, 2).flatten(2)
        return apply((_anatomy(pool)[0],), keys) if kind == "projected" else keys


class PoolRecord:
    """What is heard of a pool while it runs: its tokens, values and the weights of its first query."""

    tokens: Tensor
    weights: Tensor
    values: Tensor
    call: AttentionCall

    def listen(self, stack: ExitStack, pool: nn.Module) -> None:
        """Observe a pool until `stack` closes."""
        stack.enter_context(on_forward(pool, lambda inputs, _output: setattr(self, "tokens", inputs[0])))
        stack.enter_context(active_in(pool, InterceptAttention(self._on_attention)))

    def check(self) -> None:
        """Refuse a pool that ran without an attention call."""
        if not hasattr(self, "call"):
            unseen()

    def _on_attention(self, call: AttentionCall) -> None:
        self.call, self.weights = call, call.weights(slice(0, 1))[:, :, 0]
        self.values = call.part("value", slice(None))


def pool_of(visual: Any) -> nn.Module:
    """Find the module that pools."""
    pool: nn.Module = visual.trunk.attn_pool if hasattr(visual, "trunk") else visual.attn_pool
    return pool


def _anatomy(pool: Any) -> tuple[nn.Module, tuple[Step, ...]]:
    """The pool's output projection, and its MLP branch: timm's, or open_clip's, which has none."""
    if hasattr(pool, "proj"):
        return pool.proj, () if pool.mlp is None else (pool.norm, pool.mlp)
    return pool.attn.out_proj, ()


def _pools_prefix(visual: Any) -> bool:
    """Whether the pool reads the tokens before the patches: open_clip's and EVA's do, timm's ViT asks a switch."""
    return bool(getattr(getattr(visual, "trunk", None), "pool_include_prefix", True))


def _entry(visual: Any) -> tuple[Step, ...]:
    """From the stream behind a block to what the pool reads."""
    return flatten(visual.trunk.norm) if hasattr(visual, "trunk") else ()
