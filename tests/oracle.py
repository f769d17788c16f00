"""CLIP's image towers, their pooling and the dense value path in plain NumPy: the oracle of the tests.

Written from the papers and the architecture alone; shares no code with the package and is slow on purpose:
one image at a time, float64. `sd` is the state dict of an open_clip `visual` as {name: array}; pixels
(3, H, W) come after normalisation; tokens are (token, C), the class or mean token first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from oracle_maps import *  # noqa: F403  (one door for the tests)
from oracle_maps import softmax

Array = np.ndarray
Weights = dict[str, Array]
Grid = tuple[int, int]


@dataclass(frozen=True)
class Vit:
    """What a VisionTransformer's state dict does not tell; `patch` is (height, width)."""

    heads: int
    patch: tuple[int, int]
    activation: str = "gelu"
    eps: float = 1e-5


# The pieces that both towers are made of


def linear(tokens: Array, sd: Weights, name: str) -> Array:
    return tokens @ sd[f"{name}.weight"].T + sd[f"{name}.bias"]


def conv(maps: Array, weight: Array, stride: tuple[int, int] = (1, 1), padding: int = 0) -> Array:
    """(C, y, x) -> (D, y, x): each window against each filter; windows that do not fit are left out."""
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))


def split_heads(tokens: Array, heads: int) -> Array:
    """(token, C) -> (head, token, C / head): a head owns a run of neighbouring channels."""
    return np.stack(np.split(tokens, heads, axis=-1))


def attend(queries: Array, keys: Array, heads: int) -> Array:
    """(query, C), (token, C) -> (head, query, token): softmax_j(q_h · k_hj / sqrt(width of a head))."""
    q, k = split_heads(queries, heads), split_heads(keys, heads)
    return softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1]))


def mix(attention: Array, values: Array) -> Array:
    """(head, query, token), (token, C) -> (query, C): each head's weighted mean, heads side by side."""
    return np.concatenate(list(attention @ split_heads(values, len(attention))), axis=-1)


def token_terms(attention: Array, values: Array, weight: Array) -> Array:
    """(head, token), (token, C), (D, C) -> (token, D): Σ_h A_hj W_h v_hj, token j's term for one query."""
    heads = len(attention)
    per_head, out = split_heads(values, heads), np.split(weight, heads, axis=1)
    return sum(attention[h][:, None] * (per_head[h] @ out[h].T) for h in range(heads))


def on_grid(tokens: Array, grid: Grid) -> Array:
    """(y * x, D) -> (y, x, D)."""
    return tokens.reshape(*grid, tokens.shape[-1])


# ModifiedResNet with its attention pool


def batch_norm(maps: Array, sd: Weights, name: str, eps: float = 1e-5) -> Array:
    words = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (sd[f"{name}.{word}"][:, None, None] for word in words)
    return (maps - mean) / np.sqrt(variance + eps) * weight + bias


def average_pool(maps: Array, size: int) -> Array:
    """(C, y, x) -> (C, y // size, x // size); what does not fill a window at the far edge is left out."""
    channels, y, x = maps.shape[0], maps.shape[1] // size, maps.shape[2] // size
    return maps[:, : y * size, : x * size].reshape(channels, y, size, x, size).mean(axis=(2, 4))


def bottleneck(sd: Weights, maps: Array, name: str, stride: int) -> Array:
    """1×1, 3×3, average pool in place of a stride, 1×1; the shortcut is pooled likewise."""
    inner = np.maximum(batch_norm(conv(maps, sd[f"{name}.conv1.weight"]), sd, f"{name}.bn1"), 0)
    inner = np.maximum(batch_norm(conv(inner, sd[f"{name}.conv2.weight"], padding=1), sd, f"{name}.bn2"), 0)
    inner = batch_norm(conv(average_pool(inner, stride), sd[f"{name}.conv3.weight"]), sd, f"{name}.bn3")
    if f"{name}.downsample.0.weight" in sd:
        shortcut = conv(average_pool(maps, stride), sd[f"{name}.downsample.0.weight"])
        maps = batch_norm(shortcut, sd, f"{name}.downsample.1")
    return np.maximum(inner + maps, 0)


def resnet_layers(sd: Weights, pixels: Array, layers: tuple[int, ...]) -> dict[str, Array]:
    """Stem, layer1 … layer4, each (C, y, x); `layers` says how many bottlenecks each has."""
    maps = pixels
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        maps = conv(maps, sd[f"conv{number}.weight"], (stride, stride), padding=1)
        maps = np.maximum(batch_norm(maps, sd, f"bn{number}"), 0)
    maps = average_pool(maps, 2)
    found = {"stem": maps}
    for layer, depth in enumerate(layers, start=1):
        for block in range(depth):
            stride = 2 if layer > 1 and block == 0 else 1
            maps = bottleneck(sd, maps, f"layer{layer}.{block}", stride)
        found[f"layer{layer}"] = maps
    return found


