"""What a table of prompts × templates costs: `TextBank` against open_clip's own zero-shot classifier, in one run.

The 85 templates of MaskCLIP × the names of VOC20 on ViT-B-32's text tower with random weights, on one thread. Both
give the mean of a class's unit vectors over the templates; their difference is printed, and what a second session
costs that reads the vectors from disk.

Memory is measured in a fresh process for each number of texts: the most that it ever holds while it encodes, the
result included, above what it holds after 850 other texts. Beside the result it should not grow with the texts; what
the other texts left free is used again, so it may be less than the result.
Usage: python benchmarks/text.py [--names N] [--model NAME] [--only time|memory]
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import open_clip
import torch

from denseclip_viz.clip.load.checkpoints import load_clip
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.prompts import Prompts, class_list, template_set

BATCH = 32  # small enough that the 85 texts of one name fill batches as those of twenty do
TEMPLATES = template_set("maskclip-85")
NAMES = (10, 40, 120)  # 850, 3400 and 10200 texts


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def theirs(loaded, names):
    says = [lambda name, template=template: template.replace("{}", name) for template in TEMPLATES]
    with torch.no_grad():
        return open_clip.build_zero_shot_classifier(loaded.clip, loaded.tokenizer, names, says).T


def mebibytes(what: str) -> float:
    """Read what Linux says that this process holds (VmRSS), or held at most since that was set back (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def memory(model: str, count: int) -> None:
    """In a process of its own: print what encoding so many names adds at its peak, and what of it is the result."""
    loaded, names = load_clip(model, pretrained="random", device="cpu"), class_list("imagenet")
    names = list(dict.fromkeys(names))[: count + NAMES[0]]
    bank = TextBank(loaded.clip, loaded.tokenizer, provenance=loaded.provenance, cache=False)
    bank.encode(Prompts(names[count:], TEMPLATES), batch_size=BATCH)
    bank.clear()
    gc.collect()
    before = mebibytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is held now
    vectors = bank.encode(Prompts(names[:count], TEMPLATES), batch_size=BATCH)
    print(mebibytes("VmHWM") - before, vectors.numel() * vectors.element_size() / 2**20)


def say_memory(model: str) -> None:
    asked = [sys.executable, __file__, "--model", model, "--only", "one-memory", "--names"]
    said = [subprocess.run([*asked, str(count)], check=True, capture_output=True, text=True).stdout for count in NAMES]
    peaks, results = zip(*(map(float, line.split()) for line in said), strict=True)
    texts = [count * len(TEMPLATES) for count in NAMES]
    print(
        f"{model}, a fresh process each: {_row(texts)} texts add {_row(peaks, '.1f')} MiB at the peak, "
        f"of which {_row(results, '.1f')} MiB are the result"
    )


def _row(values, how="d") -> str:
    return " / ".join(format(value, how) for value in values)


def say_time(model: str, count: int) -> None:
    names = class_list("voc20")[:count]
    loaded, texts = load_clip(model, pretrained="random", device="cpu"), len(names) * len(TEMPLATES)
    with tempfile.TemporaryDirectory() as folder:

        def vectors():
            bank = TextBank(loaded.clip, loaded.tokenizer, provenance=loaded.provenance, cache=folder)
            return bank.encode(Prompts(names, TEMPLATES), batch_size=BATCH)

        theirs(loaded, names[:1])  # both are warm
        ours_time, ours = seconds(vectors)
        kept_time, kept = seconds(vectors)
    theirs_time, expected = seconds(lambda: theirs(loaded, names))
    print(f"{model}, {len(TEMPLATES)} templates × {len(names)} names = {texts} texts, one thread")
    print(f"TextBank            {ours_time:8.2f} s")
    print(f"from disk           {kept_time:8.4f} s   {ours_time / kept_time:.0f} × faster; equal: {ours.equal(kept)}")
    print(f"open_clip           {theirs_time:8.2f} s")
    print(f"ratio {theirs_time / ours_time:.2f} × faster, {theirs_time / kept_time:.0f} × from disk")
    print(f"largest difference {(ensemble(ours) - expected).abs().max():.2e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--names", type=int, default=20)
    asked.add_argument("--model", default="ViT-B-32")
    asked.add_argument("--only", choices=["time", "memory", "one-memory"])
    given = asked.parse_args()
    if given.only == "one-memory":
        memory(given.model, given.names)
    if given.only in (None, "time"):
        say_time(given.model, given.names)
    if given.only in (None, "memory"):
        say_memory(given.model)
