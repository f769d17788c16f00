"""Paths whose last block attends to another stream than the tower's own: SC-CLIP, SFP, DIH-CLIP, CLIPer.

    x    = stream that enters the last block; places that stand out get the mean of their neighbours
    x   <- R_a x,                   R_l: rows of cos(x_l) from 0.4 on, each divided by its sum
    y    = O(A V(x)) + c · class token
    y   <- R_b y,  + the same of Σ x_l over some blocks
    F    = head(y);   late: the mean over blocks l of head(O(A V(LN(LN_l(x_l)))) / |…|, of the last of head(y) / |…|

Sources: SC-CLIP (arXiv 2411.15869), SFP (ICCV 2025), DIH-CLIP (ICCV 2025, pp. 22794-22803), CLIPer (2411.13836).
Written from the formulas. Where released code and formula differ, the formula is followed: SC-CLIP's exchanges rows and
columns of a place that lies apart on wide images; SFP's takes the mean of cosines after those below 0.4 were set to 0.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.path_attention import cosines, products_of
from denseclip_viz.clip.self_attention import Mixer, block_behind, compared_blocks
from denseclip_viz.clip.towers.linearize import apply

LIKE = 0.4
"""The cosine from which two patches are averaged."""
NEIGHBOURS, APART = 30, 0.95
ATTENDED, MOST = 1.5, 10
_NOTHING = 1e-6


def changed_features(mixer: Mixer, path: DensePath) -> Tensor:
    """Make the dense features of a path that changes the stream: `(image, position, D)`."""
    streams, last = mixer.streams, mixer.streams.blocks[mixer.depth - 1]
    if not path.late:
        return apply(streams.head, _stream(mixer, path))
    blocks = [streams.blocks[number] for number in range(mixer.depth - 1)]
    reads = [*(apply(block.entry, block.entering) for block in blocks), last.entering]
    features = [apply(streams.head, _attended(mixer, path, stream)) for stream in reads]
    return torch.stack([F.normalize(each, dim=-1) for each in features]).mean(0)


def _stream(mixer: Mixer, path: DensePath) -> Tensor:
    """Sum y up for every position: `(image, position, C)`."""
    prefix, entering = mixer.prefix, mixer.streams.blocks[mixer.depth - 1].entering
    before, patches = entering[:, :prefix], entering[:, prefix:]
    repaired: Callable[[Tensor], Tensor] = _as_it_is
    if path.outliers:
        apart = lying_apart(patches) if path.outliers == "density" else _attended_most(mixer)
        repaired = partial(_filled, apart=apart, grid=mixer.grid)
    alike = {number: cosines(repaired(mixer.compared(path, number))) for number in compared_blocks(path)}
    patches = repaired(patches)
    if path.smooth:
        patches = averaged(patches, alike[path.smooth[0]])
    stream = _attended(mixer, path, torch.cat([before, patches], dim=1), alike)
    if path.summed:
        first, final = path.summed
        total = torch.stack([mixer.behind(number) for number in _between(first, final, mixer.depth)]).sum(0)
        stream = stream + _attended(mixer, path, total, alike, summed=True)
    return averaged(stream, cosines(mixer.behind(path.smooth[1])[:, prefix:])) if path.smooth else stream


def _as_it_is(patches: Tensor) -> Tensor:
    return patches


def _between(first: int, final: int, depth: int) -> list[int]:
    """List numbers of twelve, one for each block between two of them."""
    blocks = {block_behind(number, depth): number for number in range(first, final + 1)}
    return list(blocks.values())


def _attended(
    mixer: Mixer, path: DensePath, stream: Tensor, alike: dict[int, Tensor] | None = None, *, summed: bool = False
) -> Tensor:
    """Give O(A V) of a stream in the last block, and the class token's share."""
    terms = path.summed_terms if summed else path.terms
    return mixer.added(path, terms, mixer.moved(stream), alike) + path.class_token * stream[:, :1]


def averaged(patches: Tensor, similarity: Tensor) -> Tensor:
    """Average every patch with those that it is like, by their cosines."""
    like = torch.where(similarity < LIKE, 0, similarity)
    return like / (like.sum(-1, keepdim=True) + _NOTHING) @ patches


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
    nearest = _squared_distances(patches).topk(count + 1, largest=False)
    distance = nearest.values[..., -1]
    theirs = torch.gather(distance[:, None].expand(-1, distance.shape[1], -1), 2, nearest.indices[..., 1:])
    score = (distance[..., None] / theirs.clamp_min(_NOTHING)).mean(-1)
    return score > torch.quantile(score, APART, dim=-1, keepdim=True)


def _squared_distances(patches: Tensor) -> Tensor:
    """Give |a - b|² of all patches of an image, by one product: `(image, position, position)`."""
    # double where it is to be had: what is left of |a|² + |b|² - 2ab is small beside them
    patches = patches.to(torch.float32 if patches.device.type == "mps" else torch.float64)
    lengths = patches.square().sum(-1)
    return torch.baddbmm(lengths[..., None] + lengths[:, None], patches, patches.mT, alpha=-2).clamp_min(0)


def _attended_most(mixer: Mixer) -> Tensor:
    """Find the places that the class token of the block before the last attends to more than they to themselves.

    Their share of its attention, times 1.5 and the mean of heads, is above their own of theirs; at most ten, those of
    the largest share (SFP): `(image, position)`, yes or no.
    """
    block, prefix = mixer.streams.blocks[max(mixer.depth - 2, 0)], mixer.prefix
    attention = products_of(block, "qk", None, prefix).weights(0, 0).mean(1)
    given = ATTENDED * attention[:, 0, prefix:]
    excess = given.masked_fill(given <= attention.diagonal(dim1=-2, dim2=-1)[:, prefix:], -torch.inf)
    most = excess.topk(min(MOST, excess.shape[-1]))
    return torch.zeros_like(given, dtype=torch.bool).scatter(1, most.indices, most.values > 0)


def _filled(patches: Tensor, *, apart: Tensor, grid: tuple[int, int]) -> Tensor:
    """Put the mean of the up to eight neighbours that lie in place where a patch lies apart; none: it stays."""
    good = (~apart).to(patches)[..., None]  # none that lies apart counts, so it is none of its own nine either
    sums, counts = (_of_nine(maps.unflatten(1, grid)).flatten(1, 2) for maps in (patches * good, good))
    return torch.where(apart[..., None] & (counts > 0), sums / counts.clamp_min(1), patches)


def _of_nine(maps: Tensor) -> Tensor:
    """Sum `(image, y, x, C)` over each place and its neighbours."""
    return F.avg_pool2d(maps.permute(0, 3, 1, 2), 3, stride=1, padding=1, divisor_override=1).permute(0, 2, 3, 1)
