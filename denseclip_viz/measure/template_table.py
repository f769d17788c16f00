"""What each template does to a prompt's map: a table with numbers, and where templates disagree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Masks
from denseclip_viz.errors import PromptError
from denseclip_viz.maps.refine import SCALE
from denseclip_viz.maps.tables import with_source
from denseclip_viz.measure.map_scores import Floats, MapScores, flat_scores, geometry_of, truth_on_grid
from denseclip_viz.measure.metrics import METRICS
from denseclip_viz.validation import is_number, is_on

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_AXES = ("template", "prompt", "y", "x")


@guarded
def templates_table(
    maps: xr.DataArray,
    masks: Masks | None = None,
    *,
    vectors: Tensor | None = None,
    scale: float = SCALE,
    threshold: float | None = None,
) -> pd.DataFrame:
    """Say in numbers what each template does to each prompt's map.

    Columns, all in cosine units unless said: `peak`; `margin_absent` (peak less the highest of all absent prompts);
    `margin_runner_up` (at the peak, less the strongest other prompt); `entropy` of the map (softmax over cells at
    `scale`; 0 one cell, 1 flat); `area` (share above the absent prompts' highest); `pearson` and `spearman` (with the
    ensemble's map); `text_distance` (1 - cosine with the ensemble's vector). With masks also `iou_best`, `iou`,
    `average_precision`, `pointing_hit` and `iou_ceiling`, the best that whole cells allow; and two in which prompts
    compete: `iou_won`, each cell going to the highest cosine of all prompts, and `shared_precision`, average
    precision with one threshold for all prompts.

    A prompt without a mask may be anywhere; one that is nowhere has a mask of nothing, or is marked absent.
    Masks are brought to the grid as shares of each cell's area.

    Args:
        maps: `(template, prompt, y, x)`, what `model.similarity` returns.
        masks: `{prompt: (row, column) bool}`, of the upright original image.
        vectors: `(template, prompt, D)`, what `model.texts.encode(prompts)` returns, for `text_distance`.
        scale: What cosines are multiplied by for the entropy: `model.logit_scale`, or CLIP's own after training.
        threshold: A cosine for `iou`; the template's absent baseline by default.

    Returns:
        One row for each template and prompt.

    Raises:
        PromptError: other axes, a mask of no prompt, vectors of other texts, or a scale or threshold that is no number.
        ImageError: a mask of another size, or not of booleans.
        GeometryError: masks, and maps that do not say where they lie.

    Example:
        >>> import denseclip_viz as dcv
        >>> import xarray as xr
        >>> coords = {"template": ["a {}", "the {}"], "prompt": ["grass"]}
        >>> maps = xr.DataArray([[[[0.3, 0.1]]], [[[0.2, 0.2]]]], dims=("template", "prompt", "y", "x"), coords=coords)
        >>> dcv.measure.templates_table(maps)[["template", "peak", "entropy"]].round(2).values.tolist()
        [['a {}', 0.3, 0.0], ['the {}', 0.2, 1.0]]
    """
    import pandas as pd

    maps = _ordered(maps)
    counted = _map_scores(maps, masks, scale, threshold)
    columns = {name: number.count(counted) for name, number in METRICS.items() if masks is not None or not number.masks}
    if vectors is not None:
        columns["text_distance"] = _distances(vectors, maps)
    names = [np.asarray(maps[axis].values) for axis in ("template", "prompt")]
    index = pd.MultiIndex.from_product(names, names=["template", "prompt"])
    table = pd.DataFrame({name: np.ravel(values) for name, values in columns.items()}, index=index).reset_index()
    table.insert(2, "absent", np.tile(counted.absent, len(names[0])))
    return with_source(table, maps)


@guarded
def disagreement(maps: xr.DataArray, *, centred: bool = False) -> xr.DataArray:
    """Say where templates disagree: the standard deviation over templates of each prompt's cosine.

    Args:
        maps: `(template, prompt, y, x)` with two templates or more.
        centred: Take each map's own mean off first, so that a template which is higher everywhere does not count.

    Returns:
        `(prompt, y, x)`, in cosine units; 0 where all templates say the same.

    Raises:
        PromptError: one template only, or other axes.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> import xarray as xr
        >>> maps = xr.DataArray(np.array([[[[0.1, 0.3]]], [[[0.3, 0.3]]]]), dims=("template", "prompt", "y", "x"))
        >>> dcv.measure.disagreement(maps).values.round(3).tolist()
        [[[0.1, 0.0]]]
    """
    from denseclip_viz.maps.regions import visible_part  # here alone: it needs xarray

    maps = _ordered(maps)
    refuse_one(list(maps.template.values), "disagreement")
    if is_on(centred, "centred", error=PromptError):
        maps = (maps - visible_part(maps).mean(("y", "x"))).assign_attrs(maps.attrs)
    spread: xr.DataArray = maps.std("template").rename("disagreement").assign_attrs(maps.attrs)
    spread.attrs.update(templates=maps.sizes["template"], centred=int(centred))
    return spread


def refuse_one(names: list[Any], what: str, noun: str = "template") -> None:
    """Refuse to compare one template with nothing.

    Raises:
        PromptError: fewer than two.
    """
    if len(names) < 2:
        got = f"One {noun} only ({str(names[0])!r}): there is nothing to compare, so no {what}"
        fix = f"Add another {noun}" + (', or take a set such as templates="imagenet-7".' if noun == "template" else ".")
        raise PromptError(got, expected=f"at least two {noun}s", fix=fix)


def number_of(value: object, name: str, *, positive: bool = False) -> float:
    """Refuse an option that is no finite number.

    Raises:
        PromptError: it is not.

    Example:
        >>> number_of(0.2, "threshold")
        0.2
    """
    if is_number(value, 0 if positive else -math.inf, ends=False):
        return float(value)
    expected = "a number above 0" if positive else "a finite number"
    raise PromptError(f"{name}={value!r}", expected=expected, fix="Leave it out for the default.")


def _ordered(maps: xr.DataArray) -> xr.DataArray:
    import xarray as xr

    if not isinstance(maps, xr.DataArray) or set(maps.dims) != set(_AXES):
        dims = [str(axis) for axis in maps.dims] if isinstance(maps, xr.DataArray) else []
        more = [axis for axis in dims if axis not in _AXES]
        got = f"Maps with axes {', '.join(dims)}" if dims else f"A {type(maps).__name__}"
        fix = "Pass what model.similarity returns; pick with lists, as in maps.sel(prompt=['grass'])."
        fix = f"Pick one, as in maps.isel({more[0]}=0)." if more else fix
        raise PromptError(got, expected=f"maps ({', '.join(_AXES)})", fix=fix)
    ordered: xr.DataArray = maps.transpose(*_AXES)
    return ordered


def _map_scores(maps: xr.DataArray, masks: Masks | None, scale: float, threshold: float | None) -> MapScores:
    geometry = geometry_of(maps)
    prompts = [str(name) for name in maps["prompt"].values]
    absent = maps["absent"].values if "absent" in maps.coords else np.zeros(len(prompts), dtype=bool)
    truth = None if masks is None else truth_on_grid(masks, geometry, prompts, absent)
    options = {"scale": number_of(scale, "scale", positive=True)}
    if threshold is not None:
        options["threshold"] = number_of(threshold, "threshold")
        if masks is None:
            got, fix = f"threshold={threshold!r} without masks", "Pass masks, or leave it out."
            raise PromptError(got, expected="masks, as it is for iou", fix=fix)
    return flat_scores(maps.values, absent, geometry, truth, **options)


def _distances(vectors: Tensor, maps: xr.DataArray) -> Floats:
    sizes = maps.sizes["template"], maps.sizes["prompt"]
    if not isinstance(vectors, Tensor) or vectors.ndim != 3 or tuple(vectors.shape[:2]) != sizes:
        got = f"vectors of shape {tuple(getattr(vectors, 'shape', ()))}"
        expected = f"(template, prompt, D) = ({sizes[0]}, {sizes[1]}, D)"
        raise PromptError(got, expected=expected, fix="Pass model.texts.encode(prompts) of the same prompts.")
    unit = F.normalize(vectors.double(), dim=-1)
    return np.asarray((1 - (unit * F.normalize(unit.mean(0, keepdim=True), dim=-1)).sum(-1)).numpy())
