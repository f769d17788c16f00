"""Interventions: take a head, a layer or a position away, put the mean or another image's in, and score again.

    score = cos(e, t)      after: the same with e of a pass in which one place was changed, all behind it run again

Many interventions of one image are rows of one batch, beside the image as it is and the one that is swapped in. Hooks
of this thread alone change them, so the model stays as it was. Source: Vig et al. (arXiv 2004.12265).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz import arguments
from denseclip_viz.attribution.effects import direct_effects
from denseclip_viz.attribution.opening import fit_image
from denseclip_viz.attribution.sites import POOL, Change, Position, choose, combine, run, sites_of
from denseclip_viz.clip.surroundings import check_eval, guarded
from denseclip_viz.clip.towers import eager
from denseclip_viz.errors import GeometryError, LayerError
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.similarity import attributes, named
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Fitted, Trace
from denseclip_viz.validation import short

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import FitLike, Model, PromptsLike


@guarded
def intervene(
    model: Model,
    image: ImageLike | Trace,
    prompts: PromptsLike,
    at: str | Sequence[str],
    *,
    head: int | str | None = None,
    position: Position | str | None = None,
    replace: str | ImageLike | Trace = "zero",
    geometry: FitLike | None = None,
    batch_size: int = 16,
) -> xr.Dataset:
    """Change one place of a tower at a time, run it again, and say what becomes of each prompt's score.

    What direct effects predict is beside what happened: the two differ by what later layers make of the change, and by
    norms, gates and the embedding's length, which the prediction keeps as they were.

    Args:
        model: A loaded model; nothing on it changes.
        image: An image, or a trace of it, whose input is taken.
        prompts: Texts, or `Prompts`.
        at: Taps by name, wildcard or negative index: `"blocks.2.attention"` or `"pool.attention"`, what its heads
            answer (the bias behind them stays); `"blocks.*.mlp"`, what an MLP adds; `"blocks.2"` or `"layer3"`, the
            stream or map behind a layer.
        head: A head of an attention, or "each" of them in turn; by default all at once.
        position: `(y, x)` on the grid there, or "each" in turn; by default all at once. In `"pool.attention"` it is the
            position that is looked at: its term of the sum. Elsewhere it is the one that answers.
        replace: "zero"; "mean", the mean over the tokens of this image, of an attention what a head would answer if
            it looked at all of them alike; or another image (or trace) that has its own put there.
        geometry: As for `Model.trace`, with an image; no tiles.
        batch_size: Interventions in one forward pass.

    Returns:
        `score` (template, prompt) of the image as it is; and by `intervention` `after`, `change`, `sum_change` (with
        the embedding's length as it was: of a pool with nothing but a projection behind it, what is predicted,
        exactly) and `predicted`, minus the direct effects of what is set to zero; NaN where there is no prediction.

    Raises:
        LayerError: a tap that there is not or that cannot be changed, a head or position that it has not, or tiles.
        GeometryError: another image that does not go in at the same size.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a taxi", size=64)
        >>> result = dcv.attribution.intervene(model, scene, ["a taxi"], "pool.attention", head="each")
        >>> result.change.dims, bool(abs(result.sum_change - result.predicted).max() < 1e-6)
        (('template', 'prompt', 'intervention'), True)
    """
    prompts, fitted = Prompts.of(prompts), fit_image(model, image, geometry)
    assert fitted.pixels is not None
    how = replace if isinstance(replace, str) and replace in ("zero", "mean") else "swap"
    others = [_other(model, replace, geometry, fitted.pixels)] if how == "swap" else []
    check_eval(model.tower.visual)
    parameter = next(model.tower.visual.parameters())
    inputs = torch.stack([fitted.pixels, *others]).to(parameter.device, parameter.dtype)
    tower = eager(model.tower).at(inputs)
    sites = sites_of(tower, inputs[:1], choose(tower, at), fitted.geometry.grid)
    changes = combine(sites, head, position)
    plain, changed = run(tower, inputs, sites, changes, how, arguments.check_batch_size(batch_size))
    texts = F.normalize(model.texts.encode(prompts).to(plain), dim=-1).movedim(-1, 0)
    scores = {
        "score": torch.tensordot(F.normalize(plain, dim=-1), texts, 1),
        "after": torch.tensordot(F.normalize(changed, dim=-1), texts, 1).movedim(0, -1),
        "sum_change": torch.tensordot((changed - plain) / plain.norm(), texts, 1).movedim(0, -1),
    }
    scores["predicted"] = torch.full_like(scores["after"], torch.nan)
    if how == "zero" and POOL in tower.taps():
        scores["predicted"] = _predicted(direct_effects(model, image, prompts, geometry=geometry), changes)
    return _labelled(scores, fitted, prompts, changes, how)


def _other(model: Model, replace: Any, geometry: Any, pixels: Tensor) -> Tensor:
    if isinstance(replace, str) and not os.path.exists(replace):
        got, expected = f"replace={short(replace)}", "'zero', 'mean', an image, a file that is there, or a trace"
        raise LayerError(got, expected=expected, fix="Check the word, or the path.")
    """Bring the image that is swapped in to the size of the other."""
    other = fit_image(model, replace, None if isinstance(replace, Trace) else geometry).pixels
    assert other is not None
    if other.shape != pixels.shape:
        got = f"an image of {other.shape[1]} x {other.shape[2]} pixels at the model's input to swap in"
        expected = f"{pixels.shape[1]} x {pixels.shape[2]}, as the image itself"
        raise GeometryError(got, expected=expected, fix="Take geometry='native', or an image of the same shape.")
    return other


def _predicted(effects: xr.Dataset, changes: Sequence[Change]) -> Tensor:
    """Take minus the direct effect of each change, `(template, prompt, change)`; NaN where there is none."""
    layers, last = [str(name) for name in effects["layer"].values], -1
    columns = []
    for change in changes:
        layer, _, part = change.at.rpartition(".")
        at = last if change.at == POOL else layers.index(layer) if layer in layers else None
        columns.append(_effect(effects, change, part, at))
    minus: Tensor = -torch.from_numpy(np.stack(columns, -1))
    return minus


def _effect(effects: xr.Dataset, change: Change, part: str, at: int | None) -> Any:
    nothing = np.full(effects["score"].shape, np.nan)
    if at is None or part not in ("attention", "mlp"):
        return nothing
    if change.position is not None:
        y, x = change.position
        looked_at = change.at == POOL and change.head is None
        return effects["position"].values[:, :, at, y, x] if looked_at else nothing
    values = effects[part].values[:, :, at]
    return values if part == "mlp" else values.sum(-1) if change.head is None else values[..., change.head]


def _labelled(
    scores: dict[str, Tensor], fitted: Fitted, prompts: Prompts, changes: Sequence[Change], how: str
) -> xr.Dataset:
    import xarray as xr

    texts = ("template", "prompt")
    about = {
        "score": "global embedding against text",
        "after": "the same after an intervention",
        "sum_change": "change of the score, the embedding's length kept",
        "predicted": "minus the direct effect",
        "change": "change of the score",
    }
    scores["change"] = scores["after"] - scores["score"][..., None]
    data = {
        name: (texts if name == "score" else (*texts, "intervention"), _numbers(scores[name]), named(words))
        for name, words in about.items()
    }
    places = np.array([change.position or (-1, -1) for change in changes]).reshape(-1, 2)
    coords = {
        "template": list(prompts.templates),
        "prompt": list(prompts.prompts),
        "absent": ("prompt", np.array(prompts.absent, dtype=bool)),
        "intervention": [change.name for change in changes],
        "at": ("intervention", [change.at for change in changes]),
        "head": ("intervention", [-1 if change.head is None else change.head for change in changes]),
        "row": ("intervention", places[:, 0]),
        "column": ("intervention", places[:, 1]),
    }
    return xr.Dataset(data, coords=coords, attrs={**attributes(fitted), "replace": how})


def _numbers(values: Tensor) -> Any:
    values = values.detach().cpu()
    return (values if values.dtype == torch.float64 else values.float()).numpy()
