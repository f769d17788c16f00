"""Vision transformers that read the class token: ViT, EVA, MobileCLIP-B, ViTs with relative positions.

    z   = x_cls + O(Σ_j Σ_h A_hj v_hj) + mlp        the class token's stream after the last block
    e   = H(z)                                       H: final norm and projection, frozen at z for its terms
    F_j = H(y_j),   y = x_j + O(v_j),  y += mlp(y)   "attend to yourself alone"

O is what stands between the heads and the stream: an output projection, behind a norm of the heads in EVA02, before a
LayerScale or a norm of its own elsewhere. Source: MaskCLIP's official vit.py (`return_qkv`); open_clip/transformer.py;
timm's vision_transformer.py, eva.py, vision_transformer_relpos.py.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor

from denseclip_viz.clip.hooks import Tap, has_hooks, record
from denseclip_viz.clip.towers.attention_record import AttentionRecord, merge_heads
from denseclip_viz.clip.towers.linearize import Branch, Step, apply
from denseclip_viz.clip.towers.shadow import shared_copy
from denseclip_viz.clip.towers.tower import LEAN, BlockPass, Pooling, Streams, Wanted, pooled_of
from denseclip_viz.clip.towers.transformer import Block, TransformerTower, block_of


@dataclass(frozen=True)
class ClassTokenTower(TransformerTower):
    """Blocks over a class token and patches; the class token is the answer."""

    family: str = "ViT class token"
    layer_readout: str = "value path and class token of each block through the final norm and projection"

    @property
    def switches(self) -> frozenset[str]:
        """All but a table of positions of the pool."""
        own_table = {"antialias"} if self.trunk.positional is not None else set()
        turned = getattr(getattr(self.visual, "trunk", None), "rope", None) is not None  # by the block, from outside
        streams = set() if turned else {"streams"}
        return frozenset({"attention", "residual", "mlp", "layer", "blocks"} | own_table | streams)

    def taps(self) -> dict[str, Tap]:
        """Name the embedding, the blocks with their attention and MLP, and the parts of the pool."""
        last = block_of(self.trunk.blocks[-1]).attention
        pool = {f"pool.{part}": Tap(last, part, pooled=True) for part in ("query", "key", "value", "attention")}
        return self.trunk.taps() | pool | {"pool.output": Tap(self.visual)}

    def forward(self, pixels: Tensor, wanted: Wanted = LEAN) -> tuple[Pooling, Streams]:
        """Run the tower once and record its last block.

        The class token never reads what the last attention gives to patches. So if nothing but the value path is
        wanted of them (`alone`) and nobody listens there, they take it through the tower's own residual, MLP and
        norms: the dense features cost no second MLP.
        """
        trunk = self.trunk
        grid, last = trunk.grid(pixels), trunk.blocks[-1]
        with ExitStack() as stack:
            recorded = stack.enter_context(record(self.taps() if wanted.layers else {}, wanted.layers))
            listened = has_hooks(*last.modules(), *trunk.after())
            trunk.place(stack, grid, antialias=wanted.antialias)
            pool = AttentionRecord(
                alone=wanted.alone and not listened,
                answers=not listened,
                queries=bool(wanted.blocks),
                gradients=wanted.gradients,
                weighed=wanted.weighed,
            )
            pool.listen(stack, last, block_of(last).attention)
            inner = [number for number in wanted.blocks if trunk.blocks[number] is not last]
            passes = {number: self._pass(stack, number, wanted) for number in inner}
            embedding = pooled_of(self.visual(pixels))
        pool.check()
        block = block_of(shared_copy(last, hooks=False))
        pooling = Pooling(
            embedding=embedding,
            keys=pool.keys(trunk.prefix, block.project, wanted.keys).unflatten(1, grid) if wanted.keys else None,
            layers=dict(recorded),
            **pool.shared_out(self._behind(block, pool.entering[:, :1]), grid, shared=wanted.shared),
        )
        passes |= {number: pool for number in wanted.blocks if number not in passes}
        return pooling, self._streams(block, pool, passes)

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream into and out of each layer."""
        names = ("embed", *self.layers)
        return tuple(dict.fromkeys(n for layer in layers for n in (names[names.index(layer) - 1], layer)))

    def read(self, recorded: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Streams]:
        """Push a block's class token through the final norm and projection; its streams are those of its patches."""
        trunk, index = self.trunk, self.layers.index(layer)
        block = block_of(shared_copy(trunk.blocks[index], hooks=False))
        entering = recorded[("embed", *self.layers)[index]][:, trunk.prefix :]
        streams = Streams(
            values=block.values(entering),
            project=block.out,
            mlp=block.mlp,
            head=trunk.head(),
            entering=entering,
            leaving=recorded[layer][:, trunk.prefix :],
        )
        return apply(trunk.head(), recorded[layer][:, 0]), streams

    def _pass(self, stack: ExitStack, number: int, wanted: Wanted) -> AttentionRecord:
        """Observe one of the inner blocks; nobody else listening, keys and values are projected once for all."""
        module = self.trunk.blocks[number]
        unheard = not has_hooks(*module.modules())
        recorded = AttentionRecord(answers=unheard, queries=True, weighed=wanted.weighed)
        recorded.listen(stack, module, block_of(module).attention)
        return recorded

    def _streams(self, block: Block, pool: AttentionRecord, passes: Mapping[int, AttentionRecord]) -> Streams:
        return Streams(
            values=merge_heads(pool.heads_alone()),
            project=block.out,
            mlp=block.mlp,
            head=self.trunk.head(),
            entering=pool.entering,
            leaving=pool.leaving,
            stood_in=pool.alone,
            heads=pool.values.shape[1],
            prefix=self.trunk.prefix,
            blocks={number: self._block_pass(number, recorded) for number, recorded in passes.items()},
            pool=pool.row(out=block.out, head=self.trunk.head(), mlp=block.mlp, entering=pool.entering[:, :1]),
        )

    def _block_pass(self, number: int, recorded: AttentionRecord) -> BlockPass:
        recorded.check()
        block = block_of(shared_copy(self.trunk.blocks[number], hooks=False))
        return BlockPass(recorded.entering, recorded.call, block.entry, block.out, block.mlp, block.call_on)

    def _behind(self, block: Block, entering: Tensor) -> tuple[Step, ...]:
        return (
            *block.out,
            Branch("residual", lambda _: entering),
            Branch("mlp", lambda x: apply(block.mlp, x)),
            *self.trunk.head(),
        )
