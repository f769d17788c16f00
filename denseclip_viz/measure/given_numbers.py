"""What functions of users give, as arrays: maps of methods, and the numbers of metrics, or an error that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseclip_viz.errors import PromptError
from denseclip_viz.measure.store import Values
from denseclip_viz.validation import many, short

_NUMPYS = (torch.float16, torch.float32, torch.float64)
_EACH = ("candidate",)
_FIX = "Return {name: array} for several, or {name: (axes, array)} for other axes than one of candidates."


def as_array(value: Any) -> NDArray[Any]:
    """Take numbers of any kind: NumPy itself has no bfloat16, and takes no tensor with a gradient.

    What is no array at all comes as one of objects, which is the caller's to refuse.

    Example:
        >>> as_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True)).dtype, as_array([[1], [2, 3]]).dtype
        (dtype('float32'), dtype('O'))
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() and value.dtype not in _NUMPYS else value
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return np.asarray(None)


def numbers_of(metric: Callable[..., Any], given: Any, candidates: int) -> Values:
    """Read what a metric gives for one image: an array over candidates, or several by name.

    Raises:
        PromptError: What is no number, or not one for each candidate.

    Example:
        >>> numbers_of(max, {"high": [1.0, 2.0], "all": ((), 3)}, 2)["high"]
        (('candidate',), array([1., 2.]))
    """
    named = given if isinstance(given, Mapping) and given else {"score": given}
    values: Values = {name: _with_axes(value) for name, value in named.items()}
    sizes, taken = {"candidate": candidates}, {"image", "candidate"}.union(*(axes for axes, _ in values.values()))
    for name, (axes, array) in values.items():
        kinds = "biuf" if axes == _EACH else "biufU"  # beside numbers a metric of its own axes may give names
        fits = len(axes) == array.ndim and len({*axes, "image"}) > len(axes) and array.dtype.kind in kinds
        if not fits or any(sizes.setdefault(axis, n) != n for axis, n in zip(axes, array.shape, strict=True)):
            expected = f"numbers ({', '.join(axes)}) with {many(candidates, 'candidate')}"
            raise PromptError(_described(metric, name, array, named[name]), expected=expected, fix=_FIX)
        if not isinstance(name, str) or name in taken:
            got, fix = f"{_named(metric)} calls a number {short(name)}", "Call it otherwise."
            raise PromptError(got, expected="a text that names no axis", fix=fix)
    return values


def require_alike(metric: Callable[..., Any], first: Values, values: Values, image: str) -> None:
    """Refuse numbers that cannot stand beside those of the images before.

    Raises:
        PromptError: Other names, axes or sizes.
    """
    before, now = ({name: (axes, array.shape) for name, (axes, array) in each.items()} for each in (first, values))
    if before != now:
        got, fix = f"{_named(metric)} gives {now} for {image}", "Return NaN where an image says nothing."
        raise PromptError(got, expected=f"{before}, as for the images before", fix=fix)


def _with_axes(value: Any) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Tell `(axes, array)` from an array over candidates."""
    if isinstance(value, tuple) and len(value) == 2:
        axes = (value[0],) if isinstance(value[0], str) else value[0]
        if isinstance(axes, list | tuple) and all(isinstance(axis, str) for axis in axes):
            return tuple(axes), as_array(value[1])
    return _EACH, as_array(value)


def _described(metric: Callable[..., Any], name: object, array: NDArray[Any], given: Any) -> str:
    what = f"of shape {array.shape}, {array.dtype}" if array.dtype.kind in "biufU" and array.ndim else short(given)
    return f"{_named(metric)} gives as {name} {what}"


def _named(metric: Callable[..., Any]) -> str:
    return f"The metric {getattr(metric, '__name__', type(metric).__name__)}"
