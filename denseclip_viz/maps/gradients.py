"""Inner layers read by gradients of a score, where their channels are not those of text space."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.forward import ForwardOptions, decompose, differentiable
from denseclip_viz.clip.hooks import Tap, ThreadMode, record
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.linearize import centred, inverse_deviation

Pair = tuple[Tensor, Tensor]


@guarded
def gradient_maps(
    tower: Tower, pixels: Tensor, vectors: Tensor, *, layers: Sequence[str], path: DensePath
) -> dict[str, Pair]:
    """Multiply activations with the gradients of two scores, and sum over channels.

    The global score is cos(e, t); the dense score is the mean over positions of cos(F_j, t). The tower runs once; each
    text costs two backward passes, and more than D texts no more than D, as both scores and so their maps are linear
    in the unit vector t. Parameters' gradients are not touched. A LayerNorm's deviation counts as a
    constant, as in contributions: a LayerNorm does not care how large its input is, so behind a stage of ConvNeXt or
    Swin the product would be 0 everywhere and the map nothing but rounding.

    Args:
        tower: A tower whose layers are feature maps `(image, C, y, x)`.
        pixels: `(3, H, W)`, its input.
        vectors: `(template, prompt, D)`.
        layers: Names of layers.
        path: The way to dense features.

    Returns:
        `{layer: (global, dense)}`, each `(template, prompt, y, x)` on the layer's own grid, in cosine units.

    Source: gradient × activation, Shrikumar et al. (arXiv 1605.01713); frozen norms, Ali
    et al. (arXiv 2202.07304) section 3.
    """
    tower, inputs = differentiable(tower, pixels)
    texts = F.normalize(vectors.to(inputs.device, inputs.dtype), dim=-1).flatten(0, 1)
    with torch.enable_grad(), memory_guard("the number of layers or the geometry's size"):
        taps = tower.taps()
        with record(taps, layers, raw=True) as recorded, _FrozenNorms():
            parts = decompose(tower, inputs, ForwardOptions(path=path))
        assert parts.dense is not None
        whole, dense = F.normalize(parts.embedding[0], dim=-1), F.normalize(parts.dense[0], dim=-1).mean((0, 1))
        activations = [(taps[name], recorded[name]) for name in recorded]
        each = [_of_texts(activations, unit, texts) for unit in (whole, dense)]
    first, second = ([maps.unflatten(0, vectors.shape[:2]) for maps in stacked] for stacked in each)
    return dict(zip(recorded, zip(first, second, strict=True), strict=True))


class _FrozenNorms(ThreadMode):
    """Let no gradient flow through the deviation that a LayerNorm of this thread divides by."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_frozen_norm if func is F.layer_norm else func)(*args, **(kwargs or {}))


def _frozen_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    normed = centred(x, axes) * inverse_deviation(x, eps, axes).detach()
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias


def _of_texts(activations: Sequence[tuple[Tap, Tensor]], unit: Tensor, texts: Tensor) -> list[Tensor]:
    """Give the maps of `unit @ t` for texts `(text, D)`, by layer `(text, y, x)`."""
    few = len(texts) <= texts.shape[1]
    scores = unit @ texts.T if few else unit  # of more texts than axes, the maps of the axes say all
    rows = [_times(activations, score) for score in scores]
    stacked = [torch.stack(maps) for maps in zip(*rows, strict=True)]
    maps = stacked if few else [torch.tensordot(texts, of_axes, 1) for of_axes in stacked]
    return [each.cpu() if each.dtype == torch.float64 else each.cpu().float() for each in maps]


def _times(activations: Sequence[tuple[Tap, Tensor]], score: Tensor) -> list[Tensor]:
    gradients = torch.autograd.grad(score, [a for _, a in activations], retain_graph=True)
    return [tap.channels_first(a * g).sum(1)[0].detach() for (tap, a), g in zip(activations, gradients, strict=True)]
