"""Attributions as candidates: each method's maps of the same prompts, from one pass of its own an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.attribution.attributions import attribution_maps, choose_methods
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import LayerError
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.progress import bar
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    from denseclip_viz.model import Model


@dataclass(frozen=True)
class AttributionCandidates:
    """Attributions of the same prompts.

    Attributes:
        tower: Whose score they explain.
        names: The methods.
        prompts: `(prompt,)`.
        vectors: `(prompt, D)`.
        absent: `(prompt,)`, which prompts are known not to be in any image; none by default.
    """

    tower: Tower
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    vectors: Tensor
    absent: tuple[bool, ...] = ()

    def maps(self, trace: Trace) -> Floats:
        """Attribute every prompt's score: `(method, prompt, y, x)`, each method on a scale of its own.

        Raises:
            LayerError: an image in tiles.
        """
        if trace.pixels is None:
            got, fix = f"attributions of {trace.name} in tiles", "Take geometry='whole'."
            raise LayerError(got, expected="a single window, seen whole by one pass", fix=fix)
        maps = attribution_maps(self.tower, trace.pixels, self.vectors, self.names)
        return np.asarray(torch.stack(list(maps.values())).numpy())


@guarded
def attribution_candidates(
    model: Model, prompts: Prompts, methods: str | Sequence[str] | None = None, *, progress: bool = False
) -> AttributionCandidates:
    """Compare attributions: which method's maps find the prompts best.

    A metric that ranks positions or prompts within a map is fair to all; one that cuts at a number is not, since each
    method has units of its own.

    Args:
        model: A loaded model.
        prompts: Several templates of a prompt are one mean vector.
        methods: Names; all that the model offers by default (`attribution.methods`).
        progress: Show a bar while texts are encoded.

    Returns:
        Candidates for `evaluate`, one for each method.

    Raises:
        LayerError: A method that the model does not offer, or none.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, prompts = dcv.load(), dcv.Prompts(["a taxi", "a road"])
        >>> candidates = dcv.measure.attribution_candidates(model, prompts, ["grad-cam", "relevance"])
        >>> scenes = dcv.toyworld.dataset(2, "test", size=128)
        >>> dcv.measure.evaluate(model, scenes, candidates, "pointing_hit", progress=False).candidate.values.tolist()
        ['grad-cam', 'relevance']
    """
    names = choose_methods(model.tower, methods)
    with bar("texts", wanted=progress) as advance:
        vectors = ensemble(model.texts.encode(prompts, progress=advance))
    return AttributionCandidates(model.tower, names, prompts.prompts, vectors, prompts.absent)
