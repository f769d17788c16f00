"""What opening an image costs: `trace` with one path, and with all plain paths together, over plain `encode_image`.

All are measured side by side in one run, on one thread, taking turns, from pixels that are ready; ratios are those of
the medians of CPU time, which other work on the machine disturbs least, and of wall time behind it. Without names, one
tower of each family, with random weights, at its native size.
Usage: python benchmarks/towers.py [NAME …]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import open_clip
import torch

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.forward import ForwardOptions, decompose_checked, embed
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.clip.towers import tower_for
from denseclip_viz.errors import LayerError

ROUNDS = {1: 21, 8: 7}
FAMILIES = (
    "RN50",  # attention pool
    "ViT-B-16", "EVA02-B-16", "MobileCLIP-B", "vit_relpos_medium_patch16_cls_224",  # class token
    "convnext_tiny", "MobileCLIP-S1", "swin_base_patch4_window7_224", "ViTamin-S", "vit_medium_patch16_gap_256",  # mean
    "ViT-B-16-SigLIP", "PE-Core-T-16-384", "coca_ViT-B-32",  # a learned query
)  # fmt: skip


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def ratios(name: str, batch: int) -> str:
    visual = open_clip.create_model(name, load_weights=False).visual.eval()
    height, width = (visual.image_size,) * 2 if isinstance(visual.image_size, int) else visual.image_size
    tower, pixels = tower_for(visual), torch.randn(batch, 3, height, width)

    def traced(path: DensePath | tuple[DensePath, ...]) -> Callable[[], object]:
        return lambda: decompose_checked(tower, pixels, ForwardOptions(path=path))

    works = {"encode_image": lambda: embed(tower, pixels), "value": traced(PATHS["value"])}
    plain = tuple(path for path in PATHS.values() if not path.of_blocks)
    try:
        traced(plain)()
    except LayerError:  # plain tokens of another width than the pool
        plain = tuple(path for path in plain if not path.attention)
    together = {f"{len(plain)} paths": plain}
    works |= {name: traced(paths) for name, paths in together.items()}
    for work in works.values():
        work()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    order = list(works)
    for _ in range(ROUNDS[batch]):  # each goes first as often as the others
        order = [*order[1:], order[0]]
        for what in order:
            times[what].append(seconds(works[what]))
    medians = {what: [statistics.median(side) for side in zip(*rows, strict=True)] for what, rows in times.items()}
    cpu, wall = medians.pop("encode_image")
    compared = (f"{what} {own[0] / cpu:.3f} (wall {own[1] / wall:.3f})" for what, own in medians.items())
    return f"{name:34} batch {batch}: encode_image {cpu * 1e3:7.1f} ms; {', '.join(compared)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model in sys.argv[1:] or FAMILIES:
        for size in ROUNDS:
            print(ratios(model, size), flush=True)
