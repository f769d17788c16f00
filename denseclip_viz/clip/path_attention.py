"""The kinds of attention that paths are mixed by: products of tokens, and weights that are laid out.

    products    softmax(s · q kᵀ + ω),  queries and keys made of those of one block
    laid out    weights of every position: cosines of patches, sums of attention, what was given

Sources: GEM (arXiv 2312.00878), NACLIP (2404.08181), PEARL (2603.21528), SC-CLIP (2411.15869), CLIPer (2411.13836),
ProxyCLIP (2408.04883), DIH-CLIP (ICCV 2025, pp. 22794-22803), written from their formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.towers.tower import BlockPass

_SHARPNESS = 3.0
_BESIDE = 0.08  # PEARL's share of centred keys; 0.3 for its two data sets of streets and rooms
_STEPS = 5


@dataclass(frozen=True)
class Products:
    """Queries and keys of all tokens, `(image, head, token, channel)`, and what makes logits of their products.

    Attributes:
        query: What asks.
        key: What is asked.
        scale: What products are multiplied by.
        bias: `(…, token, token)`, what is added to them.
    """

    query: Tensor
    key: Tensor
    scale: float
    bias: Tensor | None = None

    def mix(self, values: Tensor, prefix: int, first: int) -> Tensor:
        """Mix the values of the tokens from `first` on for every position; attention is never laid out."""
        query, key, bias = self._cut(prefix, first)
        return F.scaled_dot_product_attention(query, key, values[:, :, first:], attn_mask=bias, scale=self.scale)

    def weights(self, prefix: int, first: int) -> Tensor:
        """Lay the attention of the tokens from `prefix` on to those from `first` on out."""
        query, key, bias = self._cut(prefix, first)
        logits = (query * self.scale) @ key.transpose(-1, -2)
        return torch.softmax(logits if bias is None else logits + bias, dim=-1)

    def _cut(self, prefix: int, first: int) -> tuple[Tensor, Tensor, Tensor | None]:
        bias = None if self.bias is None else self.bias[..., prefix:, first:]
        return self.query[:, :, prefix:], self.key[:, :, first:], bias


def products_of(block: BlockPass, kind: str, near: Tensor | None, prefix: int) -> Products:
    """Make queries and keys of a kind of those of one block.

    Args:
        block: The block.
        kind: Two of q, k, v; or one of the aligned kinds.
        near: `(token, token)` bonus of near tokens; for tokens with their like alone.
        prefix: Tokens before the positions.
    """
    scale = block.call.scale
    if kind == "qk":
        return Products(block.query, block.key, scale, block.call.bias)
    if kind.startswith("aligned"):
        return Products(*aligned(block.query, block.key, prefix, exact=kind == "aligned"), scale)
    tokens = _tokens(block, kind)
    return Products(tokens, tokens, scale, near)


def products_of_gathered(kinds: Sequence[tuple[BlockPass, str]], iterations: int, near: Tensor | None) -> Products:
    """Make queries and keys of tokens that were gathered: of all blocks and kinds at once, one behind the other."""
    # in memory as they were projected, channels of a token together: attention reads and writes that faster
    tokens = torch.cat([_tokens(block, kind).transpose(1, 2) for block, kind in kinds]).transpose(1, 2)
    length = torch.cat([(block.length * block.call.scale).sqrt() for block, _ in kinds])
    tokens = gathered(tokens, length, iterations)
    return Products(tokens, tokens, 1.0, near)


def _tokens(block: BlockPass, kind: str) -> Tensor:
    return {"q": block.query, "k": block.key, "v": block.value}[kind[0]]


def gathered(tokens: Tensor, length: Tensor, iterations: int) -> Tensor:
    """Move tokens to those that they are like, `iterations` times, and give them a length (GEM, section 3.2).

    Its square is what cosines are multiplied by: one tensor serves as query, key and value. `tokens` are overwritten.

    Example:
        >>> gathered(torch.ones(1, 1, 3, 4), torch.ones(1, 1, 1, 1), 1)[0, 0, 0]
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    tokens *= _stretch(tokens, length)
    for _ in range(iterations):
        tokens = F.scaled_dot_product_attention(tokens, tokens, tokens, scale=1.0)
        tokens *= _stretch(tokens, length)
    return tokens


def _stretch(tokens: Tensor, length: Tensor) -> Tensor:
    """Give what brings tokens to a length."""
    nothing = torch.finfo(tokens.dtype).tiny ** 0.5  # over which a length can be divided: zeros stay
    scale: Tensor = length / tokens.norm(dim=-1, keepdim=True).clamp_min(nothing)
    return scale


