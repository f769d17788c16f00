"""Images of which it is known what stands where: two things at a distance, together and alone, and mosaics of four."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from denseclip_viz.datasets.example import Example, classes_named
from denseclip_viz.errors import PromptError
from denseclip_viz.images import read
from denseclip_viz.toyworld.layout import grounded, light, sample, stuff_layers, stuff_names, thing
from denseclip_viz.toyworld.rng import Rng, pick, shuffled, stream
from denseclip_viz.toyworld.scene_plan import Plan
from denseclip_viz.toyworld.scenes import DRAWN, LARGEST, SMALLEST, render
from denseclip_viz.toyworld.vocabulary import FAMILIES, KINDS, noun_phrase
from denseclip_viz.toyworld.world import seed_of
from denseclip_viz.validation import many

PAIR = TOGETHER, FIRST, SECOND = 0, 1, 2
MOSAIC = 3
"""What an image shows: both of a pair, one of them alone, or the things of a mosaic."""
MOST = 4  # things of one image
_KIND = 3  # of seeds: a range of its own, behind those of scenes, siblings and words
_TRIALS, _MISS = 4096, 0.02  # places that are tried for two things, and how far from the distance they may be
Pixels = NDArray[np.uint8]
Place = tuple[float, float]
Shape = tuple[float, float]
Masks = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Arrangement(Example):
    """An image of things whose places are known; a thing that is left out still has its place.

    Attributes:
        shows: `TOGETHER`, `FIRST`, `SECOND` or `MOSAIC`.
        number: Which pair or mosaic it is of.
        distance: Between the two, edge to edge, as a share of the image's side; NaN in a mosaic.
        size: Of each thing, the root of its box's area as a share of the side; NaN in a mosaic.
    """

    shows: int = MOSAIC
    number: int = 0
    distance: float = float("nan")
    size: float = float("nan")

    @property
    def names(self) -> tuple[str, ...]:
        """What stands there, in order."""
        return tuple(self.masks or ())

    @property
    def texts(self) -> tuple[str, ...]:
        """What is asked: each thing by itself, and in a mosaic the first two, three, … in one text."""
        joint = [joint_text(self.names[:count]) for count in range(2, len(self.names) + 1)]
        return self.names + tuple(joint if self.shows == MOSAIC else ())


def joint_text(names: Sequence[str]) -> str:
    """Name several things in one text.

    Example:
        >>> joint_text(["a taxi", "a whale", "an oak"])
        'a taxi, a whale and an oak'
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


class Cast(Protocol):
    """What things there are, and how they are drawn."""

    @property
    def names(self) -> Sequence[str]:
        """The prompts that name them."""

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """Which two stand in one image."""

    def pair(self, number: int, names: tuple[str, str], distance: float, size: float) -> Iterator[tuple[Any, Masks]]:
        """Draw both, the first alone and the second alone, with what is where."""

    def mosaic(self, number: int) -> tuple[Any, Masks]:
        """Draw up to four things, each in a quadrant."""


@dataclass(frozen=True)
class Arrangements:
    """A data set: pairs over all distances and sizes, three images each, then mosaics; drawn when reached.

    Attributes:
        cast: What is drawn.
        scenes: How many pairs.
        mosaics: How many mosaics.
        levels: Each distance with each size.
    """

    cast: Cast
    scenes: int
    mosaics: int
    levels: tuple[tuple[float, float], ...]

    def __len__(self) -> int:
        return 3 * self.scenes + self.mosaics

    def __iter__(self) -> Iterator[Arrangement]:
        pairs = self.cast.pairs
        for number in range(self.scenes):
            turn, level = divmod(number, len(self.levels))
            names, (distance, size) = pairs[(number + turn) % len(pairs)], self.levels[level]
            for shows, (image, masks) in zip(PAIR, self.cast.pair(number, names, distance, size), strict=True):
                name = " and ".join(names) if shows == TOGETHER else f"{names[shows - FIRST]} alone"
                facts: dict[str, Any] = {"number": number, "distance": distance, "size": size}
                yield Arrangement(f"{number} {name}", image, masks, shows=shows, **facts)
        for number in range(self.mosaics):
            image, masks = self.cast.mosaic(number)
            yield Arrangement(f"mosaic {number} {joint_text(list(masks))}", image, masks, number=number)


