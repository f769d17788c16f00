"""What positions attend to along a path: self-self attention, nearness, and attention of other blocks.

    A_l = Σ_terms weight · softmax(s · z zᵀ + ω),   z in {q, k, v},  or q kᵀ as the tower itself
    y   = r · x_e  +  Σ_{l in the last n blocks}  O_l(A_l V_l)

(Q, K, V)_l are of the untouched stream, so one pass gives every path. Sources: SCLIP (arXiv 2312.01597), ClearCLIP
(2407.12442), NACLIP (2404.08181), CLIP Surgery (2304.05653), GEM (2312.00878), ResCLIP (2411.15851), ITACLIP
(2411.12044), written from their formulas.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import TWELVE, DensePath, Term
from denseclip_viz.clip.towers.linearize import apply
from denseclip_viz.clip.towers.tower import BlockPass, Streams
from denseclip_viz.clip.towers.transformer import merge_heads


def block_numbers(twelfths: Iterable[int], depth: int) -> list[int]:
    """Turn block numbers of a tower of twelve, from 1, into those of a tower of `depth` blocks, from 0.

    Example:
        >>> block_numbers((7, 8, 10), 12), block_numbers((7, 8, 10), 24), block_numbers((7, 8, 10), 3)
        ([6, 7, 9], [13, 15, 19], [1, 2])
    """
    return sorted({max(1, int(number * depth / TWELVE + 0.5)) - 1 for number in twelfths})


def blocks_of(path: DensePath, depth: int) -> set[int]:
    """Give the numbers, from 0, of the blocks that a path is made of in a tower of `depth` blocks."""
    if not path.of_blocks:
        return set()
    similar = [number for term in path.terms if term.kind == "similar" for number in term.blocks]
    between = range(path.summed[0], path.summed[1] + 1) if path.summed else ()
    behind = {block_behind(number, depth) for number in (*similar, *path.smooth, *between)}
    elsewhere = [number for term in path.terms for number in block_numbers(term.blocks, depth)]
    return {*range(depth)[-path.blocks :], *behind, *elsewhere}


def block_behind(number: int, depth: int) -> int:
    """Give the number, from 0, of the block that the stream behind block `number` of twelve enters.

    Behind the last one stands no block: the last enters what it made.

    Example:
        >>> block_behind(9, 12), block_behind(11, 12), block_behind(9, 24), block_behind(12, 12)
        (9, 11, 18, 11)
    """
    return min(block_numbers((number,), depth)[0] + 1, depth - 1)


@dataclass
class Mixer:
    """The streams of one pass, mixed along paths; what several paths share is mixed once.

    Attention is never laid out: Σ A V is the sum of what each term's own call gives, which torch computes in one go.
    """

    streams: Streams
    grid: tuple[int, int]
    depth: int
    _mixed: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def stream(self, path: DensePath) -> Tensor:
        """Sum y up for every position along a path of blocks: `(image, position, C)`."""
        numbers = range(self.depth)[-path.blocks :]
        entering = self.streams.blocks[numbers[0]].entering[:, self.streams.prefix :]
        stream = entering if path.residual else torch.zeros_like(entering)
        for number in numbers:
            heads = sum((self._attend(path, term, number) for term in path.terms), torch.zeros(()).to(stream))
            stream = stream + apply(self.streams.blocks[number].out, merge_heads(heads))
        return stream + apply(self.streams.mlp, stream) if path.mlp else stream

    def _attend(self, path: DensePath, term: Term, number: int) -> Tensor:
        """Give the share of one term in A V of one block, `(image, head, position, channel)`."""
        sources = block_numbers(term.blocks, self.depth) or [number]
        each = [self._mix(path, term.kind, source, number) for source in sources]
        return sum(each[1:], each[0]) * (term.weight / len(each))

    def _mix(self, path: DensePath, kind: str, source: int, number: int) -> Tensor:
        """Mix the values of one block by the attention of one kind in another, or in itself."""
        plain = kind == "qk"  # as the tower itself, with its own bias: no bonus for near positions, no gathering
        gaussian, iterations = (0.0, None) if plain else (path.gaussian, path.iterations)
        key = (kind, source, number, gaussian, iterations, path.class_key)
        if key not in self._mixed:
            first, prefix = 0 if path.class_key else self.streams.prefix, self.streams.prefix
            block, values = self.streams.blocks[source], self.streams.blocks[number].value
            near = None if plain else near_bonus(path, self.grid, values[:, :, first:])
            bias = block.call.bias[..., prefix:, first:] if plain and block.call.bias is not None else near
            queries, keys, scale = _tokens(block, kind, iterations)
            self._mixed[key] = F.scaled_dot_product_attention(
                queries[:, :, prefix:], keys[:, :, first:], values[:, :, first:], attn_mask=bias, scale=scale
            )
        return self._mixed[key]


def _tokens(block: BlockPass, kind: str, iterations: int | None) -> tuple[Tensor, Tensor, float]:
    """Give queries, keys and what their products are multiplied by."""
    parts = {"q": block.query, "k": block.key, "v": block.value}
    if iterations is None:
        return parts[kind[0]], parts[kind[1]], block.call.scale
    sharpness = block.length * block.call.scale
    tokens = gathered(parts[kind[0]], sharpness, iterations)
    return sharpness * tokens, tokens, 1.0


def gathered(tokens: Tensor, sharpness: Tensor, iterations: int) -> Tensor:
    """Move tokens to those that they are like, `iterations` times, and give them the length 1 (GEM, section 3.2).

    Example:
        >>> gathered(torch.ones(1, 1, 3, 4), torch.ones(1, 1, 1, 1), 1)[0, 0, 0]
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    for _ in range(iterations):
        tokens = F.normalize(tokens, dim=-1)
        tokens = F.scaled_dot_product_attention(sharpness * tokens, tokens, tokens, scale=1.0)
    return F.normalize(tokens, dim=-1)


def near_bonus(path: DensePath, grid: tuple[int, int], values: Tensor) -> Tensor | None:
    """Give what near positions get in the logits along a path, `(position, token)`; tokens before positions get 0."""
    if not path.gaussian:
        return None
    near = nearness(grid, path.gaussian)
    return F.pad(near, (values.shape[-2] - len(near), 0)).to(values)


def nearness(grid: tuple[int, int], sigma: float) -> Tensor:
    """Give exp(-d² / 2σ²) between all positions of a grid, d in positions: `(position, position)` (NACLIP, eq. 4).

    Example:
        >>> nearness((1, 3), 1.0)[0]
        tensor([1.0000, 0.6065, 0.1353], dtype=torch.float64)
    """
    axes = [torch.arange(size, dtype=torch.float64) for size in grid]
    places = torch.cartesian_prod(*axes).view(-1, 2)
    return torch.exp(-(torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / (2 * sigma**2))
