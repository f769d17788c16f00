"""Published dense paths of a ViT, each written by itself from its paper, in NumPy loops over heads and positions.

Shares no code with the package: `oracle` gives the streams, queries, keys and values of every block. What comes back
is `(y, x, D)`. Block numbers are those of a tower of twelve, as the papers have them.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from oracle import (
    Array,
    Grid,
    Vit,
    Weights,
    block_name,
    gamma,
    layer_norm,
    linear,
    on_grid,
    split_heads,
    vit_mlp,
    vit_project,
    vit_qkv,
)
from oracle_maps import softmax


class Tower:
    """The streams of one image, and the parts of its blocks per head."""

    def __init__(self, sd: Weights, streams: list[Array], grid: Grid, vit: Vit, given: dict[str, Array]) -> None:
        self.sd, self.streams, self.grid, self.vit, self.given = sd, streams, grid, vit, given
        self.last = len(streams) - 2

    def heads(self, block: int, stream: Array | None = None) -> list[tuple[Array, Array, Array]]:
        """(token, channel) of query, key and value, head by head, of the tower's own stream or another."""
        stream = self.streams[block] if stream is None else stream
        parts = (split_heads(part, self.vit.heads) for part in vit_qkv(self.sd, stream, self.vit, block))
        return list(zip(*parts, strict=True))

    def out(self, merged: Array, block: int) -> Array:
        """γ out_proj of merged heads."""
        name = block_name(self.sd, block)
        return gamma(self.sd, f"{name}.ls_1") * linear(merged, self.sd, f"{name}.attn.out_proj")

    def plain(self, block: int) -> list[Array]:
        """The tower's own attention of a block, (token, token) head by head."""
        heads = self.heads(block)
        return [np.stack([softmax(k @ a * self.scale()) for a in q]) for q, k, _ in heads]

    def scale(self) -> float:
        return 1 / math.sqrt(self.streams[0].shape[1] / self.vit.heads)

    def added(self, block: int, attention: Callable[[int, Array, Array, Array], Array]) -> Array:
        """γ out_proj(A V) of a block; `attention(head, q, k, v)` gives (token, token)."""
        mixed = [attention(head, q, k, v) @ v for head, (q, k, v) in enumerate(self.heads(block))]
        return self.out(np.concatenate(mixed, axis=-1), block)

    def project(self, stream: Array) -> Array:
        return on_grid(vit_project(self.sd, stream[1:], self.vit), self.grid)

    def alike(self, tokens: Array) -> Array:
        """softmax of every token against every other, row by row."""
        return np.stack([softmax(tokens @ token * self.scale()) for token in tokens])


def sclip(tower: Tower) -> Array:
    """Two softmaxes, summed; residual and MLP as they are."""
    added = tower.added(tower.last, lambda _h, q, k, _v: tower.alike(q) + tower.alike(k))
    stream = tower.streams[tower.last] + added
    return tower.project(stream + vit_mlp(tower.sd, stream, tower.vit, tower.last))


def clearclip(tower: Tower) -> Array:
    """Query with query; neither residual nor MLP."""
    return tower.project(tower.added(tower.last, lambda _h, q, _k, _v: tower.alike(q)))


def near(tower: Tower, sigma: float = 5.0) -> Array:
    """exp(-d²/2σ²) between patches; nothing for the class token."""
    rows, columns = tower.grid
    places = [(y, x) for y in range(rows) for x in range(columns)]
    bonus = np.zeros((len(places) + 1, len(places) + 1))
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            bonus[i + 1, j + 1] = math.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * sigma**2))
    return bonus


def near_keys(tower: Tower, k: Array) -> Array:
    return np.stack([softmax(row) for row in k @ k.T * tower.scale() + near(tower)])


def naclip(tower: Tower) -> Array:
    """Key with key, near patches first; neither residual nor MLP."""
    return tower.project(tower.added(tower.last, lambda _h, _q, k, _v: near_keys(tower, k)))


