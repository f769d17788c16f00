"""The Python that makes a result again, as far as its attributes tell; the browser adds the state that is seen."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz.geometry import Fit, Geometry, Preprocess, Tiles, Whole
from denseclip_viz.prompts.templates import TEMPLATE_SETS, template_set

FILE = re.compile(r"\.(png|jpe?g|webp|tiff?|bmp|gif|avif|heic)$", re.IGNORECASE)
BUNDLED = "bundled-"
PLAIN = ("none", "")
TEMPLATES = "  # and their templates, if they had any: a segmentation does not tell"


def recipe(whole: xr.Dataset, *, with_trace: bool) -> str:
    """Write the lines that make a result: model, prompts, trace, and `both`, which a canvas shows.

    What no attribute holds, such as an image that was no file, is an ellipsis with a comment that says what it was.

    Args:
        whole: A comparison, similarities, attributions or a segmentation.
        with_trace: Whether the canvas has the trace too; its last line is left open for what is seen.
    """
    calls = _calls(whole)
    last = "dcv.Canvas(both, trace=trace" if with_trace else "dcv.Canvas(both"
    lines = ["import denseclip_viz as dcv", "", f"model = {_model(whole.attrs)}", f"image = {_image(whole.attrs)}"]
    return "\n".join([*lines, f"prompts = {_prompts(whole)}", f"trace = {_trace(whole)}", *calls, last])


def _calls(whole: xr.Dataset) -> Iterator[str]:
    layers = _listed(whole["layer"].to_numpy()) if "layer_readout" in whole.attrs else ""
    if "labels" in whole:
        rule = f"  # {_one_line(whole.attrs['background'])}" if whole.attrs.get("background") else ""
        yield f"both = model.segment(trace, prompts{', independent=True' if 'masks' in whole else ''}){rule}"
    elif "contribution" in whole:
        yield f"both = model.compare(trace, prompts{f', layers={layers}' if layers else ''})"
    elif "dense" in whole:
        yield "both = model.similarity(trace, prompts)"
    if "attribution" in whole:
        call = f"dcv.attribution.attribute(model, trace, prompts, {_listed(whole['candidate'].to_numpy())})"
        yield f"both = both.assign(attribution={call})" if "dense" in whole else f"both = {call}"


def _model(attrs: Mapping[str, Any]) -> str:
    name, weights = str(attrs.get("model", "")), str(attrs.get("weights", ""))
    if not name or weights == "in memory":
        return f"...  # the model that was in memory: {_one_line(name)}"
    pretrained = "" if name.startswith(BUNDLED) else f", pretrained={re.sub(r' [(].*', '', weights)!r}"
    options = {"preset": attrs.get("preset", ""), "dtype": str(attrs.get("dtype", "")).replace("float32", "")}
    chosen = "".join(f", {key}={value!r}" for key, value in options.items() if value not in PLAIN)
    switches = str(attrs.get("switches", ""))
    remark = f"  # switches: {_one_line(switches)}" if switches not in PLAIN else ""
    return f"dcv.load({name!r}{pretrained}{chosen}){remark}"


def _image(attrs: Mapping[str, Any]) -> str:
    name = str(attrs.get("image_name", ""))
    return repr(name) if FILE.search(name) else f"...  # the image that was shown: {_one_line(name)}"


def _prompts(whole: xr.Dataset) -> str:
    if "labels" in whole:
        away = [name for name in str(whole.attrs.get("absent", "")).split(", ") if name]
        return f"dcv.Prompts({_listed(whole['label'].to_numpy())}{f', absent={away!r}' if away else ''}){TEMPLATES}"
    marks = {name: np.atleast_1d(whole[name].to_numpy()) for name in ("absent", "background") if name in whole.coords}
    names = [str(name) for name in whole["prompt"].to_numpy()]
    of = {mark: [name for name, is_so in zip(names, flags, strict=True) if is_so] for mark, flags in marks.items()}
    templates = tuple(str(name) for name in whole["template"].to_numpy())
    known = next((name for name in TEMPLATE_SETS[1:] if len(templates) > 1 and template_set(name) == templates), "")
    templated = "" if templates == ("{}",) else f", templates={known or list(templates)!r}"
    rest = "".join(f", {mark}={marked!r}" for mark, marked in of.items() if marked)
    return f"dcv.Prompts({[name for name in names if name not in of.get('absent', ())]!r}{templated}{rest})"


def _trace(whole: xr.Dataset) -> str:
    paths = np.atleast_1d(whole["path"].to_numpy()) if "path" in whole.coords else [whole.attrs.get("path", "value")]
    path = _listed(paths) if "path" in whole.dims else "" if str(paths[0]) == "value" else repr(str(paths[0]))
    geometry = _geometry(str(whole.attrs.get("geometry", "")))
    options = [f"geometry={geometry}" if geometry else "", f"path={path}" if path else ""]
    if "layer_dense" in whole:  # read from what the trace recorded; others by gradients
        options.append(f"layers=model.layers_to_record({_listed(whole['layer'].to_numpy())})")
    return f"model.trace({', '.join(['image', *filter(None, options)])})"


def _geometry(text: str) -> str:
    """Find the fit that plans this very geometry; the model's own crop needs none."""
    if not text or (where := Geometry.from_json(text)).mode == "native":
        return ""
    short, long = min(where.resized), max(where.resized)
    sizes: list[dict[str, Any]] = [{"short": short}, {"long": long}, {"short": short, "long": long}]
    more: list[dict[str, Any]] = [{}, {"pad": "even"}, {"stretch": True}, {"pad": "even", "stretch": True}]
    if where.mode == "tiles":
        more = [{"window": where.window, "apart": apart} for apart in (False, True)]
    kind: Any = Tiles if where.mode == "tiles" else Whole
    for options in (size | extra for extra in more for size in sizes):
        options = {name: value for name, value in options.items() if value is not False}
        if _plans(kind(**options), where):
            return f"dcv.{kind.__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    return f"{where.mode!r}"


def _plans(fit: Fit, where: Geometry) -> bool:
    like = Preprocess(where.window or where.resized, mean=(0, 0, 0), std=(1, 1, 1))
    return replace(fit.plan(where.image, preprocess=like, cell=where.cell), shift=where.shift) == where


def _listed(names: Any) -> str:
    return repr([str(name) for name in names])


def _one_line(text: object) -> str:
    """Keep a comment a comment, whatever is in it."""
    return " ".join(str(text).split())
