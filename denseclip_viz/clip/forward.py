"""From images to traces: one forward pass for each, in batches or in tiles, checked before it is handed out."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.given import of_one_image
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.paths import PATHS, attend_alone, dense_features, one_antialias, wanted_blocks
from denseclip_viz.clip.surroundings import check_eval
from denseclip_viz.clip.towers import Tower, uncompiled
from denseclip_viz.clip.towers.tower import TOLERANCE, Pooling, Wanted, check_recomposition, pooled_of
from denseclip_viz.errors import LayerError, RecompositionError, UntrainedImageWarning, warn
from denseclip_viz.geometry import Fit, Geometry, Preprocess, blend_weights, pixels
from denseclip_viz.images import ImageLike, describe, display
from denseclip_viz.trace import Fitted, Trace


@dataclass(frozen=True)
class ForwardOptions:
    """What is wanted from a forward pass beside the lean default.

    Attributes:
        path: The path to dense features, or several, which get an axis of their own.
        layers: Names of taps to keep.
        keys: `""` for none, `"key"` for the pool's keys, `"projected"` for keys pushed through the output projection.
    """

    path: DensePath | tuple[DensePath, ...] = PATHS["value"]
    layers: tuple[str, ...] = ()
    keys: str = ""

    @property
    def paths(self) -> tuple[DensePath, ...]:
        """The paths, one or several."""
        return (self.path,) if isinstance(self.path, DensePath) else self.path

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(path.name for path in self.paths)


@dataclass(frozen=True, kw_only=True)
class Decomposition(Pooling):
    """One forward pass of a batch of images, taken apart.

    Attributes:
        dense: `(image, y, x, D)`, dense features in text space, or `(image, path, y, x, D)` of a list of paths.
        paths: Their names.
    """

    dense: Tensor
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """An image that was read, with its place in the tower's input."""

    image: Image.Image
    geometry: Geometry
    name: str
    caution: str = ""


def caution(image: ImageLike, upright: Image.Image, provenance: Mapping[str, str | int]) -> str:
    """Say of an image that it is none of the drawn scenes that alone a bundled model was trained on; else nothing."""
    if "trained_on" not in provenance:
        return ""
    from denseclip_viz.toyworld.scenes import DRAWN, Scene  # the world is not read for other models

    if isinstance(image, Scene) or upright.info.get("comment") in (DRAWN, DRAWN.encode()):
        return ""
    about = "{model} was trained on {trained_on} only".format(**provenance)
    return f"{about}: of other images its maps and scores mean nothing."


def prepare(
    tower: Tower,
    image: ImageLike,
    upright: Image.Image,
    fit: Fit,
    *,
    preprocess: Preprocess,
    provenance: Mapping[str, str | int],
) -> Prepared:
    """Plan how an image that was read is brought to a tower's input."""
    geometry = fit.plan((upright.height, upright.width), preprocess=preprocess, cell=tower.cell)
    placed = replace(geometry, shift=tower.shift("pool.input"))
    return Prepared(upright, placed, describe(image), caution(image, upright, provenance))


def trace_all(tower: Tower, prepared: Iterable[Prepared], *, batch_size: int, **common: Any) -> Iterator[Trace]:
    """Trace images in order: neighbours whose inputs have one size together, tiled ones each alone.

    Args:
        tower: An image tower.
        prepared: The images; each is read when its turn comes.
        batch_size: Images, or windows of tiles, in one forward pass.
        **common: `preprocess`, `options`, `provenance`, as for `trace_batch`.
    """
    images = of_one_image(prepared, common["options"].paths, lambda p: p.geometry.mode == "tiles")
    for (mode, _), group in itertools.groupby(images, key=lambda p: (p.geometry.mode, p.geometry.input)):
        if mode == "tiles":
            for one in group:
                yield trace_tiles(tower, one, batch_size=batch_size, **common)
            continue
        while batch := list(itertools.islice(group, batch_size)):
            yield from trace_batch(tower, batch, **common)


def trace_batch(
    tower: Tower,
    prepared: Sequence[Prepared],
    *,
    preprocess: Preprocess,
    options: ForwardOptions,
    provenance: Mapping[str, str | int],
) -> list[Trace]:
    """Trace images whose inputs have the same size, in one forward pass.

    Raises:
        RecompositionError: contributions and rest do not sum to the embedding.
        OutOfMemoryError: the batch does not fit.
    """
    inputs = np.stack([pixels(p.image, p.geometry, preprocess) for p in prepared])
    decomposition = decompose_checked(tower, torch.from_numpy(inputs), options)
    return [_trace(decomposition, i, p, provenance, torch.from_numpy(inputs[i].copy())) for i, p in enumerate(prepared)]


