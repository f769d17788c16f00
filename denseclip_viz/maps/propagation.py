"""Maps that spread over what is alike, LPOSS (arXiv 2503.19777): over positions, then over pixels.

    (I - α D^-1/2 W D^-1/2) X = Y            D: the sums of rows of W, which has no diagonal
    positions   W = S + Sᵀ,  S_ij = max(cos(f_i, f_j), 0)³ exp(-decay · |p_i - p_j|)   for the 400 nearest j of each i
    pixels      W_ij = exp(-|c_i - c_j| / τ)   for the j in a window around i; c: CIELAB, over (100, 128, 128)

Written from the formulas.
"""

from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.given import features_on
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import LayerError
from denseclip_viz.geometry import Placement
from denseclip_viz.images import ImageLike, read
from denseclip_viz.maps.regions import placement_of
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_whole

Floats = NDArray[np.float64]
_ROWS = 1024  # of the graph that are compared at once
_MOST = 2**32  # bytes of a graph of pixels
_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# sRGB (IEC 61966-2-1) to CIE XYZ, and the white of D65
_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
_WHITE = [0.95047, 1.0, 1.08883]


@guarded
def propagate(
    scores: ArrayLike | Tensor,
    features: ArrayLike | Tensor,
    *,
    share: float = 0.95,
    neighbours: int = 400,
    power: float = 3.0,
    decay: float = 0.16,
    steps: int = 10,
) -> Tensor:
    """Let positions that another model finds alike share their scores, by conjugate gradients.

    Args:
        scores: `(…, y, x)`, raw cosines, such as `model.similarity(…)`.
        features: `(y, x, C)` of the same image by another model; they are resized to the grid.
        share: α, from 0, which leaves scores as they are, to below 1.
        neighbours: Positions that each is tied to.
        power: Of the cosines of features.
        decay: How fast ties fall off with the distance in positions; the published 0.01 a pixel is 0.16 a patch of 16.
        steps: Conjugate gradients at most; they stop before at a relative residual of 1e-6.

    Returns:
        `(…, y, x)`, scores and no cosines any more: as a whole up to 1 / (1 - α) times as large.

    Raises:
        LayerError: Features of other proportions, or numbers that cannot be.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> features = torch.tensor([[[1.0, 0], [1, 0], [0, 1]]])
        >>> dcv.maps.propagate(torch.tensor([[1.0, 0.0, 0.0]]), features).round(decimals=1)
        tensor([[10.3000,  9.7000,  0.0000]])
    """
    maps = _checked(scores)
    numbers = is_number(share, 0, 1) and share < 1 and is_number(power, 0) and is_number(decay, 0)
    if not (numbers and is_whole(neighbours, 1) and is_whole(steps, 1)):
        got = f"{share=}, {neighbours=}, {power=}, {decay=}, {steps=}"
        expected = "0 <= share < 1, whole numbers from 1 of neighbours and steps, power and decay from 0"
        raise LayerError(got, expected=expected, fix="Leave numbers out for the published ones.")
    grid = int(maps.shape[-2]), int(maps.shape[-1])
    graph = _graph(
        features_on(_tensor(_in_order(features, "y", "x", ...)), grid)[0].double(), grid, neighbours, power, decay
    )
    return _solved(graph, maps, share, steps).to(_kind(maps))


