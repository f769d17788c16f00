"""Every pixel to its best text, in chunks: memory is bounded by a strip of the picture, not by prompts × pixels."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from denseclip_viz.errors import PromptError
from denseclip_viz.geometry import Geometry, weights

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
        number = isinstance(self.below, Real) and not isinstance(self.below, bool) and 0 <= self.below <= 1
        if not number or not isinstance(self.prompts, tuple) or not all(isinstance(p, str) for p in self.prompts):
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
        if isinstance(rule, Real) and not isinstance(rule, bool):
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


def _refused(came: str) -> PromptError:
    return PromptError(
        f"background {came}",
        expected="None, a probability in [0, 1], or a list of background prompts",
        fix="Try background=0.3 or background=['sky', 'ground'].",
    )


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
    """Name every pixel.

    Args:
        scores: `(prompt, y, x)`, cosines or smoothed scores on the grid.
        geometry: Where the grid lies.
        rows: Height of the answer.
        columns: Width of the answer.
        scale: What scores are multiplied by before the softmax over prompts.
        background: `(prompt,)`, which prompts are background.
        below: Probability under which a pixel is background.

    Returns:
        `(row, column)` int16 indices of prompts, -1 for background and for what the model did not see, and the
        `(row, column)` float32 probability of the best prompt, NaN where not seen.
    """
    labels = np.full((rows, columns), -1, np.int16)
    probability = np.full((rows, columns), np.nan, np.float32)
    hidden = np.asarray(background, dtype=bool)
    for strip, values, seen in strips(scores, geometry, rows, columns):
        best = values.argmax(0)
        top = values.max(0)
        values -= top
        values *= scale
        share = 1 / np.exp(values, out=values).sum(0)
        answer = np.where(hidden[best] | (share < below), -1, best)
        labels[strip] = np.where(seen, answer, -1)
        probability[strip] = np.where(seen, share, np.nan)
    return labels, probability


def probabilities(scores: np.ndarray, geometry: Geometry, *, rows: int, columns: int, scale: float) -> np.ndarray:
    """Give every pixel its probability of each prompt: `(prompt, row, column)` float32, NaN where not seen.

    This is the soft segmentation: it holds prompts × pixels numbers, because that is what was asked for.
    """
    soft = np.full((len(scores), rows, columns), np.nan, np.float32)
    for strip, values, seen in strips(scores, geometry, rows, columns):
        values = np.exp(scale * (values - values.max(0)))
        soft[:, strip] = np.where(seen, values / values.sum(0), np.nan)
    return soft


def strips(
    scores: np.ndarray, geometry: Geometry, rows: int, columns: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Draw the grid at picture size, a strip of rows at a time: rows, `(prompt, row, column)` values, seen pixels."""
    wy, wx, seen_rows, seen_columns = weights(geometry, rows, columns)
    wide = np.asarray(scores, np.float64 if scores.dtype == np.float64 else np.float32)
    across = wide @ np.nan_to_num(wx).T.astype(wide.dtype)
    down = np.nan_to_num(wy).astype(wide.dtype)
    height = max(1, STRIP // max(1, len(wide) * columns))
    for start in range(0, rows, height):
        strip = slice(start, min(start + height, rows))
        yield strip, down[strip] @ across, seen_rows[strip, None] & seen_columns
