"""Which way of saying sees best, by how much, and whether that is more than noise: over many pictures."""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import PictureError
from denseclip_viz.measure.bootstrap import behind_best, intervals
from denseclip_viz.measure.entrants import Entrants
from denseclip_viz.measure.judging import Judge
from denseclip_viz.measure.seen import Floats

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, repr=False)
class Ranking:
    """Ways of saying, best first, with what is known of each.

    Attributes:
        table: One row for each: mean `score` over pictures with its interval (`low`, `high`); `to_best`, the paired
            difference to the one that looks best, with the interval of what it is behind the one that is best,
            whichever that may be: never above 0, and wider the more there are to choose from; `within_noise`, whether
            that interval holds 0, so that it may be the best one; `left_out`, how much the ensemble's score changes
            when this one is left out (above 0: better without), with an interval of its own.
        scores: `score` (picture, way), `ensemble` (picture), `left_out` (picture, way): every number it is made of.
        score: The name of the number, as in `templates_table`.
        noun: What is ranked: "template" or "wording".
        interval: Width of the intervals.
        stopped: Whether it was interrupted, so that it is about the pictures until then.

    The best one is chosen on these very pictures, and its own score is the luckiest of them: `small_ensemble` judges
    on pictures that chose nothing. The best one is among those within noise with the probability `interval`.
    """

    table: pd.DataFrame
    scores: xr.Dataset
    score: str
    noun: str
    interval: float
    stopped: bool = False

    @property
    def best(self) -> str:
        """The name of the best one."""
        return str(self.table[self.noun].iloc[0])

    @property
    def within_noise(self) -> list[str]:
        """Those that may be the best one, as far as these pictures can tell; the one that looks best first."""
        return [str(name) for name in self.table[self.noun][self.table["within_noise"]]]

    def __repr__(self) -> str:
        first = self.table.iloc[0]
        ties = len(self.within_noise) - 1
        noise = f", {ties} more within noise" if ties else ", ahead of all by more than noise"
        return (
            f"Ranking({len(self.table)} {self.noun}s by {self.score} on {self.scores.sizes['picture']} pictures; "
            f"best: {self.best!r} {first['score']:.3f} [{first['low']:.3f}, {first['high']:.3f}]{noise})"
        )

    def _repr_html_(self) -> str:
        # The table escapes names by itself.
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):  # a shortened template would be another one
            return f"<p>{html.escape(repr(self))}</p>{self.table.round(4).to_html(index=False)}"


def dataset_of(
    names: list[str], rows: list[Floats], entrants: Entrants, judge: Judge, attrs: dict[str, Any]
) -> xr.Dataset:
    """Keep the pictures that can be judged; the others are counted in the attributes."""
    import xarray as xr

    values = np.stack(rows) if rows else np.zeros((0, 3, len(entrants.names)))
    judged = np.asarray(np.isfinite(values).all((1, 2)))
    if judged.sum() < 2:
        came = f"{judged.sum()} pictures that can be judged by {judge.score}, of {len(rows)}"
        fix = "Pass more pictures; with masks, those in which a prompt has one that is not empty."
        raise PictureError(came, expected="at least two, to say how much is noise", fix=fix)
    values, way = values[judged], entrants.noun
    data = {
        "score": (("picture", way), values[:, 0]),
        "ensemble": (("picture",), values[:, 1, 0]),
        "left_out": (("picture", way), values[:, 2]),
    }
    known = {key: value for key, value in attrs.items() if key not in ("picture_name", "geometry")}
    more = {"number": judge.score, "pictures_not_judged": int((~judged).sum()), "prompts": list(entrants.prompts)}
    named = [name for name, kept in zip(names, judged, strict=True) if kept]
    return xr.Dataset(data, coords={"picture": named, way: list(entrants.names)}, attrs={**known, **more})


def table_of(scores: xr.Dataset, entrants: Entrants, interval: float, resamples: int, seed: int) -> pd.DataFrame:
    """Average over pictures, with intervals, and sort: the table of a `Ranking`."""
    import pandas as pd

    score, gain = scores["score"].values, scores["left_out"].values - scores["ensemble"].values[:, None]
    drawn: dict[str, int] = {"resamples": resamples, "seed": seed}
    best = score[:, [int(score.mean(0).argmax())]]
    ends = {
        "score": intervals(score, interval, **drawn),
        "to_best": behind_best(score, interval, **drawn),
        "left_out": intervals(gain, interval, **drawn),
    }
    columns: dict[str, Any] = {entrants.noun: list(entrants.names)}
    for name, values in (("score", score), ("to_best", score - best), ("left_out", gain)):
        start = "" if name == "score" else f"{name}_"
        columns |= {name: values.mean(0), f"{start}low": ends[name][0], f"{start}high": ends[name][1]}
    table = pd.DataFrame(columns)
    table.insert(7, "within_noise", table["to_best_high"] >= 0)
    table["pictures"] = len(score)
    ranked: pd.DataFrame = table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
    return ranked


def warn_of_noise(ranking: Ranking) -> None:
    """Warn when some are no worse than the best as far as these pictures can tell."""
    ties = ranking.within_noise
    if len(ties) > 1:
        more = f" and {len(ties) - 4} more" if len(ties) > 4 else ""
        warnings.warn(
            f"Within noise of the best {ranking.noun} {ties[0]!r} ({ranking.interval:.0%} interval of what each is "
            f"behind the best in {ranking.score}, {ranking.scores.sizes['picture']} pictures): "
            f"{', '.join(map(repr, ties[1:4]))}{more}. More pictures may tell them apart.",
            stacklevel=4,
        )
