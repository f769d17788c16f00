"""The rungs of a ladder: which there are, which of them a tower has, what each switches, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import accumulate
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denseclip_viz import arguments
from denseclip_viz.clip.dense_path import DensePath, Term
from denseclip_viz.clip.forward import ForwardOptions, decompose_checked, embed
from denseclip_viz.clip.paths import offers
from denseclip_viz.errors import LayerError
from denseclip_viz.measure.map_scores import Floats

if TYPE_CHECKING:
    from denseclip_viz.model import Model

# Each rung keeps what those before it switched. The two averages of SC-CLIP are one switch, since neither goes without
# the other; the class token stays among the keys, and the Gaussian stays, where SC-CLIP itself has neither.
_SWITCHES: dict[str, dict[str, Any]] = {
    "value": {},
    "no MLP": {"mlp": False},
    "no residual": {"residual": False},
    "k·k": {"attention": ("kk",)},
    "+ Gaussian": {"gaussian": 5.0},
    "+ similarity": {"attention": (Term("similar", 0.5, (9,)), Term("kk", 0.5))},
    "+ outliers": {"outliers": "density"},
    "+ smoothing": {"smooth": (9, 4)},
    "+ summed blocks": {"summed": (4, 10)},
    "+ class token": {"class_token": 0.3},
}
RUNGS: tuple[DensePath, ...] = tuple(
    accumulate(_SWITCHES, lambda path, name: replace(path, name=name, **_SWITCHES[name]), initial=DensePath("value"))
)[1:]
"""From the value path to all that SC-CLIP switches, a switch a rung; block numbers are of twelve."""


def offered_rungs(model: Model, paths: Sequence[str | DensePath] | None) -> tuple[list[DensePath], list[str]]:
    """Part the rungs into those that a tower has the switches for, and the names of the others.

    Raises:
        LayerError: It has fewer than two.
    """
    rungs = arguments.choose_paths([paths] if isinstance(paths, str | DensePath) else RUNGS if paths is None else paths)
    assert isinstance(rungs, tuple)
    chosen = [rung for rung in rungs if offers(model.tower, rung)]
    lacking = [rung.name for rung in rungs if rung not in chosen]
    if len(chosen) < 2:
        names = ", ".join(rung.name for rung in chosen) or "none"
        got = f"a ladder of which a tower with {model.tower.family} offers {names}"
        fix = f"Pass paths=[…] of what this tower has: {', '.join(model.paths)}."
        raise LayerError(got, expected="at least two rungs", fix=fix)
    return chosen, lacking


def costs(model: Model, rungs: Sequence[DensePath], turns: int) -> Floats:
    """Time passes that give one rung each, over a plain pass beside them: `(turn, rung)`.

    On the CPU it is the time that this process works, which other processes do not change.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, *model.preprocess.size, generator=generator)
    passes = [partial(decompose_checked, model.tower, pixels, ForwardOptions(path=rung)) for rung in rungs]
    works: list[Callable[[], object]] = [lambda: embed(model.tower, pixels).cpu(), *passes]
    clock = process_time if next(model.clip.parameters()).device.type == "cpu" else perf_counter
    seconds = np.array([[_seconds(work, clock) for work in works] for _ in range(turns and turns + 1)]).reshape(
        -1, len(works)
    )
    ratios: Floats = seconds[1:, 1:] / seconds[1:, :1]  # the first turn warms up
    return ratios


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def differences(model: Model, rungs: Sequence[DensePath]) -> dict[str, str]:
    """Name the rungs, and say of each what it switches; what a tower has not is not taken away either."""
    lacking = {"residual", "mlp"} - model.tower.switches
    words = (difference(before, rung, lacking) for before, rung in zip(rungs, rungs[1:], strict=False))
    return dict(zip((rung.name for rung in rungs), ("", *words), strict=True))


def difference(before: DensePath, path: DensePath, lacking: Collection[str] = ()) -> str:
    """Say what a path switches that the one before does not, but for switches that a tower is lacking.

    Example:
        >>> difference(RUNGS[0], RUNGS[1]), difference(RUNGS[4], RUNGS[5])
        ('mlp off', 'attention 0.5 similar (9) + 0.5 kk')
    """
    names = [field.name for field in fields(DensePath) if field.compare and field.name != "name"]
    unlike = [name for name in names if name not in lacking and getattr(before, name) != getattr(path, name)]
    return ", ".join(f"{name.replace('_', ' ')} {_in_words(getattr(path, name))}" for name in unlike)


def _in_words(value: Any) -> str:
    """Say what a switch is set to.

    Example:
        >>> [_in_words(value) for value in (True, 5.0, (9, 4), ("qq", Term("kk", 0.5, (7, 8))))]
        ['on', '5', '9, 4', 'qq + 0.5 kk (7, 8)']
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Term):
        weight = "" if value.weight == 1 else f"{value.weight:g} "
        return f"{weight}{value.kind}" + f" ({_in_words(value.blocks)})" * bool(value.blocks)
    if isinstance(value, tuple):
        return (", " if value and isinstance(value[0], int) else " + ").join(map(_in_words, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
