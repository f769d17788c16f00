"""The Python that makes a result again, as far as its attributes tell; the browser adds the state that is seen."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from denseclip_viz.attribution.attributions import METHODS
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Geometry, Preprocess, Tiles, Whole
from denseclip_viz.maps.similarity import DENSE
from denseclip_viz.prompts.templates import TEMPLATE_SETS, template_set

FILE = re.compile(r"\.(png|jpe?g|webp|tiff?|bmp|gif|avif|heic)$", re.IGNORECASE)
BUNDLED = "bundled-"
PLAIN = ("none", "")
TEMPLATES = ("templates", '["{}"]')  # the attribute, and what it stands for where it is not there
EFFECTS = "direct-effects"  # what explorers call them among attributions


def recipe(whole: xr.Dataset, *, with_trace: bool) -> str:
    """Write the lines that make a result: model, prompts, trace, and `both`, which a canvas shows.

    What no attribute holds, such as an image that was no file, is an ellipsis with a comment that says what it was.

    Args:
        whole: A comparison, similarities, attributions or a segmentation.
        with_trace: Whether the canvas has the trace too; its last line is left open for what is seen.
    """
    calls = list(_calls(whole))
    last = "dcv.Canvas(both, trace=trace" if with_trace else "dcv.Canvas(both"
    imports = ["import xarray as xr", ""] if any("xr." in line for line in calls) else [""]
    lines = [f"model = {_model(whole.attrs)}", f"image = {_image(whole.attrs)}", f"prompts = {_prompts(whole)}"]
    return "\n".join(["import denseclip_viz as dcv", *imports, *lines, f"trace = {_trace(whole)}", *calls, last])


def _calls(whole: xr.Dataset) -> Iterator[str]:
    layers = _listed(whole["layer"].to_numpy()) if "layer_readout" in whole.attrs else ""
    if "labels" in whole:
        yield f"both = {_segmentation(whole)}"
    elif "contribution" in whole:
        yield f"both = model.compare(trace, prompts{f', layers={layers}' if layers else ''})"
    elif "dense" in whole:
        about = str(whole["dense"].attrs.get("long_name", ""))
        open_end = f"...  # maps of your own, or taken out of a result: {_one_line(about)}"
        yield f"both = {'model.similarity(trace, prompts)' if about == DENSE['long_name'] else open_end}"
    if "attribution" in whole:
        yield from _attributions(list(map(str, whole["candidate"].to_numpy())), beside="dense" in whole)


def _segmentation(whole: xr.Dataset) -> str:
    options = json.loads(whole.attrs.get("segment_options", "{}"))
    size = options.pop("size", None)
    rule = options.pop("background", {})
    written = [f"background={_background(rule)}"] if rule else []
    written += [f"{name}={value!r}" for name, value in options.items()]
    written += ["soft=True"] if "probabilities" in whole else []
    written += ["independent=True"] if "masks" in whole else []
    written += [f"size={tuple(size)}"] if size else []
    words = "" if rule else _one_line(whole.attrs.get("background", ""))
    remark = f"  # {words}" if words and not words.startswith("no background") else ""
    return f"model.segment({', '.join(['trace', 'prompts', *written])}){remark}"


def _background(rule: Mapping[str, Any]) -> str:
    """Write a rule as short as `segment` takes it: a probability, names, or all of it."""
    if len(rule) == 1 and (short := rule.get("below") or rule.get("prompts")):
        return repr(short)
    return f"dcv.maps.Background({', '.join(f'{name}={value!r}' for name, value in rule.items())})"


def _attributions(names: Sequence[str], *, beside: bool) -> Iterator[str]:
    """Make attributions as explorers do: published methods, and behind them direct effects, which have another call."""
    methods = [name for name in names if name != EFFECTS]
    if own := [name for name in methods if name not in METHODS]:
        yield f"both = ...  # attributions of your own are among them: {_one_line(own)}"
        return
    maps = f"dcv.attribution.attribute(model, trace, prompts, {methods!r})"
    if EFFECTS in names:
        yield "effects = dcv.attribution.direct_effects(model, trace, prompts).position.sum('layer', keep_attrs=True)"
        labels = f"candidate=[{EFFECTS!r}], unit=('candidate', ['cosine'])"
        yield f"effects = effects.expand_dims('candidate').assign_coords({labels})"
        order = "" if names == [*methods, EFFECTS] else f".sel(candidate={list(names)!r})"
        maps = f"xr.concat([{maps}, effects], 'candidate', combine_attrs='override'){order}" if methods else "effects"
    yield f"both = both.assign(attribution={maps})" if beside else f"both = {maps}"


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
    try:
        names, marked, templates = _of_segmentation(whole) if "labels" in whole else _of_maps(whole)
        synonyms = json.loads(whole.attrs.get("synonyms", "{}"))
    except json.JSONDecodeError:
        return "...  # prompts as an older version, or somebody else, wrote them down"
    known = next((name for name in TEMPLATE_SETS[1:] if len(templates) > 1 and template_set(name) == templates), "")
    options = [] if templates == ("{}",) else [f"templates={known or list(templates)!r}"]
    options += [f"{mark}={_worded(of, synonyms)}" for mark, of in marked.items() if of]
    options += [f"articles={whole.attrs['articles']!r}"] if "articles" in whole.attrs else []
    options += ["plural=True"] if whole.attrs.get("plural") else []
    return f"dcv.Prompts({', '.join([_worded(names, synonyms), *options])})"


def _of_segmentation(whole: xr.Dataset) -> tuple[list[str], dict[str, list[str]], tuple[str, ...]]:
    """Read names, absent names and templates of its attributes; background prompts are its rule's."""
    away, templates = (json.loads(whole.attrs.get(name, plain)) for name, plain in (("absent", "[]"), TEMPLATES))
    return list(map(str, whole["label"].to_numpy())), {"absent": away}, tuple(templates)


