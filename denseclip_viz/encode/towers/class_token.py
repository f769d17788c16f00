"""Vision transformers that read the class token: every `VisionTransformer` of open_clip with pool 'tok'.

    z   = x_cls + γ1 (b_o + Σ_j Σ_h A_hj Wo_h v_hj) + mlp        the class token's stream after the last block
    e   = (LNf(z) + β) P                                          LNf: the final norm with z's own mean and deviation
    F_j = LN(y_j) P,   y = x_j + γ1 (b_o + Wo v_j),  y += γ2 MLP(LN2(y))   "attend to yourself alone"

Source: MaskCLIP's official vit.py (`return_qkv`); open_clip/transformer.py; LayerScale: γ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.encode.attention import AttentionCall
from denseclip_viz.encode.hooks import Tap, Watch, hooked, inside, observe, record
from denseclip_viz.encode.towers.tower import Opened, Path, Request, grid_of, resize_positional


@dataclass(frozen=True)
class ClassTokenTower:
    """A `VisionTransformer`: blocks over a class token and patches; the class token is the answer."""

    visual: nn.Module
    family: str = "ViT class token"
    reading: str = "value path and class token of each block through the final norm and projection"

    @property
    def cell(self) -> tuple[int, int]:
        """Pixels per patch, `(y, x)`."""
        visual: Any = self.visual
        height, width = visual.patch_size
        return int(height), int(width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The blocks, in order."""
        visual: Any = self.visual
        return tuple(f"blocks.{i}" for i in range(len(visual.transformer.resblocks)))

    @property
    def last_map(self) -> str:
        """What enters the last attention."""
        return f"{self.layers[-1]}.norm"

    def taps(self) -> dict[str, Tap]:
        """Name the embedding, the blocks with their attention and MLP, and the parts of the pool."""
        visual: Any = self.visual
        taps = {"embed": Tap(visual.ln_pre)}
        attention = ("query", "key", "value", "attention")
        for name, block in zip(self.layers, visual.transformer.resblocks, strict=True):
            taps[f"{name}.norm"] = Tap(block.ln_1)
            taps |= {f"{name}.{part}": Tap(block.attn, part) for part in attention}
            taps |= {f"{name}.mlp": Tap(block.mlp), name: Tap(block)}
        last = visual.transformer.resblocks[-1].attn
        taps |= {f"pool.{part}": Tap(last, part, pooled=True) for part in attention}
        return taps | {"pool.output": Tap(visual)}

    def open(self, pixels: Tensor, request: Request) -> Opened:
        """Run the tower once; unless somebody listens there, patches attend to themselves alone in the last block.

        The class token never reads what the last attention gives to patches, so they take the value path through
        the tower's own residual, MLP and norms, and the dense features cost no second MLP.
        """
        visual: Any = self.visual
        block, grid = visual.transformer.resblocks[-1], grid_of(pixels, self.cell)
        positional = resize_positional(visual.positional_embedding, grid, antialias=request.path.antialias)
        parts = LastBlock(visual, block)
        with ExitStack() as stack:
            if positional is not visual.positional_embedding:
                stack.enter_context(inside(visual, Watch(swap={id(visual.positional_embedding): positional})))
            seen = stack.enter_context(record(self.taps(), request.layers))
            listeners = hooked(*block.modules(), visual.transformer, visual.ln_post)
            path = request.path
            parts.one_hot = path.one_hot and path.residual and path.mlp and not listeners
            parts.listen(stack)
            embedding = visual(pixels)
        embedding = embedding[0] if isinstance(embedding, tuple) else embedding
        return parts.opened(embedding, grid, request, dict(seen))

    def needs(self, layers: Sequence[str]) -> tuple[str, ...]:
        """Need the stream into and out of each layer."""
        names = ("embed", *self.layers)
        return tuple(dict.fromkeys(n for layer in layers for n in (names[names.index(layer) - 1], layer)))

    def read(self, streams: Mapping[str, Tensor], layer: str, path: Path) -> tuple[Tensor, Tensor]:
        """Push a block's class token and its value path through the final norm and projection."""
        visual: Any = self.visual
        index = self.layers.index(layer)
        block, stream = visual.transformer.resblocks[index], streams[("embed", *self.layers)[index]]
        patches = streams[layer][:, 1:]
        if path.one_hot:
            patches = value_stream(block, stream[:, 1:], values(block, stream[:, 1:]), path)
        return _to_text(visual, streams[layer][:, 0]), _to_text(visual, patches)


def values(block: Any, stream: Tensor) -> Tensor:
    """Compute the merged values `(picture, token, C)` of a block from the stream that enters it."""
    return _project(block.attn, 2, block.ln_1.forward(stream))


