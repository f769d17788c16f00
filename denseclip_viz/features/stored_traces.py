"""Traces out of a store in the place of a model's own: the same images, paths and geometry, and no forward pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from denseclip_viz import arguments
from denseclip_viz.clip.preparation import Preparation, nothing
from denseclip_viz.datasets.dataset import Dataset
from denseclip_viz.datasets.example import image_of
from denseclip_viz.errors import ImageError, LayerError, OutputError
from denseclip_viz.features.feature_question import differing, path_fingerprints, question_of
from denseclip_viz.features.feature_store import FeatureStore
from denseclip_viz.images import describe, unwrapped
from denseclip_viz.trace import Trace
from denseclip_viz.validation import many, short_name

if TYPE_CHECKING:
    from denseclip_viz.model import Model

Features = FeatureStore | str | os.PathLike[str]
"""A store of features, or where it is."""

Beside = TypeVar("Beside")
_OF_THE_IMAGE = {"pixels", "image"}
_HOW = "by features.encode with the same preset, path and geometry"
_NAMED = 5  # images in a message


@dataclass(frozen=True)
class StoredTraces:
    """What stands in for a model whose features are stored.

    Attributes:
        store: The features.
        path: The name of the path that is wanted, or several, which get an axis.
        preparation: Reads images and brings them to the tower's input; None where nobody looks at pixels.
    """

    store: FeatureStore
    path: str | tuple[str, ...]
    preparation: Preparation | None = None

    @classmethod
    def of(cls, features: Features, model: Model, options: Mapping[str, Any], *, pixels: bool = False) -> StoredTraces:
        """Open a store for what `Model.trace_many` would be asked with these options.

        Raises:
            OutputError: it holds features of something else.
            LayerError: it lacks a path, or parts of a trace.
        """
        store = features if isinstance(features, FeatureStore) else FeatureStore(features)
        tracing = arguments.tracing(model.tower, model.preprocess, model.provenance, model.checked, **options)
        fit, wanted = tracing.preparation.fit, tracing.options
        if apart := differing(question_of(model, fit), store.question):
            other, theirs, ours = apart
            got = f"{short_name(store.folder)} holds features of another {other}: {theirs}"
            raise OutputError(got, expected=ours, fix=f"Encode into another folder, {_HOW}.")
        keep = arguments.choose_parts("dense" if options.get("keep") is None else options["keep"]) - {"global"}
        _refuse_parts(store, keep, wanted.keys, wanted.layers)
        _refuse_paths(store, path_fingerprints(list(wanted.paths)))
        looks = pixels or not keep.isdisjoint(_OF_THE_IMAGE)
        path = wanted.names if isinstance(wanted.path, tuple) else wanted.names[0]
        return cls(store, path, tracing.preparation if looks else None)

    def check(self, dataset: Iterable[Any]) -> None:
        """Name all images of a data set that are not in the store, as far as that is known without reading one.

        Raises:
            ImageError: there are some.
        """
        listed = [item.image for item in dataset.items] if isinstance(dataset, Dataset) else []
        listed += map(image_of, dataset) if isinstance(dataset, list | tuple) else []
        files = [image for image in map(unwrapped, listed) if isinstance(image, str | os.PathLike)]
        self._refuse([file for file in files if os.path.abspath(file) not in self.store.known])

    def traced_beside(
        self,
        groups: Iterable[Iterable[tuple[Any, Beside]]],
        unreadable: Callable[[Beside, ImageError], object],
        first: Callable[[Beside], object] = nothing,
    ) -> Generator[tuple[Beside, Trace]]:
        """Do what `progress.traced_beside` does.

        Raises:
            ImageError: images that are not in the store as they are now.
        """
        for group in groups:
            numbered = []
            for image, beside in group:
                try:
                    first(beside)
                    numbered.append((image, beside, self.store.recognise(image)))
                except ImageError as error:
                    unreadable(beside, error)
            self._refuse([image for image, _, number in numbered if number is None])
            for image, beside, number in numbered:
                if number is not None:
                    yield beside, self._trace(image, number)

    def _trace(self, image: Any, number: int) -> Trace:
        trace = self.store.trace(number, path=self.path)
        if self.preparation is None:
            return trace
        prepared = self.preparation.of(image)
        pixels = None if prepared.inputs is None else torch.from_numpy(prepared.inputs)
        return trace.with_pixels(pixels, prepared.image)

    def _refuse(self, missing: Sequence[Any]) -> None:
        if missing:
            names = [describe(image) for image in missing[:_NAMED]]
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            got = f"{many(len(missing), 'image')} not in {short_name(self.store.folder)} as they are now"
            fix = f"Encode them into the same folder, {_HOW}."
            raise ImageError(f"{got}: {', '.join(names)}{more}", expected="images that were encoded", fix=fix)


def _refuse_parts(store: FeatureStore, keep: frozenset[str], keys: str, layers: Sequence[str]) -> None:
    lacking = sorted(keep - {*store.keep, *_OF_THE_IMAGE})
    lacking += ["keys"] if keys else []
    lacking += [f"layers {', '.join(layers)}"] if layers else []
    if lacking:
        got = f"{', '.join(lacking)} of a store of {', '.join(store.keep)}"
        fix = "Keys, layers, attention and contributions take a forward pass: leave features out."
        fix = fix if lacking != ["dense"] else f"Encode into another folder, {_HOW}."
        raise LayerError(got, expected="what was encoded", fix=fix)


def _refuse_paths(store: FeatureStore, asked: Mapping[str, str]) -> None:
    for name, fingerprint in asked.items():
        if store.path_fingerprints.get(name) != fingerprint:
            other = ", of other switches," if name in store.path_fingerprints else ""
            got = f"path {name!r}{other} of {short_name(store.folder)}, which holds {', '.join(store.paths)}"
            raise LayerError(got, expected="paths that were encoded", fix=f"Encode into another folder, {_HOW}.")