def resnet_pool(sd: Weights, x4: Array, heads: int, positional_embedding: Array | None = None) -> dict:
    """The attention pool taken apart: e = b_c + Σ_j Σ_h A_hj Wc_h v_hj, j = 0 being the mean token.

    Gives embedding (D,), attention (head, 1 + y * x), values (1 + y * x, C), contributions (y, x, D), rest
    {name: (D,)}, and both again with 1 / (1 + y * x) for every A_hj: even, even_rest.
    """
    cells = x4.reshape(len(x4), -1).T
    pe = sd["attnpool.positional_embedding"] if positional_embedding is None else positional_embedding
    tokens = np.vstack([cells.mean(axis=0), cells]) + pe
    query, keys, values = (linear(tokens, sd, f"attnpool.{letter}_proj") for letter in "qkv")
    attention = attend(query[:1], keys, heads)
    terms = token_terms(attention[:, 0], values, sd["attnpool.c_proj.weight"])
    even = token_terms(np.full_like(attention[:, 0], 1 / len(tokens)), values, sd["attnpool.c_proj.weight"])
    return {
        "embedding": linear(mix(attention, values), sd, "attnpool.c_proj")[0],
        "attention": attention[:, 0],
        "values": values,
        "contributions": on_grid(terms[1:], x4.shape[1:]),
        "rest": {"mean token": terms[0], "bias": sd["attnpool.c_proj.bias"]},
        "even": on_grid(even[1:], x4.shape[1:]),
        "even_rest": {"mean token": even[0]},
    }


def resnet_dense(sd: Weights, x4: Array) -> Array:
    """F = c_proj(v_proj(x)) at each position, without positional embedding: (y, x, D)."""
    return linear(linear(x4.transpose(1, 2, 0), sd, "attnpool.v_proj"), sd, "attnpool.c_proj")


def resnet_keys(sd: Weights, x4: Array) -> Array:
    """k_proj(x) at each position, without positional embedding: (y, x, C)."""
    return linear(x4.transpose(1, 2, 0), sd, "attnpool.k_proj")


# VisionTransformer with its class token


def activate(values: Array, activation: str) -> Array:
    if activation == "quick_gelu":
        return values / (1 + np.exp(-1.702 * values))
    if activation == "gelu":
        return values * 0.5 * (1 + np.vectorize(math.erf)(values / math.sqrt(2)))
    raise ValueError(f"no activation {activation!r}")


def frozen_norm(part: Array, sd: Weights, name: str, at: Array, eps: float) -> Array:
    """LayerNorm without its bias and with the spread of `at`, so linear in `part`."""
    centred = part - part.mean(axis=-1, keepdims=True)
    return sd[f"{name}.weight"] * centred / np.sqrt(at.var(axis=-1, keepdims=True) + eps)


def layer_norm(tokens: Array, sd: Weights, name: str, eps: float) -> Array:
    return frozen_norm(tokens, sd, name, tokens, eps) + sd[f"{name}.bias"]


def block_name(sd: Weights, block: int) -> str:
    depth = len({name.split(".")[2] for name in sd if name.startswith("transformer.resblocks.")})
    return f"transformer.resblocks.{range(depth)[block]}"


def gamma(sd: Weights, name: str) -> Array | float:
    """LayerScale's factor, 1 where there is none."""
    return sd.get(f"{name}.gamma", 1.0)


def vit_qkv(sd: Weights, stream: Array, vit: Vit, block: int) -> list[Array]:
    """Queries, keys, values of the stream entering a block, biases included, heads merged: (token, C)."""
    name = block_name(sd, block)
    y = layer_norm(stream, sd, f"{name}.ln_1", vit.eps)
    return np.split(y @ sd[f"{name}.attn.in_proj_weight"].T + sd[f"{name}.attn.in_proj_bias"], 3, axis=-1)


def vit_attention(sd: Weights, stream: Array, vit: Vit, block: int) -> Array:
    """(head, query, token); query 0 is the class token."""
    queries, keys, _ = vit_qkv(sd, stream, vit, block)
    return attend(queries, keys, vit.heads)


def vit_mlp(sd: Weights, tokens: Array, vit: Vit, block: int) -> Array:
    """γ_2 MLP(ln_2(x)), the residual not added."""
    name = block_name(sd, block)
    inner = linear(layer_norm(tokens, sd, f"{name}.ln_2", vit.eps), sd, f"{name}.mlp.c_fc")
    outer = linear(activate(inner, vit.activation), sd, f"{name}.mlp.c_proj")
    return gamma(sd, f"{name}.ls_2") * outer


