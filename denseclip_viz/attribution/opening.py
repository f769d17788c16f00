"""From an image, or a trace of it, to the one pass of a tower that attributions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from denseclip_viz import arguments
from denseclip_viz.clip.forward import ForwardOptions, check_gradients, check_once, differentiable
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.preparation import Preparation, warn_once
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.pool_row import PoolRow
from denseclip_viz.clip.towers.tower import Streams, Wanted, check_recomposition
from denseclip_viz.errors import LayerError
from denseclip_viz.geometry import Geometry, fit_from
from denseclip_viz.images import ImageLike
from denseclip_viz.presets import PRESETS
from denseclip_viz.trace import Fitted, Trace

if TYPE_CHECKING:
    from denseclip_viz.model import FitLike, Model


@dataclass(frozen=True, eq=False)
class Unopened:
    """An image at a tower's input that no pass was made of; attributes are those of a `Trace`."""

    geometry: Geometry
    image: np.ndarray
    name: str
    provenance: Mapping[str, str | int]
    pixels: Tensor | None


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of a tower over one image.

    Attributes:
        embedding: `(1, D)`, not normalised.
        grid: Its positions, `(y, x)`.
        streams: What it left behind.
    """

    embedding: Tensor
    grid: tuple[int, int]
    streams: Streams

    @property
    def pool(self) -> PoolRow:
        """The query that pools."""
        assert self.streams.pool is not None
        return self.streams.pool

    def positions(self, tokens: Tensor) -> Tensor:
        """Lay `(…, token)` out on the grid, `(…, y, x)`, without the tokens that are no positions."""
        placed: Tensor = tokens[..., tokens.shape[-1] - self.grid[0] * self.grid[1] :].unflatten(-1, self.grid)
        return placed


def fit_image(model: Model, image: ImageLike | Trace, geometry: FitLike | None = None) -> Fitted:
    """Bring an image to a model's input, or take that of a trace.

    Raises:
        LayerError: tiles, which have no one input, a trace of another model, or a model without gradients.
        GeometryError: a geometry for a trace, whose image was fitted already.
    """
    fitted: Fitted
    if isinstance(image, Trace):
        fitted = arguments.require_same_model(image, model.provenance, geometry=geometry, is_run_again=True)
    else:
        fit = fit_from(PRESETS[""].fit("") if geometry is None else geometry)
        facts = {**model.provenance, "tower": model.tower.family}
        prepared = Preparation(tower=model.tower, fit=fit, preprocess=model.preprocess, provenance=facts).of(image)
        inputs = None if prepared.inputs is None else torch.from_numpy(prepared.inputs)
        assert prepared.image is not None
        fitted = Unopened(prepared.geometry, prepared.image, prepared.name, prepared.provenance, inputs)
    if fitted.pixels is None:
        got, fix = f"attributions of {fitted.name} in tiles", "Take geometry='whole'."
        raise LayerError(got, expected="a single window, seen whole by one pass", fix=fix)
    check_gradients(model.tower.visual)
    native = fitted.geometry.mode == "native"
    check_once(model.tower, fitted.pixels[None], ForwardOptions(), model.checked, native=native)
    warn_once(fitted.provenance, model.checked)
    return fitted


def run(tower: Tower, pixels: Tensor, wanted: Wanted) -> Pass:
    """Run a tower once on `(3, H, W)`; the whole pass keeps its graph where blocks are `weighed`.

    Raises:
        RecompositionError: what was recorded does not sum to the embedding.
        OutOfMemoryError: the pass does not fit.
    """
    tower, inputs = differentiable(tower, pixels)
    with torch.set_grad_enabled(wanted.weighed), memory_guard("the geometry's size"):
        pooling, streams = tower.forward(inputs, wanted)
        rows, columns = pooling.attention.shape[-2:]
    check_recomposition(pooling, tower.family)
    return Pass(pooling.embedding, (rows, columns), streams)
