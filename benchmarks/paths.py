"""What published paths cost: each alone, nine together, and all, over plain `encode_image`; text is cached.

Measured side by side in one run, on one thread, taking turns: ratios of the medians of CPU time, with similarity maps
of five prompts made of every trace. Random weights.
Usage: python benchmarks/paths.py [NAME [SIDE]]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.clip.forward import embed
from denseclip_viz.clip.paths import PATHS

PROMPTS = ["a cat", "a dog", "grass", "a road", "the sky"]
NINE = ["vanilla", "value", "value-attention-only", "sclip", "clearclip", "naclip", "clip-surgery", "gem", "resclip"]
ROUNDS = 15


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main(name: str = "ViT-B-16", side: str = "224") -> None:
    torch.set_num_threads(1)
    model = dcv.load(name, pretrained="random", device="cpu", cache=False)
    size = int(side)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    fit = None if size == model.preprocess.size[0] else dcv.Whole(short=size)
    pixels = model.trace(image, geometry=fit).pixels
    assert pixels is not None

    def maps(*paths: str) -> Callable[[], object]:
        return lambda: model.similarity(model.trace(image, path=list(paths), geometry=fit), PROMPTS)

    together = [path for path in model.paths if PATHS[path].antialias]
    works = {"encode_image": lambda: embed(model.tower, pixels[None])}
    works |= {path: maps(path) for path in together} | {"nine together": maps(*NINE)}
    works |= {f"all {len(together)}": maps(*together)}
    for work in works.values():
        work()
    times: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(ROUNDS):
        for what, work in works.items():
            times[what].append(cpu_seconds(work))
    medians = {what: statistics.median(each) for what, each in times.items()}
    plain = medians.pop("encode_image")
    print(f"{name}, {side} px: encode_image {plain * 1e3:.0f} ms; with reading the image and maps of 5 prompts:")
    for what, seconds in medians.items():
        print(f"  {what:22} {seconds / plain:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