def clip_surgery(tower: Tower) -> Array:
    """Value with value in the last six blocks, each on the untouched stream, added to the stream before them."""
    first = max(tower.last - 5, 0)
    stream = tower.streams[first]
    for block in range(first, tower.last + 1):
        stream = stream + tower.added(block, lambda _h, _q, _k, v: tower.alike(v))
    return tower.project(stream)


def gem(tower: Tower, iterations: int = 1) -> Array:
    """The mean of three self-self attentions, of tokens of length 1 that were gathered once before."""
    first = max(tower.last - 5, 0)
    stream = tower.streams[first]
    for block in range(first, tower.last + 1):
        reads = layer_norm(tower.streams[block], tower.sd, f"{block_name(tower.sd, block)}.ln_1", tower.vit.eps)
        inverse = np.mean([np.linalg.norm(token) for token in reads]) * tower.scale()

        def unit(tokens):
            return np.stack([token / np.linalg.norm(token) for token in tokens])

        def attention(tokens, inverse=inverse):
            return np.stack([softmax(inverse * (tokens @ token)) for token in tokens])

        def gathered(tokens):
            for _ in range(iterations):
                tokens = unit(tokens)
                tokens = attention(tokens) @ tokens
            return attention(unit(tokens))

        stream = stream + tower.added(block, lambda _h, q, k, v: (gathered(v) + gathered(k) + gathered(q)) / 3)
    return tower.project(stream)


def resclip(tower: Tower) -> Array:
    """NACLIP's attention and the mean of the plain one of blocks 6 to 9, τ = 2 and λ = 0.6."""
    plain = [
        [np.stack([softmax(row) for row in q @ k.T * tower.scale()]) for q, k, _ in tower.heads(block)]
        for block in (5, 6, 7, 8)
    ]

    def attention(head, _q, k, _v):
        others = sum(each[head] for each in plain) / 4
        return 2 * ((1 - 0.6) * near_keys(tower, k) + 0.6 * others)

    return tower.project(tower.added(tower.last, attention))


def itaclip(tower: Tower) -> Array:
    """SCLIP's attention of the last block and the mean of blocks 7, 8 and 10, half and half; residual, no MLP."""
    inner = [[tower.alike(q) + tower.alike(k) for q, k, _ in tower.heads(block)] for block in (6, 7, 9)]

    def attention(head, q, k, _v):
        return 0.5 * (tower.alike(q) + tower.alike(k)) + 0.5 * sum(each[head] for each in inner) / 3

    return tower.project(tower.streams[tower.last] + tower.added(tower.last, attention))


def kk_all_blocks(tower: Tower) -> Array:
    """Key with key, the mean of all blocks; neither residual nor MLP."""
    every = [[tower.alike(k) for _, k, _ in tower.heads(block)] for block in range(tower.last + 1)]
    return tower.project(tower.added(tower.last, lambda head, *_: sum(each[head] for each in every) / len(every)))


def cosine_of(a: Array, b: Array) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def all_cosines(patches: Array) -> Array:
    return np.array([[cosine_of(a, b) for b in patches] for a in patches])


def apart(patches: Array) -> list[int]:
    """The 5 % of patches whose 30th neighbour is farthest, measured by those of their neighbours."""
    count = min(30, len(patches) - 1)
    squared = [[float(((a - b) ** 2).sum()) for b in patches] for a in patches]
    nearest = [sorted(range(len(patches)), key=row.__getitem__)[1 : count + 1] for row in squared]
    reach = [squared[i][near[-1]] for i, near in enumerate(nearest)]
    scores = [np.mean([reach[i] / reach[j] for j in near]) for i, near in enumerate(nearest)]
    limit = np.quantile(scores, 0.95)
    return [i for i, score in enumerate(scores) if score > limit]


