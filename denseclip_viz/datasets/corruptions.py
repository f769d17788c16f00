"""Images as they come of bad cameras, bad weather and bad compression: eight corruptions of five levels.

Formulas and constants are those of hendrycks/robustness (ImageNet-C, arXiv 1903.12261), which the corruption table of
MaskCLIP uses (mmseg/datasets/pipelines/corruptions.py of chongzhou96/MaskCLIP at 245d31f). They are written out with
SciPy: the packages that have them bring OpenCV, Numba and scikit-image.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from denseclip_viz.datasets.spatter import spatter
from denseclip_viz.errors import DatasetError
from denseclip_viz.validation import is_whole

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating[Any]]
Corrupt = Callable[[Floats, Any, np.random.Generator], Floats]
"""Of an image `(row, column, rgb)` from 0 to 1, with the level's constants, where chance comes from."""


def gaussian_noise(image: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Add noise of one size everywhere."""
    return image + rng.normal(scale=scale, size=image.shape)


def shot_noise(image: Floats, photons: float, rng: np.random.Generator) -> Floats:
    """Count so many photons where the image is white, fewer where it is dark."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Make a share of the values black or white."""
    hit, salt = rng.random(image.shape) <= share, rng.random(image.shape) <= 0.5
    return np.where(hit, salt.astype(float), image)


def speckle_noise(image: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Add noise as large as the value is."""
    return image + image * rng.normal(scale=scale, size=image.shape)


def gaussian_blur(image: Floats, sigma: float, _: np.random.Generator) -> Floats:
    """Blur by a bell curve."""
    from scipy.ndimage import gaussian_filter

    blurred: Floats = gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)
    return blurred


def defocus_blur(image: Floats, constants: tuple[int, float], _: np.random.Generator) -> Floats:
    """Blur by a disk whose edge is smoothed, as a lens out of focus does."""
    from scipy.ndimage import convolve, convolve1d

    radius, sigma = constants
    half, reach = max(radius, 8), 1 if radius <= 8 else 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = (y**2 + x**2 <= radius**2).astype(float)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        disk = convolve1d(disk / disk.sum(), bell / bell.sum(), axis, mode="mirror")
    blurred: Floats = convolve(image, disk[..., None], mode="mirror")
    return blurred


def jpeg(image: Floats, quality: int, _: np.random.Generator) -> Floats:
    """Save as JPEG of a low quality."""
    stored = io.BytesIO()
    Image.fromarray(np.uint8(image * 255 + 0.5)).save(stored, "JPEG", quality=quality)
    return np.asarray(Image.open(stored)) / 255


@dataclass(frozen=True)
class Corruption:
    """What is done to an image, and the constants of its five levels."""

    change: Corrupt
    levels: tuple[Any, ...]


CORRUPTIONS = {
    "gaussian_noise": Corruption(gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Corruption(shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": Corruption(speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": Corruption(gaussian_blur, (1, 2, 3, 4, 6)),
    "defocus_blur": Corruption(defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "spatter": Corruption(
        spatter,
        (
            ("water", 0.65, 0.3, 4, 0.69, 0.6),
            ("water", 0.65, 0.3, 3, 0.68, 0.6),
            ("water", 0.65, 0.3, 2, 0.68, 0.5),
            ("mud", 0.65, 0.3, 1, 0.65, 1.5),
            ("mud", 0.67, 0.4, 1, 0.65, 1.5),
        ),
    ),
    "jpeg": Corruption(jpeg, (25, 18, 15, 10, 7)),
}


def corrupt(image: NDArray[np.uint8], corruption: str, level: int, seed: int | Sequence[int]) -> NDArray[np.uint8]:
    """Corrupt one image, `(row, column, rgb)`; the same seed gives the same pixels.

    Raises:
        DatasetError: no such corruption or level.

    Example:
        >>> grey = np.full((4, 4, 3), 128, np.uint8)
        >>> bool((corrupt(grey, "impulse_noise", 5, seed=0) != grey).any())
        True
    """
    kind = checked(corruption, level)
    changed = kind.change(image / 255, kind.levels[level - 1], np.random.default_rng(seed))
    return (np.clip(changed, 0, 1) * 255).astype(np.uint8)  # cut off, as published


def checked(corruption: str, level: int) -> Corruption:
    """Find a corruption, and refuse what is none.

    Raises:
        DatasetError: no such corruption or level.

    Example:
        >>> checked("jpeg", 5).levels
        (25, 18, 15, 10, 7)
    """
    if corruption not in CORRUPTIONS:
        fix = "dcv.datasets.corruptions() lists them."
        raise DatasetError(f"corruption {corruption!r}", expected=f"one of {', '.join(CORRUPTIONS)}", fix=fix)
    if not is_whole(level, 1) or level > 5:
        raise DatasetError(f"level={level!r}", expected="a level from 1 to 5", fix="5 is the worst.")
    return CORRUPTIONS[corruption]


def corruptions() -> pd.DataFrame:
    """List the corruptions with what each level is made of.

    Returns:
        A row a corruption, a column a level: the noise's size, the photons of white, the share that is hit, the
        blur's pixels, the drops, JPEG's quality.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.datasets.corruptions().loc["jpeg"].tolist()
        [25, 18, 15, 10, 7]
    """
    import pandas as pd

    rows = {name: list(kind.levels) for name, kind in CORRUPTIONS.items()}
    table: pd.DataFrame = pd.DataFrame.from_dict(rows, orient="index", columns=range(1, 6))
    table.index.name, table.columns.name = "corruption", "level"
    return table
