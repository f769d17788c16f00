"""From a trace and texts to a segmentation: refine, draw at image size, name every pixel."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.geometry import Geometry, weights
from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
from denseclip_viz.maps.similarity import attributes, cosine_maps
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_real, pair

if TYPE_CHECKING:
    import xarray as xr

NORMALISATIONS = ("", "cosine", "official")
MOST_LABELS = np.iinfo(np.int16).max
MOST_PIXELS = 2**27  # of an answer: labels and probabilities of that many are 0.8 GB


def segment(
    trace: Trace,
    vectors: Tensor,
    names: Sequence[str],
    *,
    scale: float,
    background: None | float | Sequence[str] | Background = None,
    denoise: float = 0.0,
    smooth: str = "",
    soft: bool = False,
    size: tuple[int, int] | None = None,
) -> xr.Dataset:
    """Name every pixel of the image by its best text, of vectors (prompt, D); smoothing needs a trace with keys.

    `scale` is what cosines are multiplied by before the softmax over prompts; other options are those of
    `Model.segment`.

    Returns:
        `labels` (row, column) int16, -1 for background and unseen; `probability` (row, column); with `soft`,
        `probabilities` (prompt, row, column); `image`.

    Raises:
        LayerError: smoothing without keys.
        PromptError: background prompts that are not among the names, or another option that cannot be.
        GeometryError: a size that cannot be.
        OutOfMemoryError: an answer of that size does not fit.
    """
    import xarray as xr

    rule, denoise, (rows, columns) = Background.of(background), _checked(denoise, smooth), _size(size, trace)
    hidden = _hidden(rule, names)
    scores, multiplier, is_left = _refined(trace, vectors, scale, denoise, smooth)
    if not is_left.any():
        hidden = np.ones(len(names), dtype=bool)
    options: dict[str, Any] = {"rows": rows, "columns": columns, "scale": multiplier}
    with memory_guard("size"):
        labels, probability = label(
            scores.numpy(), trace.geometry, background=hidden.tolist(), below=rule.below, **options
        )
    data: dict[str, Any] = {"labels": (("row", "column"), labels), "probability": (("row", "column"), probability)}
    if soft:
        with memory_guard("size, leave soft out"):
            maps = probabilities(scores.numpy(), trace.geometry, **options)
        data["probabilities"] = (("label", "row", "column"), maps)
    data["image"] = (("image_row", "image_column", "rgb"), trace.image)
    refinement = _describe(denoise, smooth)
    attrs = {**attributes(trace), "background": rule.rule, "refinement": refinement, "scale": multiplier}
    return xr.Dataset(data, coords={"label": list(names)}, attrs=attrs)


def _checked(denoise: float, smooth: str) -> float:
    if not isinstance(smooth, str) or smooth not in NORMALISATIONS:
        got = f"smooth={reprlib.repr(smooth)}"
        raise PromptError(got, expected="'cosine', 'official' or '' for none", fix="Try smooth='cosine'.")
    if is_number(denoise, 0, 1):
        return float(denoise)
    got = f"denoise={reprlib.repr(denoise)}"
    raise PromptError(got, expected="a probability in [0, 1], 0 for none", fix="Try denoise=0.5.")


def _size(size: tuple[int, int] | None, trace: Trace) -> tuple[int, int]:
    if size is None:
        return trace.geometry.image
    rows, columns = pair(size, "size")
    if rows * columns > MOST_PIXELS:
        expected = f"at most {MOST_PIXELS / 1e6:.0f} million pixels"
        raise GeometryError(f"size={size!r}", expected=expected, fix="Leave it out for the image's own size.")
    return rows, columns


def _refined(
    trace: Trace, vectors: Tensor, scale: float, denoise: float, smooth: str
) -> tuple[Tensor, float, np.ndarray]:
    scores, is_left = cosine_maps(trace.dense, vectors[None])[0], np.ones(len(vectors), dtype=bool)
    if denoise:
        scores, kept_prompts = prompt_denoising(scores, denoise)
        is_left = kept_prompts.numpy()
    if not smooth:
        return scores, scale, is_left
    if trace.keys is None:
        got, expected = "key smoothing of a trace without keys", "a trace that holds the pool's keys"
        fix = "Trace with keys='key' (or keys='projected', as the official code does for ViTs)."
        raise LayerError(got, expected=expected, fix=fix)
    # smoothed scores are sums of probabilities, not cosines: the official code takes their plain softmax
    return key_smoothing(scores, trace.keys, normalisation=smooth), 1.0, is_left


def _hidden(rule: Background, names: Sequence[str]) -> np.ndarray:
    if len(names) > MOST_LABELS:
        expected = f"at most {MOST_LABELS}, as labels are 16-bit numbers"
        raise PromptError(f"{len(names)} prompts to label pixels with", expected=expected, fix="Segment in parts.")
    unknown = [name for name in rule.prompts if name not in names]
    if unknown:
        got = f"background prompts {', '.join(map(repr, unknown))} are not among the prompts"
        fix = "Add them to the prompts too: they compete with the others for each pixel."
        raise PromptError(got, expected=f"some of {', '.join(map(repr, names))}", fix=fix)
    return np.array([name in rule.prompts for name in names])


def _describe(denoise: float, smooth: str) -> str:
    steps = [f"prompt denoising {denoise:g}"] if denoise else []
    steps += [f"key smoothing ({smooth})"] if smooth else []
    return ", ".join(steps) or "none"


STRIP = 2**20  # numbers held at once while a strip of rows is labelled


@dataclass(frozen=True)
class Background:
    """What counts as background: a pixel without a label.

    Attributes:
        below: Pixels whose best probability is below this.
        prompts: Pixels whose best prompt is one of these.

    Example:
        >>> Background.of(0.4), Background.of(["sky", "grass"]).rule
        (Background(below=0.4, prompts=()), 'background: best prompt is sky, grass')
    """

    below: float = 0.0
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        texts = isinstance(self.prompts, tuple) and all(isinstance(prompt, str) for prompt in self.prompts)
        if not is_number(self.below, 0, 1) or not texts:
            raise _refused(f"below={reprlib.repr(self.below)}, prompts={reprlib.repr(self.prompts)}")

    @classmethod
    def of(cls, rule: None | float | Sequence[str] | Background) -> Background:
        """Read a rule: `None`, a probability, or names of background prompts.

        Raises:
            PromptError: something else, or a probability outside [0, 1].
        """
        if isinstance(rule, Background):
            return rule
        if rule is None:
            return cls()
        if isinstance(rule, np.ndarray):
            return cls.of(rule.tolist())
        if is_real(rule):
            return cls(below=float(rule))
        if isinstance(rule, str | bytes | Mapping) or not isinstance(rule, Iterable):
            raise _refused(reprlib.repr(rule))
        return cls(prompts=tuple(rule))

    def joined(self, prompts: Sequence[str]) -> Background:
        """Take further prompts for background.

        Example:
            >>> Background(below=0.4).joined(["sky"])
            Background(below=0.4, prompts=('sky',))
        """
        return Background(self.below, tuple(dict.fromkeys([*self.prompts, *prompts])))

    @property
    def rule(self) -> str:
        """The rule in words, for captions."""
        rules = [f"best prompt is {', '.join(self.prompts)}"] if self.prompts else []
        rules += [f"best probability below {self.below:g}"] if self.below else []
        return f"background: {' or '.join(rules)}" if rules else "no background: every pixel named"


def _refused(got: str) -> PromptError:
    expected = "None, a probability in [0, 1], or a list of background prompts"
    fix = "Try background=0.3 or background=['sky', 'ground']."
    return PromptError(f"background {got}", expected=expected, fix=fix)


def label(
    scores: np.ndarray,
    geometry: Geometry,
    *,
    rows: int,
    columns: int,
    scale: float,
    background: Sequence[bool],
    below: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Name every pixel by its best prompt, from scores (prompt, y, x) on the grid.

    Returns:
        `(row, column)` int16 indices of prompts, -1 for background and for what the model did not see, and the
        `(row, column)` float32 probability of the best prompt, NaN where not seen.
    """
    labels = np.full((rows, columns), -1, np.int16)
    probability = np.full((rows, columns), np.nan, np.float32)
    hidden = np.asarray(background, dtype=bool)
    for strip, values, visible in strips(scores, geometry, rows, columns):
        best = values.argmax(0)
        top = values.max(0)
        values -= top
        values *= scale
        share = 1 / np.exp(values, out=values).sum(0)
        answer = np.where(hidden[best] | (share < below), -1, best)
        labels[strip] = np.where(visible, answer, -1)
        probability[strip] = np.where(visible, share, np.nan)
    return labels, probability


