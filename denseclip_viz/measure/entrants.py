"""What is ranked: ways of saying the same prompts, as vectors, and their ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.errors import PromptError
from denseclip_viz.measure.seen import Floats
from denseclip_viz.measure.templates import refuse_one
from denseclip_viz.prompts import Prompts

if TYPE_CHECKING:
    from denseclip_viz.model import Model


@dataclass(frozen=True)
class Entrants:
    """Ways of saying the same prompts.

    Attributes:
        noun: What a way is called: "template" or "wording".
        names: `(way,)`.
        prompts: `(prompt,)`.
        absent: `(prompt,)`, which prompts are known not to be in any picture.
        judged: `(prompt,)`, whose numbers make the score.
        vectors: `(way, prompt, D)`, unit vectors.
    """

    noun: str
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    absent: tuple[bool, ...]
    judged: tuple[bool, ...]
    vectors: Tensor

    def ensembled(self, maps: Floats, members: Sequence[int] | None = None) -> Floats:
        """The map of the mean vector of some ways, all of them by default: `(prompt, …)`.

        A cosine with a mean of unit vectors is the mean of the cosines over the mean's length, exactly.

        Args:
            maps: `(way, prompt, …)`, cosines.
            members: Which ways.
        """
        chosen = list(range(len(self.names))) if members is None else list(members)
        return _over(maps[chosen].sum(0), self.vectors[chosen].sum(0))

    def left_out(self, maps: Floats) -> Floats:
        """The ensemble's map without one way after the other: `(way, prompt, …)`, of at least two."""
        return _over(maps.sum(0) - maps, self.vectors.sum(0) - self.vectors)


def templates_of(model: Model, prompts: Prompts) -> Entrants:
    """The templates of prompts.

    Raises:
        PromptError: one template only, or nothing but absent prompts.
    """
    refuse_one(list(prompts.templates), "ranking")
    if all(prompts.absent):
        came, expected = "Nothing but absent prompts", "at least one prompt that can be in a picture"
        raise PromptError(came, expected=expected, fix="Pass it among the prompts.")
    judged = tuple(not absent for absent in prompts.absent)
    vectors = model.texts.encode(prompts)
    return Entrants("template", prompts.templates, prompts.prompts, prompts.absent, judged, vectors)


def wordings_of(
    model: Model, wordings: Sequence[str], *, others: Sequence[str], absent: Sequence[str], template: str
) -> Entrants:
    """Prompts that mean the same thing, each beside the same other prompts; the first one names the thing.

    Raises:
        PromptError: one wording only, several templates, or an other or absent prompt that is a wording too.
    """
    said = Prompts(wordings, template)
    refuse_one(list(said.prompts), "ranking", "wording")
    if len(said.templates) != 1:
        came, fix = f"{len(said.templates)} templates for wordings", "Rank wordings in one template at a time."
        raise PromptError(came, expected="one template", fix=fix)
    rivals = Prompts([said.prompts[0], *others], template, absent=absent)
    twice = [name for name in rivals.prompts[1:] if name in said.prompts]
    if twice:
        came = f"{twice[0]!r} is a wording and another prompt too"
        raise PromptError(came, expected="wordings of one thing, and prompts of others", fix="Take one of them out.")
    first, beside = model.texts.encode(said)[0], model.texts.encode(rivals)[0, 1:]
    vectors = torch.cat([first[:, None], beside.expand(len(first), *beside.shape)], dim=1)
    judged = (True, *[False] * (len(rivals) - 1))
    return Entrants("wording", said.prompts, rivals.prompts, rivals.absent, judged, vectors)


def _over(maps: Floats, vectors: Tensor) -> Floats:
    """Divide by the length of each mean; ways that cancel out have no direction, and no map."""
    lengths = np.asarray(torch.linalg.vector_norm(vectors, dim=-1).numpy(), dtype=maps.dtype)
    lengths = np.where(lengths > 0, lengths, np.nan)
    divided: Floats = maps / lengths.reshape(*lengths.shape, *[1] * (maps.ndim - lengths.ndim))
    return divided
