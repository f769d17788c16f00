"""What opening a picture costs: `trace` (global, dense, attention, contributions) over plain `encode_image`.

Both are measured side by side in one run, on one thread, alternating, from pixels that are ready; the ratio is that
of the medians. Usage: python benchmarks/trace.py [NAME …]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from denseclip_viz.encode.checkpoints import load_clip
from denseclip_viz.encode.towers import Request, tower_for
from denseclip_viz.encode.tracing import run

ROUNDS = {1: 21, 8: 7}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(name: str, batch: int) -> str:
    clip = load_clip(name, pretrained="random").clip
    tower, pixels = tower_for(clip.visual), torch.randn(batch, 3, 224, 224)

    def plain() -> object:
        with torch.no_grad():
            return clip.encode_image(pixels)

    def opened() -> object:
        return run(tower, pixels, Request())

    plain(), opened()
    pairs = []
    for turn in range(ROUNDS[batch]):  # each goes first as often as the other
        first = seconds(opened) if turn % 2 else None
        base_time = seconds(plain)
        pairs.append((base_time, seconds(opened) if first is None else first))
    base, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    spread = statistics.quantiles([b / a for a, b in pairs], n=4)
    return (
        f"{name:10} batch {batch}: encode_image {base * 1e3:7.1f} ms, trace {ours * 1e3:7.1f} ms, "
        f"ratio {ours / base:.3f} (quartiles of pairs {spread[0]:.3f}–{spread[2]:.3f})"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model in sys.argv[1:] or ["RN50", "ViT-B-16"]:
        for size in ROUNDS:
            print(ratio(model, size), flush=True)
