"""What is ranked: ways of saying the same prompts, as vectors, and their ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import PromptError
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.progress import bar
from denseclip_viz.measure.template_table import refuse_one
from denseclip_viz.prompts import Prompts

if TYPE_CHECKING:
    from denseclip_viz.model import Model

_NOTHING = 1e-6  # the length of a sum of unit vectors that is only rounding


@dataclass(frozen=True)
class Candidates:
    """Ways of saying the same prompts.

    Attributes:
        noun: What a way is called: "template" or "synonym".
        names: `(way,)`.
        prompts: `(prompt,)`.
        absent: `(prompt,)`, which prompts are known not to be in any image.
        judged: `(prompt,)`, whose numbers make the score.
        vectors: `(way, prompt, D)`, unit vectors.
        weights: `(way,)`, how much each counts in an ensemble; all the same when empty.
    """

    noun: str
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    absent: tuple[bool, ...]
    judged: tuple[bool, ...]
    vectors: Tensor
    weights: tuple[float, ...] = ()

    def ensembled(self, maps: Floats, members: Sequence[int] | None = None) -> Floats:
        """The map of the mean vector of some ways, all of them by default: `(prompt, …)`.

        A cosine with a mean of unit vectors is the mean of the cosines over the mean's length, exactly.

        Args:
            maps: `(way, prompt, …)`, cosines.
            members: Which ways.
        """
        chosen = list(range(len(self.names))) if members is None else list(members)
        return _over(*(part[chosen].sum(0) for part in self._weighed(maps)))

    def left_out(self, maps: Floats) -> Floats:
        """The ensemble's map without one way after the other: `(way, prompt, …)`, of at least two."""
        return _over(*(part.sum(0) - part for part in self._weighed(maps)))

    def joined(self, maps: Floats, members: Sequence[int], more: Sequence[int]) -> Floats:
        """The map of the ensemble of some ways and one more, one after the other: `(one more, prompt, …)`.

        Args:
            maps: As for `ensembled`.
            members: Those that are in all of them; may be none.
            more: Those that join them, one in each.
        """
        return _over(*(part[list(members)].sum(0) + part[list(more)] for part in self._weighed(maps)))

    def _weighed(self, maps: Floats) -> tuple[Floats, Floats]:
        vectors: Floats = self.vectors.numpy()
        if not self.weights:
            return maps, vectors
        shares = np.array(self.weights) / np.mean(self.weights)
        return tuple(part * shares.astype(part.dtype).reshape(-1, *[1] * (part.ndim - 1)) for part in (maps, vectors))


def template_candidates(
    model: Model, prompts: Prompts, *, weights: Sequence[float] | None = None, progress: bool = False
) -> Candidates:
    """The templates of prompts.

    Args:
        model: A loaded model.
        prompts: With two templates or more.
        weights: `(template,)`, how much each counts in an ensemble; all the same by default.
        progress: Show a bar while texts are encoded.

    Raises:
        PromptError: one template only, nothing but absent prompts, or weights that are not one number from 0 each.
    """
    refuse_one(list(prompts.templates), "ranking")
    if all(prompts.absent):
        got, expected = "Nothing but absent prompts", "at least one prompt that can be in an image"
        raise PromptError(got, expected=expected, fix="Pass it among the prompts.")
    judged = tuple(not absent for absent in prompts.absent)
    with bar("texts", wanted=progress) as said:
        vectors = model.texts.encode(prompts, progress=said)
    ensemble(vectors, weights)  # refuses weights that cannot be
    counts = () if weights is None else tuple(map(float, weights))
    return Candidates("template", prompts.templates, prompts.prompts, prompts.absent, judged, vectors, counts)


def synonym_candidates(
    model: Model, synonyms: Sequence[str], *, others: Sequence[str], absent: Sequence[str], template: str
) -> Candidates:
    """Prompts that mean the same thing, each beside the same other prompts; the first one names the thing.

    Raises:
        PromptError: one synonym only, several templates, or an other or absent prompt that is a synonym too.
    """
    said = Prompts(synonyms, template)
    refuse_one(list(said.prompts), "ranking", "synonym")
    if len(said.templates) != 1:
        got, fix = f"{len(said.templates)} templates for synonyms", "Rank synonyms in one template at a time."
        raise PromptError(got, expected="one template", fix=fix)
    rivals = Prompts([said.prompts[0], *others], template, absent=absent)
    twice = [name for name in rivals.prompts[1:] if name in said.prompts]
    if twice:
        got = f"{twice[0]!r} is a synonym and another prompt too"
        raise PromptError(got, expected="synonyms of one thing, and prompts of others", fix="Take one of them out.")
    first, beside = model.texts.encode(said)[0], model.texts.encode(rivals)[0, 1:]
    vectors = torch.cat([first[:, None], beside.expand(len(first), *beside.shape)], dim=1)
    judged = (True, *[False] * (len(rivals) - 1))
    return Candidates("synonym", said.prompts, rivals.prompts, rivals.absent, judged, vectors)


def _over(maps: Floats, vectors: Floats) -> Floats:
    """Divide by the length of each mean; ways that cancel out have no direction, and no map."""
    lengths = np.sqrt((vectors**2).sum(-1)).astype(maps.dtype)
    if not (lengths > _NOTHING).all():
        got = "An ensemble of ways of saying whose mean vector is zero for a prompt"
        expected, fix = "ways that do not cancel out", "Look at them one by one, or weigh them otherwise."
        raise PromptError(got, expected=expected, fix=fix)
    divided: Floats = maps / lengths.reshape(*lengths.shape, *[1] * (maps.ndim - lengths.ndim))
    return divided