def value_stream(block: Any, stream: Tensor, merged_values: Tensor, path: Path) -> Tensor:
    """Let every token attend to itself alone in `block`: `(picture, token, C)`."""
    own: Tensor = block.ls_1.forward(block.attn.out_proj.forward(merged_values))
    own = stream + own if path.residual else own
    if not path.mlp:
        return own
    hidden = block.ln_2.forward(own)
    for layer in block.mlp:  # layer by layer and through `forward`: nobody's hooks see this second run
        hidden = layer.forward(hidden)
    branch: Tensor = block.ls_2.forward(hidden)
    return own + branch


def _project(attention: Any, which: int, tokens: Tensor) -> Tensor:
    bias = attention.in_proj_bias
    return F.linear(tokens, attention.in_proj_weight.chunk(3)[which], None if bias is None else bias.chunk(3)[which])


def _to_text(visual: Any, stream: Tensor) -> Tensor:
    text: Tensor = visual.ln_post.forward(stream) @ visual.proj
    return text


class LastBlock:
    """The last block of one pass: listens while it runs, then takes the class token's answer apart."""

    one_hot: bool
    stream: Tensor
    normed: Tensor
    mlp: Tensor
    final: Tensor
    weights: Tensor
    values: Tensor

    def __init__(self, visual: Any, block: Any) -> None:
        self.visual, self.block = visual, block

    def listen(self, stack: ExitStack) -> None:
        """Observe the block's input, attention, MLP branch and output until `stack` closes."""
        stack.enter_context(observe(self.block.ln_1, self._on_entry))
        stack.enter_context(observe(self.block.ls_2, lambda _inputs, output: setattr(self, "mlp", output[:, 0])))
        stack.enter_context(observe(self.visual.transformer, lambda _inputs, output: setattr(self, "final", output)))
        stack.enter_context(inside(self.block.attn, Watch(self.on_attention)))

    def _on_entry(self, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.stream, self.normed = inputs[0], output

    def on_attention(self, call: AttentionCall) -> Tensor | None:
        """Keep weights and values; in one-hot mode, answer: the class token as it is, each patch its own value."""
        self.weights = call.weights(slice(0, 1))[:, :, 0]
        self.values = call.part("value", slice(None))
        if not self.one_hot:
            return None
        return torch.cat([self.weights[:, :, None] @ self.values, self.values[:, :, 1:]], dim=2)

    def opened(self, embedding: Tensor, grid: tuple[int, int], request: Request, layers: dict[str, Tensor]) -> Opened:
        """Take everything apart, once the tower has run."""
        terms, rest = self._terms()
        return Opened(
            embedding=embedding,
            dense=_to_text(self.visual, self._patches(request.path)).unflatten(1, grid),
            attention=self.weights[..., 1:].unflatten(-1, grid),
            contributions=terms[:, 1:].unflatten(1, grid),
            rest={"class token": terms[:, 0], **rest},
            keys=self._keys(request.keys).unflatten(1, grid) if request.keys else None,
            layers=layers,
        )

    def _patches(self, path: Path) -> Tensor:
        if self.one_hot or not path.one_hot:
            return self.final[:, 1:]
        merged = self.values[:, :, 1:].transpose(1, 2).flatten(2)
        return value_stream(self.block, self.stream[:, 1:], merged, path)

    def _terms(self) -> tuple[Tensor, dict[str, Tensor]]:
        norm, project = self.visual.ln_post, self.block.attn.out_proj
        true = self.final[:, :1]
        deviation = (true.var(-1, keepdim=True, correction=0) + norm.eps).sqrt()

        def frozen(part: Tensor) -> Tensor:
            text: Tensor = ((part - part.mean(-1, keepdim=True)) / deviation * norm.weight) @ self.visual.proj
            return text

        own = (self.weights[..., None] * self.values).transpose(1, 2).flatten(2)
        terms = frozen(self.block.ls_1.forward(F.linear(own, project.weight)))
        bias = self.block.ls_1.forward(project.bias.expand_as(true).clone())
        rest = {
            "residual": frozen(self.stream[:, :1])[:, 0],
            "mlp": frozen(self.mlp[:, None])[:, 0],
            "bias": (frozen(bias) + norm.bias @ self.visual.proj)[:, 0],
        }
        return terms, rest

    def _keys(self, kind: str) -> Tensor:
        keys = _project(self.block.attn, 1, self.normed[:, 1:])
        pushed: Tensor = self.block.attn.out_proj.forward(keys) if kind == "projected" else keys
        return pushed
