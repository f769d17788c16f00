"""Images a second: `trace_many` against the bare `encode_image` and against loading alone, side by side in one run.

Images are JPEG files of 400 × 300, written first. `loading` is all that makes a batch of inputs of files, with the same
threads and no model; `encode_image` is the tower on inputs that are on its device, waited for batch by batch. Works
take turns. Images a second are medians of wall time; `wall` is that over the longer of the two, and what is above 1 the
device waits; `CPU` is CPU time over that of both together, which other work on the machine disturbs less. On a GPU fp32
and fp16 are measured, and traces that stay there (`device="cuda"`).
Without names the bundled models, and on a GPU RN50 and ViT-B-16 of random weights: on one core of a CPU each of these
takes minutes a row.
Usage: python benchmarks/throughput.py [--images N] [--batch N …] [--rounds N] [--device D] [--threads N] [NAME …]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import denseclip_viz as dcv
from denseclip_viz.clip.forward import ForwardOptions, embed
from denseclip_viz.clip.prefetch import threads
from denseclip_viz.clip.preparation import Preparation
from denseclip_viz.clip.tracing import Tracing
from denseclip_viz.geometry import Native

LEAN = ("global", "dense")


def written(folder: Path, count: int) -> list[Path]:
    rng, paths = np.random.default_rng(0), [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:  # smooth enough to be of a photo's size, about 30 KB
        small = Image.fromarray(rng.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        small.resize((400, 300), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def load_alone(model: dcv.Model, paths: Sequence[str], batch: int) -> None:
    facts = {"preprocess": model.preprocess, "provenance": model.provenance, "shown": False}
    preparation = Preparation(tower=model.tower, fit=Native(), **facts)
    count = Tracing(preparation=preparation, options=ForwardOptions()).threads
    with threads(count) as pool:
        prepared = preparation.of_many([paths], None, pool, batch)
        while arrays := [one.inputs for one in islice(prepared, batch)]:
            np.stack(arrays)


def works(model: dcv.Model, paths: Sequence[Path], batch: int) -> dict[str, Callable[[], object]]:
    parameter, height_width = next(model.tower.visual.parameters()), model.preprocess.size
    inputs = torch.rand(batch, 3, *height_width, device=parameter.device, dtype=parameter.dtype)
    many = [str(path) for path in paths]

    def encode() -> None:
        for _ in range(0, len(many), batch):
            embed(model.tower, inputs)
            if parameter.is_cuda:
                torch.cuda.synchronize()

    def trace(**options: object) -> Callable[[], object]:
        def run() -> None:
            for _ in model.trace_many(many, batch_size=batch, **options):
                pass
            if parameter.is_cuda:
                torch.cuda.synchronize()

        return run

    each = {
        "encode_image": encode,
        "loading": lambda: load_alone(model, many, batch),
        "trace_many": trace(),
        "keep global, dense": trace(keep=LEAN),
        "the same, no threads": trace(keep=LEAN, workers=0),
    }
    return each | ({"the same, on the GPU": trace(keep=LEAN, device="cuda")} if parameter.is_cuda else {})


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def report(name: str, dtype: str, batch: int, paths: Sequence[Path], args: argparse.Namespace) -> None:
    weights = {} if name.startswith("bundled-") else {"pretrained": "random"}
    model = dcv.load(name, device=args.device, dtype=dtype, cache=False, **weights)
    each = works(model, paths, batch)
    for work in each.values():
        work()
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in each}
    for _ in range(args.rounds):
        for what, work in each.items():
            times[what].append(seconds(work))
    wall, cpu = ({what: statistics.median(one[i] for one in those) for what, those in times.items()} for i in (0, 1))
    longer, both = max(wall["encode_image"], wall["loading"]), cpu["encode_image"] + cpu["loading"]
    print(f"{name}, {dtype}, batch {batch}, {args.device}")
    for what in each:
        rate = f"{len(paths) / wall[what]:8.1f} images/s"
        print(f"  {what:22} {rate}   wall {wall[what] / longer:.3f}   CPU {cpu[what] / both:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--images", type=int)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    on_gpu = args.device != "cpu"
    names = args.names or [*(("RN50", "ViT-B-16") if on_gpu else ()), "bundled-resnet", "bundled-vit-cls"]
    with tempfile.TemporaryDirectory() as folder:
        paths = written(Path(folder), args.images or (1024 if on_gpu else 64))
        for name in names:
            for dtype in ("fp32", "fp16") if on_gpu else ("fp32",):
                for batch in args.batch:
                    report(name, dtype, batch, paths, args)


if __name__ == "__main__":
    main()
