"""Paths whose last block attends to another stream than the tower's own: SC-CLIP (arXiv 2411.15869) and its parts.

    x    = stream that enters the last block; places that lie apart get the mean of their neighbours
    x   <- R_a x,                   R_l: rows of cos(x_l) from 0.4 on, each divided by its sum
    y    = O(A V(x)) + c · class token
    y   <- R_b y,  + the same of Σ x_l over some blocks
    A    = Σ_terms w · softmax(s k kᵀ + ω), or softmax(3 (S - mean S)) without negatives, S = cos(x_l)

Written from the formulas. Where the released code and the formula differ on wide images (rows and columns of a place
that lies apart are exchanged there), the formula is followed.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import DensePath, Term
from denseclip_viz.clip.self_attention import block_behind, near_bonus
from denseclip_viz.clip.towers.linearize import apply
from denseclip_viz.clip.towers.tower import BlockPass, Streams
from denseclip_viz.clip.towers.transformer import merge_heads

LIKE = 0.4
"""The cosine from which two patches are averaged."""
NEIGHBOURS, APART = 30, 0.95
_SHARPNESS, _NOTHING = 3.0, 1e-6


def changed_stream(streams: Streams, path: DensePath, grid: tuple[int, int], depth: int) -> Tensor:
    """Sum y up for every position along a path that changes the stream: `(image, position, C)`."""
    prefix = streams.prefix

    def behind(number: int) -> Tensor:
        return streams.blocks[block_behind(number, depth)].entering

    last = streams.blocks[depth - 1]
    before, patches = last.entering[:, :prefix], last.entering[:, prefix:]
    repaired: Callable[[Tensor], Tensor] = _as_it_is
    if path.outliers:
        repaired = partial(_filled, apart=lying_apart(patches), grid=grid)
    compared = {*_similar(path), *path.smooth[:1]}
    alike = {number: cosines(repaired(behind(number)[:, prefix:])) for number in compared}
    patches = repaired(patches)
    if path.smooth:
        patches = averaged(patches, alike[path.smooth[0]])
    streams_in = [(before, patches)]
    if path.summed:
        first, final = path.summed
        total = torch.stack([behind(number) for number in _between(first, final, depth)]).sum(0)
        streams_in.append((total[:, :prefix], total[:, prefix:]))
    stream = sum(_attended(path, last, *entering, alike, grid) for entering in streams_in)
    assert isinstance(stream, Tensor)
    return averaged(stream, cosines(behind(path.smooth[1])[:, prefix:])) if path.smooth else stream


def _as_it_is(patches: Tensor) -> Tensor:
    return patches


def _between(first: int, final: int, depth: int) -> list[int]:
    """List numbers of twelve, one for each block between two of them."""
    blocks = {block_behind(number, depth): number for number in range(first, final + 1)}
    return list(blocks.values())


def _similar(path: DensePath) -> list[int]:
    return [number for term in path.terms if term.kind == "similar" for number in term.blocks]


def _attended(
    path: DensePath, block: BlockPass, before: Tensor, patches: Tensor, alike: dict[int, Tensor], grid: tuple[int, int]
) -> Tensor:
    """Give O(A V) of a stream, and the class token's share."""
    prefix = before.shape[1]
    call = block.call_on(torch.cat([before, patches], dim=1))
    first = 0 if path.class_key else prefix
    value = call.part("value", slice(None))[:, :, first:]
    near = near_bonus(path, grid, value)

    def mixed(term: Term) -> Tensor:
        if term.kind == "similar":
            weights = torch.stack([centred(alike[number]) for number in term.blocks]).mean(0)
            return weights[:, None] @ value[:, :, -weights.shape[-1] :]
        query, key = (call.part({"q": "query", "k": "key", "v": "value"}[kind], slice(None)) for kind in term.kind)
        bias = None if term.kind == "qk" else near
        return F.scaled_dot_product_attention(query[:, :, prefix:], key[:, :, first:], value, bias, scale=call.scale)

    heads = torch.stack([term.weight * mixed(term) for term in path.terms]).sum(0)
    return apply(block.out, merge_heads(heads)) + path.class_token * before[:, :1]


def cosines(patches: Tensor) -> Tensor:
    """Compare all patches of an image with each other: `(image, position, position)`.

    Example:
        >>> cosines(torch.eye(2)[None])
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(-1, -2)


def averaged(patches: Tensor, similarity: Tensor) -> Tensor:
    """Average every patch with those that it is like, by their cosines."""
    like = torch.where(similarity < LIKE, 0, similarity)
    return like / (like.sum(-1, keepdim=True) + _NOTHING) @ patches


def centred(similarity: Tensor) -> Tensor:
    """Attend by cosines above the mean of the image: softmax(3 (S - mean S)), negatives left out."""
    logits = _SHARPNESS * (similarity - similarity.mean((-2, -1), keepdim=True))
    return torch.softmax(logits.masked_fill(logits < 0, -torch.inf), dim=-1)


def lying_apart(patches: Tensor) -> Tensor:
    """Find the places of every image that lie farther from their neighbours than those from theirs, by 5 %.

    The score of a patch is the mean, over its 30 nearest in feature space, of its own distance to the 30th over
    theirs; distances are squared lengths, as in SC-CLIP's code.

    Returns:
        `(image, position)`, yes or no.

    Example:
        >>> line = torch.arange(40.0)
        >>> line[39] = 900
        >>> lying_apart(line[None, :, None]).nonzero()
        tensor([[ 0, 39]])
    """
    count = min(NEIGHBOURS, patches.shape[1] - 1)
    if count < 1:
        return torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
    patches = patches.to(torch.promote_types(patches.dtype, torch.float32))  # torch has no distances in half precision
    exact = "donot_use_mm_for_euclid_dist"
    nearest = (torch.cdist(patches, patches, compute_mode=exact) ** 2).topk(count + 1, largest=False)
    distance = nearest.values[..., -1]
    theirs = torch.gather(distance[:, None].expand(-1, distance.shape[1], -1), 2, nearest.indices[..., 1:])
    score = (distance[..., None] / theirs.clamp_min(_NOTHING)).mean(-1)
    return score > torch.quantile(score, APART, dim=-1, keepdim=True)


def _filled(patches: Tensor, *, apart: Tensor, grid: tuple[int, int]) -> Tensor:
    """Put the mean of the up to eight neighbours that lie in place where a patch lies apart; none: it stays."""
    good = (~apart).to(patches).unflatten(1, grid)[:, None]
    maps = patches.transpose(1, 2).unflatten(2, grid) * good
    around = torch.ones(3, 3).to(patches)
    around[1, 1] = 0
    counts = F.conv2d(good, around[None, None], padding=1)
    sums = F.conv2d(maps.flatten(0, 1)[:, None], around[None, None], padding=1).view_as(maps)
    means = (sums / counts.clamp_min(1)).flatten(2).transpose(1, 2)
    return torch.where((apart & (counts.flatten(1) > 0))[..., None], means, patches)
