"""What attributions cost: each alone, and those without a way back through all blocks together, over `encode_image`.

Measured side by side in one run, on one thread, taking turns: ratios of the medians of CPU time, of five prompts whose
text is cached, with reading the image. Random weights.
Usage: python benchmarks/attributions.py [NAME [SIDE]]
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

PROMPTS = ["a cat", "a dog", "grass", "a road", "the sky"]
DEEP = "relevance-all"
ROUNDS, DEEP_ROUNDS = 15, 3


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

    def maps(*methods: str) -> Callable[[], object]:
        return lambda: dcv.attribution.attribute(model, image, PROMPTS, list(methods), geometry=fit)

    names = dcv.attribution.methods(model)
    together = [method for method in names if method != DEEP]
    works: dict[str, Callable[[], object]] = {"encode_image": lambda: embed(model.tower, pixels[None])}
    works |= {method: maps(method) for method in names} | {f"all but {DEEP}": maps(*together)}
    works["direct effects"] = lambda: dcv.attribution.direct_effects(model, image, PROMPTS, geometry=fit)
    for work in works.values():
        work()
    times: dict[str, list[float]] = {what: [] for what in works}
    for number in range(ROUNDS):
        for what, work in works.items():
            if what != DEEP or number < DEEP_ROUNDS:
                times[what].append(cpu_seconds(work))
    medians = {what: statistics.median(each) for what, each in times.items()}
    plain = medians.pop("encode_image")
    print(f"{name}, {side} px: encode_image {plain * 1e3:.0f} ms; with reading the image, 5 prompts:")
    for what, seconds in medians.items():
        print(f"  {what:24} {seconds / plain:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
