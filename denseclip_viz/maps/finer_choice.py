"""Which finer grids an option asks for: `finer="guided"`, `finer=["guided:8", student]`, `finer={"mine": function}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from denseclip_viz.errors import GeometryError, PromptError
from denseclip_viz.maps.finer import HasTower, guided, shifted
from denseclip_viz.trace import Trace


class Successor(Protocol):
    """Somebody who answers in a model's place, such as a `plus.Student`."""

    def trace(self, trace: Trace) -> Trace:
        """Put features of its own into a trace."""


@dataclass(frozen=True)
class Finer:
    """One way to a grid of its own.

    Attributes:
        name: What it is called.
        make: From a model and a trace of it to a trace of that grid.
        replaces: Whether its features stand in the place of those of a path.
        passes: Whether it makes passes of the model, and so takes more than a trace.
    """

    name: str
    make: Callable[[HasTower, Trace], Trace]
    replaces: bool = False
    passes: bool = False

    def of(self, model: HasTower, trace: Trace) -> Trace:
        """Bring a trace of a model to that grid.

        Raises:
            GeometryError: A function of somebody's own that gives something else, or other paths.
        """
        fine: Any = self.make(model, trace)
        if not isinstance(fine, Trace):
            got, fix = f"{self.name} of a trace that gave a {type(fine).__name__}", "Return what maps.upsampled gives."
            raise GeometryError(got, expected="a trace", fix=fix)
        if not self.replaces and fine.paths != trace.paths:
            got = f"{self.name} of a trace of {', '.join(trace.paths)} that gave one of {', '.join(fine.paths)}"
            fix = "Pass the student, not its trace method, or return dense features of every path."
            raise GeometryError(got, expected="the same paths", fix=fix)
        return fine

    def names(self, names: Sequence[str], paths: Sequence[str]) -> list[str]:
        """Say what candidates are called there; where they are the path, whoever replaces that has its place.

        Example:
            >>> guide = Finer("guided", guided)
            >>> guide.names(["value"], ["value"]), Finer("student", guided, replaces=True).names(["value"], ["value"])
            (['value, guided'], ['student'])
        """
        alone = self.replaces and list(names) == list(paths)
        return [self.name] if alone else [f"{name}, {self.name}" for name in names]


OneFiner = str | Callable[[Trace], Trace] | Successor | Finer
FinerLike = OneFiner | Sequence[OneFiner] | Mapping[str, OneFiner]


def _guided(_: HasTower, trace: Trace, **options: Any) -> Trace:
    return guided(trace, **options)


def _by(function: Callable[[Trace], Trace], _: HasTower, trace: Trace) -> Trace:
    return function(trace)


_NAMED: Mapping[str, Callable[..., Trace]] = {"guided": _guided, "shifted": shifted}


def choose_finer(value: FinerLike | None) -> tuple[Finer, ...]:
    """Find the ways that an option names, with the factor behind a colon, or that it gives.

    Raises:
        GeometryError: Something else, or one name twice.

    Example:
        >>> [way.name for way in choose_finer(["guided:8", "shifted"])]
        ['guided:8', 'shifted']
    """
    if value is None:
        return ()
    listed: Any = value if isinstance(value, list | tuple) else [value]
    pairs = list(value.items()) if isinstance(value, Mapping) else [("", one) for one in listed]
    chosen = tuple(_one(str(name), one) for name, one in pairs)
    names = [one.name for one in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        fix = "Name them yourself: finer={'mine': function}."
        raise GeometryError(f"finer grid {twice[0]!r} twice", expected="each name once", fix=fix)
    return chosen


def runs_again(value: FinerLike | None) -> bool:
    """Tell whether a finer grid is made by passes of the model.

    Example:
        >>> runs_again("shifted"), runs_again("guided"), runs_again(None)
        (True, False, False)
    """
    return any(each.passes for each in choose_finer(value))


def unsmoothed(value: FinerLike | None, smooth: str) -> tuple[Finer, ...]:
    """Choose as `choose_finer` does, and refuse finer grids of scores that are smoothed by keys.

    Raises:
        PromptError: both are asked for.
    """
    chosen = choose_finer(value)
    if chosen and smooth:
        got, fix = f"finer grids of scores smoothed by keys ({smooth})", "Smooth nothing, or take no finer grid."
        raise PromptError(got, expected="one of the two: keys are those of the coarse grid", fix=fix)
    return chosen


def on_finer_grid(model: HasTower, trace: Trace, value: FinerLike | None, smooth: str) -> Trace:
    """Bring a trace to the one grid that an option asks for; without one it is itself.

    Raises:
        GeometryError: several grids.
        PromptError: a grid for scores that are smoothed by keys.
    """
    chosen = unsmoothed(value, smooth)
    if len(chosen) > 1:
        got, fix = f"{len(chosen)} finer grids: {', '.join(one.name for one in chosen)}", "Ask once for each."
        raise GeometryError(got, expected="one", fix=fix)
    return chosen[0].of(model, trace) if chosen else trace


def _one(name: str, value: Any) -> Finer:
    if isinstance(value, Finer):
        return value
    if isinstance(value, str):
        kind, colon, factor = value.partition(":")
        if kind in _NAMED and (not colon or factor.isdecimal()):
            make = partial(_NAMED[kind], **({"factor": int(factor)} if colon else {}))
            return Finer(name or value, make, passes=kind == "shifted")
    elif callable(getattr(value, "trace", None)):
        return Finer(name or type(value).__name__.lower(), partial(_by, value.trace), replaces=True)
    elif callable(value):
        function = getattr(value, "func", value)  # of a partial
        return Finer(name or getattr(function, "__name__", type(function).__name__), partial(_by, value))
    expected = "'guided', 'shifted', either with its factor, as in 'guided:8', a function of a trace, or a student"
    raise GeometryError(f"finer={value!r}", expected=expected, fix="Try finer='guided'.")
