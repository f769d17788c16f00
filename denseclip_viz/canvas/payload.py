"""What the browser gets of a result: names and numbers as JSON, maps and image as bytes. A pure function."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from PIL import Image

from denseclip_viz.canvas.map_stacks import TEXT, stacks, with_axes
from denseclip_viz.canvas.state import DIVERGING, ENSEMBLE, MEAN, OUTPUT, SEQUENTIAL, VIEWS
from denseclip_viz.errors import GeometryError, LayerError, OutputError
from denseclip_viz.geometry import Placement
from denseclip_viz.images import display
from denseclip_viz.plot.compare import QUESTIONS
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.raster import Bytes, colour_tables, jpeg, png
from denseclip_viz.plot.scales import label_colour
from denseclip_viz.plot.sheet import is_random, provenance
from denseclip_viz.trace import Trace

PARTS = ("contribution", "gap", "attention", "heads", "layers", "cells", "image")
LIMIT = 32.0  # MB that a notebook's browser is asked to hold for one canvas


@dataclass(frozen=True)
class Payload:
    """What the browser gets.

    Attributes:
        meta: JSON: names, places, scales, and how the numbers are unpacked.
        buffers: Bytes by name: maps as uint16, features as float16, image and labels as files, colour tables.
    """

    meta: dict[str, Any]
    buffers: dict[str, bytes]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """What the state may name: `{"prompt": […], "template": […], "layer": […], "view": […], "head": […]}`."""
        choices: dict[str, list[Any]] = self.meta["choices"]
        return choices

    @property
    def grid(self) -> tuple[int, int]:
        """The cells (y, x) that a pin counts: of the maps, or the pixels of the labels."""
        there = self.meta["labels"] or self.meta["stacks"][0]
        return there["grid"]["rows"], there["grid"]["columns"]

    @property
    def megabytes(self) -> float:
        """Size in MB of 10^6 bytes, before any base64."""
        return (sum(map(len, self.buffers.values())) + len(json.dumps(self.meta))) / 1e6


def payload(
    result: xr.Dataset | xr.DataArray,
    *,
    features: Trace | None = None,
    leave_out: Sequence[str] = (),
    limit: float = LIMIT,
) -> Payload:
    """Pack a result for the browser.

    Args:
        result: What `Model.compare`, `Model.similarity` or `Model.segment` returned.
        features: Its trace: gives the image where the result has none, and the dense features as unit vectors, so
            that a cell can be compared with all others.
        leave_out: Some of `"contribution"`, `"gap"`, `"attention"`, `"heads"`, `"layers"`, `"cells"` (the comparison
            of cells) and `"image"`.
        limit: In MB.

    Returns:
        The payload. Maps print with the decimals of the true values; see `numbers.packed`.

    Raises:
        LayerError: The result is none of these.
        GeometryError: The trace has another grid than the result.
        OutputError: More than the limit, or nothing that is called so to leave out.

    Example:
        >>> maps = xr.DataArray(
        ...     np.zeros((1, 1, 2, 2)),
        ...     dims=("template", "prompt", "y", "x"),
        ...     coords={"template": ["{}"], "prompt": ["grass"], "y": [4.5, 14.5], "x": [4.5, 14.5]},
        ... )
        >>> payload(maps).choices["view"]
        ['dense', 'segments']
    """
    _check_parts(leave_out)
    whole = known(result)
    check_trace(features, whole)
    where = placement(whole)
    meta, buffers, sizes = _about(whole, where), {"colours": colour_tables((*SEQUENTIAL, *DIVERGING))}, Counter[str]()
    if "labels" in whole:
        meta["labels"], buffers["labels"] = _labels(whole, where)
        meta["stacks"] = []
    else:
        meta["stacks"] = _pack_stacks(whole, leave_out, buffers, sizes)
    meta["features"] = None if features is None or "cells" in leave_out else _pack_cells(features, buffers, sizes)
    if "image" not in leave_out:
        _pack_image(whole, features, meta, buffers, sizes)
    meta["choices"] = _choices(whole, meta)
    made = Payload(meta, buffers)
    if made.megabytes > limit:
        raise _too_large(made.megabytes, limit, sizes)
    return made


def _check_parts(leave_out: Sequence[str]) -> None:
    for name in [leave_out] if isinstance(leave_out, str) else leave_out:
        if isinstance(leave_out, str) or name not in PARTS:
            got, expected = f"leave_out={leave_out!r}", f"a list of some of {', '.join(PARTS)}"
            raise OutputError(got, expected=expected, fix="For example leave_out=['layers'].")


def _about(whole: xr.Dataset, where: Placement) -> dict[str, Any]:
    """Names, places and where the numbers come from."""
    names = [str(name) for name in whole["label" if "labels" in whole else "prompt"].to_numpy()]
    marked = np.atleast_1d(whole["absent"].to_numpy()).tolist() if "absent" in whole.coords else [False] * len(names)
    scores = whole["score"].transpose(*TEXT).to_numpy() if "score" in whole else None
    if scores is not None and len(scores) > 1:
        scores = np.concatenate([scores, scores.mean(0, keepdims=True, dtype=np.float64)])
    return {
        "version": 1,
        "title": str(whole.attrs.get("image_name", "image")),
        "made": provenance(whole.attrs),
        "provenance": {str(key): str(value) for key, value in whole.attrs.items() if key != "geometry"},
        "random": is_random(whole.attrs),
        "reading": str(whole.attrs.get("layer_readout", "")),
        "questions": {**QUESTIONS, "segments": "which text wins where?"},
        "prompts": [{"name": name, "absent": bool(is_so)} for name, is_so in zip(names, marked, strict=True)],
        "palette": [[round(255 * part) for part in label_colour(i)] for i in range(len(names))],
        "tables": {"sequential": list(SEQUENTIAL), "diverging": list(DIVERGING)},
        "scores": None if scores is None else np.round(scores.astype(float), 6).tolist(),
        "size": list(where.image),
        "visible": list(where.visible),
        "image": None,
        "labels": None,
    }


def _pack_stacks(
    whole: xr.Dataset, leave_out: Sequence[str], buffers: dict[str, bytes], sizes: Counter[str]
) -> list[dict[str, Any]]:
    described = []
    for i, stack in enumerate(stack for stack in stacks(whole) if stack.part not in leave_out):
        name = f"maps {i}"
        about, buffers[name] = stack.described(name)
        sizes[stack.part] += len(buffers[name])
        described.append(about)
    return described


def _pack_cells(features: Trace, buffers: dict[str, bytes], sizes: Counter[str]) -> dict[str, Any]:
    """The dense features as float16 unit vectors, and the lowest cosine among some of them, for the scale."""
    vectors = features.dense.float().flatten(0, 1)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    buffers["cells"] = vectors.numpy().astype("<f2").tobytes()
    sizes["cells"] = len(buffers["cells"])
    some = vectors[:: max(1, len(vectors) // 256)]
    low = min(float((some @ some.T).min()), 0.9)
    there = features.geometry.placement().to_dict()
    return {"grid": there, "width": vectors.shape[1], "low": low, "high": 1.0, "unit": "cosine"}


def _pack_image(
    whole: xr.Dataset,
    features: Trace | None,
    meta: dict[str, Any],
    buffers: dict[str, bytes],
    sizes: Counter[str],
) -> None:
    image = whole["image"].to_numpy() if "image" in whole else None if features is None else features.image
    if image is not None:
        meta["image"], buffers["image"] = image_file(image)
        sizes["image"] = len(buffers["image"])


def _labels(whole: xr.Dataset, where: Placement) -> tuple[dict[str, Any], bytes]:
    labels: npt.NDArray[np.integer] = whole["labels"].transpose("row", "column").to_numpy()
    known = whole["probability"].transpose("row", "column").to_numpy() if "probability" in whole else None
    shape, file = label_file(labels, np.zeros(labels.shape) if known is None else known)
    (height, width), said = where.image, {name: str(whole.attrs.get(name, "")) for name in ("background", "refinement")}
    there = where._replace(grid=shape, box=(0, 0, height, width)).to_dict()
    return {**said, "grid": there, "probability": known is not None}, file


def _choices(whole: xr.Dataset, meta: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What the state may name, of what is there."""
    there = {stack["view"] for stack in meta["stacks"]} | {"segments"}
    templates = [str(name) for name in whole["template"].to_numpy()] if "labels" not in whole else [ENSEMBLE]
    heads = any(stack["axes"] == ["head"] for stack in meta["stacks"])
    mean = any(stack["view"] == "attention" and not stack["axes"] for stack in meta["stacks"])
    return {
        "prompt": [prompt["name"] for prompt in meta["prompts"]],
        "template": templates + [ENSEMBLE] * (len(templates) > 1),
        "layer": list(dict.fromkeys([OUTPUT, *(stack["layer"] for stack in meta["stacks"])])),
        "view": [view for view in VIEWS if view in there],
        "head": [MEAN] * (mean or not heads) + (whole["head"].to_numpy().tolist() if heads else []),
    }


