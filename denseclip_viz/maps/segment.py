"""From a trace and texts to a segmentation: refine, draw at image size, name every pixel."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.geometry import Geometry, weights
from denseclip_viz.maps.refine import REMOVED, is_removed, key_smoothing, prompt_denoising
from denseclip_viz.maps.similarity import (
    Formula,
    as_json,
    attributes,
    cosine_maps,
    described,
    warn_of_no_rival,
    wording,
)
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_on, is_real, pair

if TYPE_CHECKING:
    import xarray as xr

NORMALISATIONS = ("", "cosine", "official")
MOST_LABELS = np.iinfo(np.int16).max
MOST_PIXELS = 2**27  # of an answer: labels and probabilities of that many are 0.8 GB


def segment(
    trace: Trace,
    vectors: Tensor,
    prompts: Prompts,
    formula: Formula,
    *,
    background: None | float | Sequence[str] | Background = None,
    denoise: float = 0.0,
    smooth: str = "",
    soft: bool = False,
    independent: bool = False,
    size: tuple[int, int] | None = None,
) -> xr.Dataset:
    """Name every pixel of the image by its best text, of vectors (prompt, D); smoothing needs a trace with keys.

    Options are those of `Model.segment`. Absent prompts are no labels: they are what `Background.absent` cuts at.

    Returns:
        `labels` (row, column) int16, -1 for background and unseen; `probability` (row, column) of the best prompt;
        with `soft`, `probabilities` (label, row, column); with `independent`, `masks` (label, row, column) bool;
        `image`. `attrs` say by which rule and formula.

    Raises:
        LayerError: smoothing without keys.
        PromptError: background prompts that are not among the names, masks without an absolute rule, or another
            option that cannot be.
        GeometryError: a size that cannot be.
        OutOfMemoryError: an answer of that size does not fit.

    Warns:
        UserWarning: one prompt and no absolute rule: it is everywhere in any image.
    """
    import xarray as xr

    soft, independent = is_on(soft, "soft", error=PromptError), is_on(independent, "independent", error=PromptError)
    rule, denoise, (rows, columns) = Background.of(background), checked(denoise, smooth), _size(size, trace)
    rule = rule.joined([name for name, hides in zip(prompts.prompts, prompts.background, strict=True) if hides])
    names, away = prompts.named(absent=False), np.array(prompts.absent)
    hidden, maps = rule.hidden(names), cosine_maps(trace.dense, vectors[None])[0]
    cut = rule.cut(maps[away].numpy()[:, trace.geometry.in_sight])
    words = rule.words(formula, cut, alone=_is_alone(names, formula, rule, cut, independent=independent))
    scores, cosines = refined(trace, maps[~away], denoise, smooth)
    words = "background: denoising removed every prompt" if is_removed(cosines) else words
    if smooth and formula.name == "softmax":
        # smoothed scores are sums of probabilities, not cosines: the official code takes their plain softmax
        formula = replace(formula, scale=1.0)
    options: dict[str, Any] = {"hidden": hidden, "below": rule.below, "cut": cut, "soft": soft}
    options |= {"independent": independent, "cosines": cosines.numpy() if smooth else None}
    with memory_guard("the size of the answer, leave soft and independent masks out"):
        answer = label(scores.numpy(), trace.geometry, formula, rows=rows, columns=columns, **options)
    about, dims = described(prompts, formula), ("label", "row", "column")
    number = {name: about.pop(name) for name in ("long_name", "units")}
    data: dict[str, Any] = {
        name: (dims[-values.ndim :], values, number if name.startswith("probabilit") else {})
        for name, values in answer.items()
    }
    if "image" in trace.parts:
        data["image"] = (("image_row", "image_column", "rgb"), trace.image)
    size = None if (rows, columns) == trace.geometry.image else (rows, columns)
    attrs = {**attributes(trace), **wording(prompts), **about, "background": words}
    attrs |= _asked(prompts, rule, formula, denoise=denoise, smooth=smooth, size=size)
    attrs |= {"refinement": _describe(denoise, smooth)} | ({"cosine_cut": cut} if cut > NO_CUT else {})
    return xr.Dataset(data, coords={"label": names}, attrs=attrs)


def checked(denoise: float, smooth: str) -> float:
    """Refuse refinements that cannot be, by a PromptError; give the threshold."""
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


def refined(trace: Trace, cosines: Tensor, denoise: float, smooth: str) -> tuple[Tensor, Tensor]:
    """Refine cosines (prompt, y, x) to scores, and lower those of prompts that denoising removed.

    Raises:
        LayerError: smoothing without keys, or of windows that are kept apart.
    """
    if denoise:
        cosines, _ = prompt_denoising(cosines, denoise, trace.geometry.in_sight)
    if not smooth:
        return cosines, cosines
    if trace.keys is None:
        got, expected = "key smoothing of a trace without keys", "a trace that holds the pool's keys"
        fix = "Trace with keys='key' (or keys='projected', as the official code does for ViTs)."
        raise LayerError(got, expected=expected, fix=fix)
    if trace.geometry.apart:
        got, fix = "key smoothing of windows that are kept apart", "Take geometry='whole', or leave smooth out."
        raise LayerError(got, expected="keys of one grid", fix=fix)
    return key_smoothing(cosines, trace.keys, normalisation=smooth), cosines


def _is_alone(names: Sequence[str], formula: Formula, rule: Background, cut: float, *, independent: bool) -> bool:
    """Tell whether one prompt is judged by nothing, and refuse masks where each prompt would be."""
    if cut > NO_CUT or (formula.name == "sigmoid" and rule.below):
        return False
    if independent:
        got, expected = "independent masks without a cut: every prompt would be everywhere", "an absolute rule"
        fix = "Name absent prompts, or pass background=maps.Background(cosine=0.2)."
        raise PromptError(got, expected=expected, fix=fix)
    if len(names) == 1:
        warn_of_no_rival(names[0])
    return len(names) == 1


def _asked(prompts: Prompts, rule: Background, formula: Formula, **options: Any) -> dict[str, str]:
    """Give, as JSON, templates and options that are not the default, for whoever asks again: words do not tell all."""
    changed = {name: value for name, value in vars(rule).items() if value != getattr(Background, name)}
    other = {"formula": formula.name} if formula.name == "softmax" and formula.bias else {}
    chosen = {name: value for name, value in {"background": changed, **options, **other}.items() if value}
    attrs = {} if prompts.templates == ("{}",) else {"templates": as_json(prompts.templates)}
    return attrs | ({"segment_options": as_json(chosen)} if chosen else {})


def _describe(denoise: float, smooth: str) -> str:
    steps = [f"prompt denoising {denoise:g}"] if denoise else []
    steps += [f"key smoothing ({smooth})"] if smooth else []
    return ", ".join(steps) or "none"


STRIP = 2**20  # numbers held at once while a strip of rows is labelled
NO_CUT = -2.0  # below every cosine, and above the score of a prompt that denoising removed
assert NO_CUT > REMOVED


@dataclass(frozen=True)
class Background:
    """What counts as background, a pixel without a label: where any one of these says so.

    Attributes:
        below: Pixels whose best probability is below this. A softmax shares one out among the prompts given: its
            numbers tell which prompt fits better, not whether one is there. A model's own sigmoid tells that too.
        prompts: Pixels whose best prompt is one of these.
        cosine: Pixels whose best prompt has no higher cosine than this: absolute.
        absent: Pixels whose best prompt has no higher cosine than any absent prompt has anywhere in the image:
            absolute, and without absent prompts nothing.

    Example:
        >>> import denseclip_viz as dcv
        >>> dcv.maps.Background.of(0.4), dcv.maps.Background.of(["sky", "grass"]).prompts
        (Background(below=0.4, prompts=(), cosine=None, absent=True), ('sky', 'grass'))
    """

    below: float = 0.0
    prompts: tuple[str, ...] = ()
    cosine: float | None = None
    absent: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.prompts, list):
            object.__setattr__(self, "prompts", tuple(self.prompts))
        texts = isinstance(self.prompts, tuple) and all(isinstance(prompt, str) for prompt in self.prompts)
        cosine = self.cosine is None or is_number(self.cosine, -1, 1)
        if not (is_number(self.below, 0, 1) and texts and cosine and isinstance(self.absent, bool)):
            raise _refused(", ".join(f"{name}={reprlib.repr(value)}" for name, value in vars(self).items()))

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
            >>> import denseclip_viz as dcv
            >>> dcv.maps.Background(below=0.4).joined(["sky"]).prompts
            ('sky',)
        """
        return replace(self, prompts=tuple(dict.fromkeys([*self.prompts, *prompts])))

    def hidden(self, names: Sequence[str]) -> np.ndarray:
        """Tell which labels are background prompts, (label,).

        Raises:
            PromptError: background prompts that are no labels, or more labels than there are numbers for.
        """
        if len(names) > MOST_LABELS:
            expected = f"at most {MOST_LABELS}, as labels are 16-bit numbers"
            raise PromptError(f"{len(names)} prompts to label pixels with", expected=expected, fix="Segment in parts.")
        if unknown := [name for name in self.prompts if name not in names]:
            got = f"background prompts {', '.join(map(repr, unknown))} are not among the prompts"
            fix = "Add them to the prompts too: they compete with the others for each pixel."
            raise PromptError(got, expected=f"some of {', '.join(map(repr, names))}", fix=fix)
        return np.array([name in self.prompts for name in names])

    def cut(self, absent: np.ndarray) -> float:
        """Give the cosine that a pixel must be above, of those of absent prompts where seen; `NO_CUT` for none.

        Example:
            >>> import denseclip_viz as dcv
            >>> import numpy as np
            >>> dcv.maps.Background(cosine=0.2).cut(np.array([[[0.1, 0.3]]]))
            0.3
            >>> dcv.maps.Background(absent=False).cut(np.ones((1, 1, 1)))
            -2.0
        """
        cosine = NO_CUT if self.cosine is None else self.cosine
        return max(cosine, float(absent.max())) if self.absent and absent.size else cosine

    def words(self, formula: Formula, cut: float, *, alone: bool) -> str:
        """Put the rule in words, for captions."""
        rules = [f"best prompt is {', '.join(self.prompts)}"] if self.prompts else []
        noun = "share of the prompts given" if formula.name == "softmax" else "probability"
        rules += [f"{noun} below {self.below:g}"] if self.below else []
        if cut > NO_CUT:
            highest = "" if cut == self.cosine else ", the highest of an absent prompt"
            rules += [f"cosine not above {cut:.3g}{highest}"]
        words = f"background: {' or '.join(rules)}" if rules else "no background: every pixel named"
        return f"{words}; one prompt alone has no competitor" if alone else words