def embed(tower: Tower, pixels: Tensor) -> Tensor:
    """Run a tower as it is on preprocessed pixels `(image, 3, H, W)`, without gradients: `(image, D)`."""
    check_eval(tower.visual)
    parameter = next(tower.visual.parameters())
    with torch.no_grad(), memory_guard("the number of images"):
        return pooled_of(tower.visual(pixels.to(parameter.device, parameter.dtype)))


def differentiable(tower: Tower, pixels: Tensor) -> tuple[Tower, Tensor]:
    """Bring pixels `(…, 3, H, W)` to a tower, at their size, as one batch that gradients can be asked of."""
    check_eval(tower.visual)
    parameter = next(tower.visual.parameters())
    batch = pixels.reshape(-1, *pixels.shape[-3:])
    # a copy, so that the caller's own pixels never ask for gradients
    inputs = batch.to(parameter.device, parameter.dtype, copy=True).requires_grad_(True)
    return uncompiled(tower).at(inputs), inputs


def decompose(tower: Tower, pixels: Tensor, options: ForwardOptions) -> Decomposition:
    """Run a tower once on `(image, 3, H, W)`, a size that it is `at`; take its pooling apart, and make dense features.

    Raises:
        LayerError: a path that the tower does not offer, or paths that one forward pass cannot give.
    """
    paths = options.paths
    wanted = Wanted(
        layers=options.layers,
        keys=options.keys,
        antialias=one_antialias(tower, pixels, paths),
        alone=attend_alone(paths),
        blocks=wanted_blocks(tower, paths),
    )
    pooling, streams = tower.forward(pixels, wanted)
    rows, columns = grid = pooling.attention.shape[-2:]
    dense = [features.unflatten(1, grid) for features in dense_features(tower, streams, paths, (rows, columns))]
    stacked = dense[0] if isinstance(options.path, DensePath) else torch.stack(dense, dim=1)
    return Decomposition(**vars(pooling), dense=stacked, paths=options.names)


def decompose_checked(tower: Tower, inputs: Tensor, options: ForwardOptions) -> Decomposition:
    """Take one batch of inputs apart without gradients, check it, and bring it to the CPU."""
    check_eval(tower.visual)
    parameter = next(tower.visual.parameters())
    with torch.no_grad(), memory_guard("batch_size or the geometry's size"):
        decomposition = decompose(uncompiled(tower).at(inputs), inputs.to(parameter.device, parameter.dtype), options)
        check_recomposition(decomposition, tower.family)
    return _to_cpu(decomposition)


