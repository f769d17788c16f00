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

    The global score is cos(e, t); the dense score is the mean over positions of cos(F_j, t). The tower runs once;
    each text costs two backward passes. Parameters' gradients are not touched. A LayerNorm's deviation counts as a
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
        whole = F.normalize(parts.embedding[0], dim=-1) @ texts.T
        dense = (F.normalize(parts.dense[0], dim=-1) @ texts.T).mean((0, 1))
        activations = [(taps[name], recorded[name]) for name in recorded]
        rows = [[_times(activations, score) for score in scores] for scores in (whole, dense)]
    shape = vectors.shape[:2]
    return {
        name: (_stack([row[i] for row in rows[0]], shape), _stack([row[i] for row in rows[1]], shape))
        for i, name in enumerate(recorded)
    }


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


def _times(activations: Sequence[tuple[Tap, Tensor]], score: Tensor) -> list[Tensor]:
    gradients = torch.autograd.grad(score, [a for _, a in activations], retain_graph=True)
    return [tap.channels_first(a * g).sum(1)[0].detach() for (tap, a), g in zip(activations, gradients, strict=True)]


def _stack(maps: Sequence[Tensor], shape: torch.Size) -> Tensor:
    stacked: Tensor = torch.stack(list(maps)).unflatten(0, tuple(shape)).cpu()
    return stacked if stacked.dtype == torch.float64 else stacked.float()
