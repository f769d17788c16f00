"""Checkpoints of a training: one safetensors file, written beside and renamed, so that a kill never breaks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from denseclip_viz.files import atomic_write

STATE = "state.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what is known about them: step, scenes, seconds, recipe."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint of a folder in one rename.

    Example:
        >>> write_checkpoint(Path("runs/resnet"), Checkpoint({}, {"step": 0}))  # doctest: +SKIP
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    with atomic_write(folder / STATE, [".safetensors"], force=True, fsync=True) as part:
        save_file(tensors, part, metadata={"facts": json.dumps(checkpoint.facts, sort_keys=True)})


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of a folder, or None where there is none yet.

    Example:
        >>> read_checkpoint(Path("no/such/folder")) is None
        True
    """
    file = folder / STATE
    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as opened:
        facts = json.loads((opened.metadata() or {})["facts"])
        return Checkpoint({name: opened.get_tensor(name) for name in opened.keys()}, facts)


_MOMENTUM, _BETAS, _EPS = 0.95, (0.9, 0.98), 1e-8
_OUTER = ("embedding", "text_projection", "visual.proj", "visual.conv1", "visual.attn_pool.query", "c_proj")


def is_inner(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves a parameter: matrices and convolutions between the first and the last layer."""
    return parameter.ndim >= 2 and not any(part in name for part in _OUTER)


class Optimizer:
    """Decoupled weight decay on all matrices; state by name, so that it can be stored without pickle.

    AdamW: Loshchilov & Hutter, arXiv 1711.05101. Muon: momentum made orthogonal by Newton-Schulz steps
    (Jordan et al. 2024), scaled to AdamW's usual step size (Liu et al., arXiv 2502.16982, eq. 4).
    """

    def __init__(self, model: nn.Module, *, decay: float, muon: bool) -> None:
        self.parameters = dict(model.named_parameters())
        self.decay, self.muon = decay, muon
        self.state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            self.state[f"first/{name}"] = torch.zeros_like(parameter)
            if not self._by_muon(name):
                self.state[f"second/{name}"] = torch.zeros_like(parameter)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a state of the same names and shapes."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def step(self, rate: float, number: int) -> None:
        """Moves every parameter by its gradient; ``number`` counts from 0."""
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            if parameter.ndim >= 2:
                parameter.mul_(1 - rate * self.decay)
            if self._by_muon(name):
                self._muon(name, parameter, rate)
            else:
                self._adam(name, parameter, rate, number + 1)
            parameter.grad = None

    def _by_muon(self, name: str) -> bool:
        return self.muon and is_inner(name, self.parameters[name])

    def _muon(self, name: str, parameter: Tensor, rate: float) -> None:
        assert parameter.grad is not None
        first = self.state[f"first/{name}"]
        first.lerp_(parameter.grad, 1 - _MOMENTUM)
        ahead = parameter.grad.lerp(first, _MOMENTUM)
        update = orthogonal(ahead.flatten(1)).view_as(parameter)
        size = max(parameter.shape[0], parameter[0].numel())
        parameter.add_(update, alpha=-rate * 0.2 * size**0.5)

    def _adam(self, name: str, parameter: Tensor, rate: float, count: int) -> None:
        assert parameter.grad is not None
        first, second = self.state[f"first/{name}"], self.state[f"second/{name}"]
        first.lerp_(parameter.grad, 1 - _BETAS[0])
        second.lerp_(parameter.grad.square(), 1 - _BETAS[1])
        scale = (second / (1 - _BETAS[1] ** count)).sqrt_().add_(_EPS)
        parameter.addcdiv_(first, scale, value=-rate / (1 - _BETAS[0] ** count))


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix with orthonormal rows or columns, by five Newton-Schulz steps in bfloat16.

    Example:
        >>> some = orthogonal(torch.eye(3) * torch.tensor([1.0, 2.0, 3.0]))
        >>> bool((some.diagonal() > 0.6).all())
        True
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    made: Tensor = (x.T if tall else x).to(matrix.dtype)
    return made
