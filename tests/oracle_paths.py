"""Published dense paths of a ViT, each written by itself from its paper, in NumPy loops over heads and positions.

Shares no code with the package: `oracle` gives the streams, queries, keys and values of every block. What comes back
is `(y, x, D)`. Block numbers are those of a tower of twelve, as the papers have them.
"""

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

    def __init__(self, sd: Weights, streams: list[Array], grid: Grid, vit: Vit) -> None:
        self.sd, self.streams, self.grid, self.vit = sd, streams, grid, vit
        self.last = len(streams) - 2

    def heads(self, block: int) -> list[tuple[Array, Array, Array]]:
        """(token, channel) of query, key and value, head by head."""
        parts = (split_heads(part, self.vit.heads) for part in vit_qkv(self.sd, self.streams[block], self.vit, block))
        return list(zip(*parts, strict=True))

    def scale(self) -> float:
        return 1 / math.sqrt(self.streams[0].shape[1] / self.vit.heads)

    def added(self, block: int, attention: Callable[[int, Array, Array, Array], Array]) -> Array:
        """γ out_proj(A V) of a block; `attention(head, q, k, v)` gives (token, token)."""
        mixed = [attention(head, q, k, v) @ v for head, (q, k, v) in enumerate(self.heads(block))]
        name = block_name(self.sd, block)
        merged = np.concatenate(mixed, axis=-1)
        return gamma(self.sd, f"{name}.ls_1") * linear(merged, self.sd, f"{name}.attn.out_proj")

    def project(self, stream: Array) -> Array:
        return on_grid(vit_project(self.sd, stream[1:], self.vit), self.grid)

    def alike(self, tokens: Array) -> Array:
        """softmax of every token against every other, row by row."""
        return np.stack([softmax(np.array([token @ other for other in tokens]) * self.scale()) for token in tokens])


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


def sc_clip(tower: Tower) -> Array:
    """Repaired, averaged, mixed by two attentions, averaged again; and the same of the sum of blocks 4 to 10."""
    stream = tower.streams  # stream[l]: behind block l
    bad = apart(stream[11][1:])
    middle = all_cosines(filled(stream[9][1:], bad, tower.grid))
    late = averaged(filled(stream[11][1:], bad, tower.grid), middle)
    logits = 3 * (middle - middle.mean())
    by_similarity = np.stack([softmax(np.where(row < 0, -np.inf, row)) for row in logits])

    def attended(patches: Array, class_token: Array) -> Array:
        mixed = []
        for part in zip(
            *(split_heads(p, tower.vit.heads) for p in vit_qkv(tower.sd, patches, tower.vit, 11)), strict=True
        ):
            _, k, v = part
            mixed.append((by_similarity + tower.alike(k)) / 2 @ v)
        name = block_name(tower.sd, 11)
        out = gamma(tower.sd, f"{name}.ls_1") * linear(np.concatenate(mixed, -1), tower.sd, f"{name}.attn.out_proj")
        return out + 0.3 * class_token

    early = all_cosines(stream[4][1:])
    total = sum(stream[number] for number in range(4, 11))
    both = averaged(attended(late, stream[11][0]), early) + averaged(attended(total[1:], total[0]), early)
    return on_grid(vit_project(tower.sd, both, tower.vit), tower.grid)


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
}
