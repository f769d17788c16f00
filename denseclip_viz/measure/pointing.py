"""Whether a map lies on what it is of, and whether it tells prompts that are there from those that are not."""

import numpy as np

from denseclip_viz.measure.map_scores import Floats, GroundTruth


def pointing(maps: Floats, truth: GroundTruth) -> Floats:
    """Give 1 where the pixel at the centre of the peak lies in the mask, else 0, `(method, prompt)`.

    Of several cells that are equally high the mean counts: an empty map hits by chance only, wherever it begins.

    Args:
        maps: `(method, prompt, cell)`.
        truth: Of these prompts.

    Source: the pointing game of Zhang et al. (arXiv 1608.00507), without its tolerance of 15 pixels.

    Example:
        >>> truth = GroundTruth(np.array([[1.0, 0.0]]), np.array([[True, False]]))
        >>> pointing(np.array([[[2.0, 1.0]], [[1.0, 2.0]], [[0.0, 0.0]]]), truth)[:, 0].tolist()
        [1.0, 0.0, 0.5]
    """
    peaks = maps == maps.max(-1, keepdims=True)
    hits: Floats = (peaks * truth.centred).sum(-1) / peaks.sum(-1)
    return hits


def energy(maps: Floats, truth: GroundTruth, areas: Floats) -> Floats:
    """Measure the share of a map's positive mass that lies in the mask, `(method, prompt)`; 0 of an empty map.

    Source: the energy-based pointing game of Score-CAM, Wang et al. (arXiv 1910.01279).

    Example:
        >>> truth = GroundTruth(np.array([[1.0, 0.0]]), np.array([[True, False]]))
        >>> float(energy(np.array([[[3.0, 1.0]]]), truth, np.ones(2))[0, 0])
        0.75
    """
    mass = maps.clip(0) * areas
    return _share((mass * truth.shares).sum(-1), mass.sum(-1))


def right_object(maps: Floats, truth: GroundTruth, areas: Floats) -> Floats:
    """Measure, of the positive mass on any of the objects, the share on the right one, `(method, prompt)`.

    NaN where there is one object only. An even map has each object's share of their area.

    Source: the pointing game with several objects of FIxLIP (arXiv 2508.05430), on masks instead of quadrants.

    Example:
        >>> truth = GroundTruth(np.eye(3)[:2], np.eye(3, dtype=bool)[:2])
        >>> right_object(np.array([[[3.0, 1.0, 5.0], [1.0, 1.0, 5.0]]]), truth, np.ones(3)).tolist()
        [[0.75, 0.5]]
    """
    if len(truth.shares) < 2:
        return np.full(maps.shape[:2], np.nan)
    mass = maps.clip(0) * areas
    return _share((mass * truth.shares).sum(-1), (mass * truth.shares.sum(0).clip(0, 1)).sum(-1))


def above(present: Floats, absent: Floats) -> Floats:
    """Measure how surely a number of present prompts `(method, …)` is above one of absent prompts: the area under ROC.

    NaN where there is none of one kind.

    Source: Mann and Whitney (1947), ties count half.

    Example:
        >>> float(above(np.array([[2.0, 1.0]]), np.array([[1.0, 0.0]]))[0])
        0.875
    """
    if not present.shape[-1] or not absent.shape[-1]:
        return np.full(len(present), np.nan)
    pairs = present[:, :, None] - absent[:, None]
    surely: Floats = ((pairs > 0) + 0.5 * (pairs == 0)).mean((1, 2))
    return surely


def _share(part: Floats, whole: Floats) -> Floats:
    share: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return share
