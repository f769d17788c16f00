"""What benchmarks that take turns share: one random image, CPU time, and ratios of medians over `encode_image`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import open_clip
import torch
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.clip.forward import embed
from denseclip_viz.clip.towers import tower_of

PROMPTS = ["a cat", "a dog", "grass", "a road", "the sky"]
Works = dict[str, Callable[[], object]]


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def prepare(name: str, side: str) -> tuple[dcv.Model, Image.Image, dcv.Whole | None, Works]:
    """Give a model of random weights, an image of this side, how to fit it, and the plain pass as the first work."""
    torch.set_num_threads(1)
    model = dcv.load(name, pretrained="random", device="cpu", cache=False)
    size = int(side)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    fit = None if size == model.preprocess.size[0] else dcv.Whole(short=size)
    pixels = model.trace(image, geometry=fit).pixels
    assert pixels is not None
    # at another size than its own a tower cannot run plainly, so one that is made for that size does
    plain = model.clip if fit is None else open_clip.create_model(name, force_image_size=pixels.shape[-1])
    tower = tower_of(plain.eval())
    return model, image, fit, {"encode_image": lambda: embed(tower, pixels[None])}


def report(title: str, works: Works, rounds: int, *, fewer: Mapping[str, int] | None = None) -> None:
    """Let each work take its turns, `fewer` of some, and print the medians over that of the first, `encode_image`."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {what: [] for what in works}
    for number in range(rounds):
        for what, work in works.items():
            if number < (fewer or {}).get(what, rounds):
                times[what].append(cpu_seconds(work))
    medians = {what: statistics.median(each) for what, each in times.items()}
    plain = medians.pop("encode_image")
    print(title.format(plain * 1e3))
    for what, seconds in medians.items():
        print(f"  {what:24} {seconds / plain:.3f}")
