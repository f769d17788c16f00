"""Which text-conditioned map to believe: every way to a map held to account, side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import classes_of
from denseclip_viz.errors import ImageError, PromptError, warn
from denseclip_viz.maps.regions import require
from denseclip_viz.measure.bootstrap import Draws, intervals
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import evaluate
from denseclip_viz.measure.map_checks import MapChecks, columns_of
from denseclip_viz.measure.map_methods import PLACEBOS, MapMethods, Methods
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.perturbation import FILLS, ORDERS
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.presets import Preset
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.validation import is_whole, one_of, refuse_twice, strings

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from denseclip_viz.geometry import Native, Whole
    from denseclip_viz.model import Model

CHECKED = ("value", "mean", "better", "curve")  # of a result that was not picked from
_ABOUT = ("asks", "better", "says")


@guarded
def faithfulness(
    model: Model,
    dataset: Iterable[Any],
    methods: Methods = None,
    prompts: Prompts | Named | None = None,
    *,
    fills: str | Sequence[str] = "noise",
    steps: int = 20,
    seed: int = 0,
    interval: float = 0.95,
    resamples: int = 2000,
    store: str | os.PathLike[str] | None = None,
    geometry: str | Native | Whole | None = None,
    preset: str | Preset | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Hold ways to a map of a prompt to account on the same images: which of them to believe.

    Every number is of the prompts that are in an image, averaged over them; all methods see the same changed pixels,
    the same random weights and the same random texts. Which end of a column is better stands in `better`.

    - *Does the score follow the map?* Pixels of the tower's input are replaced in the order of the map (bilinear, equal
      ones by chance): `deletion_FILL` (the highest first) and `insertion_FILL` (they come back first) are the areas
      under the prompt's cosine over the whole image, after RISE. `deletion_top1_FILL` and `insertion_top1_FILL` are
      those under zero-shot accuracy over half the image, after Grad-ECLIP: how often the prompt scores above all that
      are known not to be in the image (without masks and absent prompts: above all others). Its own steps of 5 %, its
      noise and its half are the defaults; its areas are here divided by the half, so that 1 is the most.
    - *Does it lie on the thing?* `pointing` (the peak is in the mask), `energy` (share of the positive mass in the
      mask), `right_object` (of the mass on any of the objects, that on the right one). A map of raw cosines has
      positive mass everywhere: its energy is near the share of the area.
    - *Does it hang on the prompt?* `absent_peak`, `absent_mean`: how surely the map of a present prompt is higher than
      that of an absent one (area under ROC within an image; 0.5: as strong for what is not there). `random_text`:
      Spearman's correlation with the map of a random vector, squared.
    - *Does it hang on the model?* `random_weights`: the same with the map of a twin whose image tower was drawn by
      chance, anew for each image. The correlation is squared, as a share of the rank variance: a map that is linear in
      the text turns its sign with it, so its plain mean would be 0 whatever it shows. 1: nothing was learned.
    - *Does it hold still?* `flip`, `shift`: Spearman's correlation with the map of the image flipped, flipped back, and
      of the image moved down and right by one cell, moved back.
    - `seconds`: each method alone from the tower's input to the maps of an image's prompts, one after the other.

    Args:
        model: A loaded model; nothing on it changes.
        dataset: As for `evaluate`: scenes, examples, pairs of an image and its masks, or images.
        methods: Names, mixed freely: dense paths, "contribution", "attention", "attention-times-score", attributions,
            and the placebos "random" and "centre"; `DensePath`s; functions of (model, trace, unit vectors
            `(prompt, D)`) that give maps `(prompt, y, x)`, named as they are: the trace's `dense` `(y, x, D)` is that
            of the first path among the methods, of "value" where there is none. All that the model has by default.
        prompts: What maps are of, the data set's classes by default; several templates are one mean vector. Those with
            a mask that is not empty are in an image, those with an empty one or marked absent are not, and of others
            nothing is known. Without masks all that are not marked absent are in it.
        fills: What pixels are replaced by: "grey", "mean" (the image's own), "blur", "noise"; columns for each.
        steps: Equal steps that the whole image is replaced in; an even number, so that half is among them.
        seed: Of noise, random weights and texts, together with each image's pixels; and of the bootstrap.
        interval: Width of the bootstrap intervals over images.
        resamples: How often images are drawn again.
        store: As for `evaluate`.
        geometry: As for `Model.trace_many`, but no tiles.
        preset: As for `Model.trace_many`.
        batch_size: Images, and changed images, in one forward pass.
        unreadable: As for `evaluate`.
        engine: As for `evaluate`; `seconds` are those of the workers.
        progress: Show a bar where somebody can see it.

    Returns:
        `value` (image, candidate, column), NaN where an image says nothing; `mean`, `low`, `high` (candidate, column),
        NaN ends for fewer than two images; `images` (candidate, column), how many count; `curve` (image, candidate,
        fill, order, score, fraction), both scores as pixels are replaced; `asks`, `better` and `says` (column);
        `placebo` (candidate).

    Warns:
        UserWarning: columns that these images cannot have, such as those of masks, with the reason.

    Raises:
        LayerError: a method that there is not, or one whose maps hold NaN or infinity.
        PromptError: no prompts, or another fill or number of steps.
        GeometryError: tiles, or maps that do not lie on the grid.
        ImageError: as for `evaluate`.

    Source: RISE (arXiv 1806.07421); Grad-ECLIP (arXiv 2502.18816); FIxLIP (arXiv 2508.05430); Sanity Checks for
    Saliency Maps (arXiv 1810.03292).

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load("bundled-vit"), dcv.toyworld.dataset(2, "test", size=64)
        >>> held = dcv.measure.faithfulness(model, scenes, ["value", "random"], steps=2, geometry=dcv.Whole(short=96))
        >>> bool(held["mean"].sel(candidate="value", column="pointing") > 0.5)
        True
    """
    draws, fills = Draws(interval, resamples, seed), _checked(fills, steps)
    ways = MapMethods.of(model, _prompts(prompts, dataset), methods)
    checks = MapChecks(ways, fills, steps, seed, batch_size)
    result = evaluate(
        model,
        dataset,
        ways,
        checks,
        store=store,
        geometry=geometry,
        preset=preset,
        batch_size=batch_size,
        unreadable=unreadable,
        engine=engine,
        progress=progress,
    )
    return _summed_up(result, checks, draws)


