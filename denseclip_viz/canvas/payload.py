"""What the browser gets of a result: names and numbers as JSON, maps and image as bytes. A pure function."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz.canvas.encoding import image_file, label_file, mask_files
from denseclip_viz.canvas.map_stacks import TEXT, Key, drawn_by, maps_by_state, stacks_of, text_values, with_axes
from denseclip_viz.canvas.recipe import recipe
from denseclip_viz.canvas.state import (
    DEFAULTS,
    DIVERGING,
    ENSEMBLE,
    MEAN,
    OUTPUT,
    PICKED_BY,
    RULES,
    SEQUENTIAL,
    VIEWS,
    Frame,
    carry_over,
)
from denseclip_viz.clip.summary import is_random
from denseclip_viz.errors import GeometryError, LayerError, OutputError
from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import in_order
from denseclip_viz.plot.panels import placement
from denseclip_viz.plot.raster import LOOK, colour_tables
from denseclip_viz.plot.scales import Limits, Scale, covering, label_colour, limited, limits_by_view
from denseclip_viz.plot.segments import STRIPES
from denseclip_viz.plot.sheet import provenance
from denseclip_viz.trace import Trace
from denseclip_viz.validation import some_of

PARTS = ("contribution", "gap", "attention", "heads", "attribution", "layers", "cells", "image")
Result = xr.Dataset | xr.DataArray
AXES = {"dense": "path", "attribution": "candidate", "difference": ""}  # that maps of texts may have in front
NO_FACTS = ("geometry", "caution")  # attributes that have a place of their own
LIMIT = 32.0  # MB that a notebook's browser is asked to hold for one canvas


@dataclass(frozen=True)
class Payload:
    """What the browser gets.

    Attributes:
        meta: JSON: names, places, scales, how the numbers are unpacked, and the rules of `plot` and `state` as data.
        buffers: Bytes by name, of which the first word is the part: maps as uint16, cells as float16, image and labels
            as files, colour tables.
        scales: Of its maps, by what those of other results share with them.
    """

    meta: dict[str, Any]
    buffers: dict[str, bytes]
    scales: dict[Key, Scale]

    @property
    def choices(self) -> dict[str, list[Any]]:
        """What the state may name: `{"prompt": […], "template": […], "path": […], "layer": […], …}`."""
        choices: dict[str, list[Any]] = self.meta["choices"]
        return choices

    @property
    def frame(self) -> Frame:
        """What places in its state lie in: cells of the maps, or pixels of the labels, and the image."""
        height, width = self.meta["size"]
        return Frame((self.cells["rows"], self.cells["columns"]), (height, width))

    @property
    def cells(self) -> dict[str, Any]:
        """Where these cells lie: top, left, bottom, right, rows, columns."""
        cells: dict[str, Any] = (self.meta["labels"] or self.meta["stacks"][0])["grid"]
        return cells

    def place(self, grid: Mapping[str, Any] | None = None) -> Placement:
        """Give where a grid of its maps lies in the image, by default that of its cells."""
        known = {"image": self.meta["size"], "visible": self.meta["visible"]}
        return Placement.from_dict(self.cells if grid is None else grid, **known)

    def on_scales(self, several: Iterable[Mapping[Key, Scale]], limits: Limits = None) -> "Payload":
        """Show it on scales that cover those of several results, or within limits: a pair for dense, or by view.

        Raises:
            ImageError: Limits of no view, or that are no limits.
        """
        listed, chosen = [self.scales, *several], limits_by_view(limits)
        drawn = {
            key: limited(covering([scales[key] for scales in listed if key in scales]), chosen.get(key[0]))
            for key in self.scales
        }
        stacks = [{**old, **drawn_by(new)} for old, new in zip(self.meta["stacks"], drawn.values(), strict=True)]
        return Payload({**self.meta, "stacks": stacks}, self.buffers, drawn)

    def baseline(self, state: Mapping[str, Any]) -> float | None:
        """Give the highest value of an absent prompt in the template, and along the path, of a state, if there is one.

        selection.js does it by the same rule.
        """
        stack, at = self.select(state)
        return stack["baseline"][at // stack["sizes"][1]] if stack["baseline"] else None

    @property
    def source(self) -> tuple[str, str]:
        """The model and its weights: cosines of one lie on one scale, those of two do not."""
        about = self.meta["provenance"]
        return about.get("model", ""), about.get("weights_hash", "")

    @property
    def megabytes(self) -> float:
        """Size in MB of 10^6 bytes, before any base64."""
        return (sum(map(len, self.buffers.values())) + len(json.dumps(self.meta))) / 1e6

    def select(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Find the stack that a state names, and which of its maps, as selection.js does by the same table."""
        at = {name: offered.index(state[name]) for name, offered in self.choices.items()}
        entries = self.meta["maps"][state["layer"]][state["view"]]
        number, first = entries[at.get(PICKED_BY.get(state["view"], ""), 0)]
        stack: dict[str, Any] = self.meta["stacks"][number]
        return stack, first + (at["template"] * stack["sizes"][1] + at["prompt"] if len(stack["axes"]) == 2 else 0)

    def hovers(self, state: Mapping[str, Any]) -> bool:
        """Say whether cells are compared with one, as isHovering in selection.js: without a trace there are none."""
        return bool(state["hover"] and self.meta["features"])

    def threshold_of(self, state: Mapping[str, Any]) -> tuple[Any, ...]:
        """Say what a threshold is a number of: of which kind, as kindOf in selection.js, and on which scale."""
        if not self.meta["maps"][state["layer"]].get(state["view"]):
            return ()
        stack, _ = self.select(state)
        apart = bool(state["versus"]) and state["contrast"] == "difference"
        return (apart, self.hovers(state), stack["unit"], stack["diverging"]), (stack["low"], stack["high"])


