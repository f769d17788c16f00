"""Maps of classes to compare: the value path with its variants, beside what is used today."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.attribution.gradients import grad_cam
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    from denseclip_viz.model import Model

VALUE, ATTENTION, CAM = "value", "attention × global score", "Grad-CAM"
PATHS = {"vanilla": "patch tokens", "value-attention-only": "value, no residual"}
REFINED = (
    "value + key smoothing (cosine)",
    "value + key smoothing (official)",
    "value + prompt denoising",
    "value + both (official)",
)


@dataclass(frozen=True)
class Baselines:
    """The value path alone and refined, other paths that a tower has, and attention times the global score.

    Attributes:
        single: `(class, D)`, vectors of one template.
        ensembled: `(class, D)`, vectors of all templates together.
        paths: Those of `PATHS` that the tower has.
    """

    single: Tensor
    ensembled: Tensor
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, vectors: Tensor) -> Baselines:
        """Take `(template, class, D)` vectors, the first template alone and all together, and a tower's paths."""
        return cls(vectors[0], ensemble(vectors), tuple(path for path in PATHS if path in model.paths))

    @property
    def names(self) -> tuple[str, ...]:
        """What figures and tables call them."""
        return VALUE, "value, one template", *REFINED, *(PATHS[path] for path in self.paths), ATTENTION

    @property
    def trace_options(self) -> Mapping[str, Any]:
        """Keys for smoothing, and all paths of one forward pass."""
        return {"keys": "key", "path": ["value", *self.paths]}

    def maps(self, trace: Trace) -> Tensor:
        """Score every class at every position, `(candidate, class, y, x)`."""
        dense, *others = trace.dense
        value = _cosines(dense, self.ensembled)
        score = F.normalize(trace.global_embedding, dim=-1) @ self.ensembled.T
        attention = score[:, None, None] * trace.attention.mean(0)
        single = _cosines(dense, self.single)
        return torch.stack(
            [value, single, *_refined(value, trace), *(_cosines(other, self.ensembled) for other in others), attention]
        )


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM of every class: a backward pass for each, so it is slow.

    Attributes:
        model: Whose last map is weighed.
        vectors: `(class, D)`.
    """

    model: Model
    vectors: Tensor
    names: tuple[str, ...] = (CAM,)

    def maps(self, trace: Trace) -> Tensor:
        """Score every class at every position, `(1, class, y, x)`."""
        assert trace.pixels is not None
        return grad_cam(self.model.tower, trace.pixels, self.vectors)[None]


def _cosines(dense: Tensor, vectors: Tensor) -> Tensor:
    return cosine_maps(dense, vectors[None])[0]


def _refined(value: Tensor, trace: Trace) -> Iterator[Tensor]:
    """Refine as the paper does; where denoising removes every class, no pixel gets a name."""
    assert trace.keys is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="prompt denoising removed every prompt")
        denoised, present = prompt_denoising(value, 0.5)
    yield key_smoothing(value, trace.keys)
    yield key_smoothing(value, trace.keys, normalisation="official")
    yield denoised
    yield key_smoothing(denoised, trace.keys, normalisation="official") if present.any() else denoised
