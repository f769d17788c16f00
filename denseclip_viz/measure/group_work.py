"""What `evaluate` does with groups of images, the one unit of work, in any process."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.datasets.example import Example
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.features.stored_traces import StoredTraces
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.images import describe
from denseclip_viz.maps.finer_choice import Finer
from denseclip_viz.measure.candidates import Candidates
from denseclip_viz.measure.given_numbers import as_array, numbers_of
from denseclip_viz.measure.store import Values
from denseclip_viz.progress import traced_beside
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many, readable

if TYPE_CHECKING:
    from denseclip_viz.model import Model

Measure = Callable[[Any, Example, Trace], Any]
"""From `(candidate, prompt, y, x)`, what is true and the trace to a number for each candidate, or to several by name:
`{name: numbers}`, or `{name: (axes, numbers)}`."""


@dataclass(frozen=True)
class Group:
    """Neighbours in a data set.

    Attributes:
        members: `(place, example)`, all that are traced.
        wanted: Places of those that are measured; the others are known already.
    """

    members: tuple[tuple[int, Example], ...]
    wanted: frozenset[int]

    def image(self, place: int) -> Any:
        """Give the image at a place."""
        return dict(self.members)[place].image

    def __str__(self) -> str:
        return f"images {self.members[0][0]} to {self.members[-1][0]}"


@dataclass(frozen=True)
class Measured:
    """The numbers of one image; `digest` is of the image and its masks, if that is asked for."""

    place: int
    name: str
    values: Values
    provenance: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class Unread:
    """An image that cannot be read, or whose masks cannot."""

    place: int
    name: str
    error: ImageError
    digest: str


Outcome = Measured | Unread


@dataclass(frozen=True)
class GroupWork:
    """Trace groups and measure what is wanted of them.

    Attributes:
        model: A loaded model.
        candidates: As for `evaluate`.
        names: Theirs.
        measure: As for `evaluate`.
        options: Of `Model.trace_many`.
        digests: Whether to fingerprint images.
        finer: Grids on which candidates are asked and measured again, of the same pass.
        features: Stored ones, in the place of passes.
    """

    model: Model
    candidates: Candidates
    names: tuple[str, ...]
    measure: Measure
    options: Mapping[str, Any]
    digests: bool
    finer: tuple[Finer, ...] = ()
    features: StoredTraces | None = None

    @guarded
    def __call__(self, groups: Iterable[Group]) -> Generator[tuple[Group, Outcome]]:
        """Give the outcome of each image that is wanted, in their order, and of each that cannot be read."""
        unread: list[tuple[Group, Outcome]] = []

        def leave_out(beside: tuple[Group, int, Example], error: ImageError) -> None:
            group, place, example = beside
            digest = digest_of(example) if self.digests else ""
            unread.append((group, Unread(place, example.name or describe(example.image), error, digest)))

        fed = (((example.image, (group, place, example)) for place, example in group.members) for group in groups)
        stored = self.features and self.features.traced_beside(fed, leave_out, _read_truth)
        with closing(stored or traced_beside(self.model, fed, leave_out, _read_truth, **self.options)) as traced:
            for (group, place, example), trace in traced:
                while unread:
                    yield unread.pop(0)
                if place in group.wanted:
                    yield group, self._measured(place, example, trace)
        yield from unread

    def _measured(self, place: int, example: Example, trace: Trace) -> Measured:
        candidates = self.candidates
        asked = candidates.for_example(example) if hasattr(candidates, "for_example") else candidates
        views = (trace, *(one.of(self.model, trace) for one in self.finer))
        values = joined([self._values(as_array(asked.maps(view)), place, example, view) for view in views])
        digest = digest_of(example) if self.digests else ""
        provenance = dict(trace.provenance)
        if self.finer:
            ways = zip(self.finer, views[1:], strict=True)
            provenance["finer"] = "; ".join(str(view.provenance.get("finer", one.name)) for one, view in ways)
        return Measured(place, example.name or trace.name, values, provenance, digest)

    def _values(self, maps: np.ndarray, place: int, example: Example, trace: Trace) -> Values:
        """Measure the maps of one image; what is wrong with its masks is said with its place."""
        if maps.ndim != 4 or len(maps) != len(self.names):
            count = many(len(self.names), "candidate")
            got, expected = f"Maps of shape {maps.shape}", f"(candidate, prompt, y, x) with {count}"
            raise PromptError(got, expected=expected, fix="Look at what maps(trace) returns.")
        try:
            numbers = self.measure(maps, example, trace)
        except (PromptError, ImageError) as error:
            what = f"masks of image {place} ({example.name or trace.name}): {error.got}"
            raise type(error)(what, expected=error.expected, fix=error.fix) from error
        return numbers_of(self.measure, numbers, len(self.names))


def joined(parts: Sequence[Values]) -> Values:
    """Lay numbers of candidates on one grid behind those on another.

    Raises:
        PromptError: A number of all candidates together.
    """
    if len(parts) == 1:
        return parts[0]
    for name, (axes, _) in parts[0].items():
        if "candidate" not in axes:
            got, fix = f"{name}, a number of all candidates together, on finer grids too", "Leave finer out."
            raise PromptError(got, expected="a metric that gives each candidate a number", fix=fix)
    return {
        name: (axes, np.concatenate([part[name][1] for part in parts], axes.index("candidate")))
        for name, (axes, _) in parts[0].items()
    }


def _read_truth(beside: tuple[Group, int, Example]) -> None:
    beside[-1].read()


def on_gpu(model: Model) -> bool:
    """Say whether a model is on a GPU."""
    return next(model.clip.parameters()).is_cuda


def digest_of(example: Example) -> str:
    """Fingerprint an image as it is stored, and what is true of it, or why that cannot be read any more."""
    try:
        labels = example.labels
        truth: list[Any] = [example.masks, labels, () if labels is None else example.classes]
    except ImageError as error:
        truth = [str(error)]
    return fingerprint([as_stored(example.image), *truth])


def as_stored(image: Any) -> Any:
    """Give the bytes of a file, or the pixels of what is in memory; else what stands in their place."""
    image = getattr(image, "image", image)
    try:
        if isinstance(image, str | os.PathLike):
            return readable(image).read_bytes()
        return np.asarray(image)
    except (OSError, ValueError, TypeError, ImageError) as error:
        return os.fspath(image) if isinstance(image, str | os.PathLike) else str(error)