def trace_tiles(
    tower: Tower,
    prepared: Prepared,
    *,
    preprocess: Preprocess,
    options: ForwardOptions,
    provenance: Mapping[str, str | int],
    batch_size: int,
) -> Trace:
    """Trace overlapping windows of one image and lay them on one grid; memory is bounded by the batch.

    The global embedding is the mean over windows; contributions and rest are shared out alike, so they still sum to
    it. Dense features are blended, each window strongest in its middle.

    Raises:
        LayerError: layers were asked for; windows have no common one.
    """
    if options.layers:
        raise LayerError(
            f"layers {', '.join(options.layers)} of a tiled image",
            expected="a single window",
            fix="Take geometry='native' or geometry='whole' to record layers.",
        )
    geometry = prepared.geometry
    canvas = pixels(prepared.image, geometry, preprocess)
    sums = TileSums(geometry)
    for start in range(0, len(geometry.windows), batch_size):
        corners = geometry.windows[start : start + batch_size]
        height, width = geometry.window or (0, 0)
        crops = np.stack([canvas[:, top : top + height, left : left + width] for top, left in corners])
        sums.add(decompose_checked(tower, torch.from_numpy(crops), options), corners)
    return _trace(sums.decomposition(), 0, prepared, provenance, None)


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

    def add(self, decomposition: Decomposition, corners: Sequence[tuple[int, int]]) -> None:
        """Lay a batch of windows down at their corners."""
        count = len(self.geometry.windows)
        for i, (top, left) in enumerate(corners):
            y, x = top // self.geometry.cell[0], left // self.geometry.cell[1]
            place = (..., slice(y, y + self.blend.shape[0]), slice(x, x + self.blend.shape[1]), slice(None))
            self.share[place] += self.blend
            self._lay("dense", decomposition.dense[i] * self.blend, place)
            self._lay("contributions", decomposition.contributions[i] / count, place)
            self._lay("even", decomposition.even[i] / count, place)
            self._lay("attention", decomposition.attention[i].permute(1, 2, 0) / count, place)
            if decomposition.keys is not None:
                self._lay("keys", decomposition.keys[i] * self.blend, place)
            whole, rest, even = {"": decomposition.embedding}, decomposition.rest, decomposition.even_rest
            for kind, terms in {"embedding": whole, "rest": rest, "even_rest": even}.items():
                sums = self.terms.setdefault(kind, {})
                sums |= {name: sums.get(name, 0) + term[i].double() / count for name, term in terms.items()}
        self.dtype, self.paths = decomposition.dense.dtype, decomposition.paths

    def _lay(self, name: str, values: Tensor, place: tuple[Any, ...]) -> None:
        if name not in self.totals:
            shape = (*values.shape[:-3], *self.geometry.grid, values.shape[-1])
            self.totals[name] = torch.zeros(shape, dtype=torch.float64)
        self.totals[name][place] += values

    def decomposition(self) -> Decomposition:
        """Turn the sums into one `Decomposition` with a batch of one."""
        done = {name: total[None].to(self.dtype) for name, total in self.totals.items()}
        keys = (self.totals["keys"] / self.share)[None].to(self.dtype) if "keys" in self.totals else None
        terms = {kind: {n: t[None].to(self.dtype) for n, t in named.items()} for kind, named in self.terms.items()}
        return Decomposition(
            embedding=terms["embedding"][""],
            dense=(self.totals["dense"] / self.share)[None].to(self.dtype),
            attention=done["attention"].permute(0, 3, 1, 2),
            contributions=done["contributions"],
            even=done["even"],
            rest=terms["rest"],
            even_rest=terms["even_rest"],
            keys=keys,
            paths=self.paths,
        )


def check_once(trace: Fitted, tower: Tower, done: set[str]) -> None:
    """Check the first native input against the tower's own pass, and warn of the first image that it is not made for.

    `done` keeps which of the two were done.
    """
    if "forward" not in done and trace.pixels is not None and trace.geometry.mode == "native":
        check_against_forward(tower, trace.pixels[None])
        done.add("forward")
    if "caution" not in done and "caution" in trace.provenance:
        done.add("caution")
        warn(str(trace.provenance["caution"]), UntrainedImageWarning)


def check_against_forward(tower: Tower, inputs: Tensor) -> None:
    """Check once, on a real input at the native size, that the opened pass equals the model's own.

    Raises:
        RecompositionError: the tower computes something else than its family says.
    """
    parameter = next(tower.visual.parameters())
    inputs = inputs.to(parameter.device, parameter.dtype)
    plain = embed(tower, inputs)
    with torch.no_grad():
        recorded = uncompiled(tower).forward(inputs, Wanted(alone=True))[0].embedding
    miss = float((plain - recorded).abs().max() / plain.abs().max().clamp_min(1e-30))
    if not miss <= 30 * TOLERANCE[parameter.dtype]:
        raise RecompositionError(
            f"the opened forward pass misses the model's own by {miss:.1e} (relative)",
            expected=f"an ordinary tower of the family {tower.family}",
            fix="If the tower was modified, it is not supported as it is.",
        )


def _to_cpu(decomposition: Decomposition) -> Decomposition:
    def move(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        return tensor if tensor.dtype == torch.float64 else tensor.float()

    return _each_tensor(decomposition, move)


def _each_tensor(decomposition: Decomposition, change: Callable[[Tensor], Tensor]) -> Decomposition:
    def changed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: change(tensor) for name, tensor in value.items()}
        return change(value) if isinstance(value, Tensor) else value

    return replace(decomposition, **{name: changed(value) for name, value in vars(decomposition).items()})


def _trace(
    decomposition: Decomposition, i: int, prepared: Prepared, provenance: Mapping[str, str | int], inputs: Tensor | None
) -> Trace:
    # clones, so that one kept trace does not keep its whole batch
    own = dict(vars(_each_tensor(decomposition, lambda tensor: tensor[i].clone())))
    return Trace(
        global_embedding=own.pop("embedding"),
        geometry=prepared.geometry,
        image=display(prepared.image),
        name=prepared.name,
        provenance={**provenance, **({"caution": prepared.caution} if prepared.caution else {})},
        pixels=inputs,
        **own,
    )
