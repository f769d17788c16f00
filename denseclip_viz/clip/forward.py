"""One forward pass of a batch: taken apart, and checked before anything of it is handed out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.paths import PATHS, attend_alone, dense_features, one_antialias, wanted_blocks
from denseclip_viz.clip.surroundings import check_eval
from denseclip_viz.clip.towers import Tower, eager
from denseclip_viz.clip.towers.tower import TOLERANCE, Pooling, Wanted, check_miss, pooled_of, recomposition_miss
from denseclip_viz.errors import LayerError, RecompositionError
from denseclip_viz.trace import PARTS

KNOB = "batch_size or the geometry's size"  # what decides how much memory a pass takes


@dataclass(frozen=True)
class ForwardOptions:
    """What is wanted from a forward pass.

    Attributes:
        path: The path to dense features, or several, which get an axis of their own.
        layers: Names of taps to keep.
        keys: `""` for none, `"key"` for the pool's keys, `"projected"` for keys pushed through the output projection.
        parts: Which of `PARTS` are wanted; what is not is not computed where the tower can leave it out.
    """

    path: DensePath | tuple[DensePath, ...] = PATHS["value"]
    layers: tuple[str, ...] = ()
    keys: str = ""
    parts: frozenset[str] = frozenset(PARTS)

    @property
    def paths(self) -> tuple[DensePath, ...]:
        """The paths, one or several."""
        return (self.path,) if isinstance(self.path, DensePath) else self.path

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(path.name for path in self.paths)

    @property
    def shared(self) -> bool:
        """Whether the embedding is shared out to positions."""
        return not self.parts.isdisjoint(("contributions", "even"))


@dataclass(frozen=True, kw_only=True)
class Decomposition(Pooling):
    """One forward pass of a batch of images, taken apart.

    Attributes:
        dense: `(image, y, x, D)`, dense features in text space, or `(image, path, y, x, D)` of a list of paths; None
            where they are not wanted.
        paths: Their names.
    """

    dense: Tensor | None
    paths: tuple[str, ...]


def embed(tower: Tower, pixels: Tensor, *, knob: str = "the number of images") -> Tensor:
    """Run a tower as it is on preprocessed pixels `(image, 3, H, W)`, without gradients: `(image, D)`.

    `knob` is what to turn down where memory ends.
    """
    check_eval(tower.visual)
    parameter = next(tower.visual.parameters())
    with torch.no_grad(), memory_guard(knob):
        return pooled_of(tower.visual(pixels.to(parameter.device, parameter.dtype)))


def differentiable(tower: Tower, pixels: Tensor) -> tuple[Tower, Tensor]:
    """Bring pixels `(…, 3, H, W)` to a tower, at their size, as one batch that gradients can be asked of."""
    check_eval(tower.visual)
    check_gradients(tower.visual)
    parameter = next(tower.visual.parameters())
    batch = pixels.reshape(-1, *pixels.shape[-3:])
    # a copy, so that the caller's own pixels never ask for gradients
    inputs = batch.to(parameter.device, parameter.dtype, copy=True).requires_grad_(True)
    return eager(tower).at(inputs), inputs


def check_gradients(visual: nn.Module) -> None:
    """Refuse a tower that no gradient can pass.

    Raises:
        LayerError: it was built under `torch.inference_mode`.
    """
    if any(parameter.is_inference() for parameter in visual.parameters()):
        fix = "Build it outside of it, or pass copy.deepcopy(clip), made outside."
        got = "a model that was built under torch.inference_mode()"
        raise LayerError(got, expected="parameters that gradients can pass", fix=fix)


def decompose(tower: Tower, pixels: Tensor, options: ForwardOptions) -> Decomposition:
    """Run a tower once on `(image, 3, H, W)`, a size that it is `at`; take its pooling apart, and make dense features.

    Raises:
        LayerError: a path that the tower does not offer, or paths that one forward pass cannot give.
    """
    paths = options.paths if "dense" in options.parts else ()
    wanted = Wanted(
        layers=options.layers,
        keys=options.keys,
        antialias=one_antialias(tower, pixels, options.paths),
        alone=attend_alone(paths),
        blocks=wanted_blocks(tower, paths),
        shared=options.shared,
    )
    pooling, streams = tower.forward(pixels, wanted)
    rows, columns = grid = pooling.attention.shape[-2:]
    dense = [features.unflatten(1, grid) for features in dense_features(tower, streams, paths, (rows, columns))]
    stacked = None if not dense else dense[0] if isinstance(options.path, DensePath) else torch.stack(dense, dim=1)
    return Decomposition(**vars(pooling), dense=stacked, paths=options.names)


def run(tower: Tower, inputs: Tensor, options: ForwardOptions) -> tuple[Decomposition, Tensor]:
    """Take one batch of inputs apart without gradients, and say how far it misses; on the tower's device.

    Returns:
        What is wanted of it, in fp32 (fp64 of an fp64 tower), and a number for `check_miss`. On a GPU it may not be
        there yet: looking at it is waiting for the pass.
    """
    check_eval(tower.visual)
    parameter = next(tower.visual.parameters())
    with torch.no_grad(), memory_guard(KNOB):
        whole = decompose(eager(tower).at(inputs), inputs.to(parameter.device, parameter.dtype), options)
        miss = recomposition_miss(whole)
        return each_tensor(whole, lambda t: t.detach() if t.dtype == torch.float64 else t.detach().float()), miss


def decompose_checked(tower: Tower, inputs: Tensor, options: ForwardOptions) -> Decomposition:
    """Take one batch of inputs apart without gradients, check it, and bring it to the CPU.

    Raises:
        RecompositionError: contributions and rest do not sum to the embedding.
        OutOfMemoryError: the batch does not fit.
    """
    decomposition, miss = run(tower, inputs, options)
    check_miss(miss, next(tower.visual.parameters()).dtype, tower.family)
    return each_tensor(decomposition, Tensor.cpu)


def each_tensor(decomposition: Decomposition, change: Callable[[Tensor], Tensor]) -> Decomposition:
    """Change every tensor of a decomposition alike."""

    def changed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: change(tensor) for name, tensor in value.items()}
        return change(value) if isinstance(value, Tensor) else value

    return replace(decomposition, **{name: changed(value) for name, value in vars(decomposition).items()})


def check_once(tower: Tower, inputs: Tensor, options: ForwardOptions, done: set[str], *, native: bool) -> None:
    """Check, once for a tower, that a real input's opened pass is the model's own, and recomposes where no other does.

    Args:
        tower: An image tower.
        inputs: `(1, 3, H, W)`.
        options: What is wanted; a pass that shares nothing out is not checked by itself.
        done: Which checks were done; those of now are added.
        native: The input has the tower's own size.

    Raises:
        RecompositionError: the tower is not what it was taken for.
    """
    if native and "forward" not in done:
        check_against_forward(tower, inputs)
        done.add("forward")
    lean = f"lean, {', '.join(options.names)}, keys {options.keys!r}"
    if not options.shared and lean not in done:
        decompose_checked(tower, inputs, replace(options, parts=frozenset(PARTS)))
        done.add(lean)


def check_against_forward(tower: Tower, inputs: Tensor) -> None:
    """Check once, on a real input at the native size, that the opened pass equals the model's own.

    Raises:
        RecompositionError: the tower computes something else than its family says.
    """
    parameter = next(tower.visual.parameters())
    inputs = inputs.to(parameter.device, parameter.dtype)
    plain = embed(tower, inputs, knob=KNOB)
    with torch.no_grad():
        recorded = eager(tower).forward(inputs, Wanted(alone=True))[0].embedding
    miss = float((plain - recorded).abs().max() / plain.abs().max().clamp_min(1e-30))
    if not miss <= 30 * TOLERANCE[parameter.dtype]:
        raise RecompositionError(
            f"the opened forward pass misses the model's own by {miss:.1e} (relative)",
            expected=f"an ordinary tower of the family {tower.family}",
            fix="If the tower was modified, it is not supported as it is.",
        )
