"""Images and captions for training, in an order that the recipe alone decides; drawn in a process of their own."""

import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Queue
from threading import Thread
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.clip.load.bundled import TEMPLATES, compact_ids
from denseclip_viz.errors import WorkerError
from denseclip_viz.prompts import template_set
from denseclip_viz.toyworld.rng import Rng, chance, pick, stream
from denseclip_viz.toyworld.world import scene
from denseclip_viz.train.recipes import Recipe

_SIDES = {"left": "right", "right": "left"}
_AHEAD = 6


class Captioned(Protocol):
    """All that training asks of a scene: its image and what people say of it."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(row, column, rgb) uint8."""

    def caption(self, seed: int = 0, *, brief: bool = False, negated: bool = False) -> str:
        """Write one of many true captions."""


@dataclass(frozen=True)
class Sample:
    """An image, (row, column, rgb) uint8, and captions of it, one a use and caption set."""

    image: NDArray[np.uint8]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """What a training step sees: ``images`` (image, row, column, rgb) uint8; ``tokens`` (set, image, token)."""

    images: NDArray[np.uint8]
    tokens: NDArray[np.int64]


def sample_of(scene: Captioned, captions: int, brief: int, uses: int, *, negated: int = 0) -> Sample:
    """Draw the image of a scene and, for each use, that many captions and brief ones, the last of these negated.

    Nothing else of the scene is read.

    Example:
        >>> from denseclip_viz.toyworld.world import scene
        >>> len(sample_of(scene(3, 64), 2, 1, uses=4).captions)
        12
    """
    texts: list[str] = []
    for use in range(uses):
        texts += [scene.caption(use * captions + k) for k in range(captions)]
        texts += [scene.caption(use * brief + k, brief=True, negated=k >= brief - negated) for k in range(brief)]
    return Sample(scene.image, tuple(texts))


def batches(recipe: Recipe, first: int = 0) -> Iterator[Batch]:
    """Draw the batches of a recipe from number ``first``; every batch depends on the recipe and its number alone.

    Example:
        >>> from denseclip_viz.train.recipes import recipe_of
        >>> next(batches(recipe_of("tiny"))).images.shape
        (8, 64, 64, 3)
    """
    start = 0
    for number, phase in enumerate(recipe.phases):
        if first < start + phase.steps:
            yield from _phase_batches(recipe, number, max(first - start, 0))
        start += phase.steps


