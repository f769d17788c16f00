"""The same evaluation in one process, in two and over Ray, whatever is killed: are the integers the same?

Scenes of the bundled world, the bundled ResNet along two paths, and of all its classes the pixels that are both, true
and given. A row for each run, with the hash of all its integers. The process that evaluates is killed by kill -9 at
moments drawn by chance, and begun again with the same file, every fourth time with two workers.
Usage: python benchmarks/engines.py [SCENES [SIDE [KILLS]]]
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import denseclip_viz as dcv
from denseclip_viz.measure.segmentation import pixel_areas


class DiesOnce:
    """Pixels by class; the first worker that comes to one scene dies there, as if memory had run out."""

    def __init__(self, seed: int, mark: Path) -> None:
        self.seed, self.mark = seed, mark

    def __call__(self, maps: Any, example: Any, trace: dcv.Trace) -> Any:
        """Measure an image."""
        if example.image.seed == self.seed and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pixel_areas(maps, example, trace)


def evaluate(count: int, side: int, metric: Any = pixel_areas, **options: Any) -> Any:
    torch.set_num_threads(1)
    model, scenes = dcv.load(), dcv.toyworld.dataset(count, "test", size=side)
    candidates = dcv.measure.path_candidates(model, dcv.Prompts(list(scenes.classes)), ["value", "vanilla"])
    return dcv.measure.evaluate(model, scenes, candidates, metric, **options).areas


def row(what: str, begun: float, areas: Any) -> None:
    digest = hashlib.sha256(areas.values.tobytes()).hexdigest()[:16]
    seconds = time.monotonic() - begun
    rate = areas.sizes["image"] / seconds
    print(f"{what:40} {seconds:6.0f} s {rate:6.1f} images/s  {areas.values.sum()} {digest}", flush=True)


def lines(store: Path) -> int:
    return store.read_bytes().count(b"\n") if store.exists() else 0


def kill(count: int, side: int, kills: int, store: Path) -> None:
    """Begin again and again, each time until some more images are done, or none."""
    chance = random.Random(0)
    for number in range(kills):
        known, left = lines(store), kills - number
        until = known + chance.randrange(max(1, 2 * (count - known) // left))
        arguments = [str(count), str(side), str(store), str(2 * (number % 4 == 3))]
        process = subprocess.Popen([sys.executable, __file__, "until-killed", *arguments], start_new_session=True)
        while process.poll() is None and lines(store) <= until:
            time.sleep(0.01)
        time.sleep(chance.random() / 10)
        process.kill()
        process.wait()


def main(count: int, side: int, kills: int) -> None:
    print(f"{count} scenes of {side} px, bundled-resnet, 2 paths, one thread; start and loading included", flush=True)
    middle = dcv.toyworld.dataset(count, "test", size=side)[count // 2].seed
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "areas.jsonl"
        for what, options in (("this process", {}), ("two processes", {"engine": 2})):
            begun = time.monotonic()
            row(what, begun, evaluate(count, side, **options))
        begun = time.monotonic()
        kill(count, side, kills, store)
        row(f"kill -9 {kills} times, {lines(store) - 2} done by then", begun, evaluate(count, side, store=store))
        size = store.stat().st_size
        print(f"the file: {size} bytes, {size // count} an image", flush=True)
        over_ray(count, side, DiesOnce(middle, Path(folder) / "died"))


def over_ray(count: int, side: int, dies: DiesOnce) -> None:
    workers = dcv.measure.Ray(workers=2)
    for what, metric in (("Ray, two workers", pixel_areas), ("Ray, one of two killed half-way", dies)):
        begun = time.monotonic()
        row(what, begun, evaluate(count, side, metric, engine=workers))
    assert dies.mark.exists()


if __name__ == "__main__":
    if sys.argv[1:2] == ["until-killed"]:
        count, side, store, workers = sys.argv[2:]
        evaluate(int(count), int(side), store=store, engine=int(workers) or None, progress=False)
    else:
        main(*map(int, (*sys.argv[1:], *("1000", "64", "20")[len(sys.argv) - 1 :])))
