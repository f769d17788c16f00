"""Key smoothing and prompt denoising: the two refinements of MaskCLIP.

Source: MaskCLIP (arXiv 2112.01071v2) section 3.3 and the official decode_heads/maskclip_head.py `refine_output`.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import PromptError
from denseclip_viz.validation import is_number

SCALE = 100.0  # the official code writes it out; it is CLIP's logit scale after training
REMOVED = -100.0  # the official code's score of a denoised prompt


@guarded
def prompt_denoising(
    scores: Tensor, threshold: float = 0.5, in_sight: NDArray[np.bool_] | None = None
) -> tuple[Tensor, Tensor]:
    """Remove prompts that no position is confident about.

    A prompt is kept if its softmax probability (scale 100, over prompts) reaches `threshold` at some position. If
    none does, nothing is kept and a warning says so; the official code answers with the first class there.

    Args:
        scores: `(prompt, y, x)`, raw cosines.
        threshold: Probability in [0, 1].
        in_sight: `(y, x)`, the positions that count: a prompt that only padding is confident of is not in the image.

    Returns:
        The scores, with -100 where a prompt was removed, and `(prompt,)` bool: which were kept.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> scores = torch.tensor([[[0.30, 0.20]], [[0.20, 0.28]], [[0.10, 0.11]]])
        >>> dcv.maps.prompt_denoising(scores)[1].tolist()
        [True, True, False]
    """
    is_left = left_by_denoising(scores, threshold, in_sight)
    if not is_left.any():
        warnings.warn(
            f"prompt denoising removed every prompt: none reaches probability {threshold:g} anywhere. "
            "No position gets a label; lower the threshold or name what is in the image.",
            stacklevel=2,
        )
    return torch.where(is_left[:, None, None], scores, torch.full_like(scores, REMOVED)), is_left


def left_by_denoising(scores: Tensor, threshold: float, in_sight: NDArray[np.bool_] | None = None) -> Tensor:
    """Tell which prompts reach a probability somewhere in sight, `(prompt,)`, of raw cosines `(prompt, y, x)`."""
    _check_threshold("prompt denoising", threshold)
    scores = scores if in_sight is None else scores[:, torch.from_numpy(in_sight)]
    return torch.softmax(SCALE * scores, dim=0).flatten(1).amax(1) >= threshold


def is_removed(scores: Tensor | NDArray[np.floating]) -> bool:
    """Tell whether denoising has removed every prompt."""
    return bool((scores <= REMOVED / 2).all())


@guarded
def key_smoothing(scores: Tensor, keys: Tensor, *, threshold: float = 1.0, normalisation: str = "cosine") -> Tensor:
    """Let positions with similar keys share their predictions.

        P = softmax(100 S),   P_i ← Σ_j W_ij P_j   for every i with max P_i < threshold,   W = K̂ K̂ᵀ

    Args:
        scores: `(prompt, y, x)`, raw cosines (denoised or not).
        keys: `(y, x, C)`, the pool's keys of the same grid.
        threshold: Positions at least as confident as this are left alone; with 1.0 those that round to it, which in
            single precision can be most of them.
        normalisation: `"cosine"` (the paper: K̂ has unit rows) or `"official"` (the code: every channel is normalised
            over positions; its published numbers were made so).

    Returns:
        `(prompt, y, x)`. Rows of W do not sum to 1, so this is a score, not a probability.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> dcv.maps.key_smoothing(torch.rand(2, 1, 3), torch.rand(1, 3, 4)).shape
        torch.Size([2, 1, 3])
    """
    _check_threshold("key smoothing", threshold)
    if normalisation not in ("cosine", "official"):
        raise PromptError(f"normalisation {normalisation!r}", expected="'cosine' or 'official'", fix="Choose one.")
    flat = keys.flatten(0, 1).to(scores.dtype)
    flat = F.normalize(flat, dim=1 if normalisation == "cosine" else 0)
    before = torch.softmax(SCALE * scores.flatten(1), dim=0)
    # (K̂ K̂ᵀ) P as K̂ (K̂ᵀ P): never a matrix of positions × positions
    after = before @ flat @ flat.T
    return torch.where(before.amax(0) < threshold, after, before).view_as(scores)


def _check_threshold(what: str, threshold: float) -> None:
    if not is_number(threshold, 0, 1):
        raise PromptError(f"{what} threshold {threshold!r}", expected="a probability in [0, 1]", fix="Try 0.5.")