def _refused(got: str) -> PromptError:
    expected = "None, a probability in [0, 1], a list of background prompts, or a Background(...)"
    fix = "Try background=0.3, background=['sky', 'ground'] or background=maps.Background(cosine=0.2)."
    return PromptError(f"background {got}", expected=expected, fix=fix)


def label(
    scores: np.ndarray,
    geometry: Geometry,
    formula: Formula,
    *,
    rows: int,
    columns: int,
    cosines: np.ndarray | None = None,
    hidden: np.ndarray | None = None,
    below: float = 0.0,
    cut: float = NO_CUT,
    soft: bool = False,
    independent: bool = False,
) -> dict[str, np.ndarray]:
    """Name every pixel by its best prompt, from scores (prompt, y, x) on the grid and, where they differ, cosines.

    A pixel is named where its best prompt is none of the `hidden` ones, reaches the probability `below` and has a
    cosine above `cut`.

    Returns:
        `labels` (row, column) int16, -1 for background and for what the model did not see; `probability` (row, column)
        float32 of the best prompt, NaN where not seen; as asked for `probabilities` and `masks`, (prompt, row, column).
    """
    count, shape = len(scores), (rows, columns)
    hidden = np.zeros(count, dtype=bool) if hidden is None else hidden
    result: dict[str, np.ndarray] = {
        "labels": np.full(shape, -1, np.int16),
        "probability": np.full(shape, np.nan, np.float32),
    }
    result |= {"probabilities": np.full((count, *shape), np.nan, np.float32)} if soft else {}
    result |= {"masks": np.zeros((count, *shape), dtype=bool)} if independent else {}
    drawn = scores if cosines is None else np.concatenate([scores, cosines])
    for strip, values, visible in strips(drawn, geometry, rows, columns):
        ranked, absolute = values[:count], values[-count:]
        best = ranked.argmax(0)
        shares = formula.probabilities(ranked if formula.name == "softmax" else absolute)
        share, cosine = (np.take_along_axis(each, best[None], 0)[0] for each in (shares, absolute))
        is_named = visible & ~hidden[best] & (share >= below) & (cosine > cut)
        result["labels"][strip] = np.where(is_named, best, -1)
        result["probability"][strip] = np.where(visible, share, np.nan)
        if soft:
            result["probabilities"][:, strip] = np.where(visible, shares, np.nan)
        if independent:
            likely = shares >= below if formula.name == "sigmoid" else True
            result["masks"][:, strip] = visible & (absolute > cut) & likely
    return result


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
