"""Numbers drawn from a seed, from ``Generator.random`` alone: its stream is the same on every platform."""

from collections.abc import Sequence
from contextlib import suppress
from math import inf
from operator import index
from typing import TypeVar

import numpy as np

from denseclip_viz.errors import PromptError

Rng = np.random.Generator
Item = TypeVar("Item")


def stream(*seed: int) -> Rng:
    """Create a generator that depends on the numbers given and on nothing else."""
    return np.random.Generator(np.random.PCG64(list(seed)))


def between(rng: Rng, low: float, high: float) -> float:
    """Draw a number between two others."""
    return low + (high - low) * float(rng.random())


def chance(rng: Rng, share: float) -> bool:
    """Draw True in ``share`` of the cases."""
    return float(rng.random()) < share


def pick(rng: Rng, items: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
    """Draw one of the items, each as likely as the others or as its weight says."""
    at = float(rng.random())
    if weights is None:
        return items[int(at * len(items))]
    at *= sum(weights)
    for item, weight in zip(items, weights, strict=True):
        at -= weight
        if at < 0:
            return item
    return items[-1]


def shuffled(rng: Rng, items: Sequence[Item]) -> list[Item]:
    """Return the items in another order."""
    return [items[int(i)] for i in np.argsort(rng.random(len(items)), kind="stable")]


def integer(value: object, name: str, *, least: float = -inf) -> int:
    """Take a whole number from `least`, of any type that counts.

    Raises:
        PromptError: On anything else.
    """
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        with suppress(TypeError):  # of arrays, which have it too
            if (number := index(value)) >= least:
                return number
    expected = "a whole number" + ("" if least == -inf else f" from {least}")
    raise PromptError(f"{name} {value!r}", expected=expected, fix="Pass an int.")
