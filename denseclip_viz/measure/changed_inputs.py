"""The same image again under a change that a map should follow, or the same question to a tower that knows nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.forward import ForwardOptions, decompose_checked, embed
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.towers import eager, tower_for
from denseclip_viz.clip.towers.tower import Wanted
from denseclip_viz.model import Model
from denseclip_viz.trace import Trace


def trace_inputs(model: Model, trace: Trace, inputs: Tensor, paths: Sequence[DensePath]) -> list[Trace]:
    """Trace other inputs `(image, 3, H, W)` of the same size, as `trace` is of its own, in one forward pass."""
    parts = vars(decompose_checked(model.tower, inputs, ForwardOptions(path=tuple(paths))))

    def of(at: int) -> Trace:
        own: dict[str, Any] = {name: _one(value, at) for name, value in parts.items()}
        return replace(trace, global_embedding=own.pop("embedding"), pixels=inputs[at], **own)

    return [of(at) for at in range(len(inputs))]


def _one(value: Any, at: int) -> Any:
    if isinstance(value, Mapping):
        return {name: tensor[at] for name, tensor in value.items()}
    return value[at] if isinstance(value, Tensor) else value


def embed_inputs(model: Model, inputs: Tensor) -> Tensor:
    """Embed inputs `(image, 3, H, W)` of any size, `(image, D)`: by the plain pass where it takes them."""
    if inputs.shape[-2:] == torch.Size(model.preprocess.size):
        return embed(model.tower, inputs).cpu()
    parameter = next(model.tower.visual.parameters())
    inputs = inputs.to(parameter.device, parameter.dtype)
    with torch.no_grad(), memory_guard("batch_size or the geometry's size"):
        return eager(model.tower).at(inputs).forward(inputs, Wanted(alone=True))[0].embedding.cpu()


def redrawn(model: Model, seed: int) -> Model:
    """Give a twin whose image tower has parameters by chance; it shares the text tower and nothing of it is changed.

    Each parameter is drawn from a normal distribution of its own mean and deviation, so that signals keep their size,
    and nothing that was learned is left but these two numbers. Running statistics are those of a fresh model.
    """
    twin, clip = copy.copy(model), copy.copy(model.clip)
    visual = copy.deepcopy(model.tower.visual)
    _redraw(visual, seed)
    clip._modules = {**clip._modules, "visual": visual}
    twin.clip, twin.tower = clip, tower_for(visual)
    return twin


def _redraw(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                mean, deviation = parameter.mean(), parameter.std()
                parameter.copy_(noise.to(parameter.device) * deviation + mean)
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.reset_running_stats()


def flipped(pixels: Tensor, columns: int) -> Tensor:
    """Mirror the first columns of an input left and right; those behind fill no cell, and would move all that do.

    Example:
        >>> flipped(torch.tensor([[1, 2, 3, 4, 5]]), 4).tolist()
        [[4, 3, 2, 1, 5]]
    """
    return torch.cat([pixels[..., :columns].flip(-1), pixels[..., columns:]], -1)


def shifted(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """Move an input down and to the right; the edge that comes in repeats the first row and column.

    Example:
        >>> shifted(torch.tensor([[1, 2, 3]]), 0, 1).tolist()
        [[1, 1, 2]]
    """
    y, x = ((torch.arange(side) - by).clamp(0) for side, by in zip(pixels.shape[-2:], (rows, columns), strict=True))
    return pixels[..., y[:, None], x]