@guarded
def propagate_pixels(
    scores: ArrayLike | Tensor,
    image: ImageLike | Trace,
    *,
    share: float = 0.95,
    window: int = 13,
    tau: float = 0.01,
    steps: int = 10,
) -> Tensor:
    """Draw maps at the size of an image, and let pixels near each other of like colour share their scores (LPOSS+).

    It holds `window ** 2` numbers of 8 bytes a pixel, 1.4 GB for a megapixel.

    Args:
        scores: `(…, y, x)`, such as `propagate(…)` or `model.similarity(…)`.
        image: The image, as large as maps are to be; or the trace that scores are of. A trace, or maps with their
            `geometry`, say where cells lie; other maps have cells over the whole image and no further.
        share: α, from 0, which draws maps bilinearly, to below 1.
        window: Pixels along the side of the square around each that it is tied to, an odd number.
        tau: How unlike a colour may be, the lightest being 1 from the darkest.
        steps: Conjugate gradients at most; they stop before at a relative residual of 1e-6.

    Returns:
        `(…, Y, X)`, scores and no cosines: as a whole up to 1 / (1 - α) times as large.

    Raises:
        LayerError: Maps of a part of the image, numbers that cannot be, or more than 4 GB to hold.
        ImageError: What is no image.

    Example:
        >>> import denseclip_viz as dcv
        >>> scene = dcv.toyworld.scene("a taxi on a road", 64)
        >>> maps = dcv.load().similarity(scene, ["a taxi", "a road"])
        >>> dcv.maps.propagate_pixels(maps, scene, steps=3).shape
        torch.Size([1, 2, 64, 64])
    """
    maps, source = _checked(scores), image.image if isinstance(image, Trace) else image
    colours = np.asarray(read(source), dtype=np.float64) / 255
    numbers = is_number(share, 0, 1) and share < 1 and is_number(tau, 1e-6) and is_whole(steps, 1)
    if not (numbers and is_whole(window, 3) and window % 2):
        got = f"{share=}, {window=}, {tau=}, {steps=}"
        expected = "0 <= share < 1, an odd window from 3, tau from 1e-6, whole steps from 1"
        raise LayerError(got, expected=expected, fix="Leave numbers out for the published ones.")
    if (bytes_held := 8 * window**2 * colours[..., 0].size) > _MOST:
        got = f"{colours.shape[0]} x {colours.shape[1]} pixels with {window=}: {bytes_held / 1e9:.1f} GB to hold"
        raise LayerError(got, expected=f"at most {_MOST / 1e9:.1f} GB", fix="Scale the image down: image.thumbnail(…).")
    drawn = _drawn(maps, (colours.shape[0], colours.shape[1]), image if isinstance(image, Trace) else scores)
    return _solved(_pixel_graph(_lab(colours), window // 2, tau), drawn, share, steps).to(_kind(maps))


def _drawn(maps: Tensor, size: tuple[int, int], known: Any) -> Tensor:
    """Draw maps bilinearly at the size of the image, each cell where a trace or labelled maps say that it lies."""
    (height, width), grid = size, (int(maps.shape[-2]), int(maps.shape[-1]))
    if isinstance(known, Trace) or "geometry" in getattr(known, "attrs", {}):
        where = known.geometry.placement() if isinstance(known, Trace) else placement_of(known)
        fits = where.grid == grid and not where.is_cropped
    else:
        box = (0.0, 0.0, float(height), float(width))
        where, fits = Placement(size, grid, box, box), abs(height * grid[1] / width - grid[0]) <= 1
    if not fits:
        got = f"scores {tuple(maps.shape)} for {height} x {width} pixels"
        fix = "Trace it with geometry='whole', and pass the trace in the place of the image."
        raise LayerError(got, expected="scores (…, y, x) of the whole image", fix=fix)
    weights = where.weights(height, width)
    drawn: Tensor = torch.from_numpy(weights.y) @ maps.detach().cpu().double() @ torch.from_numpy(weights.x).T
    return drawn


def _checked(scores: Any) -> Tensor:
    try:
        maps = _tensor(_in_order(scores, ..., "y", "x"))
    except (TypeError, ValueError) as error:
        maps, kind = torch.empty(0), f"{type(scores).__name__} ({error})"
    else:
        kind = f"{tuple(maps.shape)} {maps.dtype}"
    plain = maps.dtype in _KINDS and maps.layout is torch.strided
    if maps.ndim < 2 or not plain or not maps.numel() or not bool(maps.isfinite().all()):
        expected, fix = "finite numbers (…, y, x), floats", "Pass what model.similarity gives, or a tensor of cosines."
        raise LayerError(f"scores {kind}", expected=expected, fix=fix)
    return maps


def _kind(maps: Tensor) -> torch.dtype:
    """Give the kind of number of what comes out: the same, and single in the place of half, which could not hold it."""
    return maps.dtype if maps.dtype in _KINDS[2:] else torch.float32


def _tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))  # xarray's go by NumPy


