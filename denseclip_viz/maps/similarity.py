"""Dense features against text: raw cosines with names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr


@guarded
def named(long_name: str, units: str = "cosine") -> dict[str, str | int]:
    """Say what numbers are, as plots of xarray read it."""
    return {"long_name": long_name, "units": units}


DENSE = named("dense features against text")


def cosine_maps(features: Tensor, vectors: Tensor) -> Tensor:
    """Compare every position with every text.

    Args:
        features: `(…, y, x, D)`, of any length.
        vectors: `(template, prompt, D)`, of any length.

    Returns:
        Raw cosines in [-1, 1], `(…, template, prompt, y, x)`. A zero vector has cosine 0 with everything.

    Example:
        >>> cosine_maps(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[1.0, 0.0]]])).tolist()
        [[[[1.0, 0.0]]]]
    """
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
        name="similarity",
        attrs=attributes(trace) | DENSE,
    )


def classify(trace: Trace, vectors: Tensor, prompts: Prompts, *, scale: float) -> xr.DataArray:
    """Share out one between the prompts, in each template: CLIP's ordinary zero-shot probabilities.

    `vectors` are (template, prompt, D), of any length; `scale` is exp(logit_scale).

    Returns:
        `(template, prompt)`, each row sums to one.

    Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.2.
    """
    import xarray as xr

    texts = F.normalize(vectors.to(trace.dense.dtype), dim=-1)
    shares = torch.softmax(scale * (texts @ F.normalize(trace.global_embedding, dim=0)), dim=-1)
    dims = ("template", "prompt")
    coords = {name: values for name, values in coordinates(trace, prompts).items() if name not in ("y", "x")}
    return xr.DataArray(shares.numpy(), coords=coords, dims=dims, name="probability", attrs=attributes(trace))


def coordinates(trace: Trace, prompts: Prompts) -> dict[str, Any]:
    """Name the axes `template, prompt, y, x`, and mark the absent and the background prompts."""
    return {
        "template": list(prompts.templates),
        "prompt": list(prompts.prompts),
        "absent": ("prompt", np.asarray(prompts.absent, dtype=bool)),
        "background": ("prompt", np.asarray(prompts.background, dtype=bool)),
        "y": np.asarray(trace.geometry.y),
        "x": np.asarray(trace.geometry.x),
    }


def attributes(trace: Trace) -> dict[str, str | int]:
    """Say where the numbers come from: provenance, geometry, image; safe for netCDF."""
    return {**trace.provenance, "image_name": trace.name, "geometry": trace.geometry.to_json()}
