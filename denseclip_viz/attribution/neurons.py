"""Which neurons, through which heads, made a score: the attention pool's contributions, an axis finer.

    C_i · t / |e| = Σ_h Σ_n  a^h_i z^n_i (W_VO^{n,h} · t) / |e|  +  Σ_h a^h_i (W_O^h b_V^h · t) / |e|

a: attention of head h to position i; z: channel n of what the pool reads there. Source: arXiv 2509.19943, written from
its formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.clip.towers.attention_pool import AttentionPoolTower
from denseclip_viz.clip.towers.tower import TOLERANCE
from denseclip_viz.errors import LayerError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.similarity import attributes, coordinates, named
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_whole

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import Model, PromptsLike

_MISS = 1e-4  # of the largest term: sums of thousands in single precision


@guarded
def neurons(model: Model, image: ImageLike | Trace, prompts: PromptsLike, *, top: int = 20) -> xr.Dataset:
    """Find the pairs of a neuron and a head that add most to the score of each prompt, and where they do.

    Args:
        model: A ResNet with an attention pool.
        image: An image, or a trace of it with the layer `layer4`.
        prompts: Several templates of a prompt are one mean vector.
        top: How many pairs, those that add most in sum over positions, the first the most.

    Returns:
        By `prompt`: `neuron` and `head` (prompt, pair), from 0; `contribution` (prompt, pair, y, x), what each adds at
        a position; `share` (prompt, pair), what in sum; `others` (prompt, y, x), what all other pairs add; `value_bias`
        (prompt, y, x). Over pairs, with others and value bias, contributions sum to those of `compare`, exactly; all
        are in cosine units.

    Raises:
        LayerError: Another tower, a trace without `layer4` or whose positions were resized otherwise, or no whole
            number of pairs.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a red car on grass", size=64)
        >>> made = dcv.attribution.neurons(dcv.load(), scene, ["a red car"], top=3)
        >>> made.contribution.dims, made.sizes["pair"]
        (('prompt', 'pair', 'y', 'x'), 3)
    """
    tower, prompts = model.tower, Prompts.of(prompts)
    if not isinstance(tower, AttentionPoolTower):
        got = f"neurons of a tower with {tower.family}"
        expected = "a ResNet's attention pool: elsewhere a norm, a residual or an MLP mixes channels before the text"
        raise LayerError(got, expected=expected, fix="Load one of the ResNets, such as RN50.")
    if not is_whole(top, 1):
        raise LayerError(f"top={top!r}", expected="a whole number of pairs, from 1", fix="Leave it out for 20.")
    trace = image if isinstance(image, Trace) else model.trace(image, layers="layer4")
    texts = F.normalize(ensemble(model.texts.encode(prompts)).to(trace.contributions.dtype), dim=-1)
    parts = _parts(tower, trace, texts)
    _check(trace, texts, parts, next(tower.visual.parameters()).dtype)
    return _dataset(trace, prompts, parts, top)


def _parts(tower: AttentionPoolTower, trace: Trace, texts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give attention `(head, position)`, channels `(C, position)`, and per prompt what a unit of each adds.

    The last two are `(prompt, head, C)` and `(prompt, head)`, in cosine units.
    """
    reads = tower.reads(trace["layer4"][None])[0].flatten(1)
    weights, bias = tower.neurons(texts)
    length = trace.global_embedding.norm()
    return trace.attention.flatten(1), reads, weights / length, bias / length


def _check(trace: Trace, texts: Tensor, parts: tuple[Tensor, Tensor, Tensor, Tensor], dtype: torch.dtype) -> None:
    """Refuse parts that do not sum to the trace's contributions."""
    attention, reads, weights, bias = parts
    ours = torch.einsum("hi,phi->pi", attention, weights @ reads + bias[..., None])
    theirs = texts / trace.global_embedding.norm() @ trace.contributions.flatten(0, 1).T
    if not float((ours - theirs).abs().max()) <= max(_MISS, TOLERANCE[dtype]) * float(theirs.abs().max()):
        got, expected = (
            "neurons that miss the contributions of the trace",
            "positions resized as this model resizes them",
        )
        raise LayerError(got, expected=expected, fix="Pass the image, or a trace of it with path='value'.")


def _dataset(trace: Trace, prompts: Prompts, parts: tuple[Tensor, Tensor, Tensor, Tensor], top: int) -> xr.Dataset:
    import xarray as xr

    attention, reads, weights, bias = parts
    sums = weights * (attention @ reads.T)  # (prompt, head, C): what each pair adds over all positions
    share, index = sums.flatten(1).topk(min(top, sums[0].numel()))
    heads, channels = index // sums.shape[-1], index % sums.shape[-1]
    chosen = weights.flatten(1).gather(1, index)
    maps = chosen[..., None] * attention[heads] * reads[channels]
    whole = torch.einsum("hi,phi->pi", attention, weights @ reads)
    grid = trace.geometry.grid
    data = {
        "contribution": (("prompt", "pair", "y", "x"), maps.unflatten(-1, grid), "what a pair adds to the score"),
        "share": (("prompt", "pair"), share, "what a pair adds over all positions"),
        "others": (("prompt", "y", "x"), (whole - maps.sum(1)).unflatten(-1, grid), "what all other pairs add"),
        "value_bias": (("prompt", "y", "x"), (bias @ attention).unflatten(-1, grid), "what the values' bias adds"),
    }
    about = {name: (dims, np.asarray(values), named(words)) for name, (dims, values, words) in data.items()}
    labels = {"neuron": (("prompt", "pair"), channels.numpy()), "head": (("prompt", "pair"), heads.numpy())}
    places = {name: values for name, values in coordinates(trace, prompts).items() if name != "template"}
    return xr.Dataset(about, coords={**places, **labels}, attrs=attributes(trace))
