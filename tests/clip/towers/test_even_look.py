"""What every position would add if the pool looked everywhere alike, found the slow way: by letting it look so."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from denseclip_viz.clip.forward import ForwardOptions, decompose
from denseclip_viz.clip.towers import tower_for

LOOKING = ("EVA01", "EVA02", "EVA02-E", "MobileCLIP-B", "MobileCLIP2-L", "relpos", "SigLIP", "PE", "CoCa")
MEANS = tuple(kind for kind in tiny.KINDS if kind not in LOOKING)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6}


def pixels_for(visual, dtype=torch.float64):
    side = tiny.native_side(visual)
    return torch.from_numpy(tiny.random_pixels(side, side))[None].to(dtype)


def opened(visual, pixels):
    with torch.no_grad():
        return decompose(tower_for(visual), pixels, ForwardOptions())


class Replay:
    """A tower run again with another look of its pool, everything behind the pool as in the first, true run.

    The pool is the last attention call. What an MLP adds stays, and a LayerNorm keeps its deviation.
    """

    def __init__(self, visual, pixels):
        self.visual, self.pixels = visual, pixels
        self.norms, self.added, self.calls, self.look = [], [], 0, None
        self.embedding = self.run()
        self.last, self.tokens = self.calls, self.count

    def changed(self, look):
        """The embedding if the pool's weights (image, head, 1, token) are `look(weights)`."""
        self.look = look
        return self.run()

    def run(self):
        self.calls, self.norm_calls, self.mlp_calls = 0, 0, 0
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(F, "layer_norm", self.norm(F.layer_norm)))
            attention = F.scaled_dot_product_attention
            stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", self.attend(attention)))
            stack.enter_context(self.mlps())
            stack.enter_context(torch.no_grad())
            out = self.visual(self.pixels)
        return (out[0] if isinstance(out, tuple) else out)[0]

    def norm(self, plainly):
        def normed(x, shape, weight=None, bias=None, eps=1e-5):
            self.norm_calls += 1
            if self.look is None:
                self.norms.append(x)
            true = self.norms[self.norm_calls - 1]
            change = x - true
            change = change - change.mean(-1, keepdim=True)
            deviation = (true.var(-1, keepdim=True, correction=0) + eps).sqrt()
            return plainly(true, shape, weight, bias, eps) + change / deviation * (1 if weight is None else weight)

        return normed

    def attend(self, plainly):
        def attended(q, k, v, attn_mask=None, *args, **more):
            self.calls, self.count = self.calls + 1, k.shape[2]
            answers = plainly(q, k, v, attn_mask, *args, **more)
            if self.look is None or self.calls < self.last:
                return answers
            logits = q[:, :, :1] @ k.transpose(-1, -2) * more.get("scale", q.shape[-1] ** -0.5)
            weights = torch.softmax(logits if attn_mask is None else logits + attn_mask[..., :1, :], dim=-1)
            return torch.cat([self.look(weights) @ v, answers[:, :, 1:]], dim=2)

        return attended

    @contextmanager
    def mlps(self):
        def kept(_module, _inputs, output):
            self.mlp_calls += 1
            if self.look is None:
                self.added.append(output)
            return self.added[self.mlp_calls - 1]

        named = [module for name, module in self.visual.named_modules() if name.split(".")[-1] == "mlp"]
        handles = [module.register_forward_hook(kept) for module in named]
        yield
        for handle in handles:
            handle.remove()


def evenly(*tokens):
    """Look at these tokens with 1/L in every head, at the others as before."""

    def look(weights):
        weights = weights.clone()
        weights[..., list(tokens)] = 1 / weights.shape[-1]
        return weights

    return look


def close(ours, theirs, scale):
    assert float((ours - theirs).abs().max()) <= 1e-12 * float(scale.abs().max())


@pytest.mark.parametrize("kind", LOOKING)
def test_the_even_term_of_a_position_is_what_it_would_add_if_the_pool_looked_at_it_evenly(kind):
    visual = tiny.tiny_tower(kind)
    pixels = pixels_for(visual)
    ours, again = opened(visual, pixels), Replay(visual, pixels)
    even, true = (terms[0].flatten(0, 1) for terms in (ours.even, ours.contributions))
    prefix = again.tokens - len(even)
    assert float((even - true).abs().max()) > 1e-3 * float(true.abs().max())
    for j in range(len(even)):
        moved = again.changed(evenly(prefix + j)) - again.embedding
        close(even[j] - true[j], moved, ours.embedding)
    if prefix:
        moved = again.changed(evenly(*range(prefix))) - again.embedding
        close(ours.even_rest["class token"][0] - ours.rest["class token"][0], moved, ours.embedding)
    else:
        assert not ours.even_rest


@pytest.mark.parametrize("kind", LOOKING)
def test_even_terms_and_the_rest_are_the_embedding_under_an_even_look(kind):
    visual = tiny.tiny_tower(kind)
    pixels = pixels_for(visual)
    ours = opened(visual, pixels)
    total = ours.even.sum((1, 2)) + sum({**ours.rest, **ours.even_rest}.values())
    everywhere = Replay(visual, pixels).changed(lambda weights: torch.full_like(weights, 1 / weights.shape[-1]))
    close(total[0], everywhere, ours.embedding)


def test_a_resnet_whose_pool_asks_nothing_looks_evenly_by_itself():
    """Nothing stands behind this pool, so no part of it need be held."""
    visual = tiny.tiny_resnet().visual
    pixels = pixels_for(visual)
    before = opened(visual, pixels)
    nn.init.zeros_(visual.attnpool.q_proj.weight)
    nn.init.zeros_(visual.attnpool.q_proj.bias)
    after = opened(visual, pixels)
    for ours, theirs in ((before.even, after.contributions), (before.even, after.even)):
        close(ours, theirs, theirs)
    close(before.even_rest["mean token"], after.rest["mean token"], after.rest["mean token"])
    with torch.no_grad():
        total = before.even.sum((1, 2)) + before.even_rest["mean token"] + before.rest["bias"]
        close(total, visual(pixels), after.even)


@pytest.mark.parametrize("kind", MEANS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_mean_looks_evenly_already(kind, dtype):
    visual = tiny.tiny_tower(kind, dtype=dtype)
    ours = opened(visual, pixels_for(visual, dtype))
    assert torch.equal(ours.even, ours.contributions) and not ours.even_rest


@pytest.mark.parametrize("kind", LOOKING)
def test_single_precision_gives_the_same_even_terms(kind):
    double, single = (tiny.tiny_tower(kind, dtype=dtype) for dtype in (torch.float64, torch.float32))
    true, ours = opened(double, pixels_for(double)), opened(single, pixels_for(single, torch.float32))
    scale = float(max(true.embedding.abs().max(), true.even.abs().max()))
    assert float((ours.even - true.even).abs().max()) <= 3e-6 * scale
    for name, term in true.even_rest.items():
        assert float((ours.even_rest[name] - term).abs().max()) <= 3e-6 * scale
