"""From an image as it comes to what a tower takes in; nothing here asks torch, so threads may do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.clip.prefetch import Pool, ahead
from denseclip_viz.clip.towers import Tower
from denseclip_viz.errors import GeometryError, ImageError, UntrainedImageWarning, warn
from denseclip_viz.geometry import Fit, Geometry, Preprocess, pixels
from denseclip_viz.images import ImageLike, describe, display, read_remarked, unwrapped


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image that was read, with its place in the tower's input.

    Attributes:
        geometry: Where its grid lies.
        name: What it is called in titles.
        provenance: What is known of the model, and a caution where the image is none that it was made for.
        image: `(row, column, rgb)` for figures; None where nobody wants it.
        inputs: `(3, H, W)`, normalised; of tiles None.
        upright: The image itself, of tiles.
        remark: What reading it would have warned of.
        place: Its number among those that came with it.
        group: The number of its group: images of two groups are never in one batch.
    """

    geometry: Geometry
    name: str
    provenance: Mapping[str, str | int]
    image: NDArray[np.uint8] | None
    inputs: NDArray[np.float32] | None
    upright: Image.Image | None
    remark: str = ""
    place: int = 0
    group: int = 0


def nothing(_: object) -> None:
    """Do nothing before an image is read."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How images are brought to a tower's input."""

    tower: Tower
    fit: Fit
    preprocess: Preprocess
    provenance: Mapping[str, str | int]
    shown: bool = True

    def of(self, image: ImageLike) -> Prepared:
        """Read an image, say what is to be said of it, and prepare it."""
        prepared = self._prepared(image, read_remarked(image))
        if prepared.remark:
            warn(prepared.remark)
        return prepared

    def of_many(
        self,
        groups: Iterable[Iterable[ImageLike]],
        unreadable: Callable[[ImageLike, ImageError], object] | None,
        pool: Pool,
        most: int,
        first: Callable[[int], object] = nothing,
    ) -> Iterator[Prepared]:
        """Prepare images of groups in order, in threads if there are any, `most` further than what was taken.

        `first` is called where an image is prepared, with its place and before the image is read: its `ImageError` is
        the image's.

        `unreadable` is called, in the caller's thread and in its turn, with an image that cannot be read and its error,
        and it is left out; by default the error is raised. The error has the `place` of the image.
        """
        numbered = ((group, image) for group, images in enumerate(groups) for image in images)
        begun = ((place, group, image, _if_in_memory(image)) for place, (group, image) in enumerate(numbered))
        for image, outcome in ahead(partial(self._outcome, first), begun, pool, most):
            if isinstance(outcome, Prepared):
                if outcome.remark:
                    warn(outcome.remark)
                yield outcome
            elif unreadable is None:
                raise outcome
            else:
                unreadable(image, outcome)

    def _outcome(
        self, first: Callable[[int], object], begun: tuple[int, int, ImageLike, Reading | ImageError | None]
    ) -> tuple[ImageLike, Outcome]:
        place, group, image, reading = begun
        try:
            first(place)
            reading = read_remarked(image) if reading is None else reading
            if not isinstance(reading, ImageError):
                return image, replace(self._prepared(image, reading), place=place, group=group)
        except ImageError as error:
            reading = error
        reading.place = place
        return image, reading

    def _plan(self, image: ImageLike, upright: Image.Image) -> Geometry:
        """Fit an image to the input; where it is this image that cannot be, as one too thin, name it."""
        plan = partial(self.fit.plan, preprocess=self.preprocess, cell=self.tower.cell)
        try:
            return plan((upright.height, upright.width))
        except GeometryError as error:
            with suppress(GeometryError):
                plan(self.preprocess.size)  # a fit that suits no image at all stays an error of its own
                raise ImageError(f"{describe(image)}: {error.got}", expected=error.expected, fix=error.fix) from error
            raise

    def _prepared(self, image: ImageLike, reading: Reading) -> Prepared:
        upright, remark = reading
        geometry = replace(self._plan(image, upright), shift=self.tower.shift("pool.input"))
        tiled = geometry.mode == "tiles"
        caution = caution_of(image, upright, self.provenance)
        return Prepared(
            geometry=geometry,
            name=describe(image),
            provenance={**self.provenance, **({"caution": caution} if caution else {})},
            image=display(upright) if self.shown else None,
            inputs=None if tiled else pixels(upright, geometry, self.preprocess),
            upright=upright if tiled else None,
            remark=remark,
        )


Reading = tuple[Image.Image, str]
Outcome = Prepared | ImageError


def _if_in_memory(image: ImageLike) -> Reading | ImageError | None:
    """Read what is in memory, or lazily opened, at once: whoever passes it may change or close it. Leave files."""
    try:
        return None if isinstance(unwrapped(image), str | os.PathLike) else read_remarked(image)
    except ImageError as error:
        return error


def caution_of(image: ImageLike, upright: Image.Image, provenance: Mapping[str, str | int]) -> str:
    """Say of an image that it is none of the drawn scenes that alone a bundled model was trained on; else nothing."""
    if "trained_on" not in provenance:
        return ""
    from denseclip_viz.toyworld.scenes import DRAWN, Scene  # the world is not read for other models

    if isinstance(image, Scene) or upright.info.get("comment") in (DRAWN, DRAWN.encode()):
        return ""
    about = "{model} was trained on {trained_on} only".format(**provenance)
    return f"{about}: of other images its maps and scores mean nothing."


def warn_once(provenance: Mapping[str, str | int], done: set[str]) -> None:
    """Warn of the first image that the model is not made for; `done` keeps that it was said."""
    if "caution" not in done and "caution" in provenance:
        done.add("caution")
        warn(str(provenance["caution"]), UntrainedImageWarning)
