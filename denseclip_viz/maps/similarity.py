"""Dense features against text: raw cosines with names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import LayerError, PromptError, warn
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Fitted, Trace
from denseclip_viz.validation import one_of, short

if TYPE_CHECKING:
    import xarray as xr


def named(long_name: str, units: str = "cosine") -> dict[str, str | int]:
    """Say what numbers are, as plots of xarray read it."""
    return {"long_name": long_name, "units": units}


DENSE = named("dense features against text")
PLACES = {"y": named("from the top of the image", "px"), "x": named("from its left", "px")}
"""Of pixel centres in the upright image."""


@guarded
def cosine_maps(features: Tensor, vectors: Tensor) -> Tensor:
    """Compare every position with every text.

    Args:
        features: `(…, y, x, D)`, of any length.
        vectors: `(template, prompt, D)`, of any length.

    Returns:
        Raw cosines in [-1, 1], `(…, template, prompt, y, x)`. A zero vector has cosine 0 with everything.

    Raises:
        LayerError: other axes, or vectors of another space.

    Example:
        >>> import denseclip_viz as dcv
        >>> import torch
        >>> dcv.maps.cosine_maps(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[1.0, 0.0]]])).tolist()
        [[[[1.0, 0.0]]]]
    """
    if features.ndim < 3 or vectors.ndim != 3 or features.shape[-1] != vectors.shape[-1]:
        got = f"features {tuple(features.shape)} and vectors {tuple(vectors.shape)}"
        fix = "Of plain texts pass model.encode_text(texts)[None]."
        raise LayerError(got, expected="(…, y, x, D) and (template, prompt, D) of one D", fix=fix)
    vectors = vectors.to(features.device, features.dtype)
    maps = torch.einsum("...yxd,tpd->...tpyx", F.normalize(features, dim=-1), F.normalize(vectors, dim=-1))
    return maps.clamp(-1, 1)


def similarity(trace: Trace, vectors: Tensor, prompts: Prompts) -> xr.DataArray:
    """Label the cosines of a trace's dense features with each text's vector, (template, prompt, D).

    Returns:
        `(template, prompt, y, x)`, raw cosines; `y, x` are cell centres in pixels of the upright image. Of a trace of a
        list of paths `(path, template, prompt, y, x)`.
    """
    import xarray as xr

    alone = [cosine_maps(features, vectors) for features in (trace.dense if trace.has_path_axis else [trace.dense])]
    maps = torch.stack(alone) if trace.has_path_axis else alone[0]  # one by one: a path's map is the same beside others
    axis = {"path": list(trace.paths)} if trace.has_path_axis else {}
    return xr.DataArray(
        maps.numpy(),
        dims=(*axis, "template", "prompt", "y", "x"),
        coords={**axis, **coordinates(trace, prompts)},
        name="dense",
        attrs=attributes(trace) | wording(prompts) | DENSE,
    )


LONG_NAMES = {
    "softmax": "share of the prompts given (softmax)",
    "sigmoid": "probability (sigmoid, each prompt by itself)",
}


@dataclass(frozen=True)
class Formula:
    """How cosines become probabilities: `softmax(scale · cosine)` over prompts, or `sigmoid(scale · cosine + bias)`."""

    name: str
    scale: float
    bias: float = 0.0

    def probabilities(self, cosines: np.ndarray, axis: int = 0) -> np.ndarray:
        """Compute them along the axis of prompts.

        Example:
            >>> cosines = np.zeros(2)
            >>> Formula("softmax", 100.0).probabilities(cosines), Formula("sigmoid", 100.0, -5.0).probabilities(cosines)
            (array([0.5, 0.5]), array([0.00669285, 0.00669285]))
        """
        if self.name == "sigmoid":
            sigmoid: np.ndarray = np.exp(-np.logaddexp(0, -(self.scale * cosines + self.bias)))
            return sigmoid
        values = np.exp(self.scale * (cosines - cosines.max(axis, keepdims=True)))
        shares: np.ndarray = values / values.sum(axis, keepdims=True)
        return shares


def choose_formula(name: str | None, scale: float, bias: float | None) -> Formula:
    """Choose how cosines become probabilities: as the model was trained, unless another formula is named.

    Raises:
        PromptError: No such formula, or the sigmoid of a model without a bias for it.

    Example:
        >>> choose_formula(None, 100.0, None), choose_formula(None, 100.0, -10.0).name
        (Formula(name='softmax', scale=100.0, bias=0.0), 'sigmoid')
    """
    if name is None:
        name = "softmax" if bias is None else "sigmoid"
    one_of(name, tuple(LONG_NAMES), "formula", error=PromptError)
    if name == "softmax":
        return Formula(name, scale, bias or 0.0)
    if bias is None:
        got, fix = "A sigmoid of a model without a logit bias", "Leave the formula out for the softmax."
        raise PromptError(got, expected="a model that was trained with a sigmoid, such as SigLIP", fix=fix)
    return Formula(name, scale, bias)


def classify(trace: Trace, vectors: Tensor, prompts: Prompts, formula: Formula) -> xr.DataArray:
    """Give the whole image's probability of each prompt, in each template; absent prompts are the baseline.

    `vectors` are (template, prompt, D), of any length.

    Returns:
        `(template, prompt)` of the prompts that are not absent, with the coordinates `cosine` (template, prompt) and,
        of absent ones, `absent_baseline` (template), their highest cosine; `long_name` says what the numbers are.

    Warns:
        UserWarning: A softmax over one prompt.

    Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.2; Zhai et al. 2023, arXiv 2303.15343, section 3.2.
    """
    import xarray as xr

    texts, away = F.normalize(vectors.to(trace.global_embedding.dtype), dim=-1), np.array(prompts.absent)
    cosines = (texts @ F.normalize(trace.global_embedding, dim=0)).clamp(-1, 1).numpy()
    names, dims = prompts.named(absent=False), ("template", "prompt")
    coords: dict[str, Any] = {
        "template": list(prompts.templates),
        "prompt": names,
        "cosine": (dims, cosines[:, ~away], named("global embedding against text")),
    }
    if away.any():
        coords["absent_baseline"] = ("template", cosines[:, away].max(1), named("highest of the absent prompts"))
    if formula.name == "softmax" and len(names) == 1:
        warn_of_no_rival(names[0])
    values = formula.probabilities(cosines[:, ~away], axis=-1)
    attrs = {**attributes(trace), **wording(prompts), **described(prompts, formula)}
    return xr.DataArray(values, coords=coords, dims=dims, name="probability", attrs=attrs)


def described(prompts: Prompts, formula: Formula) -> dict[str, str | float]:
    """Say what probabilities are, and of which prompts, as JSON, the baseline is; safe for netCDF."""
    attrs: dict[str, str | float] = {"formula": formula.name, **named(LONG_NAMES[formula.name], "1")}
    attrs |= {"scale": formula.scale} | ({"bias": formula.bias} if formula.name == "sigmoid" else {})
    absent = prompts.named(absent=True)
    return attrs | ({"absent": as_json(absent)} if absent else {})


def wording(prompts: Prompts) -> dict[str, str | int]:
    """Say how prompts were put into words, as far as no axis tells and it is not the default; safe for netCDF.

    Example:
        >>> wording(Prompts({"car": ["car", "auto"], "grass": "grass"}, "a {}", articles="right"))
        {'articles': 'right', 'synonyms': '{"car": ["car", "auto"]}'}
    """
    more = {name: texts for name, texts in zip(prompts.prompts, prompts.synonyms, strict=True) if texts != (name,)}
    attrs: dict[str, str | int] = {} if prompts.articles == "as written" else {"articles": prompts.articles}
    attrs |= {"plural": 1} if prompts.plural else {}
    return attrs | ({"synonyms": as_json(more)} if more else {})


def as_json(value: object) -> str:
    """Write what an attribute of a file cannot hold as it is, so that people can read it and it comes back exactly."""
    return json.dumps(value, ensure_ascii=False, default=float)  # numbers of NumPy are numbers, too


def warn_of_no_rival(name: str) -> None:
    """Warn of one prompt alone: a softmax over it is 1 for any image."""
    got = f"{short(name)} is the only prompt, so its share is 100 % whatever the image"
    warn(f"{got}. Name other prompts beside it, or judge it by its cosine.")


def coordinates(trace: Fitted, prompts: Prompts) -> dict[str, Any]:
    """Name the axes `template, prompt, y, x`, and mark the absent and the background prompts."""
    return {
        "template": list(prompts.templates),
        "prompt": list(prompts.prompts),
        "absent": ("prompt", np.asarray(prompts.absent, dtype=bool)),
        "background": ("prompt", np.asarray(prompts.background, dtype=bool)),
        "y": ("y", np.asarray(trace.geometry.y), PLACES["y"]),
        "x": ("x", np.asarray(trace.geometry.x), PLACES["x"]),
    }


def attributes(trace: Fitted) -> dict[str, str | int]:
    """Say where the numbers come from: provenance, geometry, image; safe for netCDF."""
    return {**trace.provenance, "image_name": trace.name, "geometry": trace.geometry.to_json()}
