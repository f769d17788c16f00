"""The vectors of a store in two dimensions, and how little of them two dimensions keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import GeometryError, ImageError
from denseclip_viz.features.feature_store import FeatureStore, Texts
from denseclip_viz.features.neighbourhoods import MOST_JUDGED, neighbours_kept
from denseclip_viz.features.points import SEED, Images, Points, choose_points, points_of
from denseclip_viz.maps.similarity import named
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import many, short

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import PromptsLike

MOST_HELD = 200_000  # vectors that a function of the caller's is given at once: 400 MB of width 512
Projection = str | ArrayLike | Callable[[NDArray[np.float32]], ArrayLike]


@guarded
def project(
    store: FeatureStore,
    *,
    of: str = "global",
    images: Images = None,
    path: str | None = None,
    projection: Projection = "pca",
    sample: int | None = None,
) -> xr.Dataset:
    """Lay out the images of a store, or the positions of some, in two dimensions; no forward pass is made.

    The default is the principal component analysis of the unit vectors: of all linear layouts the one that keeps most
    of their distances, without chance, and a second call gives the same numbers. It goes through the store twice, and
    memory does not grow but by what it returns. Distances in two dimensions are no cosines: the result says how much of
    the variance and of the neighbourhoods is kept. Texts are none of the points: image and text vectors of CLIP lie
    apart (the modality gap), so that a text would stand beside all images, whatever it says.

    Args:
        store: A store of features.
        of: `"global"` for a point each image, `"dense"` for a point each position.
        images: Of which images: numbers, names or paths; all by default.
        path: Whose dense features; the first path's by default.
        projection: `"pca"`; or coordinates `(point, 2)` of your own, in the order of `image`; or a function that makes
            them of the unit vectors `(point, D)`, such as `umap.UMAP().fit_transform`.
        sample: So many points, drawn at random and always the same; all by default.

    Returns:
        `place` `(point, axis)` with each point's `image` (its name), `number` in the store and `cell` of its grid; by
        PCA also `share` `(axis,)` of the variance. In `attrs` `trustworthiness`, `neighbours_kept` of the nearest
        `neighbours`, both of at most 2000 points drawn at random (`judged`), and `points_in_all` of which was drawn.

    Raises:
        LayerError: features that are not kept, or no such path.
        ImageError: no such image, fewer than 3 points, or more than are drawn or given to a function unless `sample`
            says so.
        GeometryError: coordinates that are not `(point, 2)` finite numbers, or no such projection.
        OutputError: a damaged file.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(6, "test", size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = dcv.features.encode(model, scenes, folder, progress=False)
        ...     layout = dcv.features.project(store)
        >>> layout.place.shape, bool(layout.share.sum() <= 1)
        ((6, 2), True)
    """
    import xarray as xr

    points = choose_points(store, of, images, path, sample)
    drawn = _laid_out(points, projection, sample)
    attrs: dict[str, Any] = {**store.provenance, "path": points.path or "", "of": of, "projection": drawn.name}
    attrs |= {"points_in_all": points.total, "seed": SEED, "error": store.error}
    attrs |= _judged(points, drawn.places)._asdict()
    caution = store.caution_of(np.unique(points.numbers).tolist())
    attrs |= {"caution": caution} if caution else {}
    names = np.array(store.names, dtype=object)[points.numbers]
    coords: dict[str, Any] = {"image": ("point", names), "number": ("point", points.numbers)}
    coords |= {"cell": ("point", points.cells), "axis": [1, 2]}
    data: dict[str, Any] = {"place": (("point", "axis"), drawn.places.astype(np.float32))}
    if drawn.shares is not None:
        data["share"] = ("axis", drawn.shares, {"units": "1", "long_name": "share of the variance of unit vectors"})
    return xr.Dataset(data, coords=coords, attrs=attrs)


@guarded
def point_scores(store: FeatureStore, layout: xr.Dataset, texts: Texts, prompts: PromptsLike) -> xr.DataArray:
    """Compare every point of a layout with every prompt in every template: raw cosines `(template, prompt, point)`."""
    import xarray as xr

    chosen, points = Prompts.of(prompts), points_of(store, layout)
    vectors = store.vectors(texts, chosen)
    scores = np.empty((*vectors.shape[:2], len(points)), np.float32)
    for which, rows in points.blocks():
        scores[..., which] = (vectors.flatten(0, 1) @ rows.T).clamp(-1, 1).unflatten(0, vectors.shape[:2])
    coords: dict[str, Any] = {"template": list(chosen.templates), "prompt": list(chosen.prompts)}
    coords |= {"absent": ("prompt", np.array(chosen.absent, dtype=bool))}
    attrs = {**store.provenance, **named(f"{points.of} features against text")}
    return xr.DataArray(scores, dims=("template", "prompt", "point"), coords=coords, name="score", attrs=attrs)


class _Layout(NamedTuple):
    places: NDArray[np.float64]
    name: str
    shares: NDArray[np.float64] | None = None


def _laid_out(points: Points, projection: Projection, sample: int | None) -> _Layout:
    if isinstance(projection, str):
        if projection != "pca":
            expected = "'pca', coordinates (point, 2), or a function that makes them"
            fix = "For example projection=umap.UMAP(random_state=0).fit_transform."
            raise GeometryError(f"projection={short(projection)}", expected=expected, fix=fix)
        return _principal(points)
    if not callable(projection):
        return _Layout(_coordinates(projection, len(points), "projection"), "coordinates of your own")
    if sample is None and len(points) > MOST_HELD:
        got, expected = f"{many(len(points), 'vector')} for a function", f"at most {MOST_HELD:,} at once"
        fix = f"Pass sample=20000, or sample={len(points)} if memory and function are good for it; or the array."
        raise ImageError(got, expected=expected, fix=fix)
    vectors = torch.cat([rows for _, rows in points.blocks()]).numpy()
    owner = getattr(projection, "__self__", None)
    name = getattr(projection, "__name__", type(projection).__name__) if owner is None else type(owner).__name__
    return _Layout(_coordinates(projection(vectors), len(points), f"what {name} returned"), name)


def _coordinates(given: Any, count: int, what: str) -> NDArray[np.float64]:
    array = np.asarray(given)
    if array.shape != (count, 2) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        got = f"{what} is {array.dtype} of shape {array.shape}"
        fix = "layout.image lists the points in their order; sample= and images= say which there are."
        raise GeometryError(got, expected=f"finite coordinates of shape ({count}, 2)", fix=fix)
    return array.astype(np.float64)


def _principal(points: Points) -> _Layout:
    """Find the two axes of most variance; the largest number of each is positive.

    Products are in fp32, about a mean of some vectors, so that no digits are lost to the mean of all, and summed in
    fp64: twice as fast as all in fp64.
    """
    _, first = next(points.blocks())
    middle, count, width = first.mean(0), len(points), first.shape[1]
    total, second = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    for _, rows in points.blocks():
        beside = rows - middle
        total += beside.sum(0, dtype=torch.float64)
        second += beside.T @ beside
    mean = total / count
    variances, axes = torch.linalg.eigh(second / count - torch.outer(mean, mean))
    axes = axes[:, -2:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    shares = variances.clamp_min(0).flip(0)
    shares = shares[:2] / shares.sum().clamp_min(1e-300)
    places = torch.cat([(rows - middle) @ axes.float() for _, rows in points.blocks()]).double() - mean @ axes
    return _Layout(places.numpy(), "PCA", shares.numpy())


def _judged(points: Points, places: NDArray[np.float64]) -> Any:
    """Judge the layout by some of its points, drawn at random where there are too many."""
    some = np.arange(len(points))
    if len(points) > MOST_JUDGED:
        some = np.sort(np.random.default_rng(SEED).choice(len(points), MOST_JUDGED, replace=False, shuffle=False))
    fewer = Points(points.store, points.of, points.path, points.numbers[some], points.cells[some], points.total)
    vectors = torch.cat([rows for _, rows in fewer.blocks()])
    return neighbours_kept(vectors.double().numpy(), places[some])
