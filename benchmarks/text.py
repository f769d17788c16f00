"""What a table of prompts × templates costs: `TextBank` against open_clip's own zero-shot classifier, in one run.

The 85 templates of MaskCLIP × the names of VOC20 on ViT-B-32's text tower with random weights, on one thread. Both
give the mean of a class's unit vectors over the templates; their difference is printed, the peak of the memory that
each needs beside its result, and what a second session costs that reads the vectors from disk.
Usage: python benchmarks/text.py [--names N] [--model NAME]
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time

import open_clip
import torch

from denseclip_viz.encode.checkpoints import load_clip
from denseclip_viz.encode.text import TextBank, ensemble
from denseclip_viz.prompts import Prompts, class_list, template_set

BATCH = 32  # small enough that the 85 texts of one name fill batches as those of twenty do
TEMPLATES = template_set("maskclip-85")


def seconds(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak() -> float:
    """MiB that this process ever held."""
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def theirs(loaded, names):
    says = [lambda name, template=template: template.replace("{}", name) for template in TEMPLATES]
    with torch.no_grad():
        return open_clip.build_zero_shot_classifier(loaded.clip, loaded.tokenizer, names, says).T


def main(model: str, count: int) -> None:
    names = class_list("voc20")[:count]
    loaded, texts = load_clip(model, pretrained="random", device="cpu"), len(names) * len(TEMPLATES)
    with tempfile.TemporaryDirectory() as folder:

        def vectors(prompts):
            bank = TextBank(loaded.clip, loaded.tokenizer, provenance=loaded.provenance, cache=folder)
            return bank.encode(prompts, batch_size=BATCH)

        start = peak()
        few = vectors(Prompts(["a thing"], TEMPLATES))
        one = peak() - start
        ours_time, ours = seconds(lambda: vectors(Prompts(names, TEMPLATES)))
        every = peak() - start
        kept_time, kept = seconds(lambda: vectors(Prompts(names, TEMPLATES)))
    result = ours.numel() * ours.element_size() / 2**20
    print(f"{model}, {len(TEMPLATES)} templates × {len(names)} names = {texts} texts, one thread")
    print(f"TextBank            {ours_time:8.2f} s   peak {every:6.1f} MiB above the model (result {result:.1f} MiB)")
    print(f"  one name ({few.shape[0]} texts)            peak {one:6.1f} MiB: {every - one:+.1f} for {texts - 85} more")
    print(f"from disk           {kept_time:8.4f} s   {ours_time / kept_time:.0f} × faster; equal: {ours.equal(kept)}")
    theirs_time, expected = seconds(lambda: theirs(loaded, names))
    print(f"open_clip           {theirs_time:8.2f} s   peak {peak() - start:6.1f} MiB above the model")
    print(f"ratio {theirs_time / ours_time:.2f} × faster, {theirs_time / kept_time:.0f} × from disk")
    print(f"largest difference {(ensemble(ours) - expected).abs().max():.2e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--names", type=int, default=20)
    asked.add_argument("--model", default="ViT-B-32")
    given = asked.parse_args()
    main(given.model, given.names)