def _in_order(values: Any, *axes: Any) -> Any:
    """Give what has names of axes `y` and `x` in the order of `axes`, and all else as it is."""
    return values.transpose(*axes) if {"y", "x"} <= set(getattr(values, "dims", ())) else values


def _graph(features: Tensor, grid: tuple[int, int], neighbours: int, power: float, decay: float) -> Any:
    """Tie each position to those whose features are nearest, and those to it."""
    from scipy import sparse

    unit, count = F.normalize(features.cpu(), dim=-1), len(features)
    axes = [torch.arange(size, dtype=torch.float64) for size in grid]
    places = torch.cartesian_prod(*axes).view(-1, 2)
    ties, ends = [], []
    for start in range(0, count, _ROWS):
        nearest = (unit[start : start + _ROWS] @ unit.T).topk(min(neighbours, count))
        away = (places[start : start + _ROWS, None] - places[nearest.indices]).norm(dim=-1)
        ties.append(nearest.values.clamp_min(0) ** power * torch.exp(-decay * away))
        ends.append(nearest.indices)
    data, columns = torch.cat(ties).numpy(), torch.cat(ends).numpy()
    rows = np.repeat(np.arange(count), data.shape[1])
    graph = sparse.coo_array((data.ravel(), (rows, columns.ravel())), shape=(count, count)).tocsr()
    graph = graph + graph.T
    graph.setdiag(0)
    return graph


def _pixel_graph(colours: Floats, radius: int, tau: float) -> Any:
    """Tie each pixel to those around it, one diagonal of the graph for each direction."""
    from scipy import sparse

    height, width = colours.shape[:2]
    reach = (range(-min(radius, side - 1), min(radius, side - 1) + 1) for side in (height, width))
    moves = [move for move in product(*reach) if move > (0, 0)]  # and their opposites
    # in a narrow image two directions can share a diagonal, and never a place on it
    offsets = sorted({sign * (down * width + right) for down, right in moves for sign in (1, -1)})
    ties, row = np.zeros((len(offsets), height, width)), {offset: at for at, offset in enumerate(offsets)}
    for down, right in moves:
        ends, starts = (_moved_by(sign * down, sign * right) for sign in (1, -1))
        tie = np.exp(-np.linalg.norm(colours[ends] - colours[starts], axis=-1) / tau)
        ties[row[down * width + right]][ends] += tie
        ties[row[-down * width - right]][starts] += tie
    count = height * width
    if not offsets:  # a pixel alone
        return sparse.dia_array((count, count))
    return sparse.dia_array((ties.reshape(-1, count), offsets), shape=(count, count))


def _moved_by(down: int, right: int) -> tuple[slice, slice]:
    """Give the pixels of an image that others are tied to which lie up and left by so much."""
    rows, columns = (slice(move, None) if move >= 0 else slice(None, move) for move in (down, right))
    return rows, columns


def _lab(colours: Floats) -> Floats:
    """Turn sRGB from 0 to 1 into CIELAB over (100, 128, 128): `(y, x, 3)`."""
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    x, y, z = np.moveaxis(linear @ np.transpose(_XYZ) / _WHITE, -1, 0)
    x, y, z = (np.where(c > 216 / 24389, np.cbrt(c), (24389 / 27 * c + 16) / 116) for c in (x, y, z))
    return np.stack([(116 * y - 16) / 100, 500 * (x - y) / 128, 200 * (y - z) / 128], axis=-1)


def _solved(graph: Any, scores: Tensor, share: float, steps: int) -> Tensor:
    """Solve the system of a graph for every map `(…, y, x)`."""
    from scipy.sparse.linalg import LinearOperator, cg

    sums = graph.sum(1)
    root = np.where(sums > 0, sums, 1) ** -0.5

    def spread(values: Floats) -> Floats:
        shared: Floats = values - share * root * (graph @ (root * values))
        return shared

    system = LinearOperator(graph.shape, matvec=spread, dtype=np.float64)
    maps = scores.detach().cpu().double().reshape(-1, graph.shape[0]).numpy()
    solved = [cg(system, each, rtol=1e-6, maxiter=steps)[0] for each in maps]
    return torch.from_numpy(np.stack(solved)).view(scores.shape)
