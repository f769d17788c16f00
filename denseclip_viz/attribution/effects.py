"""Direct effects: the unit embedding as a sum over layers, heads and positions, exactly.

    z_L = z_0 + Σ_l (attention_l + mlp_l)        the stream that the pooling query leaves behind, z_0: what it starts as
    e   = H(z_L)                                 H: final norm and projection, frozen at z_L, so that terms stay terms
    attention_l = b_l + Σ_h Σ_j O_l(A_hj v_hj)   O_l: what stands behind the heads, frozen where it is a norm

Means that norms take off are linear and go with each term; only what is added is a term by itself: b_l and the bias of
H. An attention pool is one such layer, and so is a latent query with its MLP. A prompt asks for t·H(·) alone, and a row
vector goes back through H and each O_l faster than all heads and positions go forth. Source: Gandelsman et al.
(arXiv 2310.05916), which shares biases out evenly over heads and positions; here they are terms of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.attribution.opening import Pass, fit_image, run
from denseclip_viz.attribution.pool_methods import gradients_of_rows
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.attention_record import merge_heads
from denseclip_viz.clip.towers.linearize import Step, apply, propagate_terms
from denseclip_viz.clip.towers.tower import TOLERANCE, Wanted
from denseclip_viz.errors import LayerError, RecompositionError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.similarity import attributes, coordinates, named, wording
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Fitted, Trace

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import FitLike, Model, PromptsLike


@dataclass(frozen=True, eq=False)
class Layer:
    """What one layer adds to the stream of the query that pools.

    Attributes:
        terms: `(1, head, token, channel)`, A v.
        out: From merged heads to the stream.
        mlp: `(1, 1, C)`, what the MLP adds; zero where there is none.
    """

    terms: Tensor
    out: tuple[Step, ...]
    mlp: Tensor

    @property
    def heads(self) -> Tensor:
        """What its heads answer, merged: `(1, 1, C)`."""
        return merge_heads(self.terms.sum(2, keepdim=True))


@dataclass(frozen=True, eq=False)
class Stream:
    """The stream of the query that pools, from its start to its end.

    Attributes:
        start: `(1, 1, C)`, what it starts as; None where a pool starts from nothing.
        layers: Its layers, by name.
        end: `(1, 1, C)`, where it ends.
        head: From there to text space.
        one: The pass.
    """

    start: Tensor | None
    layers: dict[str, Layer]
    end: Tensor
    head: tuple[Step, ...]
    one: Pass


@guarded
def follow_stream(tower: Tower, pixels: Tensor) -> Stream:
    """Run a tower once on `(3, H, W)`, and follow the query that pools.

    Raises:
        LayerError: a tower whose pool is a plain mean, which follows no query.
    """
    if "pool.attention" not in tower.taps():
        got, fix = f"direct effects in a tower with {tower.family}", "Look at contributions: model.compare."
        raise LayerError(got, expected="a pool that attends: heads are what is taken apart", fix=fix)
    of_blocks = "blocks" in tower.switches
    one = run(tower, pixels, Wanted(blocks=range(len(tower.layers)) if of_blocks else ()))
    pool, blocks = one.pool, [one.streams.blocks[number] for number in sorted(one.streams.blocks)]
    last = pool.stream(pool.heads())
    added = apply(pool.mlp, last) if pool.mlp else torch.zeros_like(last)
    layers = {}
    for name, block, following in zip(tower.layers, blocks, blocks[1:], strict=False):
        terms = block.call.weights(slice(0, 1))[:, :, 0, :, None] * block.value
        through = block.entering[:, :1] + apply(block.out, merge_heads(terms.sum(2, keepdim=True)))
        layers[name] = Layer(terms, block.out, following.entering[:, :1] - through)
    layers[tower.layers[-1] if of_blocks else "pool"] = Layer(pool.weights[..., None] * pool.values, pool.out, added)
    start = blocks[0].entering[:, :1] if blocks else None
    return Stream(start, layers, last + added, pool.head, one)


@guarded
def direct_effects(
    model: Model, image: ImageLike | Trace, prompts: PromptsLike, *, geometry: FitLike | None = None
) -> xr.Dataset:
    """Take the score of each prompt apart by layer, head and position: exact terms that sum to it.

    Each is what a part adds to the stream of the class token (or of the pool's query), straight to the embedding, with
    norms frozen at their true vectors; what it does through later layers is theirs. In cosine units:

        score = attention.sum(layer, head) + mlp.sum(layer) + rest.sum(term)
        attention.sum(head) = position.sum(y, x) + beside            in each layer

    Args:
        model: A loaded model; nothing on it changes.
        image: An image, or a trace of it, whose input is taken.
        prompts: Texts, or `Prompts`.
        geometry: As for `Model.trace`, with an image; no tiles.

    Returns:
        `attention` (template, prompt, layer, head); `mlp` (template, prompt, layer); `position` (template, prompt,
        layer, y, x), heads summed; `beside` (template, prompt, layer), tokens that are no positions; `rest` (template,
        prompt, term): "start", the token before the first layer, "attention bias", "bias" of the final norm and
        projection; `score` (template, prompt); and `image`. An attention pool is one layer, "pool". `position` of the
        last layer is the contribution of `compare`; what is new are heads, and the layers before.

    Raises:
        LayerError: a tower that pools by a plain mean, or an image in tiles.
        RecompositionError: the terms miss the score.

    Example:
        >>> import denseclip_viz as dcv
        >>> effects = dcv.attribution.direct_effects(dcv.load(), dcv.toyworld.scene("a taxi", size=64), ["a taxi"])
        >>> parts = effects.attention.sum(("layer", "head")) + effects.mlp.sum("layer") + effects.rest.sum("term")
        >>> bool(abs(parts - effects.score).max() < 1e-6), effects.attention.sizes["head"]
        (True, 12)
    """
    prompts, fitted = Prompts.of(prompts), fit_image(model, image, geometry)
    vectors = model.texts.encode(prompts)
    assert fitted.pixels is not None
    stream = follow_stream(model.tower, fitted.pixels)
    parts = effects_on(stream, vectors.flatten(0, 1))
    return _labelled(parts, list(stream.layers), fitted, prompts)


@guarded
def effects_on(stream: Stream, vectors: Tensor) -> dict[str, Tensor]:
    """Say what each part of a stream adds to the scores of texts `(text, D)`, of any length.

    Returns:
        `attention` (text, layer, head), `mlp` (text, layer), `position` (text, layer, y, x), `beside` (text, layer),
        `score` (text), and `rest: …` (text) each.

    Raises:
        RecompositionError: the parts miss the score.
    """
    length = stream.one.embedding.norm()
    texts = F.normalize(vectors.to(stream.one.embedding), dim=-1)
    along, bias = _pull_back(stream.head, stream.end, texts / length)
    lists: dict[str, list[Tensor]] = {"attention": [], "mlp": [], "position": [], "beside": [], "bias": []}
    for layer in stream.layers.values():
        rows, constant = _pull_back(layer.out, layer.heads, along)
        by_head = rows.unflatten(-1, (layer.terms.shape[1], -1))
        effects = torch.einsum("phc,hnc->phn", by_head, layer.terms[0])
        tokens, count = effects.sum(1), stream.one.grid[0] * stream.one.grid[1]
        lists["attention"].append(effects.sum(-1))
        lists["position"].append(stream.one.positions(tokens))
        lists["beside"].append(tokens[:, : tokens.shape[1] - count].sum(-1))
        lists["mlp"].append(along @ layer.mlp[0, 0])
        lists["bias"].append(constant)
    parts = {name: torch.stack(each, 1) for name, each in lists.items()}
    start = {} if stream.start is None else {"rest: start": along @ stream.start[0, 0]}
    parts |= {**start, "rest: attention bias": parts.pop("bias").sum(1), "rest: bias": bias}
    return _checked(parts, texts @ F.normalize(stream.one.embedding, dim=-1)[0])


def _checked(parts: dict[str, Tensor], score: Tensor) -> dict[str, Tensor]:
    whole = [part for name, part in parts.items() if name not in ("position", "beside")]  # those are parts of attention
    terms = torch.cat([part.double().reshape(len(score), -1) for part in whole], dim=1)
    miss = float(((terms.sum(1) - score).abs() / terms.abs().sum(1).clamp_min(1e-300)).max())
    if not miss <= TOLERANCE[score.dtype]:
        got, fix = f"direct effects miss the score by {miss:.1e} (relative)", "Check the weights for NaN or infinity."
        raise RecompositionError(got, expected=f"at most {TOLERANCE[score.dtype]:.0e} ({score.dtype})", fix=fix)
    return parts | {"score": score}


@guarded
def effect_vectors(stream: Stream) -> dict[str, Tensor]:
    """Give every part of a stream as a vector in text space; all of them sum to the unit embedding.

    Returns:
        `{"attention": (layer, head, D), "mlp": (layer, D), "rest: …": (D,), …}`.
    """
    heads, added, biases = [], [], []
    for layer in stream.layers.values():
        count = layer.terms.shape[1]
        own = torch.block_diag(*layer.terms.sum(2)[0])  # each head in a merged row of its own
        rows, constants = propagate_terms(own[None], layer.out, true=layer.heads)
        heads.append(rows[0])
        added.append(layer.mlp[0])
        biases.append(constants["bias"])
    bias = torch.stack(biases).sum(0)
    starts = [] if stream.start is None else [stream.start[0]]
    every = torch.cat([*heads, *added, bias, *starts])
    rows, constants = propagate_terms(every[None], stream.head, true=stream.end)
    vectors = torch.cat([rows[0], constants["bias"]]) / stream.one.embedding.norm()
    layers = len(heads)
    attention, mlp, rest = vectors.split([layers * count, layers, len(vectors) - layers * (count + 1)])
    names = ["attention bias", *["start" for _ in starts], "bias"]
    parts = {"attention": attention.unflatten(0, (layers, count)), "mlp": mlp}
    return parts | {f"rest: {name}": row for name, row in zip(names, rest, strict=True)}


def _pull_back(steps: Sequence[Step], at: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Take row · L(x), L: steps frozen at a vector, for a row vector on x: `(row, C)`; and what their bias adds."""
    x = torch.zeros_like(at).requires_grad_()
    with torch.enable_grad():
        out, constants = propagate_terms(x, steps, true=at)
        (back,) = gradients_of_rows(rows @ out[0, 0], [x])
    return back[:, 0, 0], (rows @ constants["bias"][0]).detach()


def _labelled(parts: dict[str, Tensor], layers: Sequence[str], fitted: Fitted, prompts: Prompts) -> xr.Dataset:
    import xarray as xr

    shape, texts = (len(prompts.templates), len(prompts.prompts)), ("template", "prompt")
    dims = {
        "attention": ((*texts, "layer", "head"), "what a head adds to the score"),
        "mlp": ((*texts, "layer"), "what an MLP adds to the score"),
        "position": ((*texts, "layer", "y", "x"), "what a layer adds to the score by looking at a position"),
        "beside": ((*texts, "layer"), "what a layer adds to the score by looking at no position"),
        "rest": ((*texts, "term"), "what a term of no layer adds to the score"),
        "score": (texts, "global embedding against text"),
    }
    terms = [name for name in parts if name.startswith("rest: ")]
    arrays = parts | {"rest": torch.stack([parts[name] for name in terms], -1)}
    attrs, data = attributes(fitted) | wording(prompts), dict[str, Any]()
    for name, (axes, about) in dims.items():
        values = arrays[name].cpu().unflatten(0, shape)
        values = values if values.dtype == torch.float64 else values.float()
        data[name] = (axes, values.numpy(), (attrs if "y" in axes else {}) | named(about))
    data["image"] = (("row", "column", "rgb"), fitted.image, {})
    names = {"layer": list(layers), "head": np.arange(arrays["attention"].shape[-1])}
    names |= {"term": [name.removeprefix("rest: ") for name in terms]}
    return xr.Dataset(data, coords={**coordinates(fitted, prompts), **names}, attrs=attrs)
