"""Sizes that can be, or an error that names the one that cannot."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from denseclip_viz.errors import GeometryError

Size = tuple[int, int]


def pair(value: object, name: str, *, least: int = 1) -> Size:
    """Two whole numbers, as plain ints."""
    listed = value.tolist() if isinstance(value, np.ndarray) else value
    pair = tuple(listed) if isinstance(listed, (tuple, list)) else ()
    if len(pair) != 2 or not all(is_whole(n) for n in pair):
        expected, fix = "two whole numbers (height, width)", "Give the height first."
        raise GeometryError(f"{name}={value!r}", expected=expected, fix=fix)
    if not all(least <= n < 2**31 for n in pair):
        expected = f"numbers from {least} to 2**31 - 1"
        raise GeometryError(f"{name}={value!r}", expected=expected, fix="Check how it was computed.")
    return int(pair[0]), int(pair[1])


def is_whole(number: object) -> bool:
    """Whether this is a whole number and no boolean."""
    return isinstance(number, Integral) and not isinstance(number, bool)


def one_of(value: object, names: tuple[str, ...], what: str) -> None:
    """Refuse a name that is not among these."""
    if not isinstance(value, str) or value not in names:
        expected = f"one of {', '.join(names)}"
        raise GeometryError(f"{what}={value!r}", expected=expected, fix="Pick one of these.")
