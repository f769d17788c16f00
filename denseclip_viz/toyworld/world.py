"""Scenes from numbers and words, one, many or as a folder of PNG files; the splits never share a scene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from denseclip_viz.errors import PromptError
from denseclip_viz.files import atomic_folder
from denseclip_viz.toyworld.claims import Claims, holds, parse
from denseclip_viz.toyworld.layout import BACKS, MOST_THINGS, sample, stage
from denseclip_viz.toyworld.rng import integer, pick, stream
from denseclip_viz.toyworld.scenes import DRAWN, Scene, checked_size, render
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES, STUFF

SPLITS = ("train", "validation", "test")
_SCENES, _SIBLINGS, _WORDS = 0, 1, 2
_NUMBERS = 1 << 40
_CAPTIONS = 5


@dataclass(frozen=True)
class Scenes(Sequence[Scene]):
    """Scenes that are drawn when they are reached.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.Scenes(range(10), "test", 64)
        >>> len(scenes), len(scenes[2:5]), scenes[0].size
        (10, 3, 64)
    """

    numbers: range
    split: str
    size: int
    siblings: int = 0

    @property
    def name(self) -> str:
        """Say which data set this is."""
        return "toyworld"

    @property
    def classes(self) -> tuple[str, ...]:
        """Name what labels count: all classes of the world."""
        return CLASSES

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Say what each class is called in prompts."""
        return tuple((name,) for name in CLASSES)

    @property
    def background(self) -> None:
        """Say that no class is all the rest: what is behind things has a name here."""

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, item: int) -> Scene: ...

    @overload
    def __getitem__(self, item: slice) -> Scenes: ...

    def __getitem__(self, item: int | slice) -> Scene | Scenes:
        if isinstance(item, slice):
            return Scenes(self.numbers[item], self.split, self.size, self.siblings)
        return self._draw(self.numbers[item])

    def __iter__(self) -> Iterator[Scene]:
        return (self._draw(number) for number in self.numbers)

    def _draw(self, number: int) -> Scene:
        if self.siblings:
            return _sibling_scene(seed_of(number, self.split, _SIBLINGS), self.split, self.size)
        return scene(number, self.size, split=self.split)


def seed_of(number: int, split: str, kind: int = _SCENES) -> int:
    """Return the seed of a numbered scene: every split and every kind of scene has a range of its own.

    Raises:
        PromptError: On a split that does not exist, or a number outside of its range.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.toyworld.seed_of(3, "train"), dcv.toyworld.seed_of(3, "test") > 2**40
        (3, True)
    """
    if split not in SPLITS:
        raise PromptError(f"The split {split!r}", expected=" or ".join(SPLITS), fix="Name one of them.")
    if not 0 <= integer(number, "Scene number") < _NUMBERS:
        raise PromptError(f"Scene number {number}", expected="0 to 2**40 - 1", fix="Pick another number.")
    return (SPLITS.index(split) << 48) + (kind << 40) + integer(number, "Scene number")


def scene(source: int | str, size: int = 160, *, split: str = "train", variant: int = 0) -> Scene:
    """Draw a scene from its number, or one of which words are true.

    Args:
        source: A number from 0, or words such as "a taxi left of a limousine on a road".
        size: Pixels a side, 64 to 512; the same source gives the same scene at every size.
        split: ``train``, ``validation`` or ``test``; the same number is another scene in each.
        variant: For words: another scene of the same words.

    Returns:
        The scene: its image, masks, things and captions.

    Raises:
        PromptError: On unknown words, words that cannot be drawn together, or a split that does not exist.
        ImageError: On a size that cannot be drawn.

    Example:
        >>> import denseclip_viz as dcv
        >>> some = dcv.toyworld.scene("a striped blue fish next to a taxi, on grass", 64)
        >>> sorted(thing.kind for thing in some.things)
        ['fish', 'taxi']
    """
    size = checked_size(size)
    if isinstance(source, str):
        return _from_words(source, size, split, variant)
    if variant != 0:
        fix = "Take another number for another scene, or say what is to be on it."
        raise PromptError(f"variant={variant!r} for a numbered scene", expected="words with a variant", fix=fix)
    seed = seed_of(source, split)
    return render(sample(stream(seed)), seed, split, size)


def dataset(n: int, split: str = "train", *, size: int = 160, first: int = 0) -> Scenes:
    """Return the scenes ``first`` to ``first + n - 1`` of a split; each is drawn when it is reached.

    Example:
        >>> import denseclip_viz as dcv
        >>> scenes = dcv.toyworld.dataset(1000, "test", size=64)
        >>> len(scenes), scenes[3].split
        (1000, 'test')
    """
    return Scenes(_range(n, first, split), split, checked_size(size))


