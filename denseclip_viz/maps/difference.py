"""The difference of two results, cell by cell: of what one path, fit, wording or model says more than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import in_order, placement_of
from denseclip_viz.validation import one_of

if TYPE_CHECKING:
    import xarray as xr

DIFFERENT = ("dense", "contribution", "gap")  # maps of texts, in cosine units
MEAN_OF = "mean of {} templates"


def difference(left: xr.Dataset, right: xr.Dataset, *, of: str = "dense") -> xr.Dataset:
    """Take the maps of one result from those of another, right minus left, for the prompts that both have.

    Args:
        left: What `Model.compare` returned, of one path.
        right: Another one, whose cells lie at the same places: in the same image, or as shares of another one.
        of: "dense", "contribution" or "gap".

    Returns:
        `difference` (template, prompt, y, x), in cosine units, with the left image. Where the templates are not the
        same there is one, the mean over the templates of each. A canvas shows it around zero.

    Raises:
        GeometryError: The grids lie at different places: no cell has its like.
        PromptError: They have no prompt in common.
        LayerError: A result of several paths, or without such maps.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scene = dcv.load("bundled-vit-cls"), dcv.toyworld.scene("a taxi on a road", 96)
        >>> left, right = (model.compare(model.trace(scene, path=name), ["a taxi"]) for name in ("value", "vanilla"))
        >>> apart = dcv.maps.difference(left, right)
        >>> bool((apart.difference == right.dense - left.dense).all())
        True
    """
    import xarray as xr

    one_of(of, DIFFERENT, "of", error=LayerError, expected="one of " + ", ".join(DIFFERENT), fix="Pick one of them.")
    for side in (left, right):
        _require_maps(side, of)
    left, right = in_order(left), in_order(right)
    _require_same_places(left, right)
    shared = [name for name in left["prompt"].to_numpy().tolist() if name in right["prompt"].to_numpy()]
    if not shared:
        got, fix = "Two results without a prompt in common", "Compare both with the same prompts."
        raise PromptError(got, expected="at least one", fix=fix)
    first, second = _in_same_templates(*(side[of].sel(prompt=shared) for side in (left, right)))
    values = second.to_numpy() - first.to_numpy()
    about = {"units": "cosine", "long_name": f"{of}: right minus left", "geometry": left.attrs["geometry"]}
    variables: dict[str, Any] = {"difference": (first.dims, values, about)}
    variables |= {"image": left["image"]} if "image" in left else {}
    named = {name: first.coords[name] for name in ("template", "prompt", "absent") if name in first.coords}
    one, other = ({**side.attrs, "path": _path(side, of)} for side in (left, right))
    attrs = {name: value for name, value in one.items() if value and other.get(name) == value}
    coords = {**named, "y": left["y"], "x": left["x"]}
    return xr.Dataset(variables, coords=coords, attrs={**attrs, "geometry": left.attrs["geometry"]})


def _path(side: xr.Dataset, of: str) -> str:
    """Name the path of dense maps, the one that was picked where the result has several; others hang on none."""
    if of != "dense":
        return ""
    return str(side["path"].item() if "path" in side.coords else side.attrs.get("path", ""))


def _require_maps(side: xr.Dataset, of: str) -> None:
    import xarray as xr

    dims = side[of].dims if isinstance(side, xr.Dataset) and of in side and "geometry" in side.attrs else ()
    if set(dims) != {"template", "prompt", "y", "x"}:
        fix = "Pick one: result.sel(path=…)." if "path" in dims else "Pass it whole, with its axes and attrs."
        got = f"A result with `{of}` along {', '.join(map(str, dims))}" if dims else f"A result without `{of}`"
        raise LayerError(got, expected="what model.compare returns, of one path", fix=fix)


def _require_same_places(left: xr.Dataset, right: xr.Dataset) -> None:
    """Refuse grids whose cells do not lie at the same shares of their images."""
    one, other = placement_of(left), placement_of(right)
    if one.grid != other.grid:
        got = f"Grids of {one.grid[0]} × {one.grid[1]} and {other.grid[0]} × {other.grid[1]} cells"
        raise GeometryError(got, expected="the same grid", fix="Choose fits and models whose cells agree.")
    if not np.allclose(_shares(one), _shares(other), atol=1e-6):
        got = "Grids that cover different parts of the image"
        raise GeometryError(got, expected="cells at the same places", fix="Choose fits that see the same part.")


def _shares(where: Placement) -> np.ndarray:
    height, width = where.image
    return np.array([*where.box, *where.visible]) / ([height, width, height, width] * 2)


def _in_same_templates(left: xr.DataArray, right: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Keep templates that are the same; of others the mean of each side."""
    names = [side["template"].to_numpy().tolist() for side in (left, right)]
    if names[0] == names[1]:
        return left, right
    counts = " − ".join(MEAN_OF.format(len(each)) for each in reversed(names))
    first, second = (side.mean("template").expand_dims(template=[counts]) for side in (left, right))
    return first, second
