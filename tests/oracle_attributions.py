"""Attributions written a second time: the whole tower with its graph, attention spelled out, loops, one text at a time.

Shares no code with the package. A tower runs as it is; only torch's fused attention is put in its own words meanwhile,
so that weights are tensors of the graph.
"""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch.nn import functional as F


def parts_of(visual):
    """What attention of the last layer reads from, the blocks, and the way from a stream to text space."""
    if hasattr(visual, "layer4"):
        return SimpleNamespace(reads=visual.layer4, blocks=[], head=None)
    if hasattr(visual, "transformer"):
        pooled = visual.attn_pool is not None
        last = visual.attn_pool if pooled else visual.transformer.resblocks[-1].attn
        blocks = [] if pooled else list(visual.transformer.resblocks)
        head, norm = lambda x: visual.ln_post(x) @ visual.proj, visual.attn_pool.ln_k if pooled else None
        return SimpleNamespace(reads=last, blocks=blocks, head=head, norm=norm)
    trunk = visual.trunk
    pooled = getattr(trunk, "attn_pool", None)
    blocks = [] if pooled is not None else list(trunk.blocks)
    last = trunk.blocks[-1].attn if pooled is None else pooled
    return SimpleNamespace(
        reads=last, blocks=blocks, head=lambda x: visual.head(trunk.head(trunk.fc_norm(trunk.norm(x))))
    )


class Seen:
    """One run with its graph: of each attention call `q, k, v, weights, heads`; the streams behind blocks."""

    def __init__(self, visual, pixels):
        self.visual, self.calls, self.streams = visual, [], []
        parts = self.parts = parts_of(visual)

        def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
            logits = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
            weights = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
            self.calls.append(SimpleNamespace(q=q, k=k, v=v, weights=weights, heads=weights @ v))
            return self.calls[-1].heads

        def reads(_module, inputs, output):
            self.reads = output if parts.reads is getattr(visual, "layer4", None) else inputs[0]

        hooks = [parts.reads.register_forward_hook(reads)]
        self.normed = []
        if getattr(parts, "norm", None):
            hooks.append(parts.norm.register_forward_hook(lambda _m, _i, out: self.normed.append(out)))
        hooks += [block.register_forward_hook(lambda _m, _i, out: self.streams.append(out)) for block in parts.blocks]
        with torch.enable_grad(), mock.patch.object(F, "scaled_dot_product_attention", attention):
            out = visual(pixels[None].requires_grad_())
        for hook in hooks:
            hook.remove()
        self.normed = self.normed or [self.reads]
        self.embedding = (out[0] if isinstance(out, tuple) else out)[0]

    def gradient(self, text, of, embedding=None):
        embedding = self.embedding if embedding is None else embedding
        with torch.enable_grad():
            score = (embedding / embedding.norm()) @ (text / text.norm())
        return torch.autograd.grad(score, of, retain_graph=True)[0].detach().numpy()


def numpy(tensor):
    return tensor.detach().numpy()


def last_row(seen):
    return seen.calls[-1]


def relevance(seen, text, *, layer=-1, relu=True, mean=True, first=None):
    call = seen.calls[layer]
    weights, gradient = numpy(call.weights)[0], seen.gradient(text, call.weights)[0]
    heads, _, tokens = weights.shape
    row = np.zeros(tokens)
    for head in range(heads):
        for token in range(tokens):
            product = weights[head, 0, token] * gradient[head, 0, token]
            row[token] += max(product, 0.0) if relu else product
    return row / heads if mean else row


def relevance_all(seen, text, *, relu=True, blocks=slice(None)):
    tokens = seen.calls[0].weights.shape[-1]
    total = np.eye(tokens)
    for call in seen.calls[blocks]:
        product = numpy(call.weights)[0] * seen.gradient(text, call.weights)[0]
        product = np.maximum(product, 0) if relu else product
        total = total + sum(product) / len(product) @ total
    return total[0]


def rollout(seen, _text):
    total = np.eye(seen.calls[0].weights.shape[-1])
    for call in seen.calls:
        mean = sum(numpy(call.weights)[0]) / call.weights.shape[1]
        total = (mean + np.eye(len(mean))) / 2 @ total
    return total[0]


def legrad(seen, text, *, blocks=2, relu=True, class_alone=False):
    total = 0.0
    for call, stream in list(zip(seen.calls, seen.streams, strict=True))[-blocks:]:
        with torch.enable_grad():
            embedding = seen.parts.head(stream[0, :1].mean(0) if class_alone else stream[0].mean(0))
        gradient = seen.gradient(text, call.weights, embedding)[0]
        gradient = np.maximum(gradient, 0) if relu else gradient
        heads, queries, _ = gradient.shape
        total = total + sum(gradient[h, q] for h in range(heads) for q in range(queries)) / (heads * queries)
    return total


def grad_eclip(seen, text, *, positions, relu=True, swapped=False):
    call = last_row(seen)
    gradient = seen.gradient(text, call.heads)[0][:, 0]
    query, keys, values = numpy(call.q)[0][:, 0], numpy(call.k)[0], numpy(call.v)[0]
    values = values[::-1] if swapped else values
    heads, tokens, _ = values.shape
    alike, added = [], []
    for token in range(tokens - positions, tokens):
        q, k = query.flatten(), np.concatenate([keys[head, token] for head in range(heads)])
        alike.append(q @ k / np.sqrt((q @ q) * (k @ k)))
        added.append(sum(gradient[head] @ values[head, token] for head in range(heads)))
    alike, added = np.array(alike), np.array(added)
    weight = (alike - alike.min()) / (alike.max() - alike.min())
    return (np.maximum(added, 0) if relu else added) * weight


def reads_of(seen, text, positions, of):
    """`(position, channel)` of what the pool reads, and of the gradient."""
    pair = numpy(of)[0], seen.gradient(text, of)[0]
    pair = [part.reshape(len(part), -1).T if part.ndim == 3 else part for part in pair]
    return [part[len(part) - positions :] for part in pair]


def gradient_x_activation(seen, text, positions):
    return np.array([a @ g for a, g in zip(*reads_of(seen, text, positions, seen.normed[0]), strict=True)])


def grad_cam(seen, text, positions, *, relu=True):
    activation, gradient = reads_of(seen, text, positions, seen.reads)
    channels = sum(gradient) / len(gradient)
    cam = np.array([channels @ a for a in activation])
    return np.maximum(cam, 0) if relu else cam


def attribute(seen, text, method, positions):
    """One map of one text, flat."""
    if method in ("gradient-x-activation", "grad-cam"):
        of = {"gradient-x-activation": gradient_x_activation, "grad-cam": grad_cam}[method]
        return of(seen, text, positions)
    if method == "grad-eclip":
        return grad_eclip(seen, text, positions=positions)
    of = {"relevance": relevance, "relevance-all": relevance_all, "rollout": rollout, "legrad": legrad}[method]
    return of(seen, text)[-positions:]
