"""What published paths cost: each alone, nine together, and all, over plain `encode_image`; text is cached.

Measured side by side in one run, on one thread, taking turns: ratios of the medians of CPU time, with similarity maps
of five prompts made of every trace; "dense alone" keeps neither contributions nor attention, which maps do not need.
Random weights.
Usage: python benchmarks/paths.py [NAME [SIDE]]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from turns import PROMPTS, prepare, report

from denseclip_viz.clip.paths import PATHS

NINE = ["vanilla", "value", "value-attention-only", "sclip", "clearclip", "naclip", "clip-surgery", "gem", "resclip"]
ROUNDS = 15


def main(name: str = "ViT-B-16", side: str = "224") -> None:
    model, image, fit, works = prepare(name, side)

    def maps(*paths: str, **options: object) -> Callable[[], object]:
        return lambda: model.similarity(model.trace(image, path=list(paths), geometry=fit, **options), PROMPTS)

    together = [path for path in model.paths if PATHS[path].antialias]
    works |= {path: maps(path) for path in together} | {"nine together": maps(*NINE)}
    works |= {"nine, dense alone": maps(*NINE, keep=("global", "dense"))}
    works |= {f"all {len(together)}": maps(*together)}
    title = f"{name}, {side} px: encode_image {{:.0f}} ms; with reading the image and maps of 5 prompts:"
    report(title, works, ROUNDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
