"""What is compared: anything that makes maps of a trace, first of all texts that name the same things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble as ensemble
from denseclip_viz.errors import PromptError, silenced
from denseclip_viz.fingerprint import by_texts
from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
from denseclip_viz.maps.similarity import cosine_maps
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.template_table import refuse_one
from denseclip_viz.progress import bar
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import strings

if TYPE_CHECKING:
    from denseclip_viz.model import Model

_NOTHING = 1e-6  # the length of a sum of unit vectors that is only rounding


class Candidates(Protocol):
    """What `evaluate` compares on every image. Four attributes more are read where they are there.

    `trace_options`: what a trace must hold for them, as for `Model.trace_many`: `{"keys": "key"}`. `prompts`: what the
    maps are of; the data set's classes by default. `for_example(example)`: those of this image's own prompts.
    `beyond_features`: the names of those that dense features alone do not give.
    """

    @property
    def names(self) -> Sequence[str]:
        """Their names."""

    def maps(self, trace: Trace) -> Any:
        """Make each one's maps of one image, `(candidate, prompt, y, x)`, higher where a prompt is more likely."""


@dataclass(frozen=True)
class TextCandidates:
    """Texts that name the same prompts: templates, or synonyms.

    Attributes:
        noun: What one is called: "template" or "synonym".
        names: `(candidate,)`.
        prompts: `(prompt,)`.
        absent: `(prompt,)`, which prompts are known not to be in any image.
        judged: `(prompt,)`, whose numbers make the score.
        vectors: `(candidate, prompt, D)`, unit vectors.
        weights: `(candidate,)`, how much each counts in an ensemble; all the same when empty.
        texts: What the vectors are of (`TextBank.identity_of`).
    """

    noun: str
    names: tuple[str, ...]
    prompts: tuple[str, ...]
    absent: tuple[bool, ...]
    judged: tuple[bool, ...]
    vectors: Tensor
    weights: tuple[float, ...] = ()
    texts: str = ""
    fingerprinted = by_texts

    def maps(self, trace: Trace) -> Floats:
        """Compare every position with every text: raw cosines."""
        dense = trace.one_path("texts").dense
        return np.asarray(cosine_maps(dense, self.vectors).numpy())

    def ensembled(self, maps: Floats, members: Sequence[int] | None = None) -> Floats:
        """Make the map of the mean vector of some candidates, all of them by default: `(prompt, …)`.

        A cosine with a mean of unit vectors is the mean of the cosines over the mean's length, exactly.
        """
        chosen = list(range(len(self.names))) if members is None else list(members)
        return _over(*(part[chosen].sum(0) for part in self._weighed(maps)))

    def left_out(self, maps: Floats) -> Floats:
        """Make the ensemble's map without each candidate in turn: `(candidate, prompt, …)`, of at least two."""
        return _over(*(part.sum(0) - part for part in self._weighed(maps)))

    def joined(self, maps: Floats, members: Sequence[int], more: Sequence[int]) -> Floats:
        """Make the map of an ensemble of some, or none, and one more, each in turn: `(one more, prompt, …)`."""
        return _over(*(part[list(members)].sum(0) + part[list(more)] for part in self._weighed(maps)))

    def _weighed(self, maps: Floats) -> tuple[Floats, Floats]:
        vectors: Floats = self.vectors.numpy()
        if not self.weights:
            return maps, vectors
        shares = np.array(self.weights) / np.mean(self.weights)
        return tuple(part * shares.astype(part.dtype).reshape(-1, *[1] * (part.ndim - 1)) for part in (maps, vectors))


@dataclass(frozen=True)
class WithEnsembles:
    """Texts each alone, then the ensemble of all, then that without each: what a ranking is made of."""

    texts: TextCandidates

    @property
    def names(self) -> tuple[str, ...]:
        """The texts, the ensemble, and the ensemble without each text."""
        texts = self.texts.names
        return (*texts, "ensemble", *(f"ensemble without {name}" for name in texts))

    def maps(self, trace: Trace) -> Floats:
        """Make all maps from those of the texts alone."""
        maps = self.texts.maps(trace)
        return np.concatenate([maps, self.texts.ensembled(maps)[None], self.texts.left_out(maps)])


@guarded
def template_candidates(
    model: Model, prompts: Prompts, *, weights: Sequence[float] | None = None, progress: bool = False
) -> TextCandidates:
    """Compare the templates of prompts.

    Args:
        model: A loaded model.
        prompts: With two templates or more.
        weights: `(template,)`, how much each counts in an ensemble; all the same by default.
        progress: Show a bar while texts are encoded.

    Returns:
        Candidates for `evaluate`, one for each template.

    Raises:
        PromptError: one template only, or weights that are not one number from 0 each, two of them above 0.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.measure.template_candidates(dcv.load(), dcv.Prompts(["a taxi"], ["{}", "a photo of {}"])).names
        ('{}', 'a photo of {}')
    """
    prompts = Prompts.of(prompts)
    refuse_one(list(prompts.templates), "ranking")
    judged = tuple(not absent for absent in prompts.absent)
    with bar("texts", wanted=progress) as advance:
        vectors = model.texts.encode(prompts, progress=advance)
    ensemble(vectors, weights)  # refuses weights that cannot be
    if weights is not None and (above := sum(weight > 0 for weight in weights)) < 2:
        got, fix = f"weights={list(weights)!r}, of which {above} is above 0", "Give two templates a weight, or more."
        raise PromptError(got, expected="two or more: without any one of them an ensemble is left", fix=fix)
    counts = () if weights is None else tuple(map(float, weights))
    about, read = (prompts.templates, prompts.prompts, prompts.absent), model.texts.identity_of(prompts)
    return TextCandidates("template", *about, judged, vectors, counts, texts=read)


