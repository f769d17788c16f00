"""What of a result a figure shows, and how; a name that is not there is an error."""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz import validation
from denseclip_viz.errors import ImageError, LayerError, PromptError
from denseclip_viz.maps.regions import Result, visible_part
from denseclip_viz.validation import strings


def require_one_path(result: object) -> None:
    """Refuse a result of several paths, by a LayerError, where one is shown."""
    if isinstance(result, xr.Dataset | xr.DataArray) and "path" in result.dims:
        names = [str(name) for name in result["path"].to_numpy()]
        got, fix = f"A result of the paths {', '.join(names)}", f"Pick one: result.sel(path={names[0]!r})."
        raise LayerError(got, expected="a result of one path", fix=fix)


def listed(results: object) -> list[Any]:
    """List results that came as one or as several; none is a LayerError."""
    several = list(results) if isinstance(results, list | tuple) else [results]
    if not several:
        raise LayerError("No result to show", expected="one or several", fix="Pass what model.compare returns.")
    return several


def one_of(value: str, allowed: Sequence[str], *, name: str) -> None:
    """Refuse an option that does not exist, by an ImageError that names those that do."""
    expected = "one of " + ", ".join(map(repr, allowed))
    validation.one_of(value, allowed, name, error=ImageError, expected=expected, fix="Pick one of them.")


def pick_prompts(result: Result, prompts: str | Sequence[str] | None) -> Result:
    """Keep some prompts of a result and its axis prompt, in the order asked for; all of them for None.

    PromptError for no prompt, or one that the result does not hold.
    """
    if "prompt" not in result.dims:
        got, fix = "The result has no axis prompt", "Pick with a list to keep the axis: result.sel(prompt=[...])."
        raise PromptError(got, expected="an axis prompt, if of one prompt", fix=fix)
    if prompts is None and result.sizes["prompt"]:
        return result
    wanted = [] if prompts is None else list(strings(prompts, "prompts"))
    if not wanted:
        raise PromptError("No prompt to show", expected="at least one", fix="Leave prompts out to show all.")
    picked: Result = result.isel(prompt=[_place(result, "prompt", name) for name in wanted])
    return picked


def pick_template(result: Result, template: str | None) -> tuple[Result, str]:
    """Keep one template of a result: the one named, or the first; templates are never averaged.

    The result without the axis, and a line that says which template it is and of how many; PromptError for one that
    it does not hold.
    """
    if "template" not in result.dims and template is None:  # picked before, or never there
        return result, f"template “{result['template'].item()}”" if "template" in result.coords else ""
    place = 0 if template is None else _place(result, "template", template)
    names = [str(name) for name in result["template"].to_numpy()]
    of = f" ({place + 1} of {len(names)})" if len(names) > 1 else ""
    return result.isel(template=place), f"template “{names[place]}”{of}"


def _place(result: xr.Dataset | xr.DataArray, axis: str, name: str) -> int:
    names = [str(known) for known in np.atleast_1d(result[axis].to_numpy())] if axis in result.dims else []
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        raise PromptError(
            f"The {axis} {name!r} is not in this result",
            expected="one of " + ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else ""),
            fix=f"Did you mean {near[0]!r}?" if near else f"Compute the maps with that {axis} first.",
        )
    return names.index(name)


def absent_part(maps: xr.DataArray) -> xr.DataArray | None:
    """Keep the prompts known to be absent of maps (…, prompt, y, x), padding left out (NaN); None for none."""
    if "absent" not in maps.coords or not bool(maps["absent"].any()):
        return None
    return visible_part(maps.isel(prompt=np.flatnonzero(maps["absent"].to_numpy())))


def absent_baseline(dense: xr.DataArray) -> float | None:
    """Find the highest cosine (…, prompt, y, x), padding left out, of all prompts known to be absent; None for none."""
    away = absent_part(dense)
    return None if away is None else float(np.nanmax(away.to_numpy()))


def names_along(maps: xr.DataArray | xr.Dataset, axis: str = "prompt") -> list[str]:
    """Give the names along an axis, and say of absent prompts that they are.

    Example:
        >>> maps = xr.DataArray([0, 0], dims="prompt", coords={"prompt": ["a taxi", "a whale"]})
        >>> names_along(maps.assign_coords(absent=("prompt", [False, True])))
        ['a taxi', 'a whale (absent)']
    """
    names = [str(name) for name in np.atleast_1d(maps[axis].to_numpy())]
    if axis != "prompt" or "absent" not in maps.coords:
        return names
    absent = np.atleast_1d(maps["absent"].to_numpy())
    return [f"{name} (absent)" if is_absent else name for name, is_absent in zip(names, absent, strict=True)]
