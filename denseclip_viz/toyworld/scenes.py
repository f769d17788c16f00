"""A scene: an image with its truth, read off the drawing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.errors import ImageError
from denseclip_viz.html import join_names, repr_html, thumbnail
from denseclip_viz.toyworld import captions
from denseclip_viz.toyworld.claims import Thing, holds, parse
from denseclip_viz.toyworld.draw import Drawing, draw
from denseclip_viz.toyworld.rng import integer, stream
from denseclip_viz.toyworld.scene_plan import Plan, ThingPlan
from denseclip_viz.toyworld.vocabulary import CLASSES

SMALLEST, LARGEST = 64, 512
_NAMED_THING, _NAMED_STUFF = 0.4, 0.05


DRAWN = "drawn by denseclip_viz.toyworld"
"""The comment in a scene's image file, by which it is known when it is read again."""


@dataclass(frozen=True, eq=False)
class Scene:
    """An image of the bundled world with its exact truth.

    ``image`` is (row, column, rgb) uint8; ``things`` are ordered from the nearest; ``stuff`` are masks
    (row, column) of what is seen of each stuff, from the back. Every pixel belongs to exactly one thing or
    stuff. ``words`` are those that the scene was asked for in, if it was.

    Example:
        >>> from denseclip_viz.toyworld import scene
        >>> road = scene("a taxi on a road", 64)
        >>> road.image.shape, [thing.kind for thing in road.things], "road" in road.stuff
        ((64, 64, 3), ['taxi'], True)
    """

    seed: int
    split: str
    image: NDArray[np.uint8] = field(repr=False)
    things: tuple[Thing, ...]
    stuff: Mapping[str, NDArray[np.bool_]] = field(repr=False)
    plan: Plan = field(repr=False)
    words: str = ""
    classes = CLASSES  # what `labels` counts

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.image.shape[0])

    def labels(self) -> NDArray[np.int16]:
        """Return the class of every pixel, (row, column) int16: an index into ``vocabulary().classes``.

        Example:
            >>> from denseclip_viz.toyworld import scene
            >>> some = scene(7, 64)
            >>> bool((some.labels() >= 0).all())
            True
        """
        classes = np.zeros((self.size, self.size), np.int16)
        for name, mask in self.stuff.items():
            classes[mask] = CLASSES.index(name)
        for thing in self.things:
            classes[thing.mask] = CLASSES.index(thing.kind)
        return classes

    def caption(self, seed: int = 0, *, brief: bool = False, negated: bool = False) -> str:
        """Write one of many true captions; a brief one names one thing or stuff, a negated one something missing.

        Example:
            >>> from denseclip_viz.toyworld import scene
            >>> scene(7, 64).caption(1) == scene(7, 64).caption(1)
            True
        """
        things = [thing for thing in self.things if thing.visible >= _NAMED_THING]
        area = self.size * self.size
        stuff = [name for name, mask in self.stuff.items() if mask.sum() >= _NAMED_STUFF * area] or list(self.stuff)
        seed = integer(seed, "The seed", least=0)
        if negated:
            rng = stream(self.seed, seed, 3)
            return captions.negated(rng, self.things, list(self.stuff), more=captions.brief(rng, things, stuff))
        rng = stream(self.seed, seed, 2 if brief else 1)
        return captions.brief(rng, things, stuff) if brief else captions.caption(rng, things, stuff, side=self.size)

    def captions(self, n: int = 5) -> tuple[str, ...]:
        """Return the first ``n`` captions that differ, fewer where there are no more.

        Example:
            >>> from denseclip_viz.toyworld import scene
            >>> len(scene(7, 64).captions(3))
            3
        """
        distinct: dict[str, None] = {}
        for seed in range(20 * integer(n, "The number of captions", least=0)):
            distinct.setdefault(self.caption(seed))
            if len(distinct) == n:
                break
        return tuple(distinct)

    def says(self, text: str) -> bool:
        """Tell whether a caption is true of this scene.

        Example:
            >>> from denseclip_viz.toyworld import scene
            >>> scene("a taxi on a road", 64).says("a bus")
            False
        """
        return holds(parse(text), self.things, list(self.stuff), side=self.size)

    def resized(self, size: int) -> Scene:
        """Draw the same scene anew at another size.

        Example:
            >>> from denseclip_viz.toyworld import scene
            >>> scene(7, 64).resized(128).image.shape
            (128, 128, 3)
        """
        return replace(render(self.plan, self.seed, self.split, checked_size(size)), words=self.words)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.image).save(buffer, "png")
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        area = self.size * self.size
        facts = {
            "things": join_names([f"{thing.colour} {thing.kind} {_share(thing.mask, area)}" for thing in self.things]),
            "stuff": join_names([f"{name} {_share(mask, area)}" for name, mask in self.stuff.items()]),
            "size": f"{self.size} × {self.size} pixels, seed {self.seed}, {self.split}",
        }
        preview, after = thumbnail(self.image, longest=self.size, quality=92), "model.compare(scene, prompts)"
        return repr_html(self.words or self.caption(), facts, image=preview, after=after, width=max(self.size, 240))


def _share(mask: NDArray[np.bool_], area: int) -> str:
    return f"{np.count_nonzero(mask) / area:.0%}"


def checked_size(size: int) -> int:
    """Return the size, if a scene can be drawn so.

    Raises:
        ImageError: On a size outside 64 to 512.
    """
    if not SMALLEST <= integer(size, "The size") <= LARGEST:
        raise ImageError(
            f"A scene of {size} pixels", expected=f"{SMALLEST} to {LARGEST}", fix="Pick a size in between."
        )
    return integer(size, "The size")


def render(plan: Plan, seed: int, split: str, size: int) -> Scene:
    """Draw a plan and read its truth off the drawing."""
    drawing = draw(plan, size)
    layers = len(plan.stuff)
    things: list[Thing] = []
    for place in range(len(plan.things) - 1, -1, -1):
        thing = _thing(drawing, plan, plan.things[place], layers + place, len(things))
        if thing is not None:
            things.append(thing)
    masks = {layer.name: drawing.owner == k for k, layer in enumerate(plan.stuff)}
    stuff = {name: _fixed(mask) for name, mask in masks.items() if mask.any()}
    image = drawing.image
    image.flags.writeable = False
    return Scene(seed, split, image, tuple(things), stuff, plan)


def _thing(drawing: Drawing, plan: Plan, item: ThingPlan, owner: int, depth: int) -> Thing | None:
    """Read a thing off the drawing; return None where nothing of it is visible."""
    mask = drawing.owner == owner
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    visible = min(float(np.count_nonzero(mask)) / max(drawing.own[owner - len(plan.stuff)], 1), 1.0)
    on = _below(drawing.ground, plan, item)
    return Thing(item.kind, item.colour, item.surface, item.size, box, depth, on, visible, _fixed(mask))


def _below(ground: NDArray[np.uint8], plan: Plan, item: ThingPlan) -> str | None:
    """Name the stuff at the foot of a thing, where it is the same a little to every side."""
    size = ground.shape[0]
    foot = min(item.box[3], 1.0)
    steps = ((0.0, 0.0), (-0.03, 0.0), (0.03, 0.0), (0.0, -0.04), (0.0, 0.03))
    at = {
        int(ground[min(max(int((foot + dy) * size), 0), size - 1), min(max(int((item.x + dx) * size), 0), size - 1)])
        for dx, dy in steps
    }
    return plan.stuff[at.pop()].name if len(at) == 1 else None


def _fixed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask.flags.writeable = False
    return mask