def levels_of(distances: Sequence[float], sizes: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Combine each distance with each size."""
    return tuple(product(map(float, distances), map(float, sizes)))


def two_places(rng: Rng, shapes: Sequence[Shape], distance: float) -> tuple[Place, Place]:
    """Draw the middles of two boxes that lie so far apart, edge to edge, both in the image.

    Args:
        rng: Draws them.
        shapes: Their widths and heights, shares of the image's side.
        distance: A share of the side too.

    Raises:
        PromptError: There is no room for them.

    Example:
        >>> (a, b), (c, d) = two_places(stream(0), [(0.2, 0.2), (0.2, 0.2)], 0.3)
        >>> bool(abs(np.hypot(max(abs(a - c) - 0.2, 0), max(abs(b - d) - 0.2, 0)) - 0.3) < 0.02)
        True
    """
    wide = np.asarray(shapes)
    at = wide / 2 + rng.random((_TRIALS, 2, 2)) * (1 - wide).clip(0)
    gaps = (np.abs(at[:, 0] - at[:, 1]) - wide.sum(0) / 2).clip(0)
    far = np.hypot(gaps[:, 0], gaps[:, 1])
    best = int(np.abs(far - distance).argmin())
    if wide.max() > 1 or abs(far[best] - distance) > _MISS:
        boxes = " and ".join(f"{width:.2f} × {height:.2f}" for width, height in wide)
        got = f"No room for two things of {boxes} of the image at a distance of {distance:g}"
        raise PromptError(got, expected="two that fit side by side", fix="Pass smaller sizes or distances.")
    (a, b), (c, d) = at[best].tolist()
    return (a, b), (c, d)


def refuse_unseen(shown: Mapping[str, object], size: float) -> None:
    """Refuse things of which nothing is shown.

    Raises:
        PromptError: There are some.

    Example:
        >>> refuse_unseen({"a taxi": True, "a fox": False}, 0.001)
        Traceback (most recent call last):
        denseclip_viz.errors.PromptError: a fox of size 0.001, without a pixel. Expected things that are seen. ...
    """
    if unseen := [name for name, pixels in shown.items() if not pixels]:
        got = f"{unseen[0]} of size {size:g}, without a pixel"
        raise PromptError(got, expected="things that are seen", fix="Pass larger sizes.")


@dataclass(frozen=True)
class World:
    """Siblings of the bundled world, of one family each, with their exact masks.

    Attributes:
        pairs: Prompts of two kinds, such as `("a taxi", "a limousine")`.
        side: Pixels of an image's side.
    """

    pairs: tuple[tuple[str, str], ...]
    side: int

    @classmethod
    def of(cls, pairs: Sequence[Sequence[str]] | None, side: int) -> World:
        """Take pairs of kinds, by default all siblings, each once; the smallest and largest scenes limit the side.

        Raises:
            PromptError: a pair that is no two kinds.
        """
        side = min(max(side, SMALLEST), LARGEST)
        if pairs is None:
            every = [pair for kinds in FAMILIES.values() for pair in combinations(map(noun_phrase, kinds), 2)]
            return cls(tuple(shuffled(stream(_KIND), every)), side)
        known = [classes_named(pair, KINDS) for pair in map(tuple, pairs)]
        good = [len(pair) == len(set(kinds.values())) == 2 for pair, kinds in zip(pairs, known, strict=True)]
        if not good or not all(good):
            got = f"The pair {' and '.join(map(str, pairs[good.index(False)]))}" if good else "No pairs"
            fix = "toyworld.vocabulary() lists them."
            raise PromptError(got, expected="two kinds of the bundled world", fix=fix)
        named = [tuple(noun_phrase(KINDS[at]) for at in kinds.values()) for kinds in known]
        return cls(tuple((first, second) for first, second in named), side)

    @property
    def names(self) -> tuple[str, ...]:
        """All kinds, with their articles."""
        return tuple(map(noun_phrase, KINDS))

    def pair(self, number: int, names: tuple[str, str], distance: float, size: float) -> Iterator[tuple[Any, Masks]]:
        """Draw one plan three times: with both, and with each alone; light and ground stay."""
        seed = seed_of(number, "test", _KIND)
        rng = stream(seed)
        layers = stuff_layers(rng, stuff_names(rng))
        empty = Plan(layers, (), light(rng, layers))
        kinds = [KINDS[self.names.index(name)] for name in names]
        things = [replace(thing(rng, kind, surface="plain"), side=size, x=0.0, y=0.0) for kind in kinds]
        shapes = [(right - left, bottom - top) for left, top, right, bottom in (item.box for item in things)]
        places = two_places(rng, shapes, distance)
        placed = [grounded(empty, replace(item, x=x, y=y)) for item, (x, y) in zip(things, places, strict=True)]
        alone = [render(replace(empty, things=(item,)), seed, "test", self.side) for item in placed]
        refuse_unseen({name: scene.things for name, scene in zip(names, alone, strict=True)}, size)
        both = replace(empty, things=tuple(sorted(placed, key=lambda item: item.box[3])))
        masks = {name: scene.things[0].mask for name, scene in zip(names, alone, strict=True)}
        for scene in (render(both, seed, "test", self.side), *alone):
            yield scene, masks

    def mosaic(self, number: int) -> tuple[Any, Masks]:
        """Lay four scenes of one thing each, of four families, beside each other."""
        seed = seed_of(number, "test", _KIND + 1)
        rng, side = stream(seed), max(self.side // 2, SMALLEST)
        kinds = [pick(rng, FAMILIES[family]) for family in shuffled(rng, tuple(FAMILIES))[:MOST]]
        scenes = [render(sample(rng, kinds=[kind]), seed, "test", side) for kind in kinds]
        tiles = {noun_phrase(kind): scene.image for kind, scene in zip(kinds, scenes, strict=True)}
        image, masks = quadrants(rng, tiles)
        image.info["comment"] = DRAWN
        return image, masks


@dataclass(frozen=True)
class Photos:
    """A user's own images of one thing each, laid on a plain ground; a thing's mask is all of its image.

    Attributes:
        images: `{prompt: images}`.
        pairs: Which two stand in one image.
        side: Pixels of an image's side.
        ground: Its colour: what the model takes for zero.
    """

    images: Mapping[str, Sequence[Image.Image]]
    pairs: tuple[tuple[str, str], ...]
    side: int
    ground: tuple[int, int, int]

    @classmethod
    def of(cls, images: Any, pairs: Sequence[Sequence[str]] | None, side: int, ground: Sequence[float]) -> Photos:
        """Read images by prompt: `{prompt: image or images}`, or pairs of an image and its prompt.

        Raises:
            PromptError: fewer than two prompts, one without images, or a pair of others.
            ImageError: an image that cannot be read.
        """
        listed = [] if isinstance(images, Mapping) else list(images) if isinstance(images, Iterable) else [images]
        if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], str) for pair in listed):
            fix = "Say of each image which prompt names what is on it."
            raise PromptError("Images without their prompts", expected="{prompt: images}, or (image, prompt)", fix=fix)
        items = images.items() if isinstance(images, Mapping) else ((prompt, image) for image, prompt in listed)
        known: dict[str, list[Image.Image]] = {}
        for prompt, one in items:
            several = one if isinstance(one, (list, tuple)) else [one]
            known.setdefault(prompt, []).extend(map(read, several))
        if none := [prompt for prompt, several in known.items() if not several]:
            got, fix = f"No image of {none[0]!r}", "Leave it out, or pass one."
            raise PromptError(got, expected="an image of each prompt, at least", fix=fix)
        chosen = list(combinations(known, 2)) if pairs is None else [tuple(pair) for pair in pairs]
        wrong = next((pair for pair in chosen if len(set(pair)) != 2 or not set(pair) <= set(known)), None)
        if wrong is not None or not chosen:
            got = f"Images of {many(len(known), 'prompt')}" if wrong is None else f"The pair {wrong!r}"
            fix = 'Pass {"a taxi": [...], "a limousine": [...]}.'
            raise PromptError(got, expected="two prompts with images", fix=fix)
        red, green, blue = (round(255 * value) for value in ground)
        return cls(known, tuple((first, second) for first, second in chosen), side, (red, green, blue))

    @property
    def names(self) -> tuple[str, ...]:
        """The prompts."""
        return tuple(self.images)

    def pair(self, number: int, names: tuple[str, str], distance: float, size: float) -> Iterator[tuple[Any, Masks]]:
        """Lay two images, or one of them, on the ground."""
        images = [self._image(name, number) for name in names]
        stretched = [(image.width / image.height) ** 0.5 for image in images]
        shapes = [(size * wide, size / wide) for wide in stretched]
        middles = two_places(stream(number), shapes, distance)
        boxes = [self._box(*place) for place in zip(middles, shapes, strict=True)]
        masks = {name: self._mask(box) for name, box in zip(names, boxes, strict=True)}
        refuse_unseen({name: mask.any() for name, mask in masks.items()}, size)
        for shown in ((0, 1), (0,), (1,)):
            canvas = Image.new("RGB", (self.side, self.side), self.ground)
            for at in shown:
                left, top, right, bottom = boxes[at]
                canvas.paste(images[at].resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
            yield canvas, masks

    def mosaic(self, number: int) -> tuple[Any, Masks]:
        """Lay an image of each of up to four prompts in a quadrant, its middle cut out as a square."""
        rng, half = stream(number, 1), (self.side // 2, self.side // 2)
        names = shuffled(rng, self.names)[:MOST]
        tiles = {name: np.asarray(ImageOps.fit(self._image(name, number), half)) for name in names}
        return quadrants(rng, tiles, self.ground)

    def _image(self, name: str, number: int) -> Image.Image:
        return self.images[name][number % len(self.images[name])]

    def _box(self, middle: Place, shape: Shape) -> tuple[int, int, int, int]:
        left, top, right, bottom = (
            round(self.side * (middle[axis] + sign * shape[axis] / 2)) for sign in (-1, 1) for axis in (0, 1)
        )
        return left, top, right, bottom

    def _mask(self, box: tuple[int, ...]) -> NDArray[np.bool_]:
        mask = np.zeros((self.side, self.side), bool)
        left, top, right, bottom = box
        mask[top:bottom, left:right] = True
        return mask


def quadrants(
    rng: Rng, tiles: Mapping[str, Pixels], ground: Sequence[int] = (128, 128, 128)
) -> tuple[Image.Image, Masks]:
    """Lay up to four square images in quadrants that are drawn; each name's mask is the quadrant of its image.

    Example:
        >>> image, masks = quadrants(stream(0), {"a taxi": np.zeros((2, 2, 3), np.uint8)})
        >>> image.size, float(masks["a taxi"].mean())
        ((4, 4), 0.25)
    """
    side = len(next(iter(tiles.values())))
    canvas, masks = np.full((2 * side, 2 * side, 3), ground, np.uint8), {}
    for (name, tile), place in zip(tiles.items(), shuffled(rng, range(MOST)), strict=False):
        row, column = (side * at for at in divmod(place, 2))
        here = slice(row, row + side), slice(column, column + side)
        canvas[here], masks[name] = tile, np.zeros((2 * side, 2 * side), bool)
        masks[name][here] = True
    return Image.fromarray(canvas), masks