def pack_result(
    result: xr.Dataset | xr.DataArray,
    *,
    features: Trace | None = None,
    leave_out: Sequence[str] = (),
    limit: float = LIMIT,
) -> Payload:
    """Pack a comparison, similarities, attributions or a segmentation for the browser; numbers print as the true ones.

    `features` is its trace: it gives the image where the result has none, and the dense features as unit vectors, so
    that a cell can be compared with all others. `leave_out` holds some of `PARTS`, `limit` is in MB.

    Raises:
        LayerError: The result is none of these.
        GeometryError: The trace has another grid than the result.
        OutputError: More than the limit, or nothing that is called so to leave out.
    """
    leave_out = some_of(leave_out, PARTS, "leave_out", error=OutputError, fix="For example leave_out=['layers'].")
    whole = as_dataset(result)
    check_trace(features, whole)
    where = placement(whole)
    stacks = [] if "labels" in whole else [stack for stack in stacks_of(whole) if stack.part not in leave_out]
    meta, buffers = _about(whole, where), {"colours": colour_tables((*SEQUENTIAL, *DIVERGING))}
    for i, stack in enumerate(stacks):
        name = f"{stack.part} {i}"
        described, buffers[name] = stack.pack(name)
        meta["stacks"].append(described)
    if "labels" in whole:
        meta["labels"], files = _labels(whole, where)
        buffers |= files
    if features is not None and "cells" not in leave_out:
        meta["features"], buffers["cells"] = _cells(features)
    image = whole["image"].to_numpy() if "image" in whole else None if features is None else features.image
    if image is not None and "image" not in leave_out:
        meta["image"], buffers["image"] = image_file(image)
    meta["recipe"] = "" if "difference" in whole else recipe(whole, with_trace=features is not None)
    meta["choices"] = _choices(whole, meta)
    meta["maps"] = maps_by_state(stacks, meta["choices"])
    meta["start"] = carry_over(DEFAULTS, meta["choices"])
    packed = Payload(meta, buffers, {stack.key: stack.scale for stack in stacks})
    if packed.megabytes > limit:
        raise _too_large(packed, limit)
    return packed


def scales_of(results: Result | Sequence[Result]) -> list[dict[Key, Scale]]:
    """Give the scales of results that another one is shown like."""
    listed = map(as_dataset, results if isinstance(results, list | tuple) else [results])
    return [{stack.key: stack.scale for stack in stacks_of(whole)} for whole in listed if "labels" not in whole]


def on_one_scale(several: Sequence[Payload]) -> list[Payload]:
    """Show results on scales that cover all of them, as far as they are of one model."""
    return [one.on_scales(other.scales for other in several if other.source == one.source) for one in several]


