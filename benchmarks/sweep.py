"""What a store of features costs: a sweep of texts over it, and writing and reading it.

20 000 stored embeddings against 8 000 texts, the best 20 images of each, beside the bare matrix product of the same
arrays in memory, taking turns; how much memory each needs; and shards beside `torch.save` and `torch.load` of the same
tensors. One thread, CPU time of the product and wall time of files, medians. No encoder runs: vectors are random.
Usage: python benchmarks/sweep.py [IMAGES] [TEXTS]
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from turns import cpu_seconds

import denseclip_viz as dcv
from denseclip_viz.features.feature_shards import write_shard
from denseclip_viz.features.manifest import StoredImage
from denseclip_viz.features.shard_reader import ShardReader
from denseclip_viz.features.store_writer import opened
from denseclip_viz.geometry import Geometry

WIDTH, BATCH, POSITIONS, ROUNDS = 512, 32, 196, 5
GRID = Geometry("native", (224, 224), (224, 224), (0, 0), (224, 224), (16, 16))
ABOUT = {"provenance": {"model": "random"}, "paths": {"value": ""}, "path_axis": False, "keep": ["global"]}


def units(count: int) -> Tensor:
    return F.normalize(torch.randn(count, WIDTH), dim=-1)


def write_store(folder: Path, vectors: Tensor) -> dcv.features.FeatureStore:
    with opened(folder, {}, ABOUT | {"dtype": "float16"}) as writer:
        for first in range(0, len(vectors), BATCH):
            part = vectors[first : first + BATCH]
            images = [StoredImage(f"{first + i}.jpg", f"/{first + i}.jpg", 1, 1, "", GRID) for i in range(len(part))]
            writer.add(images, {"global": part.half(), "global: length": torch.ones(len(part))}, 2e-4)
    return dcv.features.open_store(folder)


def grown(work: Callable[[], object]) -> float:
    """Measure by how many MB the most memory that this process ever had grows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def sweep(images: int, texts: int, folder: Path) -> None:
    vectors, wanted = units(images), units(texts)
    store, prompts = write_store(folder, vectors), dcv.Prompts([f"text {i}" for i in range(texts)])
    small = dcv.Prompts(prompts.prompts[:2])
    dcv.features.search(store, wanted[None, :2], small)  # what is loaded at the first use
    memory = grown(lambda: dcv.features.search(store, wanted[None], prompts))
    scores = torch.empty(images, texts)
    works: dict[str, Callable[[], object]] = {
        "bare product": lambda: torch.mm(vectors, wanted.T, out=scores),
        "search": lambda: dcv.features.search(store, wanted[None], prompts),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, work in works.items():
            seconds = cpu_seconds(work)
            times[name] += [seconds] if number else []  # the first turn fills caches
    bare, search = (statistics.median(each) for each in times.values())
    print(f"{images} images x {texts} texts, width {WIDTH}: product {bare:.2f} s, search {search:.2f} s")
    print(
        f"  ratio {search / bare:.3f}; memory grew by {memory:.0f} MB, the full matrix is {scores.nbytes / 1e6:.0f} MB"
    )
    check(dcv.features.search(store, wanted[None, :50], dcv.Prompts(prompts.prompts[:50])), vectors, wanted[:50])


def check(found: object, vectors: Tensor, wanted: Tensor) -> None:
    """Compare with sorting the scores of what is stored."""
    stored = F.normalize(vectors.half().float(), dim=-1).double() @ wanted.double().T
    best = np.sort(-stored.numpy(), axis=0)[:20].T
    miss = np.abs(-best - found.score.values[0]).max()  # type: ignore[attr-defined]
    print(f"  the best 20 of 50 texts are those of the sorted scores, within {miss:.1e}")


def files(folder: Path) -> None:
    batches = [dense_batch() for _ in range(ROUNDS)]
    size = sum(tensor.nbytes for tensor in batches[0].values()) / 1e6
    rates: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        rates.setdefault(what, []).append(size / (time.perf_counter() - start))
        return result

    for number, batch in enumerate(batches):
        shard = timed("write a shard, to the disk", lambda b=batch, n=number: write_shard(folder, n, b, 0.0))
        plain = folder / f"{number}.pt"
        timed("torch.save", lambda b=batch, p=plain: torch.save(b, p))
        timed("torch.save, to the disk", lambda b=batch, p=plain: save_synced(b, p))
        reader = ShardReader(folder)
        for what in ("read a shard, checked", "read it again"):
            timed(what, lambda s=shard, b=batch, r=reader: [r.read(s, name).sum() for name in b])
        timed("torch.load", lambda p=plain: [tensor.sum() for tensor in torch.load(p).values()])
        timed("torch.load(mmap)", lambda p=plain: [tensor.sum() for tensor in torch.load(p, mmap=True).values()])
    print(f"{BATCH} images of {POSITIONS} positions, {size:.1f} MB in fp16, MB/s")
    for what, each in rates.items():
        print(f"  {what:28} {statistics.median(each):8.0f}")


def dense_batch() -> dict[str, Tensor]:
    rows = BATCH * POSITIONS
    return {"dense: value": units(rows).half(), "dense: value: length": torch.rand(rows), "global": units(BATCH).half()}


def save_synced(batch: dict[str, Tensor], path: Path) -> None:
    with open(path, "wb") as file:
        torch.save(batch, file)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, texts = map(int, sys.argv[1:] or ("20000", "8000"))
    with tempfile.TemporaryDirectory() as place:
        sweep(images, texts, Path(place) / "store")
        files(Path(place))
