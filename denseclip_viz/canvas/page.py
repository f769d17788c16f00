"""The offline page: canvases, their data and their module in one file that asks nobody for anything."""

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from denseclip_viz.canvas import module, style
from denseclip_viz.canvas.payload import Payload, Result, on_one_scale, pack_result, scales_of
from denseclip_viz.canvas.state import AUTO, checked_controls, completed, opening
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.errors import OutputError
from denseclip_viz.files import atomic_write, check_target
from denseclip_viz.plot.panels import Interpolation
from denseclip_viz.plot.scales import OPACITY, Limits
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_on, is_real, short

LIMIT = 8.0  # MB of a page: more is slow to open and refused by mail
BASE64 = 4 / 3  # characters for a byte


@guarded
def save_html(
    results: Result | Sequence[Result],
    file: str | os.PathLike[str],
    *,
    title: str = "",
    notes: str = "",
    trace: Trace | Sequence[Trace | None] | None = None,
    leave_out: Sequence[str] = (),
    limit_mb: float = LIMIT,
    linked: bool = True,
    one_scale: bool = True,
    limits: Limits = None,
    like: Result | Sequence[Result] = (),
    locked: Sequence[str] = (),
    force: bool = False,
    state: Mapping[str, Any] | str = "",
    prompt: str | None = None,
    template: str | None = None,
    path: str | None = None,
    layer: str | None = None,
    view: str | None = None,
    head: int | str | None = None,
    method: str | None = None,
    opacity: float = OPACITY,
    threshold: float | None = None,
    colours: str = AUTO,
    interpolation: Interpolation = "bilinear",
    hover: bool = False,
    pinned: Sequence[int] | None = None,
    region: Sequence[Sequence[float]] | None = None,
    versus: Sequence[Any] | None = None,
    contrast: str = "difference",
    split: float = 0.5,
    order: str = "given",
    filter: str = "",
    rows: str = AUTO,
) -> Path:
    """Write a page that shows results as the canvas does: one file, that opens from disk without a network.

    Args:
        results: What `Model.compare`, `Model.similarity`, `Model.segment` or `attribution.attribute` returned, or a
            list of them, which stand side by side.
        file: Where to; ends in .html.
        title: Heading; the image's name by default.
        notes: Text below it; line breaks are kept.
        trace: The trace of the result, or one for each: see `Canvas`.
        leave_out: What to leave out of a page that is too large: some of contribution, gap, attention, heads,
            attribution, layers, cells, image.
        limit_mb: The largest page, in MB of 10^6 bytes.
        linked: Let several canvases move together.
        one_scale: Draw several results of one model on the same scales, so that their colours can be compared. False
            gives each its own; different models have their own in any case.
        limits: Lowest and highest value of the dense scale, or of any, as for `Canvas`.
        like: More results that the scales cover, as for `Canvas`.
        locked: Names of controls that are not shown.
        force: Replace a file that is there.
        state: What to start with, as `Canvas.state` has it, as the JSON that a canvas copies, or as a page's link; the
            names below go before it.
        prompt: Which one to start with; the first by default, as for the next six.
        template: Which one, or "ensemble" for the mean of the maps.
        path: Which path, of a result of several.
        layer: "output" for the pooling itself, or an inner layer.
        view: "dense", "contribution", "attention", "gap", "attribution", "segments" or "masks".
        head: A head's number, or "mean".
        method: Which attribution, of a result with several.
        opacity: Of the map, 0 to 1.
        threshold: In the view's units: what is below it is not coloured.
        colours: A colour map's name, or "auto" for each view's own.
        interpolation: "bilinear", or "nearest" to see the cells.
        hover: Let the map compare the cell that is pointed at with all others.
        pinned: The cell [y, x] whose values stay in sight.
        region: The corners [y, x], in pixels of the image, of a part of it whose mean values stay in sight.
        versus: What to compare the map with, as `["prompt", "a road"]`: another prompt, template, path, layer or head.
        contrast: "difference" of the two, or "slider" for one beside the other.
        split: Where the slider's line is, 0 at the left to 1.
        order: Of the rows beside the image: "given", or "value" for the highest first.
        filter: Letters, large or small; only prompts that contain them are listed there.
        rows: "bars", a heat map of prompts × "places" (here, pin, region, image, peak) or × "templates", or "auto":
            bars of up to 20 prompts, and places of more.

    Returns:
        Where it was written.

    Raises:
        OutputError: Another ending, no such folder, a file that is there and no `force`, or a page beyond the limit;
            nothing is written then.
        LayerError, GeometryError, PromptError, ImageError: As for `Canvas`.

    Example:
        >>> import tempfile, denseclip_viz as dcv
        >>> model = dcv.load()
        >>> both = model.compare(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     dcv.save_html(both, f"{folder}/taxi.html", view="gap").name
        'taxi.html'
    """
    start = opening(
        state,
        prompt=prompt,
        template=template,
        path=path,
        layer=layer,
        view=view,
        head=head,
        method=method,
        opacity=opacity,
        threshold=threshold,
        colours=colours,
        interpolation=interpolation,
        hover=hover,
        pinned=pinned,
        region=region,
        versus=versus,
        contrast=contrast,
        split=split,
        order=order,
        filter=filter,
        rows=rows,
    )
    is_one = isinstance(results, xr.Dataset | xr.DataArray | str) or not isinstance(results, Iterable)
    several: list[Any] = [results] if is_one else list(results)
    traces = [trace] * len(several) if trace is None or isinstance(trace, Trace) else list(trace)
    _check(several, traces)
    check_target(file, [".html"], force=force)
    linked, one_scale = is_on(linked, "linked", error=OutputError), is_on(one_scale, "one_scale", error=OutputError)
    if not is_real(limit_mb) or not limit_mb > 0:
        raise OutputError(f"limit_mb={short(limit_mb)}", expected="a number of megabytes", fix="Try limit_mb=8.")
    options: dict[str, Any] = {"leave_out": leave_out, "limit": limit_mb / BASE64}
    shown = [pack_result(result, features=one, **options) for result, one in zip(several, traces, strict=True)]
    alike = scales_of(like)
    shown = [one.on_scales(alike) for one in shown]
    shown = [one.on_scales([], limits) for one in (on_one_scale(shown) if one_scale else shown)]
    links, hidden = ["page"] if linked and len(shown) > 1 else [], checked_controls(locked)
    models = [_values(one, start, _links=links, locked=hidden) for one in shown]
    heading = title or " · ".join(dict.fromkeys(str(one.meta["title"]) for one in shown))
    text = _page(models, shown, title=heading, notes=notes)
    page = text.encode("utf-8", "backslashreplace")
    if len(page) > limit_mb * 1e6:  # of several results each may fit and the page be too large still
        got, expected = f"The page takes {len(page) / 1e6:.1f} MB", f"at most {limit_mb:g} MB"
        fix = "Show fewer results or prompts, leave something out (leave_out=['cells', 'layers']), or raise limit_mb."
        raise OutputError(got, expected=expected, fix=fix)
    with atomic_write(file, [".html"], force=force) as part:
        part.write_bytes(page)
    return Path(file)