def probabilities(scores: np.ndarray, geometry: Geometry, *, rows: int, columns: int, scale: float) -> np.ndarray:
    """Give every pixel its probability of each prompt: `(prompt, row, column)` float32, NaN where not seen.

    This is the soft segmentation: it holds prompts × pixels numbers, because that is what was asked for.
    """
    soft = np.full((len(scores), rows, columns), np.nan, np.float32)
    for strip, values, visible in strips(scores, geometry, rows, columns):
        values = np.exp(scale * (values - values.max(0)))
        soft[:, strip] = np.where(visible, values / values.sum(0), np.nan)
    return soft


def strips(
    scores: np.ndarray, geometry: Geometry, rows: int, columns: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Draw the grid at image size, a strip of rows at a time: rows, `(prompt, row, column)` values, seen pixels."""
    wy, wx, visible_rows, visible_columns = weights(geometry, rows, columns)
    wide = np.asarray(scores, np.float64 if scores.dtype == np.float64 else np.float32)
    across = wide @ np.nan_to_num(wx).T.astype(wide.dtype)
    down = np.nan_to_num(wy).astype(wide.dtype)
    height = max(1, STRIP // max(1, len(wide) * columns))
    for start in range(0, rows, height):
        strip = slice(start, min(start + height, rows))
        yield strip, down[strip] @ across, visible_rows[strip, None] & visible_columns