def _about(whole: xr.Dataset, where: Placement) -> dict[str, Any]:
    """Collect names, places, looks, and where the numbers come from."""
    names = [str(name) for name in whole["label" if "labels" in whole else "prompt"].to_numpy()]
    absent = np.atleast_1d(whole["absent"].to_numpy()).tolist() if "absent" in whole.coords else [False] * len(names)
    scores = text_values(whole["score"]) if "score" in whole else None
    return {
        "version": 1,
        "title": str(whole.attrs.get("image_name", "image")),
        "credit": provenance({**whole.attrs, "path": ""}),  # which one is shown is the state's
        "provenance": {str(key): str(value) for key, value in whole.attrs.items() if key not in NO_FACTS},
        "random": is_random(whole.attrs),
        "caution": str(whole.attrs.get("caution", "")),
        "reading": str(whole.attrs.get("layer_readout", "")),
        "prompts": [{"name": name, "absent": bool(is_so)} for name, is_so in zip(names, absent, strict=True)],
        "palette": [[round(255 * part) for part in label_colour(i)] for i in range(len(names))],
        "tables": {"sequential": list(SEQUENTIAL), "diverging": list(DIVERGING)},
        "look": {**LOOK, "stripes": STRIPES},
        "scores": None if scores is None else np.round(scores.astype(float), 6).tolist(),
        "size": list(where.image),
        "visible": list(where.visible),
        "cropped": where.is_cropped,
        **dict.fromkeys(("image", "labels", "features")),
        "pickedBy": PICKED_BY,
        "rules": RULES,
        "stacks": [],
    }


