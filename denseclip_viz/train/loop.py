"""What trainings have in common: checkpoints that a kill never breaks, steps that end whole, an optimizer."""

import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from denseclip_viz.errors import WeightsError
from denseclip_viz.files import atomic_write, make_folder
from denseclip_viz.train.loss import has_bfloat16
from denseclip_viz.train.recipes import fitted
from denseclip_viz.validation import short, short_name

STATE, LOG = "state.safetensors", "log.txt"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what is known about them: step, scenes, seconds, recipe."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Give the tensors whose names begin so, by what follows."""
        return {name[len(prefix) :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a folder in one rename.

    Example:
        >>> write_checkpoint(Path("runs/resnet"), Checkpoint({}, {"step": 0}))  # doctest: +SKIP
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    content = save(tensors, metadata={"facts": json.dumps(checkpoint.facts, sort_keys=True)})
    with atomic_write(make_folder(folder) / STATE, [".safetensors"], force=True, fsync=True) as part:
        part.write_bytes(content)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder, or None where there is none yet.

    Raises:
        WeightsError: The file is broken, or no checkpoint of a training.

    Example:
        >>> read_checkpoint(Path("no/such/folder")) is None
        True
    """
    file = folder / STATE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            facts = json.loads((opened.metadata() or {})["facts"])
            return Checkpoint({name: opened.get_tensor(name) for name in opened.keys()}, facts)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise no_checkpoint(folder, str(error)) from error


def no_checkpoint(folder: Path, why: str) -> WeightsError:
    """Say that a file is none that a training can go on from."""
    got = f"{short_name(folder / STATE)} is no checkpoint of this training ({short_name(why)})"
    fix = "Name another folder, or start over with resume=False."
    return WeightsError(got, expected="what a training wrote, whole", fix=fix)


def refuse_others(folder: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with what was begun by other settings, and name the first that differs.

    Example:
        >>> refuse_others(Path("run"), {"seed": 0}, {"seed": 1})
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: run was begun with seed 0, not 1. Expected the same settings. Name ...
    """
    name, before, after = _difference("settings", begun, json.loads(json.dumps(now)))
    if before != after:
        was, now_is = ("nothing" if value is None else short(value) for value in (before, after))
        got = f"{short_name(folder.resolve().name)} was begun with {name} {was}, not {now_is}"
        raise WeightsError(got, expected="the same settings", fix="Name another folder, or pass resume=False.")


def _difference(name: str, begun: Any, now: Any) -> tuple[str, Any, Any]:
    """Go down to the innermost name: of a long setting only its beginning would be shown, which may be the same."""
    parts: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(begun, dict) and isinstance(now, dict):
        parts = ((key, begun.get(key), now.get(key)) for key in {**now, **begun})
    elif isinstance(begun, list) and isinstance(now, list) and any(isinstance(part, dict) for part in begun + now):
        parts = ((name, *pair) for pair in zip_longest(begun, now))
    for key, before, after in parts:
        if before != after:
            return _difference(key, before, after)
    return name, begun, now


@contextmanager
def whole_steps() -> Iterator[list[int]]:
    """Hold an interrupt back, so that the step at hand ends whole; it is listed, and a second one comes at once.

    Other threads than the main one never get any, and a process that is to ignore them goes on to.

    Example:
        >>> with whole_steps() as interrupts:
        ...     pass
        >>> interrupts
        []
    """
    interrupts: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield interrupts
        return

    def held(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        if len(interrupts) > 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, held)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


_MOMENTUM, _BETAS, _EPS = 0.95, (0.9, 0.98), 1e-8
_OUTER = ("embedding", "text_projection", "visual.proj", "visual.conv1", "visual.attn_pool.query", "c_proj")


def is_inner(name: str, parameter: Tensor) -> bool:
    """Tell whether Muon moves a parameter: matrices and convolutions between the first and the last layer."""
    return parameter.ndim >= 2 and not any(part in name for part in _OUTER)


class Optimizer:
    """AdamW of torch, and Muon for inner matrices where that is asked for; weights decay in matrices alone.

    State goes by the parameters' names, so that it can be stored without pickle.

    Source: AdamW: Loshchilov & Hutter, arXiv 1711.05101. Muon: momentum made orthogonal by Newton-Schulz steps (Jordan
    et al. 2024), scaled to AdamW's usual step size (Liu et al., arXiv 2502.16982, eq. 4). `torch.optim.Muon` refuses
    convolutions.
    """

    def __init__(self, model: nn.Module, *, decay: float, muon: bool) -> None:
        self.parameters, self.decay, self.muon = dict(model.named_parameters()), decay, muon
        inner = {name: p for name, p in self.parameters.items() if muon and is_inner(name, p)}
        self.momentum = {name: torch.zeros_like(p) for name, p in inner.items()}
        others = [p for name, p in self.parameters.items() if name not in inner]
        groups = [
            {"params": [p for p in others if p.ndim >= 2], "weight_decay": decay},
            {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, betas=_BETAS, eps=_EPS)

    def state(self) -> dict[str, Tensor]:
        """List all that a stopped training needs to go on: `KIND/PARAMETER`."""
        moments = {name: self.adamw.state.get(p, {}) for name, p in self.parameters.items()}
        adamw = {f"{kind}/{name}": value for name, kinds in moments.items() for kind, value in kinds.items()}
        return adamw | {f"momentum/{name}": value for name, value in self.momentum.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state, also that of a model with fewer positions."""
        for key, value in state.items():
            kind, _, name = key.partition("/")
            p = self.parameters[name]
            value = torch.zeros_like(p).copy_(fitted(value, p.shape)) if value.ndim else value.clone()
            (self.momentum if kind == "momentum" else self.adamw.state[p])[name if kind == "momentum" else kind] = value

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter by its gradient, and forget that."""
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.step()
        for name, momentum in self.momentum.items():
            if (gradient := self.parameters[name].grad) is not None:
                self._muon(self.parameters[name], gradient, momentum, rate)
        for p in self.parameters.values():
            p.grad = None

    def _muon(self, parameter: Tensor, gradient: Tensor, momentum: Tensor, rate: float) -> None:
        parameter.mul_(1 - rate * self.decay)
        momentum.lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM).flatten(1)).view_as(parameter)
        size = max(parameter.shape[0], parameter[0].numel())
        parameter.add_(update, alpha=-rate * 0.2 * size**0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Approach the nearest matrix with orthonormal rows or columns, by five Newton-Schulz steps.

    Example:
        >>> some = orthogonal(torch.eye(3) * torch.tensor([1.0, 2.0, 3.0]))
        >>> bool((some.diagonal() > 0.6).all())
        True
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if has_bfloat16(matrix.device.type) else matrix  # coarse is enough
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    update: Tensor = (x.T if tall else x).to(matrix.dtype)
    return update