def sibling_scenes(n: int, split: str = "train", *, size: int = 160, first: int = 0) -> Scenes:
    """Return scenes with two different siblings of one family, both well seen, such as a taxi and a limousine.

    Example:
        >>> import denseclip_viz as dcv
        >>> len(dcv.toyworld.sibling_scenes(2, "test", size=64)[0].things)
        2
    """
    return Scenes(_range(n, first, split), split, checked_size(size), siblings=1)


def export(folder: str | Path, n: int, *, split: str = "test", size: int = 160, first: int = 0) -> Path:
    """Write scenes as ``images/*.png``, ``masks/*.png``, ``captions.jsonl`` and ``classes.txt``.

    A mask is a palette PNG of class indices; line i of ``classes.txt``, counted from 0, names class i.
    The folder appears when all of it is written, and not before; what an export that was killed has left beside it is
    removed.

    Returns:
        The folder.

    Raises:
        OutputError: If the folder exists, or its parent does not.
        PromptError: On a split or numbers that do not exist.
        ImageError: On a size that cannot be drawn.

    Example:
        >>> import denseclip_viz as dcv
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     sorted(p.name for p in dcv.toyworld.export(f"{place}/toy", 2, size=64).iterdir())
        ['captions.jsonl', 'classes.txt', 'images', 'masks']
    """
    scenes = dataset(n, split, size=size, first=first)
    with atomic_folder(folder) as part:
        _write_all(scenes, part)
    return Path(folder)


def _write_all(scenes: Iterable[Scene], folder: Path) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir()
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    with (folder / "captions.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for number, drawn in enumerate(scenes):
            lines.write(json.dumps(_write(folder, f"{number:06d}.png", drawn)) + "\n")


def _range(n: int, first: int, split: str) -> range:
    if integer(n, "The number of scenes") < 0:
        raise PromptError(f"{n} scenes", expected="a number of scenes from 0", fix="Ask for at least 0.")
    seed_of(first, split)
    seed_of(max(first + n - 1, 0), split)
    return range(first, first + n)


def _sibling_scene(seed: int, split: str, size: int) -> Scene:
    """Try layouts until both siblings are well seen."""
    rng = stream(seed)
    kinds = FAMILIES[pick(rng, tuple(FAMILIES))]
    one = pick(rng, kinds)
    pair = [one, pick(rng, [kind for kind in kinds if kind != one])]
    for attempt in range(50):
        drawn = render(sample(stream(seed, attempt), kinds=pair), seed, split, size)
        if len(drawn.things) == 2 and min(thing.visible for thing in drawn.things) > 0.6:
            break
    return drawn


def _from_words(text: str, size: int, split: str, variant: int) -> Scene:
    claims = parse(text)
    _check_room(claims, text)
    digest = hashlib.sha256(f"{' '.join(text.lower().split())}/{integer(variant, 'The variant')}".encode()).digest()
    seed = seed_of(int.from_bytes(digest[:5], "big"), split, _WORDS)
    for attempt in range(30):
        plan = stage(claims, stream(seed, attempt))
        if plan is None:
            break
        drawn = render(plan, seed, split, size)
        visible = len(drawn.things) == len(claims.things) and all(thing.visible > 0.45 for thing in drawn.things)
        if visible and holds(claims, drawn.things, list(drawn.stuff), side=size):
            return replace(drawn, words=text)
    raise PromptError(
        f'No place for all of "{text}"', expected="words that can be true together", fix="Say less at once."
    )


def _check_room(claims: Claims, text: str) -> None:
    if len(claims.things) > MOST_THINGS:
        got = f'{len(claims.things)} things in "{text}"'
        raise PromptError(got, expected=f"at most {MOST_THINGS}", fix="Name fewer things.")
    backed = "mountains" not in claims.stuff or set(BACKS) & set(claims.stuff)
    if len(claims.stuff) > (3 if backed else 2):  # mountains without a back get a sky
        got = f'{len(claims.stuff)} stuffs in "{text}"'
        raise PromptError(got, expected=f"at most 3 of {', '.join(STUFF)}", fix="Name fewer of them.")


def _write(work: Path, name: str, drawn: Scene) -> dict[str, object]:
    """Write a scene's files; return its line of ``captions.jsonl``."""
    about = PngInfo()
    about.add_text("comment", DRAWN)
    Image.fromarray(drawn.image).save(work / "images" / name, pnginfo=about)
    mask = Image.fromarray(drawn.labels().astype(np.uint8)).convert("P")
    mask.putpalette(_palette())
    mask.save(work / "masks" / name)
    facts = ("kind", "colour", "surface", "size", "box", "depth")
    things = [{fact: getattr(thing, fact) for fact in facts} for thing in drawn.things]
    return {
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "seed": drawn.seed,
        "captions": drawn.captions(_CAPTIONS),
        "things": things,
        "stuff": list(drawn.stuff),
    }


def _palette() -> list[int]:
    """Return red, green and blue of every class, so that masks can be looked at."""
    shades = 60 + 190 * stream(21).random((len(CLASSES), 3))
    return [int(value) for value in shades.ravel()]