def _cells(features: Trace) -> tuple[dict[str, Any], bytes]:
    """Pack the dense features, path after path, as float16 unit vectors; give the lowest cosine among some of them."""
    vectors = features.dense.float().flatten(-3, -2)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    some = vectors[..., :: max(1, vectors.shape[-2] // 256), :]
    scale = Scale(min(float((some @ some.mT).min()), 0.9), 1.0, SEQUENTIAL[0], "cosine")
    grid = features.geometry.placement().to_dict()
    about = {"grid": grid, "width": vectors.shape[-1], "title": "cells like this one", **scale.to_dict()}
    return about, vectors.numpy().astype("<f2").tobytes()


def _labels(whole: xr.Dataset, where: Placement) -> tuple[dict[str, Any], dict[str, bytes]]:
    labels = whole["labels"].to_numpy()
    known = whole["probability"].to_numpy() if "probability" in whole else None
    shape, file = label_file(labels, np.zeros(labels.shape) if known is None else known)
    notes = {name: str(whole.attrs.get(name, "")) for name in ("background", "refinement")}
    grid = where._replace(grid=shape, box=(0, 0, *where.image)).to_dict()
    number = "" if known is None else str(whole["probability"].attrs.get("long_name", "probability"))
    masks = mask_files(whole["masks"].to_numpy()) if "masks" in whole else []
    files = {"labels": file} | {f"masks {i}": data for i, data in enumerate(masks)}
    return {**notes, "grid": grid, "probability": number, "files": list(files)}, files


def _choices(whole: xr.Dataset, meta: Mapping[str, Any]) -> dict[str, list[Any]]:
    """List what the state may name, of what is there."""
    templates = [str(name) for name in whole["template"].to_numpy()] if "labels" not in whole else [ENSEMBLE]
    heads = any(stack["axes"] == ["head"] for stack in meta["stacks"])
    mean = any(stack["view"] == "attention" and not stack["axes"] for stack in meta["stacks"])
    return {
        "prompt": [prompt["name"] for prompt in meta["prompts"]],
        "template": templates + [ENSEMBLE] * (len(templates) > 1),
        "path": [str(name) for name in np.atleast_1d(whole["path"].to_numpy())] if "path" in whole.coords else [""],
        "layer": list(dict.fromkeys([OUTPUT, *(stack["layer"] for stack in meta["stacks"])])),
        "view": _views(whole, meta["stacks"]),
        "method": [str(name) for name in whole["candidate"].to_numpy()] if "attribution" in whole else [""],
        "head": [MEAN] * (mean or not heads) + (whole["head"].to_numpy().tolist() if heads else []),
    }


def _views(whole: xr.Dataset, stacks: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the views that there are; of a segmentation with independent masks these come first."""
    if "labels" in whole:
        return ["masks", "segments"] if "masks" in whole else ["segments"]
    there = {stack["view"] for stack in stacks} | ({"segments"} if "dense" in whole else set())
    there |= {"masks"} if any(stack["baseline"] and stack["view"] == "dense" for stack in stacks) else set()
    return [view for view in VIEWS if view in there]


def _too_large(packed: Payload, limit: float) -> OutputError:
    sizes = Counter[str]()
    for name, data in packed.buffers.items():
        sizes[name.split()[0]] += len(data)
    named = [(part, size) for part, size in sizes.most_common() if part in PARTS]
    shown = ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in named)
    fix = f"Leave something out ({shown}), for example leave_out=[{named[0][0]!r}]; " if named else ""
    return OutputError(
        f"The result takes {packed.megabytes:.1f} MB in the browser",
        expected=f"at most {limit:g} MB",
        fix=f"{fix or 'Pass '}{'or pass ' if fix else ''}fewer prompts or templates.",
    )


def as_dataset(result: object) -> xr.Dataset:
    """Take a comparison, similarities or attributions as one of these maps only, or a segmentation.

    Raises:
        LayerError: Something else, or attributions beside a comparison of other positions or prompts.
    """
    if isinstance(result, xr.DataArray) and {"y", "x"} <= set(result.dims):
        name = "attribution" if "candidate" in result.dims else "dense"
        result = result.to_dataset(name=name).assign_attrs(result.attrs)
    if isinstance(result, xr.Dataset):
        whole = in_order(with_axes(result))
        dims = {name: set(whole[name].dims) for name in (*AXES, "labels") if name in whole}
        by_text = [dims[name] - {axis} for name, axis in AXES.items() if name in dims]
        if dims.get("labels") == {"row", "column"} or (by_text and all(axes == {*TEXT, "y", "x"} for axes in by_text)):
            return _matched(whole)
    kind = f"an object of type {type(result).__name__}"
    if isinstance(result, xr.DataArray):
        kind = f"a DataArray with axes {', '.join(map(str, result.dims)) or 'none'}"
    if isinstance(result, xr.Dataset):
        kind = f"a Dataset of {', '.join(map(str, result.data_vars)) or 'nothing'}"
    expected = "what model.compare, model.similarity, model.segment, attribution.attribute or maps.difference return"
    fix = "Pass the result itself, with its axes template, prompt, y, x."
    raise LayerError(f"A canvas cannot show {kind}", expected=expected, fix=fix)


def _matched(whole: xr.Dataset) -> xr.Dataset:
    """Refuse a result of nothing, and attributions that xarray took for others' and so left empty."""
    if empty := [str(axis) for axis, count in whole.sizes.items() if not count]:
        got, fix = f"A result without any {empty[0]}", "Pass the result itself, with its axes template, prompt, y, x."
        raise LayerError(got, expected="one or more", fix=fix)
    if "attribution" in whole and "dense" in whole and bool(whole["attribution"].isnull().any()):
        got, fix = "Attributions of other positions, templates or prompts", "Make them of the very trace and prompts."
        raise LayerError(got, expected="those of the comparison beside them", fix=fix)
    return whole


def check_trace(features: Trace | None, whole: xr.Dataset) -> None:
    """Refuse a trace of another grid. A segmentation has pixels of its own: any trace of its image will do."""
    if features is None or "labels" in whole:
        return
    paths = list(map(str, whole["path"].to_numpy())) if "path" in whole.dims else []
    if list(features.paths if features.has_path_axis else []) != paths:
        got = f"A trace of the paths {', '.join(features.paths)} for a result of {', '.join(paths) or 'one'}"
        fix = "Pass the very trace, or trace.with_path(name) for a result of one path."
        raise LayerError(got, expected="the trace that the result came from", fix=fix)
    grid = (whole.sizes["y"], whole.sizes["x"])
    other = "geometry" in whole.attrs and whole.attrs["geometry"] != features.geometry.to_json()
    if grid != features.geometry.grid or other:
        got = f"A trace of {features.name!r} with the grid {features.geometry.grid} for a result with the grid {grid}"
        raise GeometryError(got, expected="the trace that the result came from", fix="Pass that one, or none.")
