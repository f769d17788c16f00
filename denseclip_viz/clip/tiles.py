"""Overlapping windows of one image, each seen by a pass of its own, laid on one grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseclip_viz.clip.forward import Decomposition, ForwardOptions, check_once, decompose_checked
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import LayerError
from denseclip_viz.geometry import Geometry, blend_weights


def decompose_tiles(
    tower: Tower,
    canvas: NDArray[np.float32],
    geometry: Geometry,
    options: ForwardOptions,
    *,
    batch_size: int,
    done: set[str],
    on_window: Callable[[int, int], object] | None = None,
) -> Decomposition:
    """Take windows of one image apart and lay them on one grid; memory is bounded by the batch.

    The global embedding is the mean over windows; contributions and rest are shared out alike, so they still sum to
    it. Dense features are blended, each window strongest in its middle.

    Args:
        tower: An image tower.
        canvas: `(3, H, W)`, the whole image, normalised.
        geometry: Where the windows lie.
        options: What is wanted.
        batch_size: Windows in one forward pass.
        done: As for `check_once`.
        on_window: Called with how many windows are done, of how many.

    Raises:
        LayerError: layers were asked for; windows have no common one.
    """
    if options.layers:
        raise LayerError(
            f"layers {', '.join(options.layers)} of a tiled image",
            expected="a single window",
            fix="Take geometry='native' or geometry='whole' to record layers.",
        )
    sums = TileSums(geometry)
    for start in range(0, len(geometry.windows), batch_size):
        corners = geometry.windows[start : start + batch_size]
        height, width = geometry.window or (0, 0)
        crops = np.stack([canvas[:, top : top + height, left : left + width] for top, left in corners])
        inputs = torch.from_numpy(crops)
        check_once(tower, inputs[:1], options, done, native=False)
        sums.add(decompose_checked(tower, inputs, options), corners)
        if on_window is not None:
            on_window(start + len(corners), len(geometry.windows))
    return sums.decomposition()


class TileSums:
    """Running sums over windows, on the grid of the whole image."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        weights = (torch.from_numpy(np.asarray(w, dtype=np.float64)) for w in blend_weights(geometry))
        wy, wx = weights
        self.blend = (wy[:, None] * wx)[..., None]
        self.share = torch.zeros(*geometry.grid, 1, dtype=torch.float64)
        self.totals: dict[str, Tensor] = {}
        self.terms: dict[str, dict[str, Tensor]] = {}
        self.embedding = torch.zeros((), dtype=torch.float64)

    def add(self, decomposition: Decomposition, corners: Sequence[tuple[int, int]]) -> None:
        """Lay a batch of windows down at their corners: blended what is at positions, summed what is a share."""
        count, parts = len(self.geometry.windows), vars(decomposition)
        blended, shared = ("dense", "keys"), ("contributions", "even", "attention")
        for i, (top, left) in enumerate(corners):
            y, x = self.geometry.first_cell((top, left))
            place = (..., slice(y, y + self.blend.shape[0]), slice(x, x + self.blend.shape[1]), slice(None))
            self.share[place] += self.blend
            for name in blended:
                if parts[name] is not None:
                    self._lay(name, parts[name][i] * self.blend, place)
            for name in shared:
                if parts[name] is not None:
                    values = parts[name][i].permute(1, 2, 0) if name == "attention" else parts[name][i]
                    self._lay(name, values / count, place)
            for kind in ("rest", "even_rest"):
                sums = self.terms.setdefault(kind, {})
                sums |= {name: sums.get(name, 0) + term[i].double() / count for name, term in parts[kind].items()}
            self.embedding = self.embedding + decomposition.embedding[i].double() / count
        self.dtype, self.paths = decomposition.embedding.dtype, decomposition.paths

    def _lay(self, name: str, values: Tensor, place: tuple[Any, ...]) -> None:
        if name not in self.totals:
            shape = (*values.shape[:-3], *self.geometry.grid, values.shape[-1])
            self.totals[name] = torch.zeros(shape, dtype=torch.float64)
        self.totals[name][place] += values

    def decomposition(self) -> Decomposition:
        """Turn the sums into one `Decomposition` with a batch of one."""
        sums = {name: total / self.share if name in ("dense", "keys") else total for name, total in self.totals.items()}
        done: dict[str, Any] = {name: values[None].to(self.dtype) for name, values in sums.items()}
        terms: dict[str, Any] = {}
        for kind, named in self.terms.items():
            terms[kind] = {name: term[None].to(self.dtype) for name, term in named.items()}
        embedding, attention = self.embedding[None].to(self.dtype), done.pop("attention").permute(0, 3, 1, 2)
        dense = done.pop("dense", None)
        return Decomposition(embedding=embedding, attention=attention, dense=dense, paths=self.paths, **done, **terms)
