"""What stands behind a pool, as steps: run exactly, or taken apart with what is not linear frozen at the true vector.

    norm      w (p - mean p) / sqrt(var z + eps),  β counted once        z: the true vector that arrives there
    linear    W p,                                  b counted once
    gate      p · act(z)/z                          an activation that nothing leads around
    added     p                                     what is added beside is a term of its own

So the terms of a sum stay terms of a sum up to the embedding. Source: reference table, section 2 of the design;
Gandelsman et al. (arXiv 2310.05916) appendix A for the frozen norm.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from denseclip_viz.errors import UnsupportedTowerError

Linear = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Branch:
    """Something that is added to what arrives: `of(arriving)`, a term of its own by this name."""

    name: str
    of: Callable[[Tensor], Tensor]


Step = nn.Module | Tensor | Branch | None
"""A module, a matrix `x @ P`, a vector that scales channels, a `Branch`, or nothing."""

_PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)
_ACTIVATIONS = ("GELU", "QuickGELU", "SiLU", "ReLU", "GELUTanh", "QuickGELUActivation")


def flatten(*steps: Step) -> tuple[Step, ...]:
    """Lay sequences and two-layer MLPs flat, and leave out what passes everything on.

    Example:
        >>> len(flatten(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Identity(), None))
        1
    """
    return tuple(_flat(steps))


def _flat(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, nn.Sequential):
            yield from _flat(list(step))
        elif isinstance(step, nn.Module) and type(step).__name__ == "Mlp":
            yield from _flat([step.get_submodule(name) for name in ("fc1", "act", "norm", "fc2")])
        elif step is not None and not isinstance(step, _PASSING):
            yield step


def apply(steps: Sequence[Step], x: Tensor) -> Tensor:
    """Send vectors `(…, C)` through all steps.

    Example:
        >>> apply([torch.tensor([2.0, 3.0])], torch.ones(1, 2))
        tensor([[2., 3.]])
    """
    for step in steps:
        x = x + step.of(x) if isinstance(step, Branch) else _exact(step, x)
    return x


def propagate_terms(
    parts: Tensor, steps: Sequence[Step], *, true: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Carry the terms of a sum through all steps; what is not linear is frozen at the sum as it arrives there.

    Args:
        parts: `(image, token, C)`, one term each, and whatever else is to go through the same linear maps.
        steps: What stands behind, in order, laid flat by `flatten`.
        true: `(image, 1, C)`, the sum as it arrives, where it is not that of all parts.

    Returns:
        Parts `(image, token, D)`, and terms `(image, D)`: `"bias"` and whatever was added on the way.

    Raises:
        UnsupportedTowerError: a step that is none of the known ones.

    Example:
        >>> parts, terms = propagate_terms(torch.ones(1, 3, 2), flatten(nn.LayerNorm(2), nn.Linear(2, 4)))
        >>> parts.shape, list(terms)
        (torch.Size([1, 3, 4]), ['bias'])
    """
    true = parts.sum(1, keepdim=True) if true is None else true  # goes along exactly, so that each step freezes at it
    terms = {"bias": torch.zeros_like(true)}
    for step in steps:
        if isinstance(step, Branch):
            added = step.of(true)
            terms[step.name] = terms[step.name] + added if step.name in terms else added
            true = true + added
            continue
        linear, bias = _frozen(step, true)
        rows = linear(torch.cat([parts, *terms.values()], dim=1))  # one product: reading the weight is what costs
        parts, *split = rows.split([parts.shape[1], *[1] * len(terms)], dim=1)
        terms = dict(zip(terms, split, strict=True))
        true = _exact(step, true)
        if bias is not None:
            terms["bias"] = terms["bias"] + bias
    return parts, {name: term[:, 0] for name, term in terms.items()}


def _exact(step: Step, x: Tensor) -> Tensor:
    if isinstance(step, Tensor):
        return x @ step if step.ndim == 2 else x * step
    if type(step).__name__ == "LayerNorm2d":  # timm's wants maps, and here are vectors
        assert isinstance(step, nn.LayerNorm)
        return F.layer_norm(x, step.normalized_shape, step.weight, step.bias, step.eps)
    assert isinstance(step, nn.Module)
    out: Tensor = step.forward(x)  # not a call: nobody's hooks see this second run
    return out


def _frozen(step: Step, true: Tensor) -> tuple[Linear, Tensor | None]:
    if isinstance(step, Tensor):
        return (lambda p: p @ step) if step.ndim == 2 else (lambda p: p * step), None
    if isinstance(step, nn.Linear):
        return lambda p: F.linear(p, step.weight), step.bias
    if isinstance(step, nn.LayerNorm):
        scale = inverse_deviation(true, step.eps)
        scale = scale if step.weight is None else scale * step.weight
        return lambda p: centred(p) * scale, step.bias
    if isinstance(gamma := getattr(step, "gamma", None), Tensor):
        return lambda p: p * gamma, None
    if type(step).__name__ in _ACTIVATIONS:
        # what the activation makes of the true vector, per unit of it; 0/0 where it is 0, and act(0) is 0
        gate = torch.where(true == 0, 0, _exact(step, true) / torch.where(true == 0, 1, true))
        return lambda p: p * gate, None
    raise UnsupportedTowerError(
        f"a {type(step).__name__} stands behind the pool",
        expected="norms over channels, linear layers, LayerScale and activations",
        fix="This tower is not supported as it is.",
    )


def inverse_deviation(x: Tensor, eps: float, axes: Sequence[int] = (-1,)) -> Tensor:
    """Give what a LayerNorm multiplies by; taken for a constant, it leaves a norm that is linear.

    Example:
        >>> x = torch.tensor([[1.0, 3.0]])
        >>> centred(x) * inverse_deviation(x, eps=0.0)
        tensor([[-1.,  1.]])
    """
    return (x.var(tuple(axes), keepdim=True, correction=0) + eps).rsqrt()


def centred(x: Tensor, axes: Sequence[int] = (-1,)) -> Tensor:
    """Take the mean off, as a LayerNorm does; linear in x, so terms of a sum stay terms of a sum."""
    return x - x.mean(tuple(axes), keepdim=True)
