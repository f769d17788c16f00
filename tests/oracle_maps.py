"""What the oracle does with features once a tower has made them: maps, refinements, resampling, ranks.

Plain NumPy, float64, written from the papers and slow on purpose; tests import all of it from `oracle`.
"""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def relative_error(got: Array, expected: Array) -> float:
    """The largest difference in units of the largest expected value; only arrays of one shape compare."""
    assert got.shape == expected.shape, f"{got.shape} against {expected.shape}"
    assert np.isfinite(got).all() and np.isfinite(expected).all(), "not finite"
    difference, scale = float(np.abs(got - expected).max()), float(np.abs(expected).max())
    return difference / scale if scale else (math.inf if difference else 0.0)


def softmax(values: Array, axis: int = -1) -> Array:
    exponentials = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def similarity(dense: Array, text: Array) -> Array:
    """(y, x, D), (prompt, D) -> (prompt, y, x): raw cosines."""
    unit_dense = dense / np.linalg.norm(dense, axis=-1, keepdims=True)
    unit_text = text / np.linalg.norm(text, axis=-1, keepdims=True)
    return np.moveaxis(unit_dense @ unit_text.T, -1, 0)


def prompt_denoising(scores: Array, threshold: float) -> Array:
    """(prompt, y, x) cosines; -100 for each prompt whose softmax(100 S) is below the threshold everywhere."""
    confidence = softmax(100 * scores, axis=0).max(axis=(1, 2))
    return np.where((confidence < threshold)[:, None, None], -100.0, scores)


def key_smoothing(scores: Array, keys: Array, threshold: float, normalisation: str = "cosine") -> Array:
    """(prompt, y, x) cosines, (y, x, C) keys -> (prompt, y, x): P_i <- Σ_j W_ij P_j if max P_i < threshold.

    P = softmax(100 S), W = K̂ K̂ᵀ. "cosine" scales each position's key to length 1, as the paper says;
    "official" scales each channel over the positions, as MaskCLIP's code does.
    """
    flat_keys = keys.reshape(-1, keys.shape[-1])
    over = {"cosine": 1, "official": 0}[normalisation]
    unit = flat_keys / np.maximum(np.linalg.norm(flat_keys, axis=over, keepdims=True), 1e-12)
    before = softmax(100 * scores, axis=0).reshape(len(scores), -1)
    after = before.copy()
    for i in range(before.shape[1]):
        if before[:, i].max() < threshold:
            after[:, i] = sum((unit[i] @ unit[j]) * before[:, j] for j in range(before.shape[1]))
    return after.reshape(scores.shape)


def bilinear(maps: Array, out: tuple[int, int]) -> Array:
    """(…, y, x) -> (…, *out), align_corners=False: pixel centres at i + 1/2, edges repeated outwards."""
    y, x = maps.shape[-2:]
    resized = np.empty((*maps.shape[:-2], *out))
    for row in range(out[0]):
        at_y = min(max((row + 0.5) * y / out[0] - 0.5, 0), y - 1)
        top = min(int(at_y), max(y - 2, 0))
        bottom, down = min(top + 1, y - 1), at_y - top
        for column in range(out[1]):
            at_x = min(max((column + 0.5) * x / out[1] - 0.5, 0), x - 1)
            left = min(int(at_x), max(x - 2, 0))
            right, across = min(left + 1, x - 1), at_x - left
            upper = (1 - across) * maps[..., top, left] + across * maps[..., top, right]
            lower = (1 - across) * maps[..., bottom, left] + across * maps[..., bottom, right]
            resized[..., row, column] = (1 - down) * upper + down * lower
    return resized


def cubic(distance: float, a: float) -> float:
    """Keys' cubic convolution kernel (1981)."""
    d = abs(distance)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def bicubic_weights(old: int, new: int, antialias: bool) -> Array:
    """(new, old): row i holds the weights of the old cells in new cell i, as torch's bicubic has them.

    Plain: a = -3/4, four neighbours, those outside replaced by the edge. Antialiased: a = -1/2, the kernel
    widened by the scale when shrinking, those outside left out and the rest rescaled to sum to 1.
    """
    weights, scale = np.zeros((new, old)), old / new
    for i in range(new):
        centre = (i + 0.5) * scale
        if antialias:
            stretch = max(scale, 1.0)
            first, last = max(int(centre - 2 * stretch + 0.5), 0), min(int(centre + 2 * stretch + 0.5), old)
            for j in range(first, last):
                weights[i, j] = cubic((j + 0.5 - centre) / stretch, a=-0.5)
            weights[i] /= weights[i].sum()
        else:
            nearest = math.floor(centre - 0.5)
            for j in range(nearest - 1, nearest + 3):
                weights[i, min(max(j, 0), old - 1)] += cubic(j + 0.5 - centre, a=-0.75)
    return weights


def resize_positional(
    pe: Array, grid: tuple[int, int], antialias: bool = False, native: tuple[int, int] | None = None
) -> Array:
    """(1 + n * n, C) -> (1 + y * x, C): bicubic over the grid; the class or mean token's row stays.

    `native` is the old grid (y, x), square unless given.
    """
    side = math.isqrt(len(pe) - 1)
    y, x = native or (side, side)
    down, across = bicubic_weights(y, grid[0], antialias), bicubic_weights(x, grid[1], antialias)
    cells = np.einsum("ij,kl,jlc->ikc", down, across, pe[1:].reshape(y, x, -1))
    return np.vstack([pe[:1], cells.reshape(grid[0] * grid[1], -1)])


def ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    flat = np.ravel(values)
    return np.array([(flat < value).sum() + ((flat == value).sum() + 1) / 2 for value in flat])


def spearman(a: Array, b: Array) -> float:
    """Pearson's correlation of the ranks; nan where one side is constant."""
    x, y = ranks(a) - ranks(a).mean(), ranks(b) - ranks(b).mean()
    norm = math.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm else math.nan
