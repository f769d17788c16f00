"""How exactly contributions and rest sum to the embedding, measured on small random towers while the site is built."""

import sys
from pathlib import Path

import torch
from sphinx.util.docutils import SphinxDirective

from denseclip_viz.clip.towers import tower_for
from denseclip_viz.clip.towers.tower import recomposition_miss

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # behind all else, so that nothing is hidden by a test

import tiny

HEAD = "| tower | open_clip's names | double precision | single precision |\n|---|---|---|---|\n"
OWN = {
    "ResNet": lambda **options: tiny.tiny_resnet(**options).visual,
    "ViT": lambda **options: tiny.tiny_vit(**options).visual,
    "ViT, LayerScale": lambda **options: tiny.tiny_vit(ls_init_value=0.5, **options).visual,
}


class Residuals(SphinxDirective):
    """`{residuals}` and lines `tower: names`: what the sum misses the embedding by, of the largest number in it."""

    has_content = True

    def run(self):
        """Measure each tower, and lay a table out."""
        rows = [[part.strip() for part in line.split(":", 1)] for line in self.content]
        table = HEAD + "".join(f"| {tower} | {names} | {measured(tower)} |\n" for tower, names in rows)
        return self.parse_text_to_nodes(table)


def measured(tower):
    """Give two cells of the table."""
    return " | ".join(f"{residual(tower, dtype):.1e}" for dtype in (torch.float64, torch.float32))


def residual(tower, dtype):
    """Run a small tower once, every parameter of which is random, and compare its sum with its embedding."""
    visual = OWN[tower](dtype=dtype) if tower in OWN else tiny.tiny_tower(tower, dtype=dtype)
    side = tiny.native_side(visual)
    pixels = torch.from_numpy(tiny.random_pixels(side, side)).to(dtype)
    with torch.no_grad():
        pooling, _ = tower_for(visual).forward(pixels[None])
    return float(recomposition_miss(pooling))


def setup(app):
    """Register with Sphinx."""
    app.add_directive("residuals", Residuals)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