def _phase_batches(recipe: Recipe, number: int, first: int) -> Iterator[Batch]:
    """Use each chunk of scenes several times, in another order and with other captions each time.

    The next chunk is drawn bit by bit between the batches of the one in use, so that no step waits for it.
    """
    phase = recipe.phases[number]
    per_pass = phase.chunk // phase.batch
    per_chunk = per_pass * phase.uses
    drawn: dict[int, list[Sample]] = {}
    for step in range(first, phase.steps):
        chunk, at = divmod(step, per_chunk)
        for old in [key for key in drawn if key < chunk]:
            del drawn[old]
        _draw_to(drawn, recipe, number, chunk, phase.chunk)
        yield _assemble(recipe, number, chunk, at, drawn[chunk])
        if (chunk + 1) * per_chunk < phase.steps:
            _draw_to(drawn, recipe, number, chunk + 1, -(-phase.chunk * (at + 1) // per_chunk))


def _draw_to(drawn: dict[int, list[Sample]], recipe: Recipe, number: int, chunk: int, count: int) -> None:
    phase = recipe.phases[number]
    samples = drawn.setdefault(chunk, [])
    base = recipe.first_scene + sum(p.scenes for p in recipe.phases[:number]) + chunk * phase.chunk
    while len(samples) < count:
        drawn_scene = scene(base + len(samples), phase.size, split="train")
        samples.append(sample_of(drawn_scene, recipe.captions, recipe.brief, phase.uses, negated=phase.negated))


def _assemble(recipe: Recipe, number: int, chunk: int, at: int, samples: list[Sample]) -> Batch:
    phase = recipe.phases[number]
    use, place = divmod(at, phase.chunk // phase.batch)
    order = np.argsort(stream(recipe.seed, number, chunk, use).random(phase.chunk), kind="stable")
    chosen = [samples[i] for i in order[place * phase.batch : (place + 1) * phase.batch]]
    rng = stream(recipe.seed, number, chunk, use, place)
    mirrored = [(sample, chance(rng, 0.5)) for sample in chosen]
    images = np.stack([sample.image[:, ::-1] if flip else sample.image for sample, flip in mirrored])
    positive = recipe.brief - phase.negated
    framed = [recipe.framed] * recipe.captions + [recipe.framed_brief] * positive + [0.0] * phase.negated
    sets = [
        [_phrase(rng, sample.captions[use * len(framed) + k], share, mirror=flip) for sample, flip in mirrored]
        for k, share in enumerate(framed)
    ]
    return Batch(images, tokens_of(sets))


def tokens_of(sets: list[list[str]]) -> NDArray[np.int64]:
    """Return rows of the trained token table (set, text, token), as long as the longest text, the rest zero.

    Example:
        >>> tokens_of([["a taxi", "a red taxi"]]).shape
        (1, 2, 5)
    """
    rows = [compact_ids(texts) for texts in sets]
    longest = max(len(row) for texts in rows for row in texts)
    return np.array([[row + [0] * (longest - len(row)) for row in texts] for texts in rows], np.int64)


def _phrase(rng: Rng, text: str, framed: float, *, mirror: bool) -> str:
    """Write the caption, now and then in one of the templates that zero-shot prompts use; sides swapped if mirrored."""
    if mirror:
        text = re.sub(r"\b(left|right)\b", lambda match: _SIDES[match[0]], text)
    body = re.match(r"an? (.*?)\.?$", text, re.IGNORECASE)
    if body is None or not chance(rng, framed):
        return text
    return pick(rng, template_set(TEMPLATES)).format(body[1])


@contextmanager
def drawn_ahead(recipe: Recipe, first: int = 0) -> Iterator[Iterator[Batch]]:
    """Draw the same batches in another process a few batches ahead.

    Raises:
        WorkerError: That process ended before the last batch, as it does at an interrupt of both.

    Example:
        >>> from denseclip_viz.train.recipes import recipe_of
        >>> with drawn_ahead(recipe_of("tiny")) as ahead:  # doctest: +SKIP
        ...     next(ahead).images.shape
        (8, 64, 64, 3)
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, recipe, first), daemon=True)
    process.start()
    there.close()
    queue: Queue[Batch | WorkerError | None] = Queue(_AHEAD)
    Thread(target=_receive, args=(here, queue), daemon=True).start()
    try:
        yield _taken(queue)
    finally:
        process.terminate()
        process.join()


def _send(there: Connection, recipe: Recipe, first: int) -> None:
    """End by itself when nobody listens any more, so that a killed training leaves no process behind."""
    try:
        for batch in batches(recipe, first):
            there.send((batch.images, batch.tokens))
        there.send(None)
    except (BrokenPipeError, KeyboardInterrupt):
        return


def _receive(here: Connection, queue: Queue[Batch | WorkerError | None]) -> None:
    try:
        while (got := here.recv()) is not None:
            queue.put(Batch(*got))
    except (EOFError, OSError):
        fix = 'In a script, call it below `if __name__ == "__main__":`, or pass ahead=False.'
        got = "The process that draws scenes ended before the last one"
        queue.put(WorkerError(got, expected="one that lives as long as the training", fix=fix))
    else:
        queue.put(None)


def _taken(queue: Queue[Batch | WorkerError | None]) -> Iterator[Batch]:
    while (batch := queue.get()) is not None:
        if isinstance(batch, WorkerError):
            raise batch
        yield batch
