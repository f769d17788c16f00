"""What a canvas shows: one flat table of named choices, checked against the result that it shows."""

import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.plot.scales import OPACITY
from denseclip_viz.validation import is_number

ENSEMBLE = "ensemble"  # the mean of the maps over templates
MEAN = "mean"  # of attention over heads
OUTPUT = "output"  # the pooling layer itself, as a choice beside the inner layers
AUTO = "auto"  # each view in its own colours
SEQUENTIAL, DIVERGING = ("viridis", "magma", "cividis"), ("RdBu_r", "PuOr_r")  # matplotlib's names
VIEWS = ("dense", "contribution", "attention", "gap", "attribution", "segments", "masks")
PICKED_BY = {"dense": "path", "segments": "path", "masks": "path", "attention": "head", "attribution": "method"}
"""What chooses among the maps of a view, beside prompt and template."""
DEFAULTS: dict[str, Any] = {
    "prompt": "",
    "template": "",
    "path": "",
    "layer": OUTPUT,
    "view": "dense",
    "head": MEAN,
    "method": "",
    "opacity": OPACITY,
    "threshold": None,
    "colours": AUTO,
    "interpolation": "bilinear",
    "hover": False,
    "pinned": None,
}
CONTROLS = (*(name for name in DEFAULTS if name != "pinned"), "keep")  # what `locked` may name
FRAGMENT = "#state="  # of a page's link, before a state as JSON

CHOICES = ("prompt", "template", "path", "layer", "view", "head", "method")  # None leaves each to the result


def opening(state: Mapping[str, Any] | str = "", **asked: Any) -> dict[str, Any]:
    """Take what a canvas or a page is asked to begin with, without choices that are left to the result.

    Of a whole state those names are replaced that are asked for by themselves, otherwise than by default.
    """
    whole = read_state(state) if state else {}
    left = {name: DEFAULTS[name] for name in whole} | dict.fromkeys(CHOICES)
    return whole | {name: value for name, value in asked.items() if name not in left or value != left[name]}


def read_state(given: Mapping[str, Any] | str) -> dict[str, Any]:
    """Read a state: as `Canvas.state` has it, some names of it, its JSON, or a page's link that holds it.

    Raises:
        ImageError: None of these.

    Example:
        >>> read_state('{"prompt": "a road"}'), read_state("page.html#state=%7B%22hover%22%3Atrue%7D")
        ({'prompt': 'a road'}, {'hover': True})
    """
    read: object = given
    if isinstance(given, str):
        try:
            read = json.loads(unquote(given.split(FRAGMENT, 1)[1]) if FRAGMENT in given else given)
        except ValueError:
            read = None
    if isinstance(read, list) and len(read) == 1:
        (read,) = read
    if isinstance(read, Mapping):
        return {str(name): value for name, value in read.items()}
    got, fix = f"state={reprlib.repr(given)}", "Copy it from a canvas: keep, state as JSON."
    raise ImageError(got, expected="a state of one canvas: a dict, its JSON, or a link with #state=", fix=fix)


def completed(
    given: Mapping[str, Any],
    before: Mapping[str, Any],
    choices: Mapping[str, Sequence[Any]],
    *,
    grid: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Lay what is given over the whole state before, and refuse what cannot be.

    `choices` is what the result offers for each name, empty while there is no result; `grid` are its cells (y, x).

    Raises:
        PromptError, LayerError, ImageError: a name or a value that is not there, by what it is about.
    """
    unknown = [name for name in given if name not in DEFAULTS]
    if unknown:
        fix = "See Canvas.state for the names and their values."
        raise ImageError(f"Canvas state {unknown[0]!r}", expected=f"one of {', '.join(DEFAULTS)}", fix=fix)
    for name, value in given.items():
        if name in choices:
            _check_offered(name, value, choices[name])
    if "pinned" in given and _is_cell(given["pinned"]) and not _is_inside(given["pinned"], grid):
        got, fix = f"Canvas state pinned={given['pinned']!r}", "Count from 0, from the top left."
        raise ImageError(got, expected=f"a cell of the grid {grid}", fix=fix)
    return {name: _typed(name, value) for name, value in {**before, **given}.items()}


def carry_over(
    state: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], *, grid: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Take of a state what another result offers too, and for the rest that result's first.

    A pin outside of the result's cells, `grid` (y, x), is taken out.
    """
    first = {name: offered[0] for name, offered in choices.items() if state[name] not in offered}
    pinned = state["pinned"] if _is_inside(state["pinned"], grid) else None
    return {**state, **first, "pinned": pinned}


def checked_controls(names: Sequence[str]) -> list[str]:
    """List names of controls; raise ImageError for one that is no control."""
    for name in [names] if isinstance(names, str) else names:
        if isinstance(names, str) or name not in CONTROLS:
            expected, fix = f"a list of some of {', '.join(CONTROLS)}", "Name the controls that are not to be shown."
            raise ImageError(f"locked={names!r}", expected=expected, fix=fix)
    return list(names)


def _check_offered(name: str, value: Any, offered: Sequence[Any]) -> None:
    if value not in offered:
        error = PromptError if name in ("prompt", "template") else LayerError
        shown = ", ".join(map(repr, offered[:8])) + (", …" if len(offered) > 8 else "")
        fix = "Pick one of these, or show a result that has it."
        raise error(f"The canvas has no {name} {value!r}", expected=f"one of {shown}", fix=fix)


def _typed(name: str, value: Any) -> Any:
    wanted, right, read = _TYPES[name]
    if not right(value):
        raise ImageError(f"Canvas state {name}={value!r}", expected=wanted, fix="See Canvas.state.")
    return read(value)


def _is_inside(cell: Any, grid: tuple[int, int] | None) -> bool:
    return cell is None or grid is None or all(0 <= at < size for at, size in zip(cell, grid, strict=True))


def _is_cell(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)))


_Rule = tuple[str, Callable[[Any], bool], Callable[[Any], Any]]  # what is wanted, whether it is that, how it is read
_COLOURS = (AUTO, *SEQUENTIAL, *DIVERGING)
_TEXT: _Rule = ("a text", lambda value: isinstance(value, str), str)
_TYPES: dict[str, _Rule] = {
    "prompt": _TEXT,
    "template": _TEXT,
    "path": _TEXT,
    "layer": _TEXT,
    "view": (f"one of {', '.join(VIEWS)}", lambda value: value in VIEWS, str),
    "head": ("a head's number, or 'mean'", lambda v: v == MEAN or is_number(v), lambda v: v if v == MEAN else int(v)),
    "method": _TEXT,
    "opacity": ("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1, float),
    "threshold": ("a number, or None", lambda v: v is None or is_number(v), lambda v: None if v is None else float(v)),
    "colours": (f"one of {', '.join(_COLOURS)}", lambda value: value in _COLOURS, str),
    "interpolation": ("'bilinear' or 'nearest'", lambda value: value in ("bilinear", "nearest"), str),
    "hover": ("True or False", lambda value: isinstance(value, bool), bool),
    "pinned": ("a cell [y, x], or None", _is_cell, lambda value: None if value is None else [int(n) for n in value]),
}
