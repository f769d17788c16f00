"""What a canvas shows: one flat table of named choices, checked against the result that it shows."""

import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.plot.scales import OPACITY
from denseclip_viz.validation import Size, is_number, some_of

ENSEMBLE = "ensemble"  # the mean of the maps over templates
MEAN = "mean"  # of attention over heads
OUTPUT = "output"  # the pooling layer itself, as a choice beside the inner layers
AUTO = "auto"  # each view in its own colours
SEQUENTIAL, DIVERGING = ("viridis", "magma", "cividis"), ("RdBu_r", "PuOr_r")  # matplotlib's names
VIEWS = ("dense", "contribution", "attention", "gap", "attribution", "segments", "masks", "difference")
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
    "region": None,
    "versus": None,
    "contrast": "difference",
    "split": 0.5,
    "order": "given",
    "filter": "",
    "rows": AUTO,
}
CONTROLS = (*(name for name in DEFAULTS if name not in ("pinned", "split")), "keep")  # what `locked` may name
FRAGMENT = "#state="  # of a page's link, before a state as JSON

MOST_CORNERS = 400  # of a region's outline: a lasso that goes on and on still fits into a link
MOST_LETTERS = 100  # of a filter: more than that is pasted by accident
MOST_BARS = 20  # prompts: so many bars stand beside the image; of more one saw a part and would have to scroll
MOST_TITLES = 8  # over the columns of a heat map; of more the first and the last
RULES: dict[str, dict[str, Any]] = {
    **{name: {"kind": "text"} for name in ("prompt", "template", "path", "layer", "method")},
    # the peak of a view whose values go to both sides of zero is where they are farthest from it
    "view": {"kind": "choice", "offered": list(VIEWS), "both_sides": ["gap", "difference"]},
    "head": {"kind": "head"},
    "opacity": {"kind": "number", "least": 0, "most": 1},
    "threshold": {"kind": "number", "none": True},
    "colours": {"kind": "choice", "offered": [AUTO, *SEQUENTIAL, *DIVERGING]},
    "interpolation": {"kind": "choice", "offered": ["bilinear", "nearest"]},
    "hover": {"kind": "choice", "offered": [False, True]},
    "pinned": {"kind": "cell", "none": True},
    "region": {"kind": "outline", "none": True, "corners": [3, MOST_CORNERS]},
    "versus": {"kind": "pair", "none": True, "names": ["prompt", "template", "path", "layer", "head"]},
    "contrast": {"kind": "choice", "offered": ["difference", "slider"]},
    "split": {"kind": "number", "least": 0, "most": 1},
    "order": {"kind": "choice", "offered": ["given", "value"]},
    "filter": {"kind": "letters", "count": MOST_LETTERS},
    "rows": {
        "kind": "choice",
        "offered": [AUTO, "bars", "places", "templates"],
        "bars": MOST_BARS,
        "titles": MOST_TITLES,
    },
}
"""What each name may be, of which `choices` of a result may leave less; web/state.js reads a link by the same table."""

CHOICES = ("prompt", "template", "path", "layer", "view", "head", "method")  # None leaves each to the result


def opening(state: Mapping[str, Any] | str = "", **asked: Any) -> dict[str, Any]:
    """Take what a canvas or a page is asked to begin with, without choices that are left to the result.

    Of a whole state those names are replaced that are asked for by themselves, otherwise than by default.
    """
    whole = read_state(state) if state else {}
    left = {name: DEFAULTS.get(name) for name in whole} | dict.fromkeys(CHOICES)
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


class Frame(NamedTuple):
    """What places in a state lie in: the cells (y, x) that a pin counts, and the image's size (height, width)."""

    grid: Size
    image: Size