def vit_project(sd: Weights, tokens: Array, vit: Vit) -> Array:
    """ln_post, then the projection into text space: (…, C) -> (…, D)."""
    return layer_norm(tokens, sd, "ln_post", vit.eps) @ sd["proj"]


def pad_corner(pixels: Array, multiple: tuple[int, int]) -> Array:
    """Zeros at the bottom and on the right, up to the next multiple of (height, width)."""
    return np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % multiple[0]), (0, -pixels.shape[2] % multiple[1])))


def vit_streams(sd: Weights, pixels: Array, vit: Vit, positional_embedding: Array | None = None) -> list[Array]:
    """The token stream (1 + y * x, C) before the first block (after ln_pre) and after each block."""
    patches = conv(pixels, sd["conv1.weight"], vit.patch)
    pe = sd["positional_embedding"] if positional_embedding is None else positional_embedding
    tokens = np.vstack([sd["class_embedding"], patches.reshape(len(patches), -1).T]) + pe
    streams = [layer_norm(tokens, sd, "ln_pre", vit.eps) if "ln_pre.weight" in sd else tokens]
    while f"transformer.resblocks.{len(streams) - 1}.ln_1.weight" in sd:
        stream, block = streams[-1], len(streams) - 1
        name = block_name(sd, block)
        mixed = mix(vit_attention(sd, stream, vit, block), vit_qkv(sd, stream, vit, block)[2])
        middle = stream + gamma(sd, f"{name}.ls_1") * linear(mixed, sd, f"{name}.attn.out_proj")
        streams.append(middle + vit_mlp(sd, middle, vit, block))
    return streams


def vit_pool(sd: Weights, streams: list[Array], grid: Grid, vit: Vit, block: int = -1) -> dict:
    """The class token behind a block taken apart, the statistics of ln_post frozen at its true vector z.

    e = [LNf(γ_1 (Σ_j Σ_h A_hj Wo_h v_hj + b_o) + x_cls + γ_2 mlp_cls) + β] P; the last e is the embedding.
    Gives embedding (D,), attention (head, 1 + y * x), values (1 + y * x, C), contributions (y, x, D), rest
    {name: (D,)}, and both again with 1 / (1 + y * x) for every A_hj: even, even_rest.
    """
    block = range(len(streams) - 1)[block]
    name, entering, z = block_name(sd, block), streams[block], streams[block + 1][0]
    scale, bias = gamma(sd, f"{name}.ls_1"), sd[f"{name}.attn.out_proj.bias"]
    attention, values = vit_attention(sd, entering, vit, block)[:, 0], vit_qkv(sd, entering, vit, block)[2]
    attended, evenly = (
        scale * token_terms(weights, values, sd[f"{name}.attn.out_proj.weight"])
        for weights in (attention, np.full_like(attention, 1 / len(values)))
    )
    middle = entering[0] + attended.sum(axis=0) + scale * bias

    def projected(part: Array) -> Array:
        return frozen_norm(part, sd, "ln_post", z, vit.eps) @ sd["proj"]

    return {
        "embedding": vit_project(sd, z, vit),
        "attention": attention,
        "values": values,
        "contributions": on_grid(projected(attended[1:]), grid),
        "rest": {
            "class token": projected(attended[0]),
            "residual": projected(entering[0]),
            "mlp": projected(vit_mlp(sd, middle, vit, block)),
            "bias": projected(scale * bias) + sd["ln_post.bias"] @ sd["proj"],
        },
        "even": on_grid(projected(evenly[1:]), grid),
        "even_rest": {"class token": projected(evenly[0])},
    }


def vit_dense(
    sd: Weights, stream: Array, grid: Grid, vit: Vit, block: int = -1, residual: bool = True, mlp: bool = True
) -> Array:
    """v = γ_1 out_proj(W_v y + b_v), + x if residual, + γ_2 MLP(ln_2(v)) if mlp; ln_post, proj: (y, x, D)."""
    name = block_name(sd, block)
    values = vit_qkv(sd, stream, vit, block)[2]
    v = gamma(sd, f"{name}.ls_1") * linear(values, sd, f"{name}.attn.out_proj")
    v = v + stream if residual else v
    v = v + vit_mlp(sd, v, vit, block) if mlp else v
    return on_grid(vit_project(sd, v[1:], vit), grid)


def vit_keys(sd: Weights, stream: Array, grid: Grid, vit: Vit, block: int = -1) -> dict[str, Array]:
    """Keys of the patches, (y, x, C): "plain" k, and "projected" out_proj(k) as in MaskCLIP's code."""
    keys = vit_qkv(sd, stream, vit, block)[1][1:]
    projected = linear(keys, sd, f"{block_name(sd, block)}.attn.out_proj")
    return {"plain": on_grid(keys, grid), "projected": on_grid(projected, grid)}
