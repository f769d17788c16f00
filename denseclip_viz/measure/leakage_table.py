"""What `copresence` measured, averaged, with how far chance moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import PromptError
from denseclip_viz.maps.regions import require
from denseclip_viz.maps.tables import with_source
from denseclip_viz.measure.bootstrap import Draws, intervals
from denseclip_viz.measure.leakage import CONDITIONS, PARTS, WORDINGS
from denseclip_viz.measure.map_scores import Floats

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@guarded
def copresence_table(
    result: xr.Dataset, *, interval: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Average what `copresence` measured, with bootstrap intervals over scenes and mosaics.

    Args:
        result: What `copresence` returns, or a part of it: `result.sel(scene=result.distance == 0.3)`.
        interval: Width of the intervals.
        resamples: How often scenes are drawn again.
        seed: Of the bootstrap.

    Returns:
        One row for each method: leakage `alone`, `together` and `empty place`; `peak_own` and `peak_sibling`, how often
        the highest cell is there; `each` and `joint`, the share in the right quadrant of all that are named; each
        with `…_low` and `…_high`.

    Raises:
        LayerError: something else.
        PromptError: fewer than two scenes or mosaics, or an interval that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, options = dcv.load("bundled-vit"), {"scenes": 2, "mosaics": 2, "progress": False}
        >>> result = dcv.measure.copresence(model, methods=["value"], pairs=[("taxi", "limousine")], **options)
        >>> list(dcv.measure.copresence_table(result))[:4]
        ['candidate', 'alone', 'alone_low', 'alone_high']
    """
    import pandas as pd

    draws = Draws(interval, resamples, seed)
    result = require(result, ["leakage", "peak", "share"], made_by="measure.copresence")
    leakage, peak = result["leakage"].mean("prompt"), result["peak"].mean("prompt")
    named = int(result["share"].notnull().any(("mosaic", "candidate", "wording")).sum())
    share = result["share"].isel(named=named - 1)
    numbers = {condition: leakage.sel(condition=condition) for condition in CONDITIONS}
    numbers |= {f"peak_{part}": peak.sel(part=part) for part in PARTS[:2]}
    numbers |= {name: share.sel(wording=wording) for name, wording in zip(("each", "joint"), WORDINGS, strict=True)}
    table = pd.DataFrame({"candidate": result["candidate"].values})
    for name, values in numbers.items():
        if len(values) == 1:
            got = f"{name} of one image"
            raise PromptError(got, expected="two at least, to say how much is noise", fix="Draw more.")
        if len(values):
            middle, low, high = mean_with_interval(values.values, draws)
            table = table.assign(**{name: middle, f"{name}_low": low, f"{name}_high": high})
    sourced: pd.DataFrame = with_source(table, result).drop(columns="image")
    return sourced


def mean_with_interval(values: Floats, draws: Draws) -> tuple[Floats, Floats, Floats]:
    """Average `(image, column)`, with the ends of each column's interval."""
    ends = intervals(values, draws.interval, resamples=draws.resamples, seed=draws.seed)
    low, high = np.clip(ends, 0, 1)  # few images widen them beyond what leakage and shares can be
    return values.mean(0), low, high
