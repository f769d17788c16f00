"""Maps, made ready to be counted: cells in one row, with their areas and with what the masks say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from denseclip_viz.datasets.example import Masks
from denseclip_viz.errors import GeometryError, ImageError, PromptError
from denseclip_viz.geometry import Geometry, downsample_mask

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class GroundTruth:
    """Where prompts are, on the grid.

    Masks are brought to the grid, and maps are not drawn at the image's size: a cell counts with the area that a
    mask covers of it, so the numbers are those of the map drawn in flat cells, exact to the pixel, with no
    interpolation to choose. What a grid cannot say is not held against a template: `iou_ceiling` tells it.

    Attributes:
        shares: `(prompt, cell)`, the share of each cell that the mask covers; NaN for a prompt without one.
        centred: `(prompt, cell)`, whether the mask holds the pixel at the cell's centre.
    """

    shares: Floats
    centred: NDArray[np.bool_]


@dataclass(frozen=True)
class MapScores:
    """Maps of one image, ready to be counted.

    Attributes:
        maps: `(template, prompt, cell)`, raw cosines; cells of nothing but padding are left out.
        absent: `(prompt,)`, which prompts are known not to be in the image.
        areas: `(cell,)`, pixels of the original image in each cell.
        truth: What masks say, if there are any.
        scale: What cosines are multiplied by before a softmax.
        threshold: A cosine above which a cell counts as named; NaN: above every absent prompt of the template.
    """

    maps: Floats
    absent: NDArray[np.bool_]
    areas: Floats
    truth: GroundTruth | None = None
    scale: float = 100.0
    threshold: float = float("nan")

    @property
    def baseline(self) -> Floats:
        """The highest value of the absent prompts, `(template, 1)`; NaN where none is known to be absent."""
        if not self.absent.any():
            return np.full((len(self.maps), 1), np.nan)
        highest: Floats = self.maps[:, self.absent].max(axis=(1, 2))[:, None]
        return highest


def flat_scores(
    maps: Floats,
    absent: Sequence[bool] | NDArray[np.bool_],
    geometry: Geometry | None,
    truth: GroundTruth | None = None,
    **options: float,
) -> MapScores:
    """Lay cosines `(template, prompt, y, x)` out as rows of cells, without those of nothing but padding.

    Without a geometry all cells count alike. Options are `scale` and `threshold` of `MapScores`.
    """
    flat = maps.reshape(*maps.shape[:2], -1)
    areas = np.ones(flat.shape[-1]) if geometry is None else cell_areas(geometry).ravel()
    there = np.ones(flat.shape[-1], dtype=bool) if geometry is None else geometry.in_sight.ravel()
    visible = truth and GroundTruth(truth.shares[:, there], truth.centred[:, there])
    return MapScores(flat[..., there], np.asarray(absent, dtype=bool), areas[there], visible, **options)


def cell_areas(geometry: Geometry) -> Floats:
    """Count the pixels of the original image that the model saw in each cell, `(y, x)`; 0 for padding.

    Example:
        >>> from denseclip_viz.geometry import Native, Preprocess
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> cell_areas(Native().plan((4, 4), preprocess=clip, cell=(1, 1))).tolist()
        [[4.0, 4.0], [4.0, 4.0]]
    """
    heights, widths = (np.diff(geometry.edges(axis).clip(*geometry.sight(axis))) for axis in (0, 1))
    return np.outer(heights, widths)


def geometry_of(maps: xr.DataArray) -> Geometry | None:
    """Read where maps lie, if they say so; GeometryError of maps that are cut or turned."""
    from denseclip_viz.maps.regions import whole_geometry  # here alone: it needs xarray

    return whole_geometry(maps) if "geometry" in maps.attrs else None


def truth_on_grid(
    masks: Masks, geometry: Geometry | None, prompts: Sequence[str], absent: Sequence[bool] | NDArray[np.bool_] = ()
) -> GroundTruth:
    """Bring masks of the original image to the grid, as exact shares of each cell's area.

    Pixels that the model did not see (cropped away) are not counted, and prompts without a mask are not judged.

    Raises:
        PromptError: no dict, a mask of a prompt that is not among the prompts, or one that shows an absent prompt.
        ImageError: a mask of another size, or not of booleans.
        GeometryError: the maps do not say where their cells lie.

    Example:
        >>> from denseclip_viz.geometry import Native, Preprocess
        >>> clip = Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> geometry = Native().plan((4, 4), preprocess=clip, cell=(1, 1))
        >>> truth_on_grid({"grass": np.eye(4, dtype=bool)}, geometry, ["sky", "grass"]).shares
        array([[nan, nan, nan, nan],
               [0.5, 0. , 0. , 0.5]])
    """
    if not isinstance(masks, Mapping):
        got, expected = f"masks came as {type(masks).__name__}", "a dict of prompts and their masks"
        raise PromptError(got, expected=expected, fix='Pass {"grass": mask}, boolean, of the image\'s size.')
    if geometry is None:
        got, fix = "Maps that do not say where they lie", "Keep attrs: xarray.set_options(keep_attrs=True)."
        raise GeometryError(got, expected='attrs["geometry"], to lay masks on them', fix=fix)
    places = places_of(prompts)
    cells = geometry.grid[0] * geometry.grid[1]
    shares, centred = np.full((len(prompts), cells), np.nan), np.zeros((len(prompts), cells), dtype=bool)
    centres = zip((geometry.y, geometry.x), geometry.image, strict=True)
    rows, columns = (np.rint(middle).clip(0, side - 1).astype(np.intp) for middle, side in centres)
    for name, mask in masks.items():
        at, mask = place_of(name, places), _fitting(mask, name, geometry)
        if not mask.any():
            shares[at] = 0.0
            continue
        if len(absent) and absent[at]:
            got, fix = f"A mask that shows {name!r}, which is marked absent", "Take one of the two back."
            raise PromptError(got, expected="nothing to be seen of absent prompts", fix=fix)
        shares[at], centred[at] = downsample_mask(mask, geometry).ravel(), mask[np.ix_(rows, columns)].ravel()
    return GroundTruth(shares, centred)


def places_of(prompts: Sequence[str]) -> dict[str, int]:
    """Give prompts numbers, for `place_of`; letters with accents may be written in two ways."""
    return {normalize("NFC", name): at for at, name in enumerate(prompts)}


def place_of(name: Any, places: Mapping[str, int]) -> int:
    """Find the prompt that a mask is named after.

    Raises:
        PromptError: There is none.

    Example:
        >>> place_of("grass", places_of(["sky", "grass"]))
        1
    """
    if isinstance(name, str) and normalize("NFC", name) in places:
        return places[normalize("NFC", name)]
    got, expected = f"A mask of {name!r}", f"masks of prompts: {', '.join(map(repr, list(places)[:8]))}"
    raise PromptError(got, expected=expected, fix="Name the mask as the prompt is written.")


def masks_among(masks: Masks, prompts: Sequence[str]) -> dict[str, Any]:
    """Pick the masks of prompts that are there.

    Example:
        >>> list(masks_among({"grass": 0, "sky": 1}, ["sky", "a taxi"]))
        ['sky']
    """
    places = places_of(prompts)
    return {name: mask for name, mask in masks.items() if normalize("NFC", name) in places}


def _fitting(mask: Any, name: str, geometry: Geometry) -> NDArray[np.bool_]:
    mask = np.asarray(mask)
    if mask.dtype == np.bool_ and mask.shape == geometry.image:
        return np.asarray(mask, dtype=np.bool_)
    raise ImageError(
        f"The mask of {name!r} is {mask.dtype} of shape {mask.shape}",
        expected=f"booleans of the upright image's shape (row, column) = {geometry.image}",
        fix="Write mask > 0 for booleans; resize with the nearest neighbour if the image was resized.",
    )
