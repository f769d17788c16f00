"""Results as tables: one row a prompt, in numbers that can be sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import LayerError, PromptError
from denseclip_viz.maps.regions import peak_place, placement_of, visible_part

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

SOURCE = ("model", "weights", "weights_hash", "random_weights")
MARKS = ("absent", "background")  # what is said of a prompt beside its name
TEXTS = ("template", "prompt")
AGREEMENT = ("crowding", "spearman", "same_peak", "attention_in_top_decile")
COMPARED = ("score", "contribution", "rest", "dense", *AGREEMENT, *MARKS)
READ = ("layer_dense", "layer_score", "layer_agreement")
BY_GRADIENTS = ("layer_dense_gradient", "layer_global_gradient", "layer_cells")
NUMBERS = {"softmax": "softmax_share", "sigmoid": "sigmoid_probability"}


@guarded
def compare_table(both: xr.Dataset) -> pd.DataFrame:
    """Summarise a comparison: one row for each template and prompt.

    Columns: `score` (cosine of the global embedding); `contributions` and each rest term, which sum to it; `dense_peak`
    and where it is (`peak_y, peak_x`, pixels of the image); `crowding`, which is it less the score; `absent,
    background`; the agreement numbers. `path`, if the trace was one of a list of paths: then one row for each path,
    template and prompt.

    Returns:
        The table, with what `with_source` says of image and weights.

    Raises:
        LayerError: what another call returned.
        PromptError: a result that lost an axis.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a taxi on grass", size=64)
        >>> table = dcv.maps.compare_table(model.compare(scene, ["a taxi", "grass"]))
        >>> table[["template", "prompt", "same_peak"]].shape
        (2, 3)
    """
    import pandas as pd

    _check(both, COMPARED, (*TEXTS, "y", "x"), made_by="model.compare(image, prompts)")
    if "path" in both.dims:
        tables = {str(name): compare_table(both.sel(path=name, drop=True)) for name in both.path.values}
        for name, rows in tables.items():
            rows.insert(1, "path", name)
        return pd.concat(list(tables.values()), ignore_index=True)
    both = both.transpose(*TEXTS, ..., "y", "x")  # rows are taken in this order
    columns = {
        "score": both.score,
        "contributions": both.contribution.sum(("y", "x")),
        **{f"rest: {term}": both.rest.sel(term=term) for term in both.term.values},
        "dense_peak": visible_part(both.dense).max(("y", "x")),
        **{name: both[name] for name in AGREEMENT},
    }
    index = pd.MultiIndex.from_product([both.template.values, both.prompt.values], names=["template", "prompt"])
    table = pd.DataFrame({name: np.ravel(values.values) for name, values in columns.items()}, index=index)
    where, maps = placement_of(both), (one for each in both.dense for one in each)  # as the rows: template, prompt
    table[["peak_y", "peak_x"]] = [peak_place(one, where) for one in maps]
    for mark in MARKS:
        table[mark] = np.tile(both[mark].values, both.sizes["template"])
    return with_source(table.reset_index(), both)


@guarded
def segment_table(segmentation: xr.Dataset) -> pd.DataFrame:
    """Summarise a segmentation: one row a label, its pixels and its share of what the model saw.

    Returns:
        Columns `label, pixels, share`; of independent masks `mask_share`; `cosine_cut`, which pixels with a name are
        above, if there was one; and what `with_source` says of image and weights.

    Raises:
        LayerError: what another call returned.
        PromptError: a result that lost its axis.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a taxi on grass", size=64)
        >>> table = dcv.maps.segment_table(model.segment(scene, ["a taxi", "grass"]))
        >>> list(map(str, table.label))
        ['(background)', 'a taxi', 'grass']
    """
    import pandas as pd

    _check(segmentation, ("labels", "probability"), ("label",), made_by="model.segment(image, prompts)")
    labels = segmentation.labels.values[np.isfinite(segmentation.probability.values)]
    counts = np.bincount(labels + 1, minlength=segmentation.sizes["label"] + 1)
    names = ["(background)", *segmentation.label.values]
    table = pd.DataFrame({"label": names, "pixels": counts, "share": counts / max(1, counts.sum())})
    if "masks" in segmentation:
        areas = segmentation.masks.sum(("row", "column")).values
        table["mask_share"] = [np.nan, *(areas / max(1, counts.sum()))]
    if "cosine_cut" in segmentation.attrs:
        table["cosine_cut"] = segmentation.attrs["cosine_cut"]
    return with_source(table, segmentation)


@guarded
def classify_table(shares: xr.DataArray) -> pd.DataFrame:
    """List probabilities: one row for each template and prompt, the most likely first within a template.

    Returns:
        Columns `template, prompt`; `softmax_share` of the prompts given or `sigmoid_probability` of each by itself;
        `cosine`; with absent prompts `absent_baseline`; and what `with_source` says of image and weights.

    Raises:
        LayerError: what another call returned.
        PromptError: a result that lost an axis.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load(), dcv.toyworld.scene("a taxi on grass", size=64)
        >>> table = dcv.maps.classify_table(model.classify(scene, ["a taxi", "grass"]))
        >>> round(float(table.softmax_share.sum()), 3)
        1.0
    """
    number = NUMBERS.get(getattr(shares, "attrs", {}).get("formula", ""))
    known = shares if number is None or hasattr(shares, "data_vars") else shares.to_dataset(name=number)
    _check(known, (number or "probabilities of prompts",), TEXTS, made_by="model.classify(image, prompts)")
    table = shares.rename(number).to_dataframe().reset_index()
    table = table[["template", "prompt", number, *(name for name in ("cosine", "absent_baseline") if name in table)]]
    places = {template: place for place, template in enumerate(shares.template.values)}
    table = table.sort_values(number, ascending=False, kind="stable")
    table = table.sort_values("template", key=lambda column: column.map(places), kind="stable")
    return with_source(table.reset_index(drop=True), shares)


@guarded
def classify_overview(table: pd.DataFrame) -> pd.DataFrame:
    """Lay what `classify_table` says of several images out for the eye: an image a line, a prompt a column.

    Returns:
        Columns `image`, `template`, `number` (which one it is), one for each prompt, the likeliest first; with absent
        prompts `absent_baseline`; and which weights. Images of one name keep a line each.

    Example:
        >>> import denseclip_viz as dcv, pandas as pd
        >>> model, scenes = dcv.load(), [dcv.toyworld.scene(seed, size=64) for seed in (1, 2)]
        >>> tables = [dcv.maps.classify_table(model.classify(scene, ["a taxi", "grass"])) for scene in scenes]
        >>> classify_overview(pd.concat(tables, ignore_index=True)).columns.tolist()[:5]
        ['image', 'template', 'number', 'a taxi', 'grass']
    """
    number = next(str(name) for name in table if str(name).startswith(("softmax", "sigmoid")))
    prompts = table.groupby("prompt", sort=False)[number].mean().sort_values(ascending=False, kind="stable").index
    # a row of `classify_table` is one of (template, prompt) of an image; the count of a pair tells images of one name
    nth = table.groupby(["template", "prompt"], sort=False).cumcount().rename("nth")
    facts = ["image", "template", *(name for name in ("absent_baseline",) if name in table), *SOURCE]
    rows = table.assign(nth=nth).pivot(index=["nth", "template"], columns="prompt", values=number)[prompts]
    known = table.assign(nth=nth).drop_duplicates(["nth", "template"])[["nth", *facts]]
    wide = known.merge(rows.reset_index(), on=["nth", "template"], validate="one_to_one")
    wide.insert(0, "number", number)
    ends = [name for name in facts if name not in ("image", "template")]
    columns = ["image", "template", "number", *prompts, *ends]
    overview: pd.DataFrame = wide[columns]
    return overview


@guarded
def layers_table(both: xr.Dataset) -> pd.DataFrame:
    """List layers: one row for each layer, template and prompt.

    Columns for layers read in text space: `score`, `dense_peak`, `agreement` (cosine of the layer's global embedding
    with its mean dense feature). For layers read by gradients: the sums of both maps, in cosine units.

    Returns:
        The table, with what `with_source` says of image and weights.

    Raises:
        LayerError: what another call returned, or a comparison without layers.
        PromptError: a result that lost an axis.

    Example:
        >>> import denseclip_viz as dcv
        >>> both = dcv.load().compare(dcv.toyworld.scene("a taxi on grass", size=64), ["a taxi", "grass"], layers="all")
        >>> dcv.maps.layers_table(both).layer.unique().tolist()
        ['stem', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    names = READ if READ[0] in getattr(both, "data_vars", ()) else BY_GRADIENTS
    _check(both, (*names, *MARKS), ("layer", *TEXTS), made_by="model.compare(image, prompts, layers='all')")
    if names is READ:
        columns = {"score": both.layer_score, "dense_peak": visible_part(both.layer_dense).max(("y", "x"))}
        columns["agreement"] = both.layer_agreement.broadcast_like(both.layer_score)
    else:
        kinds = {"global": both.layer_global_gradient, "dense": both.layer_dense_gradient}
        columns = {
            f"{kind}_gradient_x_activation": maps.mean(("fine_y", "fine_x")) * both.layer_cells
            for kind, maps in kinds.items()
        }
    table = both[[]].assign(columns).drop_vars(MARKS).to_dataframe(["layer", "template", "prompt"])
    keep = ["layer", "template", "prompt", *columns]
    return with_source(table.reset_index()[keep], both)


def _check(result: object, names: Sequence[str], axes: Sequence[str], *, made_by: str) -> None:
    """Refuse what another call returned, by a LayerError, or what lost an axis of its own, by a PromptError."""
    import xarray as xr

    missing = [name for name in names if not isinstance(result, xr.Dataset) or name not in result]
    if missing or not isinstance(result, xr.Dataset):
        got, fix = f"A {type(result).__name__} without {', '.join(missing)}", "Pass what that returns, whole."
        raise LayerError(got, expected=f"what {made_by} returns", fix=fix)
    if lost := [axis for axis in axes if not result.sizes.get(axis)]:
        got, fix = f"A result without the axis {', '.join(lost)}", "Pick with a list to keep an axis"
        raise PromptError(got, expected=f"the axes {', '.join(axes)}", fix=f"{fix}: result.isel({lost[0]}=[0]).")


def with_source(table: pd.DataFrame, result: xr.Dataset | xr.DataArray) -> pd.DataFrame:
    """Say in every row which image and which weights it is about."""
    table.insert(0, "image", result.attrs.get("image_name", ""))
    for name in SOURCE[:-1]:
        table[name] = result.attrs.get(name, "")
    table["random_weights"] = bool(result.attrs.get("random_weights", 0))
    return table
