"""What a finer grid is worth: mIoU of the bundled world's unseen scenes, drawn bilinearly, guided, shifted, and both.

The same texts and pixels for all, one trace an image, labels at the image's size; behind each mIoU the gain over the
bilinear map with its 95 % interval over images, and milliseconds an image of making the grid.
Usage: python benchmarks/finer.py [SCENES] [MODEL …]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import denseclip_viz as dcv
from denseclip_viz.clip.paths import choose_path
from denseclip_viz.maps import guided, shifted
from denseclip_viz.measure.protocol import NamedClasses
from denseclip_viz.measure.segmentation import areas_iou, pixel_areas
from denseclip_viz.trace import Trace

Make = Callable[[Trace], Trace]


def ways(model: dcv.Model) -> dict[str, Make]:
    make: dict[str, Make] = {
        "guided 4, radius 1, 0.01": guided,
        "guided 4, radius 1, 0.1": partial(guided, epsilon=0.1),
        "guided 4, radius 2, 0.01": partial(guided, radius=2),
        "shifted 2": partial(shifted, model),
        "shifted 4": partial(shifted, model, factor=4),
        "shifted 2, then guided 2": lambda trace: guided(shifted(model, trace), factor=2),
    }
    return {way: each for way, each in make.items() if way != "shifted 4" or not any(s % 8 for s in model.tower.cell)}


def miou(areas: np.ndarray) -> float:
    return float(np.nanmean(areas_iou(areas.sum(0))))


def gain(areas: np.ndarray, plain: np.ndarray) -> tuple[float, float]:
    rng, count = np.random.default_rng(0), len(areas)
    picks = [rng.integers(0, count, count) for _ in range(200)]
    low, high = np.quantile([miou(areas[pick]) - miou(plain[pick]) for pick in picks], [0.025, 0.975])
    return float(low), float(high)


def report(name: str, count: int) -> None:
    model, scenes = dcv.load(name, device="cpu"), dcv.toyworld.dataset(count, "test", size=128)
    spent: Counter[str] = Counter()

    def timed(way: str, make: Make, trace: Trace) -> Trace:
        start = time.process_time()
        fine = make(trace)
        spent[way] += time.process_time() - start
        return fine

    texts = model.texts.encode(dcv.Prompts(list(scenes.classes)))[0]
    candidates = NamedClasses((choose_path("value"),), tuple(scenes.classes), texts)
    finer = {way: partial(timed, way, make) for way, make in ways(model).items()}
    measured = dcv.measure.evaluate(model, scenes, candidates, pixel_areas, finer=finer, batch_size=1, progress=False)
    bilinear, *others = measured.areas.transpose("candidate", ...).values
    print(f"{name}, {count} scenes, cell of {model.tower.cell[0]} pixels")
    for way, own in {"bilinear": bilinear, **dict(zip(finer, others, strict=True))}.items():
        low, high = gain(own, bilinear)
        words = f"{miou(own) - miou(bilinear):+.4f} [{low:+.4f}, {high:+.4f}]   {spent[way] / count * 1e3:6.1f} ms"
        print(f"  {way:26} mIoU {miou(own):.4f}   {words}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_name in sys.argv[2:] or ("bundled-resnet", "bundled-vit", "bundled-vit-cls"):
        report(model_name, int((sys.argv[1:] or ["200"])[0]))
