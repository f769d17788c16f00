"""Towers that pool with a latent query (a MAP head): SigLIP, PE-Core, CoCa.

    u   = O(Σ_j Σ_h A_hj v_hj)      one query for all images; O: the pool's output projection
    e   = H(u + MLP(LN(u)))          no MLP in CoCa; H: a projection, behind a norm in CoCa, nothing in SigLIP
    F_j = H(u_j + MLP(LN(u_j))),    u_j = O(v_j)          "attend to j alone"

In PE and CoCa the class token is one of the keys: a term of its own. Source: timm's attention_pool.py
(`AttentionPoolLatent`), eva.py; open_clip/transformer.py (`AttentionalPooler`).
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from denseclip_viz.clip.hooks import Tap, record
from denseclip_viz.clip.towers.attention_record import AttentionRecord, merge_heads
from denseclip_viz.clip.towers.linearize import Branch, Step, apply, flatten
from denseclip_viz.clip.towers.shadow import shared_copy
from denseclip_viz.clip.towers.tower import LEAN, Pooling, Streams, Wanted, pooled_of
from denseclip_viz.clip.towers.transformer import TransformerTower
from denseclip_viz.errors import LayerError


@dataclass(frozen=True)
class LatentQueryTower(TransformerTower):
    """A transformer whose tokens are pooled by attention with a latent query."""

    family: str = "latent query"
    layer_readout: str = "tokens of each block through the final norm, the pool and the projection"

    @property
    def switches(self) -> frozenset[str]:
        """The MLP, a table of positions that is open_clip's own, and plain tokens if they are as wide as the pool."""
        pool, switches = pool_of(self.visual), {"mlp"} if _branch(pool_of(self.visual)) else set()
        reads, answers = _widths(pool)
        switches |= {"attention"} if reads == answers else set()
        return frozenset(switches | ({"antialias"} if self.trunk.positional is not None else set()))

    def taps(self) -> dict[str, Tap]:
        """Name the embedding, the blocks with their attention and MLP, and the parts of the pool."""
        pool = pool_of(self.visual)
        parts = {f"pool.{part}": Tap(pool, part, pooled=True) for part in ("query", "key", "value", "attention")}
        return self.trunk.taps() | {"pool.input": Tap(pool, "input")} | parts | {"pool.output": Tap(self.visual)}

    def forward(self, pixels: Tensor, wanted: Wanted = LEAN) -> tuple[Pooling, Streams]:
        """Run the tower once and record its pool."""
        trunk, record_of_pool, pool = self.trunk, AttentionRecord(gradients=wanted.gradients), pool_of(self.visual)
        grid = trunk.grid(pixels)
        with ExitStack() as stack:
            trunk.place(stack, grid, antialias=wanted.antialias)
            recorded = stack.enter_context(record(self.taps() if wanted.layers else {}, wanted.layers))
            record_of_pool.listen(stack, pool, pool, norm=getattr(pool, "ln_k", None))
            embedding = pooled_of(self.visual(pixels))
        record_of_pool.check()
        pool = shared_copy(pool, hooks=False)
        positions = grid[0] * grid[1]
        prefix = record_of_pool.values.shape[2] - positions
        pooling = Pooling(
            embedding=embedding,
            keys=record_of_pool.keys(prefix, _projection(pool), wanted.keys).unflatten(1, grid)
            if wanted.keys
            else None,
            layers=dict(recorded),
            **record_of_pool.shared_out(self._behind(pool), grid, shared=wanted.shared),
        )
        return pooling, self._streams(record_of_pool, pool, positions)

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream behind each layer."""
        return tuple(layers)

    def read(self, recorded: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Streams]:
        """Pool a block's tokens as the last ones are pooled."""
        pool, record_of_pool = shared_copy(pool_of(self.visual), hooks=False), AttentionRecord()
        prefix = self.trunk.prefix
        left_out = 0 if _pools_prefix(self.visual) else prefix
        with ExitStack() as stack:
            record_of_pool.listen(stack, pool, pool)
            pool(apply(_entry(self.visual), recorded[layer])[:, left_out:])
        heads = merge_heads(record_of_pool.weights[:, :, None] @ record_of_pool.values)
        positions = recorded[layer].shape[1] - prefix
        return apply(self._behind(pool), heads)[:, 0], self._streams(record_of_pool, pool, positions)

    def _head(self) -> tuple[Step, ...]:
        norm = () if hasattr(self.visual, "trunk") else self.trunk.norm  # timm's stands before the pool
        return flatten(*norm, *self.trunk.project)

    def _behind(self, pool: Any) -> tuple[Step, ...]:
        branch = _branch(pool)
        added = [Branch("mlp", lambda x: apply(branch, x))] if branch else []
        return (*flatten(_projection(pool), *added), *self._head())

    def _streams(self, recorded: AttentionRecord, pool: Any, positions: int) -> Streams:
        def plain_tokens(path: str) -> Tensor:
            """Skip the pool's value and output projections."""
            reads, answers = _widths(pool)
            if reads != answers:
                raise LayerError(
                    f"path {path!r} takes tokens as they are, and this pool reads {reads} channels and answers with "
                    f"{answers}",
                    expected="a path of the pool's values, or a tower whose tokens are as wide as its pool",
                    fix="Take path='value'.",
                )
            return recorded.entering[:, -positions:]

        return Streams(
            values=merge_heads(recorded.values[:, :, -positions:]),
            project=flatten(_projection(pool)),
            mlp=_branch(pool),
            head=self._head(),
            heads=recorded.values.shape[1],
            attended=plain_tokens,
            pool=recorded.row(out=flatten(_projection(pool)), head=self._head(), mlp=_branch(pool)),
        )


def pool_of(visual: Any) -> nn.Module:
    """Find the module that pools."""
    pool: nn.Module = visual.trunk.attn_pool if hasattr(visual, "trunk") else visual.attn_pool
    return pool


def _projection(pool: Any) -> nn.Module:
    """Find the pool's output projection, timm's or open_clip's."""
    projection: nn.Module = pool.proj if hasattr(pool, "proj") else pool.attn.out_proj
    return projection


def _branch(pool: Any) -> tuple[Step, ...]:
    """Find the pool's MLP branch; open_clip's has none."""
    return () if getattr(pool, "mlp", None) is None else (pool.norm, pool.mlp)


def _widths(pool: Any) -> tuple[int, int]:
    """Count the channels that a pool reads, and those that it answers with."""
    projection: Any = _projection(pool)
    reads = pool.kv.in_features if hasattr(pool, "kv") else pool.ln_k.normalized_shape[0]
    return int(reads), int(projection.in_features)


def _pools_prefix(visual: Any) -> bool:
    """Tell whether the pool reads the tokens before the patches: open_clip's and EVA's do, timm's ViT asks a switch."""
    return bool(getattr(getattr(visual, "trunk", None), "pool_include_prefix", True))


def _entry(visual: Any) -> tuple[Step, ...]:
    """List the steps from the stream behind a block to what the pool reads."""
    return flatten(visual.trunk.norm) if hasattr(visual, "trunk") else ()
