"""What attributions cost: each alone, and those without a way back through all blocks together, over `encode_image`.

Measured side by side in one run, on one thread, taking turns: ratios of the medians of CPU time, of five prompts whose
text is cached, with reading the image. Random weights.
Usage: python benchmarks/attributions.py [NAME [SIDE]]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from turns import PROMPTS, prepare, report

import denseclip_viz as dcv

DEEP = "relevance-all"
ROUNDS, DEEP_ROUNDS = 15, 3


def main(name: str = "ViT-B-16", side: str = "224") -> None:
    model, image, fit, works = prepare(name, side)

    def maps(*methods: str) -> Callable[[], object]:
        return lambda: dcv.attribution.attribute(model, image, PROMPTS, list(methods), geometry=fit)

    names = dcv.attribution.methods(model)
    together = [method for method in names if method != DEEP]
    works |= {method: maps(method) for method in names} | {f"all but {DEEP}": maps(*together)}
    works["direct effects"] = lambda: dcv.attribution.direct_effects(model, image, PROMPTS, geometry=fit)
    title = f"{name}, {side} px: encode_image {{:.0f}} ms; with reading the image, 5 prompts:"
    report(title, works, ROUNDS, fewer={DEEP: DEEP_ROUNDS})


if __name__ == "__main__":
    main(*sys.argv[1:])