def _too_large(got: float, limit: float, sizes: Counter[str]) -> OutputError:
    named = [(part, size) for part, size in sizes.most_common() if part in PARTS]
    shown = ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in named)
    fix = f"Leave something out ({shown}), for example leave_out=[{named[0][0]!r}]; " if named else ""
    return OutputError(
        f"The result takes {got:.1f} MB in the browser",
        expected=f"at most {limit:g} MB",
        fix=f"{fix or 'Pass '}{'or pass ' if fix else ''}fewer prompts or templates.",
    )


def known(result: object) -> xr.Dataset:
    """Take a comparison, similarities as a comparison of dense maps only, or a segmentation; LayerError for the rest.

    Example:
        >>> known(3)
        Traceback (most recent call last):
        denseclip_viz.errors.LayerError: A canvas cannot show an object of type int. Expected what model.compare, ...
    """
    if isinstance(result, xr.DataArray) and {"y", "x"} <= set(result.dims):
        result = result.to_dataset(name="dense").assign_attrs(result.attrs)
    if isinstance(result, xr.Dataset):
        whole = with_axes(result)
        dims = {name: set(whole[name].dims) for name in ("dense", "labels") if name in whole}
        if dims.get("labels") == {"row", "column"} or dims.get("dense") == {*TEXT, "y", "x"}:
            return whole
    raise LayerError(
        f"A canvas cannot show {_said(result)}",
        expected="what model.compare, model.similarity or model.segment return",
        fix="Pass the result itself, with its axes template, prompt, y, x.",
    )


