"""Vision transformers that read the class token: ViT, EVA, MobileCLIP-B, ViTs with relative positions.

    z   = x_cls + O(Σ_j Σ_h A_hj v_hj) + mlp        the class token's stream after the last block
    e   = H(z)                                       H: final norm and projection, frozen at z for its terms
    F_j = H(y_j),   y = x_j + O(v_j),  y += mlp(y)   "attend to yourself alone"

O is what stands between the heads and the stream: an output projection, behind a norm of the heads in EVA02, before a
LayerScale or a norm of its own elsewhere. Source: MaskCLIP's official vit.py (`return_qkv`); open_clip/transformer.py;
timm's vision_transformer.py, eva.py, vision_transformer_relpos.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseclip_viz.clip.attention import AttentionCall
from denseclip_viz.clip.hooks import InterceptAttention, Tap, active_in, has_hooks, on_forward, record
from denseclip_viz.clip.towers.linearize import Branch, apply, propagate_terms
from denseclip_viz.clip.towers.shadow import shared_copy
from denseclip_viz.clip.towers.tower import Decomposition, DensePath, ForwardOptions, unseen
from denseclip_viz.clip.towers.transformer import Block, TransformerTower, Trunk, block_of


@dataclass(frozen=True)
class ClassTokenTower(TransformerTower):
    """Blocks over a class token and patches; the class token is the answer."""

    family: str = "ViT class token"
    layer_readout: str = "value path and class token of each block through the final norm and projection"

    @property
    def last_map(self) -> str:
        """What enters the last attention."""
        return f"{self.layers[-1]}.norm"

    def taps(self) -> dict[str, Tap]:
        """Name the embedding, the blocks with their attention and MLP, and the parts of the pool."""
        last = block_of(self.trunk.blocks[-1]).attention
        pool = {f"pool.{part}": Tap(last, part, pooled=True) for part in ("query", "key", "value", "attention")}
        return self.trunk.taps() | pool | {"pool.output": Tap(self.visual)}

    def decompose(self, pixels: Tensor, options: ForwardOptions) -> Decomposition:
        """Run the tower once; unless somebody listens there, patches attend to themselves alone in the last block.

        The class token never reads what the last attention gives to patches, so they take the value path through
        the tower's own residual, MLP and norms, and the dense features cost no second MLP.
        """
        trunk = self.trunk
        grid = trunk.grid(pixels)
        parts = LastBlock(trunk)
        with ExitStack() as stack:
            recorded = stack.enter_context(record(self.taps() if options.layers else {}, options.layers))
            listeners = has_hooks(*trunk.blocks[-1].modules(), *trunk.after())
            path = options.path
            parts.one_hot = path.one_hot and path.residual and path.mlp and not listeners
            trunk.place(stack, grid, antialias=path.antialias)
            parts.listen(stack)
            embedding = self.visual(pixels)
        embedding = embedding[0] if isinstance(embedding, tuple) else embedding
        return parts.decomposition(embedding, grid, options, dict(recorded))

    def layers_to_record(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream into and out of each layer."""
        names = ("embed", *self.layers)
        return tuple(dict.fromkeys(n for layer in layers for n in (names[names.index(layer) - 1], layer)))

    def read(self, streams: Mapping[str, Tensor], layer: str, path: DensePath) -> tuple[Tensor, Tensor]:
        """Push a block's class token and its value path through the final norm and projection."""
        trunk, index = self.trunk, self.layers.index(layer)
        patches = streams[layer][:, trunk.prefix :]
        if path.one_hot:
            block = block_of(shared_copy(trunk.blocks[index], hooks=False))
            entering = streams[("embed", *self.layers)[index]][:, trunk.prefix :]
            patches = value_stream(block, entering, block.values(entering), path)
        head = trunk.head()
        return apply(head, streams[layer][:, 0]), apply(head, patches)


def value_stream(block: Block, stream: Tensor, merged_values: Tensor, path: DensePath) -> Tensor:
    """Let every token attend to itself alone in `block`: `(image, token, C)`."""
    own = apply(block.out, merged_values)
    own = stream + own if path.residual else own
    return own + apply(block.mlp, own) if path.mlp else own


class LastBlock:
    """The last block of one pass: listens while it runs, then takes the class token's answer apart."""

    one_hot: bool
    stream: Tensor
    final: Tensor
    weights: Tensor
    values: Tensor
    call: AttentionCall

    def __init__(self, trunk: Trunk) -> None:
        self.trunk, self.block = trunk, trunk.blocks[-1]

    def listen(self, stack: ExitStack) -> None:
        """Observe the block's input, attention and output until `stack` closes."""
        stack.enter_context(on_forward(self.block, self._on_block))
        stack.enter_context(active_in(block_of(self.block).attention, InterceptAttention(self.on_attention)))

    def _on_block(self, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.stream, self.final = inputs[0], output

    def on_attention(self, call: AttentionCall) -> Tensor | None:
        """Keep weights and values; in one-hot mode, answer: the class token as it is, each patch its own value."""
        self.call, self.weights = call, call.weights(slice(0, 1))[:, :, 0]
        self.values = call.part("value", slice(None))
        if not self.one_hot:
            return None
        return torch.cat([self.weights[:, :, None] @ self.values, self.values[:, :, 1:]], dim=2)

    def decomposition(
        self, embedding: Tensor, grid: tuple[int, int], options: ForwardOptions, layers: dict[str, Tensor]
    ) -> Decomposition:
        """Take everything apart, once the tower has run."""
        if not hasattr(self, "call"):
            unseen()
        prefix = self.trunk.prefix
        block = block_of(shared_copy(self.block, hooks=False))
        terms, rest = self._terms(block)
        keys = self._keys(block, options.keys).unflatten(1, grid) if options.keys else None
        return Decomposition(
            embedding=embedding,
            dense=apply(self.trunk.head(), self._patches(block, options.path)).unflatten(1, grid),
            attention=self.weights[..., prefix:].unflatten(-1, grid),
            contributions=terms[:, prefix:].unflatten(1, grid),
            rest={"class token": terms[:, :prefix].sum(1), **rest},
            keys=keys,
            layers=layers,
        )

    def _patches(self, block: Block, path: DensePath) -> Tensor:
        if self.one_hot or not path.one_hot:
            return self.final[:, self.trunk.prefix :]
        return value_stream(block, self.stream[:, self.trunk.prefix :], self._merged(self.values), path)

    def _terms(self, block: Block) -> tuple[Tensor, dict[str, Tensor]]:
        entering = self.stream[:, :1]
        behind = (
            *block.out,
            Branch("residual", lambda _: entering),
            Branch("mlp", lambda x: apply(block.mlp, x)),
            *self.trunk.head(),
        )
        own = (self.weights[..., None] * self.values).transpose(1, 2).flatten(2)
        parts, rest = propagate_terms(own, {}, behind)
        return parts, {name: term[:, 0] for name, term in rest.items()}

    def _keys(self, block: Block, kind: str) -> Tensor:
        keys = self._merged(self.call.part("key", slice(None)))
        return apply((block.project,), keys) if kind == "projected" else keys

    def _merged(self, heads: Tensor) -> Tensor:
        return heads[:, :, self.trunk.prefix :].transpose(1, 2).flatten(2)
