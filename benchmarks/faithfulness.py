"""Which map to believe in the bundled world: published methods and placebos, over scenes of the test split.

Prompts are all things of the world; those that a scene does not show are absent. Deletion and insertion with noise, in
four steps. Prints every number with its interval; a store lets a run that was stopped go on.
Usage: python benchmarks/faithfulness.py NAME [SCENES [SHORT [STORE [FIGURE]]]]
SHORT: pixels of the input's side; 0 for the model's own.
"""

from __future__ import annotations

import sys

import pandas as pd
import torch

import denseclip_viz as dcv
from denseclip_viz.measure.map_methods import method_names

METHODS = (
    "value value-attention-only vanilla sclip clearclip sc-clip contribution attention gradient-x-activation grad-cam"
    " grad-eclip relevance legrad rollout random"
).split()


def main(name: str = "bundled-resnet", count: str = "200", short: str = "0", store: str = "", figure: str = "") -> None:
    torch.set_num_threads(1)
    model = dcv.load(name, device="cpu")
    held = dcv.measure.faithfulness(
        model,
        dcv.toyworld.dataset(int(count), "test"),
        [method for method in METHODS if method in method_names(model)],
        dcv.toyworld.vocabulary().kinds,
        steps=4,
        geometry=dcv.Whole(short=int(short)) if int(short) else None,
        batch_size=16,
        store=store or None,
    )
    for column, rows in dcv.measure.faithfulness_table(held).groupby("column", sort=False):
        print(f"\n{column} ({rows.better.iloc[0]} is better; {rows.images.max()} images)")
        with pd.option_context("display.precision", 3):
            print(rows[["candidate", "mean", "low", "high"]].to_string(index=False, header=False))
    if figure:
        dcv.plot.save(dcv.plot.faithfulness(held), figure, force=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
