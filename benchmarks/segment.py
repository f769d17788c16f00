"""Peak memory of `segment` with many prompts at full size, against upsampling every map first; labels must agree.

Each runs in a process of its own; what is reported is the peak above the resident memory before the call.
Usage: python benchmarks/segment.py [PROMPTS] [SIZE]
"""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from denseclip_viz.geometry import Preprocess, Whole
from denseclip_viz.maps.segment import label, strips
from denseclip_viz.maps.similarity import Formula


def chunked(scores: np.ndarray, size: int) -> np.ndarray:
    plan = geometry(size)
    return label(scores, plan, Formula("softmax", 100.0), rows=size, columns=size)["labels"]


def naive(scores: np.ndarray, size: int) -> np.ndarray:
    import torch
    from torch.nn import functional as F

    maps = F.interpolate(torch.from_numpy(scores)[None], (size, size), mode="bilinear", align_corners=False)[0]
    return torch.softmax(100 * maps, dim=0).argmax(0).numpy().astype(np.int16)


def geometry(size: int):
    preprocess = Preprocess(size=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Whole(short=size).plan((size, size), preprocess=preprocess, cell=(16, 16))


Method = Callable[[np.ndarray, int], np.ndarray]


def measured(method: Method, prompts: int, size: int, out: Connection) -> None:
    import torch  # noqa: F401  both methods start from the same imports

    grid = geometry(size).grid
    scores = np.random.default_rng(0).normal(0.2, 0.02, (prompts, *grid)).astype(np.float32)
    method(scores[:2], size)  # first-use buffers of the libraries do not count
    list(strips(scores[:1], geometry(size), 1, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    labels = method(scores, size)
    out.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, labels))


def run(method: Method, prompts: int, size: int) -> tuple[int, np.ndarray]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measured, args=(method, prompts, size, theirs))
    process.start()
    answer = ours.recv()
    process.join()
    return answer


if __name__ == "__main__":
    count, side = (int(a) for a in (sys.argv[1:3] + ["171", "512"][len(sys.argv) - 1 :]))
    (chunk, ours), (full, theirs) = (run(method, count, side) for method in (chunked, naive))
    same = float((ours == theirs).mean())
    print(f"{count} prompts at {side} x {side} px: segment {chunk / 1024:.1f} MiB, naive {full / 1024:.1f} MiB")
    print(f"ratio {chunk / max(full, 1):.3f} (1/{full / max(chunk, 1):.0f}); labels equal on {same:.4%} of pixels")