@guarded
def synonym_candidates(
    model: Model, synonyms: Sequence[str], *, others: Sequence[str] = (), absent: Sequence[str] = (), template: str
) -> TextCandidates:
    """Compare prompts that mean the same thing, each beside the same other prompts.

    Args:
        model: A loaded model.
        synonyms: Two or more; the first one names the thing.
        others: Prompts of other things.
        absent: Prompts that are in none of the images.
        template: One template for all.

    Returns:
        Candidates for `evaluate`, one for each synonym.

    Raises:
        PromptError: one synonym only, several templates, or an other or absent prompt that is a synonym too.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.measure.synonym_candidates(dcv.load(), ["a taxi", "a cab"], template="a photo of {}").names
        ('a taxi', 'a cab')
    """
    named, others = Prompts(strings(synonyms, "synonyms"), template), strings(others, "others")
    refuse_one(list(named.prompts), "ranking", "synonym")
    if len(named.templates) != 1:
        got, fix = f"{len(named.templates)} templates for synonyms", "Rank synonyms in one template at a time."
        raise PromptError(got, expected="one template", fix=fix)
    everything = Prompts([*named.prompts, *others], template, absent=absent)
    first, beside = model.texts.encode(everything)[0].tensor_split([len(named)])
    vectors = torch.cat([first[:, None], beside.expand(len(first), *beside.shape)], dim=1)
    rivals, away = ((values[0], *values[len(named) :]) for values in (everything.prompts, everything.absent))
    judged = (True, *[False] * (len(rivals) - 1))
    read = model.texts.identity_of(everything)
    return TextCandidates("synonym", named.prompts, rivals, away, judged, vectors, texts=read)


def _over(maps: Floats, vectors: Floats) -> Floats:
    """Divide by the length of each mean; texts that cancel out have no direction, and no map."""
    lengths = np.sqrt((vectors**2).sum(-1)).astype(maps.dtype)
    if not (lengths > _NOTHING).all():
        got = "An ensemble of texts whose mean vector is zero for a prompt"
        expected, fix = "texts that do not cancel out", "Look at them one by one, or weigh them otherwise."
        raise PromptError(got, expected=expected, fix=fix)
    divided: Floats = maps / lengths.reshape(*lengths.shape, *[1] * (maps.ndim - lengths.ndim))
    return divided


VALUE, ATTENTION = "value", "attention × global score"
PATHS = {"vanilla": "patch tokens", "value-attention-only": "value, no residual"}
REFINED = (
    "value + key smoothing (cosine)",
    "value + key smoothing (official)",
    "value + prompt denoising",
    "value + both (official)",
)


@dataclass(frozen=True)
class Baselines:
    """The value path alone and refined, other paths that a tower has, and attention times the global score.

    Attributes:
        single: `(class, D)`, vectors of one template.
        ensembled: `(class, D)`, vectors of all templates together.
        paths: Those of `PATHS` that the tower has.
    """

    single: Tensor
    ensembled: Tensor
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, vectors: Tensor) -> Baselines:
        """Take `(template, class, D)` vectors, the first template alone and all together, and a tower's paths."""
        return cls(vectors[0], ensemble(vectors), tuple(path for path in PATHS if path in model.paths))

    @property
    def names(self) -> tuple[str, ...]:
        """What figures and tables call them."""
        return VALUE, "value, one template", *REFINED, *(PATHS[path] for path in self.paths), ATTENTION

    @property
    def trace_options(self) -> Mapping[str, Any]:
        """Keys for smoothing, and all paths of one forward pass."""
        return {"keys": "key", "path": ["value", *self.paths]}

    def maps(self, trace: Trace) -> Tensor:
        """Score every class at every position, `(candidate, class, y, x)`."""
        dense, *others = trace.dense
        value = _cosines(dense, self.ensembled)
        score = F.normalize(trace.global_embedding, dim=-1) @ self.ensembled.T
        attention = score[:, None, None] * trace.attention.mean(0)
        single = _cosines(dense, self.single)
        return torch.stack(
            [value, single, *_refined(value, trace), *(_cosines(other, self.ensembled) for other in others), attention]
        )


def _cosines(dense: Tensor, vectors: Tensor) -> Tensor:
    return cosine_maps(dense, vectors[None])[0]


def _refined(value: Tensor, trace: Trace) -> Iterator[Tensor]:
    """Refine as the paper does; where denoising removes every class, no pixel gets a name."""
    assert trace.keys is not None
    with silenced("prompt denoising removed every prompt"):
        denoised, present = prompt_denoising(value, 0.5, trace.geometry.in_sight)
    yield key_smoothing(value, trace.keys)
    yield key_smoothing(value, trace.keys, normalisation="official")
    yield denoised
    yield key_smoothing(denoised, trace.keys, normalisation="official") if present.any() else denoised