def filled(patches: Array, bad: list[int], grid: Grid) -> Array:
    """Where a patch lies apart, the mean of those around it that do not."""
    rows, columns = grid
    new = patches.copy()
    for place in bad:
        y, x = divmod(place, columns)
        around = [
            v * columns + u
            for v in range(max(y - 1, 0), min(y + 2, rows))
            for u in range(max(x - 1, 0), min(x + 2, columns))
            if v * columns + u != place and v * columns + u not in bad
        ]
        if around:
            new[place] = np.mean([patches[other] for other in around], axis=0)
    return new


def averaged(patches: Array, similarity: Array) -> Array:
    new = []
    for row in similarity:
        like = [float(value) if value >= 0.4 else 0.0 for value in row]
        new.append(sum(w * patch for w, patch in zip(like, patches, strict=True)) / (sum(like) + 1e-6))
    return np.stack(new)


def by_similarity(similarity: Array, share: float = 1.0) -> Array:
    """softmax of three times what is above (a share of) the mean, row by row; the rest has no part in it."""
    logits = 3 * (similarity - share * similarity.mean())
    return np.stack([softmax(np.where(row < 0, -np.inf, row)) for row in logits])


def smoothed(tower: Tower, bad: list[int], late: Array, attended: Callable[..., Array]) -> Array:
    """What SC-CLIP, SFP and DIH-CLIP share: the last stream and the sum of blocks 4 to 10 through one attention.

    `attended(patches, class token, summed)` is the attention; `late` the cosines of patches behind block 9.
    """
    stream = tower.streams  # stream[l]: behind block l
    last = averaged(filled(stream[11][1:], bad, tower.grid), late)
    early = all_cosines(stream[4][1:])
    total = sum(stream[number] for number in range(4, 11))
    both = attended(last, False) + 0.3 * stream[11][0], attended(total[1:], True) + 0.3 * total[0]
    final = sum(averaged(each, early) for each in both)
    return on_grid(vit_project(tower.sd, final, tower.vit), tower.grid)


def sc_clip(tower: Tower) -> Array:
    """Repaired, averaged, mixed by two attentions, averaged again; and the same of the sum of blocks 4 to 10."""
    bad = apart(tower.streams[11][1:])
    late = all_cosines(filled(tower.streams[9][1:], bad, tower.grid))

    def attended(patches: Array, _summed: bool) -> Array:
        mixed = [(by_similarity(late) + tower.alike(k)) / 2 @ v for _, k, v in tower.heads(11, patches)]
        return tower.out(np.concatenate(mixed, -1), 11)

    return smoothed(tower, bad, late, attended)


def outshone(tower: Tower) -> list[int]:
    """Patches that the class token of block 11 attends to, times 1.5, more than they to themselves; the ten first."""
    attention = sum(tower.plain(10)) / tower.vit.heads
    shares = {j - 1: 1.5 * attention[0, j] for j in range(1, len(attention)) if 1.5 * attention[0, j] > attention[j, j]}
    return sorted(shares, key=lambda place: -shares[place])[:10]


def sfp(tower: Tower) -> Array:
    """As SC-CLIP, but other outliers, three attentions, and the sum of blocks by similarity alone."""
    bad = outshone(tower)
    late = all_cosines(filled(tower.streams[9][1:], bad, tower.grid))

    def attended(patches: Array, summed: bool) -> Array:
        similar, mixed = by_similarity(late), []
        for q, k, v in tower.heads(11, patches):
            attention = similar if summed else (similar + tower.alike(q) + tower.alike(k)) / 3
            mixed.append(attention @ v)
        return tower.out(np.concatenate(mixed, -1), 11)

    return smoothed(tower, bad, late, attended)


def entropy(attention: Array) -> float:
    return -sum(float(share) * math.log2(share) for row in attention for share in row if share > 0)


def ordered(attentions: list[Array], count: int = 4) -> list[int]:
    return sorted(range(len(attentions)), key=lambda head: entropy(attentions[head]))[:count]