def faithfulness_table(result: xr.Dataset) -> pd.DataFrame:
    """List what `faithfulness` found, column by column, the best method first.

    Returns:
        One row for each column and candidate: `better`, `mean`, `low`, `high`, `images`.

    Raises:
        LayerError: something else.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(2, "test", size=64)
        >>> held = dcv.measure.faithfulness(dcv.load(), scenes, ["value", "centre"], steps=2, geometry="whole")
        >>> dcv.measure.faithfulness_table(held).query("column == 'random_weights'").candidate.tolist()
        ['value', 'centre']
    """
    result = require(result, CHECKED, made_by="measure.faithfulness")
    table = result[["better", "mean", "low", "high", "images"]].to_dataframe().reset_index()
    table["from_best"] = table["mean"].where(table["better"] == "lower", -table["mean"])
    places = {name: at for at, name in enumerate(result["column"].values.tolist())}
    order = np.lexsort([table["from_best"], table["column"].map(places)])

    columns = ["column", "better", "candidate", "mean", "low", "high", "images"]
    ranked: pd.DataFrame = table.iloc[order][columns].reset_index(drop=True)
    return ranked


def _checked(fills: str | Sequence[str], steps: int) -> tuple[str, ...]:
    named = strings(fills, "fills")
    for fill in named:
        one_of(fill, FILLS, "fills", error=PromptError)
    refuse_twice(named, "fills")
    if not named:
        raise PromptError("No fills", expected=f"some of {', '.join(FILLS)}", fix='Try fills="noise".')
    if not is_whole(steps, 2) or steps % 2:
        raise PromptError(f"steps={steps!r}", expected="an even number from 2", fix="Try steps=20.")
    return named


def _prompts(prompts: Prompts | Named | None, dataset: Any) -> Prompts:
    classes = classes_of(dataset)
    if prompts is None and not classes:
        got, fix = "No prompts, and a data set without classes", 'Pass prompts=["a taxi", "grass"].'
        raise PromptError(got, expected="what maps are of", fix=fix)
    return Prompts.of(classes if prompts is None else prompts)


def _summed_up(result: xr.Dataset, checks: MapChecks, draws: Draws) -> xr.Dataset:
    """Name all axes, average over images with intervals, and say which columns these images cannot have."""
    columns = columns_of(checks.fills)
    within = [column.within for column in columns.values()]
    axes, sums = ("candidate", "column"), _over_images(result["value"].values, draws, within)
    data: dict[str, Any] = {what: ("column", [getattr(column, what) for column in columns.values()]) for what in _ABOUT}
    data |= {name: (axes, values) for name, values in zip(("mean", "low", "high", "images"), sums, strict=True)}
    data["placebo"] = ("candidate", [name in PLACEBOS for name in checks.methods.names])
    places: dict[str, Any] = {"column": list(columns), "fill": list(checks.fills), "order": list(ORDERS)}
    places |= {"score": ["cosine", "top1"], "fraction": checks.fractions}
    missing = [name for name, known in zip(columns, np.asarray(sums[-1].sum(0)), strict=True) if not known]
    if missing:
        listed = ", ".join(f"{name} (needs {columns[name].needs or 'maps that vary'})" for name in missing)
        warn(f"These images cannot have all columns: {listed}.")
    facts = {"interval": draws.interval, "steps": checks.steps, "seed": checks.seed, "not_computed": missing}
    named = result.assign_coords(places).assign(data)
    summed_up: xr.Dataset = named.assign_attrs(facts, prompts=list(checks.methods.prompts))
    return with_quantities(summed_up)


def _over_images(
    values: Floats, draws: Draws, within: Sequence[tuple[float, float]]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Average `(image, candidate, column)` over the images that have a number, with intervals, and count them."""
    known = np.isfinite(values)
    mean, low, high = (np.full(values.shape[1:], np.nan) for _ in range(3))
    for at in np.ndindex(mean.shape):
        numbers = values[:, at[0], at[1]][known[:, at[0], at[1]]]
        mean[at] = numbers.mean() if len(numbers) else np.nan
        if len(numbers) > 1:
            again: dict[str, Any] = {"resamples": draws.resamples, "seed": draws.seed}
            ends = intervals(numbers[:, None], draws.interval, **again)
            low[at], high[at] = np.clip([end.item() for end in ends], *within[at[1]])  # few images widen them beyond
    return mean, low, high, known.sum(0)