def completed(
    given: Mapping[str, Any],
    before: Mapping[str, Any],
    choices: Mapping[str, Sequence[Any]],
    *,
    frame: Frame | None = None,
) -> dict[str, Any]:
    """Lay what is given over the whole state before, and refuse what cannot be.

    `choices` is what the result offers for each name, empty while there is no result; then it has no `frame` either.

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
    if choices and _is_pair(given.get("versus"), RULES["versus"]):
        name, value = given["versus"]
        _check_offered(name, value, choices[name])
    typed = {name: _typed(name, value) for name, value in {**before, **given}.items()}
    for name, place in _outside({**DEFAULTS, **{name: typed[name] for name in given}}, frame).items():
        got, fix = f"Canvas state {name}={reprlib.repr(given[name])}", "Count from 0, from the top left."
        raise ImageError(got, expected=place, fix=fix)
    return typed


def carry_over(
    state: Mapping[str, Any], choices: Mapping[str, Sequence[Any]], *, frame: Frame | None = None
) -> dict[str, Any]:
    """Take of a state what another result offers too, and for the rest that result's first.

    A pin outside of the result's cells, a region that is not in its image, and a comparison with what it does not
    offer are taken out.
    """
    first = {name: offered[0] for name, offered in choices.items() if state[name] not in offered}
    name, value = state["versus"] or ("", None)
    lost = {"versus": None} if choices and value not in choices.get(name, ()) else {}
    return {**state, **first, **lost, **dict.fromkeys(_outside(state, frame))}


def rows_as(state: Mapping[str, Any], prompts: int) -> str:
    """Say what the rows of so many prompts are, as heat.js does: as chosen, or bars while these stand beside the image.

    Example:
        >>> rows_as(DEFAULTS, 20), rows_as(DEFAULTS, 21), rows_as({**DEFAULTS, "rows": "templates"}, 2)
        ('bars', 'places', 'templates')
    """
    chosen: str = state["rows"]
    return chosen if chosen != AUTO else "bars" if prompts <= MOST_BARS else "places"


def checked_controls(names: Sequence[str]) -> list[str]:
    """List names of controls; raise ImageError for one that is no control."""
    fix = "Name the controls that are not to be shown."
    return some_of(names, CONTROLS, "locked", error=ImageError, fix=fix)


def _check_offered(name: str, value: Any, offered: Sequence[Any]) -> None:
    if value not in offered:
        error = PromptError if name in ("prompt", "template") else LayerError
        shown = ", ".join(map(repr, offered[:8])) + (", …" if len(offered) > 8 else "")
        fix = "Pick one of these, or show a result that has it."
        raise error(f"The canvas has no {name} {value!r}", expected=f"one of {shown}", fix=fix)


def _typed(name: str, value: Any) -> Any:
    rule = RULES[name]
    if value is None and rule.get("none"):
        return None
    wanted, right, read = _KINDS[rule["kind"]]
    if not right(value, rule):
        expected = wanted.format(**rule, listed=", ".join(map(repr, rule.get("offered", ()))))
        expected += f" from {rule['least']} to {rule['most']}" if "least" in rule else ""
        expected += ", or None" if rule.get("none") else ""
        raise ImageError(f"Canvas state {name}={reprlib.repr(value)}", expected=expected, fix="See Canvas.state.")
    return read(value)


def _outside(state: Mapping[str, Any], frame: Frame | None) -> dict[str, str]:
    """List the places of a state that are not in its frame, and what these lie in."""
    if frame is None:
        return {}
    (rows, columns), (height, width) = frame
    inside = {
        "pinned": (f"a cell of the grid {frame.grid}", [state["pinned"] or (0, 0)], (rows - 1, columns - 1)),
        "region": (f"places in the image of {height} x {width} pixels", state["region"] or [], (height, width)),
    }
    return {
        name: place
        for name, (place, points, ends) in inside.items()
        if not all(0 <= at <= end for point in points for at, end in zip(point, ends, strict=True))
    }


def _is_point(value: Any, check: Callable[[Any], bool] = is_number) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(check, value))


def _is_offered(value: Any, rule: Mapping[str, Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in rule["offered"])


def _is_pair(value: Any, rule: Mapping[str, Any]) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and value[0] in rule["names"]


def _is_letters(value: Any, rule: Mapping[str, Any]) -> bool:
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        return False
    return len(normalize("NFC", value)) <= int(rule["count"])


def _is_outline(value: Any, rule: Mapping[str, Any]) -> bool:
    least, most = rule["corners"]
    return isinstance(value, list | tuple) and least <= len(value) <= most and all(map(_is_point, value))


_Kind = tuple[str, Callable[[Any, Mapping[str, Any]], bool], Callable[[Any], Any]]  # wanted, whether it is that, read
_KINDS: dict[str, _Kind] = {
    "text": ("a text", lambda value, _: isinstance(value, str), str),
    "choice": ("one of {listed}", _is_offered, lambda value: value),
    "letters": ("a text of at most {count} characters", _is_letters, lambda value: normalize("NFC", value)),
    "head": (
        "a head's number, or 'mean'",
        lambda v, _: v == MEAN or is_number(v),
        lambda v: v if v == MEAN else int(v),
    ),
    "number": ("a number", lambda v, rule: is_number(v, rule.get("least", -inf), rule.get("most", inf)), float),
    "pair": ("[name, value] of another one, with a name of {names}", _is_pair, list),
    "cell": ("a cell [y, x]", lambda value, _: _is_point(value), lambda value: [int(at) for at in value]),
    "outline": (
        "{corners[0]} to {corners[1]} corners [y, x] in pixels of the image",
        _is_outline,
        lambda value: [[float(at) for at in point] for point in value],
    ),
}