def dih_clip(tower: Tower) -> Array:
    """Four heads, the most certain, mix the values of all; and what they gather in block 9 helps to compare patches."""
    heads = tower.heads(8)
    every = np.concatenate([v for _, _, v in heads], -1)
    gathered = sum(tower.alike(heads[head][1]) for head in ordered(tower.plain(8))) @ every
    late = all_cosines((tower.streams[9] + tower.out(gathered, 8))[1:])

    def attended(patches: Array, _summed: bool) -> Array:
        parts = tower.heads(11, patches)
        attentions = [(by_similarity(late) + tower.alike(k)) / 2 for _, k, _ in parts]
        values = np.concatenate([v for _, _, v in parts], -1)
        chosen = ordered(attentions)
        return tower.out(sum(attentions[head] @ values for head in chosen) / len(parts), 11)

    return smoothed(tower, [], late, attended)


def polar(matrix: Array) -> Array:
    """The orthogonal factor, by Newton's X <- (X + X^-T) / 2."""
    for _ in range(60):
        matrix = (matrix + np.linalg.inv(matrix).T) / 2
    return matrix


def five_steps(matrix: Array) -> Array:
    """M A^(-1/2), A = MᵀM, as far as the coupled iteration comes: Y -> Y T, Z -> T Z, T = (3 I - Z Y) / 2."""
    square = matrix.T @ matrix
    length = np.sqrt((square**2).sum())
    y, z = square / length, np.eye(len(square))
    for _ in range(5):
        t = (3 * np.eye(len(square)) - z @ y) / 2
        y, z = y @ t, t @ z
    return matrix @ z / np.sqrt(length)


def pearl(tower: Tower, turn: Callable[[Array], Array] = polar) -> Array:
    """Queries against keys that were turned onto them, and a little of keys against keys."""

    def attention(_head: int, q: Array, k: Array, _v: Array) -> Array:
        lengths = np.array([0.0, *(np.sqrt(token @ token) for token in q[1:])])
        middle_q, middle_k = (sum(w * token for w, token in zip(lengths, z, strict=True)) for z in (q, k))
        q_c, k_c = q - middle_q / lengths.sum(), k - middle_k / lengths.sum()
        cross = sum(np.outer(a, b) for a, b in zip(k_c, q_c, strict=True))
        turned = k @ turn(cross)
        rows = [[a @ b + 0.08 * (c @ d) for b, d in zip(turned, k_c, strict=True)] for a, c in zip(q, k_c, strict=True)]
        return np.stack([softmax(np.array(row) * tower.scale()) for row in rows])

    return tower.project(tower.added(tower.last, attention))


def pearl_in_five_steps(tower: Tower) -> Array:
    return pearl(tower, five_steps)


def cliper(tower: Tower) -> Array:
    """One attention out of those of blocks 1 to 11, on what every block's attention reads; unit features averaged."""
    attentions = []
    for head in range(tower.vit.heads):
        total = sum(tower.plain(block)[head] for block in range(11))
        for axis in (0, 1):
            total = total / total.sum(axis, keepdims=True)
        total = (total + total.T) / 2
        total = np.maximum(total - total.mean(0), 0)
        attentions.append(total / total.sum(1, keepdims=True))
    streams = [
        layer_norm(tower.streams[block], tower.sd, f"{block_name(tower.sd, block)}.ln_1", tower.vit.eps)
        for block in range(11)
    ]
    features = 0.0
    for stream in [*streams, tower.streams[11]]:
        mixed = [a @ v for a, (_, _, v) in zip(attentions, tower.heads(11, stream), strict=True)]
        projected = vit_project(tower.sd, tower.out(np.concatenate(mixed, -1), 11)[1:], tower.vit)
        features = features + np.stack([row / np.sqrt(row @ row) for row in projected]) / 12
    return on_grid(features, tower.grid)


