"""What a model says of itself, in a line and in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denseclip_viz.nameplate import listed, nameplate, shape

if TYPE_CHECKING:
    from denseclip_viz.model import Model


def in_a_line(model: Model) -> str:
    """Name the model, its weights and its pooling, for `repr`."""
    said = model.provenance
    facts = f"{model.tower.family}, {len(model.layers)} layers, {_millions(model):.1f} M"
    return f"Model({said['model']}, {said['weights']}: {facts})"


def as_html(model: Model) -> str:
    """Lay out what a model is, everything escaped; random weights are not to be overlooked."""
    said, size, cell = model.provenance, model.preprocess.size, model.tower.cell
    facts = {
        "weights": f"{said['weights']} ({said['weights_hash']})",
        "pooling": model.tower.family,
        "reads": f"{shape(size)} pixels as {size[0] // cell[0]} × {size[1] // cell[1]} positions",
        "layers": listed(model.layers),
        "parameters": f"{_millions(model):.1f} million",
        "runs": f"{said['dtype']}, {said['device']}, {said['activation']}",
    }
    after, random = 'model.trace("street.jpg")', "random weights: only the mechanics show"
    return nameplate(f"Model {said['model']}", facts, after=after, warning=random if said["random_weights"] else "")


def _millions(model: Model) -> float:
    return sum(parameter.numel() for parameter in model.clip.parameters()) / 1e6
