"""What made a score, position by position: published attributions of prompts, from one forward pass for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.arguments import list_names
from denseclip_viz.attribution.block_methods import LEGRAD_BLOCKS, legrad, relevance_all, rollout
from denseclip_viz.attribution.opening import Pass, fit_image, run
from denseclip_viz.attribution.pool_methods import (
    Gradients,
    grad_cam,
    grad_eclip,
    gradient_x_activation,
    pool_gradients,
    relevance,
)
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.towers import Tower
from denseclip_viz.clip.towers.tower import Wanted
from denseclip_viz.errors import LayerError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.similarity import attributes, coordinates, named, wording
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import FitLike, Model, PromptsLike


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        maps: Makes maps `(text, y, x)` of a pass, of unit vectors `(text, D)`, and of gradients of their scores.
        unit: What its numbers are in.
        by: The parts of the pool that it wants gradients by: `reads`, `normed`, `weights`, `heads`.
        needs: What it is made of and not every tower has, as a reason; "" where all have it.
        blocks: How many of the last blocks it is made of; None for all.
        weighed: It wants gradients by the attention of blocks, through all that comes behind.
    """

    maps: Callable[[Pass, Tensor, Gradients], Tensor]
    unit: str = "cosine"
    by: tuple[str, ...] = ()
    needs: str = ""
    blocks: int | None = 0
    weighed: bool = False


TEXTS = 64  # at once: the gradients of each by what the pool reads are a megabyte
ATTENDS = "it is made of a pool's attention, and this pool is a plain mean"
BLOCKS = "it is made of the attention of blocks in front of a class token"
METHODS = {
    "gradient-x-activation": Method(gradient_x_activation, by=("normed",)),
    "grad-cam": Method(grad_cam, by=("reads",)),
    "grad-eclip": Method(grad_eclip, by=("heads",), needs=ATTENDS),
    "relevance": Method(relevance, by=("weights",), needs=ATTENDS),
    "legrad": Method(legrad, "cosine per attention", needs=BLOCKS, blocks=LEGRAD_BLOCKS),
    "rollout": Method(rollout, "share", needs=BLOCKS, blocks=None),
    "relevance-all": Method(relevance_all, needs=BLOCKS, blocks=None, weighed=True),
}


@guarded
def methods(model: Model) -> tuple[str, ...]:
    """Name the attributions that a model's image tower offers.

    Returns:
        Names for `attribute`. Grad-CAM and gradient × activation are there for every tower, Grad-ECLIP and relevance
        where the pool attends, LeGrad, rollout and relevance through all blocks where a class token pools.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.attribution.methods(dcv.load())
        ('gradient-x-activation', 'grad-cam', 'grad-eclip', 'relevance')
    """
    return offered(model.tower)


def offered(tower: Tower) -> tuple[str, ...]:
    """Name the attributions that a tower offers."""
    there = {"": True, ATTENDS: "pool.attention" in tower.taps(), BLOCKS: "blocks" in tower.switches}
    return tuple(name for name, method in METHODS.items() if there[method.needs])


