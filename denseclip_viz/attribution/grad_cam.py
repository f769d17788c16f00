"""Grad-CAM: channels of the last map before the pool, weighed by what they add to a score."""

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.forward import differentiable
from denseclip_viz.clip.hooks import Tap, record
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower


@guarded
def grad_cam(tower: Tower, pixels: Tensor, vectors: Tensor) -> Tensor:
    """Weigh the channels of the last map before the pool by their mean gradient of each text's global score.

    Args:
        tower: Any tower; its `last_map` is layer4 for a ResNet, what enters the last attention of a ViT.
        pixels: `(…, 3, H, W)`, its input: one image, or several that are opened together.
        vectors: `(prompt, D)`.

    Returns:
        `(…, prompt, y, x)`, not negative.

    Source: Selvaraju et al. (arXiv 1610.02391) eq. 1 and 2, for the score cos(e, t).
    """
    tower, inputs = differentiable(tower, pixels)
    grid = (inputs.shape[-2] // tower.cell[0], inputs.shape[-1] // tower.cell[1])
    with torch.enable_grad(), memory_guard("the geometry's size"):
        tap = tower.taps()[tower.last_map]
        with record({tower.last_map: tap}, [tower.last_map], raw=True) as recorded:
            embedding = tower.forward(inputs)[0].embedding
        activation = recorded[tower.last_map]
        scores = F.normalize(embedding, dim=-1) @ F.normalize(vectors.to(inputs.device, inputs.dtype), dim=-1).T
        # no image depends on another one, so the gradient of the sum is each image's own
        maps = [_cam(tap, activation, score, grid) for score in scores.sum(0)]
    return torch.stack(maps, dim=1).reshape(*pixels.shape[:-3], len(vectors), *grid).cpu()


def _cam(tap: Tap, activation: Tensor, score: Tensor, grid: tuple[int, int]) -> Tensor:
    (gradient,) = torch.autograd.grad(score, activation, retain_graph=True)
    activation, gradient = tap.channels_first(activation), tap.channels_first(gradient)
    if activation.ndim == 3:  # tokens: those of the patches, which come last, on the grid
        first = activation.shape[1] - grid[0] * grid[1]
        activation, gradient = (t[:, first:].transpose(1, 2).unflatten(-1, grid) for t in (activation, gradient))
    cam: Tensor = (gradient.mean((-2, -1), keepdim=True) * activation).sum(1).relu().detach()
    return cam
