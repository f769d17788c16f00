"""The offline page: canvases, their data and their module in one file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import xarray as xr

from denseclip_viz.errors import OutputError
from denseclip_viz.output import writing
from denseclip_viz.trace import Trace
from denseclip_viz.view.canvas.module import module, style
from denseclip_viz.view.canvas.payload import Payload, payload
from denseclip_viz.view.canvas.state import DEFAULTS, completed, kept

Result = Union[xr.Dataset, xr.DataArray]
LIMIT = 8.0  # MB of a page: more is slow to open and refused by mail

PAGE_STYLE = """
:root { color-scheme: light dark; }
body { background: Canvas; color: CanvasText; font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; margin: 0; }
main { margin: 0 auto; max-width: 1000px; padding: 36px 28px 28px; }
main.dcv-several { max-width: 1480px; }
h1 { font-size: 22px; font-weight: 600; letter-spacing: -0.01em; line-height: 1.25; margin: 0 0 6px; }
.dcv-notes { color: #676d75; margin: 0 0 26px; max-width: 68ch; white-space: pre-line; }
.dcv-page { display: grid; gap: 36px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); margin-top: 24px; }
footer { border-top: 1px solid #8885; color: #676d75; font-size: 12px; margin-top: 32px; padding-top: 12px; }
summary { cursor: pointer; }
table { border-collapse: collapse; margin-top: 8px; }
td { padding: 1px 18px 1px 0; vertical-align: top; }
td:last-child { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e6e8eb; } .dcv-notes, footer { color: #9aa1aa; } }
"""

# A stand-in for a notebook's model: holds values and tells listeners; nothing is saved anywhere.
START = """
{
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
function standIn(values) {
  const heard = {};
  const tell = (name) => (heard[`change:${name}`] ?? []).forEach((act) => act());
  return {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; tell(name); },
    on: (name, act) => (heard[name] ??= []).push(act),
    off: (name, act) => { heard[name] = (heard[name] ?? []).filter((other) => other !== act); },
    save_changes: () => {},
  };
}
const places = document.querySelectorAll("[data-dcv]"), packed = JSON.parse(document.getElementById("dcv-data").textContent);
globalThis.dcv = packed.map(({ buffers, ...values }, i) => {
  const opened = Object.fromEntries(Object.entries(buffers).map(([name, text]) => [name, bytes(text)]));
  const model = standIn({ ...values, _payload: { meta: values.meta, buffers: opened } });
  render({ model, el: places[i] });
  return model;
});
}
"""


def save_html(
    results: Result | Sequence[Result],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    notes: str = "",
    trace: Trace | Sequence[Trace | None] | None = None,
    leave_out: Sequence[str] = (),
    limit_mb: float = LIMIT,
    linked: bool = True,
    locked: Sequence[str] = (),
    force: bool = False,
    **state: Any,
) -> Path:
    """Write a page that shows results as the canvas does, in one file, from disk, without a network.

    Args:
        results: What `Model.compare`, `Model.similarity` or `Model.segment` returned, or several of them, which stand
            side by side.
        path: Where to; ends in .html.
        title: Heading; the picture's name by default.
        notes: Text below it; line breaks are kept.
        trace: The trace of the result, or one for each: see `Canvas`.
        leave_out: What to leave out of a page that is too large: see `payload`.
        limit_mb: The largest page, in MB of 10^6 bytes.
        linked: Let several canvases move together.
        locked: Names of controls that are not shown.
        force: Replace a file that is there.
        **state: Where to start, as for `Canvas`.

    Returns:
        The path.

    Raises:
        OutputError: Another ending, no such folder, a file that is there and no `force`, or a page beyond the limit;
            nothing is written then.
        LayerError, GeometryError, PromptError, PictureError: As for `Canvas`.

    Example:
        >>> save_html([], "nothing.html")
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: No result to show. Expected at least one. ...
    """
    several = [results] if isinstance(results, xr.Dataset | xr.DataArray) else list(results)
    traces = [trace] * len(several) if trace is None or isinstance(trace, Trace) else list(trace)
    if not several or len(traces) != len(several):
        came = f"{len(traces)} traces for {len(several)} results" if several else "No result to show"
        raise OutputError(
            came,
            expected="at least one, and as many traces" if several else "at least one",
            fix="Pass what model.compare(…) returns.",
        )
    shown = [
        payload(result, features=one, leave_out=leave_out, limit=limit_mb)
        for result, one in zip(several, traces, strict=True)
    ]
    text = _page(
        shown,
        title or _title(shown),
        notes,
        state,
        links=["page"] if linked and len(shown) > 1 else [],
        locked=list(locked),
    )
    size = len(text.encode()) / 1e6
    if size > limit_mb:
        raise OutputError(f"The page takes {size:.1f} MB", expected=f"at most {limit_mb:g} MB", fix="…")
    with writing(path, [".html"], force=force) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def _title(shown: Sequence[Payload]) -> str:
    return " · ".join(dict.fromkeys(str(one.meta["title"]) for one in shown))


def _page(
    shown: Sequence[Payload], title: str, notes: str, state: Mapping[str, Any], *, links: list[str], locked: list[str]
) -> str:
    script, data = (
        module() + START,
        json.dumps([_values(one, state, links, locked) for one in shown]).replace("<", "\\u003c"),
    )
    policy = f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    frames = "".join('<div data-dcv=""></div>' for _ in shown)
    written = f'<p class="dcv-notes">{html.escape(notes)}</p>' if notes else ""
    several = ' class="dcv-several"' if len(shown) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{html.escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{PAGE_STYLE}{style()}</style></head>\n'
        f'<body><main{several}><h1 dir="auto">{html.escape(title)}</h1>{written}<div class="dcv-page">{frames}</div>'
        f"<footer>{_provenance(shown)}</footer></main>\n"
        f'<script type="application/json" id="dcv-data">{data}</script>\n'
        f'<script type="module">{script}</script></body></html>\n'
    )


def _values(one: Payload, state: Mapping[str, Any], links: list[str], locked: list[str]) -> dict[str, Any]:
    buffers = {name: base64.b64encode(data).decode() for name, data in one.buffers.items()}
    start = completed(state, kept(DEFAULTS, one.choices), one.choices)
    return {"meta": one.meta, "buffers": buffers, "state": start, "_links": links, "locked": locked}


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _provenance(shown: Sequence[Payload]) -> str:
    tables = []
    for one in shown:
        rows = "".join(
            f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>"
            for key, value in one.meta["provenance"].items()
        )
        tables.append(f"<table>{rows}</table>")
    return f"<details><summary>how these numbers were made</summary>{''.join(tables)}</details>"