def bilinear(features: Array, grid: Grid) -> Array:
    """(y, x, C) at the middles of other cells; beyond the outermost middles the nearest counts."""
    out = np.empty((*grid, features.shape[2]))
    for cell in np.ndindex(*grid):
        sides = []
        for place, before, after in zip(cell, features.shape, grid, strict=False):
            at = min(max((place + 0.5) * before / after - 0.5, 0), before - 1)
            low = int(at)
            sides.append([(low, 1 - at + low), (min(low + 1, before - 1), at - low)])
        out[cell] = sum(wy * wx * features[y, x] for y, wy in sides[0] for x, wx in sides[1])
    return out


def proxyclip(tower: Tower) -> Array:
    """Another model's cosines, those well above their mean; neither residual nor MLP, nor the class token."""
    given = bilinear(tower.given["features"], tower.grid).reshape(-1, 10)
    attention = by_similarity(all_cosines(given), 1.2)
    mixed = [attention @ v[1:] for _, _, v in tower.heads(tower.last)]
    projected = vit_project(tower.sd, tower.out(np.concatenate(mixed, -1), tower.last), tower.vit)
    return on_grid(projected, tower.grid)


def into_range(values: Array, like: Array) -> Array:
    return np.interp(values, (values.min(), values.max()), (like.min(), like.max()))


def cass(tower: Tower, *, released: bool = False) -> Array:
    """Keys' own graphs, and those of the keys given that differ most from them, low in rank; near positions; no MLP."""
    heads, keys = tower.vit.heads, np.stack([k[1:] for _, k, _ in tower.heads(tower.last)])
    given = bilinear(tower.given["spectral"], tower.grid).reshape(len(keys[0]), heads, -1).transpose(1, 0, 2)
    given = into_range(given, keys)
    ours, theirs = ([tower.scale() * k @ k.T for k in each] for each in (keys, given))

    def spectrum(graph: Array) -> Array:
        values = sorted(np.linalg.svd(graph, compute_uv=False), reverse=True)[:20]
        values = values / np.linalg.norm(values)
        return values / values.sum()

    apart = [[np.abs(spectrum(their) - spectrum(our)).sum() for our in ours] for their in theirs]

    def fit(order: tuple[int, ...]) -> tuple[float, int]:
        """How far pairs are apart; of those as far, the more in order the better."""
        return round(sum(apart[g][h] for g, h in enumerate(order)), 8), sum(g * h for g, h in enumerate(order))

    best = max(itertools.permutations(range(heads)), key=fit)
    mixed: list[Array] = [np.empty(0)] * heads
    for g, h in enumerate(best):
        left, sizes, right = np.linalg.svd(theirs[h if released else g])
        kept = 10 if released else next(n for n in range(1, 99) if sizes[:n].sum() >= 0.95 * sizes.sum())
        sizes = sizes[:kept]
        sizes = np.interp(sizes, (sizes.min(), sizes.max()), (sizes.min() / 2, 1.5 * sizes.max()))
        part = left[:, :kept] @ np.diag(sizes) @ right[:kept]
        np.fill_diagonal(part, 0)
        head = g if released else h
        share = 10 * apart[g][h]
        logits = (share * into_range(part, ours[head]) + ours[head]) / (share + 1)
        attention = np.stack([softmax(row) for row in logits + near(tower)[1:, 1:]])
        mixed[head] = attention @ tower.heads(tower.last)[head][2][1:]
    merged = tower.out(np.concatenate(mixed, -1), tower.last)
    return on_grid(vit_project(tower.sd, merged, tower.vit), tower.grid)


def cass_as_released(tower: Tower) -> Array:
    return cass(tower, released=True)