def check_trace(features: Trace | None, whole: xr.Dataset) -> None:
    """Refuse a trace of another grid. A segmentation has pixels of its own: any trace of its image will do."""
    if features is None or "labels" in whole:
        return
    grid = (whole.sizes["y"], whole.sizes["x"])
    other = "geometry" in whole.attrs and whole.attrs["geometry"] != features.geometry.to_json()
    if grid != features.geometry.grid or other:
        got = f"A trace of {features.name!r} with the grid {features.geometry.grid} for a result with the grid {grid}"
        raise GeometryError(got, expected="the trace that the result came from", fix="Pass that one, or none.")


def _said(result: object) -> str:
    if isinstance(result, xr.DataArray):
        return f"a DataArray with axes {', '.join(map(str, result.dims)) or 'none'}"
    if isinstance(result, xr.Dataset):
        return f"a Dataset of {', '.join(map(str, result.data_vars)) or 'nothing'}"
    return f"an object of type {type(result).__name__}"


LONGEST = 1024  # pixels of an image's long side; more only makes pages large
QUALITY = 92  # of a JPEG; below it the blocks are seen beneath a map


def image_file(image: npt.ArrayLike) -> tuple[str, bytes]:
    """Encode an image as the smaller of PNG and JPEG.

    Args:
        image: uint8 (row, column, rgb); shrunk if its long side has more than 1024 pixels.

    Returns:
        The kind, `"image/png"` or `"image/jpeg"`, and the bytes.

    Example:
        >>> image_file(np.zeros((2, 3, 3), np.uint8))[0]
        'image/png'
    """
    pixels = display(Image.fromarray(np.asarray(image, dtype=np.uint8)), longest=LONGEST)
    exact, lossy = png(pixels), jpeg(pixels, quality=QUALITY, subsampling=0)
    return ("image/png", exact) if len(exact) <= len(lossy) else ("image/jpeg", lossy)


def label_file(labels: npt.NDArray[np.integer], probability: npt.ArrayLike) -> tuple[tuple[int, int], bytes]:
    """Write labels and probabilities as the colours of a PNG: red and green hold label + 1, blue the probability.

    Args:
        labels: (row, column), -1 where there is none; of more than 1024 pixels a side only some are kept.
        probability: (row, column) in 0..1; NaN where not seen.

    Returns:
        (rows, columns) and the bytes.

    Example:
        >>> label_file(np.array([[-1, 300]]), [[np.nan, 1.0]])[0]
        (1, 2)
    """
    step = -(-max(labels.shape) // LONGEST)
    some = slice(step // 2, None, step)
    numbers = labels[some, some].astype(np.int64) + 1
    shares = np.nan_to_num(np.asarray(probability, dtype=np.float64)[some, some])
    colours: Bytes = np.stack([numbers >> 8, numbers & 255, np.rint(shares * 255)], axis=-1).astype(np.uint8)
    return (colours.shape[0], colours.shape[1]), png(colours)