def _of_maps(whole: xr.Dataset) -> tuple[list[str], dict[str, list[str]], tuple[str, ...]]:
    """Read names, absent names, background and templates of the axes."""
    names = [str(name) for name in whole["prompt"].to_numpy()]
    marks = {name: np.atleast_1d(whole[name].to_numpy()) for name in ("absent", "background") if name in whole.coords}
    of = {mark: [name for name, is_so in zip(names, flags, strict=True) if is_so] for mark, flags in marks.items()}
    present = [name for name in names if name not in of.get("absent", ())]
    return present, of, tuple(str(name) for name in whole["template"].to_numpy())


def _worded(names: Sequence[str], synonyms: Mapping[str, list[str]]) -> str:
    """List names, or where one has other words than itself, all with their words."""
    return repr({name: synonyms.get(name, name) for name in names} if set(names) & set(synonyms) else list(names))


def _trace(whole: xr.Dataset) -> str:
    attrs, geometry = whole.attrs, _geometry(str(whole.attrs.get("geometry", "")))
    held = np.atleast_1d(whole["path"].to_numpy()) if "path" in whole.coords else attrs.get("path", "value").split(", ")
    paths = list(map(str, held))  # attributions alone have no such axis
    path = repr(paths) if "path" in whole.dims or len(paths) > 1 else "" if paths == ["value"] else repr(paths[0])
    unknown = [f"path {name}" for name in paths if name not in PATHS]
    unknown += [f"finer grid: {attrs['finer']}"] if "finer" in attrs else []
    if unknown or geometry is None:
        why = ", ".join(unknown) or f"geometry {attrs['geometry']}"
        return f"...  # a trace that attributes alone do not make again: {_one_line(why)}"
    options = [f"geometry={geometry}" if geometry else "", f"path={path}" if path else ""]
    if "layer_dense" in whole:  # read from what the trace recorded; others by gradients
        options.append(f"layers=model.layers_to_record({_listed(whole['layer'].to_numpy())})")
    options += [f"keys={attrs['pool_keys']!r}"] if "pool_keys" in attrs else []
    remark = f"  # features were {_one_line(attrs['features'])}" if "features" in attrs else ""
    return f"model.trace({', '.join(['image', *filter(None, options)])}){remark}"


def _geometry(text: str) -> str | None:
    """Find the fit that plans this very geometry; the model's own crop needs none, and none is found of a shift."""
    if not text or (where := Geometry.from_json(text)).mode == "native":
        return ""
    short, long = min(where.resized), max(where.resized)
    sizes: list[dict[str, Any]] = [{"short": short}, {"long": long}, {"short": short, "long": long}]
    more: list[dict[str, Any]] = [{}, {"pad": "even"}, {"stretch": True}, {"pad": "even", "stretch": True}]
    if where.mode == "tiles":
        more = [{"window": where.window, "apart": apart} for apart in (False, True)]
        sizes = [{}, *sizes]  # at the image's own size, which may be larger than any that can be named
    kind: Any = Tiles if where.mode == "tiles" else Whole
    for options in (size | extra for extra in more for size in sizes):
        options = {name: value for name, value in options.items() if value is not False}
        if _plans(kind, options, where):
            return f"dcv.{kind.__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    return None


def _plans(kind: type[Tiles | Whole], options: Mapping[str, Any], where: Geometry) -> bool:
    like = Preprocess(where.window or where.resized, mean=(0, 0, 0), std=(1, 1, 1))
    try:
        plan = kind(**options).plan(where.image, preprocess=like, cell=where.cell)
    except GeometryError:  # a guess that nobody can have asked for, such as the long side of a panorama
        return False
    return replace(plan, shift=where.shift) == where


def _listed(names: Any) -> str:
    return repr([str(name) for name in names])


def _one_line(text: object) -> str:
    """Keep a comment a comment, whatever is in it."""
    return " ".join(str(text).split())