def liker(values: Array, shares: list[list[float]], place: int) -> bool:
    """Whether a patch is more like its own regions than like the others, by 0.07 of a mean cosine at least."""
    unit = [value / math.sqrt(value @ value) for value in values]
    means = []
    for region in shares:
        inside = [i for i, share in enumerate(region) if share > 0]
        means.append((bool(region[place] > 0), sum(unit[place] @ unit[i] for i in inside) / len(inside)))
    own, others = ([mean for lies, mean in means if lies is where] for where in (True, False))
    return not own or not others or sum(own) / len(own) - sum(others) / len(others) >= 0.07


def textregion(tower: Tower) -> Array:
    return region_means(tower, apart=True)


def region_means(tower: Tower, *, apart: bool = False) -> Array:
    """Values averaged over a position's own regions, each by the share of a patch that is in it; MLP, no residual.

    Args:
        tower: The tower.
        apart: Leave patches out that are as like the other regions.
    """
    masks, (rows, columns) = tower.given["regions"], tower.grid
    height, width = masks.shape[1] // rows, masks.shape[2] // columns
    shares = [
        [mask[y * height :][:height, x * width :][:, :width].mean() for y in range(rows) for x in range(columns)]
        for mask in masks
    ]
    values = np.concatenate([v[1:] for _, _, v in tower.heads(tower.last)], -1)
    counts = [not apart or liker(values, shares, place) for place in range(len(values))]
    seen = [[share * count for share, count in zip(region, counts, strict=True)] for region in shares]
    means = [sum(w * v for w, v in zip(region, values, strict=True)) / (sum(region) or 1) for region in seen]
    mixed = []
    for place, value in enumerate(values):
        own = [region[place] * (sum(left) > 0) for region, left in zip(shares, seen, strict=True)]
        mixed.append(sum(w * mean for w, mean in zip(own, means, strict=True)) / sum(own) if sum(own) else value)
    stream = tower.out(np.stack(mixed), tower.last)
    stream = stream + vit_mlp(tower.sd, stream, tower.vit, tower.last)
    return on_grid(vit_project(tower.sd, stream, tower.vit), tower.grid)


PATHS = {
    "sclip": sclip,
    "clearclip": clearclip,
    "naclip": naclip,
    "clip-surgery": clip_surgery,
    "gem": gem,
    "resclip": resclip,
    "itaclip": itaclip,
    "kk-all-blocks": kk_all_blocks,
    "sc-clip": sc_clip,
    "sfp": sfp,
    "dih-clip": dih_clip,
    "pearl": pearl,
    "pearl-in-five-steps": pearl_in_five_steps,
    "cliper": cliper,
    "proxyclip": proxyclip,
    "cass": cass,
    "cass-as-released": cass_as_released,
    "textregion": textregion,
    "region-means": region_means,
}


def pool_path(sd: Weights, x4: Array, heads: int, table: Array, name: str) -> Array:
    """A path of a ResNet's attention pool, over the mean token and all positions as the pool sees them: (y, x, D)."""
    rows, columns = grid = x4.shape[1:]
    cells = x4.reshape(len(x4), -1).T
    tokens = np.vstack([cells.mean(0), cells]) + table
    parts = [split_heads(linear(tokens, sd, f"attnpool.{letter}_proj"), heads) for letter in "qkv"]
    places = [None, *((y, x) for y in range(rows) for x in range(columns))]
    mixed = []
    for q, k, v in zip(*parts, strict=True):
        out = []
        for place, a, c in zip(places[1:], q[1:], k[1:], strict=True):
            queries, keys = (np.array([x @ token for token in z]) / math.sqrt(len(a)) for x, z in ((a, q), (c, k)))
            near = [
                0 if p is None else math.exp(-((p[0] - place[0]) ** 2 + (p[1] - place[1]) ** 2) / 50) for p in places
            ]
            if name == "naclip":
                weights = softmax(keys + near)
            else:
                weights = softmax(queries) + (softmax(keys) if name == "sclip" else 0)
            out.append(weights @ v)
        mixed.append(np.stack(out))
    return on_grid(linear(np.concatenate(mixed, -1), sd, "attnpool.c_proj"), grid)
