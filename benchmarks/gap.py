"""Does the gap mark what the pool looks at less than evenly, and no halo? Held-out scenes, both bundled models.

A region is what is seen of a thing or a stuff: cells that it covers by more than 30 %, read with the prompt of its own
name. It gets less if its share of the attention is below its share of the cells. Its ring are the cells next to it. The
old gap, for comparison, was dense minus contribution, each in standard deviations. A ring may be positive as the rest
of the image is (most stuff in bundled-vit): a halo is a ring that is so more often than what lies beyond it.
Usage: python benchmarks/gap.py [SCENES]
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.ndimage import binary_dilation
from scipy.stats import mannwhitneyu

import denseclip_viz as dcv
from denseclip_viz.geometry.resample import downsample_mask
from denseclip_viz.prompts.articles import article_of

COVERED, VISIBLE, RESAMPLES = 0.3, 0.1, 1000


def standard(maps: xr.DataArray) -> xr.DataArray:
    centred = maps - maps.mean(("y", "x"))
    return centred / float((centred**2).mean()) ** 0.5


def regions(model: dcv.Model, scenes: dcv.toyworld.Scenes) -> Iterator[dict[str, Any]]:
    """Give a row for each region: who gets less, its mean gap, and what its ring looks like, now and formerly."""
    for number, scene in enumerate(scenes):
        masks = [(thing.kind, thing.mask) for thing in scene.things] + list(scene.stuff.items())
        named = [(f"{article_of(name)} {name}", mask) for name, mask in masks]
        trace = model.trace(scene, geometry="whole")
        both = model.compare(trace, list(dict.fromkeys(prompt for prompt, _ in named)))
        gaps = {"": both.gap, "old ": standard(both.dense) - standard(both.contribution)}
        share = both.attention.values / both.attention.values.sum()
        for at, (prompt, mask) in enumerate(named):
            own = downsample_mask(mask, trace.geometry) > COVERED
            ring = binary_dilation(own, np.ones((3, 3))) & ~own
            if not (own.any() and ring.any()):
                continue
            beyond = ~own & ~ring
            row = {"scene": number, "thing": at < len(scene.things), "less": share[own].sum() < own.mean()}
            for which, maps in gaps.items():
                gap, strongest = maps.sel(prompt=prompt).values[0], float(abs(maps).max())
                row |= {f"{which}gap": gap[own].mean(), f"{which}ring": gap[ring].mean() > 0}
                row |= {f"{which}beyond": gap[beyond].mean() > 0 if beyond.any() else np.nan}
                row |= {f"{which}halo": (gap[ring] > VISIBLE * strongest).mean()}
            yield row


def area_under_curve(table: pd.DataFrame, which: str = "") -> float:
    """Give the share of pairs, one that gets less and one that does not, whose gaps are in this order."""
    less, more = (table.loc[table.less == is_less, f"{which}gap"] for is_less in (True, False))
    if not (len(less) and len(more)):
        return np.nan
    return float(mannwhitneyu(less, more).statistic) / (len(less) * len(more))


def numbers(table: pd.DataFrame, which: str) -> dict[str, float]:
    things, stuff = table[table.thing], table[~table.thing]
    return {
        "AUC: mean gap for 'gets less'": area_under_curve(table, which),
        "… among stuff": area_under_curve(stuff, which),
        "things with a positive mean gap": float((things[f"{which}gap"] > 0).mean()),
        "rings with a positive mean gap": float(table[f"{which}ring"].mean()),
        "… around things": float(things[f"{which}ring"].mean()),
        "… around stuff": float(stuff[f"{which}ring"].mean()),
        "what lies beyond, with a positive mean gap": float(table[f"{which}beyond"].astype(float).mean()),
        "ring cells that look orange, around things": float(things[f"{which}halo"].mean()),
    }


def report(table: pd.DataFrame) -> str:
    """Each number with its 95 % interval: scenes are drawn again, each with all of its regions."""
    scenes, rng = [rows for _, rows in table.groupby("scene")], np.random.default_rng(0)
    again = [pd.concat([scenes[i] for i in rng.integers(len(scenes), size=len(scenes))]) for _ in range(RESAMPLES)]
    less = table.less[table.thing].sum()
    lines = [f"{len(table)} regions, {table.thing.sum()} things; {table.less.sum()} get less, {less} things among them"]
    for which in ("", "old "):
        draws = pd.DataFrame([numbers(drawn, which) for drawn in again]).quantile([0.025, 0.975])
        for name, value in numbers(table, which).items():
            low, high = draws[name]
            lines.append(f"  {which or 'new '}{name:44} {value:.3f}  [{low:.3f}, {high:.3f}]")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    held_out = dcv.toyworld.dataset(int(sys.argv[1]) if sys.argv[1:] else 80, "test", size=256)
    for name in ("bundled-resnet", "bundled-vit"):
        print(f"{name}:", report(pd.DataFrame(regions(dcv.load(name), held_out))), flush=True)