def _check(several: Sequence[Result], traces: Sequence[Trace | None]) -> None:
    if not several:
        fix = "Pass what model.compare(trace, prompts) returns."
        raise OutputError("No result to show", expected="at least one", fix=fix)
    if len(traces) != len(several):
        got, fix = f"{len(traces)} traces for {len(several)} results", "Pass None for a result without a trace."
        raise OutputError(got, expected="one trace for each result", fix=fix)


def _values(one: Payload, state: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the values of the stand-in's model."""
    buffers = {name: base64.b64encode(data).decode() for name, data in one.buffers.items()}
    own = completed(state, one.meta["start"], one.choices, frame=one.frame)
    return {"meta": one.meta, "buffers": buffers, "state": own, **more}


def _page(models: Sequence[Mapping[str, Any]], shown: Sequence[Payload], *, title: str, notes: str) -> str:
    script = module("page")
    data = json.dumps(models).replace("<", "\\u003c")  # so that nothing in it can end the element that holds it
    written = f'<p class="dcv-notes" dir="auto">{html.escape(notes)}</p>' if notes else ""
    frames = '<div data-dcv=""></div>' * len(models)
    several = ' class="dcv-several"' if len(models) > 1 else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{html.escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{style('page')}</style></head>\n"
        f'<body><main{several}><h1 dir="auto">{html.escape(title)}</h1>{written}'
        f'<p class="dcv-remark" role="status"></p>'
        f'<div class="dcv-page">{frames}</div><footer>{_provenance(shown)}</footer></main>\n'
        f'<script type="application/json" id="dcv-data">{data}</script>\n'
        f'<script type="module">{script}</script></body></html>\n'
    )


def _policy(script: str) -> str:
    """Write the policy of a page: only this very script runs, and nothing is requested."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = ["default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data:"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _provenance(shown: Sequence[Payload]) -> str:
    tables = []
    for one in shown:
        pairs = ((html.escape(key), html.escape(value)) for key, value in one.meta["provenance"].items())
        tables.append(f"<table>{''.join(f'<tr><td>{key}</td><td>{value}</td></tr>' for key, value in pairs)}</table>")
    return f"<details><summary>how these numbers were made</summary>{''.join(tables)}</details>"
