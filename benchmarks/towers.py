"""What opening an image costs: `trace` (global, dense, attention, contributions) over plain `encode_image`.

Both are measured side by side in one run, on one thread, alternating, from pixels that are ready; the ratio is that
of the medians. Without names, one tower of each family, with random weights, at its native size.
Usage: python benchmarks/towers.py [NAME …]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import open_clip
import torch

from denseclip_viz.clip.forward import run
from denseclip_viz.clip.towers import ForwardOptions, tower_for

ROUNDS = {1: 21, 8: 7}
FAMILIES = (
    "RN50",  # attention pool
    "ViT-B-16", "EVA02-B-16", "MobileCLIP-B", "vit_relpos_medium_patch16_cls_224",  # class token
    "convnext_tiny", "MobileCLIP-S1", "swin_base_patch4_window7_224", "ViTamin-S", "vit_medium_patch16_gap_256",  # mean
    "ViT-B-16-SigLIP", "PE-Core-T-16-384", "coca_ViT-B-32",  # a learned query
)  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(name: str, batch: int) -> str:
    visual = open_clip.create_model(name, load_weights=False).visual.eval()
    height, width = (visual.image_size,) * 2 if isinstance(visual.image_size, int) else visual.image_size
    tower, pixels = tower_for(visual), torch.randn(batch, 3, height, width)

    def plain() -> object:
        with torch.no_grad():
            return visual(pixels)

    def opened() -> object:
        return run(tower, pixels, ForwardOptions())

    plain(), opened()
    pairs = []
    for turn in range(ROUNDS[batch]):  # each goes first as often as the other
        first = seconds(opened) if turn % 2 else None
        base_time = seconds(plain)
        pairs.append((base_time, seconds(opened) if first is None else first))
    base, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    spread = statistics.quantiles([b / a for a, b in pairs], n=4)
    return (
        f"{name:34} batch {batch}: encode_image {base * 1e3:7.1f} ms, trace {ours * 1e3:7.1f} ms, "
        f"ratio {ours / base:.3f} (quartiles of pairs {spread[0]:.3f}–{spread[2]:.3f})"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model in sys.argv[1:] or FAMILIES:
        for size in ROUNDS:
            print(ratio(model, size), flush=True)