@guarded
def attribute(
    model: Model,
    image: ImageLike | Trace,
    prompts: PromptsLike,
    methods: str | Sequence[str] | None = None,
    *,
    geometry: FitLike | None = None,
) -> xr.DataArray:
    """Say which positions made the score of each prompt, by published methods, for comparison with contributions.

    All of them explain cos(e, t), the image's one answer to a text. They are made of one forward pass, for all prompts
    and templates; ways back are taken together. Numbers are raw: where a method's own code stretches each map from 0 to
    1, an absent prompt would look as strong as one that is there. Units differ, so maps of two methods share no scale.

    - `gradient-x-activation`: Σ_c a_c ∂s/∂a_c, of what the pool reads: layer4 of a ResNet, a ViT's stream behind the
      first norm of its last block; signed
    - `grad-cam`: ReLU(Σ_c mean(∂s/∂a_c) a_c), of the same a
    - `grad-eclip`: ReLU(Σ_c (∂s/∂o)_c v_jc) w_j, of the pool's values; w: how alike key and query are, from 0 to 1
    - `relevance`: the mean over heads of (∂s/∂A ⊙ A)₊, of the pool's attention, a ViT's last block
    - `relevance-all`: the same followed through all blocks; some seven passes for five prompts
    - `legrad`: the gradient by the attention of the last two blocks of what each of them would answer, ReLU, averaged
      over heads and queries
    - `rollout`: attention followed through all blocks; no prompt enters, so it is the same for all

    Args:
        model: A loaded model; nothing on it changes.
        image: An image, or a trace of it, whose input is taken.
        prompts: Texts, or `Prompts`.
        methods: Names; all that the model offers by default.
        geometry: As for `Model.trace`, with an image; no tiles.

    Returns:
        `(candidate, template, prompt, y, x)`, a candidate for each method, with a coordinate `unit` (candidate).
        An axis named "method" could not be picked from: to xarray's `sel` that is an option.

    Raises:
        LayerError: a method that the tower does not offer, or an image in tiles.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a red car on grass", size=64)
        >>> maps = dcv.attribution.attribute(dcv.load(), scene, ["a red car", "grass"], ["grad-cam", "relevance"])
        >>> maps.dims, maps.shape
        (('candidate', 'template', 'prompt', 'y', 'x'), (2, 1, 2, 8, 8))
    """
    import xarray as xr

    prompts, names = Prompts.of(prompts), choose_methods(model.tower, methods)
    fitted = fit_image(model, image, geometry)
    vectors = model.texts.encode(prompts)
    assert fitted.pixels is not None
    maps = attribution_maps(model.tower, fitted.pixels, vectors.flatten(0, 1), names)
    stacked = torch.stack(list(maps.values())).unflatten(1, vectors.shape[:2]).numpy()
    coords: dict[str, Any] = {"candidate": list(names), "unit": ("candidate", [METHODS[name].unit for name in names])}
    return xr.DataArray(
        stacked,
        dims=("candidate", "template", "prompt", "y", "x"),
        coords=coords | coordinates(fitted, prompts),
        name="attribution",
        attrs=attributes(fitted)
        | wording(prompts)
        | named("attribution of the global score", "of the method, see `unit`"),
    )


def choose_methods(tower: Tower, methods: object) -> tuple[str, ...]:
    """Choose methods of a tower by name; all that it offers where none are given.

    Raises:
        LayerError: no method, one twice, or one that the tower does not offer, with the reason.
    """
    there = offered(tower)
    names = list(there) if methods is None else list_names(methods, "methods")
    wrong = next((name for name in names if name not in there or names.count(name) > 1), None if names else "none")
    if wrong is not None:
        got = f"method {wrong!r}" + (" twice" if wrong in there else f" for a tower with {tower.family}")
        why = f": {METHODS[wrong].needs}" if wrong in METHODS and wrong not in there else ""
        fix = "Each once; or leave `methods` out for all of them."
        raise LayerError(got, expected=f"some of {', '.join(there)}{why}", fix=fix)
    return tuple(names)


def _maps_of(chosen: Sequence[Method], one: Pass, texts: Tensor, by: Sequence[str]) -> list[Tensor]:
    gradients = pool_gradients(one, texts, by)
    return [method.maps(one, texts, gradients).detach().cpu() for method in chosen]


@guarded
def attribution_maps(tower: Tower, pixels: Tensor, vectors: Tensor, methods: Sequence[str]) -> dict[str, Tensor]:
    """Make maps of several methods from one pass of a tower.

    Args:
        tower: Any tower.
        pixels: `(3, H, W)`, its input.
        vectors: `(text, D)`, of any length.
        methods: What the tower offers.

    Returns:
        `{method: (text, y, x)}`, on the CPU.
    """
    chosen = [METHODS[name] for name in methods]
    depth = len(tower.layers)
    most = max(depth if method.blocks is None else method.blocks for method in chosen)
    by = tuple(dict.fromkeys(part for method in chosen for part in method.by))
    wanted = Wanted(
        blocks=range(depth)[depth - min(most, depth) :],
        gradients=bool(by),
        weighed=any(method.weighed for method in chosen),
    )
    one = run(tower, pixels, wanted)
    texts = F.normalize(vectors.to(one.embedding), dim=-1)
    with memory_guard("the number of prompts or the geometry's size"):
        parts = [_maps_of(chosen, one, some, by) for some in texts.split(TEXTS)]
    maps = [torch.cat(part) for part in zip(*parts, strict=True)]
    kind = torch.float64 if maps[0].dtype == torch.float64 else torch.float32
    return {name: each.to(kind) for name, each in zip(methods, maps, strict=True)}