def nearness(grid: tuple[int, int], sigma: float) -> Tensor:
    """Give exp(-d² / 2σ²) between all positions of a grid, d in positions: `(position, position)` (NACLIP, eq. 4).

    Example:
        >>> nearness((1, 3), 1.0)[0]
        tensor([1.0000, 0.6065, 0.1353], dtype=torch.float64)
    """
    axes = [torch.arange(size, dtype=torch.float64) for size in grid]
    along = [torch.exp(-((axis[:, None] - axis) ** 2) / (2 * sigma**2)) for axis in axes]
    return torch.kron(*along)  # d² is a sum over the axes


def aligned(query: Tensor, key: Tensor, prefix: int, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Turn keys to lie over queries, and put centred keys beside both: PEARL's logits as one product.

    s · q (k R)ᵀ + α s · k_c k_cᵀ,   R: polar factor of k_cᵀ q_c;   centred by the mean of patches, weighed by |q|
    """
    lengths = query.norm(dim=-1, keepdim=True)
    shares = torch.cat([torch.zeros_like(lengths[:, :, :prefix]), lengths[:, :, prefix:]], dim=2)
    shares = shares / shares.sum(2, keepdim=True)
    middle_query, middle_key = ((shares * tokens).sum(2, keepdim=True) for tokens in (query, key))
    centred_key = key - middle_key
    between = centred_key.transpose(-1, -2) @ (query - middle_query)
    turn = polar_factor(between) if exact else five_steps(between)
    return torch.cat([query, _BESIDE * centred_key], dim=-1), torch.cat([key @ turn, centred_key], dim=-1)


def polar_factor(matrix: Tensor) -> Tensor:
    """Give the orthogonal map that is nearest to each matrix: U Vᵀ.

    Example:
        >>> polar_factor(torch.diag(torch.tensor([3.0, 0.5]))).round()
        tensor([[1., 0.],
                [0., 1.]])
    """
    # small singular values turn far in single precision, and some devices have no double
    left, _, right = torch.linalg.svd(matrix.to("cpu", torch.float64))
    turn: Tensor = left @ right
    return turn.to(matrix)


def five_steps(matrix: Tensor) -> Tensor:
    """Come as near to the polar factor as five Newton–Schulz steps do, X ← X (3 I - XᵀX) / 2.

    They start at the matrix over the root of the length of MᵀM; where singular values fall off quickly the end is far
    from the polar factor (a sixth to nine tenths off), so the two are two kinds of attention.

    Example:
        >>> five_steps(torch.diag(torch.tensor([1.0, 0.01]))).diagonal()
        tensor([1.0000, 0.0758])
    """
    length = (matrix.transpose(-1, -2) @ matrix).flatten(-2).norm(dim=-1)[..., None, None]
    turn: Tensor = matrix / length.sqrt()
    for _ in range(_STEPS):
        turn = 1.5 * turn - 0.5 * turn @ (turn.transpose(-1, -2) @ turn)
    return turn


def cosines(patches: Tensor) -> Tensor:
    """Compare all patches of an image with each other: `(image, position, position)`.

    Example:
        >>> cosines(torch.eye(2)[None])
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(-1, -2)


def centred(similarity: Tensor, share: float = 1.0) -> Tensor:
    """Attend by cosines above a share of their mean in the image: softmax(3 (S - share · mean S)), no negatives.

    Where no cosine of a row is above it, the row is of its largest alone.

    Example:
        >>> centred(torch.eye(2)[None])
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    logits = _SHARPNESS * (similarity - share * similarity.mean((-2, -1), keepdim=True))
    below = (logits < 0) & (logits < logits.amax(-1, keepdim=True))
    return torch.softmax(logits.masked_fill(below, -torch.inf), dim=-1)


def balanced(attention: Tensor) -> Tensor:
    """Balance attention `(…, token, token)` (CLIPer): over columns, over rows, symmetric, without its mean, over rows.

    The released code does the first two steps once more for every layer that goes through it; here they are done once.

    Example:
        >>> balanced(torch.tensor([[0.9, 0.1], [0.3, 0.7]]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    attention = attention / attention.sum(-2, keepdim=True)
    attention = attention / attention.sum(-1, keepdim=True)
    attention = (attention + attention.transpose(-1, -2)) / 2
    attention = (attention - attention.mean(-2, keepdim=True)).clamp_min(0)
    return attention / attention.sum(-1, keepdim=True)


def of_lowest_entropy(attention: Tensor, count: int, measured: Tensor | None = None) -> Tensor:
    """Sum the attention of the heads of the lowest entropy: `(image, row, token)` of `(image, head, row, token)`.

    Args:
        attention: What is summed.
        count: How many heads.
        measured: The attention whose entropy counts, if it is another.
    """
    measured = attention if measured is None else measured
    entropy = -torch.special.xlogy(measured, measured).sum((-2, -1))
    chosen = entropy.topk(min(count, entropy.shape[1]), largest=False).indices
    return torch.stack([heads[index].sum(0) for heads, index in zip(attention, chosen, strict=True)])
