"""What a finer grid is worth: mIoU of the bundled world's unseen scenes, drawn bilinearly, guided, shifted, and both.

The same texts and pixels for all, one trace an image, labels at the image's size; behind each mIoU the gain over the
bilinear map with its 95 % interval over images, and milliseconds an image beside those of the trace.
Usage: python benchmarks/finer.py [SCENES] [MODEL …]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import denseclip_viz as dcv
from denseclip_viz.datasets.example import examples
from denseclip_viz.maps import cosine_maps, guided, shifted
from denseclip_viz.measure.segmentation import areas_iou, areas_of
from denseclip_viz.trace import Trace

Way = Callable[[dcv.Model, Trace], Trace]
WAYS: dict[str, Way] = {
    "bilinear": lambda model, trace: trace,
    "guided 4, radius 1, 0.01": lambda model, trace: guided(trace),
    "guided 4, radius 1, 0.1": lambda model, trace: guided(trace, epsilon=0.1),
    "guided 4, radius 2, 0.01": lambda model, trace: guided(trace, radius=2),
    "shifted 2": lambda model, trace: shifted(model, trace),
    "shifted 4": lambda model, trace: shifted(model, trace, factor=4),
    "shifted 2, then guided 2": lambda model, trace: guided(shifted(model, trace), factor=2),
}


def miou(areas: np.ndarray) -> float:
    return float(np.nanmean(areas_iou(areas.sum(0))))


def gain(areas: np.ndarray, plain: np.ndarray) -> tuple[float, float]:
    rng, count = np.random.default_rng(0), len(areas)
    picks = [rng.integers(0, count, count) for _ in range(200)]
    low, high = np.quantile([miou(areas[pick]) - miou(plain[pick]) for pick in picks], [0.025, 0.975])
    return float(low), float(high)


def report(name: str, count: int) -> None:
    model, scenes = dcv.load(name, device="cpu"), dcv.toyworld.dataset(count, "test", size=128)
    texts = model.texts.encode(dcv.Prompts(list(scenes.classes)))
    sides = model.tower.cell
    ways = {way: make for way, make in WAYS.items() if way != "shifted 4" or not any(side % 8 for side in sides)}
    areas: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    spent = dict.fromkeys(ways, 0.0)
    for example in examples(scenes):
        trace = model.trace(example.image, keep=("dense", "pixels"))
        for way, make in ways.items():
            start = time.process_time()
            fine = make(model, trace)
            spent[way] += time.process_time() - start
            areas[way].append(areas_of(cosine_maps(fine.dense, texts)[0], example.labels, fine.geometry))
    plain = np.stack(areas["bilinear"])
    print(f"{name}, {count} scenes, cell of {sides[0]} pixels")
    for way, each in areas.items():
        own = np.stack(each)
        low, high = gain(own, plain)
        words = f"{miou(own) - miou(plain):+.4f} [{low:+.4f}, {high:+.4f}]   {spent[way] / count * 1e3:6.1f} ms"
        print(f"  {way:26} mIoU {miou(own):.4f}   {words}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_name in sys.argv[2:] or ("bundled-resnet", "bundled-vit", "bundled-vit-cls"):
        report(model_name, int((sys.argv[1:] or ["200"])[0]))
